/* The bound state: what is saved and restored. Everything a caller says about a leaf is checked here, once, so that save and restore
 * can trust it. Nothing here reads or writes the caller's tensors but cn_leaf_fetch and cn_leaf_store. */
#include "snapshot/state.h"

#include <string.h>

#include "base/copy.h"
#include "base/dtype.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "os/os.h"
#include "snapshot/value.h"
#include "snapshot/valuejson.h"
#include "store/layout.h"

int cairn_state_new(cairn_state **ret_state, cairn_error *err)
{
    uint64_t seed = 0;
    if (!ret_state) return cn_error_set(err, CAIRN_E_USAGE, "cairn_state_new: ret_state is NULL");
    int rc = cn_os_random(&seed, sizeof seed);
    if (rc) return cn_error_errno(err, -rc, "no randomness from the system");
    cairn_state *state = cn_os_new(sizeof *state);
    if (!state) return cn_error_set(err, CAIRN_E_NOMEM, "no memory for a state");
    cn_hash_init(&state->index, cn_os_alloc(), seed);
    cn_hash_init(&state->folders, cn_os_alloc(), seed);
    atomic_init(&state->holders, 1);
    state->items = cn_os_new_array(CN_MAX_ITEMS, sizeof *state->items);
    if (!state->items) {
        cairn_state_free(state);
        return cn_error_set(err, CAIRN_E_NOMEM, "no memory for a state");
    }
    *ret_state = state;
    return CAIRN_OK;
}

static void free_leaf(struct cn_leaf *leaf)
{
    cn_os_free(leaf->name);
    cn_os_free(leaf->key);
    cn_os_free(leaf->shape);
    cairn_value_free(leaf->value);
    cn_os_free(leaf);
}

void cn_state_hold(cairn_state *state)
{
    atomic_fetch_add(&state->holders, 1);
}

void cairn_state_free(cairn_state *state)
{
    if (!state || atomic_fetch_sub(&state->holders, 1) > 1) return;
    cn_hash_done(&state->index);
    cn_hash_done(&state->folders);
    for (uint64_t i = 0; i < state->count; i++) free_leaf(state->leaves[i]);
    for (uint32_t i = 0; i < state->items_count; i++) {
        cn_os_free(state->items[i].name);
        cn_os_free(state->items[i].file_stem);
    }
    cn_os_free(state->leaves);
    cn_os_free(state->items);
    cn_os_free(state);
}

/* ------------------------------------------------------------------------------------------------------ items and names */

/* items_count: there is none of that name. */
static uint32_t find_item(const cairn_state *state, const char *name)
{
    uint32_t i = 0;
    while (i < state->items_count && strcmp(state->items[i].name, name)) i++;
    return i;
}

/* Two items must not plan files of the same name. */
static int check_stem(const cairn_state *state, uint32_t index, const char *item, const char *stem, cairn_error *err)
{
    for (uint32_t i = 0; i < state->items_count; i++) {
        const struct cn_item *other = &state->items[i];
        if (i != index && !strcmp(other->file_stem ? other->file_stem : other->name, stem))
            return cn_error_set(err, CAIRN_E_USAGE, "items '%s' and '%s' would share the file stem '%s'", item, other->name, stem);
    }
    return CAIRN_OK;
}

static int check_new_item(const cairn_state *state, const char *name, cairn_error *err)
{
    int code = cn_layout_check_item(name, err);
    if (code) return code;
    if (state->items_count == CN_MAX_ITEMS) return cn_error_set(err, CAIRN_E_LIMIT, "a state has at most %d items", CN_MAX_ITEMS);
    return CAIRN_OK;
}

/* Names of item model are taken as they are; in every other item they are paths. */
static bool is_flat(const char *item)
{
    return !strcmp(item, CN_ITEM_MODEL);
}

/* Its parts are not empty, and '~' is only seen as ~0 or ~1. */
static bool is_path(const char *name)
{
    for (const char *at = name; *at; at++) {
        if (*at == '~' && at[1] != '0' && at[1] != '1') return false;
        if (*at == '/' && (at == name || at[1] == '/' || !at[1])) return false;
    }
    return *name != 0;
}

static unsigned count_parts(const char *path)
{
    unsigned parts = 1;
    while ((path = strchr(path, '/'))) parts++, path++;
    return parts;
}

static bool has_control(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) return true;
    return false;
}

_Static_assert(CN_MAX_NAME_BYTES == 1023 && CN_MAX_NAME_PARTS == 32, "fault_of_name says these numbers");

/* What is wrong with a name, as the end of a sentence; NULL: nothing. */
static const char *fault_of_name(const char *item, const char *name, size_t size, int *ret_code)
{
    *ret_code = CAIRN_E_USAGE;
    if (!size) return "is empty";
    if (cn_utf8_check(name, size) != size) return "is not UTF-8";
    if (has_control(name, size)) return "has a control character";
    if (!strcmp(name, "__metadata__")) return "cannot name a tensor or value";
    if (!is_flat(item) && !is_path(name)) return "is not a path of parts joined by '/', with '~' and '/' inside a part written ~0 and ~1";
    *ret_code = CAIRN_E_LIMIT;
    if (size > CN_MAX_NAME_BYTES) return "is longer than 1023 bytes";
    return !is_flat(item) && count_parts(name) > CN_MAX_NAME_PARTS ? "has more than 32 parts" : NULL;
}

/* How a name is shown is found out only where it is: states of 10,000 tensors are bound between two steps. */
static int check_name(const char *item, const char *name, cairn_error *err)
{
    int code;
    struct cn_shown shown;
    const char *fault = fault_of_name(item, name, strlen(name), &code);
    return fault ? cn_error_set(err, code, "item '%s': the name \"%s\" %s", item, cn_show_text(&shown, name), fault) : CAIRN_OK;
}

static void put_key(char *key, const char *item, size_t item_size, const char *name, size_t name_size)
{
    memcpy(key, item, item_size);
    key[item_size] = '/';
    memcpy(key + item_size + 1, name, name_size + 1);
}

static char *join_key(const char *item, const char *name)
{
    size_t item_size = strlen(item), name_size = strlen(name);
    char *key = cn_os_new(item_size + name_size + 2);
    if (key) put_key(key, item, item_size, name, name_size);
    return key;
}

/* Where the folder around key[0, end) ends; 0: that is the item. */
static size_t folder_end(const char *key, size_t item_size, size_t end)
{
    do end--;
    while (key[end] != '/');
    return end > item_size ? end : 0;
}

/* A key is bound once; and where names are paths, what holds leaves is no leaf. */
static int check_place(const cairn_state *state, const char *item, const char *name, const char *key, cairn_error *err)
{
    struct cn_shown shown;
    size_t end = strlen(key);
    if (cn_hash_find(&state->index, key, end, NULL))
        return cn_error_set(err, CAIRN_E_USAGE, "item '%s': \"%s\" is bound twice", item, cn_show_text(&shown, name));
    if (is_flat(item)) return CAIRN_OK;
    bool taken = cn_hash_find(&state->folders, key, end, NULL);
    while (!taken && (end = folder_end(key, strlen(item), end)) && !cn_hash_find(&state->folders, key, end, NULL))
        taken = cn_hash_find(&state->index, key, end, NULL);
    if (!taken) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE, "\"%s\" is bound both as a leaf and as a folder of leaves", cn_show(&shown, key, end));
}

/* Where a folder is known, those around it are, too. */
static void note_folders(cairn_state *state, const char *item, const char *key)
{
    size_t end = strlen(key);
    while (!is_flat(item) && (end = folder_end(key, strlen(item), end)) && !cn_hash_add(&state->folders, key, end, 0, NULL)) continue;
}

/* Room for one more, so that nothing fails once it is entered. */
static bool reserve_leaf(cairn_state *state)
{
    if (cn_hash_reserve(&state->index, 1) || cn_hash_reserve(&state->folders, CN_MAX_NAME_PARTS)) return false;
    if (state->count < state->capacity) return true;
    uint64_t capacity = state->capacity ? state->capacity * 2 : 16;
    struct cn_leaf **leaves = cn_os_new_array(capacity, sizeof *leaves);
    if (!leaves) return false;
    if (state->count) memcpy(leaves, state->leaves, state->count * sizeof *leaves);
    cn_os_free(state->leaves);
    state->leaves = leaves;
    state->capacity = capacity;
    return true;
}

static int check_leaf(const cairn_state *state, const char *item, const char *name, uint32_t index, cairn_error *err)
{
    int code = CAIRN_OK;
    if (index == state->items_count) code = check_new_item(state, item, err);
    if (!code && index == state->items_count) code = check_stem(state, index, item, item, err);
    if (!code) code = check_name(item, name, err);
    if (!code && state->count == CN_MAX_TENSORS) code = cn_error_set(err, CAIRN_E_LIMIT, "a state has at most %d leaves", CN_MAX_TENSORS);
    return code;
}

/* Adds a leaf of this description, and its item if that is new, and takes over what it owns; on failure all of that is freed, and no item is left. */
static int add_leaf(cairn_state *state, const char *item, const char *name, struct cn_leaf description, cairn_error *err)
{
    struct cn_leaf *leaf = cn_os_new(sizeof *leaf);
    if (!leaf) {
        cn_os_free(description.shape);
        cairn_value_free(description.value);
        return cn_error_set(err, CAIRN_E_NOMEM, "no memory to bind a leaf of item '%s'", item);
    }
    *leaf = description;
    leaf->item = find_item(state, item);
    leaf->number = state->count;
    bool is_new = leaf->item == state->items_count;
    cn_auto_free char *new_item = NULL;
    int code = check_leaf(state, item, name, leaf->item, err);
    if (code) goto fail;
    code = CAIRN_E_NOMEM;
    leaf->name = cn_os_copy_text(name);
    leaf->name_size = strlen(name);
    leaf->key = join_key(item, name);
    if (is_new) new_item = cn_os_copy_text(item);
    if (!reserve_leaf(state) || !leaf->name || !leaf->key || (is_new && !new_item)) goto fail_memory;
    code = check_place(state, item, name, leaf->key, err);
    if (code) goto fail;
    (void)cn_hash_add(&state->index, leaf->key, strlen(leaf->key), state->count, NULL);
    note_folders(state, item, leaf->key);
    if (is_new) state->items[state->items_count++] = (struct cn_item){ .name = new_item };
    new_item = NULL;
    state->leaves[state->count++] = leaf;
    return CAIRN_OK;
fail_memory:
    cn_error_set(err, code, "no memory to bind a leaf of item '%s'", item);
fail:
    free_leaf(leaf);
    return code;
}

static int check_call(const cairn_state *state, const char *item, const char *name, const char *call, cairn_error *err)
{
    if (!state || !item || !name) return cn_error_set(err, CAIRN_E_USAGE, "%s: state, item and name must be given", call);
    return CAIRN_OK;
}

const struct cn_leaf *cn_state_find(const cairn_state *state, const char *item, const char *name)
{
    char key[CN_MAX_ITEM_BYTES + CN_MAX_NAME_BYTES + 2];
    uint64_t at;
    size_t item_size = strlen(item), name_size = strlen(name);
    if (item_size > CN_MAX_ITEM_BYTES || name_size > CN_MAX_NAME_BYTES) return NULL; /* none such is bound */
    put_key(key, item, item_size, name, name_size);
    return cn_hash_find(&state->index, key, item_size + 1 + name_size, &at) ? state->leaves[at] : NULL;
}

/* -------------------------------------------------------------------------------------------------------------- binding */

static int check_parts(const cairn_tensor *tensor, uint64_t *ret_size_bytes, cairn_error *err)
{
    if (tensor->struct_size < sizeof *tensor)
        return cn_error_set(err, CAIRN_E_USAGE, "struct_size is not set; start from CAIRN_TENSOR_INIT");
    if (!cairn_dtype_bits(tensor->dtype)) return cn_error_set(err, CAIRN_E_USAGE, "unknown dtype %d", (int)tensor->dtype);
    if (tensor->rank > CAIRN_MAX_RANK) return cn_error_set(err, CAIRN_E_LIMIT, "%u dimensions; at most %d", tensor->rank, CAIRN_MAX_RANK);
    if (tensor->rank && !tensor->shape) return cn_error_set(err, CAIRN_E_USAGE, "shape is NULL");
    int code = cn_dtype_size(tensor->dtype, tensor->rank, tensor->shape, ret_size_bytes, err);
    if (code) return code == CAIRN_E_FORMAT ? CAIRN_E_USAGE : code;
    if (*ret_size_bytes && !tensor->address && !(tensor->fetch && tensor->store))
        return cn_error_set(err, CAIRN_E_USAGE, "give an address, or a fetch and a store callback");
    if (tensor->address && (tensor->fetch || tensor->store))
        return cn_error_set(err, CAIRN_E_USAGE, "give an address or callbacks, not both");
    return CAIRN_OK;
}

static int check_tensor(const char *item, const cairn_tensor *tensor, uint64_t *ret_size_bytes, cairn_error *err)
{
    struct cn_shown shown;
    int code = check_parts(tensor, ret_size_bytes, err);
    return code ? cn_error_prefix(err, code, "tensor '%s:%s'", item, cn_show_text(&shown, tensor->name)) : CAIRN_OK;
}

int cairn_state_bind_tensor(cairn_state *state, const char *item, const cairn_tensor *tensor, cairn_error *err)
{
    uint64_t size_bytes;
    int code = check_call(state, item, tensor ? tensor->name : NULL, "cairn_state_bind_tensor", err);
    if (!code) code = check_tensor(item, tensor, &size_bytes, err);
    if (code) return code;
    struct cn_leaf leaf = { .kind = CN_LEAF_TENSOR,
                            .dtype = tensor->dtype,
                            .rank = tensor->rank,
                            .flags = tensor->flags,
                            .size_bytes = size_bytes,
                            .address = tensor->address,
                            .fetch = tensor->fetch,
                            .store = tensor->store,
                            .user = tensor->user,
                            .generation = tensor->generation };
    leaf.shape = cn_os_new_array(tensor->rank ? tensor->rank : 1, sizeof *leaf.shape);
    if (!leaf.shape) return cn_error_set(err, CAIRN_E_NOMEM, "no memory to bind a tensor of item '%s'", item);
    if (tensor->rank) memcpy(leaf.shape, tensor->shape, tensor->rank * sizeof *leaf.shape);
    return add_leaf(state, item, tensor->name, leaf, err);
}

int cairn_state_bind_alias(cairn_state *state, const char *item, const char *name, const char *target, cairn_error *err)
{
    int code = check_call(state, item, name, "cairn_state_bind_alias", err);
    if (code) return code;
    const struct cn_leaf *leaf = target ? cn_state_find(state, item, target) : NULL;
    if (!leaf || leaf->kind != CN_LEAF_TENSOR) {
        struct cn_shown shown;
        return cn_error_set(err, CAIRN_E_USAGE, "item '%s': alias target \"%s\" is not a tensor bound before", item,
                            cn_show_text(&shown, target ? target : ""));
    }
    return add_leaf(state, item, name, (struct cn_leaf){ .kind = CN_LEAF_ALIAS, .target = leaf->number }, err);
}

static int bind_scalar(cairn_state *state, const char *item, const char *name, enum cn_leaf_kind kind, void *address, cairn_error *err)
{
    int code = check_call(state, item, name, "cairn_state_bind", err);
    if (code) return code;
    if (!address) return cn_error_set(err, CAIRN_E_USAGE, "item '%s': the address to bind is NULL", item);
    return add_leaf(state, item, name, (struct cn_leaf){ .kind = kind, .address = address }, err);
}

int cairn_state_bind_i64(cairn_state *state, const char *item, const char *name, int64_t *value, cairn_error *err)
{
    return bind_scalar(state, item, name, CN_LEAF_I64, value, err);
}

int cairn_state_bind_u64(cairn_state *state, const char *item, const char *name, uint64_t *value, cairn_error *err)
{
    return bind_scalar(state, item, name, CN_LEAF_U64, value, err);
}

int cairn_state_bind_f64(cairn_state *state, const char *item, const char *name, double *value, cairn_error *err)
{
    return bind_scalar(state, item, name, CN_LEAF_F64, value, err);
}

int cairn_state_bind_bool(cairn_state *state, const char *item, const char *name, int *value, cairn_error *err)
{
    return bind_scalar(state, item, name, CN_LEAF_BOOL, value, err);
}

/* What a save would refuse. Around the value are the file's object, that of the items, the item's and those of the folders of its name. */
static int check_value(const char *item, const char *name, const cairn_value *value, cairn_error *err)
{
    enum { FILE_LEVELS = 2 };
    struct cn_shown shown;
    unsigned parts = is_flat(item) ? 1 : count_parts(name);
    if (parts > CN_MAX_NAME_PARTS) return CAIRN_OK; /* check_name tells */
    int code = cn_valuejson_check(value, FILE_LEVELS + (int)parts, err);
    return code ? cn_error_prefix(err, code, "the value '%s/%s'", item, cn_show_text(&shown, name)) : CAIRN_OK;
}

int cairn_state_set_value(cairn_state *state, const char *item, const char *name, cairn_value *value, cairn_error *err)
{
    if (value && cn_value_is_given(value))
        return cn_error_set(err, CAIRN_E_USAGE, "cairn_state_set_value: the value was given away already");
    int code = check_call(state, item, name, "cairn_state_set_value", err);
    if (!code && !value) code = cn_error_set(err, CAIRN_E_NOMEM, "item '%s': the value is NULL (out of memory?)", item);
    if (!code) code = check_value(item, name, value, err);
    if (code) {
        cairn_value_free(value);
        return code;
    }
    cn_value_give_to_state(value);
    struct cn_leaf *leaf = (struct cn_leaf *)(uintptr_t)cn_state_find(state, item, name);
    if (!leaf) return add_leaf(state, item, name, (struct cn_leaf){ .kind = CN_LEAF_VALUE, .value = value }, err);
    if (leaf->kind != CN_LEAF_VALUE) {
        struct cn_shown shown;
        cairn_value_free(value);
        return cn_error_set(err, CAIRN_E_USAGE, "item '%s': \"%s\" is bound as something else", item, cn_show_text(&shown, name));
    }
    cairn_value_free(leaf->value);
    leaf->value = value;
    return CAIRN_OK;
}

const cairn_value *cairn_state_get_value(const cairn_state *state, const char *item, const char *name)
{
    const struct cn_leaf *leaf = state && item && name ? cn_state_find(state, item, name) : NULL;
    return leaf && leaf->kind == CN_LEAF_VALUE ? leaf->value : NULL;
}

int cairn_state_set_file_stem(cairn_state *state, const char *item, const char *stem, cairn_error *err)
{
    int code = check_call(state, item, stem, "cairn_state_set_file_stem", err);
    if (!code) code = cn_layout_check_item(stem, err);
    if (code) return code;
    uint32_t index = find_item(state, item);
    bool is_new = index == state->items_count;
    if (is_new) code = check_new_item(state, item, err);
    if (!code) code = check_stem(state, index, item, stem, err);
    if (code) return code;
    char *copy = cn_os_copy_text(stem), *name = is_new ? cn_os_copy_text(item) : NULL;
    if (!copy || (is_new && !name)) {
        cn_os_free(copy);
        cn_os_free(name);
        return cn_error_set(err, CAIRN_E_NOMEM, "no memory for the file stem of item '%s'", item);
    }
    if (is_new) state->items[state->items_count++] = (struct cn_item){ .name = name };
    cn_os_free(state->items[index].file_stem);
    state->items[index].file_stem = copy;
    return CAIRN_OK;
}

/* --------------------------------------------------------------------------------------------------------- moving bytes */

int cn_leaf_fetch(const struct cn_leaf *leaf, uint64_t offset, size_t size, void *destination, cairn_error *err)
{
    if (!size) return CAIRN_OK;
    if (leaf->address) {
        cn_copy(destination, (const char *)leaf->address + offset, size);
        return CAIRN_OK;
    }
    int rc = leaf->fetch(leaf->user, offset, size, destination);
    if (!rc) return CAIRN_OK;
    struct cn_shown shown;
    return cn_error_set(err, CAIRN_E_IO, "tensor '%s': its fetch callback failed with %d", cn_show_text(&shown, leaf->key), rc);
}

int cn_leaf_store(const struct cn_leaf *leaf, uint64_t offset, size_t size, const void *source, cairn_error *err)
{
    if (!size) return CAIRN_OK;
    if (leaf->address) {
        cn_copy((char *)leaf->address + offset, source, size);
        return CAIRN_OK;
    }
    int rc = leaf->store(leaf->user, offset, size, source);
    if (!rc) return CAIRN_OK;
    struct cn_shown shown;
    return cn_error_set(err, CAIRN_E_IO, "tensor '%s': its store callback failed with %d", cn_show_text(&shown, leaf->key), rc);
}

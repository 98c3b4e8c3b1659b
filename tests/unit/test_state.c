/* Covers src/snapshot/state.c, src/snapshot/statejson.c, src/snapshot/plan.c, src/snapshot/defaults.c, src/snapshot/pieces.c,
 * src/snapshot/provenance.c and src/snapshot/revision.c: what is bound, how it is planned into files and pieces, and what is written beside the tensors. */
#include "support.h"

#include "base/json.h"
#include "os/os.h"
#include "snapshot/defaults.h"
#include "snapshot/pieces.h"
#include "snapshot/plan.h"
#include "snapshot/provenance.h"
#include "snapshot/revision.h"
#include "snapshot/statejson.h"

static cairn_error err = CAIRN_ERROR_INIT;

static cairn_state *new_state(void)
{
    cairn_state *state = NULL;
    test_ok(cairn_state_new(&state, &err));
    return state;
}

static int bind(cairn_state *state, const char *item, const char *name, cairn_dtype dtype, uint32_t rank, const uint64_t *shape,
                uint32_t flags, void *address)
{
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.rank = rank;
    tensor.shape = shape;
    tensor.flags = flags;
    tensor.address = address;
    return cairn_state_bind_tensor(state, item, &tensor, &err);
}

/* ----------------------------------------------------------------------------------------------------------------- state */

static void calls_without_what_they_need(void **unused)
{
    cairn_state *state = new_state();
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    int64_t number = 0;
    const uint64_t shape[] = { 4 };
    (void)unused;
    test_code(cairn_state_new(NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_tensor(state, "model", NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_tensor(NULL, "model", &tensor, &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_i64(state, "data", "x", NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_i64(state, NULL, "x", &number, &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_i64(state, "data", "", &number, &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_i64(state, "data", "__metadata__", &number, &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_i64(state, "data", "\xff", &number, &err), CAIRN_E_USAGE);
    for (const char *const *name = (const char *const[]){ "/a", "a/", "a//b", "a~", "a~2", NULL }; *name; name++)
        test_code(cairn_state_bind_i64(state, "data", *name, &number, &err), CAIRN_E_USAGE);
    test_ok(cairn_state_bind_i64(state, "data", "a~0b~1c/d", &number, &err));
    test_ok(cairn_state_bind_i64(state, "model", "a//b~", &number, &err)); /* item model: the caller's names as they are */
    test_code(cairn_state_set_value(state, "data", "v", NULL, &err), CAIRN_E_NOMEM);
    test_code(cairn_state_set_value(state, "data", "a~0b~1c/d", cairn_value_null(), &err), CAIRN_E_USAGE);
    test_ok(cairn_state_set_value(state, "data", "v", cairn_value_int(1), &err));
    test_ok(cairn_state_set_value(state, "data", "v", cairn_value_int(2), &err));
    assert_int_equal(cairn_value_get_int(cairn_state_get_value(state, "data", "v")), 2);
    assert_null(cairn_state_get_value(state, "data", "a~0b~1c/d"));
    assert_null(cairn_state_get_value(state, NULL, "v"));
    tensor.name = "t", tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = shape;
    test_code(cairn_state_bind_tensor(state, "model", &tensor, &err), CAIRN_E_USAGE); /* no address */
    tensor.address = &number;
    tensor.fetch = (cairn_fetch_fn)(uintptr_t)1;
    test_code(cairn_state_bind_tensor(state, "model", &tensor, &err), CAIRN_E_USAGE); /* both */
    tensor.fetch = NULL;
    tensor.struct_size = 0;
    test_code(cairn_state_bind_tensor(state, "model", &tensor, &err), CAIRN_E_USAGE);
    tensor.struct_size = sizeof tensor;
    tensor.shape = NULL;
    test_code(cairn_state_bind_tensor(state, "model", &tensor, &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_alias(state, "model", "b", "nothing", &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_alias(state, "model", "b", NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_alias(state, "data", "b", "v", &err), CAIRN_E_USAGE);
    test_code(cairn_state_set_file_stem(state, "model", "a/b", &err), CAIRN_E_USAGE);
    test_code(cairn_state_set_file_stem(state, "model", "data", &err), CAIRN_E_USAGE); /* item data's own */
    test_ok(cairn_state_set_file_stem(state, "model", "adapter_model", &err));
    test_ok(cairn_state_set_file_stem(state, "model", "adapter_model", &err));
    for (int i = 0; i < CN_MAX_ITEMS - 2; i++) {
        char item[32];
        snprintf(item, sizeof item, "item%d", i);
        test_ok(cairn_state_bind_i64(state, item, "x", &number, &err));
    }
    test_code(cairn_state_bind_i64(state, "one-more", "x", &number, &err), CAIRN_E_LIMIT);
    cairn_state_free(state);
    cairn_state_free(NULL);
}

enum kind_of_leaf { TENSOR, ALIAS, I64, VALUE, KINDS };

static int bind_kind(cairn_state *state, const char *item, const char *name, int kind)
{
    static const uint64_t shape[] = { 1 };
    static int64_t number;
    if (kind == TENSOR) return bind(state, item, name, CAIRN_I64, 1, shape, 0, &number);
    if (kind == ALIAS) return cairn_state_bind_alias(state, item, name, "aim", &err);
    if (kind == I64) return cairn_state_bind_i64(state, item, name, &number, &err);
    return cairn_state_set_value(state, item, name, cairn_value_null(), &err);
}

/* Outside item model a name is a path, and what is refused leaves no trace. */
static void a_leaf_is_no_folder_of_leaves(void **unused)
{
    static const char *const inner[] = { "a/b", "a/b/c/d" };
    (void)unused;
    for (int leaf = 0; leaf < KINDS; leaf++)
        for (int other = 0; other < KINDS; other++)
            for (int at = 0; at < 4; at++) {
                cairn_state *state = new_state();
                const char *deep = inner[at & 1], *first = at & 2 ? deep : "a", *second = at & 2 ? "a" : deep;
                test_ok(bind_kind(state, "opt", "aim", TENSOR));
                test_ok(bind_kind(state, "model", "aim", TENSOR));
                test_ok(bind_kind(state, "opt", first, leaf));
                test_code(bind_kind(state, "opt", second, other), CAIRN_E_USAGE);
                assert_string_equal(err.message, "\"opt/a\" is bound both as a leaf and as a folder of leaves");
                assert_null(cn_state_find(state, "opt", second));
                test_ok(bind_kind(state, "opt", at & 2 ? "a/b2" : "ab", other));
                test_ok(bind_kind(state, "other", second, TENSOR));
                test_ok(bind_kind(state, "model", first, leaf)); /* its names are no paths */
                test_ok(bind_kind(state, "model", second, other));
                struct cn_buf buf;
                cn_buf_init(&buf, cn_os_alloc(), 1 << 20);
                test_ok(cn_statejson_write(state, &buf, &err));
                cn_buf_done(&buf);
                cairn_state_free(state);
            }
}

static void a_name_has_so_many_parts(void **unused)
{
    char name[2 * CN_MAX_NAME_PARTS + 2] = "p";
    cairn_state *state = new_state();
    (void)unused;
    for (int i = 1; i < CN_MAX_NAME_PARTS; i++) strcat(name, "/p");
    test_ok(bind_kind(state, "opt", name, I64));
    strcat(name, "/p");
    test_code(bind_kind(state, "opt", name, I64), CAIRN_E_LIMIT);
    test_ok(bind_kind(state, "model", name, I64));
    struct cn_buf buf;
    cairn_value *items;
    cn_buf_init(&buf, cn_os_alloc(), 1 << 20);
    test_ok(cn_statejson_write(state, &buf, &err));
    test_ok(cn_statejson_read(buf.data, buf.size, &items, &err));
    assert_non_null(cn_statejson_find(items, "model", name));
    name[strlen(name) - 2] = 0;
    assert_non_null(cn_statejson_find(items, "opt", name));
    cairn_value_free(items);
    cn_buf_done(&buf);
    cairn_state_free(state);
}

/* The ways a tree can nest, one in the other. */
static cairn_value *nest(int kind, cairn_value *inner)
{
    cairn_value *value = kind == 0 ? cairn_value_list() : kind == 1 ? cairn_value_tuple() : cairn_value_map();
    if (kind < 2)
        cairn_value_append(value, inner);
    else if (kind == 2)
        cairn_value_set(value, "key", inner);
    else
        cairn_value_set_pair(value, cairn_value_int(1), inner);
    if (kind == 4) cairn_value_set_tag(value, "T");
    return value;
}

/* A value that can be saved can be read back, whatever its name takes of the levels; a deeper one is refused when it is set. */
static void what_is_nested_too_deeply_is_refused(void **unused)
{
    (void)unused;
    for (int parts = 1; parts <= 30; parts += parts == 1 ? 3 : 26)
        for (int kind = 0; kind < 5; kind++) {
            char name[100] = "p";
            int saved = 0, refused = 0;
            for (int i = 1; i < parts; i++) strcat(name, "/p");
            for (int levels = 0; levels < 70; levels++) {
                cairn_state *state = new_state();
                cairn_value *value = levels & 1 ? cairn_value_float(1.0 / 0.0) : cairn_value_null(), *items = NULL;
                struct cn_buf buf;
                for (int i = 0; i < levels; i++) value = nest(kind, value);
                int code = cairn_state_set_value(state, "data", name, value, &err);
                cn_buf_init(&buf, cn_os_alloc(), 1 << 20);
                if (code) {
                    test_code(code, CAIRN_E_LIMIT);
                    assert_non_null(strstr(err.message, name));
                    assert_null(cairn_state_get_value(state, "data", name));
                    refused++;
                } else {
                    test_ok(cn_statejson_write(state, &buf, &err));
                    test_ok(cn_statejson_read(buf.data, buf.size, &items, &err));
                    assert_non_null(cn_statejson_find(items, "data", name));
                    saved = levels;
                }
                cairn_value_free(items);
                cn_buf_done(&buf);
                cairn_state_free(state);
            }
            assert_true(refused && saved >= (60 - parts) / 4 - 1);
            if (kind == 0) assert_int_equal(saved, 62 - parts - (62 - parts) % 2); /* an odd one ends in an Inf, a level more */
        }
}

static void what_could_not_be_saved_is_not_set(void **unused)
{
    cairn_value *bad[5];
    cairn_state *state = new_state();
    (void)unused;
    bad[0] = cairn_value_string("\xff\xfe", 2);
    bad[1] = cairn_value_list();
    assert_int_equal(cairn_value_append(bad[1], cairn_value_string("ok\xc0", 3)), CAIRN_OK);
    bad[2] = cairn_value_map();
    assert_int_equal(cairn_value_set(bad[2], "a\xe2\x82", cairn_value_null()), CAIRN_OK);
    bad[3] = cairn_value_null();
    assert_int_equal(cairn_value_set_tag(bad[3], "\x80"), CAIRN_OK);
    bad[4] = cairn_value_map();
    for (int i = 0; i < 2; i++) assert_int_equal(cairn_value_set_pair(bad[4], cairn_value_string("k", 1), cairn_value_null()), CAIRN_OK);
    test_ok(cairn_state_set_value(state, "loop", "old", cairn_value_int(7), &err));
    for (int i = 0; i < 5; i++) {
        const char *name = i & 1 ? "old" : "new";
        test_code(cairn_state_set_value(state, "loop", name, bad[i], &err), CAIRN_E_USAGE);
        if (!strstr(err.message, i & 1 ? "the value 'loop/old': " : "the value 'loop/new': ")) fail_msg("%s", err.message);
        assert_non_null(strstr(err.message, i < 4 ? "UTF-8" : "the key \"k\" twice"));
        assert_int_equal(cairn_value_get_int(cairn_state_get_value(state, "loop", "old")), 7);
        assert_null(cairn_state_get_value(state, "loop", "new"));
    }
    test_ok(cairn_state_set_value(state, "loop", "new", cairn_value_bytes("\xff\xfe", 2), &err));
    cairn_state_free(state);
}

static int refuse(void *user, uint64_t offset, size_t size, void *destination)
{
    (void)user, (void)offset, (void)size, (void)destination;
    return 42;
}

static int refuse_store(void *user, uint64_t offset, size_t size, const void *source)
{
    (void)user, (void)offset, (void)size, (void)source;
    return 43;
}

static void callbacks_that_fail_are_named(void **unused)
{
    cairn_state *state = new_state();
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    const uint64_t shape[] = { 4 };
    char bytes[4];
    (void)unused;
    tensor.name = "t", tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = shape, tensor.fetch = refuse, tensor.store = refuse_store;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    const struct cn_leaf *leaf = cn_state_find(state, "model", "t");
    test_code(cn_leaf_fetch(leaf, 0, 4, bytes, &err), CAIRN_E_IO);
    assert_non_null(strstr(err.message, "'model/t'"));
    assert_non_null(strstr(err.message, "42"));
    test_code(cn_leaf_store(leaf, 0, 4, bytes, &err), CAIRN_E_IO);
    assert_non_null(strstr(err.message, "43"));
    test_ok(cn_leaf_fetch(leaf, 0, 0, bytes, &err));
    test_ok(cn_leaf_store(leaf, 0, 0, bytes, &err));
    cairn_state_free(state);
}

/* ------------------------------------------------------------------------------------------------------------ state.json */

static void leaves_come_back_by_their_names(void **unused)
{
    cairn_state *state = new_state();
    static const uint64_t shape[] = { 2 };
    float data[2];
    int64_t number = -5;
    uint64_t large = UINT64_MAX;
    double real = 0.1;
    int truth = 1;
    struct cn_buf buf;
    cairn_value *items;
    (void)unused;
    test_ok(bind(state, "model", "w.0", CAIRN_F32, 1, shape, 0, data));
    test_ok(cairn_state_bind_alias(state, "model", "head", "w.0", &err));
    test_ok(bind(state, "optimizer", "state/0/exp_avg", CAIRN_F32, 1, shape, 0, data));
    test_ok(cairn_state_bind_i64(state, "optimizer", "state/0/step", &number, &err));
    test_ok(cairn_state_bind_u64(state, "rng", "a~1b", &large, &err));
    test_ok(cairn_state_bind_f64(state, "rng", "x", &real, &err));
    test_ok(cairn_state_bind_bool(state, "model", "tied", &truth, &err));
    test_ok(cairn_state_set_value(state, "extra", "v", cairn_value_string("hi", 2), &err));
    cn_buf_init(&buf, cn_os_alloc(), 1 << 20);
    test_ok(cn_statejson_write(state, &buf, &err));
    test_ok(cn_statejson_read(buf.data, buf.size, &items, &err));
    assert_int_equal(cairn_value_count(items), 4);
    assert_string_equal(cairn_value_get_data(cn_statejson_find(items, "model", "head"), NULL), "w.0");
    assert_int_equal(cairn_value_get_int(cn_statejson_find(items, "optimizer", "state/0/step")), -5);
    assert_int_equal(cairn_value_kind(cn_statejson_find(items, "optimizer", "state/0/exp_avg")), CAIRN_TENSOR_REF);
    assert_string_equal(cairn_value_get_data(cn_statejson_find(items, "rng", "a~1b"), NULL), "18446744073709551615");
    assert_true(cairn_value_get_float(cn_statejson_find(items, "rng", "x")) == 0.1);
    assert_null(cn_statejson_find(items, "rng", "a/b"));
    assert_null(cn_statejson_find(items, "nothing", "x"));
    assert_null(cn_statejson_find(items, "rng", "x/y"));
    cairn_value_free(items);
    for (size_t at = 0; at < buf.size; at++) { /* any cut and any changed byte is told */
        assert_int_not_equal(cn_statejson_read(buf.data, at, &items, &err), CAIRN_OK);
        buf.data[at] ^= 4;
        assert_int_not_equal(cn_statejson_read(buf.data, buf.size, &items, &err), CAIRN_OK);
        buf.data[at] ^= 4;
    }
    cn_buf_done(&buf);
    cairn_state_free(state);
}

/* ------------------------------------------------------------------------------------------------------------------ plan */

/* Every byte of every data section in exactly one piece, whole blocks, slots that hold them. */
static void check_plan(const struct cn_plan *plan, uint64_t shard_bytes)
{
    uint64_t at = 0, blocks = 0;
    uint32_t file = UINT32_MAX;
    for (uint64_t i = 0; i < plan->pieces_count; i++) {
        const struct cn_plan_piece *piece = &plan->pieces[i];
        uint64_t from, to, end;
        if (piece->file != file) {
            assert_true(file == UINT32_MAX || at == plan->files[file].size_bytes);
            file = piece->file;
            at = plan->files[file].header.size;
        }
        assert_true(piece->begin == at && piece->end > piece->begin && piece->end - piece->begin <= plan->piece_bytes);
        cn_plan_pages(plan, piece, &from, &to, &end);
        assert_true(from % CN_PAGE_BYTES == 0 && to % CN_PAGE_BYTES == 0 && end >= piece->end && end <= plan->files[file].size_bytes);
        assert_true(to - (piece->begin / CN_PAGE_BYTES * CN_PAGE_BYTES) <= plan->piece_bytes + 2 * CN_PAGE_BYTES);
        at = piece->end;
    }
    assert_true(!plan->pieces_count || at == plan->files[file].size_bytes);
    for (uint64_t i = 0; i < plan->tensors_count; i++) {
        assert_int_equal(plan->tensors[i].first_block, blocks);
        blocks += plan->tensors[i].blocks;
    }
    assert_int_equal(blocks, plan->blocks_count);
    for (uint32_t i = 0; i < plan->files_count; i++) {
        assert_true(plan->files[i].tensors && plan->files[i].header.size % CN_PAGE_BYTES == 0);
        assert_true(plan->files[i].tensors == 1 || plan->files[i].size_bytes - plan->files[i].header.size <= shard_bytes);
    }
}

static void plans_cover_every_byte_once(void **unused)
{
    uint32_t random = 5;
    (void)unused;
    for (int round = 0; round < 40; round++) {
        cairn_state *state = new_state();
        struct cn_plan plan, again;
        struct cn_plan_limits limits = { round % 3 ? UINT64_C(20) << 20 : UINT64_C(5000000000),
                                         round % 2 ? CN_BLOCK_BYTES : 4 * CN_BLOCK_BYTES };
        for (int i = 0; i < 30; i++) {
            static const cairn_dtype dtypes[] = { CAIRN_F32, CAIRN_BF16, CAIRN_U8, CAIRN_F64, CAIRN_F4 };
            char name[32];
            random = random * 1664525 + 1013904223;
            uint64_t shape[] = { i % 7 ? ((random >> 4) % (i % 5 ? 5000 : 3000000)) * 2 : 0 };
            snprintf(name, sizeof name, "t%d", (int)(random >> 8) % 1000 * 100 + i);
            test_ok(bind(state, i % 4 ? "model" : "optimizer", name, dtypes[random >> 16 & 3], 1, shape,
                         i % 3 ? CAIRN_TRAINABLE : CAIRN_FROZEN, &random));
        }
        test_ok(cn_plan_make(state, &limits, &plan, &err));
        check_plan(&plan, limits.shard_bytes);
        test_ok(cn_plan_make(state, &limits, &again, &err)); /* a pure function */
        assert_true(again.pieces_count == plan.pieces_count && again.files_count == plan.files_count);
        for (uint32_t i = 0; i < plan.files_count; i++) {
            assert_string_equal(plan.files[i].name, again.files[i].name);
            assert_memory_equal(plan.files[i].header.data, again.files[i].header.data, plan.files[i].header.size);
        }
        cn_plan_free(&again);
        cn_plan_free(&plan);
        cairn_state_free(state);
    }
}

static void an_item_under_a_name_of_its_own_is_one_file(void **unused)
{
    static const uint64_t shape[] = { 1000 };
    struct cn_plan_limits limits = { 1000, CN_BLOCK_BYTES };
    struct cn_plan plan;
    uint32_t memory;
    (void)unused;
    for (int named = 0; named < 2; named++) {
        cairn_state *state = new_state();
        test_ok(bind(state, "model", "a", CAIRN_U8, 1, shape, CAIRN_FROZEN, &memory));
        test_ok(bind(state, "model", "b", CAIRN_F32, 1, shape, CAIRN_TRAINABLE, &memory));
        test_ok(bind(state, "model", "c", CAIRN_F32, 1, shape, 0, &memory));
        if (named) test_ok(cairn_state_set_file_stem(state, "model", "adapter_model", &err));
        test_ok(cn_plan_make(state, &limits, &plan, &err));
        assert_int_equal(plan.files_count, named ? 1 : 3);
        assert_string_equal(plan.files[0].name, named ? "adapter_model.safetensors" : "model-00001-of-00003.safetensors");
        assert_string_equal(plan.tensors[0].leaf->name, named ? "b" : "a"); /* wide elements first, frozen or not */
        cn_plan_free(&plan);
        cairn_state_free(state);
    }
}

static void frozen_tensors_lie_apart(void **unused)
{
    cairn_state *state = new_state();
    struct cn_plan plan;
    static const uint64_t shape[] = { 1000 };
    static float data[1000];
    (void)unused;
    test_ok(bind(state, "model", "a", CAIRN_F32, 1, shape, CAIRN_TRAINABLE, data));
    test_ok(bind(state, "model", "b", CAIRN_F32, 1, shape, CAIRN_FROZEN, data));
    test_ok(bind(state, "model", "c", CAIRN_F32, 1, shape, CAIRN_TRAINABLE, data));
    test_ok(cn_plan_make(state, &(struct cn_plan_limits){ UINT64_C(5000000000), CN_BLOCK_BYTES }, &plan, &err));
    assert_int_equal(plan.files_count, 2);
    assert_string_equal(plan.files[0].name, "model-00001-of-00002.safetensors");
    assert_true(plan.files[0].tensors == 1 && !strcmp(plan.tensors[0].leaf->name, "b"));
    cn_plan_free(&plan);
    cairn_state_free(state);
}

static int note_index(void *user, const char *name, const struct cn_buf *content, cairn_error *error)
{
    (void)error;
    assert_non_null(strstr(content->data, "model-00001-of-00002.safetensors"));
    strcat(user, name);
    return 0;
}

/* A job goes by its plan, while the caller may give the item another stem. */
static void a_plan_keeps_its_names(void **unused)
{
    cairn_state *state = new_state();
    struct cn_plan plan;
    char names[400] = "";
    static const uint64_t shape[] = { 1000 };
    static float data[1000];
    (void)unused;
    test_ok(bind(state, "model", "a", CAIRN_F32, 1, shape, CAIRN_TRAINABLE, data));
    test_ok(bind(state, "model", "b", CAIRN_F32, 1, shape, CAIRN_FROZEN, data));
    test_ok(bind(state, "optimizer", "c", CAIRN_F32, 1, shape, CAIRN_OPTIMIZER, data));
    test_ok(cn_plan_make(state, &(struct cn_plan_limits){ UINT64_C(5000000000), CN_BLOCK_BYTES }, &plan, &err));
    test_ok(cairn_state_set_file_stem(state, "model", "another", &err));
    test_ok(cn_plan_indexes(&plan, note_index, names, &err));
    assert_string_equal(names, "model.safetensors.index.json");
    cn_plan_free(&plan);
    cairn_state_free(state);
}

/* Two items must not plan the same file, whichever of them comes first; and what was refused leaves no item behind. */
static void file_stems_belong_to_one_item(void **unused)
{
    cairn_state *state = new_state();
    int64_t number = 0;
    (void)unused;
    test_ok(cairn_state_set_file_stem(state, "optimizer", "opt", &err));
    test_code(cairn_state_bind_i64(state, "opt", "x", &number, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "'opt' and 'optimizer'"));
    test_code(cairn_state_bind_i64(state, "data", "", &number, &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_i64(state, "data", "a//b", &number, &err), CAIRN_E_USAGE);
    test_code(cairn_state_set_file_stem(state, "data", "opt", &err), CAIRN_E_USAGE);
    assert_int_equal(state->items_count, 1);
    test_ok(cairn_state_bind_i64(state, "optimizer", "x", &number, &err));
    test_code(cairn_state_bind_i64(state, "optimizer", "x", &number, &err), CAIRN_E_USAGE);
    test_ok(cairn_state_set_file_stem(state, "optimizer", "other", &err));
    test_ok(cairn_state_bind_i64(state, "opt", "x", &number, &err));
    assert_int_equal(state->items_count, 2);
    cairn_state_free(state);
}

static void a_state_of_nothing_has_a_plan(void **unused)
{
    cairn_state *state = new_state();
    struct cn_plan plan;
    static const uint64_t none[] = { 0 }, huge[] = { UINT64_C(1) << 47 };
    char byte;
    (void)unused;
    test_ok(cn_plan_make(state, &(struct cn_plan_limits){ 1000, CN_BLOCK_BYTES }, &plan, &err));
    assert_true(!plan.files_count && !plan.pieces_count);
    cn_plan_free(&plan);
    test_ok(bind(state, "model", "empty", CAIRN_F32, 1, none, 0, NULL));
    test_ok(cn_plan_make(state, &(struct cn_plan_limits){ 1000, CN_BLOCK_BYTES }, &plan, &err));
    assert_true(plan.files_count == 1 && !plan.pieces_count);
    cn_plan_free(&plan);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "h%d", i);
        test_ok(bind(state, "model", name, CAIRN_U8, 1, huge, 0, &byte));
    }
    test_code(cn_plan_make(state, &(struct cn_plan_limits){ 1000, CN_BLOCK_BYTES }, &plan, &err), CAIRN_E_LIMIT);
    cairn_state_free(state);
}

/* ---------------------------------------------------------------------------------------------------------------- pieces */

struct walk {
    uint64_t bytes[64];
    const struct cn_table *table;
};

static int add_block(void *user, const struct cn_table_row *row, uint64_t block, const unsigned char *data, size_t size, cairn_error *error)
{
    struct walk *walk = user;
    (void)data, (void)error;
    assert_true(block < cn_table_blocks(row->size_bytes) && size <= CN_BLOCK_BYTES);
    walk->bytes[row - walk->table->rows] += size;
    return 0;
}

static void what_is_wanted_is_read_once(void **unused)
{
    struct cn_table_row rows[64];
    struct cn_table_file files[] = { { "a", 0 }, { "b", 0 } };
    struct cn_table table = { .rows = rows, .count = 64, .files = files, .files_count = 2 };
    uint32_t random = 3;
    (void)unused;
    for (int round = 0; round < 50; round++) {
        bool wanted[64];
        struct cn_pieces pieces;
        struct walk walk = { .table = &table };
        uint64_t at = 4096, total = 0;
        for (int i = 0; i < 64; i++) {
            random = random * 1664525 + 1013904223;
            if (i == 40) at = 4096;
            rows[i] = (struct cn_table_row){ .file = i >= 40,
                                             .begin = at,
                                             .size_bytes = i % 9 ? (random >> 8) % 100000 : (random >> 8) % 20000000 };
            at += rows[i].size_bytes;
            wanted[i] = round == 0 || random >> 30;
            total += wanted[i] ? rows[i].size_bytes : 0;
        }
        test_ok(cn_pieces_cut(&table, round ? wanted : NULL, &pieces, &err));
        assert_int_equal(pieces.total_bytes, total);
        for (uint64_t i = 0; i < pieces.count; i++) {
            assert_true(pieces.list[i].end - pieces.list[i].begin <= CN_BLOCK_BYTES);
            test_ok(cn_pieces_walk(&table, &pieces.list[i], NULL, add_block, &walk, &err));
        }
        for (int i = 0; i < 64; i++) assert_int_equal(walk.bytes[i], wanted[i] ? rows[i].size_bytes : 0);
        cn_pieces_free(&pieces);
    }
}

/* ------------------------------------------------------------------------------------------------------------ provenance */

static char command_line[4096];
static size_t command_size;

size_t __wrap_cn_os_command_line(char *ret_text, size_t size);
size_t __wrap_cn_os_command_line(char *ret_text, size_t size)
{
    assert_true(command_size <= size);
    memcpy(ret_text, command_line, command_size);
    return command_size;
}

static void expect_command(const char *arguments, size_t size, const char *want)
{
    struct cn_buf buf;
    memcpy(command_line, arguments, size);
    command_size = size;
    cn_buf_init(&buf, cn_os_alloc(), 1 << 20);
    cn_auto_free struct cn_origin *origin = cn_origin_ask();
    test_ok(cn_provenance_write(origin, "{\"lr\": 1}", &buf, &err));
    if (!strstr(buf.data, want)) fail_msg("no %s in %s", want, buf.data);
    assert_null(strstr(buf.data, "hunter2"));
    assert_non_null(strstr(buf.data, "\"config\":\"{\\\"lr\\\": 1}\""));
    assert_int_equal(cn_json_check_seal(buf.data, buf.size, &err), 0);
    cn_buf_done(&buf);
}

#define EXPECT_COMMAND(arguments, want) expect_command(arguments "\0", sizeof(arguments), want)

static void secrets_are_left_out(void **unused)
{
    (void)unused;
    EXPECT_COMMAND("train\0--lr\0"
                   "0.1",
                   "\"command\":[\"train\",\"--lr\",\"0.1\"]");
    EXPECT_COMMAND("train\0--api-key=hunter2\0x", "\"command\":[\"train\",\"--api-key=[redacted]\",\"x\"]");
    EXPECT_COMMAND("train\0--token\0hunter2\0x", "\"command\":[\"train\",\"--token\",\"[redacted]\",\"x\"]");
    EXPECT_COMMAND("train\0HF_TOKEN=hunter2", "\"HF_TOKEN=[redacted]\"");
    EXPECT_COMMAND("train\0--Password\0hunter2", "\"[redacted]\"");
    EXPECT_COMMAND("train\0--secret\0--verbose", "\"--secret\",\"--verbose\"");
    EXPECT_COMMAND("train\0my-token-file", "\"my-token-file\"");
    EXPECT_COMMAND("train\0--tracking=https://me:hunter2@host/x\0y", "\"command\":[\"train\",\"[redacted]\",\"y\"]");
    EXPECT_COMMAND("train\0https://host:80/a@b", "\"https://host:80/a@b\"");
}

static void provenance_has_an_end(void **unused)
{
    struct cn_buf buf;
    char *config = malloc(10000);
    (void)unused;
    memset(config, 'x', 9999);
    config[9999] = 0;
    cn_buf_init(&buf, cn_os_alloc(), 8000);
    cn_auto_free struct cn_origin *origin = cn_origin_ask();
    test_code(cn_provenance_write(origin, config, &buf, &err), CAIRN_E_LIMIT);
    cn_buf_done(&buf);
    free(config);
}

#define ONE "1111111111111111111111111111111111111111"
#define TWO "2222222222222222222222222222222222222222222222222222222222222222"

static void revisions_are_found_without_git(void **unused)
{
    static const struct {
        const char *make, *want;
    } cases[] = {
        { "printf 'ref: refs/heads/main\\n' > HEAD && printf '" ONE "\\n' > refs/heads/main", ONE },
        { "printf '" ONE "\\n' > HEAD", ONE },
        { "printf '" TWO "\\n' > HEAD", TWO },
        { "printf 'ref: refs/heads/main\\n' > HEAD && printf '# pack-refs with: peeled\\n" ONE " refs/heads/main2\\n" TWO
          " refs/heads/main\\n' > packed-refs",
          TWO },
        { "printf 'ref: refs/heads/a/b\\n' > HEAD && mkdir refs/heads/a && printf '" ONE "\\n' > refs/heads/a/b", ONE },
        { "printf 'ref: refs/heads/none\\n' > HEAD", "" },
        { "printf 'ref: refs/../../outside\\n' > HEAD && printf '" ONE "\\n' > ../outside", "" },
        { "printf 'ref: refs/heads/main\\n' > HEAD && printf 'not a revision' > refs/heads/main", "" },
        { "true", "" },
    };
    char revision[CN_REVISION_BYTES], folder[4096], deep[4200];
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_non_null(realpath(test_folder("git"), folder));
        test_shell("mkdir -p %s/.git/refs/heads %s/a/b && cd %s/.git && %s", folder, folder, folder, cases[i].make);
        cn_revision_find(folder, revision);
        assert_string_equal(revision, cases[i].want);
        snprintf(deep, sizeof deep, "%s/a/b/", folder);
        cn_revision_find(deep, revision);
        assert_string_equal(revision, cases[i].want);
    }
    cn_revision_find("relative", revision);
    assert_string_equal(revision, "");
    cn_revision_find("/", revision);
    assert_string_equal(revision, "");
}

static void what_nobody_asked_for_has_bounds(void **unused)
{
    (void)unused;
    for (int work = CN_WORK_BEHIND; work <= CN_WORK_WAITED_FOR; work++)
        assert_true(cn_defaults_threads(16, (enum cn_work)work) == 16 && cn_defaults_threads(1, (enum cn_work)work) == 1);
    assert_int_equal(cn_defaults_threads(0, CN_WORK_BEHIND), 4);
    assert_int_equal(cn_defaults_threads(0, CN_WORK_WAITED_FOR), 8);
    assert_int_equal(cn_defaults_slots(100, 10, 100000), 10);
    assert_int_equal(cn_defaults_slots(100, 10, 599), 5);
    assert_int_equal(cn_defaults_slots(100, 10, 1), CN_MIN_ARENA_PIECES);
    assert_int_equal(cn_defaults_slots(100, 1, 0), CN_MIN_ARENA_PIECES);
    assert_int_equal(cn_defaults_slots(1, UINT64_MAX, UINT64_MAX), 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_without_what_they_need),
        cmocka_unit_test(callbacks_that_fail_are_named),
        cmocka_unit_test(leaves_come_back_by_their_names),
        cmocka_unit_test(plans_cover_every_byte_once),
        cmocka_unit_test(a_leaf_is_no_folder_of_leaves),
        cmocka_unit_test(a_name_has_so_many_parts),
        cmocka_unit_test(what_is_nested_too_deeply_is_refused),
        cmocka_unit_test(what_could_not_be_saved_is_not_set),
        cmocka_unit_test(frozen_tensors_lie_apart),
        cmocka_unit_test(an_item_under_a_name_of_its_own_is_one_file),
        cmocka_unit_test(a_plan_keeps_its_names),
        cmocka_unit_test(file_stems_belong_to_one_item),
        cmocka_unit_test(what_nobody_asked_for_has_bounds),
        cmocka_unit_test(a_state_of_nothing_has_a_plan),
        cmocka_unit_test(what_is_wanted_is_read_once),
        cmocka_unit_test(secrets_are_left_out),
        cmocka_unit_test(provenance_has_an_end),
        cmocka_unit_test(revisions_are_found_without_git),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

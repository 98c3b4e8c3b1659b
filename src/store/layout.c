/* Names on disk (see layout.h). Pure functions over text: no file is looked at. */
#include "store/layout.h"

#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "base/limits.h"
#include "base/utf8.h"

#define FOLDER_PREFIX "checkpoint-"

bool cn_layout_parse_folder(const char *name, uint64_t *ret_step, uint64_t *ret_term)
{
    uint64_t step, term = 0;
    if (strncmp(name, FOLDER_PREFIX, strlen(FOLDER_PREFIX))) return false;
    name += strlen(FOLDER_PREFIX);
    if (!cn_decimal_take(&name, &step)) return false;
    if (*name == '~') {
        name++;
        if (!cn_decimal_take(&name, &term) || !term) return false;
    }
    if (*name) return false;
    *ret_step = step;
    *ret_term = term;
    return true;
}

void cn_layout_folder(uint64_t step, uint64_t term, char ret_name[CN_FOLDER_NAME_BYTES])
{
    if (term)
        snprintf(ret_name, CN_FOLDER_NAME_BYTES, FOLDER_PREFIX "%llu~%llu", (unsigned long long)step, (unsigned long long)term);
    else
        snprintf(ret_name, CN_FOLDER_NAME_BYTES, FOLDER_PREFIX "%llu", (unsigned long long)step);
}

bool cn_layout_name_is_odd(const char *name, uint64_t step, char ret_text[CN_ODD_NAME_BYTES])
{
    uint64_t named, term;
    if (!cn_layout_parse_folder(name, &named, &term) || named == step) return false;
    snprintf(ret_text, CN_ODD_NAME_BYTES, "it is of step %llu, whatever its name says", (unsigned long long)step);
    return true;
}

bool cn_layout_looks_like_checkpoint(const char *name)
{
    return !strncmp(name, FOLDER_PREFIX, strlen(FOLDER_PREFIX));
}

static bool is_item_character(char character, bool first)
{
    return (character >= 'A' && character <= 'Z') || (character >= 'a' && character <= 'z') || (character >= '0' && character <= '9') ||
           character == '_' || (!first && (character == '.' || character == '-'));
}

int cn_layout_check_item(const char *item, cairn_error *err)
{
    static const char *const taken[] = { "state", "tensors", "provenance" };
    size_t size = strlen(item);
    bool good = size && size <= CN_MAX_ITEM_BYTES;
    for (size_t i = 0; i < size && good; i++) good = is_item_character(item[i], i == 0);
    for (size_t i = 0; i < 3 && good; i++) good = strcmp(item, taken[i]) != 0;
    if (good) return CAIRN_OK;
    struct cn_shown shown;
    return cn_error_set(
        err, CAIRN_E_USAGE,
        "item name \"%s\": it must be 1 to 64 of A-Z a-z 0-9 _ . -, start with a letter, digit or _, and not be state, tensors or provenance",
        cn_show_text(&shown, item));
}

/* Not too many parts joined by single '/', none of them ".", ".." or hidden; no control characters, no backslash. */
static bool is_plain_path(const char *name, size_t size)
{
    int folders = -1;
    if (!size || size > CN_MAX_NAME_BYTES || memchr(name, 0, size) || cn_utf8_check(name, size) != size) return false;
    for (size_t start = 0; start <= size;) {
        if (++folders > CN_MAX_FOLDER_DEPTH) return false;
        const char *slash = memchr(name + start, '/', size - start);
        size_t end = slash ? (size_t)(slash - name) : size;
        if (end == start || end - start > CN_MAX_PART_BYTES || name[start] == '.' || name[start] == '-') return false;
        start = end + 1;
    }
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == '\\' || name[i] == ':') return false;
    return true;
}

/* What has a meaning in a run's folder, or in RUN@STEP. */
static const char *run_name_problem(const char *name)
{
    size_t size = strlen(name);
    if (!strcmp(name, CN_NAME_LATEST) || !strcmp(name, CN_NAME_BEST) || cn_layout_looks_like_checkpoint(name))
        return "names like it lead to checkpoints";
    if (name[0] == '.' && strspn(name, ".") < size) return "listings leave out what is hidden";
    if (strchr(name, '@')) return "what follows an '@' is taken for a step or a tag";
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) return "control characters make it unreadable";
    return cn_utf8_check(name, size) == size ? NULL : "it is not UTF-8";
}

int cn_layout_check_run(const char *path, cairn_error *err)
{
    struct cn_shown shown;
    const char *slash = strrchr(path, '/'), *problem = run_name_problem(slash ? slash + 1 : path);
    if (!problem) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE, "%s: choose another name for a run: %s", cn_show_text(&shown, path), problem);
}

int cn_layout_check_file(const char *name, size_t size, cairn_error *err)
{
    struct cn_shown shown;
    if (is_plain_path(name, size) && strcmp(name, CN_NAME_MANIFEST)) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_PATH, "\"%s\" is not a plain file name within a checkpoint", cn_show(&shown, name, size));
}

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name), end_size = strlen(end);
    return size >= end_size && !strcmp(name + size - end_size, end);
}

int cn_layout_check_attachment(const char *name, cairn_error *err)
{
    struct cn_shown shown;
    size_t size = strlen(name), training = strlen(CN_NAME_TRAINING);
    const char *problem = NULL;
    if (!is_plain_path(name, size))
        problem = "give a relative path of plain names";
    else if (!strncmp(name, CN_NAME_TRAINING, training) && (!name[training] || name[training] == '/'))
        problem = "training/ is Cairn's own folder";
    else if (!strcmp(name, CN_NAME_MANIFEST) || !strncmp(name, CN_NAME_MARKS, strlen(CN_NAME_MARKS)) || !strcmp(name, CN_NAME_RETIRED))
        problem = "that name is Cairn's own";
    else if (ends_with(name, ".safetensors") || ends_with(name, ".safetensors.index.json"))
        problem = "model loaders would read it as weights";
    if (!problem) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_PATH, "attached file \"%s\": %s", cn_show_text(&shown, name), problem);
}

/* A tag must not be taken for a step, a selector or a mark of ours. */
static bool is_tag(const char *tag)
{
    static const char *const taken[] = { CN_NAME_LATEST, CN_NAME_BEST, "head", "pinned" };
    size_t size = tag ? strlen(tag) : 0;
    if (!size || size > CN_MAX_TAG_BYTES) return false;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (!strcmp(tag, taken[i])) return false;
    if (strspn(tag, "0123456789~") == size) return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)tag[i] <= 0x20 || tag[i] == 0x7f || strchr("/@~", tag[i])) return false;
    return cn_utf8_check(tag, size) == size;
}

int cn_layout_check_tag(const char *tag, cairn_error *err)
{
    struct cn_shown shown;
    if (is_tag(tag)) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE,
                        "tag \"%s\": 1 to %d bytes, no number, not latest, best, head or pinned, no space, '/', '@' or '~'",
                        cn_show_text(&shown, tag ? tag : ""), CN_MAX_TAG_BYTES);
}

static bool is_metric(const char *name)
{
    size_t size = name ? strlen(name) : 0;
    return size && size <= CN_MAX_METRIC_NAME_BYTES && cn_utf8_check(name, size) == size;
}

int cn_layout_check_metric(const char *name, cairn_error *err)
{
    struct cn_shown shown;
    if (is_metric(name)) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE, "metric \"%s\": its name must be 1 to %d bytes of UTF-8",
                        cn_show_text(&shown, name ? name : ""), CN_MAX_METRIC_NAME_BYTES);
}

static const char *folder_of(const char *item)
{
    return strcmp(item, CN_ITEM_MODEL) ? CN_NAME_TRAINING "/" : "";
}

int cn_layout_data_file(const char *item, const char *stem, uint32_t index, uint32_t shards, char *ret_name, size_t size)
{
    if (!stem) stem = item;
    int count = shards > 1 ? snprintf(ret_name, size, "%s%s-%05u-of-%05u.safetensors", folder_of(item), stem, index, shards)
                           : snprintf(ret_name, size, "%s%s.safetensors", folder_of(item), stem);
    return count < 0 || (size_t)count >= size || shards > 99999 ? CAIRN_E_LIMIT : CAIRN_OK;
}

int cn_layout_index_file(const char *item, const char *stem, char *ret_name, size_t size)
{
    int count = snprintf(ret_name, size, "%s%s.safetensors.index.json", folder_of(item), stem ? stem : item);
    return count < 0 || (size_t)count >= size ? CAIRN_E_LIMIT : CAIRN_OK;
}

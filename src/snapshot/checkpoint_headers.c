/* The headers of data files, held against the table when a checkpoint is opened: tensors.json must not say of a file what another reader of it
 * would not see. A header that is, byte for byte, what our writer makes of the table's rows needs no parsing: that they agree is seen by comparing.
 * Every other one is parsed and compared tensor by tensor. */
#include <string.h>

#include "format/safetensors.h"
#include "snapshot/checkpoint_parts.h"

/* A file, and the rows that lie in it. */
struct part {
    const cairn_checkpoint *checkpoint;
    const struct cn_infile *in;
    const struct cn_manifest_file *entry;
    const struct cn_table_row *rows;
    uint64_t count;
};

static int no_memory(const cairn_checkpoint *checkpoint, cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory to open it", checkpoint->path);
}

static int mismatch(const cairn_checkpoint *checkpoint, const char *file, const char *what, cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_FORMAT, "%s/%s: its header and tensors.json disagree: %s", checkpoint->path, file, what);
}

/* ----------------------------------------------------------------------------------------------- as our writer writes it */

/* Not where no writer of ours has such rows in one file: a header of them might name a tensor twice, or leave a hole. */
static bool match_rows(const struct part *part, struct cn_st_match *match)
{
    uint64_t data = part->entry->header_bytes, end = data;
    for (uint64_t i = 0; i < part->count && match->same; i++) {
        const struct cn_table_row *row = &part->rows[i];
        if (row->begin != end || strcmp(row->item, part->rows[0].item) || !strcmp(row->name, "__metadata__")) return false;
        end += row->size_bytes;
        cn_st_match_tensor(match, &(struct cn_st_tensor){ .name = row->name,
                                                          .name_size = strlen(row->name),
                                                          .dtype = row->dtype,
                                                          .rank = row->rank,
                                                          .shape = row->shape,
                                                          .begin = row->begin - data,
                                                          .end = end - data });
    }
    return end == part->in->size_bytes;
}

static bool is_ours(const struct part *part, const char *bytes)
{
    struct cn_st_match match;
    cn_st_match_begin(&match, cn_os_alloc(), bytes, part->entry->header_bytes, CN_ST_OUR_METADATA, 1);
    bool whole = match_rows(part, &match);
    return cn_st_match_end(&match) && whole;
}

/* ------------------------------------------------------------------------------------------------------------- as another */

static bool is_named(const struct cn_st_tensor *entry, const char *name)
{
    return strlen(name) == entry->name_size && !memcmp(name, entry->name, entry->name_size);
}

/* Empty tensors share an offset, so their order in the two lists may differ. The header's names are entered into the index when that is first seen. */
static int find_entry(struct cn_hash *names, const struct cn_st_header *header, const char *name, const struct cn_st_tensor **ret_entry)
{
    uint64_t at;
    for (uint64_t i = 0; i < header->count && names->count < header->count; i++)
        if (cn_hash_add(names, header->tensors[i].name, header->tensors[i].name_size, i, NULL) < 0) return CAIRN_E_NOMEM;
    *ret_entry = cn_hash_find(names, name, strlen(name), &at) ? &header->tensors[at] : NULL;
    return CAIRN_OK;
}

static int compare_rows(const struct part *part, const struct cn_st_header *header, struct cn_hash *names, cairn_error *err)
{
    for (uint64_t i = 0; i < header->count; i++) {
        const struct cn_table_row *row = &part->rows[i];
        const struct cn_st_tensor *entry = &header->tensors[i];
        if (!is_named(entry, row->name) && find_entry(names, header, row->name, &entry)) return no_memory(part->checkpoint, err);
        if (!entry) return mismatch(part->checkpoint, part->entry->name, "a tensor is missing", err);
        if (entry->dtype != row->dtype || entry->rank != row->rank || memcmp(entry->shape, row->shape, row->rank * sizeof *row->shape) ||
            header->data_offset + entry->begin != row->begin)
            return mismatch(part->checkpoint, part->entry->name, "dtype, shape or place of a tensor", err);
    }
    return CAIRN_OK;
}

static int compare_header(const struct part *part, const struct cn_st_header *header, cairn_error *err)
{
    struct cn_hash names;
    if (header->count != part->count) return mismatch(part->checkpoint, part->entry->name, "another number of tensors", err);
    cn_hash_init(&names, cn_os_alloc(), part->checkpoint->index.seed);
    int code = compare_rows(part, header, &names, err);
    cn_hash_done(&names);
    return code;
}

static int parse_header(const struct part *part, const char *bytes, cairn_error *err)
{
    uint64_t json_bytes = 0, file_bytes = part->in->size_bytes, header_bytes = part->entry->header_bytes;
    struct cn_pool pool;
    struct cn_st_header header;
    int code = cn_st_parse_prefix(bytes, header_bytes, file_bytes, &json_bytes, err);
    if (code) return code;
    if (json_bytes + CN_ST_PREFIX_BYTES != header_bytes) return mismatch(part->checkpoint, part->entry->name, "the header's length", err);
    cn_pool_init(&pool, cn_os_alloc(), (UINT64_C(64) << 20) + 8 * header_bytes);
    code = cn_st_parse_json(bytes + CN_ST_PREFIX_BYTES, json_bytes, file_bytes, part->checkpoint->index.seed, &pool, &header, err);
    if (!code) code = compare_header(part, &header, err);
    cn_pool_done(&pool);
    return code;
}

/* ---------------------------------------------------------------------------------------------------------- file by file */

/* File digest: over the header's and its tensors', in file order. */
static int check_file_digest(const struct part *part, cairn_error *err)
{
    cn_auto_free struct cn_digest *digests = cn_os_new_array(part->count + 1, sizeof *digests);
    if (!digests) return no_memory(part->checkpoint, err);
    digests[0] = part->entry->header_digest;
    for (uint64_t i = 0; i < part->count; i++) digests[i + 1] = part->rows[i].digest;
    struct cn_digest found = cn_digest_of(digests, (part->count + 1) * sizeof *digests);
    if (cn_digest_equal(&found, &part->entry->digest)) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_CORRUPT, "%s/%s: its digest in the manifest is not that of its tensors", part->checkpoint->path,
                        part->entry->name);
}

static int check_part(const struct part *part, cairn_error *err)
{
    const cairn_checkpoint *checkpoint = part->checkpoint;
    cn_auto_free char *bytes = cn_os_new(part->entry->header_bytes + 1);
    if (!bytes) return no_memory(checkpoint, err);
    int code = cn_infile_read(part->in, 0, bytes, part->entry->header_bytes, err);
    if (code) return cn_error_prefix(err, code, "%s", checkpoint->path);
    struct cn_digest found = cn_digest_of(bytes, part->entry->header_bytes);
    if (!cn_digest_equal(&found, &part->entry->header_digest))
        return cn_error_set(err, CAIRN_E_CORRUPT, "%s/%s: its header differs from the digest in the manifest", checkpoint->path,
                            part->entry->name);
    if (!is_ours(part, bytes)) code = parse_header(part, bytes, err);
    return code ? code : check_file_digest(part, err);
}

bool cn_checkpoint_file_is_gone(const cairn_checkpoint *checkpoint, uint32_t file)
{
    return checkpoint->manifest.dropped_count && !cn_manifest_find(&checkpoint->manifest, checkpoint->table.files[file].name);
}

int cn_checkpoint_check_headers(const cairn_checkpoint *checkpoint, cairn_error *err)
{
    const struct cn_table *table = &checkpoint->table;
    uint64_t first = 0;
    for (uint32_t file = 0; file < table->files_count; file++) {
        uint64_t end = first;
        while (end < table->count && table->rows[end].file == file) end++;
        if (end == first && cn_checkpoint_file_is_gone(checkpoint, file)) continue;
        const char *name = table->files[file].name;
        const struct cn_manifest_file *entry = cn_manifest_find(&checkpoint->manifest, name);
        if (!entry || entry->kind != CN_FILE_TENSORS) return mismatch(checkpoint, name, "the manifest does not list it as tensors", err);
        struct part part = { checkpoint, &checkpoint->files[file], entry, &table->rows[first], end - first };
        int code = check_part(&part, err);
        if (code) return code;
        first = end;
    }
    return CAIRN_OK;
}

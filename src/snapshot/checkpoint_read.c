/* Reading from an open checkpoint: ranges and boxes, every block that is touched checked where digests are known; and the map, which is not
 * checked and says so. Nothing here changes the checkpoint but the cache of mappings, under its lock. */
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "snapshot/checkpoint.h"

int cn_checkpoint_damaged_block(const cairn_checkpoint *checkpoint, const struct cn_table_row *row, uint64_t block, cairn_error *err)
{
    struct cn_shown shown;
    uint64_t from = row->begin + block * CN_BLOCK_BYTES, to = cn_min_u64(from + CN_BLOCK_BYTES, row->begin + row->size_bytes);
    int code = cn_error_set(err, CAIRN_E_CORRUPT, "tensor '%s:%s', block %llu (bytes %llu-%llu of %s) differs from its digest", row->item,
                            cn_show_text(&shown, row->name), (unsigned long long)block, (unsigned long long)from,
                            (unsigned long long)(to - 1), checkpoint->table.files[row->file].name);
    if (err) err->offset = from;
    return code;
}

static const struct cn_table_row *row_of(const cairn_checkpoint *checkpoint, const cairn_tensor_info *tensor)
{
    if (!checkpoint || tensor < checkpoint->tensors || tensor >= checkpoint->tensors + checkpoint->table.count) return NULL;
    return &checkpoint->table.rows[tensor - checkpoint->tensors];
}

static int prefix(const cairn_checkpoint *checkpoint, int code, cairn_error *err)
{
    struct cn_shown shown;
    return code ? cn_error_prefix(err, code, "%s", cn_show_text(&shown, checkpoint->path)) : CAIRN_OK;
}

/* A window on one tensor: the block last read and checked. */
struct window {
    const cairn_checkpoint *checkpoint;
    const struct cn_table_row *row;
    unsigned char *room; /* CN_BLOCK_BYTES */
    uint64_t block;      /* UINT64_MAX: none */
};

static int load_block(struct window *window, uint64_t block, unsigned char *room, cairn_error *err)
{
    const struct cn_table_row *row = window->row;
    uint64_t offset = block * CN_BLOCK_BYTES;
    size_t size = (size_t)cn_min_u64(CN_BLOCK_BYTES, row->size_bytes - offset);
    int code = cn_infile_read(&window->checkpoint->files[row->file], row->begin + offset, room, size, err);
    if (code) return code;
    struct cn_digest found = cn_digest_of(room, size);
    return cn_digest_equal(&found, &row->blocks[block]) ? CAIRN_OK : cn_checkpoint_damaged_block(window->checkpoint, row, block, err);
}

static int read_window(struct window *window, uint64_t offset, size_t size, unsigned char *destination, cairn_error *err)
{
    if (!window->row->blocks)
        return cn_infile_read(&window->checkpoint->files[window->row->file], window->row->begin + offset, destination, size, err);
    while (size) {
        uint64_t block = offset / CN_BLOCK_BYTES, within = offset % CN_BLOCK_BYTES;
        uint64_t block_size = cn_min_u64(CN_BLOCK_BYTES, window->row->size_bytes - block * CN_BLOCK_BYTES);
        size_t take = (size_t)cn_min_u64(size, block_size - within);
        bool whole = take == block_size;
        int code = CAIRN_OK;
        if (whole)
            code = load_block(window, block, destination, err);
        else if (window->block != block) {
            window->block = UINT64_MAX;
            code = load_block(window, block, window->room, err);
            if (!code) window->block = block;
        }
        if (code) return code;
        if (!whole) memcpy(destination, window->room + within, take);
        destination += take;
        offset += take;
        size -= take;
    }
    return CAIRN_OK;
}

static int open_window(const cairn_checkpoint *checkpoint, const cairn_tensor_info *tensor, struct window *window, cairn_error *err)
{
    *window = (struct window){ .checkpoint = checkpoint, .row = row_of(checkpoint, tensor), .block = UINT64_MAX };
    if (!window->row) return cn_error_set(err, CAIRN_E_USAGE, "the tensor is not of this checkpoint");
    if (!window->row->blocks) return CAIRN_OK;
    window->room = cn_os_new((size_t)cn_min_u64(CN_BLOCK_BYTES, window->row->size_bytes));
    return window->room ? CAIRN_OK : cn_error_set(err, CAIRN_E_NOMEM, "no memory to read a tensor");
}

int cairn_checkpoint_read(const cairn_checkpoint *checkpoint, const cairn_tensor_info *tensor, uint64_t offset, size_t size, void *ret_data,
                          cairn_error *err)
{
    struct window window;
    int code = open_window(checkpoint, tensor, &window, err);
    if (code) return code;
    if (offset > window.row->size_bytes || size > window.row->size_bytes - offset || (size && !ret_data))
        code = cn_error_set(err, CAIRN_E_USAGE, "bytes %llu + %zu are beyond the tensor's %llu", (unsigned long long)offset, size,
                            (unsigned long long)window.row->size_bytes);
    else
        code = prefix(checkpoint, read_window(&window, offset, size, ret_data, err), err);
    cn_os_free(window.room);
    return code;
}

/* -------------------------------------------------------------------------------------------------------------- slices */

struct box {
    uint32_t rank;
    uint64_t start[CAIRN_MAX_RANK + 1], extent[CAIRN_MAX_RANK + 1];
    uint64_t stride_bits[CAIRN_MAX_RANK + 1]; /* of one step in a dimension */
    uint64_t run_bytes;                       /* contiguous in file and box */
    uint32_t outer;                           /* dimensions above the run */
};

static int check_box(const struct cn_table_row *row, const uint64_t *start, const uint64_t *extent, size_t data_bytes, struct box *box,
                     cairn_error *err)
{
    uint64_t stride = cairn_dtype_bits(row->dtype), elements = 1;
    box->rank = row->rank;
    for (uint32_t i = row->rank; i-- > 0;) {
        if (start[i] > row->shape[i] || extent[i] > row->shape[i] - start[i])
            return cn_error_set(err, CAIRN_E_USAGE, "slice: dimension %u: %llu + %llu is beyond %llu", i, (unsigned long long)start[i],
                                (unsigned long long)extent[i], (unsigned long long)row->shape[i]);
        box->start[i] = start[i];
        box->extent[i] = extent[i];
        box->stride_bits[i] = stride;
        stride *= row->shape[i];
        elements *= extent[i];
    }
    uint64_t bits = elements * cairn_dtype_bits(row->dtype);
    if (bits % 8 || bits / 8 != data_bytes)
        return cn_error_set(err, CAIRN_E_USAGE, "slice: it has %llu bits, the buffer %zu bytes", (unsigned long long)bits, data_bytes);
    /* the inner dimensions that are taken whole, and one more, are one run */
    box->outer = row->rank;
    uint64_t run_bits = cairn_dtype_bits(row->dtype);
    while (box->outer > 0) {
        uint32_t i = --box->outer;
        run_bits *= extent[i];
        if (extent[i] != row->shape[i]) break;
    }
    if (run_bits % 8) return cn_error_set(err, CAIRN_E_UNSUPPORTED, "slice: rows of a sub-byte tensor must be whole bytes");
    box->run_bytes = run_bits / 8;
    return CAIRN_OK;
}

static int read_box(struct window *window, const struct box *box, unsigned char *destination, size_t data_bytes, cairn_error *err)
{
    uint64_t index[CAIRN_MAX_RANK + 1] = { 0 };
    for (size_t done = 0; done < data_bytes; done += box->run_bytes) {
        uint64_t bits = 0;
        for (uint32_t i = 0; i < box->rank; i++) bits += (box->start[i] + index[i]) * box->stride_bits[i];
        if (bits % 8) return cn_error_set(err, CAIRN_E_UNSUPPORTED, "slice: it does not start on a whole byte");
        int code = read_window(window, bits / 8, (size_t)box->run_bytes, destination + done, err);
        if (code) return code;
        for (uint32_t i = box->outer; i-- > 0;) {
            if (++index[i] < box->extent[i]) break;
            index[i] = 0;
        }
    }
    return CAIRN_OK;
}

int cairn_checkpoint_read_slice(const cairn_checkpoint *checkpoint, const cairn_tensor_info *tensor, const uint64_t *start,
                                const uint64_t *extent, void *ret_data, size_t data_bytes, cairn_error *err)
{
    struct window window;
    struct box box = { 0 };
    int code = open_window(checkpoint, tensor, &window, err);
    if (code) return code;
    if (window.row->rank && (!start || !extent)) code = cn_error_set(err, CAIRN_E_USAGE, "slice: start and extent must be given");
    if (!code && data_bytes && !ret_data) code = cn_error_set(err, CAIRN_E_USAGE, "slice: ret_data must be given");
    if (!code) code = check_box(window.row, start, extent, data_bytes, &box, err);
    if (!code && data_bytes) code = prefix(checkpoint, read_box(&window, &box, ret_data, data_bytes, err), err);
    cn_os_free(window.room);
    return code;
}

/* ----------------------------------------------------------------------------------------------------------------- map */

int cairn_checkpoint_map(cairn_checkpoint *checkpoint, const cairn_tensor_info *tensor, const void **ret_data, cairn_error *err)
{
    const struct cn_table_row *row = row_of(checkpoint, tensor);
    if (!row) return cn_error_set(err, CAIRN_E_USAGE, "the tensor is not of this checkpoint");
    if (!ret_data) return cn_error_set(err, CAIRN_E_USAGE, "cairn_checkpoint_map: ret_data must be given");
    if (checkpoint->source != CAIRN_SOURCE_CHECKPOINT)
        return cn_error_set(err, CAIRN_E_UNSUPPORTED, "%s: only files that Cairn wrote are mapped; use cairn_checkpoint_read",
                            checkpoint->path);
    struct cn_mapping *mapping = &checkpoint->maps[row->file];
    const struct cn_infile *in = &checkpoint->files[row->file];
    cn_mutex_lock(checkpoint->lock);
    int rc = mapping->address ? 0 : cn_os_map(in->file, in->size_bytes, mapping);
    cn_mutex_unlock(checkpoint->lock);
    if (rc) return cn_error_errno(err, -rc, "%s/%s: mapping it", checkpoint->path, in->name);
    *ret_data = (const char *)mapping->address + row->begin;
    return CAIRN_OK;
}

/* --------------------------------------------------------------------------------------------------------- simple views */

const cairn_checkpoint_info *cairn_checkpoint_get_info(const cairn_checkpoint *checkpoint)
{
    return checkpoint ? &checkpoint->info : NULL;
}

const cairn_tensor_info *cairn_checkpoint_tensor(const cairn_checkpoint *checkpoint, size_t index)
{
    return checkpoint && index < checkpoint->table.count ? &checkpoint->tensors[index] : NULL;
}

const cairn_tensor_info *cairn_checkpoint_find(const cairn_checkpoint *checkpoint, const char *item, const char *name)
{
    const struct cn_table_row *row = checkpoint && item && name ? cn_checkpoint_row(checkpoint, item, name) : NULL;
    return row ? &checkpoint->tensors[row - checkpoint->table.rows] : NULL;
}

const cairn_file_info *cairn_checkpoint_file(const cairn_checkpoint *checkpoint, size_t index)
{
    return checkpoint && index < checkpoint->info.files_count ? &checkpoint->file_infos[index] : NULL;
}

const cairn_value *cairn_checkpoint_values(const cairn_checkpoint *checkpoint)
{
    return checkpoint ? checkpoint->values : NULL;
}

const char *cairn_checkpoint_provenance(const cairn_checkpoint *checkpoint)
{
    return checkpoint ? checkpoint->provenance : NULL;
}

void cairn_checkpoint_close(cairn_checkpoint *checkpoint)
{
    cn_checkpoint_close(checkpoint);
}

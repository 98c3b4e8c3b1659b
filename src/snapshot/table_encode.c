/* Writing tensors.json (see table.h): one tensor per line, members in a fixed order; the same table gives the same bytes. */
#include "base/json.h"
#include "base/shortest.h"
#include "snapshot/table.h"

static void put_digest(struct cn_json_writer *writer, const struct cn_digest *digest)
{
    char hex[CN_DIGEST_HEX_BYTES];
    cn_digest_hex(digest, hex);
    cn_json_put_sized(writer, hex, sizeof hex - 1);
}

static void put_flags(struct cn_json_writer *writer, uint32_t flags)
{
    static const char *const names[] = { "trainable", "frozen", "optimizer", "volatile" };
    cn_json_key(writer, "flags");
    cn_json_begin_array(writer);
    for (unsigned i = 0; i < 4; i++)
        if (flags >> i & 1) cn_json_put_string(writer, names[i]);
    cn_json_end_array(writer);
}

/* Enough to see by, few enough that no rounding of a processor shows. */
enum { SIGNIFICANT_DIGITS = 6 };

static void put_statistics(struct cn_json_writer *writer, const struct cn_table_row *row)
{
    if (!row->stats_known) return;
    cn_json_key(writer, "stats");
    cn_json_begin_object(writer);
    cn_json_key(writer, "max_abs");
    cn_json_put_f64(writer, cn_round_digits(row->max_abs, SIGNIFICANT_DIGITS));
    cn_json_key(writer, "norm");
    cn_json_put_f64(writer, cn_round_digits(row->norm, SIGNIFICANT_DIGITS));
    cn_json_key(writer, "nan");
    cn_json_put_u64(writer, row->nan_count);
    cn_json_key(writer, "inf");
    cn_json_put_u64(writer, row->inf_count);
    cn_json_end_object(writer);
}

static void put_row(struct cn_json_writer *writer, const struct cn_table_row *row)
{
    cn_json_begin_object(writer);
    cn_json_key(writer, "item");
    cn_json_put_string(writer, row->item);
    cn_json_key(writer, "name");
    cn_json_put_string(writer, row->name);
    cn_json_key(writer, "dtype");
    cn_json_put_string(writer, cairn_dtype_name(row->dtype));
    cn_json_key(writer, "shape");
    cn_json_begin_array(writer);
    for (uint32_t i = 0; i < row->rank; i++) cn_json_put_u64(writer, row->shape[i]);
    cn_json_end_array(writer);
    put_flags(writer, row->flags);
    cn_json_key(writer, "file");
    cn_json_put_u64(writer, row->file);
    cn_json_key(writer, "offset");
    cn_json_put_u64(writer, row->begin);
    cn_json_key(writer, "size");
    cn_json_put_u64(writer, row->size_bytes);
    cn_json_key(writer, "digest");
    put_digest(writer, &row->digest);
    cn_json_key(writer, "blocks");
    cn_json_begin_array(writer);
    for (uint64_t i = 0; i < row->blocks_count; i++) put_digest(writer, &row->blocks[i]);
    cn_json_end_array(writer);
    put_statistics(writer, row);
    cn_json_end_object(writer);
}

int cn_table_encode(const struct cn_table *table, struct cn_buf *buf, cairn_error *err)
{
    struct cn_json_writer writer = { .buf = buf };
    cn_json_begin_object(&writer);
    cn_json_key(&writer, "cairn");
    cn_json_put_string(&writer, "tensors");
    cn_json_key(&writer, "version");
    cn_json_put_u64(&writer, 1);
    cn_json_key(&writer, "files");
    cn_json_begin_array(&writer);
    for (uint32_t i = 0; i < table->files_count; i++) {
        cn_json_newline(&writer);
        cn_json_begin_object(&writer);
        cn_json_key(&writer, "name");
        cn_json_put_string(&writer, table->files[i].name);
        cn_json_key(&writer, "size");
        cn_json_put_u64(&writer, table->files[i].size_bytes);
        cn_json_end_object(&writer);
    }
    cn_json_end_array(&writer);
    cn_json_key(&writer, "tensors");
    cn_json_begin_array(&writer);
    for (uint64_t i = 0; i < table->count; i++) {
        cn_json_newline(&writer);
        put_row(&writer, &table->rows[i]);
    }
    cn_json_end_array(&writer);
    cn_json_seal(&writer);
    return cn_buf_check(buf, "tensors.json", err);
}

/* Verifying (see verify.h). It writes nothing and goes on after a finding. Findings are told one at a time, under a lock of its own: the
 * only one, and never held while bytes are read or digested. */
#include "snapshot/verify.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/limits.h"
#include "format/safetensors.h"
#include "io/pump.h"
#include "snapshot/defaults.h"
#include "snapshot/pieces.h"
#include "store/check.h"

struct verifier {
    const cairn_checkpoint *checkpoint;
    const cairn_verify_options *options;
    cairn_verify_report report;
    bool *found; /* per file of the manifest: the quick check found something */
    struct cn_pieces pieces;
    struct cn_mutex *mutex;
    atomic_uint_fast64_t done_bytes, checked_bytes; /* done: those that could not be read, too */
    int first;
    cairn_error first_error;
};

static void tell(struct verifier *verifier, cairn_damage damage, const cairn_error *error)
{
    cn_mutex_lock(verifier->mutex);
    verifier->report.findings++;
    if (damage.block != CAIRN_NO_OFFSET) verifier->report.damaged_blocks++;
    if (!verifier->first) {
        verifier->first = damage.code;
        verifier->first_error = *error;
    }
    if (verifier->options->damage) verifier->options->damage(verifier->options->user, &damage);
    cn_mutex_unlock(verifier->mutex);
}

static void tell_file(void *user, const char *file, int code, const char *message)
{
    struct verifier *verifier = user;
    const struct cn_manifest *manifest = &verifier->checkpoint->manifest;
    const struct cn_manifest_file *entry = cn_manifest_find(manifest, file);
    cairn_error error = CAIRN_ERROR_INIT;
    if (entry) verifier->found[entry - manifest->files] = true;
    cn_error_set(&error, code, "%s", message);
    tell(user, (cairn_damage){ .file = file, .block = CAIRN_NO_OFFSET, .code = code, .message = message }, &error);
}

/* A tensor's range that could not be read or differs. */
static void tell_range(struct verifier *verifier, const struct cn_table_row *row, uint64_t block, uint64_t from, uint64_t size, int code,
                       const cairn_error *error)
{
    char tensor[CN_MAX_ITEM_BYTES + CN_SHOWN_BYTES + 16];
    struct cn_shown shown;
    snprintf(tensor, sizeof tensor, "%s:%s", row->item, cn_show_text(&shown, row->name));
    tell(verifier,
         (cairn_damage){ .file = verifier->checkpoint->table.files[row->file].name,
                         .tensor = tensor,
                         .block = block,
                         .offset = from,
                         .size_bytes = size,
                         .code = code,
                         .message = error->message },
         error);
}

static int check_block(void *user, const struct cn_table_row *row, uint64_t block, const unsigned char *data, size_t size, cairn_error *err)
{
    struct verifier *verifier = user;
    cairn_error error = CAIRN_ERROR_INIT;
    (void)err;
    if (!row->blocks) return CAIRN_OK;
    struct cn_digest found = cn_digest_of(data, size);
    if (cn_digest_equal(&found, &row->blocks[block])) return CAIRN_OK;
    int code = cn_checkpoint_damaged_block(verifier->checkpoint, row, block, &error);
    tell_range(verifier, row, block, row->begin + block * CN_BLOCK_BYTES, size, code, &error);
    return CAIRN_OK;
}

/* A piece that could not be read as a whole, block by block: those that can be are checked, the others told. */
struct alone {
    struct verifier *verifier;
    unsigned char *room; /* CN_BLOCK_BYTES */
};

static int check_alone(void *user, const struct cn_table_row *row, uint64_t block, const unsigned char *data, size_t size, cairn_error *err)
{
    const struct alone *alone = user;
    struct verifier *verifier = alone->verifier;
    cairn_error error = CAIRN_ERROR_INIT;
    uint64_t from = row->begin + block * CN_BLOCK_BYTES;
    (void)data;
    int code = cn_infile_read(&verifier->checkpoint->files[row->file], from, alone->room, size, &error);
    if (code) {
        tell_range(verifier, row, block, from, size, code, &error);
        return CAIRN_OK;
    }
    atomic_fetch_add(&verifier->checked_bytes, size);
    return check_block(verifier, row, block, alone->room, size, err);
}

static int check_piece(void *user, uint64_t index, unsigned char *slot, cairn_error *err)
{
    struct verifier *verifier = user;
    const cairn_checkpoint *checkpoint = verifier->checkpoint;
    const struct cn_piece *piece = &verifier->pieces.list[index];
    const struct cn_table_row *row = &checkpoint->table.rows[piece->row];
    const unsigned char *data;
    size_t size = (size_t)(piece->end - piece->begin);
    int code =
        cn_infile_read_slot(&checkpoint->files[row->file], piece->begin, size, slot, cn_defaults_slot_bytes(CN_BLOCK_BYTES), &data, NULL);
    if (code) {
        struct alone alone = { verifier, slot };
        code = cn_pieces_walk(&checkpoint->table, piece, slot, check_alone, &alone, err);
    } else {
        atomic_fetch_add(&verifier->checked_bytes, size);
        code = cn_pieces_walk(&checkpoint->table, piece, data, check_block, verifier, err);
    }
    atomic_fetch_add(&verifier->done_bytes, size);
    return code;
}

static void tick(void *user)
{
    struct verifier *verifier = user;
    if (verifier->options->progress)
        verifier->options->progress(verifier->options->user, atomic_load(&verifier->done_bytes), verifier->pieces.total_bytes);
}

static int check_data(struct verifier *verifier, cairn_error *err)
{
    struct cn_arena *arena;
    uint32_t threads = cn_defaults_threads(verifier->options->io_threads, CN_WORK_WAITED_FOR);
    if (threads > CN_MAX_IO_THREADS) return cn_error_set(err, CAIRN_E_USAGE, "at most %d I/O threads", CN_MAX_IO_THREADS);
    int code = cn_pieces_cut(&verifier->checkpoint->table, NULL, &verifier->pieces, err);
    if (code) return code;
    uint64_t slot = cn_defaults_slot_bytes(CN_BLOCK_BYTES);
    code = cn_arena_new_cold(slot, cn_defaults_slots(slot, threads, 0), &arena, err); /* each reader touches its own, while others read */
    if (code) return code;
    struct cn_pump pump = {
        .pieces = verifier->pieces.count, .consume = check_piece, .user = verifier, .arena = arena, .threads = threads, .tick = tick
    };
    code = cn_pump_run(&pump, err);
    cn_arena_free(arena);
    tick(verifier);
    return code;
}

/* Attached files are digested by the rule of the manifest; those that the quick check found wrong have been told of. */
static int check_attached(struct verifier *verifier, cairn_error *err)
{
    const struct cn_manifest *manifest = &verifier->checkpoint->manifest;
    enum { ROOM = 1 << 20 };
    cn_auto_free unsigned char *room = cn_os_new(ROOM);
    if (!room) return cn_error_set(err, CAIRN_E_NOMEM, "no memory to verify");
    for (uint64_t i = 0; i < manifest->files_count; i++) {
        const struct cn_manifest_file *entry = &manifest->files[i];
        if (entry->kind != CN_FILE_ATTACHED || verifier->found[i]) continue;
        struct cn_digest found;
        cairn_error error = CAIRN_ERROR_INIT;
        int code = cn_check_digest(verifier->checkpoint->dir, entry->name, room, ROOM, &found, &error);
        if (!code && !cn_digest_equal(&found, &entry->digest))
            code = cn_error_set(&error, CAIRN_E_CORRUPT, "%s: its content differs from the digest in the manifest", entry->name);
        if (code)
            tell_file(verifier, entry->name, code, error.message);
        else
            verifier->report.checked_bytes += entry->size_bytes;
    }
    return CAIRN_OK;
}

static void warn(struct verifier *verifier, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(struct verifier *verifier, const char *format, ...)
{
    char text[CAIRN_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    verifier->report.warnings++;
    if (verifier->options->warning) verifier->options->warning(verifier->options->user, text);
}

/* What the format allows, and other tools are known to stumble over. */
static void look_for_oddities(struct verifier *verifier)
{
    const cairn_checkpoint *checkpoint = verifier->checkpoint;
    const struct cn_table *table = &checkpoint->table;
    const cairn_value *metadata = checkpoint->source == CAIRN_SOURCE_FILE ? cairn_value_find(checkpoint->values, "__metadata__") : NULL;
    uint64_t bytes = 0, last = UINT64_MAX;
    for (uint64_t i = 0; i < table->count; i++) {
        const struct cn_table_row *row = &table->rows[i];
        bytes += row->size_bytes; /* no overflow: all of it is in files */
        if (!row->name[0]) warn(verifier, "%s: a tensor whose name is empty", table->files[row->file].name);
        if (row->file != last && row->begin > CN_ST_PREFIX_BYTES + CN_MAX_OUR_HEADER_BYTES)
            warn(verifier, "%s: its header is longer than %llu bytes, the most that the Hub reads", table->files[row->file].name,
                 (unsigned long long)CN_MAX_OUR_HEADER_BYTES);
        last = row->file;
    }
    if (checkpoint->claimed_bytes && checkpoint->claimed_bytes != bytes)
        warn(verifier, "%s: its index says that the tensors take %llu bytes; they take %llu", checkpoint->path,
             (unsigned long long)checkpoint->claimed_bytes, (unsigned long long)bytes);
    if (cairn_value_count(metadata) && !cairn_value_find(metadata, "format"))
        warn(verifier, "%s: __metadata__ without \"format\": some loaders refuse the file", checkpoint->path);
}

int cn_verify_checkpoint(const cairn_checkpoint *checkpoint, const cairn_verify_options *options, cairn_verify_report *ret_report,
                         cairn_error *err)
{
    struct verifier verifier = { .checkpoint = checkpoint, .options = options, .report = CAIRN_VERIFY_REPORT_INIT };
    bool ours = checkpoint->source == CAIRN_SOURCE_CHECKPOINT;
    cn_auto_free bool *found = cn_os_new_array(checkpoint->manifest.files_count + 1, sizeof *found);
    verifier.found = found;
    verifier.report.digests_known = ours;
    if (!found || cn_mutex_new(&verifier.mutex)) return cn_error_set(err, CAIRN_E_NOMEM, "no memory to verify");
    int code = CAIRN_OK;
    if (!ours) look_for_oddities(&verifier);
    if (ours) (void)cn_check_quick(checkpoint->dir, &checkpoint->manifest, tell_file, &verifier, NULL);
    if (!options->quick) code = check_data(&verifier, err);
    if (!code && ours && !options->quick) code = check_attached(&verifier, err);
    verifier.report.checked_bytes += atomic_load(&verifier.checked_bytes);
    cn_pieces_free(&verifier.pieces);
    cn_mutex_free(verifier.mutex);
    if (code) return code;
    if (ret_report) *ret_report = verifier.report;
    if (verifier.first && err) *err = verifier.first_error;
    return verifier.first;
}

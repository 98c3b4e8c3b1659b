/* The data of a save: unchanged files linked, the others created, their pieces staged into the arena while writer tasks digest them, take
 * statistics and write. It must never touch the bound memory but to read it, never allocate nor hold a lock while bytes move, and never retry a
 * file that failed.
 *
 * Invariants
 *  1. Each piece fills its own slot: [page of begin, end of its last page), so pieces need no order.
 *  2. Block i's digest and statistics are written by exactly one task, the one that consumes its piece.
 *  3. Lazily, the early pieces are staged before `captured` is called, the others before `staged` is; nothing is read from the caller's memory
 *     after `staged`. */
#include "snapshot/save.h"

#include <string.h>

#include "base/check.h"
#include "io/pump.h"
#include "os/os.h"

/* Fills slot from file offset `from` (its page) to `end`: the tensors' bytes, zeros after the file's last one. */
static int stage_piece(void *user, uint64_t index, unsigned char *slot, cairn_error *err)
{
    struct cn_save *save = user;
    const struct cn_plan *plan = &save->plan;
    const struct cn_plan_piece *piece = &plan->pieces[save->list[index]];
    uint64_t base = cn_align_down(piece->begin, CN_PAGE_BYTES), first_page, last_page, end;
    cn_plan_pages(plan, piece, &first_page, &last_page, &end);
    uint64_t at = piece->begin;
    for (uint64_t i = piece->first_tensor; at < end; i++) {
        const struct cn_plan_tensor *tensor = &plan->tensors[i];
        uint64_t stop = cn_min_u64(end, tensor->begin + tensor->leaf->size_bytes);
        if (stop <= at) continue;
        int code = cn_save_fetch(save, i, at - tensor->begin, stop - at, slot + (at - base), err);
        if (!code && save->lazy) code = cn_save_check_witnesses(save, i, at - tensor->begin, stop - tensor->begin, slot + (at - base), err);
        if (code) return code;
        at = stop;
    }
    if (last_page > end) memset(slot + (end - base), 0, last_page - end);
    atomic_fetch_add_explicit(&save->figures->staged_bytes, piece->end - piece->begin, memory_order_relaxed);
    return CAIRN_OK;
}

static void digest_piece(struct cn_save *save, const struct cn_plan_piece *piece, const unsigned char *slot)
{
    uint64_t base = cn_align_down(piece->begin, CN_PAGE_BYTES), at = piece->begin;
    for (uint64_t i = piece->first_tensor; at < piece->end; i++) {
        const struct cn_plan_tensor *tensor = &save->plan.tensors[i];
        uint64_t stop = tensor->begin + tensor->leaf->size_bytes;
        while (at < piece->end && at < stop) {
            uint64_t size = cn_min_u64(CN_BLOCK_BYTES, stop - at), block = tensor->first_block + (at - tensor->begin) / CN_BLOCK_BYTES;
            save->blocks[block] = cn_digest_of(slot + (at - base), size);
            if (cn_stats_known(tensor->leaf->dtype)) save->stats[block] = cn_stats_of(tensor->leaf->dtype, slot + (at - base), size);
            at += size;
        }
    }
}

static int write_piece(void *user, uint64_t index, unsigned char *slot, cairn_error *err)
{
    struct cn_save *save = user;
    const struct cn_plan_piece *piece = &save->plan.pieces[save->list[index]];
    uint64_t base = cn_align_down(piece->begin, CN_PAGE_BYTES), from, to, end;
    cn_plan_pages(&save->plan, piece, &from, &to, &end);
    digest_piece(save, piece, slot);
    if (to > from) {
        int code = cn_outfile_write(&save->files[piece->file].out, from, slot + (from - base), to - from, err);
        if (code) return code;
    }
    atomic_fetch_add_explicit(&save->figures->written_bytes, piece->end - piece->begin, memory_order_relaxed);
    return CAIRN_OK;
}

/* ---------------------------------------------------------------------------------------------------------------- files */

int cn_save_open(struct cn_save *save, cairn_error *err)
{
    int code = !save->opened && save->open ? save->open(save->user, err) : CAIRN_OK;
    save->opened = !code;
    return code;
}

/* Headers are whole pages; they pass through the arena because direct I/O wants aligned memory: through its last slot, where no piece has its
 * place and which none has taken yet. */
static int write_header(struct cn_save *save, uint32_t file, cairn_error *err)
{
    const struct cn_buf *header = &save->plan.files[file].header;
    uint64_t slot_bytes = cn_arena_slot_bytes(save->arena);
    unsigned char *slot = cn_arena_at(save->arena, cn_arena_bytes(save->arena) - slot_bytes);
    int code = CAIRN_OK;
    for (uint64_t at = 0; at < header->size && !code; at += slot_bytes) {
        uint64_t size = cn_min_u64(slot_bytes, header->size - at);
        memcpy(slot, header->data + at, size);
        code = cn_outfile_write(&save->files[file].out, at, slot, size, err);
    }
    return code;
}

/* Files that are to be written and do not stand yet. */
static int create_files(void *user, cairn_error *err)
{
    struct cn_save *save = user;
    int code = cn_save_open(save, err);
    for (uint32_t i = 0; i < save->plan.files_count && !code; i++) {
        const struct cn_plan_file *file = &save->plan.files[i];
        const char *last;
        cn_file dir = cn_staging_folder(save->staging, file->name, &last);
        if (save->files[i].fate != CN_FATE_WRITE || save->files[i].out.file != CN_NO_FILE) continue;
        code = cn_outfile_create(&save->files[i].out, dir, last, file->size_bytes, save->io_mode, err);
        if (!code) code = write_header(save, i, err);
    }
    return code;
}

static int finish_files(struct cn_save *save, cairn_error *err)
{
    int code = CAIRN_OK;
    for (uint32_t i = 0; i < save->plan.files_count && !code; i++) {
        if (save->files[i].fate == CN_FATE_LINKED) continue;
        code = cn_outfile_finish(&save->files[i].out, err);
        if (!code) code = cn_save_link_equal(save, i, err);
    }
    return code;
}

/* -------------------------------------------------------------------------------------------------------------- the pump */

static void tick(void *user)
{
    struct cn_save *save = user;
    if (save->tick) save->tick(save->user);
}

static int all_staged(void *user, cairn_error *err)
{
    struct cn_save *save = user;
    int code = cn_save_check_all(save, err);
    if (!code && save->staged) save->staged(save->user);
    return code;
}

/* A place for each listed piece, as large as what it copies; none if they are too many for the arena without its last slot. */
static const uint64_t *give_places(struct cn_save *save)
{
    uint64_t at = 0, room = cn_arena_bytes(save->arena) - cn_arena_slot_bytes(save->arena);
    for (uint64_t i = 0; i < save->list_count; i++) {
        const struct cn_plan_piece *piece = &save->plan.pieces[save->list[i]];
        save->places[i] = at;
        at += cn_align_up(piece->end, CN_PAGE_BYTES) - cn_align_down(piece->begin, CN_PAGE_BYTES);
        if (at > room) return NULL;
    }
    return save->places;
}

/* Pieces of files that are written: the early ones, or all others. */
static int move_pieces(struct cn_save *save, bool early, cairn_error *err)
{
    struct cn_pump pump = { .produce = stage_piece,
                            .consume = write_piece,
                            .user = save,
                            .arena = save->arena,
                            .threads = save->threads,
                            .stagers = save->threads > 2 ? 2 : 1,
                            .cancel = save->cancel,
                            .tick = tick,
                            .begin = create_files,
                            .staged = early ? NULL : all_staged };
    save->list_count = 0;
    for (uint64_t i = 0; i < save->plan.pieces_count; i++) {
        const struct cn_plan_piece *piece = &save->plan.pieces[i];
        if (save->files[piece->file].fate == CN_FATE_WRITE && cn_save_is_early(save, piece) == early) save->list[save->list_count++] = i;
    }
    pump.pieces = save->list_count;
    pump.places = give_places(save);
    pump.stage_first = save->behind && !early;
    pump.behind = save->behind && !early; /* for the early ones the caller waits */
    /* eagerly the caller waits for all of it, and nobody writes yet */
    if (pump.stage_first && !save->lazy) pump.stagers = (uint32_t)cn_min_u64(save->threads, cn_max_u64(cn_os_cores(), 2));
    return pump.pieces || !early ? cn_pump_run(&pump, err) : CAIRN_OK;
}

/* Whether to link a file that holds early pieces is decided before the caller goes on, too. */
static bool mark_early(struct cn_save *save)
{
    bool any = false;
    for (uint64_t i = 0; i < save->plan.pieces_count; i++) {
        if (!cn_save_is_early(save, &save->plan.pieces[i])) continue;
        save->files[save->plan.pieces[i].file].early = true;
        any = true;
    }
    return any;
}

/* Lazily the caller waits for `captured` alone: it comes first where nothing needs to be staged early. */
static int move_early(struct cn_save *save, cairn_error *err)
{
    int code = CAIRN_OK;
    if (!save->lazy) return CAIRN_OK;
    if (mark_early(save)) {
        code = cn_save_link_unchanged(save, true, err);
        if (!code) code = move_pieces(save, true, err);
    }
    if (!code && save->captured) save->captured(save->user);
    return code;
}

int cn_save_run(struct cn_save *save, cairn_error *err)
{
    cn_arena_start(save->arena);
    int code = move_early(save, err);
    if (!code) code = cn_save_link_unchanged(save, false, err);
    if (!code) code = move_pieces(save, false, err);
    return code ? code : finish_files(save, err);
}

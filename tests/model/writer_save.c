/* Saving: a staging folder is filled (D2-D5, S2, S3) and committed (D6-D11); then names are tidied and the trash is emptied. */
#include "writer.h"

#include <string.h>

/* Everything in it is private and synced before anybody may look: one step. */
static void stage(struct world *w, struct actor *a)
{
    unsigned c = next_checkpoint(w, a), folder = FOLDERS + c, base = a->writer.base;
    struct checkpoint *checkpoint = &w->s.checkpoint[c];
    char what = writer_plan(w, a)[a->writer.plan - 1];
    checkpoint->step = (uint8_t)(base ? w->s.checkpoint[base - 1].step + (what != 'r') : 1);
    checkpoint->term = a->writer.term;
    checkpoint->parent = (uint8_t)base;
    checkpoint->flags = what == 'u' ? UNHEALTHY : 0;
    note(w, "D2: makes staging/%u-... for step %u (checkpoint %u)", checkpoint->term, checkpoint->step, c);
    put_name(w, STAGING, folder, folder);
    if (has_rule(w, D2)) sync_dir(w, STAGING);
    w->quiet = false;
    go(a, w->c->links && base ? LINK_DATA : SEAL);
}

static void write_data(struct world *w, unsigned c)
{
    put_name(w, FOLDERS + c, NAME_DATA, FILES + 6 * c + DATA);
    write_file(w, FILES + 6 * c + DATA);
    if (has_rule(w, D3)) sync_file(w, FILES + 6 * c + DATA);
    for (unsigned item = 0; item < 2 && w->c->with_items; item++) {
        put_name(w, FOLDERS + c, NAME_ITEM_0 + item, FILES + 6 * c + ITEM_0 + item);
        write_file(w, FILES + 6 * c + ITEM_0 + item);
        sync_file(w, FILES + 6 * c + ITEM_0 + item);
    }
}

static bool is_original(unsigned node)
{
    return node >= FILES && (node - FILES) % 6 == DATA;
}

static void link_data(struct world *w, struct actor *a)
{
    unsigned c = next_checkpoint(w, a), source = (unsigned)look(&w->s.disk, FOLDERS + a->writer.base - 1u, NAME_DATA);
    bool right = !has_rule(w, S2) || is_original(source);
    if (source && right) put_name(w, FOLDERS + c, NAME_DATA, source);
    note(w, "S2, S3: %s", source && right ? "links the unchanged file" : "cannot link the unchanged file");
    if (!source && !has_rule(w, S3)) return go(a, SEAL);
    go(a, LINK_AGAIN);
}

static void look_through_link(struct world *w, struct actor *a)
{
    unsigned c = next_checkpoint(w, a), linked = (unsigned)look(&w->s.disk, FOLDERS + c, NAME_DATA);
    if (has_rule(w, S2) && linked && !is_original(linked)) remove_name(w, FOLDERS + c, NAME_DATA);
    w->quiet = true;
    go(a, SEAL);
}

static void seal(struct world *w, struct actor *a)
{
    unsigned c = next_checkpoint(w, a), folder = FOLDERS + c, manifest = FILES + 6 * c + MANIFEST;
    if (!look(&w->s.disk, folder, NAME_DATA) && (has_rule(w, S3) || !w->c->links || !a->writer.base)) write_data(w, c);
    put_name(w, folder, NAME_MANIFEST, manifest);
    write_file(w, manifest);
    if (has_rule(w, D4)) sync_file(w, manifest);
    if (has_rule(w, D5)) sync_dir(w, folder);
    w->quiet = true;
    go(a, FREE_NAME);
}

static void free_name(struct world *w, struct actor *a)
{
    unsigned c = next_checkpoint(w, a), step = w->s.checkpoint[c].step, holder = (unsigned)look(&w->s.disk, RUN, step);
    if (a->writer.tries++ > 3) return end(w, a, STUCK);
    if (!holder) note(w, "D6: %s is free", show_name(RUN, step));
    if (!holder) return go(a, SYNC_FREED);
    if (is_retired(w, holder)) return go(a, FINISH_RETIRED);
    if (!manifest_of(&w->s.disk, holder)) return end(w, a, FOREIGN);
    unsigned other = holder - FOLDERS;
    if (has_rule(w, D6_FENCED) && w->s.checkpoint[other].term > a->writer.term) return end(w, a, FENCED);
    if (has_rule(w, D6_EXISTS) && w->s.checkpoint[other].step >= step && on_line(&w->s, c, other)) return end(w, a, EXISTS);
    note(w, "D6: %s is held by checkpoint %u", show_name(RUN, step), other);
    a->writer.move[0] = (struct move){ (uint16_t)step, (uint16_t)aside(&w->s.checkpoint[other]) };
    go(a, has_rule(w, D6_ASIDE) ? MOVE_ASIDE : SYNC_FREED);
}

static void move_aside(struct world *w, struct actor *a)
{
    struct move *move = &a->writer.move[0];
    enum moved moved = move_name(w, RUN, move->from, RUN, move->to);
    if (moved == NAME_TAKEN) {
        move->to |= NAME_SUFFIX;
        if (move_name(w, RUN, move->from, RUN, move->to) == NAME_TAKEN) return end(w, a, STUCK);
    }
    note(w, "D6: renames it to %s", show_name(RUN, move->to));
    *move = (struct move){ 0 };
    go(a, SYNC_FREED);
}

static void list_pruners(struct world *w, struct actor *a)
{
    const struct disk *disk = &w->s.disk;
    a->writer.pruners = 0;
    for (unsigned i = 0; i < disk->now_count; i++)
        if (disk->now[i].dir == TRASH && disk->now[i].name < NAME_X) a->writer.pruners |= (uint16_t)(1u << (disk->now[i].node - PRUNERS));
    note(w, "D8: lists the trash");
    go(a, SWEEP_PRUNERS);
}

static void sweep_pruner(struct world *w, struct actor *a)
{
    for (unsigned i = 0; i < 16 && has_rule(w, D8); i++) {
        if (!(a->writer.pruners >> i & 1)) continue;
        a->writer.pruners &= (uint16_t) ~(1u << i);
        note(w, "D8: renames pruner's folder %s away", show_name(TRASH, NAME_P + PRUNERS + i));
        (void)move_name(w, TRASH, NAME_P + PRUNERS + i, TRASH, NAME_X + PRUNERS + i);
        return;
    }
    a->writer.pruners = 0;
    w->quiet = true;
    go(a, CHECK_TERM);
}

static void commit(struct world *w, struct actor *a)
{
    unsigned c = next_checkpoint(w, a), step = w->s.checkpoint[c].step;
    if (!has_rule(w, D10_NAME) && look(&w->s.disk, RUN, step) && look(&w->s.disk, STAGING, FOLDERS + c)) {
        move_over(w, STAGING, FOLDERS + c, RUN, step);
    } else {
        enum moved moved = move_name(w, STAGING, FOLDERS + c, RUN, step);
        if (moved == NO_SOURCE) return end(w, a, FENCED);
        if (moved == NAME_TAKEN) return go(a, FREE_NAME);
    }
    note(w, "D10: commits checkpoint %u (step %u, term %u) as %s", c, step, a->writer.term, show_name(RUN, step));
    on_committed(w, a, c);
    go(a, SYNC_RUN);
}

static void acknowledge(struct world *w, struct actor *a)
{
    unsigned c = next_checkpoint(w, a);
    if (has_rule(w, D11_STAGING)) sync_dir(w, STAGING);
    w->quiet = false;
    note(w, "D11: checkpoint %u is durable, says the writer", c);
    on_acknowledged(w, c);
    let_go(a);
    go(a, a->writer.term_used ? EMPTY_SAVED : TIDY_LIST);
    a->writer.saves++;
    a->writer.base = (uint8_t)(c + 1);
    a->writer.term_used = 1;
    a->writer.tries = 0;
}

/* -------------------------------------------------------------------------------------------------------------------- tidy */

/* Only superseded ones get another name, which nobody else ever has. */
static void list_to_tidy(struct world *w, struct actor *a)
{
    struct listing listing;
    list_run(w, &listing);
    a->writer.moves = 0;
    for (int current = 0; current < (has_rule(w, N_FORWARD) ? 1 : 2); current++)
        for (unsigned i = 0; i < listing.count; i++) {
            const struct checkpoint *checkpoint = &w->s.checkpoint[listing.at[i].checkpoint];
            unsigned right = current ? checkpoint->step : aside(checkpoint);
            if (listing.at[i].current != current || listing.at[i].name == right || a->writer.moves == MAX_MOVES) continue;
            a->writer.move[a->writer.moves++] = (struct move){ listing.at[i].name, (uint16_t)right };
        }
    go(a, TIDY);
}

static void tidy(struct world *w, struct actor *a)
{
    struct writer *writer = &a->writer;
    if (!writer->moves) {
        w->quiet = true;
        return go(a, EMPTY_SAVED);
    }
    note(w, "tidies: renames %s to %s", show_name(RUN, writer->move[0].from), show_name(RUN, writer->move[0].to));
    (void)move_name(w, RUN, writer->move[0].from, RUN, writer->move[0].to);
    memmove(writer->move, writer->move + 1, sizeof writer->move - sizeof writer->move[0]);
    writer->move[MAX_MOVES - 1] = (struct move){ 0 };
    writer->moves--;
}

/* ------------------------------------------------------------------------------------------------------------------- steps */

static void step_committing(struct world *w, struct actor *a)
{
    switch (a->pc) {
    case FREE_NAME: return free_name(w, a);
    case MOVE_ASIDE: return move_aside(w, a);
    case FINISH_RETIRED:
        if (finish_retired(w, w->s.checkpoint[next_checkpoint(w, a)].step)) go(a, FREE_NAME);
        return;
    case SYNC_FREED:
        note(w, "D7: syncs the run folder");
        w->quiet = true;
        if (has_rule(w, D7)) sync_dir(w, RUN);
        return go(a, LIST_PRUNERS);
    case LIST_PRUNERS: return list_pruners(w, a);
    case SWEEP_PRUNERS: return sweep_pruner(w, a);
    case CHECK_TERM:
        if (has_rule(w, D9) && !term_is_ours(w, a)) return end(w, a, FENCED);
        note(w, "D9: the term is still ours");
        return go(a, COMMIT);
    case COMMIT: return commit(w, a);
    case SYNC_RUN:
        note(w, "D11: syncs the run folder");
        w->quiet = true;
        if (has_rule(w, D11_RUN)) sync_dir(w, RUN);
        return go(a, SYNC_STAGING);
    default: return acknowledge(w, a);
    }
}
void step_saving(struct world *w, struct actor *a)
{
    if (a->pc >= FREE_NAME && a->pc <= SYNC_STAGING) return step_committing(w, a);
    switch (a->pc) {
    case STAGE: return stage(w, a);
    case LINK_DATA: return link_data(w, a);
    case LINK_AGAIN: return look_through_link(w, a);
    case SEAL: return seal(w, a);
    case TIDY_LIST: return list_to_tidy(w, a);
    case TIDY: return tidy(w, a);
    default:
        if (empty_trash(w, a)) go(a, NEXT);
    }
}

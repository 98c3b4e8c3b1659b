/* A writer: opens the run and takes it over (writer_open.c), then does what its plan says: s save, r save the last step once more, u save an unhealthy
 * one, b go back to the oldest of the line, n restore the newest again (writer_save.c). */
#include "writer.h"

#include <assert.h>

unsigned writer_self(const struct world *w, const struct actor *a)
{
    return w->probing ? MAX_ACTORS : actor_index(w, a);
}

const char *writer_plan(const struct world *w, const struct actor *a)
{
    return w->probing ? "s" : w->c->plan[actor_index(w, a)].text;
}

static unsigned saves_in(const char *plan)
{
    unsigned count = 0;
    for (; plan && *plan; plan++) count += *plan == 's' || *plan == 'u' || *plan == 'r';
    return count;
}

/* The number of the checkpoint that this writer saves next: its own, whatever the others do meanwhile. */
unsigned next_checkpoint(const struct world *w, const struct actor *a)
{
    unsigned number = w->c->initial + a->writer.saves;
    if (w->probing) return MAX_CHECKPOINTS - 1;
    for (unsigned i = 0; i < actor_index(w, a); i++) number += w->c->plan[i].role == WRITER ? saves_in(w->c->plan[i].text) : 0;
    assert(number < MAX_CHECKPOINTS - 1);
    return number;
}

unsigned highest_in(const struct disk *disk, unsigned dir)
{
    unsigned highest = 0;
    for (unsigned i = 0; i < disk->now_count; i++)
        if (disk->now[i].dir == dir && disk->now[i].name > highest) highest = disk->now[i].name;
    return highest;
}

bool term_is_ours(const struct world *w, const struct actor *a)
{
    unsigned highest = highest_in(&w->s.disk, TERMS);
    return highest == a->writer.term &&
           (unsigned)look(&w->s.disk, TERMS, highest) == TERM_FILES + 4 * writer_self(w, a) + a->writer.takes - 1;
}

static void next_of_plan(struct world *w, struct actor *a)
{
    char what = writer_plan(w, a)[a->writer.plan];
    w->quiet = true;
    if (!what) {
        if (!has_rule(w, T_KEPT)) remove_name(w, TERMS, a->writer.term);
        w->quiet = false;
        return end(w, a, OK);
    }
    a->writer.plan++;
    if (what == 's' || what == 'u' || what == 'r') return go(a, STAGE);
    a->writer.back = what == 'b';
    a->writer.listed = !has_rule(w, T6_LIST) && a->writer.term_used;
    go(a, a->writer.listed ? EARLY_LIST : a->writer.term_used ? TAKE_NUMBER : LIST);
}

void step_writer(struct world *w, struct actor *a)
{
    if (a->pc <= READ) return step_opening(w, a);
    if (a->pc == NEXT) return next_of_plan(w, a);
    step_saving(w, a);
}

/* The configurations that are explored, and for each rule the one that shows what its absence does. */
#include "model.h"

#include <stddef.h>
#include <string.h>

static void put_checkpoint(struct state *s, const struct model_case *c, unsigned number, unsigned dir, unsigned name)
{
    unsigned folder = FOLDERS + number, files = FILES + 6 * number;
    s->checkpoint[number] = (struct checkpoint){ (uint8_t)(number + 1), c->no_terms ? 3 : 1, (uint8_t)number, 0 };
    if (c->broken >> number & 1) s->checkpoint[number].flags |= BROKEN;
    if (c->unhealthy >> number & 1) s->checkpoint[number].flags |= UNHEALTHY;
    put_durable(&s->disk, dir, name, folder);
    if (c->bad_marks >> number & 1) {
        s->checkpoint[number].flags |= UNREADABLE_MARKS;
        put_durable(&s->disk, folder, NAME_MARKS + 1, MARKS + 4 * MAX_ACTORS - 1);
        s->disk.lost[(MARKS + 4 * MAX_ACTORS - 1) / 64] |= UINT64_C(1) << (MARKS + 4 * MAX_ACTORS - 1) % 64;
    }
    bool thinned = c->thinned >> number & 1;
    put_durable(&s->disk, folder, NAME_MANIFEST, files + (thinned ? MANIFEST_1 : MANIFEST));
    put_durable(&s->disk, folder, NAME_DATA, files + DATA);
    for (unsigned item = thinned; item < 2 && c->with_items; item++)
        put_durable(&s->disk, folder, NAME_ITEM_0 + item, files + ITEM_0 + item);
    s->acknowledged |= (uint16_t)(1u << number);
}

/* A run whose first writer has saved `initial` checkpoints under term 1 and gone. */
void begin_case(struct world *w, const struct model_case *c)
{
    memset(w, 0, sizeof *w);
    w->c = c;
    w->s.opened = 1;
    w->s.manifest_items[0] = 3;
    if (c->thinned) w->s.manifest_items[1] = 2;
    for (unsigned i = 0; i < MAX_ACTORS; i++) w->s.actor[i].role = (uint8_t)c->plan[i].role;
    if (c->plan[0].role == REPLACER) {
        put_checkpoint(&w->s, c, 0, ROOT, NAME_TARGET);
        w->s.acknowledged = 0;
    } else if (!c->fresh) {
        put_durable(&w->s.disk, ROOT, NAME_OF_RUN, RUN);
        if (!c->no_terms) put_durable(&w->s.disk, TERMS, 1, TERM_FILES + 4 * MAX_ACTORS + 3);
        for (unsigned i = 0; i < c->initial; i++) put_checkpoint(&w->s, c, i, RUN, i + 1);
    }
    if (!c->cuts) forget_durability(&w->s.disk);
}

/* clang-format off */
#define WRITES(text) { WRITER, text, 0 }
#define KEEPS(count) { PRUNER, "", count }
#define KEEPS_BRIEFLY(count) { PRUNER, "1", count }
#define REMOVES_OLDEST { PRUNER, "", 0 }
#define TAGS(number) { TAGGER, "", number }
#define DROPS(number) { DROPPER, "", number }
#define READS(number) { READER, "", number }
#define EDITS(number) { EDITOR, "", number }
#define REPLACES { REPLACER, "", 0 }

const struct model_case configurations[] = {
    { .name = "same step twice", .plan = { WRITES("sr") }, .initial = 1, .quick = true },
    { .name = "torn listing", .plan = { WRITES("bs"), WRITES("s") }, .initial = 2, .torn_listing = true, .quick = true },
    { .name = "rm", .plan = { WRITES("s"), REMOVES_OLDEST }, .initial = 2, .quick = true },
    { .name = "bad marks, pruner", .plan = { KEEPS(1) }, .initial = 2, .bad_marks = 1, .quick = true },
    { .name = "new run, a cut", .plan = { WRITES("s") }, .fresh = true, .cuts = 1, .quick = true },
    { .name = "save, a cut", .plan = { WRITES("s") }, .initial = 1, .cuts = 1, .quick = true },
    { .name = "back, a cut", .plan = { WRITES("bss") }, .initial = 3, .cuts = 1, .quick = true },
    { .name = "back twice, 2 cuts", .plan = { WRITES("bsbs"), WRITES("ss") }, .initial = 3, .cuts = 2, .quick = true },
    { .name = "terms lost", .plan = { WRITES("ns"), WRITES("s") }, .initial = 1, .no_terms = true, .quick = true },
    { .name = "2 writers", .plan = { WRITES("bs"), WRITES("s") }, .initial = 2, .quick = true },
    { .name = "2 writers, a cut", .plan = { WRITES("bs"), WRITES("s") }, .initial = 2, .cuts = 1, .quick = true },
    { .name = "2 writers, restore again", .plan = { WRITES("sns"), WRITES("s") }, .initial = 1, .quick = true },
    { .name = "2 going back", .plan = { WRITES("bs"), WRITES("bss") }, .initial = 3, .quick = true },
    { .name = "3 writers", .plan = { WRITES("s"), WRITES("s"), WRITES("s") }, .initial = 1, .quick = true },
    { .name = "3 writers, one goes back", .plan = { WRITES("bs"), WRITES("s"), WRITES("s") }, .initial = 2, .quick = true },
    { .name = "back, pruner", .plan = { WRITES("bss"), KEEPS(1) }, .initial = 3, .kills = true, .quick = true },
    { .name = "back, pruner, a cut", .plan = { WRITES("bs"), KEEPS(1) }, .initial = 3, .kills = true, .cuts = 1, .quick = true },
    { .name = "pruner, reader", .plan = { WRITES("s"), KEEPS(1), READS(0) }, .initial = 2, .kills = true, .quick = true },
    { .name = "broken newest", .plan = { KEEPS(1), WRITES("s") }, .initial = 3, .broken = 4, .quick = true },
    { .name = "full disk, a cut", .plan = { KEEPS(1), WRITES("bs") }, .initial = 3, .cuts = 1, .full_disk = true, .kills = true, .quick = true },
    { .name = "3 taggers", .plan = { TAGS(0), TAGS(0), TAGS(0) }, .initial = 1, .no_probe = true, .quick = true },
    { .name = "2 taggers, a cut", .plan = { TAGS(0), TAGS(0) }, .initial = 1, .cuts = 1, .no_probe = true, .quick = true },
    { .name = "tagger, pruner", .plan = { TAGS(0), KEEPS(1) }, .initial = 2, .cuts = 1, .kills = true, .no_probe = true, .quick = true },
    { .name = "2 droppers, a cut", .plan = { DROPS(0), DROPS(0) }, .initial = 2, .cuts = 1, .with_items = true, .kills = true, .no_probe = true, .quick = true },
    { .name = "writer, dropper, a cut", .plan = { WRITES("s"), DROPS(0) }, .initial = 1, .cuts = 1, .with_items = true, .kills = true, .quick = true },
    { .name = "dropper of the head", .plan = { DROPS(1) }, .initial = 2, .broken = 2, .with_items = true, .no_probe = true, .quick = true },
    { .name = "2 droppers, reader", .plan = { DROPS(0), DROPS(0), READS(0) }, .initial = 2, .with_items = true, .kills = true, .no_probe = true, .quick = true },
    { .name = "dropper, pruner, reader", .plan = { DROPS(0), KEEPS(1), READS(0) }, .initial = 2, .with_items = true, .kills = true, .no_probe = true, .quick = true },
    { .name = "broken newest, dropper, pruner", .plan = { DROPS(1), KEEPS(1), WRITES("s") }, .initial = 3, .broken = 4, .with_items = true, .kills = true, .quick = true },
    { .name = "broken newest, thinned, pruner", .plan = { KEEPS(1), WRITES("s") }, .initial = 3, .broken = 4, .thinned = 2, .with_items = true, .quick = true },
    { .name = "broken newest, thinned, rm", .plan = { REMOVES_OLDEST, WRITES("s") }, .initial = 3, .broken = 4, .thinned = 2, .with_items = true, .quick = true },
    { .name = "links, editor", .plan = { WRITES("ss"), EDITS(1) }, .initial = 2, .links = true, .quick = true },
    { .name = "links, no locks, pruner", .plan = { WRITES("bs"), KEEPS(1) }, .initial = 3, .links = true, .no_locks = true, .quick = true },
    { .name = "no locks: 2 writers, pruner", .plan = { WRITES("bs"), WRITES("s"), KEEPS(1) }, .initial = 2, .no_locks = true, .quick = true },
    { .name = "2 going back, a cut", .plan = { WRITES("bs"), WRITES("bss") }, .initial = 3, .cuts = 1, .quick = true },
    { .name = "3 taggers, a cut", .plan = { TAGS(0), TAGS(0), TAGS(0) }, .initial = 1, .cuts = 1, .no_probe = true, .quick = true },
    { .name = "one folder, a cut", .plan = { REPLACES }, .cuts = 1, .quick = true },
    { .name = "2 writers, pruner, a cut", .plan = { WRITES("s"), WRITES(""), KEEPS(1) }, .initial = 2, .cuts = 1, .kills = true },
    { .name = "no locks: 2 writers, 2 pruners", .plan = { WRITES("bs"), WRITES("s"), KEEPS_BRIEFLY(1), KEEPS_BRIEFLY(1) }, .initial = 3, .no_locks = true, .no_probe = true, .may_be_away = true },
    { .name = "full disk, 2 pruners", .plan = { KEEPS(1), KEEPS(1), WRITES("bs") }, .initial = 3, .full_disk = true, .kills = true },
    { .name = "back, pruner, reader", .plan = { WRITES("bs"), KEEPS(1), READS(1) }, .initial = 3, .kills = true },
    { .name = "2 writers, pruner", .plan = { WRITES("bs"), WRITES("s"), KEEPS(1) }, .initial = 2, .kills = true },
    { .name = "2 pruners, a cut", .plan = { WRITES("s"), KEEPS(1), KEEPS(1) }, .initial = 2, .kills = true, .cuts = 1 },
    { .name = "unhealthy, pruner, a cut", .plan = { WRITES("us"), KEEPS(1) }, .initial = 2, .cuts = 1, .kills = true },
    { .name = "no locks: 2 pruners, a cut", .plan = { WRITES("bs"), KEEPS(1), KEEPS(1) }, .initial = 2, .no_locks = true, .cuts = 1 },
    { .name = "3 writers, a cut", .plan = { WRITES("s"), WRITES("s"), WRITES("s") }, .initial = 1, .cuts = 1 },
    { .name = "2 writers, 2 cuts", .plan = { WRITES("bss"), WRITES("ss"), WRITES("s") }, .initial = 2, .cuts = 2 },
    { .name = "back, 2 writers, pruner, a cut", .plan = { WRITES("bs"), WRITES("s"), KEEPS(1) }, .initial = 2, .cuts = 1, .kills = true },
    { .name = "2 writers, pruner, reader", .plan = { WRITES("bs"), WRITES("s"), KEEPS(1), READS(1) }, .initial = 2, .kills = true },
    { .name = "2 taggers, 2 pruners, a cut", .plan = { TAGS(0), TAGS(0), KEEPS(1), KEEPS(1) }, .initial = 2, .cuts = 1, .kills = true, .no_probe = true },
    { .name = "dropper, pruner, reader, tagger, a cut", .plan = { DROPS(0), KEEPS(1), READS(0), TAGS(0) }, .initial = 2, .cuts = 1, .with_items = true, .kills = true, .no_probe = true },
    { .name = "torn listing, 3 writers", .plan = { WRITES("bs"), WRITES("s"), WRITES("s") }, .initial = 2, .torn_listing = true },
};
/* clang-format on */
const unsigned configurations_count = sizeof configurations / sizeof configurations[0];

const struct mutant mutants[] = {
    { D1, NO_RULE, "new run, a cut", NULL, false },
    { D3, NO_RULE, "save, a cut", NULL, false },
    { D4, NO_RULE, "save, a cut", NULL, false },
    { D5, NO_RULE, "save, a cut", NULL, false },
    { D6_ASIDE, NO_RULE, "back, pruner", NULL, false },
    { D6_EXISTS, NO_RULE, "same step twice", NULL, false },
    { D7, NO_RULE, "back, a cut", NULL, false },
    { D8, NO_RULE, "back, pruner", NULL, false },
    { D9, NO_RULE, "2 writers", NULL, false },
    { D10_NAME, N_FORWARD, "2 writers", NULL, false },
    { D11_RUN, D11_STAGING, "save, a cut", NULL, false },
    { T1_MANIFESTS, NO_RULE, "terms lost", NULL, false },
    { T2, NO_RULE, "2 writers", NULL, false },
    { T3, T1_MANIFESTS, "2 writers, a cut", NULL, false },
    { T4, NO_RULE, "2 writers", NULL, false },
    { T6_LIST, NO_RULE, "2 writers, restore again", NULL, false },
    { T_KEPT, NO_RULE, "2 writers", NULL, false },
    { R5, NO_RULE, "no locks: 2 writers, 2 pruners", NULL, true },
    { N_FORWARD, NO_RULE, "back twice, 2 cuts", NULL, false },
    { G_TWICE, NO_RULE, "torn listing", NULL, false },
    { G_RELIST, NO_RULE, "2 writers", NULL, false },
    { G_LEASE, NO_RULE, "back, pruner", NULL, false },
    { G_LOOK, NO_RULE, "2 droppers, reader", NULL, false },
    { G_LEASE_READER, NO_RULE, "pruner, reader", NULL, false },
    { S2, NO_RULE, "links, editor", NULL, false },
    { S3, NO_RULE, "links, no locks, pruner", NULL, false },
    { M1, NO_RULE, "2 taggers, a cut", NULL, false },
    { M2, NO_RULE, "2 taggers, a cut", NULL, false },
    { M3, NO_RULE, "3 taggers", NULL, false },
    { M4, NO_RULE, "2 taggers, a cut", NULL, false },
    { M5, NO_RULE, "2 taggers, a cut", NULL, false },
    { M_UNREAD, NO_RULE, "bad marks, pruner", NULL, false },
    { M_LEASE, NO_RULE, "tagger, pruner", NULL, false },
    { I1_LOCK, NO_RULE, "dropper, pruner, reader", NULL, false },
    { I1_HEAD, NO_RULE, "dropper of the head", NULL, false },
    { I1_SYNC, NO_RULE, "writer, dropper, a cut", NULL, false },
    { I1_AGAIN, NO_RULE, "2 droppers, a cut", NULL, false },
    { I2, NO_RULE, "2 droppers, a cut", NULL, false },
    { I3, NO_RULE, "2 droppers, a cut", NULL, false },
    { I4, NO_RULE, "2 droppers, a cut", NULL, false },
    { R_HEAD, NO_RULE, "broken newest, thinned, rm", NULL, false },
    { I1_WHOLE, NO_RULE, "broken newest, dropper, pruner", NULL, false },
    { G_COMPLETE, NO_RULE, "broken newest, thinned, pruner", NULL, false },
    { R1, R1_WHOLE, "broken newest", NULL, false },
    { R1_COMPLETE, R1_WHOLE, "broken newest, thinned, pruner", NULL, false },
    { R1_WHOLE, NO_RULE, "broken newest, thinned, rm", NULL, false },
    { R2_SYNC, NO_RULE, "back, pruner, a cut", NULL, false },
    { R2_ORDER, NO_RULE, "back, pruner, a cut", NULL, false },
    { R3_LOCK, NO_RULE, "pruner, reader", NULL, false },
    { R3_UPGRADE, NO_RULE, "dropper, pruner, reader", NULL, false },
    { R3_LOOK, NO_RULE, "full disk, a cut", NULL, false },
    { R3_MARKS, NO_RULE, "tagger, pruner", NULL, false },
    { R4_PATH, NO_RULE, "back, pruner", NULL, false },
    { R6, NO_RULE, "back, pruner, a cut", NULL, false },
    { R7_SYNC, NO_RULE, "2 writers, pruner, a cut", NULL, false },
    { R7_ORDER, NO_RULE, "2 writers, pruner, a cut", NULL, false },
    { R8_SYNC, R8_FINISH, "full disk, a cut", NULL, false },
    { R8_FINISH, NO_RULE, "full disk, a cut", NULL, false },
    { R8_LAST, NO_RULE, "full disk, a cut", NULL, false },
    { R8_GONE, NO_RULE, "full disk, a cut", NULL, false },
    { R8_EMPTY, NO_RULE, "full disk, a cut", NULL, false },
    { R8_OWN, NO_RULE, "full disk, 2 pruners", NULL, false },
    { X_ONE_STEP, NO_RULE, "one folder, a cut", NULL, false },
    { X_SYNC, NO_RULE, "one folder, a cut", NULL, false },
    { X_WHOLE, NO_RULE, "one folder, a cut", NULL, false },
    { A_WHOLE, NO_RULE, "back, pruner, a cut", NULL, false },
};
const unsigned mutants_count = sizeof mutants / sizeof mutants[0];

const struct unseen unseen[] = {
    { D2, "what is lost with it was not acknowledged; the committing rename makes the folder durable" },
    { D6_FENCED, "D9 refuses the same writer a moment later: an early error" },
    { T1_STAGING, "its writer has a term file; without terms/ the writers of one copy are refused at D9 by what the file holds" },
    { T5, "a cut that brings the folder back has killed its writer" },
    { T6_CHECK, "D9 refuses the same writer at its first save: an early error" },
    { R7_NAME, "a net below R5, for a pruner that dies between R4 and R5, and only where locks are refused" },
};
const unsigned unseen_count = sizeof unseen / sizeof unseen[0];

/* Covers src/policy/due.c and src/policy/keep.c: each rule by itself, and every small case against a second implementation that says what a rule means
 * instead of how it is found. */
#include "support.h"

#include <math.h>

#include "policy/due.h"
#include "policy/keep.h"

/* ------------------------------------------------------------------------------------------------------------------- due */

static bool due_by_steps(uint64_t from_step, uint64_t step, uint64_t every_steps)
{
    return cn_due(&(struct cn_due_rules){ .every_steps = every_steps }, &(struct cn_due_facts){ .step = step, .from_step = from_step });
}

static void a_crossed_multiple_is_due(void **unused)
{
    (void)unused;
    assert_true(due_by_steps(998, 1003, 500));
    assert_false(due_by_steps(1003, 1004, 500));
    assert_false(due_by_steps(1000, 1001, 500));
    assert_true(due_by_steps(999, 1000, 500));
    assert_true(due_by_steps(0, 2600, 500));
    assert_false(due_by_steps(1003, 998, 500));
    assert_false(due_by_steps(0, 1000000, 0));
    assert_true(due_by_steps(UINT64_MAX - 1, UINT64_MAX, 1));
    assert_false(due_by_steps(0, UINT64_MAX - 1, UINT64_MAX));
    for (uint64_t every = 1; every < 8; every++)
        for (uint64_t from = 0; from < 24; from++)
            for (uint64_t step = 0; step < 24; step++) {
                bool crossed = false;
                for (uint64_t passed = from + 1; passed <= step; passed++) crossed |= passed % every == 0;
                assert_int_equal(due_by_steps(from, step, every), crossed);
            }
}

static void time_and_requests_are_due_unless_all_is_saved(void **unused)
{
    static const struct cn_due_rules both = { .every_steps = 10, .every_ms = 1000 };
    (void)unused;
    assert_false(cn_due(&both, &(struct cn_due_facts){ .step = 15, .from_step = 14, .idle_ms = 999 }));
    assert_true(cn_due(&both, &(struct cn_due_facts){ .step = 15, .from_step = 14, .idle_ms = 1000 }));
    assert_true(cn_due(&both, &(struct cn_due_facts){ .step = 20, .from_step = 19, .idle_ms = 0 }));
    assert_false(cn_due(&(struct cn_due_rules){ 0, 0 }, &(struct cn_due_facts){ .step = 20, .idle_ms = UINT64_MAX }));
    assert_true(cn_due(&(struct cn_due_rules){ 0, 0 }, &(struct cn_due_facts){ .step = 20, .is_asked_for = true }));
    assert_false(cn_due(&both, &(struct cn_due_facts){ .step = 20, .idle_ms = 2000, .is_asked_for = true, .is_saved = true }));
}

/* ------------------------------------------------------------------------------------------------------------------ keep */

enum { MOST = 4 };

/* One checkpoint: its facts, and what a look at the disk would say. */
struct kind {
    bool current, healthy, exact, complete, whole, has_metric;
    double metric;
};

struct disk {
    struct kind kinds[MOST];
    int looks[MOST];
};

static bool look(void *user, uint64_t index)
{
    struct disk *disk = user;
    disk->looks[index]++;
    return disk->kinds[index].whole;
}

static struct cn_keep_entry facts_of(const struct kind *kind)
{
    return (struct cn_keep_entry){ .is_current = kind->current,
                                   .is_healthy = kind->healthy,
                                   .is_exact = kind->exact,
                                   .is_complete = kind->complete,
                                   .has_metric = kind->has_metric,
                                   .metric = kind->metric };
}

static bool can_be_head(const struct kind *kind)
{
    return kind->current && kind->healthy && kind->exact;
}

static bool is_survivor(const struct kind *kind)
{
    return kind->current && kind->healthy && kind->complete && kind->whole;
}

static bool may_be_best(const struct kind *kind)
{
    return can_be_head(kind) && kind->whole && kind->has_metric && !isnan(kind->metric);
}

static bool is_better(const struct kind *kinds, int a, int b, bool max)
{
    if (kinds[a].metric == kinds[b].metric) return a > b;
    return max ? kinds[a].metric > kinds[b].metric : kinds[a].metric < kinds[b].metric;
}

/* What each reason means, of one checkpoint among all. */
static uint32_t reasons_of(const struct kind *kinds, int count, int at, const struct cn_keep_rules *rules)
{
    const struct kind *kind = &kinds[at];
    uint32_t newer_heads = 0, newer_whole = 0, newer_survivors = 0, newer_unhealthy = 0, better = 0, reasons = 0;
    for (int i = at + 1; i < count; i++) {
        newer_heads += can_be_head(&kinds[i]);
        newer_whole += can_be_head(&kinds[i]) && is_survivor(&kinds[i]);
        newer_survivors += is_survivor(&kinds[i]);
        newer_unhealthy += kinds[i].current && !kinds[i].healthy;
    }
    for (int i = 0; i < count; i++) better += i != at && may_be_best(&kinds[i]) && is_better(kinds, i, at, rules->best_is_max);
    if (at == count - 1) reasons |= CAIRN_KEPT_NEWEST;
    if (can_be_head(kind) && !newer_heads) reasons |= CAIRN_KEPT_HEAD;
    if (can_be_head(kind) && is_survivor(kind) && !newer_whole) reasons |= CAIRN_KEPT_WHOLE;
    if (!rules->last && !rules->best) return reasons;
    if (kind->current && kind->healthy && newer_survivors < rules->last)
        reasons |= is_survivor(kind) ? CAIRN_KEPT_LAST : CAIRN_KEPT_UNCOUNTED;
    if (kind->current && !kind->healthy && newer_unhealthy < 2) reasons |= CAIRN_KEPT_UNHEALTHY;
    if (may_be_best(kind) && better < rules->best) reasons |= CAIRN_KEPT_BEST;
    return reasons;
}

static void compare(const struct disk *disk, int count, const struct cn_keep_rules *rules)
{
    struct disk looked = *disk;
    struct cn_keep_entry entries[MOST];
    struct cn_keep_run run = { .entries = entries, .count = (uint64_t)count, .is_whole = look, .user = &looked };
    for (int i = 0; i < count; i++) entries[i] = facts_of(&disk->kinds[i]);
    cn_keep_decide(rules, &run);
    for (int i = 0; i < count; i++) {
        uint32_t wanted = reasons_of(disk->kinds, count, i, rules);
        if (entries[i].reasons != wanted)
            fail_msg("%d of %d, last %u, best %u, max %d: %x instead of %x", i, count, rules->last, rules->best, rules->best_is_max,
                     entries[i].reasons, wanted);
        assert_true(looked.looks[i] <= 1);
    }
}

/* Every kind that a rule could tell from another. */
static int make_kinds(struct kind kinds[64])
{
    static const struct kind odd[] = { { .healthy = true, .exact = true, .complete = true, .whole = true, .has_metric = true },
                                       { .current = true, .exact = true, .complete = true, .whole = true, .has_metric = true },
                                       { .current = true, .healthy = true, .complete = true, .whole = true, .has_metric = true },
                                       { .current = true, .healthy = true, .complete = true, .has_metric = true } };
    const double metrics[] = { 1, 2, NAN, -INFINITY };
    int count = 0;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) kinds[count++] = odd[i];
    for (int bits = 0; bits < 4; bits++) {
        struct kind kind = { .current = true, .healthy = true, .exact = true, .complete = bits & 1, .whole = bits & 2 };
        kinds[count++] = kind;
        kind.has_metric = true;
        for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
            kind.metric = metrics[i];
            kinds[count++] = kind;
        }
    }
    return count;
}

static void every_small_run_is_decided_as_the_rules_say(void **unused)
{
    struct kind kinds[64];
    struct disk disk = { .looks = { 0 } };
    const int count = make_kinds(kinds);
    (void)unused;
    for (int size = 0; size <= MOST; size++) {
        long cases = 1;
        for (int i = 0; i < size; i++) cases *= count;
        for (long number = 0; number < cases; number++) {
            long rest = number;
            for (int i = 0; i < size; i++, rest /= count) disk.kinds[i] = kinds[rest % count];
            for (uint32_t rule = 0; rule < 18; rule++)
                compare(&disk, size, &(struct cn_keep_rules){ .last = rule % 3, .best = rule / 3 % 3, .best_is_max = rule / 9 });
        }
    }
}

static void what_the_caller_knows_is_added_to(void **unused)
{
    struct disk disk = { .kinds = { { .current = true, .healthy = true, .exact = true, .complete = true, .whole = true } } };
    struct cn_keep_entry entry = facts_of(&disk.kinds[0]);
    struct cn_keep_run run = { .entries = &entry, .count = 1, .is_whole = look, .user = &disk };
    (void)unused;
    entry.reasons = CAIRN_KEPT_PINNED | CN_KEPT_IN_USE;
    cn_keep_decide(&(struct cn_keep_rules){ .last = 1 }, &run);
    assert_int_equal(entry.reasons, CAIRN_KEPT_PINNED | CN_KEPT_IN_USE | CN_KEPT_NEEDED | CAIRN_KEPT_LAST);
}

/* Of two that are as good the newer one, whichever way is better. */
static void ties_are_the_newers(void **unused)
{
    (void)unused;
    assert_true(cn_keep_is_better(1, 1, true) && cn_keep_is_better(1, 1, false));
    assert_true(cn_keep_is_better(2, 1, true) && !cn_keep_is_better(2, 1, false));
    assert_true(!cn_keep_is_better(1, 2, true) && cn_keep_is_better(1, 2, false));
}

struct counter {
    uint64_t looks, damaged_from, damaged_to;
};

static bool look_and_count(void *user, uint64_t index)
{
    struct counter *counter = user;
    counter->looks++;
    return index < counter->damaged_from || index >= counter->damaged_to;
}

/* A look reads a manifest and headers: of a run with thousands of checkpoints it takes a handful. */
static void few_are_looked_at(void **unused)
{
    enum { COUNT = 10000 };
    static struct cn_keep_entry entries[COUNT];
    struct counter counter = { 0, COUNT - 2, COUNT };
    struct cn_keep_run run = { .entries = entries, .count = COUNT, .is_whole = look_and_count, .user = &counter };
    (void)unused;
    for (int i = 0; i < COUNT; i++) {
        struct kind kind = { .current = true, .healthy = true, .exact = true, .complete = true, .has_metric = true, .metric = i % 1000 };
        entries[i] = facts_of(&kind);
    }
    cn_keep_decide(&(struct cn_keep_rules){ .last = 3, .best = 2 }, &run);
    assert_int_equal(counter.looks, 5 + 2); /* two damaged ones, the last three, the best two */
    assert_int_equal(entries[COUNT - 1].reasons, CAIRN_KEPT_NEWEST | CAIRN_KEPT_HEAD | CAIRN_KEPT_UNCOUNTED);
    assert_int_equal(entries[COUNT - 3].reasons, CAIRN_KEPT_WHOLE | CAIRN_KEPT_LAST);
    assert_int_equal(entries[COUNT - 6].reasons, 0);
    assert_int_equal(entries[COUNT - 1000].reasons, CAIRN_KEPT_BEST);
    assert_int_equal(entries[COUNT - 2000].reasons, CAIRN_KEPT_BEST);
    assert_int_equal(entries[COUNT - 3000].reasons, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_crossed_multiple_is_due),
                                        cmocka_unit_test(time_and_requests_are_due_unless_all_is_saved),
                                        cmocka_unit_test(every_small_run_is_decided_as_the_rules_say),
                                        cmocka_unit_test(what_the_caller_knows_is_added_to),
                                        cmocka_unit_test(ties_are_the_newers),
                                        cmocka_unit_test(few_are_looked_at) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

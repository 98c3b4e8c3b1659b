/* Covers src/io/pump.c: every piece exactly once through both stages, over one thread and many, over an arena of three slots and over places of their own; failures and cancel stop it. */
#include "support.h"

#include <stdatomic.h>

#include "io/pump.h"

static cairn_error err = CAIRN_ERROR_INIT;

enum { PIECES = 500 };

struct work {
    atomic_int produced[PIECES], consumed[PIECES];
    atomic_int wrong, staged, begun;
    atomic_int early; /* consumed before `begin`, or before all were produced though that was asked for */
    bool places, stage_first;
    uint64_t fail_at; /* UINT64_MAX: never */
    bool fail_in_produce, fail_in_begin;
    atomic_bool cancel;
    uint64_t cancel_at;
};

static int produce(void *user, uint64_t piece, unsigned char *slot, cairn_error *error)
{
    struct work *work = user;
    atomic_fetch_add(&work->produced[piece], 1);
    memset(slot, (int)(piece & 0xff), 4096);
    if (work->fail_in_produce && piece == work->fail_at) return cn_error_set(error, CAIRN_E_IO, "produce %d", (int)piece);
    if (piece == work->cancel_at) atomic_store(&work->cancel, true);
    return CAIRN_OK;
}

static int consume(void *user, uint64_t piece, unsigned char *slot, cairn_error *error)
{
    struct work *work = user;
    atomic_fetch_add(&work->consumed[piece], 1);
    if (atomic_load(&work->begun) != 1) atomic_fetch_add(&work->early, 1);
    for (int i = 0; i < PIECES && work->stage_first; i++) work->early += !atomic_load(&work->produced[i]);
    if (slot[0] != (piece & 0xff) || slot[4095] != (piece & 0xff)) atomic_fetch_add(&work->wrong, 1);
    if (!work->fail_in_produce && piece == work->fail_at) return cn_error_set(error, CAIRN_E_NOSPACE, "consume %d", (int)piece);
    return CAIRN_OK;
}

static int consume_alone(void *user, uint64_t piece, unsigned char *slot, cairn_error *error)
{
    memset(slot, (int)(piece & 0xff), 4096);
    return consume(user, piece, slot, error);
}

static int staged(void *user, cairn_error *error)
{
    (void)error;
    atomic_fetch_add(&((struct work *)user)->staged, 1);
    return 0;
}

static int begin(void *user, cairn_error *error)
{
    struct work *work = user;
    atomic_fetch_add(&work->begun, 1);
    if (work->stage_first && !atomic_load(&work->staged)) atomic_fetch_add(&work->early, 1);
    return work->fail_in_begin ? cn_error_set(error, CAIRN_E_NOSPACE, "begin") : CAIRN_OK;
}

static struct work *new_work(void)
{
    struct work *work = calloc(1, sizeof *work);
    work->fail_at = work->cancel_at = UINT64_MAX;
    return work;
}

static int run(struct work *work, bool two_stages, uint32_t threads, uint32_t slots)
{
    struct cn_arena *arena;
    static uint64_t places[PIECES];
    for (uint64_t i = 0; i < PIECES; i++) places[i] = (PIECES - 1 - i) * 4096;
    test_ok(cn_arena_new(8192, work->places ? (PIECES + 1) / 2 : slots, &arena, &err));
    struct cn_pump pump = { .pieces = PIECES,
                            .produce = two_stages ? produce : NULL,
                            .consume = two_stages ? consume : consume_alone,
                            .staged = staged,
                            .begin = begin,
                            .user = work,
                            .places = work->places ? places : NULL,
                            .stage_first = work->stage_first,
                            .arena = arena,
                            .threads = threads,
                            .stagers = 2,
                            .cancel = &work->cancel };
    int code = cn_pump_run(&pump, &err);
    cn_arena_free(arena);
    return code;
}

static void every_piece_once(void **unused)
{
    (void)unused;
    for (uint32_t threads = 1; threads <= 5; threads++)
        for (uint32_t slots = 3; slots <= 40; slots += 37)
            for (int stages = 0; stages < 2; stages++) {
                struct work *work = new_work();
                test_ok(run(work, stages, threads, slots));
                for (int i = 0; i < PIECES; i++) {
                    assert_int_equal(work->consumed[i], 1);
                    assert_int_equal(work->produced[i], stages);
                }
                assert_int_equal(work->wrong, 0);
                assert_int_equal(work->staged, stages);
                free(work);
            }
}

/* Each in a place of its own; writing waits for the last of them to be staged, or does not. */
static void pieces_may_have_places(void **unused)
{
    (void)unused;
    for (uint32_t threads = 1; threads <= 4; threads++)
        for (int first = 0; first < 2; first++) {
            struct work *work = new_work();
            work->places = true;
            work->stage_first = first;
            test_ok(run(work, true, threads, 0));
            for (int i = 0; i < PIECES; i++) assert_true(work->consumed[i] == 1 && work->produced[i] == 1);
            assert_true(!work->wrong && !work->early && work->staged == 1 && work->begun == 1);
            free(work);
        }
}

static void a_failing_begin_stops_it(void **unused)
{
    (void)unused;
    for (uint32_t threads = 1; threads <= 4; threads += 3)
        for (int first = 0; first < 2; first++) {
            struct work *work = new_work();
            work->places = true;
            work->stage_first = first;
            work->fail_in_begin = true;
            test_code(run(work, true, threads, 0), CAIRN_E_NOSPACE);
            for (int i = 0; i < PIECES; i++) assert_int_equal(work->consumed[i], 0);
            free(work);
        }
}

static void the_first_failure_stops_it(void **unused)
{
    (void)unused;
    for (uint64_t at = 0; at < PIECES; at += 83)
        for (int side = 0; side < 2; side++)
            for (uint32_t threads = 1; threads <= 4; threads += 3) {
                struct work *work = new_work();
                work->fail_at = at;
                work->fail_in_produce = side;
                test_code(run(work, true, threads, 3), side ? CAIRN_E_IO : CAIRN_E_NOSPACE);
                char want[32];
                snprintf(want, sizeof want, "%s %d", side ? "produce" : "consume", (int)at);
                assert_string_equal(err.message, want);
                free(work);
            }
}

static void cancel_stops_it(void **unused)
{
    (void)unused;
    for (uint32_t threads = 1; threads <= 4; threads += 3) {
        struct work *work = new_work();
        work->cancel_at = 100;
        test_code(run(work, true, threads, 3), CAIRN_E_CANCELLED);
        assert_int_equal(work->consumed[PIECES - 1], 0);
        free(work);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_piece_once), cmocka_unit_test(pieces_may_have_places),
                                        cmocka_unit_test(a_failing_begin_stops_it), cmocka_unit_test(the_first_failure_stops_it),
                                        cmocka_unit_test(cancel_stops_it) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

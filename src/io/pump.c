/* The pump (see pump.h). One lock guards the counters and the ring of staged pieces; it is held to hand a piece over and never while
 * bytes move. The ring has a place for every slot, so putting a piece in never waits. */
#include "io/pump.h"

#include <errno.h>

#include "base/limits.h"
#include "os/os.h"

struct staged {
    uint64_t piece;
    unsigned char *slot;
};

struct engine {
    const struct cn_pump *pump;
    struct cn_mutex *mutex;
    struct cn_cond *changed;
    struct staged *ring;
    uint64_t ring_size, ring_first, ring_count;
    uint64_t next_piece, produced, consumed;
    uint32_t running; /* tasks that have not ended */
    bool open;        /* consumers may begin */
    bool stopped;
    int code;
    cairn_error error;
};

static bool cancelled(const struct cn_pump *pump)
{
    return pump->cancel && atomic_load_explicit(pump->cancel, memory_order_relaxed);
}

/* Called with the lock held. */
static void stop(struct engine *engine, int code, const cairn_error *error)
{
    if (!engine->code && code) {
        engine->code = code;
        engine->error = *error;
    }
    engine->stopped = true;
    cn_cond_signal_all(engine->changed);
}

static void fail(struct engine *engine, int code, const cairn_error *error)
{
    cn_mutex_lock(engine->mutex);
    stop(engine, code, error);
    cn_mutex_unlock(engine->mutex);
    cn_arena_stop(engine->pump->arena);
}

/* The next piece number, or false when there is none or all shall stop. */
static bool claim(struct engine *engine, uint64_t *ret_piece)
{
    cairn_error error = CAIRN_ERROR_INIT;
    if (cancelled(engine->pump)) fail(engine, cn_error_set(&error, CAIRN_E_CANCELLED, "cancelled"), &error);
    cn_mutex_lock(engine->mutex);
    bool more = !engine->stopped && engine->next_piece < engine->pump->pieces;
    if (more) *ret_piece = engine->next_piece++;
    cn_mutex_unlock(engine->mutex);
    return more;
}

static bool stages_first(const struct cn_pump *pump)
{
    return pump->produce && pump->places && pump->stage_first;
}

/* A piece to produce and where. Of slots the slot comes first: a task that waits for one must not hold back a piece that others could stage. */
static unsigned char *claim_place(struct engine *engine, uint64_t *ret_piece)
{
    const struct cn_pump *pump = engine->pump;
    if (pump->places) return claim(engine, ret_piece) ? cn_arena_at(pump->arena, pump->places[*ret_piece]) : NULL;
    unsigned char *slot = cn_arena_take(pump->arena);
    if (!slot || claim(engine, ret_piece)) return slot;
    cn_arena_give(pump->arena, slot);
    return NULL;
}

static void give_place(const struct engine *engine, unsigned char *slot)
{
    if (!engine->pump->places) cn_arena_give(engine->pump->arena, slot);
}

static void end_task(struct engine *engine)
{
    cn_mutex_lock(engine->mutex);
    engine->running--;
    cn_cond_signal_all(engine->changed);
    cn_mutex_unlock(engine->mutex);
}

/* The last piece was produced. */
static int end_staging(struct engine *engine, cairn_error *err)
{
    const struct cn_pump *pump = engine->pump;
    int code = pump->staged ? pump->staged(pump->user, err) : CAIRN_OK;
    if (code || !stages_first(pump)) return code;
    if (pump->begin) code = pump->begin(pump->user, err);
    if (code) return code;
    cn_mutex_lock(engine->mutex);
    engine->open = true;
    cn_cond_signal_all(engine->changed);
    cn_mutex_unlock(engine->mutex);
    return CAIRN_OK;
}

static void produce_all(void *user)
{
    struct engine *engine = user;
    const struct cn_pump *pump = engine->pump;
    unsigned char *slot;
    uint64_t piece;
    while ((slot = claim_place(engine, &piece))) {
        cairn_error error = CAIRN_ERROR_INIT;
        int code = pump->produce(pump->user, piece, slot, &error);
        if (code) {
            give_place(engine, slot);
            fail(engine, code, &error);
            break;
        }
        cn_mutex_lock(engine->mutex);
        engine->ring[(engine->ring_first + engine->ring_count++) % engine->ring_size] = (struct staged){ piece, slot };
        bool last = ++engine->produced == pump->pieces;
        if (engine->open) cn_cond_signal_all(engine->changed);
        cn_mutex_unlock(engine->mutex);
        if (last && (code = end_staging(engine, &error))) fail(engine, code, &error);
    }
    end_task(engine);
}

static bool next_staged(struct engine *engine, struct staged *ret_staged)
{
    cn_mutex_lock(engine->mutex);
    while (!engine->stopped && (!engine->open || !engine->ring_count) && engine->consumed < engine->pump->pieces)
        cn_cond_wait(engine->changed, engine->mutex);
    bool more = !engine->stopped && engine->ring_count;
    if (more) {
        *ret_staged = engine->ring[engine->ring_first];
        engine->ring_first = (engine->ring_first + 1) % engine->ring_size;
        engine->ring_count--;
        if (++engine->consumed == engine->pump->pieces) cn_cond_signal_all(engine->changed);
    }
    cn_mutex_unlock(engine->mutex);
    return more;
}

static void consume_staged(void *user)
{
    struct engine *engine = user;
    const struct cn_pump *pump = engine->pump;
    struct staged staged;
    if (pump->behind) cn_task_step_back();
    while (next_staged(engine, &staged)) {
        cairn_error error = CAIRN_ERROR_INIT;
        int code = cancelled(pump) ? cn_error_set(&error, CAIRN_E_CANCELLED, "cancelled")
                                   : pump->consume(pump->user, staged.piece, staged.slot, &error);
        give_place(engine, staged.slot);
        if (code) {
            fail(engine, code, &error);
            break;
        }
    }
    end_task(engine);
}

/* Without a first stage: one slot for the whole job. */
static void consume_numbers(void *user)
{
    struct engine *engine = user;
    const struct cn_pump *pump = engine->pump;
    uint64_t piece;
    unsigned char *slot = cn_arena_take(pump->arena);
    while (slot && claim(engine, &piece)) {
        cairn_error error = CAIRN_ERROR_INIT;
        int code = pump->consume(pump->user, piece, slot, &error);
        if (code) {
            fail(engine, code, &error);
            break;
        }
    }
    if (slot) cn_arena_give(pump->arena, slot);
    end_task(engine);
}

enum { TICK_NS = 100000000 };

/* Everything on the caller's task. Staging first is staging all, then writing all. */
struct alone {
    const struct cn_pump *pump;
    unsigned char *slot;
    uint64_t ticked;
};

static int do_piece(struct alone *alone, uint64_t piece, bool produce, bool consume, cairn_error *err)
{
    const struct cn_pump *pump = alone->pump;
    unsigned char *slot = pump->places ? cn_arena_at(pump->arena, pump->places[piece]) : alone->slot;
    int code = cancelled(pump) ? cn_error_set(err, CAIRN_E_CANCELLED, "cancelled") : CAIRN_OK;
    if (!code && produce) code = pump->produce(pump->user, piece, slot, err);
    if (!code && produce && pump->staged && piece + 1 == pump->pieces) code = pump->staged(pump->user, err);
    if (!code && consume) code = pump->consume(pump->user, piece, slot, err);
    if (pump->tick && cn_os_now_ns() - alone->ticked >= TICK_NS) {
        pump->tick(pump->user);
        alone->ticked = cn_os_now_ns();
    }
    return code;
}

static int run_inline(const struct cn_pump *pump, cairn_error *err)
{
    struct alone alone = { pump, pump->places ? NULL : cn_arena_take(pump->arena), cn_os_now_ns() };
    bool first = stages_first(pump);
    int code = CAIRN_OK;
    if (!pump->places && !alone.slot) return cn_error_set(err, CAIRN_E_CANCELLED, "cancelled");
    for (uint64_t piece = 0; piece < pump->pieces && !code && first; piece++) code = do_piece(&alone, piece, true, false, err);
    if (!code && first && pump->begin) code = pump->begin(pump->user, err);
    for (uint64_t piece = 0; piece < pump->pieces && !code; piece++) code = do_piece(&alone, piece, pump->produce && !first, true, err);
    if (alone.slot) cn_arena_give(pump->arena, alone.slot);
    return code;
}

/* The caller's task waits here; it is the one that tells of progress, however often it is woken. */
static void wait_for_tasks(struct engine *engine)
{
    uint64_t ticked = cn_os_now_ns();
    cn_mutex_lock(engine->mutex);
    while (engine->running) {
        uint64_t since = cn_os_now_ns() - ticked;
        if (since < TICK_NS) {
            (void)cn_cond_wait_for(engine->changed, engine->mutex, TICK_NS - since);
            continue;
        }
        cn_mutex_unlock(engine->mutex);
        if (engine->pump->tick) engine->pump->tick(engine->pump->user);
        ticked = cn_os_now_ns();
        cn_mutex_lock(engine->mutex);
    }
    cn_mutex_unlock(engine->mutex);
}

static int start_tasks(struct engine *engine, struct cn_task **tasks, uint32_t *ret_count)
{
    const struct cn_pump *pump = engine->pump;
    uint32_t stagers = pump->produce ? pump->stagers : 0, total = stagers + pump->threads;
    if (!pump->produce && pump->threads > cn_arena_slots(pump->arena)) total = cn_arena_slots(pump->arena);
    for (uint32_t i = 0; i < total; i++) {
        void (*run)(void *) = !pump->produce ? consume_numbers : i < stagers ? produce_all : consume_staged;
        cn_mutex_lock(engine->mutex);
        engine->running++;
        cn_mutex_unlock(engine->mutex);
        int rc = cn_task_start(run, engine, &tasks[i]);
        if (rc) {
            end_task(engine);
            return rc;
        }
        *ret_count = i + 1;
    }
    return 0;
}

static int run_tasks(struct engine *engine, cairn_error *err)
{
    struct cn_task *tasks[2 * CN_MAX_IO_THREADS];
    uint32_t count = 0;
    int rc = start_tasks(engine, tasks, &count);
    if (rc) {
        cairn_error error = CAIRN_ERROR_INIT;
        fail(engine, cn_error_errno(&error, -rc, "a thread could not be started"), &error);
    }
    wait_for_tasks(engine);
    for (uint32_t i = 0; i < count; i++) cn_task_join(tasks[i]);
    if (engine->code && err) *err = engine->error;
    return engine->code;
}

static int run_nothing(const struct cn_pump *pump, cairn_error *err)
{
    if (cancelled(pump)) return cn_error_set(err, CAIRN_E_CANCELLED, "cancelled");
    int code = pump->staged ? pump->staged(pump->user, err) : CAIRN_OK;
    return code || !pump->begin ? code : pump->begin(pump->user, err);
}

int cn_pump_run(const struct cn_pump *pump, cairn_error *err)
{
    if (!pump->pieces) return run_nothing(pump, err);
    if (pump->threads > CN_MAX_IO_THREADS || pump->stagers > CN_MAX_IO_THREADS)
        return cn_error_set(err, CAIRN_E_USAGE, "at most %d I/O threads", CN_MAX_IO_THREADS);
    cn_arena_start(pump->arena);
    int code = pump->begin && !stages_first(pump) ? pump->begin(pump->user, err) : CAIRN_OK;
    if (code || pump->threads <= 1) return code ? code : run_inline(pump, err);
    struct engine engine = { .pump = pump,
                             .ring_size = pump->places ? pump->pieces : cn_arena_slots(pump->arena),
                             .open = !stages_first(pump),
                             .error = CAIRN_ERROR_INIT };
    engine.ring = cn_os_new_array(engine.ring_size, sizeof *engine.ring);
    int rc = engine.ring ? cn_mutex_new(&engine.mutex) : -ENOMEM;
    if (!rc) rc = cn_cond_new(&engine.changed);
    code = rc ? cn_error_errno(err, -rc, "the I/O engine could not be started") : run_tasks(&engine, err);
    cn_cond_free(engine.changed);
    cn_mutex_free(engine.mutex);
    cn_os_free(engine.ring);
    return code;
}

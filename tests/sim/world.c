/* Processes and tasks (see world.h). Only the director - the code that called sim_run() - starts, kills and cuts; a coroutine only ever gives the
 * processor back to it. So nobody is in the middle of the harness when its process dies. */
#include "world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { STACK_BYTES = 512 << 10, GUARD_BYTES = 4096, MAX_CALLS = 3000000 };

struct sim_world world;

/* ---------------------------------------------------------------------------------------------------------------- stacks */

static void *free_stacks; /* kept from world to world; the first word leads to the next */

static void *take_stack(void)
{
    void *stack = free_stacks;
    if (stack) {
        memcpy(&free_stacks, (char *)stack + GUARD_BYTES, sizeof free_stacks);
        return stack;
    }
    stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, GUARD_BYTES, PROT_NONE)) abort();
    return stack;
}

static void give_stack(void *stack)
{
    if (!stack) return;
    memcpy((char *)stack + GUARD_BYTES, &free_stacks, sizeof free_stacks);
    free_stacks = stack;
}

/* ---------------------------------------------------------------------------------------------------------- telling of it */

static void put_line(const char *format, va_list arguments)
{
    const struct cn_task *task = world.current;
    fprintf(stderr, "%8llu %6llu %12llu us  %-12s ", (unsigned long long)world.calls, (unsigned long long)world.changes,
            (unsigned long long)(world.now_ns / 1000), task ? task->process->name : "-");
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void sim_trace(const char *format, ...)
{
    va_list arguments;
    if (!world.trace) return;
    va_start(arguments, format);
    put_line(format, arguments);
    va_end(arguments);
}

int sim_traced(int rc, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    if (!world.trace) return rc;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (rc < 0)
        sim_trace("%s: %s", text, strerrorname_np(-rc) ? strerrorname_np(-rc) : "error");
    else
        sim_trace("%s", text);
    return rc;
}

void sim_fail(const char *format, ...)
{
    va_list arguments;
    if (world.failed) return;
    world.failed = true;
    va_start(arguments, format);
    vsnprintf(world.message, sizeof world.message, format, arguments);
    va_end(arguments);
    sim_trace("FAILED: %s", world.message);
}

/* -------------------------------------------------------------------------------------------------------- begin and end */

void sim_world_begin(uint64_t seed, const struct sim_profile *profile, bool trace)
{
    memset(&world, 0, sizeof world);
    struct sim_random random = { seed };
    world.seed = seed;
    world.profile = *profile;
    world.trace = trace;
    world.schedule = sim_random_fork(&random, 1);
    world.entropy = sim_random_fork(&random, 2);
    world.luck = sim_random_fork(&random, 3);
    world.now_ns = 1000000000;
    world.wall_offset_ns = INT64_C(1700000000) * 1000000000;
    world.cut_at_change = world.cut_at_call = world.kill_at_call = UINT64_MAX;
    sim_disk_init(&world.disk, sim_random_next(&random), profile->renames);
}

void sim_world_end(void)
{
    for (unsigned i = 0; i < world.processes_count; i++)
        if (world.processes[i].alive) sim_process_kill(&world.processes[i]);
    sim_disk_free(&world.disk);
}

/* ------------------------------------------------------------------------------------------------------------- processes */

static void begin_task(void)
{
    struct cn_task *task = world.current;
    task->run(task->user);
    task->wait = SIM_ENDED;
    sim_wake(SIM_WAITS_TASK, task);
    swapcontext(&task->context, &world.director);
    abort(); /* nobody goes on here */
}

struct cn_task *sim_task_new(struct sim_process *process, void (*run)(void *user), void *user)
{
    struct cn_task *task = calloc(1, sizeof *task), **link = &process->tasks;
    if (!task) abort();
    *task = (struct cn_task){ .process = process, .run = run, .user = user, .stack = take_stack(), .wake_ns = UINT64_MAX };
    getcontext(&task->context);
    task->context.uc_stack.ss_sp = (char *)task->stack + GUARD_BYTES;
    task->context.uc_stack.ss_size = STACK_BYTES - GUARD_BYTES;
    makecontext(&task->context, begin_task, 0);
    while (*link) link = &(*link)->next;
    *link = task;
    return task;
}

struct sim_process *sim_process_start(const char *name, void (*run)(void *user), void *user)
{
    if (world.processes_count == SIM_MAX_PROCESSES) abort();
    struct sim_process *process = &world.processes[world.processes_count++];
    *process = (struct sim_process){ .number = 1000 + world.processes_count, .alive = true, .over_at_call = UINT64_MAX };
    snprintf(process->name, sizeof process->name, "%s/%u", name, process->number - 1000);
    sim_task_new(process, run, user);
    return process;
}

void sim_task_free(struct cn_task *task)
{
    struct cn_task **link = &task->process->tasks;
    while (*link != task) link = &(*link)->next;
    *link = task->next;
    give_stack(task->stack);
    free(task);
}

static void free_tasks(struct sim_process *process)
{
    while (process->tasks) sim_task_free(process->tasks);
}

void sim_process_kill(struct sim_process *process)
{
    sim_trace("%s is killed", process->name);
    free_tasks(process);
    sim_files_close_all(process);
    sim_locks_drop_all(process);
    (void)sim_memory_drop_all(process);
    process->alive = false;
    process->over_at_call = world.calls;
}

/* By itself, when its first task has returned. What it did not give back is a leak of the product or of the test. */
static void end_process(struct sim_process *process)
{
    unsigned files = 0;
    for (unsigned i = 0; i < SIM_MAX_FILES; i++) files += world.files[i].process == process;
    if (process->tasks->next) sim_fail("%s ended with tasks that nobody joined", process->name);
    if (files) sim_fail("%s ended with %u open files", process->name, files);
    free_tasks(process);
    sim_files_close_all(process);
    sim_locks_drop_all(process);
    uint64_t blocks = sim_memory_drop_all(process);
    if (blocks) sim_fail("%s ended with %llu pieces of memory not given back", process->name, (unsigned long long)blocks);
    process->alive = false;
    process->over_at_call = world.calls;
}

void sim_power_cut(void)
{
    sim_trace("POWER CUT");
    for (unsigned i = 0; i < world.processes_count; i++)
        if (world.processes[i].alive) sim_process_kill(&world.processes[i]);
    sim_disk_cut(&world.disk, &world.luck);
    world.power_is_out = false;
    world.killed = NULL;
    world.cut_at_change = world.cut_at_call = world.kill_at_call = UINT64_MAX;
}

/* ------------------------------------------------------------------------------------------------------------- scheduling */

static bool may_run(const struct cn_task *task)
{
    if (task->process->stopped_until_ns > world.now_ns) return false;
    return task->wait == SIM_READY || ((task->wait == SIM_SLEEPS || task->wait == SIM_WAITS_COND) && task->wake_ns <= world.now_ns);
}

/* When a task could go on at the earliest if only time passes; UINT64_MAX: never. */
static uint64_t earliest(const struct cn_task *task)
{
    if (task->wait == SIM_ENDED) return UINT64_MAX;
    uint64_t when = task->wait == SIM_READY ? 0 : task->wake_ns;
    return when == UINT64_MAX || when > task->process->stopped_until_ns ? when : task->process->stopped_until_ns;
}

/* One of those that may go on, by chance. NULL: nobody may; then *ret_next is when somebody could. */
static struct cn_task *choose(uint64_t *ret_next, bool *ret_alive)
{
    struct cn_task *chosen = NULL;
    uint64_t count = 0;
    *ret_next = UINT64_MAX;
    *ret_alive = false;
    for (unsigned i = 0; i < world.processes_count; i++) {
        if (!world.processes[i].alive) continue;
        *ret_alive = true;
        for (struct cn_task *task = world.processes[i].tasks; task; task = task->next) {
            if (may_run(task) && sim_random_once_in(&world.schedule, ++count)) chosen = task;
            if (earliest(task) < *ret_next) *ret_next = earliest(task);
        }
    }
    return chosen;
}

static void go_on(struct cn_task *task)
{
    if (task->wait != SIM_READY) {
        task->timed_out = task->wait == SIM_WAITS_COND;
        task->wait = SIM_READY;
        task->wake_ns = UINT64_MAX;
    }
    world.current = task;
    swapcontext(&world.director, &task->context);
    world.current = NULL;
    if (task == task->process->tasks && task->wait == SIM_ENDED) end_process(task->process);
}

void sim_run(void)
{
    while (!world.power_is_out && !world.killed && !world.failed) {
        uint64_t next;
        bool alive;
        struct cn_task *task = choose(&next, &alive);
        if (!alive) return;
        if (world.calls > MAX_CALLS) sim_fail("it does not end");
        if (task)
            go_on(task);
        else if (next == UINT64_MAX)
            sim_fail("every task waits: a deadlock");
        else
            world.now_ns = next;
    }
}

/* ---------------------------------------------------------------------------------------------------- from the coroutines */

struct sim_process *sim_self(void)
{
    return world.current->process;
}

static void leave(void)
{
    struct cn_task *task = world.current;
    swapcontext(&task->context, &world.director);
}

void sim_wait(enum sim_wait wait, const void *waits_for, uint64_t wake_ns)
{
    struct cn_task *task = world.current;
    task->wait = wait;
    task->waits_for = waits_for;
    task->wake_ns = wake_ns;
    task->timed_out = false;
    leave();
}

void sim_wake(enum sim_wait wait, const void *waits_for)
{
    for (unsigned i = 0; i < world.processes_count; i++)
        for (struct cn_task *task = world.processes[i].tasks; task; task = task->next)
            if (task->wait == wait && task->waits_for == waits_for) {
                task->wait = SIM_READY;
                task->wake_ns = UINT64_MAX;
            }
}

/* Between a millisecond and an hour, each order of magnitude as likely. */
static uint64_t some_time(void)
{
    return UINT64_C(1000000) << sim_random_below(&world.schedule, 22);
}

static void upset(enum sim_kind kind)
{
    const struct sim_profile *profile = &world.profile;
    unsigned stop_in = kind == SIM_CHANGES_NAMES && profile->stop_at_names_in ? profile->stop_at_names_in : profile->stop_in;
    if (stop_in && sim_random_once_in(&world.schedule, stop_in)) {
        sim_self()->stopped_until_ns = world.now_ns + some_time();
        sim_trace("is stopped for %llu ms", (unsigned long long)((sim_self()->stopped_until_ns - world.now_ns) / 1000000));
    }
    if (profile->clock_in && sim_random_once_in(&world.schedule, profile->clock_in)) {
        int64_t jump = (int64_t)some_time() * 1000;
        world.wall_offset_ns += sim_random_once_in(&world.schedule, 2) ? jump : -jump;
        sim_trace("the wall clock jumps");
    }
}

void sim_call(enum sim_kind kind)
{
    world.calls++;
    world.changes += kind != SIM_LOOKS;
    world.now_ns += 1000 + sim_random_below(&world.schedule, 40000);
    upset(kind);
    if (sim_self()->stopped_until_ns > world.now_ns || sim_random_once_in(&world.schedule, world.profile.switch_in)) leave();
    /* last, so that nobody else acts between the decision and the end */
    if (world.calls >= world.cut_at_call || (kind != SIM_LOOKS && world.changes >= world.cut_at_change)) world.power_is_out = true;
    unsigned kill_in = kind == SIM_CHANGES_NAMES ? world.profile.kill_at_names_in : 0;
    if (world.calls >= world.kill_at_call || (kill_in && sim_random_once_in(&world.schedule, kill_in))) world.killed = sim_self();
    if (world.power_is_out || world.killed) leave();
}

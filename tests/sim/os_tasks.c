/* os.h, simulated: tasks, mutexes, conditions, time. */
#include "world.h"

struct cn_mutex {
    struct cn_task *owner;
};

struct cn_cond {
    char nothing;
};

int cn_task_start(void (*run)(void *user), void *user, struct cn_task **ret_task)
{
    sim_call(SIM_LOOKS);
    *ret_task = sim_task_new(sim_self(), run, user);
    return 0;
}

void cn_task_join(struct cn_task *task)
{
    if (!task) return;
    sim_call(SIM_LOOKS);
    if (task->wait != SIM_ENDED) sim_wait(SIM_WAITS_TASK, task, UINT64_MAX);
    sim_task_free(task);
}

void cn_task_step_back(void)
{
    sim_call(SIM_LOOKS);
}

unsigned cn_os_cores(void)
{
    return world.profile.cores;
}

int cn_mutex_new(struct cn_mutex **ret_mutex)
{
    struct cn_mutex *mutex = cn_os_new(sizeof *mutex);
    *ret_mutex = mutex;
    return 0;
}

void cn_mutex_free(struct cn_mutex *mutex)
{
    if (mutex && mutex->owner) sim_fail("a mutex is freed that somebody holds");
    cn_os_free(mutex);
}

void cn_mutex_lock(struct cn_mutex *mutex)
{
    sim_call(SIM_LOOKS);
    if (mutex->owner == world.current) sim_fail("a task locks a mutex that it holds");
    while (mutex->owner) sim_wait(SIM_WAITS_MUTEX, mutex, UINT64_MAX);
    mutex->owner = world.current;
}

void cn_mutex_unlock(struct cn_mutex *mutex)
{
    if (mutex->owner != world.current) sim_fail("a task unlocks a mutex that it does not hold");
    mutex->owner = NULL;
    sim_wake(SIM_WAITS_MUTEX, mutex);
}

int cn_cond_new(struct cn_cond **ret_cond)
{
    *ret_cond = cn_os_new(sizeof **ret_cond);
    return 0;
}

void cn_cond_free(struct cn_cond *cond)
{
    cn_os_free(cond);
}

bool cn_cond_wait_for(struct cn_cond *cond, struct cn_mutex *mutex, uint64_t timeout_ns)
{
    uint64_t until = timeout_ns == UINT64_MAX ? UINT64_MAX : world.now_ns + timeout_ns;
    cn_mutex_unlock(mutex);
    sim_wait(SIM_WAITS_COND, cond, until);
    bool in_time = !world.current->timed_out;
    cn_mutex_lock(mutex);
    return in_time;
}

void cn_cond_wait(struct cn_cond *cond, struct cn_mutex *mutex)
{
    (void)cn_cond_wait_for(cond, mutex, UINT64_MAX);
}

void cn_cond_signal_all(struct cn_cond *cond)
{
    sim_wake(SIM_WAITS_COND, cond);
}

uint64_t cn_os_now_ns(void)
{
    return world.now_ns;
}

int64_t cn_os_wall_ns(void)
{
    return world.wall_offset_ns + (int64_t)world.now_ns;
}

void cn_os_sleep_ns(uint64_t duration_ns)
{
    sim_call(SIM_LOOKS);
    sim_wait(SIM_SLEEPS, NULL, world.now_ns + duration_ns);
}

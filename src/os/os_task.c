/* Tasks, mutexes, conditions: threads of the real system. Signals are the trainer's business: our threads block all of them, but those that a thread's own
 * fault raises: blocked, they would end the process before its handler (Python's faulthandler, a crash reporter) could say where. */
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct cn_task {
    pthread_t thread;
    void (*run)(void *user);
    void *user;
};

struct cn_mutex {
    pthread_mutex_t mutex;
};

struct cn_cond {
    pthread_cond_t cond;
};

static void *run_task(void *user)
{
    struct cn_task *task = user;
    task->run(task->user);
    return NULL;
}

static void block_signals(sigset_t *ret_before)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT };
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, ret_before);
}

int cn_task_start(void (*run)(void *user), void *user, struct cn_task **ret_task)
{
    struct cn_task *task = cn_os_new(sizeof *task);
    if (!task) return -ENOMEM;
    task->run = run;
    task->user = user;
    sigset_t before;
    block_signals(&before);
    int rc = pthread_create(&task->thread, NULL, run_task, task);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) {
        cn_os_free(task);
        return -rc;
    }
    *ret_task = task;
    return 0;
}

void cn_task_join(struct cn_task *task)
{
    if (!task) return;
    pthread_join(task->thread, NULL);
    cn_os_free(task);
}

/* On Linux priorities are each thread's own. A lower one than asked for stays. */
void cn_task_step_back(void)
{
    enum { BACK = 10 };
    id_t thread = (id_t)syscall(SYS_gettid);
    errno = 0;
    int priority = getpriority(PRIO_PROCESS, thread);
    if (!errno && priority < BACK) (void)setpriority(PRIO_PROCESS, thread, BACK);
}

unsigned cn_os_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}

int cn_mutex_new(struct cn_mutex **ret_mutex)
{
    struct cn_mutex *mutex = cn_os_new(sizeof *mutex);
    if (!mutex) return -ENOMEM;
    int rc = pthread_mutex_init(&mutex->mutex, NULL);
    if (rc) {
        cn_os_free(mutex);
        return -rc;
    }
    *ret_mutex = mutex;
    return 0;
}

void cn_mutex_free(struct cn_mutex *mutex)
{
    if (!mutex) return;
    pthread_mutex_destroy(&mutex->mutex);
    cn_os_free(mutex);
}

void cn_mutex_lock(struct cn_mutex *mutex)
{
    pthread_mutex_lock(&mutex->mutex);
}

void cn_mutex_unlock(struct cn_mutex *mutex)
{
    pthread_mutex_unlock(&mutex->mutex);
}

int cn_cond_new(struct cn_cond **ret_cond)
{
    struct cn_cond *cond = cn_os_new(sizeof *cond);
    if (!cond) return -ENOMEM;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(&cond->cond, &attributes);
    pthread_condattr_destroy(&attributes);
    if (rc) {
        cn_os_free(cond);
        return -rc;
    }
    *ret_cond = cond;
    return 0;
}

void cn_cond_free(struct cn_cond *cond)
{
    if (!cond) return;
    pthread_cond_destroy(&cond->cond);
    cn_os_free(cond);
}

void cn_cond_wait(struct cn_cond *cond, struct cn_mutex *mutex)
{
    pthread_cond_wait(&cond->cond, &mutex->mutex);
}

bool cn_cond_wait_for(struct cn_cond *cond, struct cn_mutex *mutex, uint64_t timeout_ns)
{
    uint64_t until = cn_os_now_ns() + timeout_ns;
    struct timespec when = { .tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000) };
    return pthread_cond_timedwait(&cond->cond, &mutex->mutex, &when) == 0;
}

void cn_cond_signal_all(struct cn_cond *cond)
{
    pthread_cond_broadcast(&cond->cond);
}

/* One simulated machine: processes, their tasks as coroutines on the one real thread, a virtual clock, a disk. Everything that happens follows
 * from the seed. The product runs in it unchanged, above a second implementation of os/os.h (os_*.c in this folder). */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "disk.h"
#include "os/os.h"
#include "random.h"

enum { SIM_MAX_PROCESSES = 64, SIM_MAX_FILES = 512, SIM_MESSAGE_BYTES = 2048 };

/* ------------------------------------------------------------------------------------------------------ tasks and processes */

enum sim_wait { SIM_READY, SIM_WAITS_MUTEX, SIM_WAITS_COND, SIM_WAITS_TASK, SIM_SLEEPS, SIM_ENDED };

struct sim_process;

struct cn_task {
    struct cn_task *next;
    struct sim_process *process;
    ucontext_t context;
    void *stack;
    void (*run)(void *user);
    void *user;
    enum sim_wait wait;
    const void *waits_for;
    uint64_t wake_ns; /* SLEEPS, and a wait for a condition that has a time limit; else UINT64_MAX */
    bool timed_out;
};

struct sim_block; /* memory of a process */

struct sim_process {
    unsigned number; /* also what cn_os_process() says */
    char name[32];
    bool alive, is_writer;
    struct cn_task *tasks;
    struct sim_block *blocks;  /* all its memory: gone at once when it is killed */
    uint64_t stopped_until_ns; /* SIGSTOP */
    uint64_t over_at_call;     /* ended or killed; UINT64_MAX: alive */
};

/* ----------------------------------------------------------------------------------------------------------------- files */

struct sim_file {
    struct sim_process *process; /* NULL: free */
    struct sim_inode *inode;
    bool append;
    enum { SIM_NO_LEASE, SIM_SHARED, SIM_EXCLUSIVE } lease;
};

struct cn_os_lock {
    struct cn_os_lock *next;
    struct sim_process *process;
    struct sim_inode *inode;
};

/* ----------------------------------------------------------------------------------------------------------------- world */

/* What varies from seed to seed. */
struct sim_profile {
    unsigned switch_in;        /* at one call of the system out of so many another task goes on */
    unsigned stop_in;          /* a process is stopped for a while; 0: never */
    unsigned stop_at_names_in; /* the same, before it changes a name or syncs a folder */
    unsigned clock_in;         /* the wall clock jumps; 0: never */
    unsigned cores;
    unsigned list_batch;       /* names that a listing reads at once */
    uint64_t clock_tick_ns;    /* of a file's time */
    unsigned kill_at_names_in; /* a process dies just before it changes a name or syncs a folder; 0: never */
    bool refuse_direct, refuse_locks;
    enum sim_renames renames;
};

struct sim_world {
    uint64_t seed;
    struct sim_random schedule, entropy, luck; /* who goes on; what cn_os_random gives; what a cut keeps */
    struct sim_profile profile;
    struct sim_disk disk;
    struct sim_process processes[SIM_MAX_PROCESSES];
    unsigned processes_count;
    struct sim_file files[SIM_MAX_FILES];
    struct cn_os_lock *locks;
    struct cn_task *current;
    ucontext_t director; /* the test itself, between coroutines */
    uint64_t now_ns;
    int64_t wall_offset_ns;
    uint64_t calls, changes; /* of the system, so far; those that change the disk or sync it */
    uint64_t cut_at_change;  /* the power goes before this one; UINT64_MAX: never */
    uint64_t cut_at_call, kill_at_call;
    bool kill_after_exchange; /* whoever exchanges two names is killed at its next call */
    bool power_is_out;
    struct sim_process *killed; /* by kill_at_call: its tasks run no more */
    bool trace;
    bool failed;
    char message[SIM_MESSAGE_BYTES];
};

extern struct sim_world world;

void sim_world_begin(uint64_t seed, const struct sim_profile *profile, bool trace);
void sim_world_end(void);

/* A failed property: the first one counts. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct sim_process *sim_process_start(const char *name, void (*run)(void *user), void *user);
void sim_process_kill(struct sim_process *process);
/* Lets tasks run until all have ended, the power is out, a process was killed, or a property failed. */
void sim_run(void);
/* The power is out: every process is gone, the disk is what the luck left. The machine starts again. */
void sim_power_cut(void);

/* ------------------------------------------------------------------------------------------- for the implementation of os.h */

enum sim_kind { SIM_LOOKS, SIM_CHANGES, SIM_CHANGES_NAMES };

/* Every call of the system begins here: time passes, others may go on first, the process may be stopped or killed, the power may go. */
void sim_call(enum sim_kind kind);
void sim_wait(enum sim_wait wait, const void *waits_for, uint64_t wake_ns);
void sim_wake(enum sim_wait wait, const void *waits_for); /* all who wait so */
struct sim_process *sim_self(void);
struct cn_task *sim_task_new(struct sim_process *process, void (*run)(void *user), void *user);
void sim_task_free(struct cn_task *task);
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
int sim_traced(int rc, const char *format, ...) __attribute__((format(printf, 2, 3))); /* gives rc back */

void sim_files_close_all(struct sim_process *process);
void sim_locks_drop_all(struct sim_process *process);
uint64_t sim_memory_drop_all(struct sim_process *process); /* how many pieces there were */

#endif

#include "tracer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct call {
    long number;
    bool changes;
    const char *name;
} calls[] = {
#define CALL(name, changes)                                                                                                                \
    {                                                                                                                                      \
        SYS_##name, changes, #name                                                                                                         \
    }
#ifdef SYS_open
    CALL(open, true),      CALL(rename, true),    CALL(link, true),        CALL(unlink, true),      CALL(mkdir, true),
    CALL(rmdir, true),     CALL(symlink, true),   CALL(chmod, true),       CALL(stat, false),       CALL(lstat, false),
    CALL(readlink, false), CALL(access, false),
#endif
    CALL(openat, true),    CALL(renameat, true),  CALL(renameat2, true),   CALL(linkat, true),      CALL(unlinkat, true),
    CALL(mkdirat, true),   CALL(symlinkat, true), CALL(fchmod, true),      CALL(write, true),       CALL(pwrite64, true),
    CALL(writev, true),    CALL(pwritev, true),   CALL(fsync, true),       CALL(fdatasync, true),   CALL(sync_file_range, true),
    CALL(fallocate, true), CALL(ftruncate, true), CALL(close, true),       CALL(fcntl, false),      CALL(flock, false),
    CALL(read, false),     CALL(pread64, false),  CALL(getdents64, false), CALL(newfstatat, false), CALL(fstat, false),
    CALL(statx, false),    CALL(fstatfs, false),  CALL(readlinkat, false), CALL(faccessat, false),  CALL(mmap, false),
#undef CALL
};

static const struct call *find(uint64_t number)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if ((uint64_t)calls[i].number == number) return &calls[i];
    return NULL;
}

static void become(char *const *argv, const char *output)
{
    int file = open(output, O_WRONLY | O_CREAT | O_APPEND, 0644), nothing = open("/dev/null", O_RDONLY);
    if (file < 0 || nothing < 0 || dup2(nothing, 0) < 0 || dup2(file, 1) < 0 || dup2(file, 2) < 0) _exit(127);
    close(file), close(nothing);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    execv(argv[0], argv);
    _exit(127);
}

int tracer_start(struct tracer *t, char *const *argv, const char *output)
{
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE;
    memset(t, 0, sizeof *t);
    t->process = fork();
    if (t->process < 0) return -errno;
    if (t->process == 0) become(argv, output);
    if (waitpid(t->process, &t->status, 0) < 0 || ptrace(PTRACE_SETOPTIONS, t->process, NULL, options) < 0) return -errno;
    t->stopped = t->process;
    return 0;
}

/* A call of ours? Then the thread stays where it is. */
static bool stands_at_call(struct tracer *t, pid_t thread, bool only_changing)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0) return false;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        const struct call *call = find(info.entry.nr);
        if (!call || (only_changing && !call->changes)) return false;
        t->call = info.entry.nr;
        t->inside = thread;
        return t->entering = true;
    }
    if (info.op != PTRACE_SYSCALL_INFO_EXIT || thread != t->inside) return false;
    t->inside = 0;
    t->entering = false;
    return true;
}

bool tracer_next(struct tracer *t, bool only_changing)
{
    int signal = 0;
    for (;;) {
        if (t->stopped) ptrace(PTRACE_SYSCALL, t->stopped, NULL, (void *)(intptr_t)signal);
        signal = 0;
        t->stopped = waitpid(-1, &t->status, __WALL);
        if (t->stopped < 0) {
            t->stopped = 0;
            return false;
        }
        if (!WIFSTOPPED(t->status)) {
            if (t->stopped == t->process) {
                t->stopped = 0;
                return false;
            }
            t->stopped = 0; /* a thread has ended */
        } else if (WSTOPSIG(t->status) == (SIGTRAP | 0x80)) {
            if (stands_at_call(t, t->stopped, only_changing)) return true;
        } else if (WSTOPSIG(t->status) != SIGTRAP && WSTOPSIG(t->status) != SIGSTOP) {
            signal = WSTOPSIG(t->status);
        }
    }
}

const char *tracer_call_name(const struct tracer *t)
{
    const struct call *call = find(t->call);
    return call ? call->name : "?";
}

void tracer_kill(struct tracer *t)
{
    kill(t->process, SIGKILL);
    while (waitpid(-1, &t->status, __WALL) > 0) continue;
    t->stopped = 0;
}

void tracer_release(struct tracer *t)
{
    while (tracer_next(t, false)) continue;
}

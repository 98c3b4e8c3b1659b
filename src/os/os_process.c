/* Time, randomness, and what can be known about this process and machine. Wall time is for people; nothing may be decided by it. */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

uint64_t cn_os_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int64_t cn_os_wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int cn_os_random(void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t count = getrandom((char *)data + done, size - done, 0);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return -errno;
        done += (size_t)count;
    }
    return 0;
}

void cn_os_sleep_ns(uint64_t duration_ns)
{
    struct timespec left = { .tv_sec = (time_t)(duration_ns / 1000000000), .tv_nsec = (long)(duration_ns % 1000000000) };
    while (nanosleep(&left, &left) < 0 && errno == EINTR) continue;
}

/* The pid is enough: it is compared with the one a handle was made under, to find out that we are a forked child. */
uint64_t cn_os_process(void)
{
    return (uint64_t)getpid();
}

static void copy_text(char *ret_text, size_t size, const char *text)
{
    snprintf(ret_text, size, "%s", text);
}

void cn_os_host_name(char *ret_text, size_t size)
{
    struct utsname name;
    copy_text(ret_text, size, uname(&name) < 0 ? "" : name.nodename);
}

void cn_os_kernel_name(char *ret_text, size_t size)
{
    struct utsname name;
    if (uname(&name) < 0)
        copy_text(ret_text, size, "");
    else
        snprintf(ret_text, size, "%s %s %s", name.sysname, name.release, name.machine);
}

void cn_os_user_name(char *ret_text, size_t size)
{
    char memory[1024];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(geteuid(), &entry, memory, sizeof memory, &found) || !found)
        copy_text(ret_text, size, "");
    else
        copy_text(ret_text, size, found->pw_name);
}

void cn_os_working_dir(char *ret_text, size_t size)
{
    if (!getcwd(ret_text, size)) copy_text(ret_text, size, "");
}

size_t cn_os_command_line(char *ret_text, size_t size)
{
    int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    size_t count = 0;
    if (file >= 0 && cn_os_read_at(file, 0, ret_text, size, &count)) count = 0;
    (void)cn_os_close(file);
    return count;
}

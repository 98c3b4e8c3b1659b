/* The machine (see machine.h): /proc tells. */
#include "machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static double clock_s(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double now_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

double process_cpu_s(void)
{
    return clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

static double usage_s(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* Busy seconds of all cores; what the hypervisor takes away counts as somebody else's. */
static double busy_s(void)
{
    unsigned long long user = 0, nice = 0, system = 0, idle, wait, irq = 0, soft = 0, steal = 0;
    FILE *file = fopen("/proc/stat", "r");
    if (!file) return 0;
    if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq, &soft, &steal) != 8)
        user = 0;
    fclose(file);
    return (double)(user + nice + system + irq + soft + steal) / (double)sysconf(_SC_CLK_TCK);
}

double others_cpu_s(void)
{
    return busy_s() - usage_s(RUSAGE_SELF) - usage_s(RUSAGE_CHILDREN);
}

bool machine_wait_idle(double minutes)
{
    double start = now_s();
    bool told = false;
    if (minutes <= 0) return false;
    for (;;) {
        double before = others_cpu_s();
        sleep(1);
        double share = (others_cpu_s() - before) / (double)sysconf(_SC_NPROCESSORS_ONLN);
        if (share < 0.03) return true;
        if (now_s() - start >= minutes * 60) return false;
        if (!told) fprintf(stderr, "bench: others use %.0f %% of the processors; waiting for an idle machine\n", share * 100);
        told = true;
    }
}

static void value_of(const char *path, const char *key, char *ret_text, size_t size)
{
    char line[512];
    FILE *file = fopen(path, "r");
    snprintf(ret_text, size, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) || !value) continue;
        value += 1 + strspn(value + 1, " \t");
        snprintf(ret_text, size, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    if (file) fclose(file);
}

static const char *file_system_name(const char *dir)
{
    static const struct {
        unsigned magic;
        const char *name;
    } known[] = {
        { 0xEF53, "ext4" }, { 0x58465342, "xfs" }, { 0x9123683E, "btrfs" }, { 0x01021994, "tmpfs" }, { 0x794c7630, "overlayfs" }
    };
    struct statfs info;
    if (statfs(dir, &info)) return "unknown";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if ((unsigned)info.f_type == known[i].magic) return known[i].name;
    return "other";
}

void machine_describe(struct machine *machine, const char *dir)
{
    struct utsname name;
    time_t now = time(NULL);
    uname(&name);
    value_of("/proc/cpuinfo", "model name", machine->processor, sizeof machine->processor);
    snprintf(machine->kernel, sizeof machine->kernel, "%.40s %.20s", name.sysname, name.release);
    snprintf(machine->file_system, sizeof machine->file_system, "%s", file_system_name(dir));
    strftime(machine->date, sizeof machine->date, "%Y-%m-%d", gmtime(&now));
    machine->cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    machine->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

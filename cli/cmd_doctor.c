/* cairn doctor: what a place can do and how fast it is, before a long run is started there. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "trial.h"

enum { TEST_BYTES = 256 << 20, LEAST_FREE_BYTES = 4 << 20 };

struct speed {
    uint64_t bytes;
    double write_rate, verify_rate; /* bytes a second */
    cairn_error error;              /* code 0: measured */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Bytes that no file system compresses away. */
static void fill(uint64_t *words, size_t count)
{
    uint64_t word = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < count; i++) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        words[i] = word;
    }
}

/* As a run saves: the memory for it is made before. */
static int save(const char *path, cairn_state *state, struct speed *speed, cairn_error *err)
{
    cairn_run *run;
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    options.step = 1;
    options.mode = CAIRN_SAVE_SYNC;
    int code = cairn_run_open(path, NULL, &run, err);
    if (code) return code;
    code = cairn_run_reserve(run, state, err);
    double start = now();
    if (!code) code = cairn_save(run, state, &options, NULL, err);
    speed->write_rate = (double)speed->bytes / (now() - start);
    cairn_run_close(run, code ? NULL : err);
    return code;
}

static int save_and_verify(const char *path, cairn_state *state, struct speed *speed, cairn_error *err)
{
    cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
    int code = save(path, state, speed, err);
    if (code) return code;
    char *checkpoint = cli_format("%s@1", path);
    double start = now();
    code = cairn_verify(NULL, checkpoint, &options, NULL, err);
    speed->verify_rate = (double)speed->bytes / (now() - start);
    free(checkpoint);
    return code;
}

static void fail(struct speed *speed, int code, const char *what, const char *why)
{
    speed->error.code = code;
    snprintf(speed->error.message, sizeof speed->error.message, "%s: %s", what, why);
}

static int measure_here(const char *path, struct speed *speed, cairn_error *err)
{
    cairn_state *state = NULL;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    uint64_t shape = speed->bytes / 8;
    tensor.name = "test";
    tensor.dtype = CAIRN_U64;
    tensor.rank = 1;
    tensor.shape = &shape;
    tensor.address = malloc(speed->bytes + 1);
    int code = tensor.address ? cairn_state_new(&state, err) : CAIRN_E_NOMEM;
    if (!tensor.address)
        fail(speed, code, "measuring", "no memory for the state that is saved");
    else
        fill(tensor.address, shape);
    if (!code) code = cairn_state_bind_tensor(state, "model", &tensor, err);
    if (!code) code = save_and_verify(path, state, speed, err);
    cairn_state_free(state);
    free(tensor.address);
    return code;
}

/* A signal that came for us alone ends the child, too: it waits, and we with it, no longer than that takes. */
static void pass_on_signals(pid_t child, int from, const sigset_t *held)
{
    struct pollfd sources[] = { { .fd = from, .events = POLLIN }, { .fd = signalfd(-1, held, SFD_CLOEXEC), .events = POLLIN } };
    while (poll(sources, 2, -1) < 0 && errno == EINTR) continue;
    if (sources[1].revents & POLLIN) (void)kill(child, SIGKILL);
    if (sources[1].fd >= 0) (void)close(sources[1].fd);
}

/* What the child found comes through the pipe, whole or not at all. */
static void wait_for_child(pid_t child, int from, const sigset_t *held, struct speed *speed)
{
    struct speed found;
    int status = 0;
    pass_on_signals(child, from, held);
    ssize_t size = read(from, &found, sizeof found);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (size == sizeof found)
        *speed = found;
    else
        fail(speed, CAIRN_E_IO, "the measurement", "it did not end");
}

/* It ends with its parent, however that ends. */
static _Noreturn void be_child(pid_t parent, const char *run, int to, const sigset_t *signals, struct speed *speed)
{
    sigprocmask(SIG_SETMASK, signals, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EXIT_FAILED);
    measure_here(run, speed, &speed->error);
    _exit(write(to, speed, sizeof *speed) != (ssize_t)sizeof *speed);
}

/* A checkpoint saved durably and then verified, as a run would - by a child, which Ctrl-C ends at once. */
static void measure_speed(const struct trial *trial, uint64_t free_bytes, struct speed *speed)
{
    int ends[2];
    char *run = cli_format("%s/run", trial->path);
    pid_t parent = getpid(), child = -1;
    speed->bytes = free_bytes / 4 < TEST_BYTES ? free_bytes / 4 & ~UINT64_C(4095) : TEST_BYTES;
    if (pipe(ends))
        fail(speed, CAIRN_E_IO, "no pipe", strerror(errno));
    else {
        child = fork();
        if (child == 0) be_child(parent, run, ends[1], &trial->before, speed);
        if (child < 0) fail(speed, CAIRN_E_NOMEM, "no child process", strerror(errno));
        (void)close(ends[1]);
        if (child > 0) wait_for_child(child, ends[0], &trial->held, speed);
        (void)close(ends[0]);
    }
    free(run);
}

struct ability {
    const char *name, *key, *lack;
    int problem; /* errno, 0: there */
};

static int list_abilities(const cairn_probe_report *probe, struct ability *ret)
{
    const struct ability all[] = {
        { "hard links", "hard_links", "unchanged files are written anew at each save", probe->hard_links },
        { "symbolic links", "symlinks", "`latest` and `best` are not kept; the names with @ work", probe->symlinks },
        { "rename without replacing", "rename_new", "one more look before each rename", probe->rename_new },
        { "exchanging two names", "exchange", "a single folder cannot be replaced in one step", probe->exchange },
        { "the writer's lock", "writer_lock", "a second writer of a run is stopped at its next commit, not when it starts",
          probe->writer_lock },
        { "readers' locks", "reader_lock", "a checkpoint may be removed while somebody reads it", probe->reader_lock },
        { "direct I/O", "direct_io", "saves go through the page cache", probe->direct_io },
        { "survives a power cut", "durable", "this is memory: keep a copy elsewhere", probe->is_volatile ? EOPNOTSUPP : 0 },
        { "upper and lower case differ", "case_sensitive", "do not name two items alike but for case", probe->folds_case ? EOPNOTSUPP : 0 },
    };
    memcpy(ret, all, sizeof all);
    return sizeof all / sizeof *all;
}

enum { MOST_ABILITIES = 16 };

/* What is left is no room for anything that is worth a checkpoint, and too little to measure with. */
static bool is_full(const cairn_probe_report *probe)
{
    return probe->free_bytes < LEAST_FREE_BYTES;
}

static int print_report(const char *dir, const cairn_probe_report *probe, const struct speed *speed)
{
    struct ability abilities[MOST_ABILITIES];
    int count = list_abilities(probe, abilities), missing = 0;
    char bytes[32], write[32], *safe = cli_safe(dir);
    printf("%s: %s free\n", safe, cli_bytes(probe->free_bytes, bytes));
    for (int i = 0; i < count; i++) {
        if (abilities[i].problem)
            printf("  %-28s no (%s): %s\n", abilities[i].name, strerror(abilities[i].problem), abilities[i].lack), missing++;
        else
            printf("  %-28s yes\n", abilities[i].name);
    }
    printf("  %-28s %.2f ms, of its folder %.2f ms\n", "sync of a small file", (double)probe->file_sync_ns / 1e6,
           (double)probe->folder_sync_ns / 1e6);
    if (speed->bytes)
        printf("  %-28s %s/s, verifying %s/s\n", "saving durably", cli_bytes((uint64_t)speed->write_rate, write),
               cli_bytes((uint64_t)speed->verify_rate, bytes));
    if (is_full(probe))
        printf("%s: full: %s free, no room for a checkpoint of any size; see what takes it (cairn du), and make some\n", safe,
               cli_bytes(probe->free_bytes, bytes));
    else if (missing)
        printf("%s: usable; %d of %d abilities are missing, and what that means is said above\n", safe, missing, count);
    else
        printf("%s: all that Cairn uses is there\n", safe);
    free(safe);
    return missing || is_full(probe) ? EXIT_NO : EXIT_FINE;
}

static int print_json(const char *dir, const cairn_probe_report *probe, const struct speed *speed)
{
    struct ability abilities[MOST_ABILITIES];
    int count = list_abilities(probe, abilities), missing = 0;
    struct json json;
    json_start(&json, 0);
    json_open(&json, NULL, '{');
    json_count(&json, "version", 1);
    json_text(&json, "folder", dir);
    json_open(&json, "abilities", '{');
    for (int i = 0; i < count; i++) {
        json_truth(&json, abilities[i].key, !abilities[i].problem);
        missing += abilities[i].problem != 0;
    }
    json_close(&json, '}');
    json_count(&json, "free_bytes", probe->free_bytes);
    json_number(&json, "file_sync_seconds", (double)probe->file_sync_ns / 1e9);
    json_number(&json, "folder_sync_seconds", (double)probe->folder_sync_ns / 1e9);
    if (speed->bytes) {
        json_number(&json, "write_bytes_per_second", speed->write_rate);
        json_number(&json, "verify_bytes_per_second", speed->verify_rate);
    }
    json_close(&json, '}');
    int code = json_print(&json);
    return code ? code : missing || is_full(probe) ? EXIT_NO : EXIT_FINE;
}

/* All is tried out in one folder of ours, so that one folder is all that may be left. A message names the place. */
static int try_out(const char *dir, cairn_probe_report *probe, struct speed *speed, cairn_error *err)
{
    struct trial trial;
    cairn_error found = CAIRN_ERROR_INIT;
    int code = trial_begin(&trial, dir, err);
    if (code) return code;
    code = cairn_probe(trial.path, probe, &found);
    if (!code && !is_full(probe)) measure_speed(&trial, probe->free_bytes, speed);
    size_t size = strlen(trial.path);
    bool names_folder = code && !strncmp(found.message, trial.path, size);
    *err = found;
    if (names_folder) snprintf(err->message, sizeof err->message, "%s%s", dir, found.message + size);
    trial_end(&trial);
    if (!code && speed->error.code) *err = speed->error;
    return code ? code : speed->error.code;
}

int cmd_doctor(const struct cli *cli)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_probe_report probe = CAIRN_PROBE_REPORT_INIT;
    struct speed speed = { 0 };
    if (cli->arguments_count != 1) return cli_usage(cli, "give one folder that is there");
    if (try_out(cli->arguments[0], &probe, &speed, &err)) return cli_fail(cli, &err);
    return cli->json ? print_json(cli->arguments[0], &probe, &speed) : print_report(cli->arguments[0], &probe, &speed);
}

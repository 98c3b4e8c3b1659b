/*
 * demo - a training run killed with SIGKILL again and again ends with the very same bits as one that was never stopped.
 *
 * It trains examples/train_gpt once without a stop, then again in children that are killed at random moments and in the middle
 * of saves, each resumed by the same command line; then it compares the final checkpoints and the loss curves, and shows both.
 *
 *  1. A kill counts when the child died of it. "In a save" counts when it left a staging folder without its commit behind.
 *  2. The exit status is 0 only if there were kills enough, saves enough among them, and not one bit differs.
 *  3. Nothing is removed but the two runs of an earlier demo, in a store of the demo's own name and making.
 */
#include "demo/child.h"
#include "demo/losses.h"
#include "demo/plot.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_DIFFERENT = 1, EXIT_BAD_USE = 2, EXIT_FAILED = 3, KILLS_MAX = 40, PATH_BYTES = 1024, COMMAND_WORDS = 24 };

#define STORE "demo-ckpts" /* in the demo's folder: not the name that a run of somebody's own would have */

struct kill {
    struct demo_mark mark;
    double seconds; /* the life's length */
};

struct demo {
    const char *folder;        /* all files go here */
    char programs[PATH_BYTES]; /* the folder of train_gpt and cairn */
    char trainer[PATH_BYTES + 16], cairn[PATH_BYTES + 16];
    long steps, save_every;
    int kills_wanted, saves_wanted;
    uint64_t seed, random;
    int small, unicode, colour, terminal;
    struct kill kills[KILLS_MAX];
    int kills_count, saves_hit, reported; /* reported: rows of the table that are printed */
    double step_seconds, save_seconds;    /* measured in the straight run */
    double drawn;                         /* when the progress line was drawn last */
    const char *label;
};

/* A word of a command, with room for a path. */
struct command {
    char words[COMMAND_WORDS][PATH_BYTES + 64];
    char *pointers[COMMAND_WORDS + 1];
    int count;
};

/* ----------------------------------------------------------------------------------------------------------- small things */

static double random_fraction(struct demo *demo)
{
    uint64_t z = (demo->random += 0x9e3779b97f4a7c15u); /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static __attribute__((format(printf, 2, 3))) void add_word(struct command *command, const char *format, ...)
{
    va_list arguments;

    if (command->count == COMMAND_WORDS) abort(); /* the commands are written below: none is that long */
    va_start(arguments, format);
    vsnprintf(command->words[command->count], sizeof(command->words[0]), format, arguments);
    va_end(arguments);
    command->pointers[command->count] = command->words[command->count];
    command->pointers[++command->count] = NULL;
}

static void print_command(const struct demo *demo, const struct command *command)
{
    int column = 4;

    printf("  %s$", demo->colour ? "\033[2m" : "");
    for (int i = 0; i < command->count; i++) {
        int length = (int)strlen(command->words[i]);
        if (column + length > 76) {
            printf(" \\\n     ");
            column = 6;
        }
        column += printf(" %s", command->words[i]);
    }
    printf("%s\n", demo->colour ? "\033[0m" : "");
}

static void print_title(const struct demo *demo, const char *title)
{
    printf("\n%s%s%s\n", demo->colour ? "\033[1m" : "", title, demo->colour ? "\033[0m" : "");
}

/* Runs a command to its end with our output. Returns its exit status, 127 when it could not be run. */
static int run_command(const struct demo *demo, const struct command *command)
{
    int status = 0;

    print_command(demo, command);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execv(command->pointers[0], command->pointers);
        fprintf(stderr, "cannot start %s: %s\n", command->pointers[0], strerror(errno));
        _exit(127);
    }
    if (child < 0) return 127;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}

/* ------------------------------------------------------------------------------------------------------------- progress */

static void clear_line(const struct demo *demo)
{
    if (demo->terminal) printf("\r\033[K");
}

/* A row of the table is complete when the next life has said where it resumed. */
static void report_kill(struct demo *demo, const struct demo_life *next)
{
    const struct kill *kill = &demo->kills[demo->reported];
    char from[32] = "the beginning";

    if (demo->reported == demo->kills_count) return;
    if (next->resumed > 0) snprintf(from, sizeof(from), "step %ld", next->resumed);
    clear_line(demo);
    printf("  %4d  %7ld   %s%-14s%s   %6.1f s   %s\n", demo->reported + 1, kill->mark.step,
           demo->colour && kill->mark.in_save ? "\033[31m" : "", kill->mark.in_save ? "in a save" : "training",
           demo->colour && kill->mark.in_save ? "\033[0m" : "", kill->seconds, from);
    demo->reported++;
}

static void show_progress(void *user, const struct demo_life *life)
{
    enum { BAR = 30 };
    struct demo *demo = user;
    double now = demo_seconds_now();
    int full = (int)(life->step * BAR / demo->steps);

    report_kill(demo, life);
    if (!demo->terminal) {
        if (life->plan == DEMO_LET_LIVE && demo->kills_count == 0 && life->step > 0 && life->step % 50 == 0)
            printf("  %s  step %ld of %ld, loss %.4f\n", demo->label, life->step, demo->steps, life->loss);
        fflush(stdout);
        return;
    }
    if (now - demo->drawn < 0.05) return;
    demo->drawn = now;
    printf("\r\033[K  %s  ", demo->label);
    for (int i = 0; i < BAR; i++) fputs(i < full ? (demo->unicode ? "\u2588" : "#") : (demo->unicode ? "\u2591" : "."), stdout);
    printf("  step %ld/%ld  loss %.3f", life->step, demo->steps, life->loss);
    fflush(stdout);
}

/* ------------------------------------------------------------------------------------------------------------ the two runs */

static void trainer_command(const struct demo *demo, const char *run, struct command *command)
{
    *command = (struct command){ .count = 0 };
    add_word(command, "%s", demo->trainer);
    add_word(command, "--out");
    add_word(command, "%s/" STORE "/%s", demo->folder, run);
    add_word(command, "--steps");
    add_word(command, "%ld", demo->steps);
    add_word(command, "--save-every");
    add_word(command, "%ld", demo->save_every);
    add_word(command, "--log-every");
    add_word(command, "1");
    add_word(command, "--loss-csv");
    add_word(command, "%s/demo-%s.csv", demo->folder, run);
    if (demo->small) {
        static const char *const sizes[] = { "--layers",  "2",  "--heads", "2", "--width",      "128",
                                             "--context", "32", "--batch", "4", "--eval-every", "20" };
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) add_word(command, "%s", sizes[i]);
    }
}

static int complain(const struct demo *demo, const struct demo_life *life)
{
    clear_line(demo);
    printf("  the trainer ended with status %d: %s\n", life->status, life->last_line);
    return EXIT_FAILED;
}

/* Returns 0 or an exit status. */
static int train_straight(struct demo *demo)
{
    struct command command;
    char run[PATH_BYTES];

    print_title(demo, "1. A run that is never stopped");
    trainer_command(demo, "straight", &command);
    print_command(demo, &command);
    snprintf(run, sizeof(run), "%s/" STORE "/straight", demo->folder);
    demo->label = "straight";
    struct demo_life life = { .command = command.pointers, .run = run, .progress = show_progress, .user = demo };
    if (demo_life_run(&life) != 0 || life.status != 0 || life.step != demo->steps) return complain(demo, &life);
    demo->step_seconds = life.seconds / (double)demo->steps;
    demo->save_seconds = life.save_ms > 0.0 ? life.save_ms * 1e-3 : 0.05;
    clear_line(demo);
    printf("  %ld steps in %.1f s, a checkpoint every %ld steps (the last took %.0f ms)\n", demo->steps, life.seconds, demo->save_every,
           life.save_ms);
    return 0;
}

/* Decides how the next life ends: by turns at a random moment and in a save. step is where the last one was resumed. */
static void plan_life(struct demo *demo, struct demo_life *life, long step)
{
    int missing = demo->kills_wanted - demo->kills_count, saves_missing = demo->saves_wanted - demo->saves_hit;
    int left = (missing > saves_missing ? missing : saves_missing) + 1; /* lives to share the remaining steps */
    double share = (double)(demo->steps - step) / (double)left;

    if ((missing <= 0 && saves_missing <= 0) || demo->kills_count == KILLS_MAX) {
        life->plan = DEMO_LET_LIVE;
        return;
    }
    life->kill_step = step + (long)(2.0 * share) + 1;
    if (life->kill_step >= demo->steps) life->kill_step = demo->steps - 1;
    if (demo->kills_count > 0 && (demo->kills_count % 2 == 1 || missing <= saves_missing)) {
        life->plan = DEMO_KILL_IN_SAVE;
        life->saves_to_pass = share > (double)demo->save_every && random_fraction(demo) < 0.7 ? 1 : 0;
        life->kill_after = random_fraction(demo) * demo->save_seconds * 0.8;
        if (life->kill_step < step + (life->saves_to_pass + 1) * demo->save_every + 1)
            life->kill_step = 0; /* the save comes first: it needs no further bound */
    } else {
        life->plan = DEMO_KILL_AT_TIME;
        life->kill_after = 0.15 + random_fraction(demo) * 1.7 * share * demo->step_seconds;
    }
}

static int train_killed(struct demo *demo)
{
    struct command command;
    char run[PATH_BYTES];
    long step = 0;

    print_title(demo, "2. The same run, killed with SIGKILL and resumed by the same command line");
    trainer_command(demo, "killed", &command);
    print_command(demo, &command);
    printf("\n  kill  at step   moment             lived    resumed from\n");
    snprintf(run, sizeof(run), "%s/" STORE "/killed", demo->folder);
    for (;;) {
        struct demo_life life = { .command = command.pointers, .run = run, .progress = show_progress, .user = demo };
        char label[24];
        snprintf(label, sizeof(label), "life %d", demo->kills_count + 1);
        demo->label = label;
        plan_life(demo, &life, step);
        if (demo_life_run(&life) != 0) return complain(demo, &life);
        if (life.resumed > step) step = life.resumed;
        if (!life.killed && life.status != 0) return complain(demo, &life);
        if (!life.killed) {
            report_kill(demo, &life);
            clear_line(demo);
            printf("  finished at step %ld after %d kills, %d of them in a save\n", life.step, demo->kills_count, demo->saves_hit);
            return 0;
        }
        if (demo->reported < demo->kills_count) /* killed before it could say where it stood */
            report_kill(demo, &(struct demo_life){ .resumed = step });
        demo->kills[demo->kills_count++] = (struct kill){ { life.step > 0 ? life.step : step, life.in_save }, life.seconds };
        demo->saves_hit += life.in_save;
        if (life.plan == DEMO_KILL_IN_SAVE && !life.in_save)
            demo->save_seconds *= 0.5; /* it came too late: saves are shorter than the one that was timed */
    }
}

/* ------------------------------------------------------------------------------------------------------------- comparing */

static void print_verdict(const struct demo *demo, int good, const char *text)
{
    const char *sign = good ? (demo->unicode ? "\u2713" : "ok:") : (demo->unicode ? "\u2717" : "NOT OK:");

    printf("  %s%s %s%s\n", demo->colour ? (good ? "\033[32m" : "\033[31m") : "", sign, text, demo->colour ? "\033[0m" : "");
}

static int compare_checkpoints(const struct demo *demo)
{
    struct command command = { .count = 0 };

    add_word(&command, "%s", demo->cairn);
    add_word(&command, "diff");
    add_word(&command, "--read");
    add_word(&command, "-C");
    add_word(&command, "%s/" STORE, demo->folder);
    add_word(&command, "killed@%ld", demo->steps);
    add_word(&command, "straight@%ld", demo->steps);
    return run_command(demo, &command);
}

static int show_listing(const struct demo *demo)
{
    struct command command = { .count = 0 };

    add_word(&command, "%s", demo->cairn);
    add_word(&command, "ls");
    add_word(&command, "-C");
    add_word(&command, "%s/" STORE, demo->folder);
    add_word(&command, "killed");
    return run_command(demo, &command);
}

/* Shows the curve and returns 0 when both curves are equal, 1 when not, EXIT_FAILED when there is none. */
static int compare_losses(const struct demo *demo)
{
    struct demo_losses straight = { .steps = 0 }, killed = { .steps = 0 };
    struct demo_mark marks[KILLS_MAX];
    char path[PATH_BYTES], text[128];
    int result = EXIT_FAILED;

    for (int i = 0; i < demo->kills_count; i++) marks[i] = demo->kills[i].mark;
    snprintf(path, sizeof(path), "%s/demo-straight.csv", demo->folder);
    if (demo_losses_read(&straight, path) == 0) {
        snprintf(path, sizeof(path), "%s/demo-killed.csv", demo->folder);
        if (demo_losses_read(&killed, path) == 0) {
            long step = demo_losses_compare(&straight, &killed);
            result = step != 0;
            snprintf(text, sizeof(text), step == 0 ? "the losses of all %ld steps are equal" : "the losses differ from step %ld on",
                     step == 0 ? killed.steps : step);
            print_verdict(demo, step == 0, text);
            print_title(demo, "4. The loss curve of the killed run");
            demo_plot_terminal(&killed, marks, demo->kills_count, demo->unicode, demo->colour);
            snprintf(path, sizeof(path), "%s/demo-loss.svg", demo->folder);
            if (demo_plot_svg(&killed, marks, demo->kills_count, path) == 0)
                printf("  the same as a picture: %s\n", path);
            else
                result = EXIT_FAILED;
        }
    }
    if (result == EXIT_FAILED) printf("  cannot read or write %s\n", path);
    demo_losses_done(&straight);
    demo_losses_done(&killed);
    return result;
}

static int judge(const struct demo *demo)
{
    char text[128];

    print_title(demo, "3. Are they the same?");
    int difference = compare_checkpoints(demo);
    if (difference > 1) {
        printf("  cairn diff could not compare them (status %d)\n", difference);
        return EXIT_FAILED;
    }
    print_verdict(demo, difference == 0,
                  difference == 0 ? "the final checkpoints are equal, tensor by tensor and value by value"
                                  : "the final checkpoints differ");
    int curves = compare_losses(demo);
    print_title(demo, "5. What is left on disk");
    int listing = show_listing(demo);
    int enough = demo->kills_count >= demo->kills_wanted && demo->saves_hit >= demo->saves_wanted;
    putchar('\n');
    snprintf(text, sizeof(text), "%d kills, %d of them in the middle of a save (wanted: %d and %d)", demo->kills_count, demo->saves_hit,
             demo->kills_wanted, demo->saves_wanted);
    print_verdict(demo, enough, text);
    print_verdict(demo, difference == 0 && curves == 0,
                  difference == 0 && curves == 0 ? "killed or not, the training ends with the same bits"
                                                 : "the killed run is NOT the run that was never stopped");
    if (curves == EXIT_FAILED || listing != 0) return EXIT_FAILED;
    return enough && difference == 0 && curves == 0 ? EXIT_SUCCESS : EXIT_DIFFERENT;
}

/* ------------------------------------------------------------------------------------------------------------- setting up */

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

/* Removes the two runs of an earlier demo, by name. The store is known by the mark that the demo puts into it. */
static int remove_old(const char *store, const char *mark)
{
    static const char *const runs[] = { "straight", "killed" };
    char path[PATH_BYTES + 32];

    if (access(mark, F_OK) != 0) {
        fprintf(stderr, "demo: %s was not made by the demo: give another --dir\n", store);
        return -1;
    }
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", store, runs[i]);
        if (access(path, F_OK) != 0 || nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS) == 0) continue;
        fprintf(stderr, "demo: cannot remove %s: %s\n", path, strerror(errno));
        return -1;
    }
    return 0;
}

static int prepare_folder(const struct demo *demo)
{
    char store[PATH_BYTES], mark[PATH_BYTES + 32];

    snprintf(store, sizeof(store), "%s/" STORE, demo->folder);
    snprintf(mark, sizeof(mark), "%s/.made-by-demo", store);
    if (access(store, F_OK) == 0) return remove_old(store, mark);
    FILE *file = NULL;
    if ((mkdir(demo->folder, 0777) == 0 || errno == EEXIST) && mkdir(store, 0777) == 0) file = fopen(mark, "w");
    if (file != NULL && fclose(file) == 0) return 0;
    fprintf(stderr, "demo: cannot make %s: %s\n", store, strerror(errno));
    return -1;
}

/* The programs lie beside this one. They are called by a relative path where that is shorter to read. */
static int find_programs(struct demo *demo)
{
    char here[PATH_BYTES];
    ssize_t length = readlink("/proc/self/exe", demo->programs, sizeof(demo->programs) - 1);

    if (length <= 0) return -1;
    demo->programs[length] = '\0';
    *strrchr(demo->programs, '/') = '\0';
    size_t prefix = getcwd(here, sizeof(here)) != NULL ? strlen(here) : 0;
    if (prefix > 1 && strncmp(demo->programs, here, prefix) == 0 && demo->programs[prefix] == '/')
        memmove(demo->programs, demo->programs + prefix + 1, strlen(demo->programs + prefix + 1) + 1);
    snprintf(demo->trainer, sizeof(demo->trainer), "%s/train_gpt", demo->programs);
    snprintf(demo->cairn, sizeof(demo->cairn), "%s/cairn", demo->programs);
    if (access(demo->trainer, X_OK) == 0 && access(demo->cairn, X_OK) == 0) return 0;
    fprintf(stderr, "demo: %s and %s are needed: run make\n", demo->trainer, demo->cairn);
    return -1;
}

static const char usage[] =
    "Usage: demo [--seed N] [--dir FOLDER] [--small]\n"
    "Train once without a stop, once with kills, and compare. --small: a small model, 4 kills, 1 in a save.\n"
    "Exit status: 0 not a bit differs, 1 something differs or there were too few kills, 2 bad use, 3 could not do it.\n";

/* Returns 0, 1 after help, -1 after a complaint. */
static int parse(struct demo *demo, int argc, char **argv)
{
    static const struct option names[] = { { "seed", required_argument, NULL, 's' },
                                           { "dir", required_argument, NULL, 'd' },
                                           { "small", no_argument, NULL, 'm' },
                                           { "help", no_argument, NULL, 'h' },
                                           { NULL, 0, NULL, 0 } };
    int which;
    char *end = NULL;

    while ((which = getopt_long(argc, argv, "", names, NULL)) != -1) switch (which) {
        case 's':
            errno = 0;
            demo->seed = strtoull(optarg, &end, 10);
            if (errno != 0 || end == optarg || *end != '\0') {
                fprintf(stderr, "demo: --seed wants a number\n");
                return -1;
            }
            break;
        case 'd': demo->folder = optarg; break;
        case 'm':
            demo->small = 1;
            demo->steps = 120;
            demo->save_every = 6;
            demo->kills_wanted = 4;
            demo->saves_wanted = 1;
            break;
        case 'h': fputs(usage, stdout); return 1;
        default: return -1;
        }
    if (optind < argc || (demo->folder != NULL && strlen(demo->folder) > PATH_BYTES / 2)) {
        fprintf(stderr, "demo: see --help\n");
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct demo demo = { .steps = 300, .save_every = 10, .kills_wanted = 10, .saves_wanted = 3 };
    char folder[PATH_BYTES + 16];
    double start = demo_seconds_now();

    setlocale(LC_CTYPE, "");
    if (getrandom(&demo.seed, 4, GRND_NONBLOCK) != 4) demo.seed = (uint64_t)getpid();
    int outcome = parse(&demo, argc, argv);
    if (outcome != 0) return outcome < 0 ? EXIT_BAD_USE : EXIT_SUCCESS;
    if (find_programs(&demo) != 0) return EXIT_FAILED;
    if (demo.folder == NULL) {
        snprintf(folder, sizeof(folder), "%s/demo-run", demo.programs);
        demo.folder = folder;
    }
    if (prepare_folder(&demo) != 0) return EXIT_FAILED;
    demo.random = demo.seed;
    demo.terminal = isatty(STDOUT_FILENO);
    demo.colour = demo.terminal && getenv("NO_COLOR") == NULL;
    demo.unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    printf("Cairn demo: a training run survives kill -9, bit for bit (kills drawn with --seed %llu)\n", (unsigned long long)demo.seed);
    int status = train_straight(&demo);
    if (status == 0) status = train_killed(&demo);
    if (status == 0) status = judge(&demo);
    printf("  %.0f s in all\n", demo_seconds_now() - start);
    return status;
}

/* The simulated disk's program:
 *
 *     sim                     the short form: cuts after every change with a seed each, 1,000 random workloads
 *     sim --long              20 seeds each, 20,000 workloads
 *     sim --seed N            one random workload, and what came of it; --trace: every call of the system
 *     sim --case C --seed N --cut K    one operation, the power going before its change number K
 *     sim --rot --seed N               bytes of a checkpoint are damaged; --duel: writers, pruners and taggers get in each other's way
 *     sim --workloads COUNT [--from N] random workloads alone
 *     sim --hunt ROUNDS                all of it in rounds until something fails: for mutants */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "workload.h"
#include "world.h"

struct options {
    uint64_t seed, cut, from, workloads, case_seeds;
    int case_number; /* from 1; 0: none */
    bool one, trace, rot, duel;
    uint64_t hunt; /* rounds */
};

enum { SHOWN = 10 }; /* failures of each line that are told */

static const char *program;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void tell_failure(unsigned *failed, const char *command)
{
    if (++*failed <= SHOWN) printf("  failed: %s\n    replay: %s %s --trace\n", world.message, program, command);
}

static void tell_line(const char *name, uint64_t runs, const char *what, unsigned failed, double since)
{
    printf("%s - %-32s %7llu %s, %u failed, %.1f s\n", failed ? "not ok" : "ok", name, (unsigned long long)runs, what, failed,
           now_s() - since);
    fflush(stdout);
}

/* One run without a cut says how many changes there are; then one run for each of them. */
static unsigned cut_everywhere(unsigned index, uint64_t seeds)
{
    char command[128];
    unsigned failed = 0;
    uint64_t runs = 0;
    double since = now_s();
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        uint64_t changes, unused;
        for (uint64_t cut = 0, last = 0; cut <= last * SIM_OUTCOMES; cut++, runs++) {
            bool good = sim_case_run(index, seed, cut, false, cut ? &unused : &changes);
            if (!cut) last = changes;
            snprintf(command, sizeof command, "--case %u --seed %llu --cut %llu", index + 1, (unsigned long long)seed,
                     (unsigned long long)cut);
            if (!good) tell_failure(&failed, command);
        }
    }
    tell_line(sim_case_name(index), runs, "cuts", failed, since);
    return failed;
}

static bool work(uint64_t seed)
{
    return sim_workload(seed, false);
}

static bool rot(uint64_t seed)
{
    return sim_rot_run(seed, false);
}

static bool duel(uint64_t seed)
{
    return sim_duel(seed, false);
}

static unsigned try_seeds(const char *name, const char *option, bool (*run)(uint64_t seed), uint64_t from, uint64_t count)
{
    char command[64];
    unsigned failed = 0;
    double since = now_s();
    for (uint64_t seed = from; seed < from + count; seed++) {
        snprintf(command, sizeof command, "%s--seed %llu", option, (unsigned long long)seed);
        if (!run(seed)) tell_failure(&failed, command);
    }
    tell_line(name, count, "seeds", failed, since);
    return failed;
}

static bool hunt_seeds(const char *name, bool (*run)(uint64_t seed), uint64_t round, uint64_t count, uint64_t *runs)
{
    for (uint64_t i = 0; i < count; i++, ++*runs)
        if (!run((round - 1) * count + i + 1)) {
            printf("caught after %llu runs (%s, seed %llu): %s\n", (unsigned long long)*runs, name,
                   (unsigned long long)((round - 1) * count + i + 1), world.message);
            return false;
        }
    return true;
}

/* Rounds of everything, one outcome of each cut in each, until something fails: how fast a mistake is found. */
static int hunt(uint64_t rounds)
{
    uint64_t runs = 0;
    for (uint64_t round = 1; round <= rounds; round++) {
        bool good = true;
        for (unsigned i = 0; i < sim_cases_count && good; i++) {
            uint64_t last, unused;
            good = sim_case_run(i, round, 0, false, &last), runs++;
            for (uint64_t cut = 1 + round % SIM_OUTCOMES; cut <= last * SIM_OUTCOMES && good; cut += SIM_OUTCOMES, runs++)
                good = sim_case_run(i, round, cut, false, &unused);
            if (!good) printf("caught after %llu runs (%s): %s\n", (unsigned long long)runs, sim_case_name(i), world.message);
        }
        good = good && hunt_seeds("damaged bytes", rot, round, 100, &runs) && hunt_seeds("duels", duel, round, 1000, &runs) &&
               hunt_seeds("random workloads", work, round, 200, &runs);
        if (!good) return 1;
    }
    printf("not caught in %llu runs\n", (unsigned long long)runs);
    return 0;
}

static bool run_one(const struct options *options)
{
    uint64_t changes;
    if (options->rot) return sim_rot_run(options->seed, options->trace);
    if (options->duel) return sim_duel(options->seed, options->trace);
    if (options->case_number)
        return sim_case_run((unsigned)options->case_number - 1, options->seed, options->cut, options->trace, &changes);
    return sim_workload(options->seed, options->trace);
}

static int replay(const struct options *options)
{
    bool good = run_one(options);
    printf("%s\n", good ? "all properties hold" : world.message);
    return !good;
}

static bool read_options(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        uint64_t number = i + 1 < argc ? strtoull(argv[i + 1], NULL, 10) : 0;
        if (!strcmp(argv[i], "--trace")) {
            options->trace = true;
        } else if (!strcmp(argv[i], "--rot")) {
            options->rot = true;
        } else if (!strcmp(argv[i], "--duel")) {
            options->duel = true;
        } else if (!strcmp(argv[i], "--long")) {
            options->workloads = 20000;
            options->case_seeds = 20;
        } else if (i + 1 == argc) {
            return false;
        } else if (!strcmp(argv[i], "--seed")) {
            options->seed = number;
            options->one = true;
            i++;
        } else if (!strcmp(argv[i], "--case") && number && number <= sim_cases_count) {
            options->case_number = (int)number;
            i++;
        } else if (!strcmp(argv[i], "--cut")) {
            options->cut = number;
            i++;
        } else if (!strcmp(argv[i], "--hunt")) {
            options->hunt = number;
            i++;
        } else if (!strcmp(argv[i], "--from")) {
            options->from = number;
            i++;
        } else if (!strcmp(argv[i], "--workloads")) {
            options->workloads = number;
            options->case_seeds = 0;
            i++;
        } else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options options = { .from = 1, .workloads = 1000, .case_seeds = 1 };
    unsigned failed = 0;
    program = argv[0];
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 28); /* memory is given back and taken again all the time: not to the kernel */
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 28);
    if (!read_options(argc, argv, &options)) {
        fputs(
            "usage: sim [--long | --workloads COUNT [--from N] | [--case C --cut K | --rot | --duel] --seed N [--trace] | --hunt ROUNDS]\n",
            stderr);
        return 2;
    }
    if (options.one) return replay(&options);
    if (options.hunt) return hunt(options.hunt);
    for (unsigned i = 0; i < sim_cases_count && options.case_seeds; i++) failed += cut_everywhere(i, options.case_seeds);
    if (options.case_seeds) failed += try_seeds("damaged bytes", "--rot ", rot, options.from, options.workloads / 2);
    failed += try_seeds("duels", "--duel ", duel, options.from, options.workloads);
    failed += try_seeds("random workloads", "", work, options.from, options.workloads);
    return failed != 0;
}

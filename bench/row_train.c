/* What a save costs the training loop beside it. With a core to spare: the share of its speed that the loop loses from the call until the checkpoint is
 * durable. With none: the processor time that the save takes, which the loop does not have. */
#include <stdio.h>
#include <time.h>

#include "compute.h"
#include "rows.h"
#include "session.h"
#include "stats.h"

struct training {
    struct session session;
    struct workers *workers;
    double cpu_s[MAX_ROUNDS], loss[MAX_ROUNDS], save_s[MAX_ROUNDS];
    int rounds;
};

static void pause_s(double seconds)
{
    struct timespec time = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&time, NULL);
}

/* Products a second while nothing else is done. */
static double undisturbed(const struct workers *workers)
{
    double start = now_s();
    uint64_t before = workers_done(workers);
    pause_s(0.5);
    return (double)(workers_done(workers) - before) / (now_s() - start);
}

/* Alone, beside a save, alone again: a machine that changes its speed meanwhile shows on both sides. */
static double beside_a_save(void *user, int threads)
{
    struct training *training = user;
    cairn_error err = CAIRN_ERROR_INIT;
    (void)threads;
    session_forget(&training->session);
    state_step(training->session.state);
    double before = undisturbed(training->workers);
    double cpu = process_cpu_s() - workers_cpu_s(training->workers), start = now_s();
    uint64_t done = workers_done(training->workers);
    session_save(&training->session, CAIRN_SAVE_LAZY);
    must(cairn_wait(training->session.run, &err), &err);
    double seconds = now_s() - start, rate = (double)(workers_done(training->workers) - done) / seconds;
    cpu = process_cpu_s() - workers_cpu_s(training->workers) - cpu;
    double alone = (before + undisturbed(training->workers)) / 2;
    int round = training->rounds++;
    training->cpu_s[round] = cpu;
    training->loss[round] = (1 - rate / alone) * 100;
    training->save_s[round] = seconds;
    return seconds;
}

static void measure(struct bench *bench, struct row *row, struct state *state, int workers, struct training *training)
{
    const struct contender contender = { beside_a_save, training, 0 };
    training->rounds = 0;
    session_open(&training->session, bench, state, "train", 0);
    session_save(&training->session, CAIRN_SAVE_SYNC);
    training->workers = workers_start(workers);
    bench_rounds(bench, row, &contender, 1, false);
    workers_stop(training->workers);
    session_close(&training->session);
}

void rows_train(struct bench *bench, struct state *state)
{
    static struct training training;
    int cores = bench->machine.cores;
    struct row *row;
    double gib = (double)state->bytes / (double)(1u << 30);
    if (cores < 2) {
        bench_skip(bench, "training on all cores but one: there is one core");
    } else if ((row = bench_row(bench, "train-beside", "training on all cores but one, beside a save: speed lost", "the loop alone"))) {
        measure(bench, row, state, cores - 1, &training);
        row->unit = "%";
        for (int i = 0; i < row->rounds; i++) row->figures[i] = training.loss[i];
        snprintf(row->note, sizeof row->note, "%d worker%s; the save took %.2f s", cores - 1, cores > 2 ? "s" : "",
                 median_of(training.save_s, row->rounds));
        bench_goal(row, GOAL_AT_MOST, 3);
    }
    if (!(row = bench_row(bench, "train-cpu", "training on all cores: processor time of a save", ""))) return;
    measure(bench, row, state, cores, &training);
    row->unit = "s/GiB";
    for (int i = 0; i < row->rounds; i++) row->figures[i] = training.cpu_s[i] / gib;
    snprintf(row->note, sizeof row->note, "%d workers lost %.1f %% for %.2f s", cores, median_of(training.loss, row->rounds),
             median_of(training.save_s, row->rounds));
    bench_goal(row, GOAL_AT_MOST, 0.15);
}

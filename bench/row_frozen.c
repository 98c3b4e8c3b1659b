/* A state of which 99 % are frozen: the second save writes what changed and links the rest. */
#include <stdio.h>
#include <string.h>

#include "rows.h"
#include "session.h"

enum { TENSORS = 100 };

struct freezing {
    struct bench *bench;
    struct state state;
    double first_s[MAX_ROUNDS], extra_share[MAX_ROUNDS];
    int rounds;
};

/* Bytes that this process had written to disk, whatever they were. */
static uint64_t written_bytes(void)
{
    char line[128];
    unsigned long long bytes = 0;
    FILE *file = fopen("/proc/self/io", "r");
    while (file && fgets(line, sizeof line, file)) (void)sscanf(line, "write_bytes: %llu", &bytes);
    if (file) fclose(file);
    return bytes;
}

static double second_save(void *user, int threads)
{
    struct freezing *freezing = user;
    struct session session;
    int round = freezing->rounds++;
    (void)threads;
    session_open(&session, freezing->bench, &freezing->state, "frozen", 0);
    freezing->first_s[round] = session_save(&session, CAIRN_SAVE_SYNC);
    state_step(&freezing->state);
    uint64_t before = written_bytes();
    double seconds = session_save(&session, CAIRN_SAVE_SYNC);
    uint64_t changed = freezing->state.tensor_bytes * (TENSORS - freezing->state.frozen);
    freezing->extra_share[round] = ((double)(written_bytes() - before) - (double)changed) / (double)freezing->state.bytes * 100;
    session_close(&session);
    return seconds;
}

void rows_frozen(struct bench *bench)
{
    static struct freezing freezing;
    const struct contender contender = { second_save, &freezing, 0 };
    if (!bench_wants(bench, "frozen")) return;
    freezing.bench = bench;
    state_make(&freezing.state, bench->options.size_bytes, TENSORS, TENSORS - 1);
    struct row *time = bench_row(bench, "frozen-time", "99 % frozen, second save: share of the first one's time", "the first save");
    bench_rounds(bench, time, &contender, 1, false);
    for (int i = 0; i < time->rounds; i++) {
        time->raw[i] = freezing.first_s[i];
        time->figures[i] = time->ours[i] / time->raw[i];
    }
    bench_goal(time, GOAL_AT_MOST, 0.25);
    struct row *bytes = bench_row(bench, "frozen-bytes", "99 % frozen, second save: bytes written beyond those changed, of the state", "");
    bytes->unit = "%";
    bytes->rounds = time->rounds;
    bytes->disturbed = time->disturbed;
    memcpy(bytes->figures, freezing.extra_share, sizeof bytes->figures);
    snprintf(bytes->note, sizeof bytes->note, "everything the process wrote, metadata too");
    bench_goal(bytes, GOAL_AT_MOST, 0.01);
    state_free(&freezing.state);
}

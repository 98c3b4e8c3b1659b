/* How cost grows (see growth.h). */
#include "growth.h"

#include <stdio.h>

#include "raw.h"
#include "scratch.h"
#include "session.h"
#include "stats.h"

static void measure_size(struct bench *bench, uint64_t bytes, struct growth_point *point)
{
    double ours[MAX_ROUNDS], raw[MAX_ROUNDS];
    struct state state;
    struct session session;
    struct raw_layout layout;
    char folder[4400];
    state_make(&state, bytes, 32, 0);
    session_open(&session, bench, &state, "growth", 0);
    session_save(&session, CAIRN_SAVE_SYNC);
    raw_layout_of(session_folder(&session, folder, sizeof folder), &layout);
    scratch_path("raw", folder, sizeof folder);
    if (!machine_wait_idle(bench->options.idle_minutes)) bench->unreliable = true;
    for (int i = 0; i < bench->options.rounds; i++) {
        stop_if_asked();
        session_forget(&session);
        state_step(&state);
        ours[i] = session_save(&session, CAIRN_SAVE_SYNC);
        raw[i] = raw_write(folder, &layout, state.memory, state.memory_bytes, 2);
        folder_remove(folder);
    }
    *point = (struct growth_point){ (double)state.bytes, median_of(ours, bench->options.rounds), median_of(raw, bench->options.rounds) };
    raw_layout_free(&layout);
    session_close(&session);
    state_free(&state);
}

static double list_s(const char *path)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_listing *listing;
    double start = now_s();
    must(cairn_listing_open(path, &listing, &err), &err);
    double seconds = now_s() - start;
    cairn_listing_close(listing);
    return seconds;
}

/* Medians of the saves that lead up to so many checkpoints. */
static void measure_kept(struct bench *bench, struct growth *growth)
{
    double saves[MAX_ROUNDS], lists[MAX_ROUNDS];
    struct state state;
    struct session session;
    state_make(&state, UINT64_C(4) * 4096, 4, 0);
    session_open(&session, bench, &state, "growth", 0);
    for (uint64_t goal = 1; goal <= bench->options.checkpoints && growth->kept_count < 16; goal *= 10) {
        int count = 0;
        while (session.step < goal) {
            stop_if_asked();
            state_step(&state);
            saves[count++ % bench->options.rounds] = session_save(&session, CAIRN_SAVE_SYNC);
        }
        for (int i = 0; i < bench->options.rounds; i++) lists[i] = list_s(session.path);
        growth->kept[growth->kept_count++] =
            (struct growth_point){ (double)goal, median_of(saves, count < bench->options.rounds ? count : bench->options.rounds),
                                   median_of(lists, bench->options.rounds) };
    }
    session_close(&session);
    state_free(&state);
}

void growth_measure(struct bench *bench, struct growth *growth)
{
    for (uint64_t bytes = 1 << 20; bytes <= bench->options.size_bytes && growth->sizes_count < 16; bytes *= 4) {
        fprintf(stderr, "bench: growth: a state of %llu MiB\n", (unsigned long long)bytes >> 20);
        measure_size(bench, bytes, &growth->size[growth->sizes_count++]);
        if (bytes < bench->options.size_bytes && bytes * 4 > bench->options.size_bytes)
            bytes = bench->options.size_bytes / 4; /* the last one */
    }
    fprintf(stderr, "bench: growth: up to %u checkpoints kept\n", bench->options.checkpoints);
    measure_kept(bench, growth);
}

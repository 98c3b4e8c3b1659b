/* Arithmetic (see compute.h). */
#include "compute.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"

enum { WIDTH = 128, MAX_WORKERS = 256 };

struct matrices {
    float left[WIDTH][WIDTH], right[WIDTH][WIDTH], product[WIDTH][WIDTH];
};

static void multiply(struct matrices *matrices)
{
    for (int i = 0; i < WIDTH; i++)
        for (int k = 0; k < WIDTH; k++) {
            float factor = matrices->left[i][k];
            for (int j = 0; j < WIDTH; j++) matrices->product[i][j] = matrices->product[i][j] * 0.5f + factor * matrices->right[k][j];
        }
}

static struct matrices *matrices_new(void)
{
    struct matrices *matrices = malloc(sizeof *matrices);
    if (!matrices) die("no memory");
    for (int i = 0; i < WIDTH; i++)
        for (int j = 0; j < WIDTH; j++) {
            matrices->left[i][j] = (float)(i - j) / WIDTH;
            matrices->right[i][j] = (float)(i + j) / WIDTH;
            matrices->product[i][j] = 0;
        }
    return matrices;
}

void compute_for(double seconds)
{
    struct matrices *matrices = matrices_new();
    for (double start = now_s(); now_s() - start < seconds;) multiply(matrices);
    free(matrices);
}

struct worker {
    struct workers *workers;
    pthread_t thread;
    atomic_uint_fast64_t done;
};

struct workers {
    atomic_bool stopped;
    int count;
    struct worker worker[];
};

static void *work(void *user)
{
    struct worker *worker = user;
    struct matrices *matrices = matrices_new();
    while (!atomic_load_explicit(&worker->workers->stopped, memory_order_relaxed)) {
        multiply(matrices);
        atomic_fetch_add_explicit(&worker->done, 1, memory_order_relaxed);
    }
    free(matrices);
    return NULL;
}

struct workers *workers_start(int threads)
{
    struct workers *workers = calloc(1, sizeof *workers + (size_t)threads * sizeof workers->worker[0]);
    if (!workers || threads > MAX_WORKERS) die("no memory for %d workers", threads);
    for (; workers->count < threads; workers->count++) {
        struct worker *worker = &workers->worker[workers->count];
        worker->workers = workers;
        if (pthread_create(&worker->thread, NULL, work, worker)) die("a thread could not be started");
    }
    return workers;
}

uint64_t workers_done(const struct workers *workers)
{
    uint64_t done = 0;
    for (int i = 0; i < workers->count; i++) done += atomic_load(&workers->worker[i].done);
    return done;
}

double workers_cpu_s(const struct workers *workers)
{
    double seconds = 0;
    for (int i = 0; i < workers->count; i++) {
        clockid_t clock;
        struct timespec used;
        if (pthread_getcpuclockid(workers->worker[i].thread, &clock) || clock_gettime(clock, &used)) die("a thread's clock");
        seconds += (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
    }
    return seconds;
}

void workers_stop(struct workers *workers)
{
    atomic_store(&workers->stopped, true);
    for (int i = 0; i < workers->count; i++) pthread_join(workers->worker[i].thread, NULL);
    free(workers);
}

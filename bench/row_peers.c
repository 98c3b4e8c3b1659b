/* Peers in the same run: torch.save and safetensors through Python, where they are installed. stock.py does the work and takes the time. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rows.h"
#include "scratch.h"
#include "session.h"

struct peers {
    pid_t child;
    FILE *to, *from;
    char present[64];
    struct session session;
};

struct peer {
    struct peers *peers;
    const char *name;
};

static bool start(struct peers *peers, const struct bench *bench, const struct state *state)
{
    char size[32], count[32], script[] = "bench/stock.py";
    int to[2], from[2];
    posix_spawn_file_actions_t actions;
    snprintf(size, sizeof size, "%llu", (unsigned long long)state->bytes);
    snprintf(count, sizeof count, "%u", state->tensors);
    char *arguments[] = { (char *)bench->options.python, script, size, count, NULL };
    if (pipe(to) || pipe(from)) die("a pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, to[1]);
    posix_spawn_file_actions_addclose(&actions, from[0]);
    int rc = posix_spawnp(&peers->child, bench->options.python, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(to[0]), close(from[1]);
    peers->to = fdopen(to[1], "w");
    peers->from = fdopen(from[0], "r");
    if (rc) peers->child = 0;
    return !rc && peers->to && peers->from && fgets(peers->present, sizeof peers->present, peers->from);
}

static void stop(struct peers *peers)
{
    if (peers->to) fclose(peers->to);
    if (peers->from) fclose(peers->from);
    if (peers->child) waitpid(peers->child, NULL, 0);
}

static double ask(const struct peer *peer, const char *verb)
{
    char path[4200];
    double seconds;
    scratch_path("peer", path, sizeof path);
    fprintf(peer->peers->to, "%s %s %s\n", verb, peer->name, path);
    fflush(peer->peers->to);
    if (fscanf(peer->peers->from, "%lf", &seconds) != 1) die("%s: it did not answer", peer->name);
    return seconds;
}

static double save_peer(void *user, int threads)
{
    char path[4200];
    (void)threads;
    folder_remove(scratch_path("peer", path, sizeof path));
    return ask(user, "save");
}

static double load_peer(void *user, int threads)
{
    (void)threads;
    return ask(user, "load");
}

static double save_ours(void *user, int threads)
{
    struct peers *peers = ((struct peer *)user)->peers;
    (void)threads;
    session_forget(&peers->session);
    state_step(peers->session.state);
    return session_save(&peers->session, CAIRN_SAVE_SYNC);
}

/* From the page cache, like the peer, whose file is there. */
static double load_ours(void *user, int threads)
{
    struct peers *peers = ((struct peer *)user)->peers;
    cairn_error err = CAIRN_ERROR_INIT;
    char folder[4400];
    (void)threads;
    cache_fill(session_folder(&peers->session, folder, sizeof folder));
    double start = now_s();
    must(cairn_restore(peers->session.run, peers->session.state->bound, NULL, NULL, &err), &err);
    return now_s() - start;
}

static void compare(struct bench *bench, struct peers *peers, const char *name)
{
    struct peer peer = { peers, name };
    char row_name[32], what[120];
    struct row *row;
    snprintf(row_name, sizeof row_name, "peers-%s-save", name);
    snprintf(what, sizeof what, "durable save: times as fast as %s and fsync", name);
    if ((row = bench_row(bench, row_name, what, name))) {
        const struct contender contenders[] = { { save_ours, &peer, 0 }, { save_peer, &peer, 0 } };
        row->bytes = peers->session.state->bytes;
        bench_rounds(bench, row, contenders, 2, false);
    }
    snprintf(row_name, sizeof row_name, "peers-%s-load", name);
    snprintf(what, sizeof what, "load in place, warm: times as fast as %s (which checks no digest)", name);
    if ((row = bench_row(bench, row_name, what, name))) {
        const struct contender contenders[] = { { load_ours, &peer, 0 }, { load_peer, &peer, 0 } };
        row->bytes = peers->session.state->bytes;
        session_save(&peers->session, CAIRN_SAVE_SYNC);
        save_peer(&peer, 0);
        bench_rounds(bench, row, contenders, 2, false);
    }
}

void rows_peers(struct bench *bench, struct state *state)
{
    struct peers peers = { 0 };
    if (!bench_wants(bench, "peers")) return;
    if (access(bench->options.python, X_OK) || !start(&peers, bench, state)) {
        bench_skip(bench, "torch.save and safetensors: %s has no torch (see --python)", bench->options.python);
    } else {
        session_open(&peers.session, bench, state, "peers", 0);
        session_save(&peers.session, CAIRN_SAVE_SYNC);
        compare(bench, &peers, "torch");
        if (strstr(peers.present, "safetensors"))
            compare(bench, &peers, "safetensors");
        else
            bench_skip(bench, "safetensors: %s does not have it", bench->options.python);
        session_close(&peers.session);
    }
    stop(&peers);
}

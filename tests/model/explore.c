/* Every order of steps, breadth first: of each case all states are visited, and the way to a violation is the shortest. A state is known again by
 * 128 bits of hash. */
#include "model.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CUT = 100, KILL = 50 }; /* moves that are no actor's step; KILL + actor */

/* ------------------------------------------------------------------------------------------------------------ one step */

unsigned choose(struct world *w, unsigned count)
{
    assert(w->choice_at < sizeof w->choice);
    if (w->choice_at == w->choices) {
        w->choice[w->choices] = 0;
        w->choice_limit[w->choices++] = (uint8_t)count;
    }
    return w->choice[w->choice_at++];
}

/* The next combination of choices. false: that was the last. */
static bool next_choice(struct world *w)
{
    while (w->choices && w->choice[w->choices - 1] + 1 == w->choice_limit[w->choices - 1]) w->choices--;
    if (!w->choices) return false;
    w->choice[w->choices - 1]++;
    return true;
}

void note(struct world *w, const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(w->trace);
    if (!w->tracing) return;
    va_start(arguments, format);
    if (used) used += (size_t)snprintf(w->trace + used, sizeof w->trace - used, "; ");
    if (used < sizeof w->trace) vsnprintf(w->trace + used, sizeof w->trace - used, format, arguments);
    va_end(arguments);
}

void violate(struct world *w, const char *law)
{
    if (!w->violation) w->violation = law;
}

bool has_rule(const struct world *w, enum rule rule)
{
    return w->c->without != rule && w->c->without_too != rule;
}

void go(struct actor *a, int pc)
{
    a->pc = (uint8_t)pc;
}

void end(struct world *w, struct actor *a, enum outcome outcome)
{
    static const char *const names[] = { "done", "FENCED", "EXISTS", "GONE", "FOREIGN", "STUCK", "LOCKED", "USAGE", "killed" };
    enum role role = a->role;
    note(w, "ends: %s", names[outcome]);
    memset(a, 0, sizeof *a);
    a->role = (uint8_t)role;
    a->pc = ENDED;
    if (w->probing) a->outcome = (uint8_t)outcome;
    w->quiet = false;
}

unsigned actor_index(const struct world *w, const struct actor *a)
{
    return (unsigned)(a - w->s.actor);
}

static void step_once(struct world *w, struct actor *a)
{
    static void (*const steps[])(struct world *, struct actor *) = {
        [WRITER] = step_writer, [PRUNER] = step_pruner, [TAGGER] = step_tagger,    [DROPPER] = step_dropper,
        [READER] = step_reader, [EDITOR] = step_editor, [REPLACER] = step_replacer
    };
    w->quiet = false;
    steps[a->role](w, a);
}

/* A step, and the quiet ones that follow it: those that look at nothing but the actor's own, and syncs that find nothing to sync. To do these at once
 * leaves out nothing: a sync that comes later makes durable what others did meanwhile, which a power cut may just as well have kept. */
static void step(struct world *w, struct actor *a)
{
    static struct world before;
    step_once(w, a);
    while (a->pc != ENDED && !w->violation) {
        before = *w;
        step_once(w, a);
        if (w->quiet && a->pc != ENDED) continue;
        *w = before;
        return;
    }
}

static void cut(struct world *w)
{
    note(w, "POWER CUT");
    for (unsigned i = 0; i < MAX_ACTORS; i++)
        if (w->s.actor[i].role && w->s.actor[i].pc != ASLEEP && w->s.actor[i].pc != ENDED) end(w, &w->s.actor[i], KILLED);
    cut_power(w);
    on_cut(w);
}

static bool is_possible(const struct world *w, unsigned move)
{
    if (move == CUT) return w->s.cuts < w->c->cuts;
    const struct actor *a = &w->s.actor[move % KILL];
    if (a->role == NOBODY || a->pc == ENDED) return false;
    return move < KILL || (w->c->kills && a->hold.lease != FREE);
}

static void take(struct world *w, unsigned move)
{
    w->choice_at = 0;
    if (move == CUT)
        cut(w);
    else if (move >= KILL)
        end(w, &w->s.actor[move - KILL], KILLED);
    else
        step(w, &w->s.actor[move]);
    if (!w->violation) check_laws(w);
}

/* ------------------------------------------------------------------------------------------------------------ known states */

struct known {
    uint64_t hash[2];
    uint32_t parent, move; /* move: an actor's number or the like, and which combination of choices */
};

struct search {
    const struct model_case *c;
    struct known *known;
    uint32_t *table;
    uint64_t count, room, table_size;
    struct found {
        struct state s;
        uint32_t index;
    } * level, *next;
    uint64_t level_count, next_count, next_room;
    struct world violated;
    uint32_t violated_parent, violated_move;
};

static void *grow(void *array, uint64_t count, size_t size)
{
    array = realloc(array, count * size);
    if (!array) {
        fprintf(stderr, "model: no memory for %llu states\n", (unsigned long long)count);
        exit(2);
    }
    return array;
}

static void hash_state(const struct state *s, uint64_t ret[2])
{
    _Static_assert(sizeof *s % 8 == 0, "whole words");
    uint64_t a = UINT64_C(0x9e3779b97f4a7c15), b = UINT64_C(0xd1b54a32d192ed03), word;
    for (size_t i = 0; i < sizeof *s; i += 8) {
        memcpy(&word, (const char *)s + i, 8);
        __uint128_t product = (__uint128_t)(a ^ word) * (UINT64_C(0xa0761d6478bd642f) + 2 * i);
        a = (uint64_t)product ^ (uint64_t)(product >> 64) ^ b;
        b = (b ^ word) * UINT64_C(0xe7037ed1a0b428db);
        b ^= b >> 31;
    }
    ret[0] = a * UINT64_C(0x8ebc6af09c88c6e3) ^ a >> 32;
    ret[1] = b * UINT64_C(0x589965cc75374cc3) ^ a;
}

static void rehash(struct search *search)
{
    search->table_size = search->table_size ? 2 * search->table_size : 1 << 16;
    search->table = grow(search->table, search->table_size, sizeof *search->table);
    memset(search->table, 0, search->table_size * sizeof *search->table);
    for (uint64_t i = 0; i < search->count; i++) {
        uint64_t at = search->known[i].hash[0] & (search->table_size - 1);
        while (search->table[at]) at = (at + 1) & (search->table_size - 1);
        search->table[at] = (uint32_t)(i + 1);
    }
}

/* Notes the state unless it is known. */
static void add(struct search *search, const struct state *s, uint32_t parent, uint32_t move)
{
    struct known known = { .parent = parent, .move = move };
    hash_state(s, known.hash);
    if (2 * search->count >= search->table_size) rehash(search);
    uint64_t at = known.hash[0] & (search->table_size - 1);
    for (; search->table[at]; at = (at + 1) & (search->table_size - 1)) {
        const struct known *other = &search->known[search->table[at] - 1];
        if (other->hash[0] == known.hash[0] && other->hash[1] == known.hash[1]) return;
    }
    if (search->count == search->room) {
        search->room = search->room ? 2 * search->room : 1 << 14;
        search->known = grow(search->known, search->room, sizeof *search->known);
    }
    if (search->next_count == search->next_room) {
        search->next_room = search->next_room ? 2 * search->next_room : 1 << 10;
        search->next = grow(search->next, search->next_room, sizeof *search->next);
    }
    search->next[search->next_count++] = (struct found){ *s, (uint32_t)search->count };
    search->known[search->count++] = known;
    search->table[at] = (uint32_t)search->count;
}

/* --------------------------------------------------------------------------------------------------------------- searching */

/* All that one move may lead to. true: a violation. */
static bool follow(struct search *search, const struct found *from, unsigned move, uint64_t *steps)
{
    static struct world w;
    unsigned nth = 0;
    w.c = search->c;
    w.choices = 0;
    do {
        w.s = from->s;
        w.violation = NULL;
        take(&w, move);
        ++*steps;
        if (w.violation) {
            search->violated = w;
            search->violated_parent = from->index;
            search->violated_move = move | nth << 8;
            return true;
        }
        add(search, &w.s, from->index, move | nth++ << 8);
    } while (next_choice(&w));
    return false;
}

static bool expand(struct search *search, const struct found *from, uint64_t *steps)
{
    for (unsigned move = 0; move <= CUT; move++) {
        if (move % KILL >= MAX_ACTORS && move != CUT) continue;
        struct world probe = { .c = search->c };
        probe.s = from->s;
        if (is_possible(&probe, move) && follow(search, from, move, steps)) return true;
    }
    return false;
}

static void show(const struct model_case *c, struct world *w, uint32_t move)
{
    static const char *const roles[] = { "", "writer", "pruner", "tagger", "dropper", "reader", "replacer", "editor" };
    unsigned who = move & 255;
    w->trace[0] = 0;
    w->tracing = true;
    w->choices = 0;
    struct state before = w->s;
    for (unsigned nth = 0;; nth++) {
        w->s = before;
        w->trace[0] = 0;
        take(w, who);
        if (nth == move >> 8 || !next_choice(w)) break;
    }
    if (who == CUT)
        printf("    %s\n", w->trace);
    else
        printf("    %s %c: %s\n", roles[c->plan[who % KILL].role], 'A' + (int)(who % KILL), w->trace[0] ? w->trace : "looks, and goes on");
}

static void show_trace(const struct search *search, unsigned length)
{
    uint32_t *moves = grow(NULL, length + 1, sizeof *moves);
    uint32_t at = search->violated_parent;
    unsigned count = 0;
    moves[count++] = search->violated_move;
    for (; at; at = search->known[at].parent) moves[count++] = search->known[at].move;
    struct world w;
    begin_case(&w, search->c);
    while (count) show(search->c, &w, moves[--count]);
    printf("    => %s\n", search->violated.violation);
    free(moves);
}

static unsigned depth(const struct search *search)
{
    unsigned count = 1;
    for (uint32_t at = search->violated_parent; at; at = search->known[at].parent) count++;
    return count;
}

void explore(const struct model_case *c, bool with_trace, uint64_t max_states, struct result *ret)
{
    struct search search = { .c = c };
    struct world first;
    bool found = false;
    struct timespec start, now;
    *ret = (struct result){ 0 };
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    clear_probes();
    begin_case(&first, c);
    check_laws(&first);
    if (first.violation) printf("%s: the first state is wrong: %s\n", c->name, first.violation);
    add(&search, &first.s, 0, 0);
    while (search.next_count && !found && !ret->truncated) {
        struct found *level = search.level;
        uint64_t room = search.level_count > search.next_room ? search.level_count : search.next_room;
        search.level = search.next, search.level_count = search.next_count;
        search.next = grow(level, room, sizeof *level), search.next_room = room, search.next_count = 0;
        for (uint64_t i = 0; i < search.level_count && !found; i++) found = expand(&search, &search.level[i], &ret->steps);
        ret->truncated = search.count > max_states;
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    ret->states = search.count;
    ret->seconds = (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9;
    if (found) {
        ret->violation = search.violated.violation;
        ret->length = depth(&search);
        if (with_trace) show_trace(&search, ret->length);
    }
    free(search.known);
    free(search.table);
    free(search.level);
    free(search.next);
}

/* What the test knows to be true of the run, whatever happens to the machine: which saves were begun and acknowledged, in which order, and what was
 * asked to go. It lives outside the simulated machine, so no cut touches it. */
#ifndef SIM_LEDGER_H
#define SIM_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "cairn.h"

enum { SIM_MAX_ATTEMPTS = 512, SIM_MAX_TAGS = 128, SIM_MAX_RESTORES = 128, SIM_MAX_STEPS = 1024 };

/* Checkpoints are ordered by term, then step. */
struct sim_place_in_time {
    uint64_t term, step;
};

/* A save. Its number is in the saved state, and everything else in the state follows from it. */
struct sim_attempt {
    struct sim_place_in_time at;
    uint64_t parent; /* the attempt that its state goes on from; 0: none */
    bool acknowledged;
    bool may_go; /* its removal was asked for */
    bool gone;   /* its removal was acknowledged */
    bool may_lack_optimizer;
    char id[33];
};

struct sim_tag {
    char text[32];
    uint64_t step;
    enum { SIM_TAG_ASKED, SIM_TAG_THERE, SIM_TAG_LEAVING, SIM_TAG_GONE } state;
};

struct sim_restored {
    uint64_t writer_term;
    struct sim_place_in_time at;
};

struct sim_ledger {
    struct sim_attempt attempts[SIM_MAX_ATTEMPTS]; /* by number; 0 is none */
    uint64_t attempts_count;
    struct sim_tag tags[SIM_MAX_TAGS];
    unsigned tags_count;
    struct sim_restored restores[SIM_MAX_RESTORES]; /* of the default, that are over */
    unsigned restores_count;
    bool with_frozen;                                       /* the state has a file that is large enough to be shared */
    uint64_t highest_term;                                  /* that a writer has begun to work under */
    uint32_t keep_least;                                    /* the smallest number that any pruning has kept; 0: nobody prunes */
    uint8_t going[SIM_MAX_STEPS], stripping[SIM_MAX_STEPS]; /* how many remove a checkpoint of that step, or drop an item, just now */
};

extern struct sim_ledger ledger;

void sim_ledger_begin(bool with_frozen);
/* Terms go up, whatever happens: highest is what had been given when the run began to be opened. */
void sim_ledger_begin_term(uint64_t term, uint64_t highest);
uint64_t sim_ledger_save(uint64_t term, uint64_t step, uint64_t parent);
void sim_ledger_acknowledge(uint64_t number, const char *id);
uint64_t sim_ledger_find(uint64_t term, uint64_t step); /* the newest attempt there; 0: none */
int sim_ledger_compare(struct sim_place_in_time a, struct sim_place_in_time b);
struct sim_place_in_time sim_ledger_newest(void); /* that is acknowledged; zeros: none is */
/* A restore of what is newest is over. Everything that was acknowledged before it began (newest: then) must be behind it. */
void sim_ledger_restored(uint64_t writer_term, struct sim_place_in_time found, struct sim_place_in_time newest);
bool sim_ledger_descends(uint64_t number, uint64_t from, uint64_t *ret_distance);
bool sim_ledger_may_be_gone(uint64_t number);
void sim_ledger_keeps(uint32_t last);
void sim_ledger_ask_removal(uint64_t step);
void sim_ledger_ask_drop(uint64_t step);

#endif

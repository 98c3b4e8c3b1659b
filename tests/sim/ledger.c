/* See ledger.h. */
#include "ledger.h"

#include <stdlib.h>
#include <string.h>

#include "world.h"

struct sim_ledger ledger;

void sim_ledger_begin(bool with_frozen)
{
    memset(&ledger, 0, sizeof ledger);
    ledger.with_frozen = with_frozen;
}

int sim_ledger_compare(struct sim_place_in_time a, struct sim_place_in_time b)
{
    if (a.term != b.term) return a.term < b.term ? -1 : 1;
    return a.step < b.step ? -1 : a.step > b.step;
}

void sim_ledger_begin_term(uint64_t term, uint64_t highest)
{
    if (term <= highest)
        sim_fail("terms: term %llu was given, after term %llu had been", (unsigned long long)term, (unsigned long long)highest);
    if (term > ledger.highest_term) ledger.highest_term = term;
}

uint64_t sim_ledger_save(uint64_t term, uint64_t step, uint64_t parent)
{
    if (ledger.attempts_count + 1 == SIM_MAX_ATTEMPTS || step >= SIM_MAX_STEPS) abort();
    ledger.attempts[++ledger.attempts_count] = (struct sim_attempt){
        .at = { term, step }, .parent = parent, .may_go = ledger.going[step] > 0, .may_lack_optimizer = ledger.stripping[step] > 0
    };
    return ledger.attempts_count;
}

uint64_t sim_ledger_find(uint64_t term, uint64_t step)
{
    struct sim_place_in_time at = { term, step };
    for (uint64_t i = ledger.attempts_count; i; i--)
        if (!sim_ledger_compare(ledger.attempts[i].at, at)) return i;
    return 0;
}

struct sim_place_in_time sim_ledger_newest(void)
{
    struct sim_place_in_time newest = { 0 };
    for (uint64_t i = 1; i <= ledger.attempts_count; i++)
        if (ledger.attempts[i].acknowledged && sim_ledger_compare(ledger.attempts[i].at, newest) > 0) newest = ledger.attempts[i].at;
    return newest;
}

/* A writer that was overtaken must not be told that it saved - unless whoever overtook it goes on from that very save or a later one. */
void sim_ledger_acknowledge(uint64_t number, const char *id)
{
    struct sim_attempt *attempt = &ledger.attempts[number];
    attempt->acknowledged = true;
    memcpy(attempt->id, id, sizeof attempt->id);
    sim_trace("ACKNOWLEDGED: attempt %llu, step %llu, term %llu", (unsigned long long)number, (unsigned long long)attempt->at.step,
              (unsigned long long)attempt->at.term);
    for (unsigned i = 0; i < ledger.restores_count; i++) {
        const struct sim_restored *restored = &ledger.restores[i];
        if (restored->writer_term > attempt->at.term && sim_ledger_compare(restored->at, attempt->at) < 0)
            sim_fail("fencing: step %llu of term %llu was acknowledged after term %llu had gone on from an older one",
                     (unsigned long long)attempt->at.step, (unsigned long long)attempt->at.term, (unsigned long long)restored->writer_term);
    }
}

void sim_ledger_restored(uint64_t writer_term, struct sim_place_in_time found, struct sim_place_in_time newest)
{
    if (sim_ledger_compare(found, newest) < 0)
        sim_fail("resume: step %llu of term %llu was restored, but step %llu of term %llu had been acknowledged",
                 (unsigned long long)found.step, (unsigned long long)found.term, (unsigned long long)newest.step,
                 (unsigned long long)newest.term);
    if (ledger.restores_count == SIM_MAX_RESTORES) abort();
    ledger.restores[ledger.restores_count++] = (struct sim_restored){ writer_term, found };
}

bool sim_ledger_descends(uint64_t number, uint64_t from, uint64_t *ret_distance)
{
    uint64_t distance = 0;
    for (; number && number != from; number = ledger.attempts[number].parent) distance++;
    *ret_distance = distance;
    return number == from;
}

/* Asked for by name; or somebody prunes, and there was a time when it was superseded or had enough newer ones on its line. */
bool sim_ledger_may_be_gone(uint64_t number)
{
    const struct sim_attempt *attempt = &ledger.attempts[number];
    if (attempt->may_go) return true;
    if (!ledger.keep_least) return false;
    for (uint64_t i = 1; i <= ledger.attempts_count; i++) {
        uint64_t distance;
        if (sim_ledger_compare(ledger.attempts[i].at, attempt->at) <= 0) continue;
        if (!sim_ledger_descends(i, number, &distance) || distance >= ledger.keep_least) return true;
    }
    return false;
}

void sim_ledger_keeps(uint32_t last)
{
    if (last && (!ledger.keep_least || last < ledger.keep_least)) ledger.keep_least = last;
}

void sim_ledger_ask_removal(uint64_t step)
{
    ledger.going[step]++;
    for (uint64_t i = 1; i <= ledger.attempts_count; i++) ledger.attempts[i].may_go |= ledger.attempts[i].at.step == step;
}

void sim_ledger_ask_drop(uint64_t step)
{
    ledger.stripping[step]++;
    for (uint64_t i = 1; i <= ledger.attempts_count; i++) ledger.attempts[i].may_lack_optimizer |= ledger.attempts[i].at.step == step;
}

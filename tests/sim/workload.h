/* One run of the simulated machine from a seed. */
#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

/* Random workload: writers, readers, pruners, taggers, crashes, cuts, stopped processes, clock jumps. false: a property failed; world.message. */
bool sim_workload(uint64_t seed, bool trace);
/* The same, but short and mean: a run of a few checkpoints, and all at once somebody goes back, another one takes over, others prune and tag - each of
 * them stopped again and again just before it changes a name. */
bool sim_duel(uint64_t seed, bool trace);

/* One operation with a cut at one point. */
struct sim_case;
extern const unsigned sim_cases_count;
const char *sim_case_name(unsigned index);
/* Runs a case; the power goes before its change number 1 + (cut - 1) / SIM_OUTCOMES, each time with another outcome; cut 0: it does not go.
 * *ret_changes: how many there were. */
enum { SIM_OUTCOMES = 3 };
bool sim_case_run(unsigned index, uint64_t seed, uint64_t cut, bool trace, uint64_t *ret_changes);

/* The same for a folder without a run; and for a save beside one whose saver was killed between its exchange and its sync. */
bool sim_folder_run(uint64_t seed, uint64_t cut, bool trace, uint64_t *ret_changes);
bool sim_beside_run(uint64_t seed, uint64_t cut, bool trace, uint64_t *ret_changes);
bool sim_rot_run(uint64_t seed, bool trace); /* a bit of a checkpoint flips */

#endif

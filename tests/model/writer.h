/* What the parts of a writer share: where it is, and what it knows of itself. */
#ifndef WRITER_H
#define WRITER_H

#include "model.h"

enum {
    OPEN = ASLEEP,
    D1_SYNC,
    LOOK_AROUND,
    EARLY_LIST,
    TAKE_NUMBER, /* T1 */
    LINK_NUMBER, /* T2 */
    SYNC_TERMS,  /* T3 */
    SWEEP,       /* T4 */
    SYNC_SWEPT,  /* T5 */
    CHECK_TAKEN, /* T6 */
    SWEEP_OPENING,
    EMPTY_OPENING,
    LIST,
    PICK,
    HOLD,
    READ,
    NEXT,
    STAGE, /* D2-D5 */
    LINK_DATA,
    LINK_AGAIN,
    SEAL,
    FREE_NAME, /* D6 */
    MOVE_ASIDE,
    FINISH_RETIRED,
    SYNC_FREED,    /* D7 */
    LIST_PRUNERS,  /* D8 */
    SWEEP_PRUNERS, /* D8 */
    CHECK_TERM,    /* D9 */
    COMMIT,        /* D10 */
    SYNC_RUN,      /* D11 */
    SYNC_STAGING,  /* D11 */
    TIDY_LIST,
    TIDY,
    EMPTY_SAVED
};

unsigned writer_self(const struct world *w, const struct actor *a); /* its number among those whose term files are apart */
const char *writer_plan(const struct world *w, const struct actor *a);
unsigned next_checkpoint(const struct world *w, const struct actor *a);
unsigned highest_in(const struct disk *disk, unsigned dir);
bool term_is_ours(const struct world *w, const struct actor *a);

void step_opening(struct world *w, struct actor *a); /* up to READ */
void step_saving(struct world *w, struct actor *a);  /* from STAGE */

#endif

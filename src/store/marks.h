/* Marks: what is put on a checkpoint after its commit - tags, pins, late metrics (docs/FORMAT.md, "Marks"). The whole set is a file marks.<g>.json in the
 * checkpoint's folder; the highest number counts. Any process may add one; nothing is lost when several do so at once. */
#ifndef CN_STORE_MARKS_H
#define CN_STORE_MARKS_H

#include "base/error.h"

int cn_marks_check_tag(const char *tag, cairn_error *err);     /* USAGE: could be taken for a step or a selector, or is not plain text */
int cn_marks_check_metric(const char *name, cairn_error *err); /* USAGE */

#endif

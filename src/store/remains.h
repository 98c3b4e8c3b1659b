/* What stands under a checkpoint's name and has no manifest. */
#ifndef CN_STORE_REMAINS_H
#define CN_STORE_REMAINS_H

#include "os/os.h"
#include "store/layout.h"

#define CN_REMAINS_LOST_TEXT CN_NAME_MANIFEST ": it is missing: put it back from a copy, or move the folder away"

enum cn_remains {
    CN_REMAINS_NONE,    /* nothing stands there any more, or something with a manifest does by now */
    CN_REMAINS_RETIRED, /* it was retired in place, or is empty: who removes it is not done, or died */
    CN_REMAINS_LOST,    /* a checkpoint of Cairn that has lost its manifest.json */
    CN_REMAINS_FOREIGN  /* another tool's folder, or no folder */
};

/* 0, or -errno where it cannot be told. */
int cn_remains_look(cn_file run_dir, const char *name, enum cn_remains *ret_remains);
/* The same of an open folder. CN_REMAINS_NONE: it has a manifest. */
int cn_remains_look_in(cn_file dir, enum cn_remains *ret_remains);

#endif

/* A checkpoint in a folder of its own, without a run: it is made under a hidden name beside the old one, then both names are exchanged. */
#include "model.h"

enum { STAGE = ASLEEP, REPLACE, SECOND_STEP, SYNC, REMOVE_OLD };
enum { NAME_HIDDEN = NAME_TARGET + 1, NAME_BETWEEN };

static void stage(struct world *w, struct actor *a)
{
    unsigned folder = FOLDERS + 1, manifest = FILES + 6 + MANIFEST, data = FILES + 6 + DATA;
    put_name(w, ROOT, NAME_HIDDEN, folder);
    put_name(w, folder, NAME_DATA, data);
    put_name(w, folder, NAME_MANIFEST, manifest);
    write_file(w, data);
    write_file(w, manifest);
    if (has_rule(w, X_WHOLE)) {
        sync_file(w, data);
        sync_file(w, manifest);
        sync_dir(w, folder);
    }
    w->quiet = false;
    note(w, "makes the new folder under a hidden name");
    go(a, REPLACE);
}

static void replace(struct world *w, struct actor *a)
{
    if (has_rule(w, X_ONE_STEP)) {
        note(w, "exchanges both names");
        exchange_names(w, ROOT, NAME_TARGET, NAME_HIDDEN);
        return go(a, SYNC);
    }
    note(w, "renames the old one away");
    (void)move_name(w, ROOT, NAME_TARGET, ROOT, NAME_BETWEEN);
    go(a, SECOND_STEP);
}

void step_replacer(struct world *w, struct actor *a)
{
    switch (a->pc) {
    case STAGE: return stage(w, a);
    case REPLACE: return replace(w, a);
    case SECOND_STEP:
        (void)move_name(w, ROOT, NAME_HIDDEN, ROOT, NAME_TARGET);
        (void)move_name(w, ROOT, NAME_BETWEEN, ROOT, NAME_HIDDEN);
        return go(a, SYNC);
    case SYNC:
        w->quiet = true;
        if (has_rule(w, X_SYNC)) sync_dir(w, ROOT);
        return go(a, REMOVE_OLD);
    default:
        note(w, "removes the old one");
        remove_files(w, FOLDERS, 0);
        remove_name(w, ROOT, NAME_HIDDEN);
        end(w, a, OK);
    }
}

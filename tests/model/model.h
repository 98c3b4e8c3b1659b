/* The protocol of docs/DURABILITY.md as a model: a disk, actors that take one step at a time in any order, and laws that hold in every state.
 *
 *   disk.c     folders and files: what is seen now, what is durable, what a power cut may keep
 *   catalog.c  what a listing of the run says: order, line, head
 *   writer.c, writer_open.c, writer_save.c, pruner.c, trash.c, marks.c, drop.c, reader.c, replacer.c, lease.c
 *              one actor or a part of one each; a step is a case, named after its rule
 *   laws.c     what must hold
 *   explore.c  every order of steps, kills and power cuts; the shortest way to a violation
 *   cases.c    the configurations and the rules left out
 *
 * A state is plain bytes: unused ones are zero, so that equal states are equal bytes. */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stdint.h>

enum { MAX_CHECKPOINTS = 10, MAX_ACTORS = 5, MAX_ENTRIES = 36, MAX_OPS = 14, MAX_MOVES = 3 };

/* ------------------------------------------------------------------------------------------------------------------ rules */

/* What can be left out of the protocol, one by one. */
#define RULES(X)                                                                                                                           \
    X(NO_RULE, "", "")                                                                                                                     \
    X(D1, "D1", "the folder above a new run is synced")                                                                                    \
    X(D2, "D2", "staging is synced after a folder is made in it")                                                                          \
    X(D3, "D3", "data files are synced")                                                                                                   \
    X(D4, "D4", "manifest.json is synced")                                                                                                 \
    X(D5, "D5", "the new checkpoint's folder is synced")                                                                                   \
    X(D6_ASIDE, "D6", "a superseded checkpoint makes room")                                                                                \
    X(D6_FENCED, "D6", "one of a higher term does not make room")                                                                          \
    X(D6_EXISTS, "D6", "one of our own line does not make room")                                                                           \
    X(D7, "D7", "the run folder is synced after the name was seen free")                                                                   \
    X(D8, "D8", "every pruner's folder is renamed away")                                                                                   \
    X(D9, "D9", "the term is still ours")                                                                                                  \
    X(D10_NAME, "D10", "the committing rename replaces nothing")                                                                           \
    X(D11_RUN, "D11", "the run folder is synced before the call returns")                                                                  \
    X(D11_STAGING, "D11", "staging is synced, too")                                                                                        \
    X(T1_STAGING, "T1", "the number is above those of staging folders")                                                                    \
    X(T1_MANIFESTS, "T1", "the number is above those of manifests")                                                                        \
    X(T2, "T2", "a number is taken by one writer alone")                                                                                   \
    X(T3, "T3", "terms/ is synced")                                                                                                        \
    X(T4, "T4", "older staging folders are moved away")                                                                                    \
    X(T5, "T5", "staging is synced after that")                                                                                            \
    X(T6_CHECK, "T6", "the term is still ours before anything is restored")                                                                \
    X(T6_LIST, "T6", "the run is listed for a restore after the term is taken")                                                            \
    X(T_KEPT, "T", "term files are never removed")                                                                                         \
    X(G_TWICE, "Reading", "a run is listed until a second listing shows nothing new")                                                      \
    X(G_RELIST, "Reading", "what went away while it was opened: list again")                                                               \
    X(G_COMPLETE, "Reading", "the default takes one with all that is bound")                                                               \
    X(G_LEASE, "Reading", "a writer holds what it resumed from")                                                                           \
    X(G_LOOK, "Reading", "a reader looks again after it has the lock")                                                                     \
    X(G_LEASE_READER, "Reading", "a reader takes the lock")                                                                                \
    X(N_FORWARD, "Going back", "a name once given up is not taken back by tidying")                                                        \
    X(S2, "S2", "a file is looked at before and through its link")                                                                         \
    X(S3, "S3", "the link is the pin")                                                                                                     \
    X(M1, "M1", "marks are synced before they get their number")                                                                           \
    X(M2, "M2", "a number is given to one change alone")                                                                                   \
    X(M3, "M3", "the highest file must hold the change")                                                                                   \
    X(M4, "M4", "the folder is synced before the call returns")                                                                            \
    X(M5, "M5", "older files go only then")                                                                                                \
    X(M_LEASE, "Marks", "the checkpoint is held while it is marked")                                                                       \
    X(M_UNREAD, "M5", "marks that cannot be read count as a pin")                                                                          \
    X(I1_LOCK, "I1", "nobody holds the checkpoint")                                                                                        \
    X(I1_HEAD, "I1", "not what a run resumes from")                                                                                        \
    X(I1_SYNC, "I1", "the run folder is synced between listing and acting")                                                                \
    X(I1_AGAIN, "I1", "the manifest is read again under the lock")                                                                         \
    X(I2, "I2", "the new manifest is synced before it gets its name")                                                                      \
    X(I3, "I3", "the folder is synced after that")                                                                                         \
    X(I4, "I4", "files go after the manifest that listed them")                                                                            \
    X(I1_WHOLE, "I1", "not the newest that is whole")                                                                                      \
    X(R1, "R1", "only what is whole counts as a survivor")                                                                                 \
    X(R1_COMPLETE, "R1", "only what has all its items counts as a survivor")                                                               \
    X(R1_WHOLE, "R1", "the newest such survivor stays")                                                                                    \
    X(R2_SYNC, "R2", "the run folder is synced between listing and acting")                                                                \
    X(R2_ORDER, "R2", "it is listed first, then synced")                                                                                   \
    X(R3_LOCK, "R3", "nobody holds the victim")                                                                                            \
    X(R3_LOOK, "R3", "the id is read again through the lock")                                                                              \
    X(R3_MARKS, "R3", "marks are read again through the lock")                                                                             \
    X(R3_UPGRADE, "R3", "the path is looked at again under the exclusive lock")                                                            \
    X(R4_PATH, "R4", "the rename into trash goes by path")                                                                                 \
    X(R5, "R5", "what was moved is looked at")                                                                                             \
    X(R6, "R6", "the run folder is synced before a file is unlinked")                                                                      \
    X(R7_SYNC, "R7", "the run folder is synced before leftovers go")                                                                       \
    X(R7_ORDER, "R7", "leftovers are listed first, then the folder is synced")                                                             \
    X(R7_NAME, "R7", "leftovers go only where name and id agree")                                                                          \
    X(R8_SYNC, "R8", "the folder is synced after manifest.json became retired.json")                                                       \
    X(R8_LAST, "R8", "retired.json goes last")                                                                                             \
    X(R8_FINISH, "R8", "who finishes it syncs the folder first")                                                                           \
    X(R8_GONE, "R8", "the files' removal is durable before retired.json goes")                                                             \
    X(R8_EMPTY, "R8", "an empty folder that is left is removed, not refused")                                                              \
    X(R8_OWN, "R8", "files go only where retired.json stands for manifest.json")                                                           \
    X(R_HEAD, "Retiring", "the newest and the head stay")                                                                                  \
    X(X_ONE_STEP, "One folder", "both names are exchanged in one step")                                                                    \
    X(X_SYNC, "One folder", "the folder above is synced before the old one goes")                                                          \
    X(A_WHOLE, "Disk", "a rename from folder to folder is kept or dropped as one")                                                         \
    X(X_WHOLE, "One folder", "everything is synced before the exchange")

#define NAME_RULE(name, number, text) name,
enum rule { RULES(NAME_RULE) RULES_COUNT };
#undef NAME_RULE

/* ------------------------------------------------------------------------------------------------------------------- disk */

/* Nodes are folders and files. Each has its number before it is made, so that the order of making things makes no difference. */
enum {
    NOTHING,
    ROOT,
    RUN,
    TERMS,
    STAGING,
    TRASH,
    FOLDERS = 8,                               /* of checkpoint c: FOLDERS + c */
    PRUNERS = FOLDERS + 16,                    /* of actor a, round r: PRUNERS + 3 * a + r */
    FILES = PRUNERS + 16,                      /* of checkpoint c: FILES + 6 * c + kind */
    TERM_FILES = FILES + 6 * MAX_CHECKPOINTS,  /* of actor a, its nth: TERM_FILES + 4 * a + n */
    MARKS = TERM_FILES + 4 * (MAX_ACTORS + 1), /* of actor a, its nth attempt */
    NODES = MARKS + 4 * MAX_ACTORS
};
enum kind { MANIFEST, DATA, ITEM_0, ITEM_1, MANIFEST_1, MANIFEST_2 };

/* Names. In RUN: 1..7 is checkpoint-N, others as made by aside() and its like. In TERMS: the number. In STAGING and a pruner's folder: the node. */
enum {
    NAME_OF_RUN = 1,
    NAME_TARGET, /* of a checkpoint without a run; beside the run, in ROOT */
    NAME_MANIFEST = 1,
    NAME_DATA,
    NAME_ITEM_0,
    NAME_ITEM_1,
    NAME_RETIRED,
    NAME_NEW_MANIFEST = 8, /* + actor */
    NAME_NEW_MARKS = 16,   /* + actor */
    NAME_MARKS = 32,       /* + generation */
    NAME_P = 0x100,        /* + node */
    NAME_X = 0x200,        /* + node */
    NAME_S = 0x300,        /* + node */
    NAME_ASIDE = 0x400,    /* + 16 * step + term */
    NAME_SUFFIX = 0x800    /* | name: the one with a suffix that nobody has */
};

struct entry {
    uint8_t dir, node; /* node NOTHING: the name goes */
    uint16_t name;
};

struct op { /* one rename is two changes that go together */
    struct entry change[2];
};

struct disk {
    uint8_t now_count, durable_count, ops_count, spare;
    struct entry now[MAX_ENTRIES], durable[MAX_ENTRIES]; /* sorted */
    struct op pending[MAX_OPS];
    uint64_t unsynced[3]; /* files whose content is in memory only */
    uint64_t lost[3];     /* files whose content a power cut took */
};

/* ----------------------------------------------------------------------------------------------------------------- actors */

enum role { NOBODY, WRITER, PRUNER, TAGGER, DROPPER, READER, REPLACER, EDITOR };
enum { ASLEEP = 0, ENDED = 255 }; /* of pc: not started; done or dead */
enum lease { FREE, SHARED, EXCLUSIVE };

struct hold { /* what an actor has opened */
    uint8_t folder, manifest, lease;
    uint8_t stage;
    uint16_t name;
};

struct move {
    uint16_t from, to;
};

struct writer {
    uint8_t plan, term, takes, term_used, base, saves, tries, back, listed;
    uint8_t moves;
    uint16_t gives_up, pruners, seen, seen_before;
    uint8_t halves_seen, upper_first;
    struct move move[MAX_MOVES];
};

struct pruner {
    uint8_t round, victims, at, moved;
    uint16_t name[MAX_MOVES];
    uint8_t victim[MAX_MOVES];
    uint8_t in_place;
};

struct marker {
    uint8_t generation, content, attempts, node, seen;
};

struct emptying {
    uint16_t folders, staged; /* bits: of PRUNERS, of FOLDERS */
    uint8_t stage, spare;
};

struct actor {
    uint8_t role, pc, outcome, spare;
    struct hold hold;
    struct emptying emptying;
    union {
        struct writer writer;
        struct pruner pruner;
        struct marker marker;
    };
};

enum outcome { OK, FENCED, EXISTS, GONE, FOREIGN, STUCK, LOCKED, USAGE, KILLED };

/* ------------------------------------------------------------------------------------------------------------------ state */

struct checkpoint {
    uint8_t step, term, parent; /* parent: its number + 1 */
    uint8_t flags;
};
enum { UNHEALTHY = 1, BROKEN = 2, UNREADABLE_MARKS = 4 };

struct state {
    struct disk disk;
    struct actor actor[MAX_ACTORS];
    struct checkpoint checkpoint[MAX_CHECKPOINTS];
    uint8_t marks_content[4 * MAX_ACTORS]; /* of node MARKS + i */
    uint8_t manifest_items[3];             /* items listed by MANIFEST, MANIFEST_1, MANIFEST_2 */
    uint8_t manifest_generation[3];
    uint8_t cuts;
    /* What was promised, and by whom: no actor sees it, the laws do. */
    uint8_t opened; /* the highest term whose take-over is complete */
    uint8_t marked; /* acknowledged marks of the case's target */
    uint8_t dropped;
    uint16_t acknowledged, doomed;
    uint16_t given_up[MAX_CHECKPOINTS]; /* what was acknowledged and is left behind, knowingly, by the line that begins with this one */
};

/* ------------------------------------------------------------------------------------------------------------------ cases */

struct plan {
    enum role role;
    const char *
        text; /* of a writer: s save, r save the same step again, u save an unhealthy one, b go back, n restore the newest again; of a pruner: 1 one round, one victim */
    uint8_t target; /* of others: which initial checkpoint; of a pruner: how many to keep, 0: rm of the oldest */
};

struct model_case {
    const char *name;
    struct plan plan[MAX_ACTORS];
    uint8_t initial, cuts;
    bool kills, no_locks, torn_listing, full_disk, fresh, no_terms, with_items, no_probe;
    uint8_t broken, unhealthy, bad_marks, thinned; /* bits of initial checkpoints; thinned: item 0 is dropped */
    bool may_be_away;                              /* what a pruner moved by mistake may lie in trash until R5 puts it back */
    bool links;                                    /* saves link the data of what they go on from */
    enum rule without, without_too;
    bool quick; /* part of the short form */
};

/* ------------------------------------------------------------------------------------------------------------------ world */

struct world {
    struct state s;
    const struct model_case *c;
    const char *violation;
    bool quiet; /* the step just taken looked at nothing of others and changed nothing that they see */
    bool probing, tracing;
    uint8_t choices, choice_at;
    uint8_t choice[24], choice_limit[24];
    char trace[240];
};

unsigned choose(struct world *w, unsigned count); /* 0 .. count - 1: each is explored */
void note(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void violate(struct world *w, const char *law);
bool has_rule(const struct world *w, enum rule rule);
void go(struct actor *a, int pc);
void end(struct world *w, struct actor *a, enum outcome outcome);
unsigned actor_index(const struct world *w, const struct actor *a);

/* disk.c */
int look(const struct disk *disk, unsigned dir, unsigned name);             /* the node, or NOTHING */
bool put_name(struct world *w, unsigned dir, unsigned name, unsigned node); /* false: the name is taken */
bool remove_name(struct world *w, unsigned dir, unsigned name);
enum moved { MOVED, NO_SOURCE, NAME_TAKEN };
enum moved move_name(struct world *w, unsigned dir, unsigned name, unsigned to_dir, unsigned to_name);
void put_over(struct world *w, unsigned dir, unsigned name, unsigned node);
void move_over(struct world *w, unsigned dir, unsigned name, unsigned to_dir, unsigned to_name);
void exchange_names(struct world *w, unsigned dir, unsigned name, unsigned other);
void sync_dir(struct world *w, unsigned dir); /* sets quiet when there was nothing to sync */
void write_file(struct world *w, unsigned node);
void sync_file(struct world *w, unsigned node);
bool is_lost(const struct disk *disk, unsigned node);
void cut_power(struct world *w);
void forget_durability(struct disk *disk);
unsigned first_name(const struct disk *disk, unsigned dir); /* 0: the folder is empty */
unsigned first_name_but(const struct disk *disk, unsigned dir, unsigned but);
void hide(struct disk *disk, unsigned dir, unsigned name); /* for a listing that misses it */
void put_durable(struct disk *disk, unsigned dir, unsigned name, unsigned node);
const char *show_name(unsigned dir, unsigned name);

/* catalog.c */
struct listing {
    uint8_t count, top, head; /* indexes + 1; 0: none */
    struct {
        uint16_t name;
        uint8_t checkpoint, current;
    } at[MAX_CHECKPOINTS]; /* by (term, step) */
};
bool is_checkpoint(unsigned node);
unsigned aside(const struct checkpoint *checkpoint);
bool comes_before(const struct state *s, unsigned c, unsigned d);
bool on_line(const struct state *s, unsigned end, unsigned c);
void list_run(const struct world *w, struct listing *ret);
bool is_whole(const struct world *w, unsigned c);                               /* what the quick check says */
bool is_complete(const struct world *w, unsigned c);                            /* no item was dropped */
bool is_survivor(const struct world *w, unsigned c);                            /* healthy, whole and complete */
unsigned newest_survivor(const struct world *w, const struct listing *listing); /* of the line: its index + 1; 0: none */
unsigned manifest_of(const struct disk *disk, unsigned folder);
unsigned name_in_run(const struct disk *disk, unsigned node); /* 0: none */
unsigned highest_marks(const struct disk *disk, unsigned folder);

/* lease.c */
bool take_lease(struct world *w, struct actor *a, enum lease lease);
bool is_held_by_others(const struct world *w, const struct actor *a, unsigned manifest, enum lease wanted);
enum holding { HOLDING, HELD, WENT_AWAY, BUSY };
enum holding open_held(struct world *w, struct actor *a, bool with_lease, bool with_look);
void let_go(struct actor *a);

/* trash.c */
bool sweep_trash(struct world *w);                   /* pruners' folders are renamed away, one a step; true: done */
bool empty_trash(struct world *w, struct actor *a);  /* true: done */
bool finish_retired(struct world *w, unsigned name); /* true: done */
void remove_files(struct world *w, unsigned folder, unsigned but);
bool is_retired(const struct world *w, unsigned folder);

void step_writer(struct world *w, struct actor *a);
void step_pruner(struct world *w, struct actor *a);
void step_tagger(struct world *w, struct actor *a);
void step_dropper(struct world *w, struct actor *a);
void step_reader(struct world *w, struct actor *a);
void step_replacer(struct world *w, struct actor *a);
void step_editor(struct world *w, struct actor *a);

/* laws.c */
void check_laws(struct world *w);
void on_restored(struct world *w, struct actor *a, unsigned c, bool default_choice);
void on_committed(struct world *w, struct actor *a, unsigned c);
void on_acknowledged(struct world *w, unsigned c);
void on_retired(struct world *w, struct actor *a, unsigned c);
void on_cut(struct world *w);
void on_unlinking(struct world *w, unsigned folder);
void clear_probes(void);

/* explore.c */
struct result {
    uint64_t states, steps;
    double seconds;        /* of the processor */
    const char *violation; /* NULL: none */
    unsigned length;
    bool truncated;
};
void explore(const struct model_case *c, bool show_trace, uint64_t max_states, struct result *ret);
void begin_case(struct world *w, const struct model_case *c);

/* cases.c */
extern const struct model_case configurations[];
extern const unsigned configurations_count;

struct mutant { /* without this rule the configuration must have a violation */
    enum rule rule, rule_too;
    const char *configuration;
    const char *note; /* printed behind it */
    bool slow;        /* not part of the short form */
};
extern const struct mutant mutants[];
extern const unsigned mutants_count;

struct unseen { /* a rule whose absence no configuration shows */
    enum rule rule;
    const char *why;
};
extern const struct unseen unseen[];
extern const unsigned unseen_count;

#endif

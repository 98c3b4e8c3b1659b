/*
 * cairn.h - save, keep and bring back the state of a training run.
 *
 * CAVEATS, first
 *  - Linux only. Tensors are row-major and little endian, as safetensors wants them.
 *  - step means optimizer steps COMPLETED. After step 0's update the step is 1.
 *  - One process writes a run. A second one gets CAIRN_E_LOCKED, or CAIRN_E_FENCED at its next save if it was overtaken.
 *  - A run belongs to the process that opened it: a forked child that uses it gets CAIRN_E_FORKED, and its end touches nothing.
 *  - Bound memory must stay valid, and must not be written by others, until a save is staged or a restore has returned.
 *  - After CAIRN_E_TORN_STATE the bound memory is a mixture: restore again, or stop. Never train on it.
 *  - Files in a checkpoint may be shared between checkpoints. Never edit one in place.
 *
 * THE SHORT OF IT
 *      cairn_state *state;   cairn_run *run;   cairn_error err;   cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
 *      cairn_state_new(&state, &err);                                      (each result is to be looked at: what failed is not bound)
 *      cairn_state_bind_tensor(state, "model", &weights, &err);            (once per tensor)
 *      cairn_state_bind_i64(state, "data", "position", &position, &err);   (once per value)
 *      cairn_run_open("ckpts/gpt-small", NULL, &run, &err);
 *      cairn_restore(run, state, NULL, &report, &err);                     (report.step is 0 in a new run)
 *      for (step = report.step; step < steps;) {
 *          train(); step++;
 *          if (step % 100 == 0) { cairn_save_options o = CAIRN_SAVE_OPTIONS_INIT; o.step = step; cairn_save(run, state, &o, NULL, &err); }
 *      }                                                                (it returns when staged and goes on behind; see cairn_save_mode)
 *      cairn_run_close(run, &err);   cairn_state_free(state);
 *
 * RULES OF EVERY CALL
 *  - Returns CAIRN_OK (0) or a negative CAIRN_E_ code. err is the last argument, is owned by the caller and may be NULL; on
 *    failure it holds one line that names the object and what to do. Out-parameters are set on success and untouched on failure
 *    (but cairn_verify fills its report with what it found).
 *  - What a call takes is copied, unless it says that it keeps or owns it. What a getter returns belongs to the handle it was asked of, and
 *    lives as long as that handle is open.
 *  - Options structs start with struct_size; initialise them with their INIT macro (zero means the default).
 *  - The library never prints, never exits, installs no signal handler and has no global state but the kernel-forced lock table.
 *
 * THREADS
 *  - Calls on different handles may run at the same time. Calls on one handle must not, except cairn_run_status(), cairn_run_cancel(),
 *    cairn_run_request_save(), cairn_run_request_stop(), cairn_run_should_stop() and everything that takes a const cairn_checkpoint or a
 *    const cairn_value, which any thread may call at any time. The two requests may come from a signal handler, too.
 *  - A state may be bound further, set, or freed while a save of it runs: the save has what it took.
 *  - Callbacks run on the calling thread or on one of the library's, and must not call into the same handle. fetch and store callbacks may
 *    be called by several threads at once, for different ranges; all others one at a time.
 */
/* Laid out by hand, for this is the manual. */
/* clang-format off */
#ifndef CAIRN_H
#define CAIRN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CAIRN_API __attribute__((visibility("default")))
#else
#define CAIRN_API
#endif

#define CAIRN_VERSION_MAJOR 0
#define CAIRN_VERSION_MINOR 1
#define CAIRN_VERSION_PATCH 0
#define CAIRN_VERSION_STRING "0.1.0"

/* The version of the library that runs, "0.1.0"; compare with CAIRN_VERSION_STRING, what was compiled against. */
CAIRN_API const char *cairn_version(void);

/* ------------------------------------------------------------------------------------------------------------- errors */

enum {
    CAIRN_OK = 0,
    /* what was read is not as it must be */
    CAIRN_E_FORMAT = -1,      /* malformed */
    CAIRN_E_TRUNCATED = -2,   /* ends too early */
    CAIRN_E_LIMIT = -3,       /* larger than this library agrees to handle */
    CAIRN_E_UNSUPPORTED = -4, /* well formed, but a kind we do not know; named in the message */
    CAIRN_E_UNSAFE = -5,      /* would run code or escape */
    CAIRN_E_CORRUPT = -6,     /* bytes differ from their digest */
    CAIRN_E_PATH = -7,        /* a name that must not be used as a file name */
    /* the caller's mistake */
    CAIRN_E_USAGE = -8,
    /* could not be done */
    CAIRN_E_IO = -9,
    CAIRN_E_NOSPACE = -10,
    CAIRN_E_NOTFOUND = -11,
    CAIRN_E_EXISTS = -12,
    CAIRN_E_FOREIGN = -13,     /* a folder of another tool is in the way */
    CAIRN_E_VERSION = -14,     /* written by a newer format */
    CAIRN_E_MISMATCH = -15,    /* dtype or shape of a leaf differs, or a leaf is missing; a tag is missing */
    CAIRN_E_LOCKED = -16,      /* another live process writes this run */
    CAIRN_E_FENCED = -17,      /* another process has taken the run over */
    CAIRN_E_GONE = -18,        /* removed while we looked at it: list again */
    CAIRN_E_FORKED = -19,      /* this handle belongs to the parent process */
    CAIRN_E_TORN_STATE = -20,  /* a restore failed half-way: the bound memory is a mixture */
    CAIRN_E_EARLY_WRITE = -21, /* somebody wrote into the state while it was captured */
    CAIRN_E_CANCELLED = -22,
    CAIRN_E_NOMEM = -23
};

/* The code's name without its prefix: "CORRUPT". "OK" for 0, "UNKNOWN" for what is no code. */
CAIRN_API const char *cairn_code_name(int code);

#define CAIRN_MESSAGE_BYTES 1024
#define CAIRN_NO_OFFSET UINT64_MAX

typedef struct cairn_error {
    int code;      /* CAIRN_E_..., 0 while nothing failed */
    int os_errno;  /* errno of the failed system call, else 0 */
    uint64_t offset; /* byte position in the named file, else CAIRN_NO_OFFSET */
    int cause;     /* of a restore's TORN_STATE: the code that it failed with half-way, CAIRN_E_CORRUPT say; else 0 */
    char message[CAIRN_MESSAGE_BYTES]; /* one line, UTF-8, names from files escaped; NUL-terminated */
} cairn_error;

#define CAIRN_ERROR_INIT { 0, 0, UINT64_MAX, 0, { 0 } }

/* ------------------------------------------------------------------------------------------------------------- tensors */

/* Every dtype of safetensors 0.8, named as in the file. Sub-byte dtypes are packed; shapes are logical element counts. */
typedef enum cairn_dtype {
    CAIRN_DTYPE_NONE = 0,
    CAIRN_BOOL, CAIRN_F4, CAIRN_F6_E2M3, CAIRN_F6_E3M2, CAIRN_U8, CAIRN_I8, CAIRN_F8_E5M2, CAIRN_F8_E4M3, CAIRN_F8_E8M0,
    CAIRN_F8_E4M3FNUZ, CAIRN_F8_E5M2FNUZ, CAIRN_I16, CAIRN_U16, CAIRN_F16, CAIRN_BF16, CAIRN_I32, CAIRN_U32, CAIRN_F32,
    CAIRN_C64, CAIRN_F64, CAIRN_I64, CAIRN_U64,
    CAIRN_DTYPE_COUNT
} cairn_dtype;

CAIRN_API const char *cairn_dtype_name(cairn_dtype dtype); /* "BF16"; "?" for what is no dtype */
CAIRN_API uint32_t cairn_dtype_bits(cairn_dtype dtype);    /* bits of one element; 0 for what is no dtype */

#define CAIRN_MAX_RANK 64

/* What a leaf is for. No flag: a buffer, counted but never judged. */
enum {
    CAIRN_TRAINABLE = 1u << 0, /* NaN or Inf in it makes a checkpoint unhealthy; missing at a restore is an error */
    CAIRN_FROZEN = 1u << 1,    /* does not change; grouped apart, so that its file can be shared between checkpoints, from 1 MiB on */
    CAIRN_OPTIMIZER = 1u << 2, /* judged and required like TRAINABLE */
    CAIRN_VOLATILE = 1u << 3,  /* changes outside the optimizer step (RNG, data position, running statistics) */
    CAIRN_FRESH = 1u << 4,     /* holds nothing yet: a restore may put bytes there before they are checked. Quicker where address and size are whole pages
                                  of 4096 bytes. Not stored */
    CAIRN_DEFERRED = 1u << 5   /* its bytes are under way to where the caller does not change them, as a copy of a device's memory is: fetch waits for
                                  them. A lazy save returns before them, whatever their size, and looks for no early write there. Not stored */
};

/* Copies bytes [offset, offset + size) of the tensor to destination. Returns 0, or non-zero to fail the save. */
typedef int (*cairn_fetch_fn)(void *user, uint64_t offset, size_t size, void *destination);
/* Takes bytes [offset, offset + size) of the tensor from source. Returns 0, or non-zero to fail the restore. */
typedef int (*cairn_store_fn)(void *user, uint64_t offset, size_t size, const void *source);

/* One tensor to bind. name and shape are copied. Either address, or fetch and store (for memory that has no address). */
typedef struct cairn_tensor {
    size_t struct_size;
    const char *name; /* UTF-8, at most 1023 bytes. Outside item "model": path parts joined by '/', '~' and '/' in them written ~0 ~1 */
    cairn_dtype dtype;
    uint32_t rank; /* 0 is a scalar: one element */
    const uint64_t *shape; /* rank extents, in elements; any may be 0 */
    uint32_t flags;        /* CAIRN_TRAINABLE ... */
    void *address;         /* first byte; may be NULL for an empty tensor */
    cairn_fetch_fn fetch;
    cairn_store_fn store;
    void *user;
    const uint64_t *generation; /* a counter that you raise whenever the tensor changes (torch's _version), or NULL. It may make a lazy save
                                   fail with EARLY_WRITE; it never skips work. Must stay valid like address */
} cairn_tensor;
#define CAIRN_TENSOR_INIT { sizeof(cairn_tensor), NULL, CAIRN_DTYPE_NONE, 0, NULL, 0, NULL, NULL, NULL, NULL, NULL }

/* -------------------------------------------------------------------------------------------------------------- values */

/* A tree of plain values. Strings are UTF-8. A tree has one owner: adding a value to a list or map gives it away. A state takes it if it is at most 62
 * levels deep, the parts of its name counted in, and each text is a key of a map once. A list is a level, so is a map of plain text keys; a tuple, a
 * type tag and what JSON has no form for take one more, a map of other keys two. */
typedef struct cairn_value cairn_value;
typedef enum cairn_kind {
    CAIRN_NULL, CAIRN_BOOLEAN, CAIRN_INT, CAIRN_BIG_INT, CAIRN_FLOAT, CAIRN_STRING, CAIRN_BYTES, CAIRN_LIST, CAIRN_TUPLE, CAIRN_MAP,
    CAIRN_TENSOR_REF
} cairn_kind;

/* Constructors return NULL only when memory ran out. What is given is copied. */
CAIRN_API cairn_value *cairn_value_null(void);
CAIRN_API cairn_value *cairn_value_bool(int truth);
CAIRN_API cairn_value *cairn_value_int(int64_t number);
CAIRN_API cairn_value *cairn_value_big_int(const char *decimal); /* "-123...": any size; NULL also if it is no number */
CAIRN_API cairn_value *cairn_value_float(double number);         /* kept bit for bit, NaN payloads too */
CAIRN_API cairn_value *cairn_value_string(const char *text, size_t size_bytes);
CAIRN_API cairn_value *cairn_value_bytes(const void *data, size_t size_bytes);
CAIRN_API cairn_value *cairn_value_list(void);
CAIRN_API cairn_value *cairn_value_tuple(void);
CAIRN_API cairn_value *cairn_value_map(void);
CAIRN_API void cairn_value_free(cairn_value *value);

/* Add to a list, tuple or map. They take item (and key) over in any case and return 0, or a code if value is of another
 * kind, item is NULL or memory ran out. Setting a string key that exists replaces it. Only these leave item (and key) to whoever had them: USAGE,
 * it was given away already or value lies in it; LIMIT: value lies deeper than can be saved. */
CAIRN_API int cairn_value_append(cairn_value *value, cairn_value *item);
CAIRN_API int cairn_value_set(cairn_value *value, const char *key, cairn_value *item);
CAIRN_API int cairn_value_set_pair(cairn_value *value, cairn_value *key, cairn_value *item);
/* A type tag that is stored and given back, and not interpreted ("OrderedDict"). */
CAIRN_API int cairn_value_set_tag(cairn_value *value, const char *tag);

/* Reading. Every one of these takes NULL (which is of kind CAIRN_NULL), and gives 0 or NULL for a value of another kind. What they point to
 * lives until the tree is changed or freed. */
CAIRN_API cairn_kind cairn_value_kind(const cairn_value *value);
CAIRN_API const char *cairn_value_tag(const cairn_value *value); /* NULL: none */
CAIRN_API int cairn_value_get_bool(const cairn_value *value);
CAIRN_API int64_t cairn_value_get_int(const cairn_value *value);
CAIRN_API double cairn_value_get_float(const cairn_value *value); /* an INT, too */
/* STRING, BYTES, BIG_INT (decimal), TENSOR_REF (tensor name): the bytes, NUL-terminated besides; NULL for another kind. */
CAIRN_API const char *cairn_value_get_data(const cairn_value *value, size_t *ret_size_bytes);
CAIRN_API size_t cairn_value_count(const cairn_value *value); /* entries of a list, tuple or map */
CAIRN_API const cairn_value *cairn_value_at(const cairn_value *value, size_t index);
CAIRN_API const cairn_value *cairn_value_key_at(const cairn_value *value, size_t index);
CAIRN_API const cairn_value *cairn_value_find(const cairn_value *value, const char *key); /* NULL: no such string key */

/* --------------------------------------------------------------------------------------------------------------- state */

/* What is saved and restored: leaves under items. One description serves both. An item's name is
 * [A-Za-z0-9_][A-Za-z0-9_.-]{0,63}, not "state", "tensors" or "provenance". Item "model" is what model loaders read. */
typedef struct cairn_state cairn_state;

CAIRN_API int cairn_state_new(cairn_state **ret_state, cairn_error *err);
CAIRN_API void cairn_state_free(cairn_state *state);

/* USAGE: unknown dtype, a name given twice or both to a leaf and to a folder of leaves ("a" beside "a/b"; names of item "model" are no paths), bits of
 * a sub-byte tensor that fill no whole bytes. LIMIT: sizes that overflow, a name that is too long or has more than 32 parts. */
CAIRN_API int cairn_state_bind_tensor(cairn_state *state, const char *item, const cairn_tensor *tensor, cairn_error *err);
/* name becomes a second reference to tensor target of the same item; bytes are stored once. */
CAIRN_API int cairn_state_bind_alias(cairn_state *state, const char *item, const char *name, const char *target, cairn_error *err);
CAIRN_API int cairn_state_bind_i64(cairn_state *state, const char *item, const char *name, int64_t *value, cairn_error *err);
CAIRN_API int cairn_state_bind_u64(cairn_state *state, const char *item, const char *name, uint64_t *value, cairn_error *err);
CAIRN_API int cairn_state_bind_f64(cairn_state *state, const char *item, const char *name, double *value, cairn_error *err);
CAIRN_API int cairn_state_bind_bool(cairn_state *state, const char *item, const char *name, int *value, cairn_error *err);
/* Sets or replaces a value tree; the state owns it from then on, also on failure, but for a value that was given away already (USAGE). A restore
 * replaces it. USAGE: text that is not UTF-8, a key twice in a map; LIMIT: nested too deeply. */
CAIRN_API int cairn_state_set_value(cairn_state *state, const char *item, const char *name, cairn_value *value, cairn_error *err);
/* The tree now held, NULL if there is none; valid until it is set again, restored or the state is freed. */
CAIRN_API const cairn_value *cairn_state_get_value(const cairn_state *state, const char *item, const char *name);
/* Item option: the stem of its file name instead of the item's name ("adapter_model"). It is not split into shards. */
CAIRN_API int cairn_state_set_file_stem(cairn_state *state, const char *item, const char *stem, cairn_error *err);

/* ----------------------------------------------------------------------------------------------------------------- run */

typedef struct cairn_run cairn_run;

typedef enum cairn_io_mode { CAIRN_IO_AUTO = 0, CAIRN_IO_DIRECT, CAIRN_IO_BUFFERED } cairn_io_mode;
typedef enum cairn_phase {
    CAIRN_PHASE_IDLE = 0, CAIRN_PHASE_STAGING, CAIRN_PHASE_WRITING, CAIRN_PHASE_COMMITTING, CAIRN_PHASE_DURABLE, CAIRN_PHASE_FAILED,
    CAIRN_PHASE_ABANDONED, CAIRN_PHASE_RESTORING
} cairn_phase;

/* Figures of the job that runs, or of the last one. written_bytes / elapsed_ns is its speed. */
typedef struct cairn_status {
    size_t struct_size;
    cairn_phase phase;      /* STAGING: must not be modified yet; WRITING: staged, the job goes on behind */
    uint64_t step;
    uint64_t total_bytes;   /* tensor bytes of the job */
    uint64_t staged_bytes;  /* copied into the arena; while restoring: read */
    uint64_t written_bytes; /* handed to the disk; while restoring: stored in the caller's memory */
    uint64_t linked_bytes;  /* of files that did not change and were linked instead */
    uint64_t stall_ns;      /* how long the job held the caller: in the save, in fences, in waits for it */
    uint64_t elapsed_ns;
    uint64_t saves_done;    /* DURABLE since the run was opened */
    uint64_t saves_failed;
    uint64_t term;
    uint64_t arena_bytes;   /* as it is now */
    int warnings;           /* messages given so far */
} cairn_status;
#define CAIRN_STATUS_INIT { sizeof(cairn_status), CAIRN_PHASE_IDLE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

struct cairn_save_report;

typedef void (*cairn_progress_fn)(void *user, const cairn_status *status); /* about ten times a second, and at the end */
typedef void (*cairn_message_fn)(void *user, const char *message);         /* a warning: one line */
typedef void (*cairn_committed_fn)(void *user, const struct cairn_save_report *report); /* a checkpoint is durable */
/* Asked when all that a lazy save stages late is staged, before the fence opens: NULL, or the name of a tensor that was written to since the save, which
 * then fails with EARLY_WRITE. The name must live until the next call. */
typedef const char *(*cairn_written_fn)(void *user);

typedef struct cairn_run_options {
    size_t struct_size;
    int take_over;           /* non-zero: do not mind a live writer's lock; the other one is fenced */
    uint32_t keep_last;      /* after each save keep the newest N checkpoints, as cairn_keep does; 0, and keep_best 0, keeps all */
    const char *best_metric; /* the symlink `best` follows this metric: of two that are as good it leads to the newer one */
    int best_is_max;         /* non-zero: larger is better */
    cairn_io_mode io_mode;
    uint32_t io_threads;     /* writers, or readers of a restore: 1..16; 0: 8 where the caller waits for them, else 4. 1: one thread does all */
    uint64_t arena_bytes;    /* what the arena may take; 0: as much as the state needs, within half of the free memory; DEFERRED tensors, which nobody
                                waits for, pass through 16 pieces. It has 3 pieces at least, each of piece_bytes and 8 KiB */
    uint64_t piece_bytes;    /* 4 MiB (0) or 16 MiB */
    uint64_t shard_bytes;    /* a larger item is split into shards; 0: 5,000,000,000 */
    cairn_message_fn message;
    cairn_progress_fn progress;
    cairn_committed_fn committed;
    void *user; /* for these callbacks */
    int check_early_writes; /* non-zero: lazy saves digest everything at the save and again before the fence opens: for tests, and for whoever
                               is not sure where the first write after a save is. Slow */
    uint32_t keep_best;        /* after each save keep the best K by best_metric, too, as cairn_keep does; 0: only what `best` leads to. With
                                  keep_last 0 nothing is removed before the metric is known */
    uint64_t save_every_steps; /* for cairn_run_is_due: when a multiple of it was crossed; 0: not by steps */
    uint64_t save_every_ms;    /* or when the last save began, or the run was opened, so long ago; 0: not by time */
    cairn_written_fn written;  /* for counters of changes that have no address; may be NULL */
} cairn_run_options;
#define CAIRN_RUN_OPTIONS_INIT { sizeof(cairn_run_options), 0, 0, NULL, 0, CAIRN_IO_AUTO, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 0, 0, 0, 0, NULL }

/* Opens a run for writing; the last part of path is the run's name, the folder above it the store. Both are made if missing.
 * LOCKED: another process writes it. VERSION: a newer format. FOREIGN: holds another tool's checkpoint-N folders.
 * USAGE: a new run called latest, best, checkpoint-... or .something, with an '@' or a control character in its name, or not in UTF-8; keep_best without
 * best_metric. */
CAIRN_API int cairn_run_open(const char *path, const cairn_run_options *options, cairn_run **ret_run, cairn_error *err);
/* Makes the arena for saves of this state behind the caller's back, so that the first save does not have to. May be called again when the state has
 * grown. Waits for a save that runs, and returns what an earlier one failed with, as cairn_save does. */
CAIRN_API int cairn_run_reserve(cairn_run *run, const cairn_state *state, cairn_error *err);
/* Waits for the save that may still run and gives the run back. Its failure, or that of an earlier one not told yet, is returned - the run is closed
 * all the same. Takes NULL. */
CAIRN_API int cairn_run_close(cairn_run *run, cairn_error *err);
CAIRN_API int cairn_run_status(const cairn_run *run, cairn_status *ret_status); /* any thread */
CAIRN_API void cairn_run_cancel(cairn_run *run); /* any thread: the save or restore now running ends with CANCELLED, nothing is lost */

/* Is a save of this step due? To be asked after every step, or as often as you like: by steps it is due where a multiple of save_every_steps lies behind
 * the step asked about before - or saved, or restored - and not behind this one: 998, then 1003 is due with 500, 1004 is not again. By time, and when a
 * save or a stop was requested, it stays due until a save begins. A step that is saved, or of which a save has begun, never is. Asking twice about one
 * step gives the same answer. Saving when nothing is due is fine. *ret_due: non-zero, or 0. USAGE: a step of 2^63 or more. */
CAIRN_API int cairn_run_is_due(cairn_run *run, uint64_t step, int *ret_due, cairn_error *err);
/* Any thread, or a signal handler: the next save is due at once. It takes the request back when it begins. */
CAIRN_API void cairn_run_request_save(cairn_run *run);
/* Any thread, or a signal handler: training is to end with a save. The next step that is not saved yet is due, and cairn_run_should_stop says yes once
 * that save has begun, even if it then fails - or once cairn_run_is_due was asked about a step that is saved already. */
CAIRN_API void cairn_run_request_stop(cairn_run *run);
CAIRN_API int cairn_run_should_stop(const cairn_run *run); /* any thread: non-zero until the run is closed */

typedef struct cairn_metric {
    const char *name; /* at most 255 bytes */
    double value;
} cairn_metric;

/* A file to lie beside the weights: config.json, tokenizer.json. From a path, or from memory when path is NULL. */
typedef struct cairn_attachment {
    const char *name; /* relative, plain parts, not one of our own names */
    const char *path;
    const void *data;
    size_t size_bytes;
} cairn_attachment;

/* When cairn_save returns. In each mode the bound memory must not be modified before the bytes are staged. */
typedef enum cairn_save_mode {
    CAIRN_SAVE_EAGER = 0, /* when staged: the bytes are safe from the caller, writing goes on behind */
    CAIRN_SAVE_SYNC,      /* when durable */
    CAIRN_SAVE_LAZY       /* at once: values, VOLATILE tensors and those under 64 KiB are copied, the others - and DEFERRED ones - are staged behind.
                             Call cairn_fence before the first change. A change before that makes the save fail with EARLY_WRITE */
} cairn_save_mode;

/* What to do when the save before still runs. */
typedef enum cairn_if_running {
    CAIRN_IF_RUNNING_WAIT = 0,
    CAIRN_IF_RUNNING_SKIP,    /* do nothing; report.skipped says so */
    CAIRN_IF_RUNNING_REPLACE, /* give the earlier one up if it is not staged yet and was not itself a replacement; else wait */
    CAIRN_IF_RUNNING_ERROR    /* LOCKED */
} cairn_if_running;

typedef struct cairn_save_options {
    size_t struct_size;
    uint64_t step; /* optimizer steps completed, below 2^63; beyond the line's last */
    cairn_save_mode mode;
    cairn_if_running if_running;
    double epoch;
    int inexact; /* non-zero: saved on an exception; taken at a restore only by name */
    const cairn_metric *metrics;
    size_t metrics_count; /* at most 1,000 */
    const cairn_attachment *attachments;
    size_t attachments_count; /* at most 100,000; all names of a checkpoint within 1 MiB */
    const char *const *tags;
    size_t tags_count;
    const char *config; /* text kept in provenance.json: the hyperparameters, as JSON or any text */
} cairn_save_options;
#define CAIRN_SAVE_OPTIONS_INIT { sizeof(cairn_save_options), 0, CAIRN_SAVE_EAGER, CAIRN_IF_RUNNING_WAIT, 0.0, 0, NULL, 0, NULL, 0, NULL, 0, NULL }

/* From a sync save, and to the committed callback: whole. From an eager or lazy save: step, term and total_bytes; the rest is not known yet. */
typedef struct cairn_save_report {
    size_t struct_size;
    uint64_t step, term;
    uint64_t total_bytes;   /* tensor bytes in the checkpoint */
    uint64_t written_bytes; /* of data files, this save */
    uint64_t linked_bytes;  /* of data files that did not change and are hard links to the last checkpoint's */
    uint64_t elapsed_ns;    /* call to durable */
    int skipped;            /* non-zero: nothing was saved (CAIRN_IF_RUNNING_SKIP) */
    int healthy;            /* 0: NaN or Inf in TRAINABLE or OPTIMIZER leaves */
    char name[64];          /* "checkpoint-1200" */
    char id[33];
} cairn_save_report;
#define CAIRN_SAVE_REPORT_INIT { sizeof(cairn_save_report), 0, 0, 0, 0, 0, 0, 0, 0, { 0 }, { 0 } }

/* Saves state as a checkpoint. When it is durable it survives kill -9 and a power cut. What fails behind the caller's back is returned, once, by the
 * next call on the run - save, reserve, fence, wait, restore or close -, which then does nothing else (close closes). The state may be freed while its save
 * runs.
 * EXISTS: the step is there. FENCED: another writer took over. NOSPACE: says the bytes missing; nothing is lost.
 * USAGE: the run holds checkpoints and was not restored from, or the step is not beyond the line's last. */
CAIRN_API int cairn_save(cairn_run *run, cairn_state *state, const cairn_save_options *options, cairn_save_report *ret_report,
                         cairn_error *err);

/* Returns when the bytes of the save that runs are staged: the caller may modify the state again. At once if none runs. */
CAIRN_API int cairn_fence(cairn_run *run, cairn_error *err);
/* Returns when the save that runs is durable or has failed. */
CAIRN_API int cairn_wait(cairn_run *run, cairn_error *err);

/* Appends a row to the run's metrics.jsonl; the metrics of every save are added by themselves. Rows of a new term wait in memory for its first
 * checkpoint: a crash before that resumes the old head, and its rows must stand. USAGE: a step of 2^63 or more. LIMIT: more than 1,000 metrics. */
CAIRN_API int cairn_log(cairn_run *run, uint64_t step, const cairn_metric *metrics, size_t metrics_count, cairn_error *err);
/* Calls each for every row that counts, in the order they were reported: what a run went back from is left out. *ret_ignored (may be NULL): lines that
 * are torn or damaged. A non-zero return of each stops and is returned. */
CAIRN_API int cairn_metrics_read(const char *run_path, int (*each)(void *user, uint64_t step, uint64_t term, const cairn_metric *metrics, size_t count),
                                 void *user, uint64_t *ret_ignored, cairn_error *err);

#define CAIRN_STEP_DEFAULT UINT64_MAX /* the newest healthy and exact one that passes the quick check */

struct cairn_checkpoint;
/* Which state to fill from a checkpoint that is tried: so that a caller binds what that one holds. Asked before anything of it is matched, for an older one
 * again where a newer one is damaged. The states must live, and stay as they are, until the call has returned. Another code than CAIRN_OK counts like the
 * library's own of that checkpoint: MISMATCH where it does not fit, CANCELLED to end the call; err is never NULL. CAIRN_OK without a state: CANCELLED. */
typedef int (*cairn_state_for_fn)(void *user, const struct cairn_checkpoint *checkpoint, cairn_state **ret_state, cairn_error *err);

typedef struct cairn_restore_options {
    size_t struct_size;
    uint64_t step;              /* a step of the current line, or CAIRN_STEP_DEFAULT */
    int allow_missing;          /* non-zero: TRAINABLE and OPTIMIZER leaves that the checkpoint lacks stay as they are */
    const char *const *items;   /* only these items; NULL: all that are bound */
    size_t items_count;
    cairn_state_for_fn state_for; /* NULL: the state given is filled */
    void *user;                   /* for it, and for progress */
    void (*progress)(void *user, uint64_t done_bytes, uint64_t total_bytes); /* of cairn_load: when it begins to read, about ten times a second, and
                                                                                when all is there; on the caller's thread. A run has its own */
} cairn_restore_options;
#define CAIRN_RESTORE_OPTIONS_INIT { sizeof(cairn_restore_options), UINT64_MAX, 0, NULL, 0, NULL, NULL, NULL }

typedef enum cairn_outcome {
    CAIRN_RESTORED = 0,
    CAIRN_MISSING,    /* bound, required, not in the checkpoint (only with allow_missing) */
    CAIRN_UNEXPECTED, /* in the checkpoint, not bound: a tensor, or a value; a tree of values in which nothing is bound is one */
    CAIRN_CONVERTED,  /* (later) another dtype, cast */
    CAIRN_NEW,        /* bound, not required, not in the checkpoint: left as it was */
    CAIRN_SKIPPED,    /* excluded by the options */
    CAIRN_OUTCOME_COUNT
} cairn_outcome;

/* Told once per leaf of a finished restore. */
typedef struct cairn_restore_report {
    size_t struct_size;
    int fresh; /* non-zero: the run holds no checkpoint; nothing was touched, step is 0 */
    uint64_t step, term;
    double epoch;
    char name[64];
    char id[33];
    uint64_t counts[CAIRN_OUTCOME_COUNT];
    uint64_t bytes;
    uint64_t elapsed_ns;
    uint32_t skipped_damaged; /* newer checkpoints that were passed over because they are damaged (each gave a message) */
    void (*leaf)(void *user, const char *item, const char *name, cairn_outcome outcome); /* set by the caller, may be NULL; names live
                                                                                            while it runs */
    void *user;
} cairn_restore_report;
#define CAIRN_RESTORE_REPORT_INIT \
    { sizeof(cairn_restore_report), 0, 0, 0, 0.0, { 0 }, { 0 }, { 0, 0, 0, 0, 0, 0 }, 0, 0, 0, NULL, NULL }

/* Brings a checkpoint back into the bound memory, checking every byte against its digest.
 * MISMATCH: dtype, shape, or a missing leaf; nothing was touched. NOTFOUND: no such step. CORRUPT: only damaged checkpoints are
 * there. FENCED: another writer took the run over and removed what was chosen. TORN_STATE: failed after the first byte was written. */
CAIRN_API int cairn_restore(cairn_run *run, cairn_state *state, const cairn_restore_options *options, cairn_restore_report *ret_report,
                            cairn_error *err);

/* -------------------------------------------------------------------------------------- looking: runs and checkpoints */

typedef enum cairn_standing {
    CAIRN_CURRENT = 0, /* on the current line */
    CAIRN_SUPERSEDED,  /* of a line the run went back from */
    CAIRN_DAMAGED,     /* has our name, but its manifest cannot be read; of the data a listing looks at nothing: cairn_verify does */
    CAIRN_FOREIGN_FOLDER /* not this run's; never latest, never pruned */
} cairn_standing;

/* A row of a listing. Strings live as long as the listing. */
typedef struct cairn_entry {
    const char *name; /* of the folder */
    cairn_standing standing;
    const char *problem; /* why it is damaged or foreign, why its marks cannot be read, or what is odd about its name; else NULL */
    char id[33];
    uint64_t step, term;
    int64_t time_ns; /* since 1970, UTC */
    double epoch;
    int healthy, exact;
    int is_latest, is_head, is_best; /* highest of the line; newest healthy and exact; best by the run's metric, if one is known */
    uint64_t bytes;                  /* of all files, by the manifest */
    uint64_t tensors;
    const cairn_metric *metrics;     /* at the save, and those that were marked later */
    size_t metrics_count;
    const char *const *tags;
    size_t tags_count;
    int pinned;                      /* non-zero: kept until it is unpinned */
    const char *const *dropped;      /* items whose tensors were removed */
    size_t dropped_count;
} cairn_entry;

typedef struct cairn_listing cairn_listing;
/* Lists a run's folder, by (term, step) ascending, foreign and damaged ones last: by the manifests alone. Never waits for the writer.
 * NOTFOUND: no folder there, or not a run. */
CAIRN_API int cairn_listing_open(const char *run_path, cairn_listing **ret_listing, cairn_error *err);
CAIRN_API void cairn_listing_close(cairn_listing *listing);
CAIRN_API size_t cairn_listing_count(const cairn_listing *listing);
CAIRN_API const cairn_entry *cairn_listing_entry(const cairn_listing *listing, size_t index); /* NULL beyond the end */
CAIRN_API const char *cairn_listing_run_id(const cairn_listing *listing);

/* Calls each for every run in a store, by name, and for each folder that cannot be looked into: opening that tells why. A non-zero return of each
 * stops and is returned. NOTFOUND, IO: no such folder, or not to be read. */
CAIRN_API int cairn_store_list(const char *store_path, int (*each)(void *user, const char *run_name), void *user, cairn_error *err);

typedef struct cairn_checkpoint cairn_checkpoint;
typedef enum cairn_source {
    CAIRN_SOURCE_CHECKPOINT = 0, /* written by Cairn: digests known */
    CAIRN_SOURCE_FILE,           /* one .safetensors file */
    CAIRN_SOURCE_SHARDED         /* a folder with model.safetensors.index.json, or with one model.safetensors */
} cairn_source;

typedef struct cairn_checkpoint_info {
    cairn_source source;
    const char *path; /* as opened */
    cairn_entry entry; /* of the checkpoint alone: standing and is_... are a listing's, and 0 here. Zeros for a source that Cairn did not write */
    const char *run_id, *parent_id; /* hex; "" if there is none */
    uint64_t generation;
    size_t tensors_count, files_count, items_count;
    uint64_t tensor_bytes;
} cairn_checkpoint_info;

typedef struct cairn_statistics {
    int known;
    double max_abs, norm; /* over finite elements */
    uint64_t nan_count, inf_count;
} cairn_statistics;

typedef struct cairn_tensor_info {
    const char *item, *name;
    cairn_dtype dtype;
    uint32_t rank;
    const uint64_t *shape;
    uint32_t flags;
    uint64_t size_bytes;
    const char *file;     /* within the folder */
    uint64_t file_offset; /* of the first byte */
    char digest[33];      /* "" where none is known */
    cairn_statistics statistics;
} cairn_tensor_info;

typedef struct cairn_file_info {
    const char *name;
    uint64_t size_bytes;
    char digest[33];
} cairn_file_info;

/* name: RUN@STEP, RUN@STEP~TERM, RUN@latest, RUN@best, RUN@TAG, or a path of a checkpoint folder, a .safetensors file or a
 * sharded folder; an existing path wins. store: the folder that holds the runs, NULL: the current one. Reads no tensor data.
 * Holds a shared lock: the checkpoint is not removed while it is open.
 * NOTFOUND: nothing of that name; the message lists the newest steps. USAGE: the name of a run. CORRUPT, TRUNCATED, FORMAT, LIMIT, UNSUPPORTED, PATH: it
 * is damaged, or was never one. VERSION: of a newer format. GONE: it is being removed. */
CAIRN_API int cairn_checkpoint_open(const char *store, const char *name, cairn_checkpoint **ret_checkpoint, cairn_error *err);
CAIRN_API void cairn_checkpoint_close(cairn_checkpoint *checkpoint);
CAIRN_API const cairn_checkpoint_info *cairn_checkpoint_get_info(const cairn_checkpoint *checkpoint);
CAIRN_API const cairn_tensor_info *cairn_checkpoint_tensor(const cairn_checkpoint *checkpoint, size_t index); /* NULL beyond the end */
CAIRN_API const cairn_tensor_info *cairn_checkpoint_find(const cairn_checkpoint *checkpoint, const char *item, const char *name);
CAIRN_API const cairn_file_info *cairn_checkpoint_file(const cairn_checkpoint *checkpoint, size_t index); /* NULL beyond the end */
/* The plain values: a map from item to tree, tensors as TENSOR_REF. NULL where the source has none. Lives with the checkpoint. */
CAIRN_API const cairn_value *cairn_checkpoint_values(const cairn_checkpoint *checkpoint);
/* provenance.json as text, NUL-terminated. NULL where there is none. */
CAIRN_API const char *cairn_checkpoint_provenance(const cairn_checkpoint *checkpoint);
/* __metadata__ of a file Cairn did not write is shown through values, as map "__metadata__". */

/* Reads bytes [offset, offset + size) of a tensor. Every block touched is checked where digests are known: CORRUPT if one differs. USAGE: beyond its
 * end. TRUNCATED: the file has become shorter. */
CAIRN_API int cairn_checkpoint_read(const cairn_checkpoint *checkpoint, const cairn_tensor_info *tensor, uint64_t offset, size_t size,
                                    void *ret_data, cairn_error *err);
/* Reads the box start[i] .. start[i] + extent[i] - 1 (elements, rank entries each) packed row-major into ret_data, which holds
 * the box exactly. Sub-byte dtypes: the last dimension must be whole bytes. */
CAIRN_API int cairn_checkpoint_read_slice(const cairn_checkpoint *checkpoint, const cairn_tensor_info *tensor, const uint64_t *start,
                                          const uint64_t *extent, void *ret_data, size_t data_bytes, cairn_error *err);
/* A zero-copy read-only view of a tensor, NOT checked against its digest; only files that Cairn wrote (UNSUPPORTED otherwise).
 * Valid until the checkpoint is closed. */
CAIRN_API int cairn_checkpoint_map(cairn_checkpoint *checkpoint, const cairn_tensor_info *tensor, const void **ret_data, cairn_error *err);

/* ------------------------------------------------------------------------------------------------------- following a run */

/* How far a reader has come in a run; zeros: nothing seen yet. */
typedef struct cairn_position {
    uint64_t term, step;
} cairn_position;

/* Waits until the run's current line holds a checkpoint beyond *position and opens the oldest such one; *position moves on to it. The run need not exist
 * yet; a path that is no folder is NOTFOUND at once. *ret_checkpoint is NULL when timeout_ms is over first. One that is damaged is returned as its error,
 * once; *position has moved on. When the run goes back, what it saves on its new way comes next. A checkpoint that is removed before it could be opened
 * is passed over. */
CAIRN_API int cairn_wait_for_new(const char *run_path, cairn_position *position, uint64_t timeout_ms, cairn_checkpoint **ret_checkpoint,
                                 cairn_error *err);

/* ---------------------------------------------------------------------------------------------------- one folder, no run */

typedef struct cairn_folder_options {
    size_t struct_size;
    int replace; /* non-zero: a checkpoint that stands there is replaced in one step */
    cairn_io_mode io_mode;
    uint32_t io_threads;
    uint64_t arena_bytes;
    uint64_t shard_bytes;
    const cairn_attachment *attachments;
    size_t attachments_count;
    const char *config;
} cairn_folder_options;
#define CAIRN_FOLDER_OPTIONS_INIT { sizeof(cairn_folder_options), 0, CAIRN_IO_AUTO, 0, 0, 0, NULL, 0, NULL }

/* Saves state as one checkpoint folder outside any run, durably: the same files, the same commit. The folder above it must exist.
 * EXISTS: something stands there. FOREIGN: it is not a checkpoint. USAGE: the folder lies in a run, or what stands there is pinned. UNSUPPORTED: this file system cannot replace in one step. */
CAIRN_API int cairn_save_folder(const char *path, cairn_state *state, const cairn_folder_options *options, cairn_save_report *ret_report,
                                cairn_error *err);
/* Fills state from any checkpoint, .safetensors file or sharded folder, named as in cairn_checkpoint_open - somebody's published weights, too. The step
 * of the options is not looked at; report.name stays empty. Errors as cairn_checkpoint_open and cairn_restore; damage after the first byte is
 * TORN_STATE. */
CAIRN_API int cairn_load(const char *store, const char *name, cairn_state *state, const cairn_restore_options *options,
                         cairn_restore_report *ret_report, cairn_error *err);

/* -------------------------------------------------------------------------------------- marking, dropping, removing
 *
 * From any process, beside a writer that saves and readers that read. name and store as in cairn_checkpoint_open. */

typedef struct cairn_mark_options {
    size_t struct_size;
    const char *const *add_tags; /* no number, not latest, best, head or pinned, no space, '/', '@' or '~' */
    size_t add_tags_count;
    const char *const *remove_tags;
    size_t remove_tags_count;
    const cairn_metric *metrics; /* late ones: an evaluator's */
    size_t metrics_count;
    int pin;        /* 1: keep until unpinned; -1: unpin; 0: as it is */
    int must_match; /* non-zero: where one of remove_tags is not there nothing is changed: MISMATCH */
} cairn_mark_options;
#define CAIRN_MARK_OPTIONS_INIT { sizeof(cairn_mark_options), NULL, 0, NULL, 0, NULL, 0, 0, 0 }

/* Puts tags, a pin or late metrics on a checkpoint, durably. Of several that do so at once nothing is lost. Several checkpoints may carry one tag:
 * RUN@TAG is the newest of the current line that does, else the newest at all. Damaged marks are refused (CORRUPT), but unpinning starts them afresh.
 * USAGE: not a tag. GONE: it was removed meanwhile. */
CAIRN_API int cairn_mark(const char *store, const char *name, const cairn_mark_options *options, cairn_error *err);

/* Removes the tensors of one item from a checkpoint ("optimizer" of an old one); the rest stays valid. Refused (USAGE): what a run resumes from - the
 * newest, the newest healthy one, the newest whole one -, item "model", an item without tensors; and one that somebody reads (LOCKED). */
CAIRN_API int cairn_drop_item(const char *store, const char *name, const char *item, cairn_error *err);

/* Removes a checkpoint. Refused (USAGE): of a run the newest, the newest healthy and exact one and, where that is damaged, the newest such one that is
 * whole; the one that `best` leads to; a pinned or tagged one (take the mark off first). And one that somebody reads (LOCKED). */
CAIRN_API int cairn_remove(const char *store, const char *name, cairn_error *err);

/* Why a checkpoint stays; one may have several reasons. */
enum {
    CAIRN_KEPT_NEWEST = 1u << 0,    /* the newest of all, healthy or not */
    CAIRN_KEPT_HEAD = 1u << 1,      /* the newest healthy and exact one of the current line */
    CAIRN_KEPT_WHOLE = 1u << 2,     /* the newest such one that passes the quick check and of which nothing was dropped */
    CAIRN_KEPT_LAST = 1u << 3,      /* one of the last */
    CAIRN_KEPT_UNCOUNTED = 1u << 4, /* newer than those, but damaged or incomplete: it takes no place among them */
    CAIRN_KEPT_UNHEALTHY = 1u << 5, /* one of the newest two unhealthy ones */
    CAIRN_KEPT_BEST = 1u << 6,      /* one of the best */
    CAIRN_KEPT_BEST_LINK = 1u << 7, /* the symlink `best` leads to it */
    CAIRN_KEPT_PINNED = 1u << 8,    /* or its marks cannot be read */
    CAIRN_KEPT_TAGGED = 1u << 9
};
/* The name of one reason: "newest", "head", "whole", "last", "uncounted", "unhealthy", "best", "best-link", "pinned", "tagged"; "?" for what is none. */
CAIRN_API const char *cairn_kept_name(uint32_t reason);

typedef struct cairn_keep_options {
    size_t struct_size;
    uint32_t last; /* the newest healthy checkpoints of the current line that stay; with best 0 at least 1 */
    int dry_run;   /* non-zero: nothing is touched, removed is told of what would go */
    void (*removed)(void *user, const char *name); /* for each checkpoint that went, by its folder's name; may be NULL */
    cairn_message_fn message;                      /* why one stays that should go: somebody reads it; may be NULL */
    void *user;
    uint32_t best;      /* the best healthy and exact checkpoints of the current line that stay, too */
    const char *metric; /* by this metric; without it, or where it is NaN, one is not among the best. Of two that are as good the newer one is better */
    int metric_is_max;  /* non-zero: larger is better */
    void (*kept)(void *user, const char *name, uint32_t reasons); /* in a dry run, newest first: what would stay, and why; may be NULL */
} cairn_keep_options;
#define CAIRN_KEEP_OPTIONS_INIT { sizeof(cairn_keep_options), 0, 0, NULL, NULL, NULL, 0, NULL, 0, NULL }

typedef struct cairn_keep_report {
    size_t struct_size;
    uint64_t removed, kept; /* checkpoints; in a dry run: that would be */
} cairn_keep_report;
#define CAIRN_KEEP_REPORT_INIT { sizeof(cairn_keep_report), 0, 0 }

/* Removes what keep_last and keep_best of a run's options would remove after a save: superseded ones, all but the newest two unhealthy ones, and healthy
 * ones beyond the newest `last` that pass the quick check and of which nothing was dropped, unless they are among the `best` that pass it. The newest, the
 * newest healthy, the newest whole, the best (what the symlink leads to), pinned, tagged and read ones stay. LOCKED: another process removes checkpoints, and does not end.
 * NOTFOUND: no checkpoint reports the metric; nothing is removed. IO: one that should go could not be removed; the others went, and the report is filled. */
CAIRN_API int cairn_keep(const char *run_path, const cairn_keep_options *options, cairn_keep_report *ret_report, cairn_error *err);

/* ---------------------------------------------------------------------------------------------------------- verifying */

/* One finding. block is the 4 MiB block within the tensor, or CAIRN_NO_OFFSET when it is not about one. */
typedef struct cairn_damage {
    const char *file;
    const char *tensor; /* "item:name", or NULL */
    uint64_t block;
    uint64_t offset, size_bytes; /* the byte range in the file */
    int code;
    const char *message;
    const char *shared_with; /* the checkpoints beside it that share this file, and the damage: "checkpoint-10, checkpoint-20"; NULL: none */
} cairn_damage;

typedef struct cairn_verify_options {
    size_t struct_size;
    int quick; /* non-zero: manifest, tables, sizes and headers; no tensor data */
    uint32_t io_threads; /* readers: 1..16; 0: 8 */
    void (*damage)(void *user, const cairn_damage *damage); /* called for each finding, one at a time */
    void (*progress)(void *user, uint64_t done_bytes, uint64_t total_bytes);
    cairn_message_fn warning; /* allowed, but other tools may stumble over it: a file that Cairn did not write */
    void *user;
} cairn_verify_options;
#define CAIRN_VERIFY_OPTIONS_INIT { sizeof(cairn_verify_options), 0, 0, NULL, NULL, NULL, NULL }

typedef struct cairn_verify_report {
    size_t struct_size;
    uint64_t checked_bytes, damaged_blocks, findings, warnings;
    int digests_known; /* 0: a file that Cairn did not write; only its structure could be checked */
} cairn_verify_report;
#define CAIRN_VERIFY_REPORT_INIT { sizeof(cairn_verify_report), 0, 0, 0, 0, 0 }

/* Checks a checkpoint, file or sharded folder (named as in cairn_checkpoint_open) and never writes.
 * CAIRN_OK: all is well. CORRUPT, TRUNCATED, FORMAT...: the first finding; the others went to the callback. */
CAIRN_API int cairn_verify(const char *store, const char *name, const cairn_verify_options *options, cairn_verify_report *ret_report,
                           cairn_error *err);

/* ------------------------------------------------------------------------------------------------------ trying out a place */

/* What a folder's file system can do. The abilities are 0, or the errno that it answered with. */
typedef struct cairn_probe_report {
    size_t struct_size;
    int hard_links;  /* refused: unchanged files are written anew at each save */
    int symlinks;    /* refused: `latest` and `best` are not kept */
    int rename_new;  /* a rename that replaces nothing */
    int exchange;    /* refused: a single folder (cairn_save_folder) cannot be replaced in one step */
    int writer_lock; /* refused: a second writer is stopped at its next commit only */
    int reader_lock; /* refused, or without effect: a checkpoint may be removed under a reader */
    int direct_io;   /* refused: saves go through the page cache */
    int is_volatile; /* non-zero: memory; nothing there survives a power cut */
    int folds_case;  /* non-zero: names that differ in case alone are one */
    uint64_t free_bytes;
    uint64_t file_sync_ns, folder_sync_ns; /* medians: a new small file is durable; its name is */
} cairn_probe_report;
#define CAIRN_PROBE_REPORT_INIT { sizeof(cairn_probe_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Tries out in dir_path what saving there will need, in a folder that it makes and removes. Takes some milliseconds. NOTFOUND, IO, NOSPACE: not even a
 * small file can be made durable there. */
CAIRN_API int cairn_probe(const char *dir_path, cairn_probe_report *ret_report, cairn_error *err);

#ifdef __cplusplus
}
#endif
#endif

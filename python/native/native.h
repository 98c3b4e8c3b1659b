/* What the files of the module share. It stands on cairn.h and the stable ABI of Python 3.11 alone.
 *
 *  1. Who may block in the library gives the GIL up first (PY_UNLOCKED): a callback on a library's thread would wait for it for ever.
 *  2. Nothing of Python is touched without the GIL: what the library calls back with is recorded (records.c) or waits for the GIL (callback.c).
 *  3. A function that returns an object or -1 has set the exception when it returns NULL or -1. */
#ifndef CAIRN_NATIVE_H
#define CAIRN_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cairn.h"

#define PY_UNLOCKED(statement)                                                                                                             \
    do {                                                                                                                                   \
        PyThreadState *thread_state = PyEval_SaveThread();                                                                                 \
        statement;                                                                                                                         \
        PyEval_RestoreThread(thread_state);                                                                                                \
    } while (0)

#define PY_COUNT(array) (sizeof(array) / sizeof *(array))

static inline void py_drop_reference(PyObject **object)
{
    Py_XDECREF(*object);
}
static inline void py_replace(PyObject **slot, PyObject *object)
{
    PyObject *old = *slot;
    *slot = object;
    Py_XDECREF(old);
}
#define PY_AUTO __attribute__((cleanup(py_drop_reference))) /* a reference of this block alone */

/* error.c: each sets the exception and returns NULL */
PyObject *py_error_raise(const cairn_error *err);
PyObject *py_error_say(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
PyObject *py_error_text(int code, PyObject *message); /* takes message; NULL: the exception is set already */
/* Takes the exception that is set, and tells it in C's words: a cairn.Error by its code, any other as CANCELLED. */
PyObject *py_error_take(cairn_error *ret_error);
void py_error_again(PyObject *exception);                               /* takes it, and sets it */
PyObject *py_error_raise_from(const cairn_error *err, PyObject *cause); /* takes cause */

#define PY_WITH_KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS /* of a PyMethodDef */

/* arguments.c: Python's arguments as C's. The arrays live, and keep what they point into, until they are freed. */
int py_convert_count(PyObject *object, void *ret_uint64); /* for "O&": any integer of 0..2^64-1 */
int py_convert_small(PyObject *object, void *ret_uint32);
int py_convert_path(PyObject *object, void *ret_bytes); /* a str or os.PathLike, as the file system wants it; None: left as it is */
const char *py_path(PyObject *bytes);                   /* what that converter gave; NULL: NULL */
cairn_dtype py_find_dtype(const char *name);            /* CAIRN_DTYPE_NONE: no such */

struct py_choice { /* a word of a list: an enum by name */
    const char *what;
    const char *const *words;
    int count;
};
int py_choose(const struct py_choice *choice, const char *word, int *ret_index);
extern const struct py_choice py_io_modes;

struct py_texts {
    PyObject *keep;
    const char **texts;
    size_t count;
};
int py_texts_read(PyObject *sequence, const char *what, struct py_texts *ret_texts); /* sequence NULL or None: none */
void py_texts_done(struct py_texts *texts);
#define PY_AUTO_TEXTS __attribute__((cleanup(py_texts_done)))

struct py_metrics {
    PyObject *keep;
    cairn_metric *metrics;
    size_t count;
};
int py_metrics_read(PyObject *mapping, struct py_metrics *ret_metrics);
void py_metrics_done(struct py_metrics *metrics);
#define PY_AUTO_METRICS __attribute__((cleanup(py_metrics_done)))

struct py_attachments {
    PyObject *keep;
    cairn_attachment *files;
    size_t count;
};
int py_attachments_read(PyObject *mapping, struct py_attachments *ret_attachments);
void py_attachments_done(struct py_attachments *attachments);
#define PY_AUTO_ATTACHMENTS __attribute__((cleanup(py_attachments_done)))

int py_read_extents(PyObject *sequence, const char *what, uint64_t *ret_extents, uint32_t *ret_rank); /* room for CAIRN_MAX_RANK */

/* records.c: rows that callbacks leave behind without the GIL, to be read with it */
struct py_records {
    char *bytes;
    size_t size, capacity, count;
    bool failed; /* memory ran out */
};
void py_records_put(struct py_records *records, const void *data, size_t size);
void py_records_text(struct py_records *records, const char *text); /* may be NULL */
void py_records_take(const char **at, void *ret_data, size_t size);
const char *py_records_take_text(const char **at);
void py_records_done(struct py_records *records);
PyObject *py_records_texts(const struct py_records *records); /* rows of one text each, as a list */
#define PY_AUTO_RECORDS __attribute__((cleanup(py_records_done)))

/* dlpack.c: how a framework describes a tensor, without a reference to it and without a copy */
struct py_dlpack {
    void *address;
    int32_t device[2];
    int32_t rank;
    uint8_t type, bits;
    uint16_t lanes;
    const int64_t *shape, *strides; /* in elements; as long as the tensor has them */
    uint64_t offset_bytes;
};
typedef int (*py_dlpack_fn)(void *tensor, struct py_dlpack *ret_described); /* 0, or -1 and an exception */
py_dlpack_fn py_dlpack_of(PyObject *tensor);                                /* of its class; NULL: that has none */

/* callback.c: the user's functions, called on a thread of the library's. What they raise goes to sys.unraisablehook. */
extern atomic_bool py_callback_ended; /* the interpreter goes: nothing is called any more */
void py_callback_message(PyObject *callable, const char *message);
void py_callback_progress(PyObject *callable, uint64_t done_bytes, uint64_t total_bytes);
void py_callback_report(PyObject *callable, PyObject *(*make)(const void *report), const void *report);
const char *py_callback_text(PyObject *callable, PyObject **held); /* what it says, as long as held lives; NULL: None */
int py_callback_check(PyObject *callable, const char *what);       /* callable, NULL or None */

/* value.c */
cairn_value *py_value_read(PyObject *object, const char *item, const char *name); /* the names are for messages */
PyObject *py_value_show(const cairn_value *value);
int py_value_init(PyObject *module);

/* What a tensor is reached by that does not lie in a row of main memory. Those of a state are chained, and freed with it. */
struct py_reached {
    struct py_reached *next;
};
/* Gives the tensor these callbacks, with `reached` as their user, in the place of its address. Returns reached. */
struct py_reached *py_reach(cairn_tensor *tensor, struct py_reached *reached, cairn_fetch_fn fetch, cairn_store_fn store);

/* strided.c: a tensor whose elements do not lie in a row. NULL: memory ran out, here and below */
bool py_strided_is_packed(const cairn_tensor *tensor, uint32_t element_bytes, const Py_ssize_t *strides);
struct py_reached *py_strided_reach(cairn_tensor *tensor, uint32_t element_bytes, const Py_ssize_t *strides);

/* gate.c: a tensor whose bytes are under way. The gate must live as long as the tensor is bound, and so must its memory */
int py_gate_init(PyObject *module);
bool py_gate_is(PyObject *object);
struct py_reached *py_gate_reach(cairn_tensor *tensor, PyObject *gate);

/* device.c: a tensor in a device's memory. The device must live as long as the tensor is bound, and so must its memory */
int py_device_init(PyObject *module);
bool py_device_is(PyObject *object);
struct py_reached *py_device_reach(cairn_tensor *tensor, PyObject *device);

/* state.c. While a call uses a state without the GIL nobody else may change it. */
extern PyTypeObject *py_state_type;
int py_state_init(PyObject *module);
cairn_state *py_state_begin_use(PyObject *object);
void py_state_end_use(PyObject *object);

/* report.c: structs of cairn.h as named tuples; each returns a new object */
int py_report_init(PyObject *module);
PyObject *py_report_text(const char *text); /* UTF-8, what is none of it escaped; NULL: None */
PyObject *py_report_metrics(const cairn_metric *metrics, size_t count);
PyObject *py_report_entry(const cairn_entry *entry);
PyObject *py_report_info(const cairn_checkpoint_info *info);
PyObject *py_report_tensor(const cairn_tensor_info *tensor);
PyObject *py_report_file(const cairn_file_info *file);
PyObject *py_report_status(const void *status);
PyObject *py_report_save(const void *report);
PyObject *py_report_restore(const cairn_restore_report *report, const struct py_records *leaves);
PyObject *py_report_verify(const cairn_verify_report *report, const struct py_records *damages, const struct py_records *warnings);
PyObject *py_report_probe(const cairn_probe_report *report);

/* restore.c: what Run.restore and load have in common: begin, the call with options and report, end */
struct py_restore {
    cairn_restore_options options;
    cairn_restore_report report;
    cairn_state *state; /* NULL: choose says */
    PyObject *choose;   /* borrowed; NULL: none */
    PyObject *states;   /* a list: those in use */
    struct py_texts items;
    struct py_records leaves;
    PyObject *error;   /* what choose raised the last time */
    char said[128];    /* and how that begins: whether it is what the call failed with, for others may have been tried since */
    Py_buffer figures; /* of the caller: bytes done, and in all */
};
int py_restore_begin(PyObject *state, PyObject *items, PyObject *choose, struct py_restore *restore); /* zeroed before */
int py_restore_tell(PyObject *figures, struct py_restore *restore);                                   /* NULL, None: not asked for */
PyObject *py_restore_end(struct py_restore *restore, int code, const cairn_error *err);
void py_restore_done(struct py_restore *restore); /* also after a begin that failed */
#define PY_AUTO_RESTORE __attribute__((cleanup(py_restore_done)))

/* run.c. One call at a time works on a run; others of the same thread - from a callback, from a signal's handler - are refused. */
int py_run_init(PyObject *module);
PyObject *py_run_close_all(PyObject *module, PyObject *unused); /* for atexit */

/* checkpoint.c. A view, and a read that runs, keep what is closed open. */
int py_checkpoint_init(PyObject *module);
PyObject *py_checkpoint_wrap(cairn_checkpoint *checkpoint); /* takes it */
void py_checkpoint_give_back(PyObject *object);
PyObject *py_checkpoint_lend(const cairn_checkpoint *checkpoint); /* to the user's code, until the loan ends */
void py_checkpoint_end_loan(PyObject *object);

/* view.c */
int py_view_init(PyObject *module);
PyObject *py_view_new(PyObject *checkpoint, const void *data, uint64_t size_bytes); /* takes over one use of the checkpoint */

/* store.c */
extern PyMethodDef py_store_methods[];
extern PyMethodDef py_folder_methods[]; /* folder.c */
extern PyMethodDef py_memory_methods[]; /* memory.c */

#endif

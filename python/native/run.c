/* Run: an open run. Saving goes on behind the caller's back, so three things are held while it does: the callbacks, the state of a lazy save that is not
 * staged yet, and the run itself - it is closed when it is collected, and before the interpreter goes.
 *
 *  1. One call at a time: a lock, taken without the GIL. Who holds it already, or is called back by the run, is refused: it would wait for itself.
 *  2. handle is NULL from the moment that closing begins.
 *  3. In a forked child the lock may never come free: it is not touched there. */
#include "native.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { SLICE_MS = 100 }; /* so often a wait looks at signals */

struct run {
    PyObject base; /* what every object begins with */
    cairn_run *handle;
    struct run *next; /* in the list of open runs */
    pid_t process;
    PyThread_type_lock lock;
    unsigned long owner; /* the thread that holds it; 0: none */
    PyObject *path, *message, *progress, *committed, *written;
    PyObject *name;  /* that written said last */
    PyObject *state; /* of a lazy save: may not be staged yet */
    pthread_mutex_t mutex;
    pthread_cond_t ticked; /* the library told its progress; the last time when a job has ended */
    uint64_t ticks;
};

static PyTypeObject *run_type;
static struct run *open_runs;
static _Thread_local const struct run *calling_back; /* the run whose callback this thread is in */

static struct run *cast(PyObject *object)
{
    return (struct run *)(void *)object;
}

/* ----------------------------------------------------------------------------------------------------------- callbacks */

static void on_message(void *user, const char *message)
{
    const struct run *self = user, *outer = calling_back;
    calling_back = self;
    py_callback_message(self->message, message);
    calling_back = outer;
}

static void on_progress(void *user, const cairn_status *status)
{
    struct run *self = user;
    const struct run *outer = calling_back;
    pthread_mutex_lock(&self->mutex);
    self->ticks++;
    pthread_cond_broadcast(&self->ticked);
    pthread_mutex_unlock(&self->mutex);
    calling_back = self;
    py_callback_report(self->progress, py_report_status, status);
    calling_back = outer;
}

static void on_committed(void *user, const cairn_save_report *report)
{
    const struct run *self = user, *outer = calling_back;
    calling_back = self;
    py_callback_report(self->committed, py_report_save, report);
    calling_back = outer;
}

/* For a check that fails to say: all of it counts as written. */
static const char *on_written(void *user)
{
    struct run *self = user;
    const struct run *outer = calling_back;
    calling_back = self;
    const char *name = py_callback_text(self->written, &self->name);
    calling_back = outer;
    return name;
}

/* ----------------------------------------------------------------------------------------------------- one at a time */

/* Whose call on the handle of another process it is, the library says best. */
static int check_process(const struct run *self)
{
    cairn_error error = CAIRN_ERROR_INIT;
    if (self->process == getpid() || !self->handle) return 0;
    if (cairn_wait(self->handle, &error)) py_error_raise(&error);
    return -1;
}

/* For the calls that any thread may make at any time. */
static cairn_run *look(PyObject *object)
{
    struct run *self = cast(object);
    if (check_process(self)) return NULL;
    return self->handle ? self->handle : (py_error_say(CAIRN_E_USAGE, "this run is closed"), NULL);
}

static void take_lock(struct run *self)
{
    if (!PyThread_acquire_lock(self->lock, NOWAIT_LOCK)) PY_UNLOCKED(PyThread_acquire_lock(self->lock, WAIT_LOCK));
    self->owner = PyThread_get_thread_ident();
}

static void leave(struct run *self)
{
    self->owner = 0;
    PyThread_release_lock(self->lock);
}

static cairn_run *enter(PyObject *object)
{
    struct run *self = cast(object);
    if (!look(object)) return NULL;
    if (calling_back == self || self->owner == PyThread_get_thread_ident())
        return py_error_say(CAIRN_E_USAGE, "a run cannot be used by its own callbacks, or by a signal handler while it waits"), NULL;
    take_lock(self);
    if (self->handle) return self->handle;
    leave(self);
    return look(object);
}

/* ------------------------------------------------------------------------------------------------------------- waiting */

/* Until the library tells its progress anew, or a slice is over. */
static void sleep_until_tick(struct run *self, uint64_t seen)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += SLICE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&self->mutex);
    while (self->ticks == seen && pthread_cond_timedwait(&self->ticked, &self->mutex, &until) != ETIMEDOUT) continue;
    pthread_mutex_unlock(&self->mutex);
}

static uint64_t count_ticks(struct run *self)
{
    pthread_mutex_lock(&self->mutex);
    uint64_t ticks = self->ticks;
    pthread_mutex_unlock(&self->mutex);
    return ticks;
}

static bool is_saving(const struct run *self)
{
    cairn_status status = CAIRN_STATUS_INIT;
    (void)cairn_run_status(self->handle, &status);
    return status.phase == CAIRN_PHASE_STAGING || status.phase == CAIRN_PHASE_WRITING || status.phase == CAIRN_PHASE_COMMITTING;
}

/* While a save runs. -1: a signal's handler raised. */
static int wait_for_save(struct run *self)
{
    for (;;) {
        uint64_t seen = count_ticks(self); /* before the look: the tick at the end must not be missed */
        if (!is_saving(self)) return 0;
        PY_UNLOCKED(sleep_until_tick(self, seen));
        if (PyErr_CheckSignals()) return -1;
    }
}

static PyObject *run_wait(PyObject *self, PyObject *unused)
{
    (void)unused;
    int code = 0;
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_run *handle = enter(self);
    if (!handle) return NULL;
    bool interrupted = wait_for_save(cast(self)) != 0;
    if (!interrupted) {
        PY_UNLOCKED(code = cairn_wait(handle, &error));
        Py_CLEAR(cast(self)->state);
    }
    leave(cast(self));
    if (interrupted) return NULL;
    return code ? py_error_raise(&error) : Py_NewRef(Py_None);
}

static PyObject *run_fence(PyObject *self, PyObject *unused)
{
    (void)unused;
    int code;
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_run *handle = enter(self);
    if (!handle) return NULL;
    PY_UNLOCKED(code = cairn_fence(handle, &error));
    Py_CLEAR(cast(self)->state);
    leave(cast(self));
    return code ? py_error_raise(&error) : Py_NewRef(Py_None);
}

/* -------------------------------------------------------------------------------------------------------------- closing */

static void forget(const struct run *self)
{
    struct run **link = &open_runs;
    while (*link && *link != self) link = &(*link)->next;
    if (*link) *link = self->next;
}

/* The lock is held, and given up. */
static int close_handle(struct run *self, cairn_error *err)
{
    int code;
    cairn_run *handle = self->handle;
    self->handle = NULL;
    forget(self);
    PY_UNLOCKED(code = cairn_run_close(handle, err));
    Py_CLEAR(self->state);
    leave(self);
    return code;
}

static PyObject *run_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    cairn_error error = CAIRN_ERROR_INIT;
    if (!cast(self)->handle) return Py_NewRef(Py_None);
    if (!enter(self)) return NULL;
    if (wait_for_save(cast(self))) { /* it stays open, and can be closed again */
        leave(cast(self));
        return NULL;
    }
    return close_handle(cast(self), &error) ? py_error_raise(&error) : Py_NewRef(Py_None);
}

/* What nobody closed. There is nobody to tell of a failure but the hook. */
static void close_left_open(struct run *self)
{
    PyObject *pending[3];
    cairn_error error = CAIRN_ERROR_INIT;
    if (!self->handle) return;
    if (self->process != getpid()) { /* the parent's */
        forget(self);
        self->handle = NULL;
        return;
    }
    PyErr_Fetch(&pending[0], &pending[1], &pending[2]);
    if (PyErr_ResourceWarning(NULL, 1, "the run %R was not closed", self->path)) PyErr_WriteUnraisable(self->path);
    take_lock(self);
    if (!self->handle)
        leave(self);
    else if (close_handle(self, &error)) {
        py_error_raise(&error);
        PyErr_WriteUnraisable(self->path);
    }
    PyErr_Restore(pending[0], pending[1], pending[2]);
}

/* Before the interpreter goes: a library's thread that asked for the GIL after that would never come back. */
PyObject *py_run_close_all(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    while (open_runs) {
        PY_AUTO PyObject *held = Py_NewRef((PyObject *)open_runs);
        close_left_open(cast(held));
    }
    py_callback_ended = true;
    return Py_NewRef(Py_None);
}

/* -------------------------------------------------------------------------------------------------------------- saving */

static PyObject *run_reserve(PyObject *self, PyObject *state)
{
    int code = CAIRN_OK;
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_run *run = enter(self);
    if (!run) return NULL;
    cairn_state *handle = py_state_begin_use(state);
    if (handle) {
        PY_UNLOCKED(code = cairn_run_reserve(run, handle, &error));
        py_state_end_use(state);
    }
    leave(cast(self));
    if (!handle) return NULL;
    return code ? py_error_raise(&error) : Py_NewRef(Py_None);
}

static const char *const mode_words[] = { "eager", "sync", "lazy" };
static const struct py_choice modes = { "mode", mode_words, PY_COUNT(mode_words) };
static const char *const if_running_words[] = { "wait", "skip", "replace", "error" };
static const struct py_choice if_runnings = { "if_running", if_running_words, PY_COUNT(if_running_words) };

/* The lock is held. From a lazy save on the state is held until a call says that it is staged; one that is skipped or fails may leave the earlier one's
 * save running. */
static PyObject *save_state(struct run *self, PyObject *state, const cairn_save_options *options)
{
    int code;
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
    cairn_state *handle = py_state_begin_use(state);
    if (!handle) return NULL;
    PY_UNLOCKED(code = cairn_save(self->handle, handle, options, &report, &error));
    py_state_end_use(state);
    if (code) return py_error_raise(&error);
    if (!report.skipped) py_replace(&self->state, options->mode == CAIRN_SAVE_LAZY ? Py_NewRef(state) : NULL);
    return py_report_save(&report);
}

static PyObject *run_save(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = { "state", "step", "mode", "if_running", "epoch", "inexact", "metrics", "attachments", "tags", "config", NULL };
    const char *mode = "eager", *if_running = "wait";
    int mode_index, if_running_index;
    PyObject *state, *metrics = NULL, *attachments = NULL, *tags = NULL;
    PY_AUTO_METRICS struct py_metrics metric_list = { 0 };
    PY_AUTO_ATTACHMENTS struct py_attachments file_list = { 0 };
    PY_AUTO_TEXTS struct py_texts tag_list = { 0 };
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO&|$ssdpOOOz:save", names, &state, py_convert_count, &options.step, &mode,
                                     &if_running, &options.epoch, &options.inexact, &metrics, &attachments, &tags, &options.config))
        return NULL;
    if (py_choose(&modes, mode, &mode_index) || py_choose(&if_runnings, if_running, &if_running_index)) return NULL;
    if (py_metrics_read(metrics, &metric_list) || py_attachments_read(attachments, &file_list) || py_texts_read(tags, "tags", &tag_list))
        return NULL;
    options.mode = (cairn_save_mode)mode_index;
    options.if_running = (cairn_if_running)if_running_index;
    options.metrics = metric_list.metrics;
    options.metrics_count = metric_list.count;
    options.attachments = file_list.files;
    options.attachments_count = file_list.count;
    options.tags = tag_list.texts;
    options.tags_count = tag_list.count;
    if (!enter(self)) return NULL;
    PyObject *report = save_state(cast(self), state, &options);
    leave(cast(self));
    return report;
}

/* ------------------------------------------------------------------------------------------------ restoring, logging */

static PyObject *run_restore(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = { "state", "step", "allow_missing", "items", "choose", NULL };
    int code = CAIRN_OK;
    PyObject *state, *step = Py_None, *items = NULL, *choose = NULL;
    cairn_error error = CAIRN_ERROR_INIT;
    PY_AUTO_RESTORE struct py_restore restore = { .options = CAIRN_RESTORE_OPTIONS_INIT };
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|$OpOO:restore", names, &state, &step, &restore.options.allow_missing, &items,
                                     &choose))
        return NULL;
    if (step != Py_None && !py_convert_count(step, &restore.options.step)) return NULL;
    cairn_run *run = enter(self);
    if (!run) return NULL;
    bool begun = !py_restore_begin(state, items, choose, &restore);
    if (begun) PY_UNLOCKED(code = cairn_restore(run, restore.state, &restore.options, &restore.report, &error));
    leave(cast(self));
    return begun ? py_restore_end(&restore, code, &error) : NULL;
}

static PyObject *run_log(PyObject *self, PyObject *args)
{
    int code;
    uint64_t step;
    PyObject *mapping;
    PY_AUTO_METRICS struct py_metrics metrics = { 0 };
    cairn_error error = CAIRN_ERROR_INIT;
    if (!PyArg_ParseTuple(args, "O&O:log", py_convert_count, &step, &mapping) || py_metrics_read(mapping, &metrics)) return NULL;
    cairn_run *handle = enter(self);
    if (!handle) return NULL;
    PY_UNLOCKED(code = cairn_log(handle, step, metrics.metrics, metrics.count, &error));
    leave(cast(self));
    return code ? py_error_raise(&error) : Py_NewRef(Py_None);
}

/* ------------------------------------------------------------------------------------------------- whether to save */

static PyObject *run_is_due(PyObject *self, PyObject *step)
{
    int due = 0;
    uint64_t number;
    cairn_error error = CAIRN_ERROR_INIT;
    if (!py_convert_count(step, &number)) return NULL;
    cairn_run *handle = enter(self);
    if (!handle) return NULL;
    int code = cairn_run_is_due(handle, number, &due, &error);
    leave(cast(self));
    return code ? py_error_raise(&error) : PyBool_FromLong(due);
}

/* What any thread may say at any time. */
static PyObject *tell(PyObject *self, void (*say)(cairn_run *))
{
    cairn_run *handle = look(self);
    if (!handle) return NULL;
    say(handle);
    return Py_NewRef(Py_None);
}

static PyObject *run_request_save(PyObject *self, PyObject *unused)
{
    (void)unused;
    return tell(self, cairn_run_request_save);
}

static PyObject *run_request_stop(PyObject *self, PyObject *unused)
{
    (void)unused;
    return tell(self, cairn_run_request_stop);
}

static PyObject *run_should_stop(PyObject *self, PyObject *unused)
{
    (void)unused;
    cairn_run *handle = look(self);
    return handle ? PyBool_FromLong(cairn_run_should_stop(handle)) : NULL;
}

static PyObject *run_cancel(PyObject *self, PyObject *unused)
{
    (void)unused;
    return tell(self, cairn_run_cancel);
}

static PyObject *run_status(PyObject *self, PyObject *unused)
{
    (void)unused;
    cairn_status status = CAIRN_STATUS_INIT;
    cairn_run *handle = look(self);
    if (!handle) return NULL;
    (void)cairn_run_status(handle, &status);
    return py_report_status(&status);
}

/* ---------------------------------------------------------------------------------------------------------------- life */

static PyObject *new_object(void)
{
    pthread_condattr_t monotonic;
    PyObject *object = PyType_GenericAlloc(run_type, 0);
    if (!object) return NULL;
    struct run *self = cast(object);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->ticked, &monotonic);
    pthread_condattr_destroy(&monotonic);
    self->process = getpid();
    self->lock = PyThread_allocate_lock();
    if (self->lock) return object;
    Py_DECREF(object);
    return PyErr_NoMemory();
}

/* Takes over the object, also on failure. */
static PyObject *open_run(PyObject *object, PyObject *path, cairn_run_options *options)
{
    int code;
    struct run *self = cast(object);
    cairn_error error = CAIRN_ERROR_INIT;
    options->message = on_message;
    options->progress = on_progress;
    options->committed = on_committed;
    if (self->written) options->written = on_written;
    options->user = self;
    PY_UNLOCKED(code = cairn_run_open(PyBytes_AsString(path), options, &self->handle, &error));
    if (code) {
        Py_DECREF(object);
        return py_error_raise(&error);
    }
    self->next = open_runs;
    open_runs = self;
    return object;
}

static PyObject *run_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    (void)type; /* there are no subclasses */
    static char *names[] = { "path",       "take_over",   "keep_last",   "best_metric",      "best_is_max",        "io_mode",
                             "io_threads", "arena_bytes", "piece_bytes", "shard_bytes",      "check_early_writes", "message",
                             "progress",   "committed",   "keep_best",   "save_every_steps", "save_every_ms",      "written",
                             NULL };
    const char *io_mode = "auto";
    int io_mode_index;
    PyObject *message = NULL, *progress = NULL, *committed = NULL, *written = NULL;
    PY_AUTO PyObject *path = NULL;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&|$pO&zpsO&O&O&O&pOOOO&O&O&O:Run", names, PyUnicode_FSConverter, &path,
                                     &options.take_over, py_convert_small, &options.keep_last, &options.best_metric, &options.best_is_max,
                                     &io_mode, py_convert_small, &options.io_threads, py_convert_count, &options.arena_bytes,
                                     py_convert_count, &options.piece_bytes, py_convert_count, &options.shard_bytes,
                                     &options.check_early_writes, &message, &progress, &committed, py_convert_small, &options.keep_best,
                                     py_convert_count, &options.save_every_steps, py_convert_count, &options.save_every_ms, &written))
        return NULL;
    if (py_choose(&py_io_modes, io_mode, &io_mode_index)) return NULL;
    if (py_callback_check(message, "message") || py_callback_check(progress, "progress") || py_callback_check(committed, "committed") ||
        py_callback_check(written, "written"))
        return NULL;
    options.io_mode = (cairn_io_mode)io_mode_index;
    PyObject *object = new_object();
    if (!object) return NULL;
    cast(object)->path = PyUnicode_DecodeFSDefault(PyBytes_AsString(path));
    cast(object)->message = Py_XNewRef(message);
    cast(object)->progress = Py_XNewRef(progress);
    cast(object)->committed = Py_XNewRef(committed);
    cast(object)->written = written == Py_None ? NULL : Py_XNewRef(written);
    if (cast(object)->path) return open_run(object, path, &options);
    Py_DECREF(object);
    return NULL;
}

static PyObject *run_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<Run %R, %s>", cast(self)->path, cast(self)->handle ? "open" : "closed");
}

static int run_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(cast(self)->message);
    Py_VISIT(cast(self)->progress);
    Py_VISIT(cast(self)->committed);
    Py_VISIT(cast(self)->written);
    Py_VISIT(cast(self)->state);
    return 0;
}

static int run_clear(PyObject *self)
{
    Py_CLEAR(cast(self)->message);
    Py_CLEAR(cast(self)->progress);
    Py_CLEAR(cast(self)->committed);
    Py_CLEAR(cast(self)->written);
    Py_CLEAR(cast(self)->name);
    Py_CLEAR(cast(self)->state);
    return 0;
}

/* Of a cycle: before anything in it is cleared. */
static void run_finalize(PyObject *self)
{
    close_left_open(cast(self));
}

static void run_dealloc(PyObject *object)
{
    struct run *self = cast(object);
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    close_left_open(self);
    (void)run_clear(object);
    Py_CLEAR(self->path);
    pthread_cond_destroy(&self->ticked);
    pthread_mutex_destroy(&self->mutex);
    if (self->lock) PyThread_free_lock(self->lock);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

static PyMethodDef run_methods[] = {
    { "reserve", run_reserve, METH_O, NULL },
    { "save", PY_WITH_KEYWORDS(run_save), NULL },
    { "restore", PY_WITH_KEYWORDS(run_restore), NULL },
    { "fence", run_fence, METH_NOARGS, NULL },
    { "wait", run_wait, METH_NOARGS, NULL },
    { "close", run_close, METH_NOARGS, NULL },
    { "is_due", run_is_due, METH_O, NULL },
    { "request_save", run_request_save, METH_NOARGS, NULL },
    { "request_stop", run_request_stop, METH_NOARGS, NULL },
    { "should_stop", run_should_stop, METH_NOARGS, NULL },
    { "cancel", run_cancel, METH_NOARGS, NULL },
    { "log", run_log, METH_VARARGS, NULL },
    { "status", run_status, METH_NOARGS, NULL },
    { NULL, NULL, 0, NULL },
};

static PyType_Slot run_slots[] = {
    { Py_tp_doc, "A run that is open for writing." },
    { Py_tp_new, run_new },
    { Py_tp_repr, run_repr },
    { Py_tp_traverse, run_traverse },
    { Py_tp_clear, run_clear },
    { Py_tp_finalize, run_finalize },
    { Py_tp_dealloc, run_dealloc },
    { Py_tp_methods, run_methods },
    { 0, NULL },
};

static PyType_Spec run_spec = {
    .name = "cairn._native.Run",
    .basicsize = sizeof(struct run),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = run_slots,
};

int py_run_init(PyObject *module)
{
    run_type = (PyTypeObject *)PyType_FromSpec(&run_spec);
    return run_type ? PyModule_AddType(module, run_type) : -1;
}

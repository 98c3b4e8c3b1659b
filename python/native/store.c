/* Looking at stores and runs, and tending them, by name: functions of the module. The library tells rows while the GIL is free; they are recorded. */
#include "native.h"

#include <math.h>
#include <time.h>

/* ------------------------------------------------------------------------------------------------------------- listing */

static PyObject *show_listing(const cairn_listing *listing)
{
    size_t count = cairn_listing_count(listing);
    PY_AUTO PyObject *entries = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; i < count && entries; i++) {
        PyObject *entry = py_report_entry(cairn_listing_entry(listing, i));
        if (!entry || PyList_SetItem(entries, (Py_ssize_t)i, entry)) return NULL;
    }
    return Py_XNewRef(entries);
}

static PyObject *store_listing(PyObject *module, PyObject *args)
{
    (void)module;
    int code;
    cairn_listing *listing;
    cairn_error error = CAIRN_ERROR_INIT;
    PY_AUTO PyObject *path = NULL;
    if (!PyArg_ParseTuple(args, "O&:listing", PyUnicode_FSConverter, &path)) return NULL;
    PY_UNLOCKED(code = cairn_listing_open(py_path(path), &listing, &error));
    if (code) return py_error_raise(&error);
    PyObject *entries = show_listing(listing);
    cairn_listing_close(listing);
    return entries;
}

static int record_name(void *user, const char *name)
{
    struct py_records *names = user;
    py_records_text(names, name);
    names->count++;
    return 0;
}

static PyObject *store_runs(PyObject *module, PyObject *args)
{
    (void)module;
    int code;
    cairn_error error = CAIRN_ERROR_INIT;
    PY_AUTO_RECORDS struct py_records names = { 0 };
    PY_AUTO PyObject *path = NULL;
    if (!PyArg_ParseTuple(args, "O&:runs", PyUnicode_FSConverter, &path)) return NULL;
    PY_UNLOCKED(code = cairn_store_list(py_path(path), record_name, &names, &error));
    return code ? py_error_raise(&error) : py_records_texts(&names);
}

/* ------------------------------------------------------------------------------------------------------------- metrics */

static int record_metrics(void *user, uint64_t step, uint64_t term, const cairn_metric *metrics, size_t count)
{
    struct py_records *rows = user;
    uint64_t head[] = { step, term, count };
    py_records_put(rows, head, sizeof head);
    for (size_t i = 0; i < count; i++) {
        py_records_text(rows, metrics[i].name);
        py_records_put(rows, &metrics[i].value, sizeof metrics[i].value);
    }
    rows->count++;
    return 0;
}

static PyObject *show_metrics_row(const char **at)
{
    uint64_t head[3];
    py_records_take(at, head, sizeof head);
    PY_AUTO PyObject *map = PyDict_New();
    for (uint64_t i = 0; i < head[2] && map; i++) {
        cairn_metric metric = { .name = py_records_take_text(at) };
        py_records_take(at, &metric.value, sizeof metric.value);
        PY_AUTO PyObject *name = py_report_text(metric.name);
        PY_AUTO PyObject *value = PyFloat_FromDouble(metric.value);
        if (!name || !value || PyDict_SetItem(map, name, value)) return NULL;
    }
    return map ? Py_BuildValue("(KKO)", (unsigned long long)head[0], (unsigned long long)head[1], map) : NULL;
}

static PyObject *store_metrics(PyObject *module, PyObject *args)
{
    (void)module;
    int code;
    uint64_t ignored = 0;
    cairn_error error = CAIRN_ERROR_INIT;
    PY_AUTO_RECORDS struct py_records records = { 0 };
    PY_AUTO PyObject *path = NULL;
    if (!PyArg_ParseTuple(args, "O&:metrics", PyUnicode_FSConverter, &path)) return NULL;
    PY_UNLOCKED(code = cairn_metrics_read(py_path(path), record_metrics, &records, &ignored, &error));
    if (code) return py_error_raise(&error);
    if (records.failed) return PyErr_NoMemory();
    if (ignored && PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "%s: %llu torn or damaged lines of its metrics are left out", py_path(path),
                                    (unsigned long long)ignored))
        return NULL;
    const char *at = records.bytes;
    PY_AUTO PyObject *rows = PyList_New((Py_ssize_t)records.count);
    for (size_t i = 0; i < records.count && rows; i++) {
        PyObject *row = show_metrics_row(&at);
        if (!row || PyList_SetItem(rows, (Py_ssize_t)i, row)) return NULL;
    }
    return Py_XNewRef(rows);
}

/* ----------------------------------------------------------------------------------------------------------- following */

enum { SLICE_MS = 100 }; /* so often signals are looked at */

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static PyObject *show_position(const cairn_position *position)
{
    return Py_BuildValue("(KK)", (unsigned long long)position->term, (unsigned long long)position->step);
}

/* Where to go on after the damaged one is an attribute of the error. */
static PyObject *raise_at(const cairn_error *err, const cairn_position *position)
{
    PyObject *type, *value, *traceback;
    py_error_raise(err);
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PY_AUTO PyObject *where = show_position(position);
    if (where && value && PyObject_SetAttrString(value, "position", where)) PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return NULL;
}

static PyObject *store_wait_for_new(PyObject *module, PyObject *args, PyObject *keywords)
{
    (void)module;
    static char *names[] = { "run_path", "position", "timeout_s", NULL };
    double timeout_s, left_s, until_s;
    cairn_position position;
    PY_AUTO PyObject *path = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&(O&O&)d:wait_for_new", names, PyUnicode_FSConverter, &path, py_convert_count,
                                     &position.term, py_convert_count, &position.step, &timeout_s))
        return NULL;
    if (isnan(timeout_s)) return py_error_say(CAIRN_E_USAGE, "wait_for_new: timeout_s is not a number");
    until_s = now_s() + timeout_s;
    for (;;) {
        int code;
        cairn_error error = CAIRN_ERROR_INIT;
        cairn_checkpoint *checkpoint = NULL;
        left_s = until_s - now_s();
        uint64_t slice_ms = left_s <= 0 ? 0 : left_s * 1000 < SLICE_MS ? (uint64_t)(left_s * 1000) + 1 : SLICE_MS;
        PY_UNLOCKED(code = cairn_wait_for_new(py_path(path), &position, slice_ms, &checkpoint, &error));
        if (code) return raise_at(&error, &position);
        if (checkpoint) return Py_BuildValue("(NN)", py_checkpoint_wrap(checkpoint), show_position(&position));
        if (PyErr_CheckSignals()) return NULL;
        if (left_s <= 0) return Py_BuildValue("(ON)", Py_None, show_position(&position));
    }
}

/* ------------------------------------------------------------------------------------------------------------- tending */

static PyObject *store_mark(PyObject *module, PyObject *args, PyObject *keywords)
{
    (void)module;
    static char *names[] = { "name", "store", "add_tags", "remove_tags", "metrics", "pin", "must_match", NULL };
    int code;
    PyObject *add = NULL, *remove = NULL, *mapping = NULL, *pin = Py_None;
    PY_AUTO PyObject *name = NULL;
    PY_AUTO PyObject *store = NULL;
    PY_AUTO_TEXTS struct py_texts added = { 0 };
    PY_AUTO_TEXTS struct py_texts removed = { 0 };
    PY_AUTO_METRICS struct py_metrics metrics = { 0 };
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_mark_options options = CAIRN_MARK_OPTIONS_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&|O&$OOOOp:mark", names, PyUnicode_FSConverter, &name, py_convert_path, &store, &add,
                                     &remove, &mapping, &pin, &options.must_match))
        return NULL;
    if (py_texts_read(add, "add_tags", &added) || py_texts_read(remove, "remove_tags", &removed) || py_metrics_read(mapping, &metrics))
        return NULL;
    int wanted = pin == Py_None ? 0 : PyObject_IsTrue(pin);
    if (wanted < 0) return NULL;
    options.pin = pin == Py_None ? 0 : wanted ? 1 : -1;
    options.add_tags = added.texts;
    options.add_tags_count = added.count;
    options.remove_tags = removed.texts;
    options.remove_tags_count = removed.count;
    options.metrics = metrics.metrics;
    options.metrics_count = metrics.count;
    PY_UNLOCKED(code = cairn_mark(py_path(store), py_path(name), &options, &error));
    return code ? py_error_raise(&error) : Py_NewRef(Py_None);
}

static PyObject *store_remove(PyObject *module, PyObject *args, PyObject *keywords)
{
    (void)module;
    static char *names[] = { "name", "store", NULL };
    int code;
    PY_AUTO PyObject *name = NULL;
    PY_AUTO PyObject *store = NULL;
    cairn_error error = CAIRN_ERROR_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&|O&:remove", names, PyUnicode_FSConverter, &name, py_convert_path, &store))
        return NULL;
    PY_UNLOCKED(code = cairn_remove(py_path(store), py_path(name), &error));
    return code ? py_error_raise(&error) : Py_NewRef(Py_None);
}

static PyObject *store_drop_item(PyObject *module, PyObject *args, PyObject *keywords)
{
    (void)module;
    static char *names[] = { "name", "item", "store", NULL };
    int code;
    const char *item;
    PY_AUTO PyObject *name = NULL;
    PY_AUTO PyObject *store = NULL;
    cairn_error error = CAIRN_ERROR_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&s|O&:drop_item", names, PyUnicode_FSConverter, &name, &item, py_convert_path,
                                     &store))
        return NULL;
    PY_UNLOCKED(code = cairn_drop_item(py_path(store), py_path(name), item, &error));
    return code ? py_error_raise(&error) : Py_NewRef(Py_None);
}

struct keeping {
    struct py_records names;
    PyObject *message;
};

static void record_removed(void *user, const char *name)
{
    (void)record_name(&((struct keeping *)user)->names, name);
}

static void tell_kept(void *user, const char *message)
{
    py_callback_message(((struct keeping *)user)->message, message);
}

static PyObject *store_keep(PyObject *module, PyObject *args, PyObject *keywords)
{
    (void)module;
    static char *names[] = { "run_path", "last", "dry_run", "best", "metric", "metric_is_max", "message", NULL };
    int code;
    struct keeping keeping = { 0 };
    PY_AUTO PyObject *path = NULL;
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_keep_options options = CAIRN_KEEP_OPTIONS_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&O&|p$O&zpO:keep", names, PyUnicode_FSConverter, &path, py_convert_small,
                                     &options.last, &options.dry_run, py_convert_small, &options.best, &options.metric,
                                     &options.metric_is_max, &keeping.message) ||
        py_callback_check(keeping.message, "message"))
        return NULL;
    options.removed = record_removed;
    options.message = tell_kept;
    options.user = &keeping;
    PY_UNLOCKED(code = cairn_keep(py_path(path), &options, NULL, &error));
    PyObject *removed = code ? py_error_raise(&error) : py_records_texts(&keeping.names);
    py_records_done(&keeping.names);
    return removed;
}

/* ----------------------------------------------------------------------------------------------------------- verifying */

struct verifying {
    struct py_records damages, warnings;
    int code; /* of the first finding */
    PyObject *progress;
};

static void record_damage(void *user, const cairn_damage *damage)
{
    struct verifying *verifying = user;
    py_records_put(&verifying->damages, damage, sizeof *damage);
    py_records_text(&verifying->damages, damage->file);
    py_records_text(&verifying->damages, damage->tensor);
    py_records_text(&verifying->damages, damage->message);
    py_records_text(&verifying->damages, damage->shared_with);
    if (!verifying->damages.count++) verifying->code = damage->code;
}

static void record_warning(void *user, const char *message)
{
    (void)record_name(&((struct verifying *)user)->warnings, message);
}

static void tell_progress(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    py_callback_progress(((struct verifying *)user)->progress, done_bytes, total_bytes);
}

/* Damage is what was asked for: a report. What kept the library from looking is an error. */
static PyObject *store_verify(PyObject *module, PyObject *args, PyObject *keywords)
{
    (void)module;
    static char *names[] = { "name", "store", "quick", "io_threads", "progress", NULL };
    int code;
    struct verifying verifying = { 0 };
    PY_AUTO PyObject *name = NULL;
    PY_AUTO PyObject *store = NULL;
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
    cairn_verify_report report = CAIRN_VERIFY_REPORT_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&|O&$pO&O:verify", names, PyUnicode_FSConverter, &name, py_convert_path, &store,
                                     &options.quick, py_convert_small, &options.io_threads, &verifying.progress) ||
        py_callback_check(verifying.progress, "progress"))
        return NULL;
    options.damage = record_damage;
    options.warning = record_warning;
    options.progress = verifying.progress && verifying.progress != Py_None ? tell_progress : NULL;
    options.user = &verifying;
    PY_UNLOCKED(code = cairn_verify(py_path(store), py_path(name), &options, &report, &error));
    bool looked = !code || (verifying.damages.count && code == verifying.code);
    PyObject *result = looked ? py_report_verify(&report, &verifying.damages, &verifying.warnings) : py_error_raise(&error);
    py_records_done(&verifying.damages);
    py_records_done(&verifying.warnings);
    return result;
}

PyMethodDef py_store_methods[] = {
    { "listing", store_listing, METH_VARARGS, NULL },         { "runs", store_runs, METH_VARARGS, NULL },
    { "metrics", store_metrics, METH_VARARGS, NULL },         { "wait_for_new", PY_WITH_KEYWORDS(store_wait_for_new), NULL },
    { "mark", PY_WITH_KEYWORDS(store_mark), NULL },           { "remove", PY_WITH_KEYWORDS(store_remove), NULL },
    { "drop_item", PY_WITH_KEYWORDS(store_drop_item), NULL }, { "keep", PY_WITH_KEYWORDS(store_keep), NULL },
    { "verify", PY_WITH_KEYWORDS(store_verify), NULL },       { NULL, NULL, 0, NULL },
};

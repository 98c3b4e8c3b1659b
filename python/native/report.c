/* The structs of cairn.h as named tuples, fields called as they are there. Counts that only say how long a list is are left out; what is an enum is a word.
 * A field of a list below and a line of the function that fills it belong together. */
#include "native.h"

#include <string.h>

/* -------------------------------------------------------------------------------------------------------------- words */

static const char *const standing_words[] = { "current", "superseded", "damaged", "foreign" };
static const char *const source_words[] = { "checkpoint", "file", "sharded" };
static const char *const phase_words[] = { "idle", "staging", "writing", "committing", "durable", "failed", "abandoned", "restoring" };
static const char *const outcome_words[CAIRN_OUTCOME_COUNT] = { "restored", "missing", "unexpected", "converted", "new", "skipped" };

static PyObject *word(const char *const *words, size_t count, unsigned index)
{
    return PyUnicode_FromString(index < count ? words[index] : "?");
}
#define WORD(words, index) word(words, PY_COUNT(words), (unsigned)(index))

PyObject *py_report_text(const char *text)
{
    if (!text) return Py_NewRef(Py_None);
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "surrogateescape");
}

static PyObject *text_or_none(const char *text)
{
    return py_report_text(text && *text ? text : NULL);
}

static PyObject *count_or_none(uint64_t count)
{
    return count == CAIRN_NO_OFFSET ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(count);
}

#define COUNT(number) PyLong_FromUnsignedLongLong(number)
#define TRUTH(number) PyBool_FromLong((number) != 0)

static PyObject *texts(const char *const *list, size_t count)
{
    PY_AUTO PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; i < count && tuple; i++) {
        PyObject *text = py_report_text(list[i]);
        if (!text || PyTuple_SetItem(tuple, (Py_ssize_t)i, text)) return NULL;
    }
    return Py_XNewRef(tuple);
}

PyObject *py_report_metrics(const cairn_metric *metrics, size_t count)
{
    PY_AUTO PyObject *map = PyDict_New();
    for (size_t i = 0; i < count && map; i++) {
        PY_AUTO PyObject *name = py_report_text(metrics[i].name);
        PY_AUTO PyObject *value = PyFloat_FromDouble(metrics[i].value);
        if (!name || !value || PyDict_SetItem(map, name, value)) return NULL;
    }
    return Py_XNewRef(map);
}

/* -------------------------------------------------------------------------------------------------------------- types */

/* Takes over the values, one for each field; where one is NULL it has failed, and so has the whole. */
static PyObject *fill(PyTypeObject *type, PyObject **values, size_t count)
{
    PyObject *row = PyStructSequence_New(type);
    bool whole = row != NULL;
    for (size_t i = 0; i < count; i++) whole &= values[i] != NULL;
    for (size_t i = 0; i < count; i++) {
        if (whole)
            PyStructSequence_SetItem(row, (Py_ssize_t)i, values[i]);
        else
            Py_XDECREF(values[i]);
    }
    if (whole) return row;
    Py_XDECREF(row);
    return NULL;
}

static PyTypeObject *entry_type;
static const char *const entry_fields[] = { "name",    "standing", "problem", "id",        "step",    "term",    "time_ns",
                                            "epoch",   "healthy",  "exact",   "is_latest", "is_head", "is_best", "bytes",
                                            "tensors", "metrics",  "tags",    "pinned",    "dropped" };

PyObject *py_report_entry(const cairn_entry *entry)
{
    PyObject *values[] = {
        py_report_text(entry->name),
        WORD(standing_words, entry->standing),
        py_report_text(entry->problem),
        py_report_text(entry->id),
        COUNT(entry->step),
        COUNT(entry->term),
        PyLong_FromLongLong(entry->time_ns),
        PyFloat_FromDouble(entry->epoch),
        TRUTH(entry->healthy),
        TRUTH(entry->exact),
        TRUTH(entry->is_latest),
        TRUTH(entry->is_head),
        TRUTH(entry->is_best),
        COUNT(entry->bytes),
        COUNT(entry->tensors),
        py_report_metrics(entry->metrics, entry->metrics_count),
        texts(entry->tags, entry->tags_count),
        TRUTH(entry->pinned),
        texts(entry->dropped, entry->dropped_count),
    };
    return fill(entry_type, values, PY_COUNT(values));
}

static PyTypeObject *info_type;
static const char *const info_fields[] = { "source",     "path",          "entry",       "run_id",      "parent_id",
                                           "generation", "tensors_count", "files_count", "items_count", "tensor_bytes" };

PyObject *py_report_info(const cairn_checkpoint_info *info)
{
    PyObject *values[] = {
        WORD(source_words, info->source),
        py_report_text(info->path),
        info->source == CAIRN_SOURCE_CHECKPOINT ? py_report_entry(&info->entry) : Py_NewRef(Py_None),
        text_or_none(info->run_id),
        text_or_none(info->parent_id),
        COUNT(info->generation),
        COUNT(info->tensors_count),
        COUNT(info->files_count),
        COUNT(info->items_count),
        COUNT(info->tensor_bytes),
    };
    return fill(info_type, values, PY_COUNT(values));
}

static PyTypeObject *statistics_type;
static const char *const statistics_fields[] = { "max_abs", "norm", "nan_count", "inf_count" };

static PyObject *show_statistics(const cairn_statistics *statistics)
{
    if (!statistics->known) return Py_NewRef(Py_None);
    PyObject *values[] = {
        PyFloat_FromDouble(statistics->max_abs),
        PyFloat_FromDouble(statistics->norm),
        COUNT(statistics->nan_count),
        COUNT(statistics->inf_count),
    };
    return fill(statistics_type, values, PY_COUNT(values));
}

static PyTypeObject *tensor_type;
static const char *const tensor_fields[] = { "item",       "name", "dtype",       "shape",  "flags",
                                             "size_bytes", "file", "file_offset", "digest", "statistics" };

static PyObject *show_shape(const cairn_tensor_info *tensor)
{
    PY_AUTO PyObject *shape = PyTuple_New(tensor->rank);
    for (uint32_t i = 0; i < tensor->rank && shape; i++) {
        PyObject *extent = COUNT(tensor->shape[i]);
        if (!extent || PyTuple_SetItem(shape, i, extent)) return NULL;
    }
    return Py_XNewRef(shape);
}

PyObject *py_report_tensor(const cairn_tensor_info *tensor)
{
    PyObject *values[] = {
        py_report_text(tensor->item),
        py_report_text(tensor->name),
        PyUnicode_FromString(cairn_dtype_name(tensor->dtype)),
        show_shape(tensor),
        PyLong_FromUnsignedLong(tensor->flags),
        COUNT(tensor->size_bytes),
        py_report_text(tensor->file),
        COUNT(tensor->file_offset),
        text_or_none(tensor->digest),
        show_statistics(&tensor->statistics),
    };
    return fill(tensor_type, values, PY_COUNT(values));
}

static PyTypeObject *file_type;
static const char *const file_fields[] = { "name", "size_bytes", "digest" };

PyObject *py_report_file(const cairn_file_info *file)
{
    PyObject *values[] = { py_report_text(file->name), COUNT(file->size_bytes), text_or_none(file->digest) };
    return fill(file_type, values, PY_COUNT(values));
}

static PyTypeObject *status_type;
static const char *const status_fields[] = { "phase",        "step",        "total_bytes", "staged_bytes", "written_bytes",
                                             "linked_bytes", "stall_ns",    "elapsed_ns",  "saves_done",   "saves_failed",
                                             "term",         "arena_bytes", "warnings" };

PyObject *py_report_status(const void *status_of_run)
{
    const cairn_status *status = status_of_run;
    PyObject *values[] = {
        WORD(phase_words, status->phase),  COUNT(status->step),         COUNT(status->total_bytes), COUNT(status->staged_bytes),
        COUNT(status->written_bytes),      COUNT(status->linked_bytes), COUNT(status->stall_ns),    COUNT(status->elapsed_ns),
        COUNT(status->saves_done),         COUNT(status->saves_failed), COUNT(status->term),        COUNT(status->arena_bytes),
        PyLong_FromLong(status->warnings),
    };
    return fill(status_type, values, PY_COUNT(values));
}

static PyTypeObject *save_type;
static const char *const save_fields[] = { "step",       "term",    "total_bytes", "written_bytes", "linked_bytes",
                                           "elapsed_ns", "skipped", "healthy",     "name",          "id" };

PyObject *py_report_save(const void *report_of_save)
{
    const cairn_save_report *report = report_of_save;
    PyObject *values[] = {
        COUNT(report->step),         COUNT(report->term),       COUNT(report->total_bytes), COUNT(report->written_bytes),
        COUNT(report->linked_bytes), COUNT(report->elapsed_ns), TRUTH(report->skipped),     TRUTH(report->healthy),
        text_or_none(report->name),  text_or_none(report->id),
    };
    return fill(save_type, values, PY_COUNT(values));
}

/* ------------------------------------------------------------------------------------------------------------ restoring */

static PyTypeObject *restore_type;
static const char *const restore_fields[] = { "fresh",  "step",  "term",       "epoch",           "name",  "id",
                                              "counts", "bytes", "elapsed_ns", "skipped_damaged", "leaves" };

static PyObject *show_counts(const uint64_t *counts)
{
    PY_AUTO PyObject *map = PyDict_New();
    for (unsigned i = 0; i < CAIRN_OUTCOME_COUNT && map; i++) {
        PY_AUTO PyObject *count = COUNT(counts[i]);
        if (!count || PyDict_SetItemString(map, outcome_words[i], count)) return NULL;
    }
    return Py_XNewRef(map);
}

static PyObject *show_leaves(const struct py_records *leaves)
{
    if (leaves->failed) return PyErr_NoMemory();
    const char *at = leaves->bytes;
    PY_AUTO PyObject *list = PyList_New((Py_ssize_t)leaves->count);
    for (size_t i = 0; i < leaves->count && list; i++) {
        cairn_outcome outcome;
        py_records_take(&at, &outcome, sizeof outcome);
        const char *item = py_records_take_text(&at), *name = py_records_take_text(&at);
        PyObject *leaf = Py_BuildValue("(NNN)", py_report_text(item), py_report_text(name), WORD(outcome_words, outcome));
        if (!leaf || PyList_SetItem(list, (Py_ssize_t)i, leaf)) return NULL;
    }
    return Py_XNewRef(list);
}

PyObject *py_report_restore(const cairn_restore_report *report, const struct py_records *leaves)
{
    PyObject *values[] = {
        TRUTH(report->fresh),        COUNT(report->step),
        COUNT(report->term),         PyFloat_FromDouble(report->epoch),
        text_or_none(report->name),  text_or_none(report->id),
        show_counts(report->counts), COUNT(report->bytes),
        COUNT(report->elapsed_ns),   PyLong_FromUnsignedLong(report->skipped_damaged),
        show_leaves(leaves),
    };
    return fill(restore_type, values, PY_COUNT(values));
}

/* ------------------------------------------------------------------------------------------------------------ verifying */

static PyTypeObject *damage_type;
static const char *const damage_fields[] = { "file", "tensor", "block", "offset", "size_bytes", "code", "message", "shared_with" };

/* What store.c recorded: the struct, then its texts in their order. */
static PyObject *show_damage(const char **at)
{
    cairn_damage damage;
    py_records_take(at, &damage, sizeof damage);
    const char *file = py_records_take_text(at), *tensor = py_records_take_text(at), *message = py_records_take_text(at),
               *shared_with = py_records_take_text(at);
    PyObject *values[] = {
        py_report_text(file),    py_report_text(tensor),      count_or_none(damage.block),
        COUNT(damage.offset),    COUNT(damage.size_bytes),    PyUnicode_FromString(cairn_code_name(damage.code)),
        py_report_text(message), py_report_text(shared_with),
    };
    return fill(damage_type, values, PY_COUNT(values));
}

static PyObject *show_damages(const struct py_records *damages)
{
    if (damages->failed) return PyErr_NoMemory();
    const char *at = damages->bytes;
    PY_AUTO PyObject *list = PyList_New((Py_ssize_t)damages->count);
    for (size_t i = 0; i < damages->count && list; i++) {
        PyObject *damage = show_damage(&at);
        if (!damage || PyList_SetItem(list, (Py_ssize_t)i, damage)) return NULL;
    }
    return Py_XNewRef(list);
}

static PyTypeObject *verify_type;
static const char *const verify_fields[] = { "checked_bytes", "damaged_blocks", "findings", "warnings", "digests_known", "damages" };

PyObject *py_report_verify(const cairn_verify_report *report, const struct py_records *damages, const struct py_records *warnings)
{
    PyObject *values[] = {
        COUNT(report->checked_bytes), COUNT(report->damaged_blocks), COUNT(report->findings),
        py_records_texts(warnings),   TRUTH(report->digests_known),  show_damages(damages),
    };
    return fill(verify_type, values, PY_COUNT(values));
}

/* -------------------------------------------------------------------------------------------------------------- probing */

static PyTypeObject *probe_type;
static const char *const probe_fields[] = { "hard_links", "symlinks",    "rename_new", "exchange",   "writer_lock",  "reader_lock",
                                            "direct_io",  "is_volatile", "folds_case", "free_bytes", "file_sync_ns", "folder_sync_ns" };

PyObject *py_report_probe(const cairn_probe_report *report)
{
    PyObject *values[] = {
        PyLong_FromLong(report->hard_links), PyLong_FromLong(report->symlinks),    PyLong_FromLong(report->rename_new),
        PyLong_FromLong(report->exchange),   PyLong_FromLong(report->writer_lock), PyLong_FromLong(report->reader_lock),
        PyLong_FromLong(report->direct_io),  TRUTH(report->is_volatile),           TRUTH(report->folds_case),
        COUNT(report->free_bytes),           COUNT(report->file_sync_ns),          COUNT(report->folder_sync_ns),
    };
    return fill(probe_type, values, PY_COUNT(values));
}

/* ---------------------------------------------------------------------------------------------------------------- init */

struct type {
    PyTypeObject **type;
    const char *name, *doc;
    const char *const *fields;
    size_t fields_count;
};
#define FIELDS(list) (list), PY_COUNT(list)

static const struct type types[] = {
    { &entry_type, "cairn._native.Entry", "A row of a listing.", FIELDS(entry_fields) },
    { &info_type, "cairn._native.CheckpointInfo", "What is known of an open checkpoint.", FIELDS(info_fields) },
    { &statistics_type, "cairn._native.Statistics", "Figures over a tensor's finite elements, and how many are not.",
      FIELDS(statistics_fields) },
    { &tensor_type, "cairn._native.TensorInfo", "One tensor of a checkpoint.", FIELDS(tensor_fields) },
    { &file_type, "cairn._native.FileInfo", "One file of a checkpoint.", FIELDS(file_fields) },
    { &status_type, "cairn._native.Status", "Figures of the save or restore that runs, or of the last one.", FIELDS(status_fields) },
    { &save_type, "cairn._native.SaveReport", "What a save did.", FIELDS(save_fields) },
    { &restore_type, "cairn._native.RestoreReport", "What a restore did, leaf by leaf.", FIELDS(restore_fields) },
    { &damage_type, "cairn._native.Damage", "One finding of a verify.", FIELDS(damage_fields) },
    { &verify_type, "cairn._native.VerifyReport", "What a verify found.", FIELDS(verify_fields) },
    { &probe_type, "cairn._native.ProbeReport", "What a folder's file system can do.", FIELDS(probe_fields) },
};

static PyTypeObject *new_type(const struct type *type)
{
    PyStructSequence_Field fields[32] = { { NULL, NULL } };
    PyStructSequence_Desc description = { type->name, type->doc, fields, (int)type->fields_count };
    for (size_t i = 0; i < type->fields_count && i + 1 < PY_COUNT(fields); i++) fields[i].name = type->fields[i];
    return PyStructSequence_NewType(&description);
}

int py_report_init(PyObject *module)
{
    for (size_t i = 0; i < PY_COUNT(types); i++) {
        *types[i].type = new_type(&types[i]);
        if (!*types[i].type || PyModule_AddType(module, *types[i].type)) return -1;
    }
    return 0;
}

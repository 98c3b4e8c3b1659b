/* One folder without a run: saving into it, loading from it or from anybody's weights; and what a place can do. */
#include "native.h"

static PyObject *folder_save(PyObject *module, PyObject *args, PyObject *keywords)
{
    (void)module;
    static char *names[] = { "path",        "state",       "replace",     "io_mode", "io_threads",
                             "arena_bytes", "shard_bytes", "attachments", "config",  NULL };
    int code, io_mode_index;
    const char *io_mode = "auto";
    PyObject *state, *attachments = NULL;
    PY_AUTO PyObject *path = NULL;
    PY_AUTO_ATTACHMENTS struct py_attachments files = { 0 };
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
    cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&O|$psO&O&O&Oz:save_folder", names, PyUnicode_FSConverter, &path, &state,
                                     &options.replace, &io_mode, py_convert_small, &options.io_threads, py_convert_count,
                                     &options.arena_bytes, py_convert_count, &options.shard_bytes, &attachments, &options.config))
        return NULL;
    if (py_choose(&py_io_modes, io_mode, &io_mode_index) || py_attachments_read(attachments, &files)) return NULL;
    options.io_mode = (cairn_io_mode)io_mode_index;
    options.attachments = files.files;
    options.attachments_count = files.count;
    cairn_state *handle = py_state_begin_use(state);
    if (!handle) return NULL;
    PY_UNLOCKED(code = cairn_save_folder(py_path(path), handle, &options, &report, &error));
    py_state_end_use(state);
    return code ? py_error_raise(&error) : py_report_save(&report);
}

static PyObject *folder_load(PyObject *module, PyObject *args, PyObject *keywords)
{
    (void)module;
    static char *names[] = { "name", "state", "store", "allow_missing", "items", "choose", "figures", NULL };
    int code;
    PyObject *state, *items = NULL, *choose = NULL, *figures = NULL;
    PY_AUTO PyObject *name = NULL;
    PY_AUTO PyObject *store = NULL;
    PY_AUTO_RESTORE struct py_restore restore = { .options = CAIRN_RESTORE_OPTIONS_INIT };
    cairn_error error = CAIRN_ERROR_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&O|$O&pOOO:load", names, PyUnicode_FSConverter, &name, &state, py_convert_path,
                                     &store, &restore.options.allow_missing, &items, &choose, &figures))
        return NULL;
    if (py_restore_begin(state, items, choose, &restore) || py_restore_tell(figures, &restore)) return NULL;
    PY_UNLOCKED(code = cairn_load(py_path(store), py_path(name), restore.state, &restore.options, &restore.report, &error));
    return py_restore_end(&restore, code, &error);
}

static PyObject *folder_probe(PyObject *module, PyObject *args)
{
    (void)module;
    int code;
    PY_AUTO PyObject *path = NULL;
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_probe_report report = CAIRN_PROBE_REPORT_INIT;
    if (!PyArg_ParseTuple(args, "O&:probe", PyUnicode_FSConverter, &path)) return NULL;
    PY_UNLOCKED(code = cairn_probe(py_path(path), &report, &error));
    return code ? py_error_raise(&error) : py_report_probe(&report);
}

PyMethodDef py_folder_methods[] = {
    { "save_folder", PY_WITH_KEYWORDS(folder_save), NULL },
    { "load", PY_WITH_KEYWORDS(folder_load), NULL },
    { "probe", folder_probe, METH_VARARGS, NULL },
    { NULL, NULL, 0, NULL },
};

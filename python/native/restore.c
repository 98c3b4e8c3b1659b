/* What Run.restore and load have in common: the state that is filled, or the caller's function that chooses it; and the leaves, which are told while the
 * GIL is free. */
#include "native.h"

#include <stdio.h>
#include <string.h>

static void record_leaf(void *user, const char *item, const char *name, cairn_outcome outcome)
{
    struct py_records *leaves = &((struct py_restore *)user)->leaves;
    py_records_put(leaves, &outcome, sizeof outcome);
    py_records_text(leaves, item);
    py_records_text(leaves, name);
    leaves->count++;
}

static bool is_in_use(const struct py_restore *restore, const PyObject *state)
{
    Py_ssize_t i = PyList_Size(restore->states);
    while (i > 0 && PyList_GetItem(restore->states, i - 1) != state) i--;
    return i > 0;
}

/* NULL: with an exception. A state that was chosen before is in use already. */
static cairn_state *use(struct py_restore *restore, PyObject *state)
{
    bool again = is_in_use(restore, state);
    if (again) py_state_end_use(state);
    cairn_state *handle = py_state_begin_use(state);
    if (!handle || again || !PyList_Append(restore->states, state)) return handle;
    py_state_end_use(state);
    return NULL;
}

/* Calls choose(checkpoint), which may look at it until it returns. */
static cairn_state *choose(struct py_restore *restore, const cairn_checkpoint *checkpoint)
{
    PY_AUTO PyObject *lent = py_checkpoint_lend(checkpoint);
    PY_AUTO PyObject *state = lent ? PyObject_CallFunctionObjArgs(restore->choose, lent, NULL) : NULL;
    if (lent) py_checkpoint_end_loan(lent);
    return state ? use(restore, state) : NULL;
}

static int state_for(void *user, const cairn_checkpoint *checkpoint, cairn_state **ret_state, cairn_error *err)
{
    struct py_restore *restore = user;
    PyGILState_STATE gil = PyGILState_Ensure();
    *ret_state = choose(restore, checkpoint);
    py_replace(&restore->error, *ret_state ? NULL : py_error_take(err));
    snprintf(restore->said, sizeof restore->said, "%.127s", err->message);
    PyGILState_Release(gil);
    return *ret_state ? CAIRN_OK : err->code;
}

int py_restore_begin(PyObject *state, PyObject *items, PyObject *choose_state, struct py_restore *restore)
{
    restore->report = (cairn_restore_report)CAIRN_RESTORE_REPORT_INIT;
    restore->states = PyList_New(0);
    restore->choose = choose_state == Py_None ? NULL : choose_state;
    if (!restore->states || py_texts_read(items, "items", &restore->items) || py_callback_check(restore->choose, "choose")) return -1;
    if (state != Py_None || !restore->choose) restore->state = use(restore, state);
    if (!restore->state && !restore->choose) return -1;
    restore->options.items = restore->items.texts;
    restore->options.items_count = restore->items.count;
    restore->options.state_for = restore->choose ? state_for : NULL;
    restore->options.user = restore;
    restore->report.leaf = record_leaf;
    restore->report.user = restore;
    return 0;
}

/* No Python: on the caller's thread a signal's handler would be called in it, and what that raises be lost. */
static void write_figures(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    uint64_t *figures = ((struct py_restore *)user)->figures.buf;
    __atomic_store_n(&figures[0], done_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&figures[1], total_bytes, __ATOMIC_RELAXED);
}

int py_restore_tell(PyObject *figures, struct py_restore *restore)
{
    if (!figures || figures == Py_None) return 0;
    if (PyObject_GetBuffer(figures, &restore->figures, PyBUF_WRITABLE)) return -1;
    if (restore->figures.len != 2 * sizeof(uint64_t) || (uintptr_t)restore->figures.buf % sizeof(uint64_t)) {
        PyErr_SetString(PyExc_ValueError, "figures: an array of two 64-bit numbers is needed: array(\"Q\", (0, 0))");
        return -1;
    }
    restore->options.progress = write_figures;
    return 0;
}

PyObject *py_restore_end(struct py_restore *restore, int code, const cairn_error *err)
{
    if (!code) return py_report_restore(&restore->report, &restore->leaves);
    if (!restore->error || !strstr(err->message, restore->said)) return py_error_raise(err);
    PyObject *error = restore->error;
    restore->error = NULL;
    if (code == CAIRN_E_TORN_STATE) return py_error_raise_from(err, error);
    py_error_again(error);
    return NULL;
}

void py_restore_done(struct py_restore *restore)
{
    for (Py_ssize_t i = restore->states ? PyList_Size(restore->states) : 0; i-- > 0;) py_state_end_use(PyList_GetItem(restore->states, i));
    Py_XDECREF(restore->states);
    if (restore->figures.obj) PyBuffer_Release(&restore->figures);
    py_texts_done(&restore->items);
    py_records_done(&restore->leaves);
    Py_XDECREF(restore->error);
}

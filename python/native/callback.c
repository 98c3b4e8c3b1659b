/* The user's functions, called from the library's threads. They wait for the GIL, so whoever waits for the library must not hold it. */
#include "native.h"

atomic_bool py_callback_ended;

static bool is_given(PyObject *callable)
{
    return callable && callable != Py_None && !py_callback_ended;
}

/* Takes argument; NULL: making it failed. The callable is held, for it may let go of itself. */
static void call(PyObject *callable, PyObject *argument)
{
    PY_AUTO PyObject *held = Py_NewRef(callable);
    PY_AUTO PyObject *result = argument ? PyObject_CallFunctionObjArgs(held, argument, NULL) : NULL;
    if (!result) PyErr_WriteUnraisable(held);
    Py_XDECREF(argument);
}

void py_callback_message(PyObject *callable, const char *message)
{
    if (!is_given(callable)) return;
    PyGILState_STATE gil = PyGILState_Ensure();
    call(callable, py_report_text(message));
    PyGILState_Release(gil);
}

void py_callback_progress(PyObject *callable, uint64_t done_bytes, uint64_t total_bytes)
{
    if (!is_given(callable)) return;
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *result = PyObject_CallFunction(callable, "KK", (unsigned long long)done_bytes, (unsigned long long)total_bytes);
    if (!result) PyErr_WriteUnraisable(callable);
    Py_XDECREF(result);
    PyGILState_Release(gil);
}

void py_callback_report(PyObject *callable, PyObject *(*make)(const void *report), const void *report)
{
    if (!is_given(callable)) return;
    PyGILState_STATE gil = PyGILState_Ensure();
    call(callable, make(report));
    PyGILState_Release(gil);
}

const char *py_callback_text(PyObject *callable, PyObject **held)
{
    if (!is_given(callable)) return NULL;
    const char *text = "?";
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *said = PyObject_CallNoArgs(callable);
    const char *name = said && said != Py_None ? PyUnicode_AsUTF8AndSize(said, NULL) : NULL;
    if (name || said == Py_None) text = name;
    if (PyErr_Occurred()) PyErr_WriteUnraisable(callable);
    py_replace(held, said);
    PyGILState_Release(gil);
    return text;
}

int py_callback_check(PyObject *callable, const char *what)
{
    if (!callable || callable == Py_None || PyCallable_Check(callable)) return 0;
    PyErr_Format(PyExc_TypeError, "%s must be callable or None", what);
    return -1;
}

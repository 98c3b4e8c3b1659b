/* The one place where a code becomes an exception: cairn._errors says which class it is. */
#include "native.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static PyObject *make; /* cairn._errors.make, looked up at the first failure */

static int find_make(void)
{
    if (make) return 0;
    PY_AUTO PyObject *errors = PyImport_ImportModule("cairn._errors");
    if (errors) make = PyObject_GetAttrString(errors, "make");
    return make ? 0 : -1;
}

static PyObject *raise(int code, PyObject *message, int os_errno, uint64_t offset, int cause)
{
    if (!message || find_make()) return NULL;
    PY_AUTO PyObject *at = offset == CAIRN_NO_OFFSET ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(offset);
    if (!at) return NULL;
    PY_AUTO PyObject *error =
        PyObject_CallFunction(make, "sOiOs", cairn_code_name(code), message, os_errno, at, cause ? cairn_code_name(cause) : "");
    if (error) PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    return NULL;
}

PyObject *py_error_raise(const cairn_error *err)
{
    PY_AUTO PyObject *message = PyUnicode_DecodeUTF8(err->message, (Py_ssize_t)strlen(err->message), "replace");
    return raise(err->code, message, err->os_errno, err->offset, err->cause);
}

PyObject *py_error_say(int code, const char *format, ...)
{
    cairn_error error = CAIRN_ERROR_INIT;
    error.code = code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.message, sizeof error.message, format, arguments);
    va_end(arguments);
    return py_error_raise(&error);
}

PyObject *py_error_text(int code, PyObject *message)
{
    PY_AUTO PyObject *taken = message;
    return raise(code, taken, 0, CAIRN_NO_OFFSET, CAIRN_OK);
}

/* ------------------------------------------------------------------------------------------------------- an exception in C's words */

static PyObject *take(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value && traceback) (void)PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

/* A number of the library's for a name of its own. */
static int find_code(const char *name)
{
    for (int code = CAIRN_E_FORMAT; code >= CAIRN_E_NOMEM; code--)
        if (!strcmp(cairn_code_name(code), name)) return code;
    return CAIRN_E_CANCELLED;
}

static int code_of(PyObject *exception)
{
    PY_AUTO PyObject *name = PyObject_GetAttrString(exception, "code"); /* SystemExit has one, too: a number, or any text */
    const char *text = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
    int code = text ? find_code(text) : CAIRN_E_CANCELLED;
    PyErr_Clear();
    return code;
}

static int errno_of(PyObject *exception)
{
    PY_AUTO PyObject *number = PyObject_GetAttrString(exception, "os_errno");
    long value = number ? PyLong_AsLong(number) : 0;
    bool bad = PyErr_Occurred() != NULL;
    PyErr_Clear();
    return bad ? 0 : (int)value;
}

PyObject *py_error_take(cairn_error *ret_error)
{
    PyObject *exception = take();
    PY_AUTO PyObject *said = exception ? PyObject_Str(exception) : NULL;
    const char *text = said ? PyUnicode_AsUTF8AndSize(said, NULL) : NULL;
    PyErr_Clear();
    snprintf(ret_error->message, sizeof ret_error->message, "%s", text && *text ? text : "the caller's function failed");
    ret_error->cause = CAIRN_OK;
    ret_error->code = exception ? code_of(exception) : CAIRN_E_CANCELLED;
    ret_error->os_errno = exception ? errno_of(exception) : 0;
    return exception;
}

void py_error_again(PyObject *exception)
{
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_DECREF(exception);
}

PyObject *py_error_raise_from(const cairn_error *err, PyObject *cause)
{
    (void)py_error_raise(err);
    PyObject *exception = take();
    PyException_SetCause(exception, cause);
    py_error_again(exception);
    return NULL;
}

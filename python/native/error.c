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

static PyObject *raise(int code, PyObject *message, int os_errno, uint64_t offset)
{
    if (!message || find_make()) return NULL;
    PY_AUTO PyObject *at = offset == CAIRN_NO_OFFSET ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(offset);
    if (!at) return NULL;
    PY_AUTO PyObject *error = PyObject_CallFunction(make, "sOiO", cairn_code_name(code), message, os_errno, at);
    if (error) PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    return NULL;
}

PyObject *py_error_raise(const cairn_error *err)
{
    PY_AUTO PyObject *message = PyUnicode_DecodeUTF8(err->message, (Py_ssize_t)strlen(err->message), "replace");
    return raise(err->code, message, err->os_errno, err->offset);
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
    return raise(code, taken, 0, CAIRN_NO_OFFSET);
}

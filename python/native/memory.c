/* What memory a list of torch's tensors lies in, as bytes to be compared with those of another time. torch is not linked: its tensors are asked, as Python
 * would ask them. */
#include "native.h"

struct names {
    PyObject *address, *dtype, *shape, *strides, *is_negative;
};

/* A method without arguments that answers with a number or a bool. */
static int ask_number(PyObject *tensor, PyObject *method, uint64_t *ret_number)
{
    PY_AUTO PyObject *bound = PyObject_GetAttr(tensor, method);
    PY_AUTO PyObject *number = bound ? PyObject_CallNoArgs(bound) : NULL;
    *ret_number = number ? PyLong_AsUnsignedLongLong(number) : 0;
    return PyErr_Occurred() ? -1 : 0;
}

static int put_extents(struct py_records *places, PyObject *extents)
{
    Py_ssize_t count = extents ? PyTuple_Size(extents) : -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        int64_t extent = PyLong_AsLongLong(PyTuple_GetItem(extents, i));
        if (extent == -1 && PyErr_Occurred()) return -1;
        py_records_put(places, &extent, sizeof extent);
    }
    return count < 0 ? -1 : 0;
}

static int put_tensor(struct py_records *places, PyObject *tensor, const struct names *names)
{
    uint64_t words[4] = { 0 };
    PY_AUTO PyObject *dtype = PyObject_GetAttr(tensor, names->dtype);
    PY_AUTO PyObject *shape = dtype ? PyObject_GetAttr(tensor, names->shape) : NULL;
    PY_AUTO PyObject *stride = shape ? PyObject_GetAttr(tensor, names->strides) : NULL;
    PY_AUTO PyObject *strides = stride ? PyObject_CallNoArgs(stride) : NULL;
    if (!strides || ask_number(tensor, names->address, &words[0]) || ask_number(tensor, names->is_negative, &words[1])) return -1;
    words[2] = (uintptr_t)dtype; /* there is one of each */
    words[3] = (uint64_t)PyTuple_Size(shape);
    py_records_put(places, words, sizeof words);
    return put_extents(places, shape) || put_extents(places, strides) ? -1 : 0;
}

static int put_all(struct py_records *places, PyObject *tensors, const struct names *names)
{
    Py_ssize_t count = PyList_Size(tensors);
    for (Py_ssize_t i = 0; i < count; i++) {
        PY_AUTO PyObject *tensor = Py_XNewRef(PyList_GetItem(tensors, i)); /* what is asked may change the list */
        if (!tensor || put_tensor(places, tensor, names)) return -1;
    }
    if (count >= 0 && places->failed) PyErr_NoMemory();
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *tensor_memory(PyObject *module, PyObject *tensors)
{
    (void)module;
    PY_AUTO PyObject *address = PyUnicode_InternFromString("data_ptr");
    PY_AUTO PyObject *dtype = PyUnicode_InternFromString("dtype");
    PY_AUTO PyObject *shape = PyUnicode_InternFromString("shape");
    PY_AUTO PyObject *strides = PyUnicode_InternFromString("stride");
    PY_AUTO PyObject *is_negative = PyUnicode_InternFromString("is_neg");
    PY_AUTO_RECORDS struct py_records places = { 0 };
    if (!address || !dtype || !shape || !strides || !is_negative) return NULL;
    if (put_all(&places, tensors, &(struct names){ address, dtype, shape, strides, is_negative })) return NULL;
    return PyBytes_FromStringAndSize(places.bytes, (Py_ssize_t)places.size);
}

PyMethodDef py_memory_methods[] = {
    { "tensor_memory", tensor_memory, METH_O, NULL },
    { NULL, NULL, 0, NULL },
};

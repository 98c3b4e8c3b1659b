/* Whether what is saved is as it was at another time: the same objects, and in which memory a list of torch's tensors lies, as bytes to be compared.
 * torch is not linked: its tensors are asked by DLPack, and those that it cannot describe as Python would ask them. */
#include "native.h"

/* What is asked of each tensor. */
struct questions {
    py_dlpack_fn describe; /* NULL: there is none */
    PyObject *is_negative; /* torch.Tensor.is_neg */
    PyObject *address, *dtype, *shape, *strides;
};

static int read_number(PyObject *number, uint64_t *ret_number)
{
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

/* As Python would ask. */
static int put_asked(struct py_records *places, PyObject *tensor, const struct questions *questions)
{
    uint64_t words[3];
    PY_AUTO PyObject *dtype = PyObject_GetAttr(tensor, questions->dtype);
    PY_AUTO PyObject *shape = dtype ? PyObject_GetAttr(tensor, questions->shape) : NULL;
    PY_AUTO PyObject *stride = shape ? PyObject_GetAttr(tensor, questions->strides) : NULL;
    PY_AUTO PyObject *strides = stride ? PyObject_CallNoArgs(stride) : NULL;
    PY_AUTO PyObject *bound = strides ? PyObject_GetAttr(tensor, questions->address) : NULL;
    PY_AUTO PyObject *address = bound ? PyObject_CallNoArgs(bound) : NULL;
    if (read_number(address, &words[0])) return -1;
    words[1] = (uintptr_t)dtype; /* there is one of each */
    words[2] = (uint64_t)PyTuple_Size(shape);
    py_records_put(places, words, sizeof words);
    return put_extents(places, shape) || put_extents(places, strides) ? -1 : 0;
}

/* Whether it could be described. */
static bool put_described(struct py_records *places, PyObject *tensor, py_dlpack_fn describe)
{
    struct py_dlpack found;
    if (!describe || describe(tensor, &found) || (found.rank && !found.strides)) return PyErr_Clear(), false;
    uint64_t type = (uint64_t)found.type << 32 | (uint64_t)found.bits << 16 | found.lanes;
    uint64_t words[] = { (uintptr_t)found.address + found.offset_bytes, type, (uint64_t)found.rank };
    py_records_put(places, words, sizeof words);
    if (!found.rank) return true;
    py_records_put(places, found.shape, (size_t)found.rank * sizeof *found.shape);
    py_records_put(places, found.strides, (size_t)found.rank * sizeof *found.strides);
    return true;
}

static int put_tensor(struct py_records *places, PyObject *tensor, const struct questions *questions)
{
    uint64_t is_negative;
    PY_AUTO PyObject *answer = PyObject_CallFunctionObjArgs(questions->is_negative, tensor, NULL);
    if (read_number(answer, &is_negative)) return -1;
    py_records_put(places, &is_negative, sizeof is_negative);
    return put_described(places, tensor, questions->describe) ? 0 : put_asked(places, tensor, questions);
}

static int put_all(struct py_records *places, PyObject *tensors, const struct questions *questions)
{
    Py_ssize_t count = PyList_Size(tensors);
    for (Py_ssize_t i = 0; i < count; i++) {
        PY_AUTO PyObject *tensor = Py_XNewRef(PyList_GetItem(tensors, i)); /* what is asked may change the list */
        if (!tensor || put_tensor(places, tensor, questions)) return -1;
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
    PY_AUTO_RECORDS struct py_records places = { 0 };
    if (!PyList_Size(tensors)) return PyBytes_FromStringAndSize(NULL, 0);
    PY_AUTO PyObject *first = PyErr_Occurred() ? NULL : Py_XNewRef(PyList_GetItem(tensors, 0));
    PY_AUTO PyObject *is_negative = first ? PyObject_GetAttrString((PyObject *)Py_TYPE(first), "is_neg") : NULL;
    if (!is_negative || !address || !dtype || !shape || !strides) return NULL;
    struct questions questions = { py_dlpack_of(first), is_negative, address, dtype, shape, strides };
    if (put_all(&places, tensors, &questions)) return NULL;
    return PyBytes_FromStringAndSize(places.bytes, (Py_ssize_t)places.size);
}

/* same_objects(objects, others): two lists. */
static PyObject *same_objects(PyObject *module, PyObject *args)
{
    PyObject *objects, *others;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!:same_objects", &PyList_Type, &objects, &PyList_Type, &others)) return NULL;
    Py_ssize_t count = PyList_Size(objects);
    bool same = count == PyList_Size(others);
    for (Py_ssize_t i = 0; i < count && same; i++) same = PyList_GetItem(objects, i) == PyList_GetItem(others, i);
    return PyBool_FromLong(same);
}

PyMethodDef py_memory_methods[] = {
    { "same_objects", same_objects, METH_VARARGS, NULL },
    { "tensor_memory", tensor_memory, METH_O, NULL },
    { NULL, NULL, 0, NULL },
};

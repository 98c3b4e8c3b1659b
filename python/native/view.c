/* View: the bytes of a tensor as they lie in its file, read only, through the buffer protocol. It is a user of its checkpoint while it lives. */
#include "native.h"

struct view {
    PyObject base; /* what every object begins with */
    PyObject *checkpoint;
    const void *data;
    uint64_t size_bytes;
};

static PyTypeObject *view_type;

static struct view *cast(PyObject *object)
{
    return (struct view *)(void *)object;
}

PyObject *py_view_new(PyObject *checkpoint, const void *data, uint64_t size_bytes)
{
    PyObject *object = PyType_GenericAlloc(view_type, 0);
    if (!object) return NULL;
    cast(object)->checkpoint = Py_NewRef(checkpoint);
    cast(object)->data = data;
    cast(object)->size_bytes = size_bytes;
    return object;
}

static void view_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    py_checkpoint_give_back(cast(self)->checkpoint);
    Py_DECREF(cast(self)->checkpoint);
    PyObject_Free(self);
    Py_DECREF(type);
}

static int view_get_buffer(PyObject *self, Py_buffer *buffer, int flags)
{
    void *data = (void *)(uintptr_t)cast(self)->data; /* said to be read only */
    return PyBuffer_FillInfo(buffer, self, data, (Py_ssize_t)cast(self)->size_bytes, 1, flags);
}

static Py_ssize_t view_length(PyObject *self)
{
    return (Py_ssize_t)cast(self)->size_bytes;
}

static PyType_Slot view_slots[] = {
    { Py_tp_doc, "The bytes of a tensor, read only; memoryview(view) and numpy.frombuffer(view, dtype) show them without a copy." },
    { Py_tp_dealloc, view_dealloc },
    { Py_bf_getbuffer, view_get_buffer },
    { Py_sq_length, view_length },
    { 0, NULL },
};

static PyType_Spec view_spec = {
    .name = "cairn._native.View",
    .basicsize = sizeof(struct view),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = view_slots,
};

int py_view_init(PyObject *module)
{
    view_type = (PyTypeObject *)PyType_FromSpec(&view_spec);
    return view_type ? PyModule_AddType(module, view_type) : -1;
}

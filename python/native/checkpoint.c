/* Checkpoint: an open checkpoint. What works on it - a read without the GIL, a view - is a user of it; one that is closed meanwhile stays open until its
 * last user has gone, so that no memory vanishes under an array. */
#include "native.h"

#include <time.h>

struct checkpoint {
    PyObject base; /* what every object begins with */
    cairn_checkpoint *handle;
    PyObject *tensors; /* the tuple, once it was asked for */
    size_t users;
    bool closed;
    bool lent; /* the handle belongs to a restore that runs */
};

static PyTypeObject *checkpoint_type;

static struct checkpoint *cast(PyObject *object)
{
    return (struct checkpoint *)(void *)object;
}

/* ---------------------------------------------------------------------------------------------------------------- life */

static PyObject *new_object(cairn_checkpoint *handle, bool lent)
{
    PyObject *object = PyType_GenericAlloc(checkpoint_type, 0);
    if (object) {
        cast(object)->handle = handle;
        cast(object)->lent = lent;
    } else if (!lent)
        PY_UNLOCKED(cairn_checkpoint_close(handle));
    return object;
}

PyObject *py_checkpoint_wrap(cairn_checkpoint *checkpoint)
{
    return new_object(checkpoint, false);
}

PyObject *py_checkpoint_lend(const cairn_checkpoint *checkpoint)
{
    return new_object((cairn_checkpoint *)(uintptr_t)checkpoint, true); /* what would change it asks whether it is lent */
}

void py_checkpoint_end_loan(PyObject *object)
{
    struct checkpoint *self = cast(object);
    struct timespec pause = { 0, 1000000 };
    self->closed = true;
    while (self->users) PY_UNLOCKED(nanosleep(&pause, NULL)); /* another thread of the caller's still reads */
    self->handle = NULL;
}

static PyObject *checkpoint_new(PyTypeObject *type, PyObject *args, PyObject *options)
{
    (void)type; /* there are no subclasses */
    static char *names[] = { "name", "store", NULL };
    PY_AUTO PyObject *name = NULL;
    PY_AUTO PyObject *store = NULL;
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_checkpoint *handle;
    int code;
    if (!PyArg_ParseTupleAndKeywords(args, options, "O&|O&:Checkpoint", names, PyUnicode_FSConverter, &name, py_convert_path, &store))
        return NULL;
    PY_UNLOCKED(code = cairn_checkpoint_open(py_path(store), py_path(name), &handle, &error));
    return code ? py_error_raise(&error) : new_object(handle, false);
}

static void close_unused(struct checkpoint *self)
{
    cairn_checkpoint *handle = self->handle;
    if (self->users || !handle) return;
    self->handle = NULL;
    if (!self->lent) PY_UNLOCKED(cairn_checkpoint_close(handle));
}

/* The handle, until it is given back. */
static cairn_checkpoint *begin_use(PyObject *object)
{
    struct checkpoint *self = cast(object);
    if (self->closed)
        return py_error_say(CAIRN_E_USAGE,
                            "this checkpoint is closed: open it again, by manager.checkpoint(step) or cairn.Checkpoint(path)"),
               NULL;
    self->users++;
    return self->handle;
}

void py_checkpoint_give_back(PyObject *object)
{
    struct checkpoint *self = cast(object);
    self->users--;
    if (self->closed) close_unused(self);
}

static PyObject *checkpoint_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    cast(self)->closed = true;
    close_unused(cast(self));
    return Py_NewRef(Py_None);
}

static void checkpoint_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    close_unused(cast(self));
    Py_XDECREF(cast(self)->tensors);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *checkpoint_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

static PyObject *checkpoint_exit(PyObject *self, PyObject *args)
{
    return checkpoint_close(self, args);
}

/* ------------------------------------------------------------------------------------------------------------- looking */

static PyObject *checkpoint_info(PyObject *self, void *unused)
{
    (void)unused;
    cairn_checkpoint *handle = begin_use(self);
    if (!handle) return NULL;
    PyObject *info = py_report_info(cairn_checkpoint_get_info(handle));
    py_checkpoint_give_back(self);
    return info;
}

static PyObject *make_tensors(const cairn_checkpoint *handle)
{
    size_t count = cairn_checkpoint_get_info(handle)->tensors_count;
    PY_AUTO PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; i < count && tuple; i++) {
        PyObject *tensor = py_report_tensor(cairn_checkpoint_tensor(handle, i));
        if (!tensor || PyTuple_SetItem(tuple, (Py_ssize_t)i, tensor)) return NULL;
    }
    return Py_XNewRef(tuple);
}

static PyObject *checkpoint_tensors(PyObject *self, void *unused)
{
    (void)unused;
    cairn_checkpoint *handle = begin_use(self);
    if (!handle) return NULL;
    PY_AUTO PyObject *tensors = cast(self)->tensors ? Py_NewRef(cast(self)->tensors) : make_tensors(handle);
    if (tensors && !cast(self)->tensors) cast(self)->tensors = Py_NewRef(tensors);
    py_checkpoint_give_back(self);
    return Py_XNewRef(tensors);
}

static PyObject *make_files(const cairn_checkpoint *handle)
{
    size_t count = cairn_checkpoint_get_info(handle)->files_count;
    PY_AUTO PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; i < count && tuple; i++) {
        PyObject *file = py_report_file(cairn_checkpoint_file(handle, i));
        if (!file || PyTuple_SetItem(tuple, (Py_ssize_t)i, file)) return NULL;
    }
    return Py_XNewRef(tuple);
}

static PyObject *checkpoint_files(PyObject *self, void *unused)
{
    (void)unused;
    cairn_checkpoint *handle = begin_use(self);
    if (!handle) return NULL;
    PyObject *files = make_files(handle);
    py_checkpoint_give_back(self);
    return files;
}

static PyObject *checkpoint_find(PyObject *self, PyObject *args)
{
    const char *item, *name;
    if (!PyArg_ParseTuple(args, "ss:find", &item, &name)) return NULL;
    cairn_checkpoint *handle = begin_use(self);
    if (!handle) return NULL;
    const cairn_tensor_info *tensor = cairn_checkpoint_find(handle, item, name);
    PyObject *found = tensor ? py_report_tensor(tensor) : Py_NewRef(Py_None);
    py_checkpoint_give_back(self);
    return found;
}

static PyObject *checkpoint_values(PyObject *self, PyObject *unused)
{
    (void)unused;
    cairn_checkpoint *handle = begin_use(self);
    if (!handle) return NULL;
    const cairn_value *values = cairn_checkpoint_values(handle);
    PyObject *shown = values ? py_value_show(values) : PyDict_New();
    py_checkpoint_give_back(self);
    return shown;
}

static PyObject *checkpoint_provenance(PyObject *self, PyObject *unused)
{
    (void)unused;
    cairn_checkpoint *handle = begin_use(self);
    if (!handle) return NULL;
    PyObject *text = py_report_text(cairn_checkpoint_provenance(handle));
    py_checkpoint_give_back(self);
    return text;
}

/* ------------------------------------------------------------------------------------------------------------- reading */

/* A tensor is named by its TensorInfo, or by (item, name): the first two of either. */
static const cairn_tensor_info *find_tensor(const cairn_checkpoint *handle, PyObject *named)
{
    if (!PyTuple_Check(named) || PyTuple_Size(named) < 2) {
        PyErr_Format(PyExc_TypeError, "a TensorInfo or (item, name) is needed, not %R", named);
        return NULL;
    }
    const char *item = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(named, 0), NULL);
    const char *name = item ? PyUnicode_AsUTF8AndSize(PyTuple_GetItem(named, 1), NULL) : NULL;
    if (!name) return NULL;
    const cairn_tensor_info *tensor = cairn_checkpoint_find(handle, item, name);
    if (tensor) return tensor;
    return py_error_say(CAIRN_E_NOTFOUND, "%s: no tensor '%s' in item '%s'", cairn_checkpoint_get_info(handle)->path, name, item), NULL;
}

static PyObject *read_range(const cairn_checkpoint *handle, PyObject *named, uint64_t offset, const Py_buffer *out)
{
    int code;
    cairn_error error = CAIRN_ERROR_INIT;
    const cairn_tensor_info *tensor = find_tensor(handle, named);
    if (!tensor) return NULL;
    PY_UNLOCKED(code = cairn_checkpoint_read(handle, tensor, offset, (size_t)out->len, out->buf, &error));
    return code ? py_error_raise(&error) : Py_NewRef(Py_None);
}

static PyObject *checkpoint_read(PyObject *self, PyObject *args, PyObject *options)
{
    static char *names[] = { "tensor", "out", "offset", NULL };
    PyObject *named, *out;
    uint64_t offset = 0;
    Py_buffer buffer;
    if (!PyArg_ParseTupleAndKeywords(args, options, "OO|O&:read", names, &named, &out, py_convert_count, &offset)) return NULL;
    if (PyObject_GetBuffer(out, &buffer, PyBUF_WRITABLE)) return NULL;
    cairn_checkpoint *handle = begin_use(self);
    PyObject *result = handle ? read_range(handle, named, offset, &buffer) : NULL;
    if (handle) py_checkpoint_give_back(self);
    PyBuffer_Release(&buffer);
    return result;
}

struct box {
    uint64_t start[CAIRN_MAX_RANK], extent[CAIRN_MAX_RANK];
    uint32_t start_rank, extent_rank;
};

static PyObject *read_box(const cairn_checkpoint *handle, PyObject *named, const struct box *box, const Py_buffer *out)
{
    int code;
    cairn_error error = CAIRN_ERROR_INIT;
    const cairn_tensor_info *tensor = find_tensor(handle, named);
    if (!tensor) return NULL;
    if (box->start_rank != tensor->rank || box->extent_rank != tensor->rank)
        return py_error_say(CAIRN_E_USAGE, "%s: the tensor has %u dimensions, start %u and extent %u", tensor->name, tensor->rank,
                            box->start_rank, box->extent_rank);
    PY_UNLOCKED(code = cairn_checkpoint_read_slice(handle, tensor, box->start, box->extent, out->buf, (size_t)out->len, &error));
    return code ? py_error_raise(&error) : Py_NewRef(Py_None);
}

static PyObject *checkpoint_read_slice(PyObject *self, PyObject *args, PyObject *options)
{
    static char *names[] = { "tensor", "start", "extent", "out", NULL };
    PyObject *named, *start, *extent, *out;
    struct box box;
    Py_buffer buffer;
    if (!PyArg_ParseTupleAndKeywords(args, options, "OOOO:read_slice", names, &named, &start, &extent, &out)) return NULL;
    if (py_read_extents(start, "start", box.start, &box.start_rank)) return NULL;
    if (py_read_extents(extent, "extent", box.extent, &box.extent_rank)) return NULL;
    if (PyObject_GetBuffer(out, &buffer, PyBUF_WRITABLE)) return NULL;
    cairn_checkpoint *handle = begin_use(self);
    PyObject *result = handle ? read_box(handle, named, &box, &buffer) : NULL;
    if (handle) py_checkpoint_give_back(self);
    PyBuffer_Release(&buffer);
    return result;
}

/* The view is a user from here on. */
static PyObject *map_tensor(PyObject *self, cairn_checkpoint *handle, PyObject *named)
{
    int code;
    const void *data;
    cairn_error error = CAIRN_ERROR_INIT;
    const cairn_tensor_info *tensor = find_tensor(handle, named);
    if (!tensor) return NULL;
    if (cast(self)->lent)
        return py_error_say(CAIRN_E_USAGE, "a checkpoint that is just being restored from cannot be mapped: open it by its path");
    PY_UNLOCKED(code = cairn_checkpoint_map(handle, tensor, &data, &error));
    return code ? py_error_raise(&error) : py_view_new(self, data, tensor->size_bytes);
}

static PyObject *checkpoint_map(PyObject *self, PyObject *named)
{
    cairn_checkpoint *handle = begin_use(self);
    PyObject *view = handle ? map_tensor(self, handle, named) : NULL;
    if (handle && !view) py_checkpoint_give_back(self);
    return view;
}

/* ---------------------------------------------------------------------------------------------------------------- type */

static PyMethodDef checkpoint_methods[] = {
    { "find", checkpoint_find, METH_VARARGS, NULL },
    { "values", checkpoint_values, METH_NOARGS, NULL },
    { "provenance", checkpoint_provenance, METH_NOARGS, NULL },
    { "read", PY_WITH_KEYWORDS(checkpoint_read), NULL },
    { "read_slice", PY_WITH_KEYWORDS(checkpoint_read_slice), NULL },
    { "map", checkpoint_map, METH_O, NULL },
    { "close", checkpoint_close, METH_NOARGS, NULL },
    { "__enter__", checkpoint_enter, METH_NOARGS, NULL },
    { "__exit__", checkpoint_exit, METH_VARARGS, NULL },
    { NULL, NULL, 0, NULL },
};

static PyGetSetDef checkpoint_properties[] = {
    { "info", checkpoint_info, NULL, NULL, NULL },
    { "tensors", checkpoint_tensors, NULL, NULL, NULL },
    { "files", checkpoint_files, NULL, NULL, NULL },
    { NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot checkpoint_slots[] = {
    { Py_tp_doc, "An open checkpoint, .safetensors file or sharded folder." },
    { Py_tp_new, checkpoint_new },
    { Py_tp_dealloc, checkpoint_dealloc },
    { Py_tp_methods, checkpoint_methods },
    { Py_tp_getset, checkpoint_properties },
    { 0, NULL },
};

static PyType_Spec checkpoint_spec = {
    .name = "cairn._native.Checkpoint",
    .basicsize = sizeof(struct checkpoint),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = checkpoint_slots,
};

int py_checkpoint_init(PyObject *module)
{
    checkpoint_type = (PyTypeObject *)PyType_FromSpec(&checkpoint_spec);
    return checkpoint_type ? PyModule_AddType(module, checkpoint_type) : -1;
}

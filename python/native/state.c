/* State: what is saved and restored. It keeps alive what its tensors lie in. Only one call at a time works on the state of the library; what would
 * change it meanwhile is refused, not queued, for it would be a mistake of the caller's. */
#include "native.h"

#include <stdlib.h>

struct state {
    PyObject base; /* what every object begins with */
    cairn_state *handle;
    PyObject *owners;           /* a list */
    struct py_reached *reached; /* by what its tensors are that have no address */
    int users;                  /* calls that work on it without the GIL */
};

PyTypeObject *py_state_type;

static struct state *cast(PyObject *object)
{
    return (struct state *)(void *)object;
}

/* The handle, for the thread that holds the GIL. */
static cairn_state *look(PyObject *object)
{
    struct state *self = cast(object);
    if (!self->users && self->handle) return self->handle;
    return py_error_say(CAIRN_E_USAGE, "this state is saved or restored by another call at this moment"), NULL;
}

cairn_state *py_state_begin_use(PyObject *object)
{
    if (!PyObject_TypeCheck(object, py_state_type)) {
        PyErr_Format(PyExc_TypeError, "a State is needed, not %R", Py_TYPE(object));
        return NULL;
    }
    cairn_state *handle = look(object);
    if (handle) cast(object)->users++;
    return handle;
}

void py_state_end_use(PyObject *object)
{
    cast(object)->users--;
}

/* ------------------------------------------------------------------------------------------------------------- binding */

struct binding {
    const char *item, *name, *dtype;
    PyObject *shape, *address, *owner, *strides, *generation, *via; /* strides, generation, via: may be NULL */
    unsigned flags;
};

static int read_address(PyObject *number, void **ret_pointer)
{
    PY_AUTO PyObject *integer = PyNumber_Index(number);
    void *pointer = integer ? PyLong_AsVoidPtr(integer) : NULL;
    if (PyErr_Occurred()) return -1;
    *ret_pointer = pointer;
    return 0;
}

static int read_strides(const struct binding *binding, uint32_t rank, Py_ssize_t *ret_strides)
{
    Py_ssize_t count = PySequence_Size(binding->strides);
    if (count < 0) return -1;
    if ((size_t)count != rank) {
        py_error_say(CAIRN_E_USAGE, "tensor '%s:%s': %zd strides for %u dimensions", binding->item, binding->name, count, rank);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PY_AUTO PyObject *stride = PySequence_GetItem(binding->strides, i);
        ret_strides[i] = stride ? PyNumber_AsSsize_t(stride, PyExc_OverflowError) : -1;
        if (PyErr_Occurred()) return -1;
    }
    return 0;
}

struct py_reached *py_reach(cairn_tensor *tensor, struct py_reached *reached, cairn_fetch_fn fetch, cairn_store_fn store)
{
    tensor->address = NULL;
    tensor->fetch = fetch;
    tensor->store = store;
    tensor->user = reached;
    return reached;
}

static int chain(struct state *self, struct py_reached *reached)
{
    if (!reached) return PyErr_NoMemory(), -1;
    reached->next = self->reached;
    self->reached = reached;
    return 0;
}

/* Gives a tensor its callbacks where its elements do not lie in a row. */
static int apply_strides(struct state *self, const struct binding *binding, cairn_tensor *tensor)
{
    Py_ssize_t strides[CAIRN_MAX_RANK];
    uint32_t bits = cairn_dtype_bits(tensor->dtype);
    if (read_strides(binding, tensor->rank, strides)) return -1;
    if (bits % 8) {
        py_error_say(CAIRN_E_USAGE, "tensor '%s:%s': elements of %u bits have no strides", binding->item, binding->name, bits);
        return -1;
    }
    if (py_strided_is_packed(tensor, bits / 8, strides)) return 0;
    return chain(self, py_strided_reach(tensor, bits / 8, strides));
}

/* Gives a tensor its callbacks where its bytes are under way, or lie on a device. */
static int apply_via(struct state *self, const struct binding *binding, cairn_tensor *tensor)
{
    bool is_gate = py_gate_is(binding->via);
    if (!is_gate && !py_device_is(binding->via))
        return PyErr_Format(PyExc_TypeError, "a Gate or a Device is needed, not %R", Py_TYPE(binding->via)), -1;
    if (!tensor->address || tensor->fetch) {
        py_error_say(CAIRN_E_USAGE, "tensor '%s:%s': what is reached by a gate or a device lies in a row", binding->item, binding->name);
        return -1;
    }
    if (chain(self, is_gate ? py_gate_reach(tensor, binding->via) : py_device_reach(tensor, binding->via))) return -1;
    return PyList_Append(self->owners, binding->via);
}

static int bind(struct state *self, cairn_state *handle, const struct binding *binding)
{
    uint64_t shape[CAIRN_MAX_RANK];
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    tensor.name = binding->name;
    tensor.shape = shape;
    tensor.flags = binding->flags;
    tensor.dtype = py_find_dtype(binding->dtype);
    if (!tensor.dtype) {
        py_error_say(CAIRN_E_USAGE, "tensor '%s:%s': '%s' is no dtype of safetensors", binding->item, binding->name, binding->dtype);
        return -1;
    }
    if (py_read_extents(binding->shape, binding->name, shape, &tensor.rank)) return -1;
    if (read_address(binding->address, &tensor.address)) return -1;
    void *generation = NULL;
    if (binding->generation && read_address(binding->generation, &generation)) return -1;
    tensor.generation = generation;
    if (binding->strides && binding->strides != Py_None && apply_strides(self, binding, &tensor)) return -1;
    if (binding->via && binding->via != Py_None && apply_via(self, binding, &tensor)) return -1;
    if (binding->owner != Py_None && PyList_Append(self->owners, binding->owner)) return -1;
    if (!cairn_state_bind_tensor(handle, binding->item, &tensor, &error)) return 0;
    return py_error_raise(&error), -1;
}

static PyObject *state_bind(PyObject *self, PyObject *args, PyObject *options)
{
    static char *names[] = { "item", "name", "dtype", "shape", "address", "owner", "flags", "strides", "generation", "via", NULL };
    struct binding binding = { 0 };
    if (!PyArg_ParseTupleAndKeywords(args, options, "sssOOO|$IOOO:bind", names, &binding.item, &binding.name, &binding.dtype,
                                     &binding.shape, &binding.address, &binding.owner, &binding.flags, &binding.strides,
                                     &binding.generation, &binding.via))
        return NULL;
    cairn_state *handle = look(self);
    return !handle || bind(cast(self), handle, &binding) ? NULL : Py_NewRef(Py_None);
}

static int bind_row(PyObject *self, PyObject *row)
{
    struct binding binding = { 0 };
    if (!PyTuple_Check(row)) {
        PyErr_Format(PyExc_TypeError, "a row of bind_many must be a tuple, not %R", Py_TYPE(row));
        return -1;
    }
    if (!PyArg_ParseTuple(row, "sssOOOIOOO:bind_many", &binding.item, &binding.name, &binding.dtype, &binding.shape, &binding.address,
                          &binding.owner, &binding.flags, &binding.strides, &binding.generation, &binding.via))
        return -1;
    cairn_state *handle = look(self); /* each time: the iterator is the caller's code */
    return handle ? bind(cast(self), handle, &binding) : -1;
}

static PyObject *state_bind_many(PyObject *self, PyObject *rows)
{
    PY_AUTO PyObject *iterator = PyObject_GetIter(rows);
    if (!iterator) return NULL;
    for (;;) {
        PY_AUTO PyObject *row = PyIter_Next(iterator);
        if (!row) break;
        if (bind_row(self, row)) return NULL;
    }
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *state_alias(PyObject *self, PyObject *args)
{
    const char *item, *name, *target;
    cairn_error error = CAIRN_ERROR_INIT;
    if (!PyArg_ParseTuple(args, "sss:alias", &item, &name, &target)) return NULL;
    cairn_state *handle = look(self);
    if (!handle) return NULL;
    return cairn_state_bind_alias(handle, item, name, target, &error) ? py_error_raise(&error) : Py_NewRef(Py_None);
}

/* -------------------------------------------------------------------------------------------------------------- values */

static PyObject *state_set_value(PyObject *self, PyObject *args)
{
    const char *item, *name;
    PyObject *object;
    cairn_error error = CAIRN_ERROR_INIT;
    if (!PyArg_ParseTuple(args, "ssO:set_value", &item, &name, &object)) return NULL;
    cairn_value *value = py_value_read(object, item, name);
    cairn_state *handle = value ? look(self) : NULL;
    if (!handle) {
        cairn_value_free(value);
        return NULL;
    }
    return cairn_state_set_value(handle, item, name, value, &error) ? py_error_raise(&error) : Py_NewRef(Py_None);
}

static PyObject *state_value(PyObject *self, PyObject *args)
{
    const char *item, *name;
    if (!PyArg_ParseTuple(args, "ss:value", &item, &name)) return NULL;
    cairn_state *handle = look(self);
    const cairn_value *value = handle ? cairn_state_get_value(handle, item, name) : NULL;
    if (value) return py_value_show(value);
    return handle ? PyErr_Format(PyExc_KeyError, "%s/%s", item, name) : NULL;
}

static PyObject *state_set_file_stem(PyObject *self, PyObject *args)
{
    const char *item, *stem;
    cairn_error error = CAIRN_ERROR_INIT;
    if (!PyArg_ParseTuple(args, "ss:set_file_stem", &item, &stem)) return NULL;
    cairn_state *handle = look(self);
    if (!handle) return NULL;
    return cairn_state_set_file_stem(handle, item, stem, &error) ? py_error_raise(&error) : Py_NewRef(Py_None);
}

/* ---------------------------------------------------------------------------------------------------------------- life */

static PyObject *state_new(PyTypeObject *type, PyObject *args, PyObject *options)
{
    static char *names[] = { NULL };
    cairn_error error = CAIRN_ERROR_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, options, ":State", names)) return NULL;
    PY_AUTO PyObject *object = PyType_GenericAlloc(type, 0);
    if (!object || !(cast(object)->owners = PyList_New(0))) return NULL;
    if (cairn_state_new(&cast(object)->handle, &error)) return py_error_raise(&error);
    return Py_NewRef(object);
}

static int state_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(cast(self)->owners);
    return 0;
}

/* Who clears a cycle has closed the runs in it before: no save works on the memory of the owners any more. The state must not be used after them. */
static int state_clear(PyObject *object)
{
    struct state *self = cast(object);
    cairn_state_free(self->handle);
    self->handle = NULL;
    while (self->reached) {
        struct py_reached *next = self->reached->next;
        free(self->reached);
        self->reached = next;
    }
    Py_CLEAR(self->owners);
    return 0;
}

static void state_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)state_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef state_methods[] = {
    { "bind", PY_WITH_KEYWORDS(state_bind), NULL },
    { "bind_many", state_bind_many, METH_O, NULL },
    { "alias", state_alias, METH_VARARGS, NULL },
    { "set_value", state_set_value, METH_VARARGS, NULL },
    { "value", state_value, METH_VARARGS, NULL },
    { "set_file_stem", state_set_file_stem, METH_VARARGS, NULL },
    { NULL, NULL, 0, NULL },
};

static PyType_Slot state_slots[] = {
    { Py_tp_doc, "What is saved and restored: tensors and plain values under items." },
    { Py_tp_new, state_new },
    { Py_tp_traverse, state_traverse },
    { Py_tp_clear, state_clear },
    { Py_tp_dealloc, state_dealloc },
    { Py_tp_methods, state_methods },
    { 0, NULL },
};

static PyType_Spec state_spec = {
    .name = "cairn._native.State",
    .basicsize = sizeof(struct state),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = state_slots,
};

int py_state_init(PyObject *module)
{
    py_state_type = (PyTypeObject *)PyType_FromSpec(&state_spec);
    return py_state_type ? PyModule_AddType(module, py_state_type) : -1;
}

/* Gate: what tensors stand behind whose bytes are under way, as a copy of a device's memory is. The library's threads wait at it without the GIL, so that who
 * opens it can be a thread of Python's. */
#include "native.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum gate_standing { GATE_OPEN, GATE_SHUT, GATE_FAILED };

struct gate {
    PyObject base; /* what every object begins with */
    pthread_mutex_t lock;
    pthread_cond_t moved;
    enum gate_standing standing;
};

struct deferred {
    struct py_reached reached;
    struct gate *gate;
    const char *address;
};

static PyTypeObject *gate_type;

static struct gate *cast(PyObject *object)
{
    return (struct gate *)(void *)object;
}

/* ------------------------------------------------------------------------------------------------------------- tensors */

bool py_gate_is(PyObject *object)
{
    return PyObject_TypeCheck(object, gate_type);
}

static int fetch(void *user, uint64_t offset, size_t size, void *destination)
{
    const struct deferred *deferred = user;
    struct gate *gate = deferred->gate;
    pthread_mutex_lock(&gate->lock);
    while (gate->standing == GATE_SHUT) pthread_cond_wait(&gate->moved, &gate->lock);
    enum gate_standing standing = gate->standing;
    pthread_mutex_unlock(&gate->lock);
    if (standing == GATE_FAILED) return -1;
    memcpy(destination, deferred->address + offset, size);
    return 0;
}

static int store(void *user, uint64_t offset, size_t size, const void *source)
{
    (void)user, (void)offset, (void)size, (void)source;
    return -1; /* such a tensor is saved, never restored */
}

struct py_reached *py_gate_reach(cairn_tensor *tensor, PyObject *gate)
{
    struct deferred *deferred = calloc(1, sizeof *deferred);
    if (!deferred) return NULL;
    deferred->gate = cast(gate);
    deferred->address = tensor->address;
    tensor->flags |= CAIRN_DEFERRED;
    return py_reach(tensor, &deferred->reached, fetch, store);
}

/* ---------------------------------------------------------------------------------------------------------------- type */

static PyObject *move(PyObject *self, enum gate_standing standing)
{
    struct gate *gate = cast(self);
    pthread_mutex_lock(&gate->lock);
    gate->standing = standing;
    pthread_cond_broadcast(&gate->moved);
    pthread_mutex_unlock(&gate->lock);
    return Py_NewRef(Py_None);
}

static PyObject *gate_open(PyObject *self, PyObject *unused)
{
    (void)unused;
    return move(self, GATE_OPEN);
}

static PyObject *gate_shut(PyObject *self, PyObject *unused)
{
    (void)unused;
    return move(self, GATE_SHUT);
}

static PyObject *gate_fail(PyObject *self, PyObject *unused)
{
    (void)unused;
    return move(self, GATE_FAILED);
}

static PyObject *gate_new(PyTypeObject *type, PyObject *args, PyObject *options)
{
    static char *names[] = { NULL };
    if (!PyArg_ParseTupleAndKeywords(args, options, ":Gate", names)) return NULL;
    PyObject *object = PyType_GenericAlloc(type, 0);
    if (!object) return NULL;
    pthread_mutex_init(&cast(object)->lock, NULL);
    pthread_cond_init(&cast(object)->moved, NULL);
    return object;
}

static void gate_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    pthread_cond_destroy(&cast(self)->moved);
    pthread_mutex_destroy(&cast(self)->lock);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMethodDef gate_methods[] = {
    { "open", gate_open, METH_NOARGS, NULL },
    { "shut", gate_shut, METH_NOARGS, NULL },
    { "fail", gate_fail, METH_NOARGS, NULL },
    { NULL, NULL, 0, NULL },
};

static PyType_Slot gate_slots[] = {
    { Py_tp_doc, "What tensors stand behind whose bytes are under way." },
    { Py_tp_new, gate_new },
    { Py_tp_dealloc, gate_dealloc },
    { Py_tp_methods, gate_methods },
    { 0, NULL },
};

static PyType_Spec gate_spec = {
    .name = "cairn._native.Gate",
    .basicsize = sizeof(struct gate),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = gate_slots,
};

int py_gate_init(PyObject *module)
{
    gate_type = (PyTypeObject *)PyType_FromSpec(&gate_spec);
    return gate_type ? PyModule_AddType(module, gate_type) : -1;
}

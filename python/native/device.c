/* Device: a device whose memory tensors lie in, and the functions of its runtime that copy. The library reads and writes such a tensor through them, block by
 * block, from several of its threads at once and without the GIL, so that no second copy of it is needed in main memory.
 *
 * They are those of CUDA's runtime, and HIP's has the same: cudaSetDevice(ordinal) and cudaMemcpy(to, from, size, kind), each of which returns 0 or what went
 * wrong. The thread works with that device from then on. It is not put back here: a thread of the library's would begin to use the first device, which takes
 * memory there. Who calls the library on a thread of its own puts it back. */
#include "native.h"

#include <stdlib.h>

enum copy_kind { TO_DEVICE = 1, FROM_DEVICE = 2 }; /* cudaMemcpyKind */

typedef int (*set_device_fn)(int ordinal);
typedef int (*copy_fn)(void *to, const void *from, size_t size, int kind);

struct device {
    PyObject base; /* what every object begins with */
    set_device_fn set;
    copy_fn copy;
    int ordinal;
};

struct away {
    struct py_reached reached;
    const struct device *device;
    char *address; /* on the device */
};

static PyTypeObject *device_type;

static struct device *cast(PyObject *object)
{
    return (struct device *)(void *)object;
}

/* ------------------------------------------------------------------------------------------------------------- tensors */

bool py_device_is(PyObject *object)
{
    return PyObject_TypeCheck(object, device_type);
}

static int copy(const struct device *device, void *to, const void *from, size_t size, enum copy_kind kind)
{
    int code = device->set(device->ordinal);
    return code ? code : device->copy(to, from, size, kind);
}

static int fetch(void *user, uint64_t offset, size_t size, void *destination)
{
    const struct away *away = user;
    return copy(away->device, destination, away->address + offset, size, FROM_DEVICE);
}

static int store(void *user, uint64_t offset, size_t size, const void *source)
{
    const struct away *away = user;
    return copy(away->device, away->address + offset, source, size, TO_DEVICE);
}

struct py_reached *py_device_reach(cairn_tensor *tensor, PyObject *device)
{
    struct away *away = calloc(1, sizeof *away);
    if (!away) return NULL;
    away->device = cast(device);
    away->address = tensor->address;
    return py_reach(tensor, &away->reached, fetch, store);
}

/* ---------------------------------------------------------------------------------------------------------------- type */

static PyObject *device_new(PyTypeObject *type, PyObject *args, PyObject *options)
{
    static char *names[] = { "ordinal", "set", "copy", NULL };
    int ordinal;
    Py_ssize_t set, copies;
    if (!PyArg_ParseTupleAndKeywords(args, options, "inn:Device", names, &ordinal, &set, &copies)) return NULL;
    if (!set || !copies) return py_error_say(CAIRN_E_USAGE, "Device: one of its functions has no address");
    PyObject *object = PyType_GenericAlloc(type, 0);
    if (!object) return NULL;
    struct device *self = cast(object);
    self->ordinal = ordinal;
    self->set = (set_device_fn)set;
    self->copy = (copy_fn)copies;
    return object;
}

static void device_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyType_Slot device_slots[] = {
    { Py_tp_doc, "A device whose memory tensors lie in, and the functions of its runtime that copy." },
    { Py_tp_new, device_new },
    { Py_tp_dealloc, device_dealloc },
    { 0, NULL },
};

static PyType_Spec device_spec = {
    .name = "cairn._native.Device",
    .basicsize = sizeof(struct device),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = device_slots,
};

int py_device_init(PyObject *module)
{
    device_type = (PyTypeObject *)PyType_FromSpec(&device_spec);
    return device_type ? PyModule_AddType(module, device_type) : -1;
}

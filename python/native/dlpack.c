/* What a tensor is, asked by one call of C: DLPack's exchange API, which newer versions of torch have (2.13 has). Python would take
 * five calls, and make tuples to answer.
 *
 * The structs are those of version 1 of https://dmlc.github.io/dlpack/latest/c_api.html, which says of them that later minor versions add to their ends only. */
#include "native.h"

enum { MAJOR = 1 };

struct dl_header {
    uint32_t major, minor;
    const struct dl_header *earlier; /* the table of an earlier major version */
};

struct dl_api {
    struct dl_header header;
    void (*unused[3])(void); /* to allocate, to lend and to take tensors */
    int (*describe)(void *tensor, struct py_dlpack *ret_described);
};

static const struct dl_header *of_our_version(const struct dl_header *header)
{
    while (header && header->major > MAJOR) header = header->earlier;
    return header && header->major == MAJOR ? header : NULL;
}

py_dlpack_fn py_dlpack_of(PyObject *tensor)
{
    PY_AUTO PyObject *capsule = PyObject_GetAttrString(tensor, "__dlpack_c_exchange_api__");
    const struct dl_header *header = capsule ? of_our_version(PyCapsule_GetPointer(capsule, "dlpack_exchange_api")) : NULL;
    PyErr_Clear();
    return header ? ((const struct dl_api *)(const void *)header)->describe : NULL;
}

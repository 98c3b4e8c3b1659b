/* cairn._native: the library for Python. What it offers is said, typed, in cairn/_native.pyi. The types are one to a process: the module is not for
 * several interpreters in one. */
#include "native.h"

#include <stdlib.h>

static PyObject *module_version(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyUnicode_FromString(cairn_version());
}

static PyObject *module_dtype_bits(PyObject *module, PyObject *args)
{
    (void)module;
    const char *name;
    if (!PyArg_ParseTuple(args, "s:dtype_bits", &name)) return NULL;
    uint32_t bits = cairn_dtype_bits(py_find_dtype(name));
    return bits ? PyLong_FromUnsignedLong(bits) : py_error_say(CAIRN_E_USAGE, "'%s' is no dtype of safetensors", name);
}

/* variables(names): a dict of those that are set. os.environ raises and catches an exception for each that is not. */
static PyObject *module_variables(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *names;
    if (!PyArg_ParseTuple(args, "O!:variables", &PyTuple_Type, &names)) return NULL;
    PY_AUTO PyObject *found = PyDict_New();
    for (Py_ssize_t i = 0; found && i < PyTuple_Size(names); i++) {
        PyObject *name = PyTuple_GetItem(names, i);
        const char *text = PyUnicode_AsUTF8AndSize(name, NULL);
        const char *value = text ? getenv(text) : NULL;
        PY_AUTO PyObject *decoded = value ? PyUnicode_DecodeFSDefault(value) : NULL;
        if (!text || (value && (!decoded || PyDict_SetItem(found, name, decoded)))) return NULL;
    }
    return Py_XNewRef(found);
}

static PyMethodDef methods[] = {
    { "version", module_version, METH_NOARGS, NULL },
    { "dtype_bits", module_dtype_bits, METH_VARARGS, NULL },
    { "variables", module_variables, METH_VARARGS, NULL },
    { NULL, NULL, 0, NULL },
};

static PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "cairn._native",
    .m_doc = "The checkpoint library, as its C header has it.",
    .m_size = -1,
    .m_methods = methods,
};

/* Runs that are open when the program ends are closed while there is an interpreter to tell. */
static int close_at_exit(void)
{
    static PyMethodDef close_all = { "close_all", py_run_close_all, METH_NOARGS, NULL };
    PY_AUTO PyObject *function = PyCFunction_New(&close_all, NULL);
    PY_AUTO PyObject *atexit = function ? PyImport_ImportModule("atexit") : NULL;
    PY_AUTO PyObject *registered = atexit ? PyObject_CallMethod(atexit, "register", "O", function) : NULL;
    return registered ? 0 : -1;
}

static int fill(PyObject *module)
{
    if (PyModule_AddIntConstant(module, "TRAINABLE", CAIRN_TRAINABLE) || PyModule_AddIntConstant(module, "FROZEN", CAIRN_FROZEN)) return -1;
    if (PyModule_AddIntConstant(module, "OPTIMIZER", CAIRN_OPTIMIZER) || PyModule_AddIntConstant(module, "VOLATILE", CAIRN_VOLATILE))
        return -1;
    if (PyModule_AddIntConstant(module, "FRESH", CAIRN_FRESH) || PyModule_AddIntConstant(module, "DEFERRED", CAIRN_DEFERRED)) return -1;
    if (PyModule_AddFunctions(module, py_store_methods) || PyModule_AddFunctions(module, py_folder_methods)) return -1;
    if (PyModule_AddFunctions(module, py_memory_methods)) return -1;
    if (py_report_init(module) || py_value_init(module) || py_gate_init(module) || py_device_init(module) || py_state_init(module) ||
        py_run_init(module))
        return -1;
    if (py_checkpoint_init(module) || py_view_init(module)) return -1;
    return close_at_exit();
}

PyMODINIT_FUNC PyInit__native(void); /* the loader's */
PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (!module || !fill(module)) return module;
    Py_DECREF(module);
    return NULL;
}

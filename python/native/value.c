/* Plain values of Python as trees of the library's and back. Only exact types are taken: what is a subclass of int or dict would come back as something
 * else, in silence. No code of the user runs while a tree is read, so the containers cannot change under the loops. */
#include "native.h"

#include <string.h>

enum { MAX_LEVELS = 62, CHUNK_DIGITS = 600 }; /* as many digits as Python turns into text at once, whatever limit a user sets */

static PyObject *tagged_type, *tensor_ref_type;

/* ------------------------------------------------------------------------------------------------------ where in the tree */

struct place {
    const struct place *above; /* NULL: the tree itself, key is its name */
    PyObject *key;             /* of a map; NULL: index of a list */
    Py_ssize_t index;
    int level;
};

static PyObject *show_key(const struct place *place)
{
    if (!place->key) return PyUnicode_FromFormat("%zd", place->index);
    return PyUnicode_CheckExact(place->key) ? Py_NewRef(place->key) : PyObject_Repr(place->key);
}

/* "optimizer/param_groups/0/lr" */
static PyObject *show_place(const struct place *place)
{
    PY_AUTO PyObject *key = show_key(place);
    if (!key || !place->above) return Py_XNewRef(key);
    PY_AUTO PyObject *above = show_place(place->above);
    return above ? PyUnicode_FromFormat("%U/%U", above, key) : NULL;
}

static cairn_value *refuse(const struct place *place, PyObject *object)
{
    PY_AUTO PyObject *where = show_place(place);
    PY_AUTO PyObject *type = PyType_GetName(Py_TYPE(object));
    if (where && type) PyErr_Format(PyExc_TypeError, "%U: a value of type %U cannot be stored", where, type);
    return NULL;
}

/* The exception that is set becomes an error that tells the place and what. */
static cairn_value *refuse_text(const struct place *place, int code, const char *what)
{
    PyErr_Clear();
    PY_AUTO PyObject *where = show_place(place);
    if (where) py_error_text(code, PyUnicode_FromFormat("%U: %s", where, what));
    return NULL;
}

static cairn_value *check_memory(cairn_value *value)
{
    if (!value) PyErr_NoMemory();
    return value;
}

/* ------------------------------------------------------------------------------------------------------------ big numbers */

/* 10 to the power of CHUNK_DIGITS. */
static PyObject *chunk_size(void)
{
    PY_AUTO PyObject *ten = PyLong_FromLong(10);
    PY_AUTO PyObject *digits = PyLong_FromLong(CHUNK_DIGITS);
    return ten && digits ? PyNumber_Power(ten, digits, Py_None) : NULL;
}

/* Takes away the lowest chunk of *number, as text of CHUNK_DIGITS digits, or fewer where nothing is left. */
static PyObject *take_chunk(PyObject **number, PyObject *size)
{
    PY_AUTO PyObject *pair = PyNumber_Divmod(*number, size);
    if (!pair) return NULL;
    py_replace(number, Py_NewRef(PyTuple_GetItem(pair, 0)));
    PY_AUTO PyObject *text = PyObject_Str(PyTuple_GetItem(pair, 1));
    int more = text ? PyObject_IsTrue(*number) : -1;
    if (more <= 0) return more < 0 ? NULL : Py_NewRef(text);
    return PyObject_CallMethod(text, "zfill", "i", (int)CHUNK_DIGITS);
}

/* The decimal digits of an int of any size. */
static PyObject *show_decimal(PyObject *object)
{
    PY_AUTO PyObject *zero = PyLong_FromLong(0);
    PY_AUTO PyObject *size = chunk_size();
    PY_AUTO PyObject *chunks = PyList_New(0);
    PY_AUTO PyObject *left = PyNumber_Absolute(object);
    int negative = zero ? PyObject_RichCompareBool(object, zero, Py_LT) : -1, more = 1;
    if (!size || !chunks || !left || negative < 0) return NULL;
    while (more) {
        PY_AUTO PyObject *chunk = take_chunk(&left, size);
        if (!chunk || PyList_Append(chunks, chunk) || (more = PyObject_IsTrue(left)) < 0) return NULL;
    }
    PY_AUTO PyObject *sign = PyUnicode_FromString(negative ? "-" : "");
    PY_AUTO PyObject *nothing = PyUnicode_FromString("");
    if (!sign || !nothing || PyList_Append(chunks, sign) || PyList_Reverse(chunks)) return NULL;
    return PyUnicode_Join(nothing, chunks);
}

/* number = number * 10^digits + chunk */
static PyObject *add_chunk(PyObject *number, const char *digits, size_t count)
{
    char text[CHUNK_DIGITS + 2] = "1";
    memcpy(text + 1, digits, count);
    PY_AUTO PyObject *chunk = PyLong_FromString(text + 1, NULL, 10);
    memset(text + 1, '0', count);
    text[count + 1] = 0;
    PY_AUTO PyObject *scale = PyLong_FromString(text, NULL, 10);
    PY_AUTO PyObject *scaled = scale ? PyNumber_Multiply(number, scale) : NULL;
    return chunk && scaled ? PyNumber_Add(scaled, chunk) : NULL;
}

static PyObject *show_big(const char *decimal, size_t size)
{
    bool negative = size && *decimal == '-';
    PyObject *number = PyLong_FromLong(0);
    for (size_t at = negative; at < size && number; at += CHUNK_DIGITS)
        py_replace(&number, add_chunk(number, decimal + at, size - at < CHUNK_DIGITS ? size - at : CHUNK_DIGITS));
    if (number && negative) py_replace(&number, PyNumber_Negative(number));
    return number;
}

/* ------------------------------------------------------------------------------------------------------ from Python */

static cairn_value *read_value(PyObject *object, const struct place *place);

static cairn_value *read_int(PyObject *object)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (!overflow) return number == -1 && PyErr_Occurred() ? NULL : check_memory(cairn_value_int(number));
    PY_AUTO PyObject *decimal = show_decimal(object);
    const char *digits = decimal ? PyUnicode_AsUTF8AndSize(decimal, NULL) : NULL;
    return digits ? check_memory(cairn_value_big_int(digits)) : NULL;
}

static cairn_value *read_string(PyObject *object, const struct place *place)
{
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(object, &size);
    if (text) return check_memory(cairn_value_string(text, (size_t)size));
    if (!PyErr_ExceptionMatches(PyExc_UnicodeError)) return NULL;
    return refuse_text(place, CAIRN_E_USAGE, "text with a lone surrogate cannot be stored: give it as bytes");
}

static cairn_value *read_bytes(PyObject *object)
{
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(object, &data, &size)) return NULL;
    return check_memory(cairn_value_bytes(data, (size_t)size));
}

/* A list or a tuple. An item that is NULL has failed; so has the whole. */
static cairn_value *read_items(PyObject *object, const struct place *place, bool is_tuple)
{
    cairn_value *value = check_memory(is_tuple ? cairn_value_tuple() : cairn_value_list());
    Py_ssize_t count = is_tuple ? PyTuple_Size(object) : PyList_Size(object);
    for (Py_ssize_t i = 0; i < count && value; i++) {
        struct place inside = { place, NULL, i, place->level + 1 };
        cairn_value *item = read_value(is_tuple ? PyTuple_GetItem(object, i) : PyList_GetItem(object, i), &inside);
        if (item && !cairn_value_append(value, item)) continue;
        if (item) PyErr_NoMemory();
        cairn_value_free(value);
        value = NULL;
    }
    return value;
}

static cairn_value *read_map(PyObject *object, const struct place *place)
{
    cairn_value *value = check_memory(cairn_value_map());
    PyObject *key, *item;
    Py_ssize_t at = 0;
    while (value && PyDict_Next(object, &at, &key, &item)) {
        struct place inside = { place, key, 0, place->level + 1 };
        cairn_value *name = read_value(key, &inside), *content = name ? read_value(item, &inside) : NULL;
        if (content && !cairn_value_set_pair(value, name, content)) continue;
        if (content)
            PyErr_NoMemory();
        else
            cairn_value_free(name);
        cairn_value_free(value);
        value = NULL;
    }
    return value;
}

static cairn_value *read_tagged(PyObject *object, const struct place *place)
{
    Py_ssize_t size;
    PyObject *type = PyTuple_GetItem(object, 0), *inner = PyTuple_GetItem(object, 1);
    if (!type || !inner) return NULL;
    if (!PyUnicode_CheckExact(type)) return refuse(place, type);
    const char *tag = PyUnicode_AsUTF8AndSize(type, &size);
    if (!tag || strlen(tag) != (size_t)size) return refuse_text(place, CAIRN_E_USAGE, "a type tag must be text without NUL or surrogates");
    if ((PyObject *)Py_TYPE(inner) == tagged_type) return refuse_text(place, CAIRN_E_USAGE, "what is Tagged cannot be tagged again");
    cairn_value *value = read_value(inner, place);
    if (!value || !cairn_value_set_tag(value, tag)) return value;
    cairn_value_free(value);
    return check_memory(NULL);
}

static cairn_value *read_value(PyObject *object, const struct place *place)
{
    if (place->level > MAX_LEVELS) return refuse_text(place, CAIRN_E_LIMIT, "nested more than 62 levels deep: does it hold itself?");
    if (object == Py_None) return check_memory(cairn_value_null());
    if (PyBool_Check(object)) return check_memory(cairn_value_bool(object == Py_True));
    if (PyLong_CheckExact(object)) return read_int(object);
    if (PyFloat_CheckExact(object)) return check_memory(cairn_value_float(PyFloat_AsDouble(object)));
    if (PyUnicode_CheckExact(object)) return read_string(object, place);
    if (PyBytes_CheckExact(object)) return read_bytes(object);
    if (PyList_CheckExact(object)) return read_items(object, place, false);
    if (PyTuple_CheckExact(object)) return read_items(object, place, true);
    if (PyDict_CheckExact(object)) return read_map(object, place);
    if ((PyObject *)Py_TYPE(object) == tagged_type) return read_tagged(object, place);
    return refuse(place, object);
}

cairn_value *py_value_read(PyObject *object, const char *item, const char *name)
{
    PY_AUTO PyObject *where = PyUnicode_FromFormat("%s/%s", item, name);
    struct place root = { NULL, where, 0, 0 };
    return where ? read_value(object, &root) : NULL;
}

/* -------------------------------------------------------------------------------------------------------- to Python */

static PyObject *show_items(const cairn_value *value, bool is_tuple)
{
    size_t count = cairn_value_count(value);
    PY_AUTO PyObject *items = is_tuple ? PyTuple_New((Py_ssize_t)count) : PyList_New((Py_ssize_t)count);
    for (size_t i = 0; i < count && items; i++) {
        PyObject *item = py_value_show(cairn_value_at(value, i));
        if (!item) return NULL;
        if (is_tuple ? PyTuple_SetItem(items, (Py_ssize_t)i, item) : PyList_SetItem(items, (Py_ssize_t)i, item)) return NULL;
    }
    return Py_XNewRef(items);
}

/* Keys that Python cannot hold apart, or at all, come from other languages: 1 beside 1.0, a list. */
static PyObject *show_map(const cairn_value *value)
{
    size_t count = cairn_value_count(value);
    PY_AUTO PyObject *map = PyDict_New();
    for (size_t i = 0; i < count && map; i++) {
        PY_AUTO PyObject *key = py_value_show(cairn_value_key_at(value, i));
        PY_AUTO PyObject *item = key ? py_value_show(cairn_value_at(value, i)) : NULL;
        if (!item) return NULL;
        if (!PyDict_SetItem(map, key, item)) continue;
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            py_error_text(CAIRN_E_UNSUPPORTED, PyUnicode_FromFormat("a map with the key %R, which no dict can hold", key));
        }
        return NULL;
    }
    if (map && (size_t)PyDict_Size(map) != count) return py_error_say(CAIRN_E_UNSUPPORTED, "a map with keys that are equal in a dict");
    return Py_XNewRef(map);
}

static PyObject *show_untagged(const cairn_value *value)
{
    size_t size = 0;
    const char *data = cairn_value_get_data(value, &size);
    switch (cairn_value_kind(value)) {
    case CAIRN_NULL: return Py_NewRef(Py_None);
    case CAIRN_BOOLEAN: return PyBool_FromLong(cairn_value_get_bool(value));
    case CAIRN_INT: return PyLong_FromLongLong(cairn_value_get_int(value));
    case CAIRN_BIG_INT: return show_big(data, size);
    case CAIRN_FLOAT: return PyFloat_FromDouble(cairn_value_get_float(value));
    case CAIRN_STRING: return PyUnicode_DecodeUTF8(data, (Py_ssize_t)size, NULL);
    case CAIRN_BYTES: return PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
    case CAIRN_LIST: return show_items(value, false);
    case CAIRN_TUPLE: return show_items(value, true);
    case CAIRN_MAP: return show_map(value);
    case CAIRN_TENSOR_REF: return PyObject_CallFunction(tensor_ref_type, "s#", data, (Py_ssize_t)size);
    }
    return py_error_say(CAIRN_E_UNSUPPORTED, "a value of kind %d", (int)cairn_value_kind(value));
}

PyObject *py_value_show(const cairn_value *value)
{
    const char *tag = cairn_value_tag(value);
    PY_AUTO PyObject *untagged = show_untagged(value);
    if (!tag || !untagged) return Py_XNewRef(untagged);
    return PyObject_CallFunction(tagged_type, "sO", tag, untagged);
}

static PyObject *new_type(PyObject *namedtuple, const char *name, const char *fields, const char *doc)
{
    PY_AUTO PyObject *arguments = Py_BuildValue("(ss)", name, fields);
    PY_AUTO PyObject *options = Py_BuildValue("{ss}", "module", "cairn._native");
    PY_AUTO PyObject *type = arguments && options ? PyObject_Call(namedtuple, arguments, options) : NULL;
    PY_AUTO PyObject *text = type ? PyUnicode_FromString(doc) : NULL;
    if (!text || PyObject_SetAttrString(type, "__doc__", text)) return NULL;
    return Py_NewRef(type);
}

int py_value_init(PyObject *module)
{
    PY_AUTO PyObject *collections = PyImport_ImportModule("collections");
    PY_AUTO PyObject *namedtuple = collections ? PyObject_GetAttrString(collections, "namedtuple") : NULL;
    if (!namedtuple) return -1;
    tagged_type =
        new_type(namedtuple, "Tagged", "type value", "A plain value with the name of a type, which is stored and given back beside it.");
    tensor_ref_type = new_type(namedtuple, "TensorRef", "name", "Stands in a tree that was read where a tensor of that name lies.");
    if (!tagged_type || !tensor_ref_type || PyModule_AddObjectRef(module, "Tagged", tagged_type)) return -1;
    return PyModule_AddObjectRef(module, "TensorRef", tensor_ref_type);
}

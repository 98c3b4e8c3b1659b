/* Python's arguments as the library takes them. */
#include "native.h"

#include <string.h>

static int convert_integer(PyObject *object, uint64_t limit, uint64_t *ret_number)
{
    PY_AUTO PyObject *integer = PyNumber_Index(object);
    unsigned long long number = integer ? PyLong_AsUnsignedLongLong(integer) : 0;
    if (PyErr_Occurred()) return 0;
    if (number > limit) {
        PyErr_Format(PyExc_OverflowError, "%llu is above the limit %llu", number, (unsigned long long)limit);
        return 0;
    }
    *ret_number = number;
    return 1;
}

int py_convert_count(PyObject *object, void *ret_uint64)
{
    return convert_integer(object, UINT64_MAX, ret_uint64);
}

int py_convert_small(PyObject *object, void *ret_uint32)
{
    uint64_t number;
    if (!convert_integer(object, UINT32_MAX, &number)) return 0;
    *(uint32_t *)ret_uint32 = (uint32_t)number;
    return 1;
}

int py_convert_path(PyObject *object, void *ret_bytes)
{
    return !object || object == Py_None ? 1 : PyUnicode_FSConverter(object, ret_bytes);
}

const char *py_path(PyObject *bytes)
{
    return bytes ? PyBytes_AsString(bytes) : NULL;
}

cairn_dtype py_find_dtype(const char *name)
{
    for (int dtype = CAIRN_DTYPE_NONE + 1; dtype < CAIRN_DTYPE_COUNT; dtype++)
        if (!strcmp(cairn_dtype_name((cairn_dtype)dtype), name)) return (cairn_dtype)dtype;
    return CAIRN_DTYPE_NONE;
}

int py_choose(const struct py_choice *choice, const char *word, int *ret_index)
{
    PY_AUTO PyObject *all = PyUnicode_FromString("");
    for (int i = 0; i < choice->count; i++) {
        if (!strcmp(choice->words[i], word)) {
            *ret_index = i;
            return 0;
        }
        if (all) py_replace(&all, PyUnicode_FromFormat("%U%s'%s'", all, i ? ", " : "", choice->words[i]));
    }
    if (all) py_error_text(CAIRN_E_USAGE, PyUnicode_FromFormat("%s: '%s' is none of %U", choice->what, word, all));
    return -1;
}

static const char *const io_mode_words[] = { "auto", "direct", "buffered" };
const struct py_choice py_io_modes = { "io_mode", io_mode_words, PY_COUNT(io_mode_words) };

/* A name that ends at its NUL. It lives as long as the object. */
static const char *read_text(PyObject *object, const char *what)
{
    Py_ssize_t size;
    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be str, not %R", what, Py_TYPE(object));
        return NULL;
    }
    const char *text = PyUnicode_AsUTF8AndSize(object, &size);
    if (!text || strlen(text) == (size_t)size) return text;
    PyErr_Format(PyExc_ValueError, "%s: %R holds a NUL", what, object);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------------------- texts */

int py_texts_read(PyObject *sequence, const char *what, struct py_texts *ret_texts)
{
    *ret_texts = (struct py_texts){ 0 };
    if (!sequence || sequence == Py_None) return 0;
    if (PyUnicode_Check(sequence)) {
        PyErr_Format(PyExc_TypeError, "%s must be a sequence of str, not a str", what);
        return -1;
    }
    ret_texts->keep = PySequence_Tuple(sequence);
    if (!ret_texts->keep) return -1;
    ret_texts->count = (size_t)PyTuple_Size(ret_texts->keep);
    ret_texts->texts = PyMem_Calloc(ret_texts->count + 1, sizeof *ret_texts->texts);
    if (!ret_texts->texts) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < ret_texts->count; i++)
        if (!(ret_texts->texts[i] = read_text(PyTuple_GetItem(ret_texts->keep, (Py_ssize_t)i), what))) return -1;
    return 0;
}

void py_texts_done(struct py_texts *texts)
{
    PyMem_Free(texts->texts);
    Py_XDECREF(texts->keep);
}

/* -------------------------------------------------------------------------------------------------- metrics, attachments */

/* The pairs of a mapping as a list of their own, which holds keys and values while others may change the mapping. */
static PyObject *read_pairs(PyObject *mapping, const char *what)
{
    if (!mapping || mapping == Py_None) return PyList_New(0);
    PyObject *pairs = PyMapping_Items(mapping);
    if (!pairs && PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Format(PyExc_TypeError, "%s must be a mapping, not %R", what, Py_TYPE(mapping));
    return pairs;
}

/* The borrowed halves of pair number index. */
static int read_pair(PyObject *pairs, size_t index, PyObject **ret_key, PyObject **ret_value)
{
    PyObject *pair = PyList_GetItem(pairs, (Py_ssize_t)index);
    *ret_key = pair ? PyTuple_GetItem(pair, 0) : NULL;
    *ret_value = *ret_key ? PyTuple_GetItem(pair, 1) : NULL;
    return *ret_value ? 0 : -1;
}

int py_metrics_read(PyObject *mapping, struct py_metrics *ret_metrics)
{
    *ret_metrics = (struct py_metrics){ .keep = read_pairs(mapping, "metrics") };
    if (!ret_metrics->keep) return -1;
    ret_metrics->count = (size_t)PyList_Size(ret_metrics->keep);
    ret_metrics->metrics = PyMem_Calloc(ret_metrics->count + 1, sizeof *ret_metrics->metrics);
    if (!ret_metrics->metrics) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < ret_metrics->count; i++) {
        PyObject *key, *value;
        if (read_pair(ret_metrics->keep, i, &key, &value)) return -1;
        const char *name = read_text(key, "the name of a metric");
        if (!name) return -1;
        ret_metrics->metrics[i] = (cairn_metric){ name, PyFloat_AsDouble(value) };
        if (PyErr_Occurred()) return -1;
    }
    return 0;
}

void py_metrics_done(struct py_metrics *metrics)
{
    PyMem_Free(metrics->metrics);
    Py_XDECREF(metrics->keep);
}

/* bytes: the content; a path otherwise, as the file system wants it. The list keeps both. */
static int read_content(PyObject *keep, PyObject *value, cairn_attachment *attachment)
{
    PY_AUTO PyObject *data = NULL;
    bool is_path = !PyBytes_Check(value);
    if (is_path && !PyUnicode_FSConverter(value, &data)) return -1;
    if (!is_path) data = Py_NewRef(value);
    if (PyList_Append(keep, data)) return -1;
    char *bytes = PyBytes_AsString(data);
    if (is_path)
        attachment->path = bytes;
    else
        attachment->data = bytes, attachment->size_bytes = (size_t)PyBytes_Size(data);
    return bytes ? 0 : -1;
}

int py_attachments_read(PyObject *mapping, struct py_attachments *ret_attachments)
{
    *ret_attachments = (struct py_attachments){ .keep = read_pairs(mapping, "attachments") };
    if (!ret_attachments->keep) return -1;
    ret_attachments->count = (size_t)PyList_Size(ret_attachments->keep);
    ret_attachments->files = PyMem_Calloc(ret_attachments->count + 1, sizeof *ret_attachments->files);
    if (!ret_attachments->files) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < ret_attachments->count; i++) {
        PyObject *key, *value;
        if (read_pair(ret_attachments->keep, i, &key, &value)) return -1;
        ret_attachments->files[i].name = read_text(key, "the name of an attachment");
        if (!ret_attachments->files[i].name || read_content(ret_attachments->keep, value, &ret_attachments->files[i])) return -1;
    }
    return 0;
}

void py_attachments_done(struct py_attachments *attachments)
{
    PyMem_Free(attachments->files);
    Py_XDECREF(attachments->keep);
}

/* ----------------------------------------------------------------------------------------------------------- extents */

int py_read_extents(PyObject *sequence, const char *what, uint64_t *ret_extents, uint32_t *ret_rank)
{
    Py_ssize_t rank = PySequence_Size(sequence);
    if (rank < 0) return -1;
    if (rank > CAIRN_MAX_RANK) {
        py_error_say(CAIRN_E_LIMIT, "%s: %zd dimensions; at most %d", what, rank, CAIRN_MAX_RANK);
        return -1;
    }
    for (Py_ssize_t i = 0; i < rank; i++) {
        PY_AUTO PyObject *extent = PySequence_GetItem(sequence, i);
        if (!extent || !py_convert_count(extent, &ret_extents[i])) return -1;
    }
    *ret_rank = (uint32_t)rank;
    return 0;
}

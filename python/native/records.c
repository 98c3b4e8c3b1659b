/* Rows that a callback leaves behind on any thread, without the GIL: taking it for each would hold a restore of ten thousand leaves as often as another
 * Python thread computes. */
#include "native.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTES = 4096 };

void py_records_put(struct py_records *records, const void *data, size_t size)
{
    while (!records->failed && records->capacity - records->size < size) {
        size_t capacity = records->capacity ? 2 * records->capacity : FIRST_BYTES;
        char *bytes = realloc(records->bytes, capacity);
        records->failed = !bytes;
        if (!bytes) return;
        records->bytes = bytes;
        records->capacity = capacity;
    }
    if (records->failed) return;
    memcpy(records->bytes + records->size, data, size);
    records->size += size;
}

void py_records_text(struct py_records *records, const char *text)
{
    char is_there = text != NULL;
    py_records_put(records, &is_there, 1);
    if (text) py_records_put(records, text, strlen(text) + 1);
}

void py_records_take(const char **at, void *ret_data, size_t size)
{
    memcpy(ret_data, *at, size);
    *at += size;
}

const char *py_records_take_text(const char **at)
{
    char is_there = *(*at)++;
    const char *text = is_there ? *at : NULL;
    if (text) *at += strlen(text) + 1;
    return text;
}

void py_records_done(struct py_records *records)
{
    free(records->bytes);
}

PyObject *py_records_texts(const struct py_records *records)
{
    if (records->failed) return PyErr_NoMemory();
    const char *at = records->bytes;
    PY_AUTO PyObject *list = PyList_New(0);
    for (size_t i = 0; i < records->count && list; i++) {
        PY_AUTO PyObject *text = py_report_text(py_records_take_text(&at));
        if (!text || PyList_Append(list, text)) return NULL;
    }
    return Py_XNewRef(list);
}

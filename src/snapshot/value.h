/* The value tree's own shape, for those inside who build and walk it. The public calls are in value.c. */
#ifndef CN_SNAPSHOT_VALUE_H
#define CN_SNAPSHOT_VALUE_H

#include <stdbool.h>

#include "base/error.h"

struct cairn_value {
    cairn_kind kind;
    char *tag;           /* NULL: none */
    cairn_value *parent; /* the list, tuple or map it was given to; itself: a state has it; NULL: it is the caller's */
    union {
        int truth;
        int64_t integer;
        double real;
        struct {
            char *bytes; /* NUL-terminated besides */
            size_t size;
        } data; /* STRING, BYTES, BIG_INT, TENSOR_REF */
        struct {
            cairn_value **items;
            cairn_value **keys; /* MAP only */
            size_t count, capacity;
        } list;
    } as;
};

cairn_value *cn_value_tensor_ref(const char *name, size_t size);
bool cn_value_is_decimal(const char *text); /* canonical: "-12", not "007" */
static inline bool cn_value_is_given(const cairn_value *value)
{
    return value->parent;
}
static inline void cn_value_give_to_state(cairn_value *value)
{
    value->parent = value;
}
/* A deep copy; NULL: out of memory. */
cairn_value *cn_value_copy(const cairn_value *value);

#endif

/* The caller's structs that start with struct_size: as large as this library knows them, or larger, from a later header. */
#ifndef CN_API_STRUCTS_H
#define CN_API_STRUCTS_H

#include "base/error.h"

static inline int cn_struct_check(size_t found_bytes, size_t least_bytes, const char *init, cairn_error *err)
{
    if (found_bytes >= least_bytes) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE, "struct_size is not set: start from %s", init);
}

/* USAGE; a NULL pointer is fine. INIT: the macro of its type, which the message names. */
#define cn_check_struct(pointer, INIT, err) cn_struct_check((pointer) ? (pointer)->struct_size : SIZE_MAX, sizeof *(pointer), #INIT, err)

#endif

/* What the reader's files share. */
#ifndef CN_BASE_JSON_PARTS_H
#define CN_BASE_JSON_PARTS_H

#include "base/json.h"

/* FORMAT at the next byte: what, or that it ends too early. */
int cn_json_fail_here(struct cn_json *json, cairn_error *err, const char *what);
/* The number that begins at the next byte, as UINT, INT or FLOAT. */
int cn_json_read_number(struct cn_json *json, enum cn_json_token *ret_token, cairn_error *err);

static inline bool cn_json_take(struct cn_json *json, char character)
{
    if (json->position >= json->size || json->data[json->position] != character) return false;
    json->position++;
    return true;
}

#endif

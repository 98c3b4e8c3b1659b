/* Values as JSON: state.json's notation for plain, tagged and odd values (docs/FORMAT.md, "state.json"). No name from a file is ever
 * taken for code. Not recursive over untrusted input: depth is bounded by CN_MAX_JSON_DEPTH. */
#ifndef CN_SNAPSHOT_VALUEJSON_H
#define CN_SNAPSHOT_VALUEJSON_H

#include "base/json.h"
#include "snapshot/value.h"

/* depth: the levels of JSON that are open around it already. LIMIT: the reader would find it nested too deeply. USAGE: not UTF-8, a key twice. */
int cn_valuejson_check(const cairn_value *value, int depth, cairn_error *err);
/* A map whose keys are plain text that does not start with '$': an object as it is. */
bool cn_valuejson_is_object(const cairn_value *map);
/* What the check refuses is not written. */
int cn_valuejson_write(struct cn_json_writer *writer, const cairn_value *value, int depth, cairn_error *err);
/* Reads the value that comes next; cairn_value_free it. */
int cn_valuejson_read(struct cn_json *json, cairn_value **ret_value, cairn_error *err);

#endif

/* Points in time as text: "2026-11-24T10:00:00.123456789Z". No time zone of the process takes part. */
#ifndef CN_STORE_UTCTIME_H
#define CN_STORE_UTCTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CN_UTC_BYTES = 40 };

void cn_utctime_format(int64_t time_ns, char ret_text[CN_UTC_BYTES]);
bool cn_utctime_parse(const char *text, int64_t *ret_time_ns); /* exactly the form above, years 1970 to 2261 */

#endif

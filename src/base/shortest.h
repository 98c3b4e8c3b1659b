/* The shortest decimal that reads back as the same double, in the form of JSON: 1.0, 0.015, 1.5e-07. On every machine, in every locale and
 * whatever arithmetic the process has set. */
#ifndef CN_BASE_SHORTEST_H
#define CN_BASE_SHORTEST_H

#include <stddef.h>

enum { CN_SHORTEST_BYTES = 40 }; /* 25 are used; a compiler that does not know of 17 digits reckons with more */

/* Of a finite number. Always with '.' or 'e'; NUL-terminated. Returns its length. */
size_t cn_shortest_f64(double number, char ret_text[CN_SHORTEST_BYTES]);
/* To so many significant digits, at most 15; what is finite stays so. */
double cn_round_digits(double number, int digits);

#endif

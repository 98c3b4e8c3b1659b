/* What the fuzz targets share. A target is one file fuzz_X.c with fuzz_one(); it is built with clang's libFuzzer, ASan and UBSan, and with digests
 * taken as right (FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION). tests/fuzz.sh builds, feeds and runs them. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/error.h"
#include "base/json.h"
#include "base/quota.h"
#include "os/os.h"

/* Fed by libFuzzer. memory: a pool over a quota; whatever a target takes comes from it, so that a parser that asks for too much is caught. */
void fuzz_one(const uint8_t *data, size_t size, struct cn_pool *pool);

/* What every parser promises of its errors: a code that exists, a message of one printable line, none on success. */
void fuzz_check_error(int code, const cairn_error *err);

#define FUZZ_REQUIRE(condition)                                                                                                            \
    do {                                                                                                                                   \
        if (!(condition)) {                                                                                                                \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                                        \
            abort();                                                                                                                       \
        }                                                                                                                                  \
    } while (0)

#endif

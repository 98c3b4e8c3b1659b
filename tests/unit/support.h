/* What unit tests share: cmocka, a folder of their own, and checks that print the library's error when they fail. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cairn.h"

/* A new folder for this test under CAIRN_TEST_DIR (the runner removes it). */
static inline const char *test_folder(const char *name)
{
    static char path[256];
    static unsigned number;
    char command[600];
    const char *base = getenv("CAIRN_TEST_DIR");
    snprintf(path, sizeof path, "%.200s/%.30s-%u", base ? base : "/tmp", name, number++);
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir -p '%s'", path, path);
    assert_int_equal(system(command), 0);
    return path;
}

static inline void test_shell(const char *format, ...)
{
    char command[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    if (system(command)) fail_msg("failed: %s", command);
}

/* Another byte in the middle of a file that may be read-only, as damage or an editor would leave it. */
static inline void test_damage(const char *path, const char *file, off_t offset)
{
    char name[1200];
    unsigned char byte;
    struct stat info;
    snprintf(name, sizeof name, "%s/%s", path, file);
    int number = open(name, O_RDWR);
    if (number < 0) { /* only root writes to what is 0444 */
        assert_int_equal(stat(name, &info), 0);
        assert_int_equal(chmod(name, 0644), 0);
        number = open(name, O_RDWR);
        assert_int_equal(chmod(name, info.st_mode & 07777), 0);
    }
    assert_true(number >= 0 && pread(number, &byte, 1, offset) == 1);
    byte ^= 1;
    assert_true(pwrite(number, &byte, 1, offset) == 1);
    close(number);
}

/* Most tests look at the disk afterwards. */
#define TEST_SAVE_OPTIONS                                                                                                                  \
    {                                                                                                                                      \
        .struct_size = sizeof(cairn_save_options), .mode = CAIRN_SAVE_SYNC                                                                 \
    }

#define test_ok(call)                                                                                                                      \
    do {                                                                                                                                   \
        int test_code = (call);                                                                                                            \
        if (test_code) fail_msg("%s: %s: %s", #call, cairn_code_name(test_code), err.message);                                             \
    } while (0)

#define test_code(call, expected)                                                                                                          \
    do {                                                                                                                                   \
        int test_found = (call);                                                                                                           \
        if (test_found != (expected))                                                                                                      \
            fail_msg("%s: %s instead of %s: %s", #call, cairn_code_name(test_found), cairn_code_name(expected), err.message);              \
    } while (0)

/* Subnormal numbers as zero: what torch.set_flush_denormal and -ffast-math do to a process. */
static inline void test_flush_subnormals(void)
{
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#elif defined(__aarch64__)
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    __asm__ volatile("msr fpcr, %0" : : "r"(control | UINT64_C(1) << 24));
#endif
}

#endif

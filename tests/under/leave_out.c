/* Preloaded into a unit test: leaves out the tests that CAIRN_TEST_LEAVE_OUT names and says so. That is a file of lines "test_file test reason"; a line
 * counts where the program is called test_file. It stands before cmocka's own function, so the tests need not know. */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LINE_BYTES = 400, MOST_TESTS = 200 };

/* Why a test is left out; NULL: it is not. */
static const char *reason_for(const char *path, const char *test, char *line)
{
    char program[100], name[100];
    int at = 0;
    const char *reason = NULL;
    FILE *list = path ? fopen(path, "r") : NULL;
    while (list && !reason && fgets(line, LINE_BYTES, list)) {
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%99s %99s %n", program, name, &at) == 2 && !strcmp(program, program_invocation_short_name) && !strcmp(name, test))
            reason = line + at;
    }
    if (list) fclose(list);
    return reason;
}

/* The shells that tests start are none of ours; what starts the test (valgrind is a script) hands it on. */
__attribute__((constructor)) static void leave_no_trace(void)
{
    if (strncmp(program_invocation_short_name, "test_", strlen("test_"))) return;
    unsetenv("LD_PRELOAD");
    unsetenv("LD_LIBRARY_PATH");
}

int _cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t count, CMFixtureFunction setup,
                            CMFixtureFunction teardown)
{
    int (*run)(const char *, const struct CMUnitTest *, size_t, CMFixtureFunction, CMFixtureFunction);
    static struct CMUnitTest kept[MOST_TESTS];
    char line[LINE_BYTES];
    size_t kept_count = 0;
    *(void **)&run = dlsym(RTLD_NEXT, "_cmocka_run_group_tests");
    if (!run || count > MOST_TESTS) abort();
    for (size_t i = 0; i < count; i++) {
        const char *reason = reason_for(getenv("CAIRN_TEST_LEAVE_OUT"), tests[i].name, line);
        if (reason)
            printf("skip - %s %s: %s\n", program_invocation_short_name, tests[i].name, reason);
        else
            kept[kept_count++] = tests[i];
    }
    fflush(stdout);
    return run(group, kept, kept_count, setup, teardown);
}

#include "cases.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static uint64_t random_state = 1;

void random_seed(uint64_t seed)
{
    random_state = seed;
}

uint64_t random_below(uint64_t limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
    return limit ? (random_state >> 33) % limit : 0;
}

int shell(const char *format, ...)
{
    char command[8192];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void case_failed(struct cases *cases, const char *file, const char *format, ...)
{
    enum { TOLD = 5 };
    if (cases->failed++ >= TOLD) return;
    va_list arguments;
    va_start(arguments, format);
    printf("# %s: ", cases->name);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
    if (file) shell("sed 's/^/#   /' '%s' | head -20", file);
}

bool cases_tell(const struct cases *cases)
{
    const bool well = !cases->failed && cases->run;
    printf("%s - crash: %s: %llu cases, %llu failures\n", well ? "ok" : "not ok", cases->name, (unsigned long long)cases->run,
           (unsigned long long)cases->failed);
    fflush(stdout);
    return well;
}

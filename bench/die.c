/* The end of a bench that cannot go on (see bench.h). */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "bench.h"
#include "scratch.h"

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    scratch_remove();
    _exit(EXIT_FAILED);
}

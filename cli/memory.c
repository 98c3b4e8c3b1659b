/* Memory that is there or ends the program: one line on stderr and EXIT_FAILED, for nothing that a command does goes on without it. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

void cli_no_memory(void)
{
    fputs("cairn: out of memory\n", stderr);
    exit(EXIT_FAILED);
}

void *cli_new(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory) cli_no_memory();
    return memory;
}

void *cli_grow(void *memory, size_t count, size_t size)
{
    void *grown = reallocarray(memory, count, size);
    if (!grown) cli_no_memory();
    return grown;
}

char *cli_copy(const char *text)
{
    char *copy = strdup(text);
    if (!copy) cli_no_memory();
    return copy;
}

char *cli_format(const char *format, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int size = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (size < 0) cli_no_memory();
    return text;
}

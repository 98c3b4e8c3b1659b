/* os.h, simulated: randomness from the seed, and a machine that is the same everywhere. */
#include "world.h"

#include <stdio.h>
#include <string.h>

int cn_os_random(void *data, size_t size)
{
    for (size_t i = 0; i < size; i++) ((unsigned char *)data)[i] = (unsigned char)(sim_random_next(&world.entropy) >> 32);
    return 0;
}

uint64_t cn_os_process(void)
{
    return sim_self()->number;
}

void cn_os_host_name(char *ret_text, size_t size)
{
    snprintf(ret_text, size, "simulated");
}

void cn_os_kernel_name(char *ret_text, size_t size)
{
    snprintf(ret_text, size, "simulated");
}

void cn_os_user_name(char *ret_text, size_t size)
{
    snprintf(ret_text, size, "nobody");
}

void cn_os_working_dir(char *ret_text, size_t size)
{
    snprintf(ret_text, size, "/");
}

size_t cn_os_command_line(char *ret_text, size_t size)
{
    static const char line[] = "trainer";
    size_t count = sizeof line < size ? sizeof line : size;
    memcpy(ret_text, line, count);
    return count;
}

/* What Cairn makes of files that are given to it one after the other: the one side of the differential test (run.py is the other).
 *
 * Usage: reader SCRATCH.safetensors. Reads from stdin, again and again, u32 size and that many bytes; writes them to SCRATCH (on a memory file
 * system), opens that with cairn_checkpoint_open, reads every tensor, and answers on stdout. All numbers are little endian, a text is u32 size and bytes:
 *
 *     i32 code, text message; for code 0 besides: u32 pairs, and for each text key, text value of __metadata__;
 *     u32 tensors, and for each text name, text dtype, u32 rank, u64 extents, u64 size, bytes
 *
 * A read that fails is answered as the code of the whole file. Knows the public header alone. */
#include <cairn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECONDS_A_FILE = 30 }; /* who takes longer is killed, and the driver says at which file */

static char *answer;
static size_t answer_size, answer_room;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void *take(size_t size)
{
    void *data = malloc(size ? size : 1);
    if (!data) die("malloc");
    return data;
}

static void put(const void *data, size_t size)
{
    if (answer_size + size > answer_room) {
        answer_room = 2 * (answer_size + size);
        answer = realloc(answer, answer_room);
        if (!answer) die("realloc");
    }
    if (size) memcpy(answer + answer_size, data, size);
    answer_size += size;
}

static void put_u32(uint32_t number)
{
    put(&number, sizeof number);
}

static void put_u64(uint64_t number)
{
    put(&number, sizeof number);
}

static void put_text(const char *text, size_t size)
{
    put_u32((uint32_t)size);
    put(text, size);
}

static void put_failure(const cairn_error *err)
{
    answer_size = 0;
    put_u32((uint32_t)err->code);
    put_text(err->message, strlen(err->message));
}

static void put_metadata(const cairn_checkpoint *checkpoint)
{
    const cairn_value *values = cairn_checkpoint_values(checkpoint);
    const cairn_value *map = values ? cairn_value_find(values, "__metadata__") : NULL;
    size_t count = map ? cairn_value_count(map) : 0;
    put_u32((uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        size_t size;
        const char *text = cairn_value_get_data(cairn_value_key_at(map, i), &size);
        put_text(text, size);
        text = cairn_value_get_data(cairn_value_at(map, i), &size);
        put_text(text, size);
    }
}

static int put_tensor(const cairn_checkpoint *checkpoint, const cairn_tensor_info *tensor, cairn_error *err)
{
    const char *dtype = cairn_dtype_name(tensor->dtype);
    void *data = take(tensor->size_bytes);
    int code = cairn_checkpoint_read(checkpoint, tensor, 0, tensor->size_bytes, data, err);
    if (!code) {
        put_text(tensor->name, strlen(tensor->name));
        put_text(dtype, strlen(dtype));
        put_u32(tensor->rank);
        for (uint32_t i = 0; i < tensor->rank; i++) put_u64(tensor->shape[i]);
        put_u64(tensor->size_bytes);
        put(data, tensor->size_bytes);
    }
    free(data);
    return code;
}

static void put_checkpoint(const cairn_checkpoint *checkpoint)
{
    cairn_error err = CAIRN_ERROR_INIT;
    size_t count = cairn_checkpoint_get_info(checkpoint)->tensors_count;
    put_u32(CAIRN_OK);
    put_text("", 0);
    put_metadata(checkpoint);
    put_u32((uint32_t)count);
    for (size_t i = 0; i < count; i++)
        if (put_tensor(checkpoint, cairn_checkpoint_tensor(checkpoint, i), &err)) {
            put_failure(&err);
            return;
        }
}

static void write_scratch(const char *path, const char *data, size_t size)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) die(path);
    while (size) {
        ssize_t count = write(file, data, size);
        if (count <= 0) die(path);
        data += count;
        size -= (size_t)count;
    }
    if (close(file)) die(path);
}

int main(int argc, char **argv)
{
    uint32_t size;
    if (argc != 2) return 2;
    while (fread(&size, sizeof size, 1, stdin) == 1) {
        cairn_error err = CAIRN_ERROR_INIT;
        cairn_checkpoint *checkpoint = NULL;
        char *data = take(size);
        if (size && fread(data, size, 1, stdin) != 1) die("stdin");
        alarm(SECONDS_A_FILE);
        write_scratch(argv[1], data, size);
        free(data);
        answer_size = 0;
        if (cairn_checkpoint_open(NULL, argv[1], &checkpoint, &err))
            put_failure(&err);
        else
            put_checkpoint(checkpoint);
        cairn_checkpoint_close(checkpoint);
        alarm(0); /* what the driver does meanwhile is not our time */
        if (fwrite(answer, 1, answer_size, stdout) != answer_size || fflush(stdout)) die("stdout");
    }
    free(answer);
    return 0;
}

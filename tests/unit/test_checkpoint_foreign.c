/* Covers src/snapshot/checkpoint_foreign.c: opening what Cairn did not write: single files, folders, the Hub's shards; and folders made to mislead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cairn.h"

static char folder[200];

static void path_of(const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", folder, name);
}

static void put(const char *name, const void *bytes, size_t size)
{
    char path[512];
    path_of(name, path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

/* One safetensors file with the U8 tensors named, two bytes each: 1 2, 3 4, ... */
static void put_tensors(const char *name, const char *const *tensors, size_t count)
{
    char file[1024] = { 0 };
    size_t used = 8, data;
    for (size_t i = 0; i < count; i++)
        used += (size_t)sprintf(file + used, "%c\"%s\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[%zu,%zu]}", i ? ',' : '{',
                                tensors[i], 2 * i, 2 * i + 2);
    file[used++] = '}';
    for (int i = 0; i < 8; i++) file[i] = (char)((used - 8) >> 8 * i & 0xff);
    for (data = 0; data < 2 * count; data++) file[used + data] = (char)(data + 1);
    put(name, file, used + data);
}

#define PUT_TENSORS(name, ...)                                                                                                             \
    put_tensors(name, (const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static int start(void **state)
{
    (void)state;
    const char *base = getenv("CAIRN_TEST_DIR");
    snprintf(folder, sizeof folder, "%s/foreign-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void expect(const char *path, int expected, const char *part)
{
    cairn_checkpoint *checkpoint = NULL;
    cairn_error err = CAIRN_ERROR_INIT;
    int code = cairn_checkpoint_open(NULL, path, &checkpoint, &err);
    if (code != expected) fail_msg("%s, not %s: %s", cairn_code_name(code), cairn_code_name(expected), err.message);
    if (code && (!strstr(err.message, part) || strchr(err.message, '\n'))) fail_msg("no '%s' in: %s", part, err.message);
    assert_true(!code == !!checkpoint);
    cairn_checkpoint_close(checkpoint);
}

static void expect_file(const char *name, int expected, const char *part)
{
    char path[512];
    path_of(name, path);
    expect(path, expected, part);
}

static void test_one_file(void **state)
{
    (void)state;
    char path[512];
    unsigned char bytes[2] = { 0 };
    cairn_checkpoint *checkpoint;
    cairn_error err = CAIRN_ERROR_INIT;
    PUT_TENSORS("any name.safetensors", "a", "../b");
    path_of("any name.safetensors", path);
    if (cairn_checkpoint_open(NULL, path, &checkpoint, &err)) fail_msg("%s", err.message);
    const cairn_checkpoint_info *info = cairn_checkpoint_get_info(checkpoint);
    assert_int_equal(info->source, CAIRN_SOURCE_FILE);
    assert_int_equal(info->tensors_count, 2);
    assert_int_equal(info->tensor_bytes, 4);
    const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, "model", "../b"); /* a name, never a path */
    assert_non_null(tensor);
    assert_int_equal(cairn_checkpoint_read(checkpoint, tensor, 0, 2, bytes, &err), 0);
    assert_memory_equal(bytes, "\3\4", 2);
    cairn_checkpoint_close(checkpoint);
}

static void test_bad_files(void **state)
{
    (void)state;
    put("x.safetensors", "", 0);
    expect_file("x.safetensors", CAIRN_E_TRUNCATED, "x.safetensors");
    put("x.safetensors", "\x10\0\0\0\0\0\0\0{}", 10);
    expect_file("x.safetensors", CAIRN_E_TRUNCATED, "(byte 10)");
    put("x.safetensors", "\2\0\0\0\0\0\0\0{}z", 11);
    expect_file("x.safetensors", CAIRN_E_FORMAT, "(byte 10)");
    put("x.safetensors", "{\"metadata\": {}}", 16);
    expect_file("x.safetensors", CAIRN_E_LIMIT, "x.safetensors");
    PUT_TENSORS("x.safetensors", "a\\u0000b");
    expect_file("x.safetensors", CAIRN_E_UNSUPPORTED, "a\\u0000b");
    expect_file("missing.safetensors", CAIRN_E_NOTFOUND, "missing.safetensors");
    expect(folder, CAIRN_E_NOTFOUND, folder);
}

static void test_not_a_file(void **state)
{
    (void)state;
    char path[512];
    alarm(10); /* a FIFO must not be waited for */
    path_of("model.safetensors", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    cairn_checkpoint *checkpoint = NULL;
    assert_int_not_equal(cairn_checkpoint_open(NULL, path, &checkpoint, NULL), CAIRN_OK);
    assert_int_not_equal(cairn_checkpoint_open(NULL, folder, &checkpoint, NULL), CAIRN_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_not_equal(cairn_checkpoint_open(NULL, folder, &checkpoint, NULL), CAIRN_OK);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("model.safetensors", path), 0); /* a loop */
    assert_int_not_equal(cairn_checkpoint_open(NULL, folder, &checkpoint, NULL), CAIRN_OK);
    assert_int_equal(unlink(path), 0);
    alarm(0);
}

#define INDEX "model.safetensors.index.json"

static void test_folders(void **state)
{
    (void)state;
    PUT_TENSORS("model.safetensors", "a");
    expect(folder, CAIRN_OK, "");
    PUT_TENSORS("one.safetensors", "a", "b");
    PUT_TENSORS("two.safetensors", "c");
    put_text(
        INDEX,
        "{\"metadata\":{\"total_size\":999},\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"two.safetensors\"}}"); /* I7 */
    char path[512];
    cairn_checkpoint *checkpoint;
    assert_int_equal(cairn_checkpoint_open(NULL, folder, &checkpoint, NULL), 0);
    assert_int_equal(cairn_checkpoint_get_info(checkpoint)->tensors_count,
                     1); /* model.safetensors goes before the index, as in transformers */
    cairn_checkpoint_close(checkpoint);
    path_of("model.safetensors", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(cairn_checkpoint_open(NULL, folder, &checkpoint, NULL), 0);
    assert_int_equal(cairn_checkpoint_get_info(checkpoint)->source, CAIRN_SOURCE_SHARDED);
    assert_int_equal(cairn_checkpoint_get_info(checkpoint)->tensors_count, 3);
    assert_int_equal(cairn_checkpoint_get_info(checkpoint)->files_count, 2);
    cairn_checkpoint_close(checkpoint);
}

static void test_bad_folders(void **state)
{
    (void)state;
    PUT_TENSORS("one.safetensors", "a", "b");
    PUT_TENSORS("two.safetensors", "c");
    static const struct {
        const char *index;
        int code;
        const char *part;
    } cases[] = {
        { "{\"weight_map\":{\"a\":\"../one.safetensors\"}}", CAIRN_E_PATH, "../one.safetensors" },             /* I1 */
        { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", CAIRN_E_PATH, "/etc/passwd" },                           /* I1 */
        { "{\"weight_map\":{\"a\":\"one.safetensors\",\"x\":\"two.safetensors\"}}", CAIRN_E_FORMAT, "\"x\"" }, /* I3 */
        { "{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"two.safetensors\"}}", CAIRN_E_FORMAT,
          "\"b\" of one.safetensors" },                                                                            /* I3, the reverse */
        { "{\"weight_map\":{\"a\":\"two.safetensors\",\"c\":\"one.safetensors\"}}", CAIRN_E_FORMAT, "is not in" }, /* I4 */
        { "{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"three.safetensors\"}}", CAIRN_E_TRUNCATED, "three.safetensors" }, /* I5 */
        { "{\"weight_map\":{\"a\":\"" INDEX "\"}}", CAIRN_E_PATH, INDEX },                                                      /* I9 */
        { "{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"two.safetensors\"", CAIRN_E_FORMAT, INDEX }, /* cut off */
        { "", CAIRN_E_FORMAT, INDEX },
        { "{}", CAIRN_E_FORMAT, "weight_map" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_text(INDEX, cases[i].index);
        expect(folder, cases[i].code, cases[i].part);
    }
    PUT_TENSORS("two.safetensors", "a");
    put_text(INDEX, "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    expect(folder, CAIRN_E_FORMAT, "two shards");
}

/* S57: a file that shrinks while it is open is told, and never a SIGBUS. */
static void test_shrinking(void **state)
{
    (void)state;
    char path[512];
    unsigned char bytes[2] = { 0 };
    cairn_checkpoint *checkpoint;
    cairn_error err = CAIRN_ERROR_INIT;
    PUT_TENSORS("x.safetensors", "a", "b");
    path_of("x.safetensors", path);
    assert_int_equal(cairn_checkpoint_open(NULL, path, &checkpoint, &err), 0);
    const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, "model", "b");
    assert_int_equal(truncate(path, (off_t)tensor->file_offset + 1), 0);
    assert_int_equal(cairn_checkpoint_read(checkpoint, tensor, 0, 2, bytes, &err), CAIRN_E_TRUNCATED);
    assert_int_equal(err.offset, tensor->file_offset + 1);
    assert_int_equal(truncate(path, 9), 0);
    assert_int_equal(cairn_checkpoint_read(checkpoint, tensor, 0, 2, bytes, &err), CAIRN_E_TRUNCATED);
    cairn_checkpoint_close(checkpoint);
    expect(path, CAIRN_E_TRUNCATED, "x.safetensors");
}

/* ------------------------------------------------------------------------------------------------------------ memory (P13) */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEASURED = 0 };
#else
enum { MEASURED = 1 };
#endif

/* Opens path in a process of its own; the code, and the most memory that process had. */
static int open_apart(const char *path, uint64_t *ret_peak_bytes)
{
    int status;
    struct rusage usage;
    pid_t child = fork();
    if (!child) {
        cairn_checkpoint *checkpoint;
        _exit(-cairn_checkpoint_open(NULL, path, &checkpoint, NULL));
    }
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    assert_true(WIFEXITED(status));
    *ret_peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    return -WEXITSTATUS(status);
}

static void expect_cheap(uint64_t json_bytes, int expected)
{
    char path[512];
    uint64_t idle, peak;
    path_of("none", path);
    assert_int_equal(open_apart(path, &idle), CAIRN_E_NOTFOUND);
    path_of("many.safetensors", path);
    int code = open_apart(path, &peak);
    if (code != expected) fail_msg("%s, not %s", cairn_code_name(code), cairn_code_name(expected));
    uint64_t most = (UINT64_C(64) << 20) + 2 * json_bytes, took = peak > idle ? peak - idle : 0;
    if (MEASURED)
        print_message("header of %llu bytes: %llu bytes of memory, at most %llu\n", (unsigned long long)json_bytes,
                      (unsigned long long)took, (unsigned long long)most);
    assert_true(!MEASURED || took <= most);
}

/* Empty tensors, names padded with zeros to width. Returns the header's size. */
static uint64_t put_many(uint64_t count, int width)
{
    char path[512];
    path_of("many.safetensors", path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    uint64_t size = 0;
    fwrite(&size, 8, 1, file);
    for (uint64_t i = 0; i < count; i++)
        size += (uint64_t)fprintf(file, "%c\"%0*llx\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? ',' : '{', width,
                                  (unsigned long long)i);
    size += fwrite("}", 1, 1, file);
    rewind(file);
    fwrite(&size, 8, 1, file);
    assert_int_equal(fclose(file), 0);
    return size;
}

static void test_memory(void **state)
{
    (void)state;
    expect_cheap(put_many(60000, 8), CAIRN_OK);
    expect_cheap(put_many(100000, 200), CAIRN_OK);
    expect_cheap(put_many(1000000, 1), CAIRN_E_LIMIT); /* S59 */
    char path[512], spaces[10000];
    uint64_t size = 100000000;
    path_of("many.safetensors", path);
    memset(spaces, ' ', sizeof spaces);
    FILE *file = fopen(path, "wb"); /* S7 */
    fwrite(&size, 8, 1, file);
    fwrite("{}", 2, 1, file);
    for (uint64_t done = 2; done < size;) done += fwrite(spaces, 1, size - done < sizeof spaces ? size - done : sizeof spaces, file);
    assert_int_equal(fclose(file), 0);
    expect_cheap(size, CAIRN_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_file, start, finish),    cmocka_unit_test_setup_teardown(test_bad_files, start, finish),
        cmocka_unit_test_setup_teardown(test_not_a_file, start, finish),  cmocka_unit_test_setup_teardown(test_folders, start, finish),
        cmocka_unit_test_setup_teardown(test_bad_folders, start, finish), cmocka_unit_test_setup_teardown(test_shrinking, start, finish),
        cmocka_unit_test_setup_teardown(test_memory, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

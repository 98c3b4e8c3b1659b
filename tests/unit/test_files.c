/* Covers src/io/arena.c, src/io/infile.c, src/io/outfile.c and src/store/smallfile.c: memory with an end, files that are written once and read by
 * ranges. */
#include "support.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "io/arena.h"
#include "io/infile.h"
#include "io/outfile.h"
#include "store/smallfile.h"

static cairn_error err = CAIRN_ERROR_INIT;

static const char *path;

static cn_file folder(const char *name)
{
    cn_file dir = CN_NO_FILE;
    path = test_folder(name);
    assert_int_equal(cn_os_open_dir_path(path, &dir), 0);
    return dir;
}

/* ----------------------------------------------------------------------------------------------------------------- arena */

struct waiter {
    struct cn_arena *arena;
    unsigned char *slot;
};

static void wait_for_slot(void *user)
{
    struct waiter *waiter = user;
    waiter->slot = cn_arena_take(waiter->arena);
}

static void who_finds_no_slot_waits(void **unused)
{
    struct cn_arena *arena;
    struct cn_task *task;
    unsigned char *slots[3];
    struct waiter waiter;
    (void)unused;
    test_code(cn_arena_new(4096, CN_MIN_ARENA_PIECES - 1, &arena, &err), CAIRN_E_USAGE);
    test_code(cn_arena_new(UINT64_C(1) << 62, 4, &arena, &err), CAIRN_E_USAGE);
    test_code(cn_arena_new(UINT64_C(1) << 46, 3, &arena, &err), CAIRN_E_NOMEM);
    test_ok(cn_arena_new(5000, 3, &arena, &err));
    assert_true(cn_arena_slot_bytes(arena) == 8192 && cn_arena_slots(arena) == 3);
    for (int i = 0; i < 3; i++) {
        slots[i] = cn_arena_take(arena);
        assert_true(slots[i] && (uintptr_t)slots[i] % CN_PAGE_BYTES == 0);
        memset(slots[i], i, 8192);
    }
    for (int i = 0; i < 3; i++) assert_true(slots[i][0] == i && slots[i][8191] == i);
    waiter = (struct waiter){ arena, slots[0] };
    assert_int_equal(cn_task_start(wait_for_slot, &waiter, &task), 0);
    cn_os_sleep_ns(20000000);
    cn_arena_give(arena, slots[1]);
    cn_task_join(task);
    assert_ptr_equal(waiter.slot, slots[1]);
    assert_int_equal(cn_task_start(wait_for_slot, &waiter, &task), 0);
    cn_os_sleep_ns(20000000);
    cn_arena_stop(arena);
    cn_task_join(task);
    assert_null(waiter.slot);
    assert_null(cn_arena_take(arena));
    cn_arena_start(arena);
    assert_non_null(cn_arena_take(arena));
    cn_arena_free(arena);
    cn_arena_free(NULL);
}

/* ----------------------------------------------------------------------------------------------------------------- files */

static void write_and_read(cairn_io_mode mode)
{
    enum { SIZE = 3 * 4096 + 17, ROOM = 4 * 4096 };
    static _Alignas(4096) unsigned char bytes[ROOM], slot[ROOM + 8192];
    cn_file dir = folder("file");
    struct cn_outfile out;
    struct cn_infile in;
    struct stat info;
    char name[300];
    unsigned char some[100];
    const unsigned char *found;
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (unsigned char)(i * 31 >> 3);
    test_ok(cn_outfile_create(&out, dir, "data", SIZE, mode, &err));
    test_code(cn_outfile_create(&out, dir, "data", SIZE, mode, &err), CAIRN_E_EXISTS);
    snprintf(name, sizeof name, "%s/data", path);
    unlink(name);
    test_ok(cn_outfile_create(&out, dir, "data", SIZE, mode, &err));
    test_ok(cn_outfile_write(&out, 8192, bytes + 8192, 8192, &err)); /* any order; over the end within the last page */
    test_ok(cn_outfile_write(&out, 0, bytes, 8192, &err));
    test_ok(cn_outfile_finish(&out, &err));
    assert_int_equal(out.file, CN_NO_FILE);
    assert_true(!stat(name, &info) && info.st_size == SIZE && (info.st_mode & 07777) == 0444);
    test_ok(cn_infile_open(&in, dir, "data", mode, &err));
    assert_int_equal(in.size_bytes, SIZE);
    test_ok(cn_infile_read(&in, 5000, some, sizeof some, &err));
    assert_memory_equal(some, bytes + 5000, sizeof some);
    test_ok(cn_infile_read_slot(&in, 100, SIZE - 100, slot, sizeof slot, &found, &err));
    assert_memory_equal(found, bytes + 100, SIZE - 100);
    test_code(cn_infile_read(&in, SIZE - 1, some, 2, &err), CAIRN_E_TRUNCATED);
    assert_int_equal(err.offset, SIZE);
    test_code(cn_infile_read_slot(&in, SIZE - 1, 2, slot, sizeof slot, &found, &err), CAIRN_E_TRUNCATED);
    cn_infile_close(&in);
    cn_infile_close(&in);
    cn_os_close(dir);
}

static void what_was_written_is_read(void **unused)
{
    (void)unused;
    write_and_read(CAIRN_IO_BUFFERED);
    write_and_read(CAIRN_IO_AUTO);
}

/* Large and out of the cache: the direct descriptor is used, and the last page comes back short. */
static void cold_bytes_are_read_directly(void **unused)
{
    enum { SIZE = (3 << 20) + 77 };
    unsigned char *bytes = malloc(SIZE), *slot = aligned_alloc(4096, (4 << 20) + 8192);
    cn_file dir = folder("cold");
    struct cn_infile in;
    const unsigned char *found;
    char name[300];
    (void)unused;
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (unsigned char)(i >> 7);
    test_ok(cn_smallfile_put(dir, "data", bytes, SIZE, 0644, &err));
    snprintf(name, sizeof name, "%s/data", path);
    int file = open(name, O_RDONLY);
    assert_int_equal(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(file);
    test_ok(cn_infile_open(&in, dir, "data", CAIRN_IO_AUTO, &err));
    test_ok(cn_infile_read_slot(&in, 1000, SIZE - 1000, slot, (4 << 20) + 8192, &found, &err));
    assert_memory_equal(found, bytes + 1000, SIZE - 1000);
    if (in.direct != CN_NO_FILE) assert_ptr_equal(found, slot + 1000);
    test_code(cn_infile_read_slot(&in, 1000, SIZE, slot, (4 << 20) + 8192, &found, &err), CAIRN_E_TRUNCATED);
    cn_infile_close(&in);
    cn_os_close(dir);
    free(bytes);
    free(slot);
}

static void only_regular_files_are_read(void **unused)
{
    static const struct {
        const char *make;
        int code;
        const char *part;
    } cases[] = { { "ln -s /etc/passwd x", CAIRN_E_PATH, "symbolic link" },
                  { "mkdir x", CAIRN_E_PATH, "folder" },
                  { "mkfifo x", CAIRN_E_PATH, "regular" },
                  { "true", CAIRN_E_NOTFOUND, "x" } };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cn_file dir = folder("odd");
        struct cn_infile in;
        char *data;
        size_t size;
        test_shell("cd %s && %s", path, cases[i].make);
        test_code(cn_infile_open(&in, dir, "x", CAIRN_IO_AUTO, &err), cases[i].code);
        assert_non_null(strstr(err.message, cases[i].part));
        test_code(cn_smallfile_load(dir, "x", 1 << 20, &data, &size, &err), cases[i].code);
        cn_os_close(dir);
    }
}

static void a_full_disk_names_what_is_missing(void **unused)
{
    cn_file dir = folder("full");
    struct cn_outfile out;
    (void)unused;
    test_code(cn_outfile_create(&out, dir, "data", UINT64_C(1) << 43, CAIRN_IO_AUTO, &err), CAIRN_E_NOSPACE);
    assert_non_null(strstr(err.message, "8796093022208 bytes"));
    assert_non_null(strstr(err.message, "missing"));
    assert_int_equal(out.file, CN_NO_FILE);
    cn_outfile_abandon(&out);
    cn_os_close(dir);
}

static void direct_io_that_is_refused_is_told(void **unused)
{
    struct cn_outfile out;
    cn_file dir = CN_NO_FILE;
    (void)unused;
    /* /proc refuses new files before O_DIRECT is looked at: an error, not a file */
    assert_int_equal(cn_os_open_dir_path("/proc", &dir), 0);
    assert_int_not_equal(cn_outfile_create(&out, dir, "x", 10, CAIRN_IO_DIRECT, &err), CAIRN_OK);
    assert_int_equal(out.file, CN_NO_FILE);
    cn_os_close(dir);
}

static void small_files_are_whole(void **unused)
{
    cn_file dir = folder("small");
    char *data, name[300];
    size_t size;
    (void)unused;
    test_ok(cn_smallfile_put(dir, "a", "hello", 5, 0644, &err));
    test_code(cn_smallfile_put(dir, "a", "other", 5, 0644, &err), CAIRN_E_EXISTS);
    test_ok(cn_smallfile_load(dir, "a", 5, &data, &size, &err));
    assert_true(size == 5 && !strcmp(data, "hello"));
    cn_os_free(data);
    test_code(cn_smallfile_load(dir, "a", 4, &data, &size, &err), CAIRN_E_LIMIT);
    snprintf(name, sizeof name, "%s/link", path);
    test_shell("ln -s a %s", name);
    test_ok(cn_smallfile_load_path(name, 5, &data, &size, &err)); /* a user's own path */
    assert_true(size == 5 && !strcmp(data, "hello"));
    cn_os_free(data);
    test_code(cn_smallfile_load_path("/nowhere/x", 5, &data, &size, &err), CAIRN_E_NOTFOUND);
    test_code(cn_smallfile_load_path("/dev/null", 5, &data, &size, &err), CAIRN_E_PATH);
    test_code(cn_smallfile_load_path("/", 5, &data, &size, &err), CAIRN_E_PATH);
    cn_os_close(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(who_finds_no_slot_waits),
                                        cmocka_unit_test(what_was_written_is_read),
                                        cmocka_unit_test(cold_bytes_are_read_directly),
                                        cmocka_unit_test(only_regular_files_are_read),
                                        cmocka_unit_test(a_full_disk_names_what_is_missing),
                                        cmocka_unit_test(direct_io_that_is_refused_is_told),
                                        cmocka_unit_test(small_files_are_whole) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

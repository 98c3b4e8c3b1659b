/* Covers src/store/term.c and src/store/rundir.c: who may write, and the folder that is written. */
#include "storefix.h"

#include <sys/stat.h>

#include "base/json.h"
#include "store/smallfile.h"

static cairn_error err = CAIRN_ERROR_INIT;
static char path[600];

static void fresh(const char *name)
{
    snprintf(path, sizeof path, "%s/store/run", test_folder(name));
}

static void the_higher_term_wins(void **unused)
{
    struct writer first, second;
    (void)unused;
    fresh("higher");
    writer_open(&first, path, &err);
    assert_int_equal(first.term, 1);
    test_ok(cn_term_check(&first.run, first.term, first.uuid, &err));
    writer_open(&second, path, &err);
    assert_int_equal(second.term, 2);
    assert_string_equal(first.run.id, second.run.id);
    test_code(cn_term_check(&first.run, first.term, first.uuid, &err), CAIRN_E_FENCED);
    assert_non_null(strstr(err.message, "term 2, ours is 1"));
    test_ok(cn_term_check(&second.run, 2, second.uuid, &err));
    test_code(cn_term_check(&second.run, 2, first.uuid, &err), CAIRN_E_FENCED); /* the number alone is not enough */
    test_shell("ls -A %s/.cairn/terms | sort | tr '\\n' ' ' | grep -qx '1 2 '", path);
    cn_rundir_close(&first.run);
    cn_rundir_close(&second.run);
}

/* The terms folder may be lost with part of a copied store: staging names and manifests know, too. */
static void numbers_are_never_given_twice(void **unused)
{
    struct writer writer;
    (void)unused;
    fresh("numbers");
    writer_open(&writer, path, &err);
    writer_go_back(&writer, 0, &err);
    writer_go_back(&writer, 0, &err);
    test_ok(writer_save(&writer, 10, &err));
    cn_rundir_close(&writer.run);
    test_shell("rm %s/.cairn/terms/*", path);
    writer_open(&writer, path, &err);
    assert_int_equal(writer.term, 4);
    cn_rundir_close(&writer.run);
    test_shell("rm %s/.cairn/terms/* && mkdir %s/.cairn/staging/41-abc %s/.cairn/staging/077-x %s/.cairn/staging/x", path, path, path,
               path);
    writer_open(&writer, path, &err);
    assert_int_equal(writer.term, 42);
    /* the older writer's folder is gone from staging, so that its rename has no source; what is no staging folder stays */
    test_shell("test ! -e %s/.cairn/staging/41-abc && test -d %s/.cairn/staging/x && test -d %s/.cairn/staging/077-x", path, path, path);
    cn_rundir_close(&writer.run);
}

struct racer {
    const char *path;
    uint64_t terms[50];
};

static void race(void *user)
{
    struct racer *racer = user;
    cairn_error error = CAIRN_ERROR_INIT;
    struct cn_rundir run;
    char uuid[CN_ID_BYTES];
    struct cn_digest id;
    if (cn_rundir_open(racer->path, &run, &error)) return;
    cn_os_random(id.bytes, sizeof id.bytes);
    cn_digest_hex(&id, uuid);
    for (int i = 0; i < 50; i++)
        if (cn_term_take(&run, uuid, &racer->terms[i], &error)) racer->terms[i] = 0; /* fenced in between: fine */
    cn_rundir_close(&run);
}

static void no_two_writers_get_the_same_number(void **unused)
{
    static struct racer racers[4];
    struct cn_task *tasks[4];
    static bool seen[1000];
    unsigned taken = 0;
    (void)unused;
    fresh("race");
    for (int i = 0; i < 4; i++) {
        racers[i].path = path;
        assert_int_equal(cn_task_start(race, &racers[i], &tasks[i]), 0);
    }
    for (int i = 0; i < 4; i++) cn_task_join(tasks[i]);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 50; k++) {
            uint64_t term = racers[i].terms[k];
            if (!term) continue;
            assert_true(term < 1000 && !seen[term]);
            seen[term] = true;
            taken++;
        }
    assert_true(taken >= 50);
}

/* ------------------------------------------------------------------------------------------------------------- run.json */

static void put_run_json(const char *text, bool sealed)
{
    struct cn_buf buf;
    cn_file dir = CN_NO_FILE;
    test_shell("rm -rf %s && mkdir -p %s", path, path);
    cn_buf_init(&buf, cn_os_alloc(), 1 << 20);
    cn_buf_text(&buf, text);
    struct cn_json_writer writer = { .buf = &buf, .need_comma = 1 };
    if (sealed) cn_json_seal(&writer);
    assert_int_equal(cn_os_open_dir_path(path, &dir), 0);
    test_ok(cn_smallfile_put(dir, "run.json", buf.data, buf.size, 0644, &err));
    cn_os_close(dir);
    cn_buf_done(&buf);
}

#define ID "\"id\":\"0123456789abcdef0123456789abcdef\""

static void hostile_run_files_are_refused(void **unused)
{
    static const struct {
        const char *text;
        bool sealed;
        int code;
    } cases[] = {
        { "{\"cairn\":\"run\",\"version\":1," ID ",\"later\":{\"a\":[1]}", true, CAIRN_OK },
        { "{\"cairn\":\"run\",\"version\":2," ID, true, CAIRN_E_VERSION },
        { "{\"cairn\":\"run\",\"version\":0," ID, true, CAIRN_E_FORMAT },
        { "{\"cairn\":\"run\"," ID, true, CAIRN_E_FORMAT },
        { "{\"cairn\":\"manifest\",\"version\":1," ID, true, CAIRN_E_FORMAT },
        { "{\"version\":1," ID, true, CAIRN_E_FORMAT },
        { "{\"cairn\":\"run\",\"version\":1", true, CAIRN_E_FORMAT },
        { "{\"cairn\":\"run\",\"version\":1,\"id\":\"../../../../../../../../../etc/xx\"", true, CAIRN_E_FORMAT },
        { "{\"cairn\":\"run\",\"version\":1,\"id\":\"0123456789ABCDEF0123456789abcdef\"", true, CAIRN_E_FORMAT },
        { "{\"cairn\":\"run\",\"version\":1,\"id\":\"short\"", true, CAIRN_E_FORMAT },
        { "{\"cairn\":\"run\",\"version\":-1," ID, true, CAIRN_E_FORMAT },
        { "{\"cairn\":\"run\",\"version\":\"1\"," ID, true, CAIRN_E_FORMAT },
        { "{\"cairn\":7,\"version\":1," ID, true, CAIRN_E_FORMAT },
        { "[1", true, CAIRN_E_FORMAT },
        { "{\"cairn\":\"run\",\"version\":1," ID ",\"x\":nan", true, CAIRN_E_FORMAT },
        { "{\"cairn\":\"run\",\"version\":1," ID "}\n", false, CAIRN_E_CORRUPT },
        { "", false, CAIRN_E_TRUNCATED },
    };
    struct cn_rundir run;
    (void)unused;
    fresh("hostile");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_run_json(cases[i].text, cases[i].sealed);
        int code = cn_rundir_open_read(path, &run, &err);
        if (code != cases[i].code) fail_msg("%s: %s: %s", cases[i].text, cairn_code_name(code), err.message);
        if (code)
            assert_non_null(strstr(err.message, "run.json"));
        else
            cn_rundir_close(&run);
        /* a writer leaves it as it is */
        int again = cn_rundir_open(path, &run, &err);
        assert_int_equal(again, code);
        if (again)
            test_shell("test \"$(ls -A %s)\" = run.json", path);
        else
            cn_rundir_close(&run);
    }
    test_shell("truncate -s 70000 %s/run.json", path);
    test_code(cn_rundir_open_read(path, &run, &err), CAIRN_E_LIMIT);
    test_shell("rm %s/run.json && ln -s /etc/passwd %s/run.json", path, path);
    test_code(cn_rundir_open_read(path, &run, &err), CAIRN_E_PATH);
    test_shell("rm %s/run.json && mkfifo %s/run.json", path, path);
    test_code(cn_rundir_open_read(path, &run, &err), CAIRN_E_PATH);
}

static void any_change_of_run_json_is_found(void **unused)
{
    char name[700];
    struct writer writer;
    struct cn_rundir run;
    (void)unused;
    fresh("flip");
    writer_open(&writer, path, &err);
    cn_rundir_close(&writer.run);
    snprintf(name, sizeof name, "%s/run.json", path);
    FILE *file = fopen(name, "r+b");
    fseek(file, 0, SEEK_END);
    for (long at = ftell(file) - 1; at >= 0; at--)
        for (int bit = 0; bit < 8; bit++) {
            fseek(file, at, SEEK_SET);
            int byte = fgetc(file);
            fseek(file, at, SEEK_SET);
            fputc(byte ^ 1 << bit, file);
            fflush(file);
            if (!cn_rundir_open_read(path, &run, &err)) fail_msg("byte %ld bit %d", at, bit);
            fseek(file, at, SEEK_SET);
            fputc(byte, file);
            fflush(file);
        }
    fclose(file);
    test_ok(cn_rundir_open_read(path, &run, &err));
    cn_rundir_close(&run);
}

static void folders_are_made_as_needed(void **unused)
{
    struct cn_rundir run;
    struct stat info;
    char deep[700];
    (void)unused;
    fresh("made");
    test_code(cn_rundir_open_read(path, &run, &err), CAIRN_E_NOTFOUND);
    snprintf(deep, sizeof deep, "%s/a/b///", path);
    test_ok(cn_rundir_open(deep, &run, &err));
    cn_rundir_close(&run);
    cn_rundir_close(&run);
    assert_true(!stat(deep, &info) && (info.st_mode & 07777) == 0755);
    test_code(cn_rundir_open_read(path, &run, &err), CAIRN_E_NOTFOUND); /* the folder above is no run */
    assert_non_null(strstr(err.message, "run.json"));
    test_code(cn_rundir_open("", &run, &err), CAIRN_E_USAGE);
    snprintf(deep, sizeof deep, "%s/a/b/run.json/c", path);
    test_code(cn_rundir_open(deep, &run, &err), CAIRN_E_NOTFOUND); /* a file in the way */
    test_shell("mkdir -p %s/x && ln -s /tmp %s/x/.cairn", path, path);
    snprintf(deep, sizeof deep, "%s/x", path);
    assert_int_not_equal(cn_rundir_open(deep, &run, &err), CAIRN_OK); /* private folders are never followed elsewhere */
}

/* Names that mean something else are refused for a new run; one that has such a name keeps it. */
static void a_run_has_a_name_of_its_own(void **unused)
{
    static const char *const odd[] = { "checkpoint-3", "checkpoint-x", "latest", "best", "a@b", "a\nb", "\xff", ".hidden" };
    static const char *const good[] = { "a~b", "a b", "checkpoint", "latest.1", "\xc3\xa4" };
    char base[300];
    struct cn_rundir run;
    (void)unused;
    snprintf(base, sizeof base, "%s", test_folder("names"));
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        snprintf(path, sizeof path, "%s/%s", base, odd[i]);
        test_code(cn_rundir_open(path, &run, &err), CAIRN_E_USAGE);
        assert_non_null(strstr(err.message, "another name for a run"));
        test_shell("test -z \"$(ls -A %s)\"", base);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(path, sizeof path, "%s/%s", base, good[i]);
        test_ok(cn_rundir_open(path, &run, &err));
        cn_rundir_close(&run);
    }
    test_shell("cd %s && mv 'a b' latest", base);
    snprintf(path, sizeof path, "%s/latest/", base);
    test_ok(cn_rundir_open(path, &run, &err));
    cn_rundir_close(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_higher_term_wins),
                                        cmocka_unit_test(numbers_are_never_given_twice),
                                        cmocka_unit_test(no_two_writers_get_the_same_number),
                                        cmocka_unit_test(hostile_run_files_are_refused),
                                        cmocka_unit_test(any_change_of_run_json_is_found),
                                        cmocka_unit_test(folders_are_made_as_needed),
                                        cmocka_unit_test(a_run_has_a_name_of_its_own) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

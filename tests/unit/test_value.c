/* Covers src/snapshot/value.c, src/snapshot/valuejson_read.c, valuejson_check.c and valuejson_write.c: trees of plain values, and their form in JSON. Hostile files: test_table.c. */
#include "support.h"

#include <math.h>

#include "base/hash.h"
#include "os/os.h"
#include "snapshot/value.h"
#include "snapshot/valuejson.h"

static cairn_error err = CAIRN_ERROR_INIT;

/* The seed of the last table. */
static uint64_t seed;

void __real_cn_hash_init(struct cn_hash *hash, const struct cn_alloc *alloc, uint64_t given);
void __wrap_cn_hash_init(struct cn_hash *hash, const struct cn_alloc *alloc, uint64_t given);
void __wrap_cn_hash_init(struct cn_hash *hash, const struct cn_alloc *alloc, uint64_t given)
{
    seed = given;
    __real_cn_hash_init(hash, alloc, given);
}

static void trees_take_over_what_they_are_given(void **unused)
{
    cairn_value *list = cairn_value_list(), *map = cairn_value_map(), *number = cairn_value_int(7);
    (void)unused;
    for (int i = 0; i < 20; i++) assert_int_equal(cairn_value_append(list, cairn_value_int(i)), 0);
    assert_int_equal(cairn_value_count(list), 20);
    assert_int_equal(cairn_value_get_int(cairn_value_at(list, 19)), 19);
    assert_null(cairn_value_at(list, 20));
    assert_int_equal(cairn_value_set(map, "a", list), 0);
    assert_int_equal(cairn_value_set(map, "a", cairn_value_bool(5)), 0); /* replaces, and frees the list */
    assert_int_equal(cairn_value_count(map), 1);
    assert_int_equal(cairn_value_get_bool(cairn_value_find(map, "a")), 1);
    assert_string_equal(cairn_value_get_data(cairn_value_key_at(map, 0), NULL), "a");
    /* wrong kinds: the argument is taken over and freed all the same */
    assert_int_equal(cairn_value_append(number, cairn_value_null()), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_append(map, cairn_value_null()), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_append(NULL, cairn_value_null()), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_append(map, NULL), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set(number, "a", cairn_value_null()), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set(map, NULL, cairn_value_null()), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set(map, "b", NULL), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set_pair(map, NULL, cairn_value_null()), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set_pair(map, cairn_value_null(), NULL), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set_tag(NULL, "x"), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set_tag(map, "OrderedDict"), 0);
    assert_string_equal(cairn_value_tag(map), "OrderedDict");
    assert_int_equal(cairn_value_set_tag(map, NULL), 0);
    assert_null(cairn_value_tag(map));
    cairn_value_free(map);
    cairn_value_free(number);
    cairn_value_free(NULL);
}

static void getters_are_gentle(void **unused)
{
    cairn_value *text = cairn_value_string("a\0b", 3), *real = cairn_value_float(1.5), *number = cairn_value_int(-3);
    size_t size = 99;
    (void)unused;
    assert_memory_equal(cairn_value_get_data(text, &size), "a\0b", 4);
    assert_int_equal(size, 3);
    assert_null(cairn_value_get_data(real, &size));
    assert_null(cairn_value_get_data(NULL, NULL));
    assert_true(cairn_value_get_float(real) == 1.5 && cairn_value_get_float(number) == -3 && cairn_value_get_float(text) == 0 &&
                cairn_value_get_float(NULL) == 0);
    assert_true(cairn_value_get_int(text) == 0 && cairn_value_get_bool(number) == 0 && cairn_value_kind(NULL) == CAIRN_NULL &&
                !cairn_value_tag(NULL));
    assert_true(cairn_value_count(text) == 0 && !cairn_value_key_at(text, 0) && !cairn_value_find(text, "a") &&
                !cairn_value_find(NULL, "a"));
    assert_null(cairn_value_big_int("12a"));
    assert_null(cairn_value_big_int("007"));
    assert_null(cairn_value_big_int(""));
    assert_null(cairn_value_big_int("-"));
    assert_null(cairn_value_big_int(NULL));
    cairn_value_free(text);
    cairn_value_free(real);
    cairn_value_free(number);
}

static int decode(const char *text, cairn_value **ret_value)
{
    struct cn_pool pool;
    struct cn_json json;
    cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
    cn_json_init(&json, text, strlen(text), &pool);
    int code = cn_valuejson_read(&json, ret_value, &err);
    cn_pool_done(&pool);
    return code;
}

/* Written, read, copied, written: the same text. */
static void each_form_comes_back(void **unused)
{
    static const char *const forms[] = {
        "null",
        "true",
        "false",
        "0",
        "-9223372036854775808",
        "9223372036854775807",
        "0.1",
        "1e+300",
        "-0.0",
        "5e-324",
        "\"\"",
        "\"\\u0000\\n\xc3\xa4\"",
        "[]",
        "[1,[2,[3]]]",
        "{}",
        "{\"a\":1,\"\":[]}",
        "{\"$map\":[]}",
        "{\"$map\":[[1,\"x\"],[\"$y\",null]]}",
        "{\"$map\":[[{\"$tuple\":[1,2]},3]]}",
        "{\"$tuple\":[]}",
        "{\"$tuple\":[1,\"a\"]}",
        "{\"$int\":\"12345678901234567890123\"}",
        "{\"$f\":\"7ff8000000000001\"}",
        "{\"$f\":\"fff0000000000000\"}",
        "{\"$bytes\":\"\"}",
        "{\"$bytes\":\"AA==\"}",
        "{\"$bytes\":\"AAE=\"}",
        "{\"$bytes\":\"AAEC\"}",
        "{\"$bytes\":\"+/+/\"}",
        "{\"$type\":\"deque\",\"value\":[1]}",
        "{\"$tensor\":\"a/b\"}",
    };
    (void)unused;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        cairn_value *value = NULL, *copy;
        struct cn_buf buf;
        struct cn_json_writer writer = { .buf = &buf };
        test_ok(decode(forms[i], &value));
        assert_non_null(copy = cn_value_copy(value));
        cn_buf_init(&buf, cn_os_alloc(), 1000);
        test_ok(cn_valuejson_write(&writer, copy, 0, &err));
        if (strcmp(buf.data, forms[i]) && strcmp(forms[i], "{\"$map\":[]}")) fail_msg("%s became %s", forms[i], buf.data);
        cn_buf_done(&buf);
        cairn_value_free(value);
        cairn_value_free(copy);
    }
}

static void other_forms_are_refused(void **unused)
{
    static const char *const forms[] = {
        "{\"$bytes\":\"A\"}",
        "{\"$bytes\":\"AB==\"}",
        "{\"$bytes\":\"A===\"}",
        "{\"$bytes\":\"AA=A\"}",
        "{\"$bytes\":\"AA\\n=\"}",
        "{\"$bytes\":1}",
        "{\"$f\":\"7ff8\"}",
        "{\"$f\":\"7FF8000000000001\"}",
        "{\"$f\":1.0}",
        "{\"$int\":\"1.5\"}",
        "{\"$int\":\"007\"}",
        "{\"$int\":5}",
        "{\"$tuple\":{}}",
        "{\"$map\":[[1]]}",
        "{\"$map\":[[1,2,3]]}",
        "{\"$map\":[1]}",
        "{\"$map\":{}}",
        "{\"$map\":[[\"a\",1],[\"a\",2]]}",
        "{\"$map\":[[\"a\",1],[7,1],[\"a\",2]]}",
        "{\"$type\":\"T\"}",
        "{\"$type\":\"T\",\"x\":1}",
        "{\"$type\":5,\"value\":1}",
        "{\"$type\":\"T\",\"value\":{\"$type\":\"U\",\"value\":1}}",
        "{\"$what\":1}",
        "{\"a\":1,\"$b\":2}",
        "{\"a\":1,\"a\":2}",
        "{\"$int\":\"1\",\"more\":1}",
        "{\"$tensor\":\"a\",\"of\":1}",
        "{\"$tensor\":5}",
        "18446744073709551615",
        "123456789012345678901234567890",
        "nul",
        "[1,]",
        "{\"a\"}",
        "",
    };
    char deep[400];
    cairn_value *value = NULL;
    (void)unused;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        int code = decode(forms[i], &value);
        if (code != CAIRN_E_FORMAT && code != CAIRN_E_UNSUPPORTED) fail_msg("%s: %s", forms[i], cairn_code_name(code));
        assert_null(value);
    }
    memset(deep, '[', 200);
    memset(deep + 200, ']', 199);
    deep[399] = 0;
    test_code(decode(deep, &value), CAIRN_E_LIMIT);
}

static void what_could_not_be_read_is_not_written(void **unused)
{
    cairn_value *value = cairn_value_null();
    struct cn_buf buf;
    struct cn_json_writer writer = { .buf = &buf };
    (void)unused;
    for (int i = 0; i < 100; i++) {
        cairn_value *list = i & 1 ? cairn_value_list() : cairn_value_tuple();
        cairn_value_append(list, value);
        value = list;
    }
    cn_buf_init(&buf, cn_os_alloc(), 10000);
    test_code(cn_valuejson_write(&writer, value, 0, &err), CAIRN_E_LIMIT);
    cn_buf_done(&buf);
    cairn_value_free(value);
    cn_buf_init(&buf, cn_os_alloc(), 10000);
    value = cairn_value_string("\xff\xfe", 2);
    test_code(cn_valuejson_write(&writer, value, 0, &err), CAIRN_E_USAGE);
    cairn_value_free(value);
    value = cairn_value_map();
    cairn_value_set_pair(value, cairn_value_string("a", 1), cairn_value_null());
    cairn_value_set_pair(value, cairn_value_string("a", 1), cairn_value_null());
    test_code(cn_valuejson_write(&writer, value, 0, &err), CAIRN_E_USAGE);
    cairn_value_set_pair(value, cairn_value_int(7), cairn_value_null()); /* no plain object any more */
    test_code(cn_valuejson_write(&writer, value, 0, &err), CAIRN_E_USAGE);
    cairn_value_free(value);
    value = cairn_value_list();
    assert_int_equal(cairn_value_set_tag(value, "ke\xffy"), 0);
    test_code(cn_valuejson_write(&writer, value, 0, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "ke\\xffy"));
    cairn_value_free(value);
    cn_buf_done(&buf);
}

/* A tree of any depth goes without recursion, and there is no way to build a ring or to give a value away twice. */
static void trees_are_trees(void **unused)
{
    (void)unused;
    cairn_value *deep = cairn_value_list();
    for (int i = 0; i < 1000000; i++) {
        cairn_value *outer = i % 2 ? cairn_value_map() : cairn_value_list();
        assert_int_equal(i % 2 ? cairn_value_set_pair(outer, deep, cairn_value_null()) : cairn_value_append(outer, deep), CAIRN_OK);
        deep = outer;
    }
    cairn_value_free(deep);
    cairn_value *root = cairn_value_list(), *at = root;
    for (int i = 0; i < 61; i++) {
        cairn_value *inner = cairn_value_list();
        assert_int_equal(cairn_value_append(at, inner), CAIRN_OK);
        at = inner;
    }
    assert_int_equal(cairn_value_append(root, root), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_append(at, root), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_append(root, at), CAIRN_E_USAGE); /* it has an owner */
    cairn_value *more = cairn_value_list(), *map = cairn_value_map();
    assert_int_equal(cairn_value_append(at, more), CAIRN_OK);
    assert_int_equal(cairn_value_append(more, map), CAIRN_E_LIMIT);
    assert_int_equal(cairn_value_set(map, "it", map), CAIRN_E_USAGE);
    cairn_value *item = cairn_value_null();
    assert_int_equal(cairn_value_set_pair(map, map, item), CAIRN_E_USAGE); /* and the item is still ours */
    assert_int_equal(cairn_value_set_pair(map, item, item), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set(map, "one", item), CAIRN_OK);
    assert_int_equal(cairn_value_set(map, "two", item), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_count(map), 1);
    cairn_value_free(map);
    cairn_value_free(root);
    cairn_state *state;
    cairn_value *tree = cairn_value_list(), *part = cairn_value_list();
    assert_int_equal(cairn_value_append(tree, part), CAIRN_OK);
    test_ok(cairn_state_new(&state, &err));
    test_ok(cairn_state_set_value(state, "loop", "tree", tree, &err));
    test_code(cairn_state_set_value(state, "loop", "again", tree, &err), CAIRN_E_USAGE);
    test_code(cairn_state_set_value(state, "loop", "part", part, &err), CAIRN_E_USAGE);
    map = cairn_value_map();
    assert_int_equal(cairn_value_set(map, "state", tree), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_append(tree, part), CAIRN_E_USAGE);
    cairn_value_free(map);
    cairn_state_free(state);
}

/* Whatever else is wrong with the call. */
static void what_has_an_owner_is_never_freed_by_another(void **unused)
{
    (void)unused;
    cairn_value *list = cairn_value_list(), *given = cairn_value_string("given", 5), *map = cairn_value_map(), *own = cairn_value_int(1);
    cairn_state *state;
    test_ok(cairn_state_new(&state, &err));
    assert_int_equal(cairn_value_append(list, given), CAIRN_OK);
    assert_int_equal(cairn_value_append(NULL, given), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_append(own, given), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set(NULL, "a", given), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set(map, NULL, given), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set_pair(NULL, own, given), CAIRN_E_USAGE); /* and the other one is still ours */
    assert_int_equal(cairn_value_set_pair(NULL, given, own), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set_pair(map, given, NULL), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set_pair(map, NULL, given), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_set_pair(NULL, own, own), CAIRN_E_USAGE);
    test_code(cairn_state_set_value(NULL, "item", "a", given, &err), CAIRN_E_USAGE);
    test_code(cairn_state_set_value(state, NULL, "a", given, &err), CAIRN_E_USAGE);
    test_code(cairn_state_set_value(state, "item", NULL, given, &err), CAIRN_E_USAGE);
    assert_int_equal(cairn_value_get_int(own), 1);
    assert_string_equal(cairn_value_get_data(cairn_value_at(list, 0), NULL), "given");
    cairn_value_free(own);
    cairn_value_free(map);
    cairn_value_free(list);
    cairn_state_free(state);
}

/* Who chooses the keys of a map must not know where they fall. */
static void keys_fall_where_nobody_knows(void **unused)
{
    cairn_value *map = cairn_value_map();
    uint64_t seeds[3] = { 0 };
    (void)unused;
    assert_int_equal(cairn_value_set(map, "a", cairn_value_null()) || cairn_value_set(map, "b", cairn_value_null()), 0);
    for (int i = 0; i < 3; i++) {
        seed = 0;
        test_ok(cn_valuejson_check(map, 0, &err));
        seeds[i] = seed;
    }
    assert_true(seeds[0] != seeds[1] && seeds[1] != seeds[2] && seeds[2] != seeds[0]);
    cairn_value_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(trees_take_over_what_they_are_given),
                                        cmocka_unit_test(trees_are_trees),
                                        cmocka_unit_test(what_has_an_owner_is_never_freed_by_another),
                                        cmocka_unit_test(getters_are_gentle),
                                        cmocka_unit_test(each_form_comes_back),
                                        cmocka_unit_test(other_forms_are_refused),
                                        cmocka_unit_test(what_could_not_be_read_is_not_written),
                                        cmocka_unit_test(keys_fall_where_nobody_knows) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

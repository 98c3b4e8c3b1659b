/* Covers src/snapshot/checkpoint_open.c, src/snapshot/checkpoint_headers.c, src/snapshot/checkpoint_read.c and src/snapshot/verify.c: an open checkpoint - slices against a plain
 * reference, ranges, maps, values of every kind, headers and tables held against each other, verify naming exactly the damaged blocks.
 * cn_os_read_at stands in for a disk with a bad sector, cn_os_new for a process without memory. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "snapshot/checkpoint.h"
#include "store/held.h"
#include "store/smallfile.h"

static cairn_error err = CAIRN_ERROR_INIT;

static uint64_t bad_sector; /* reads of this byte fail; 0: none does */
static bool starving;

int __real_cn_os_read_at(cn_file file, uint64_t offset, void *data, size_t size, size_t *ret_size);
int __wrap_cn_os_read_at(cn_file file, uint64_t offset, void *data, size_t size, size_t *ret_size);
int __wrap_cn_os_read_at(cn_file file, uint64_t offset, void *data, size_t size, size_t *ret_size)
{
    if (bad_sector && offset <= bad_sector && bad_sector - offset < size) return -EIO;
    return __real_cn_os_read_at(file, offset, data, size, ret_size);
}

void *__real_cn_os_new(size_t size);
void *__wrap_cn_os_new(size_t size);
void *__wrap_cn_os_new(size_t size)
{
    return starving ? NULL : __real_cn_os_new(size);
}

enum { A = 7, B = 301, C = 1103 }; /* 9.3 MB of F32: three blocks */
static float *cube;
static unsigned char nibbles[8 * 6 / 2];

static void bind(cairn_state *state, const char *item, const char *name, cairn_dtype dtype, uint32_t rank, const uint64_t *shape,
                 void *address)
{
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.rank = rank;
    tensor.shape = shape;
    tensor.flags = CAIRN_TRAINABLE;
    tensor.address = address;
    test_ok(cairn_state_bind_tensor(state, item, &tensor, &err));
}

static cairn_value *tree(void)
{
    cairn_value *map = cairn_value_map(), *list = cairn_value_list(), *tuple = cairn_value_tuple(), *pairs = cairn_value_map();
    double odd;
    uint64_t bits = UINT64_C(0x7ff8000000001234);
    memcpy(&odd, &bits, sizeof odd);
    cairn_value_append(list, cairn_value_float(odd));
    cairn_value_append(list, cairn_value_int(INT64_MIN));
    cairn_value_append(list, cairn_value_float(-0.0));
    cairn_value_append(tuple, list);
    cairn_value_append(tuple, cairn_value_bytes("\0\1\2", 3));
    cairn_value_append(tuple, cairn_value_bytes("", 0));
    cairn_value_set_pair(pairs, cairn_value_int(1), cairn_value_big_int("98765432109876543210"));
    cairn_value_set_tag(pairs, "Counter");
    cairn_value_set(map, "$dollar", cairn_value_string("x", 1));
    cairn_value_set(map, "tuple", tuple);
    cairn_value_set(map, "pairs", pairs);
    cairn_value_set(map, "", cairn_value_null());
    return map;
}

/* A run with one checkpoint; the path is static. */
static const char *make(void)
{
    static char path[600];
    static const uint64_t shape[] = { A, B, C }, packed[] = { 8, 6 };
    cairn_state *state;
    cairn_run *run;
    cairn_save_options options = TEST_SAVE_OPTIONS;
    const char *tags[] = { "gold" };
    if (!cube) cube = malloc(sizeof(float) * A * B * C);
    for (size_t i = 0; i < (size_t)A * B * C; i++) cube[i] = (float)(i * 2654435761u >> 9);
    for (size_t i = 0; i < sizeof nibbles; i++) nibbles[i] = (unsigned char)(i * 37);
    snprintf(path, sizeof path, "%s/run", test_folder("checkpoint"));
    test_ok(cairn_state_new(&state, &err));
    bind(state, "model", "cube", CAIRN_F32, 3, shape, cube);
    bind(state, "model", "packed", CAIRN_F4, 2, packed, nibbles);
    test_ok(cairn_state_set_value(state, "extra", "a~1b/c", tree(), &err));
    test_ok(cairn_run_open(path, NULL, &run, &err));
    options.step = 5;
    options.tags = tags;
    options.tags_count = 1;
    options.attachments = &(cairn_attachment){ .name = "config.json", .data = "{}", .size_bytes = 2 };
    options.attachments_count = 1;
    test_ok(cairn_save(run, state, &options, NULL, &err));
    /* the tree comes back as it was: saved again from what was restored, the file is the same */
    test_ok(cairn_restore(run, state, NULL, NULL, &err));
    options.step = 6;
    test_ok(cairn_save(run, state, &options, NULL, &err));
    test_shell("cmp %s/checkpoint-5/training/state.json %s/checkpoint-6/training/state.json", path, path);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
    return path;
}

static void open_step(const char *path, const char *selector, cairn_checkpoint **ret)
{
    char name[700];
    snprintf(name, sizeof name, "%s@%s", path, selector);
    test_ok(cairn_checkpoint_open(NULL, name, ret, &err));
}

static void slices_are_right(void **unused)
{
    cairn_checkpoint *checkpoint;
    uint32_t random = 7;
    float *box = malloc(sizeof(float) * A * B * C);
    (void)unused;
    open_step(make(), "5", &checkpoint);
    const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, "model", "cube");
    assert_non_null(tensor);
    for (int round = 0; round < 60; round++) {
        uint64_t shape[] = { A, B, C }, start[3], extent[3], count = 1;
        for (int d = 0; d < 3; d++) {
            random = random * 1664525 + 1013904223;
            start[d] = (random >> 8) % shape[d];
            random = random * 1664525 + 1013904223;
            extent[d] = round % 5 == d ? shape[d] - start[d] : 1 + (random >> 8) % (shape[d] - start[d]);
            count *= extent[d];
        }
        test_ok(cairn_checkpoint_read_slice(checkpoint, tensor, start, extent, box, count * sizeof(float), &err));
        for (uint64_t i = 0, at = 0; i < extent[0]; i++)
            for (uint64_t j = 0; j < extent[1]; j++, at += extent[2])
                assert_memory_equal(box + at, cube + ((start[0] + i) * B + start[1] + j) * C + start[2], extent[2] * sizeof(float));
    }
    uint64_t start[] = { 0, 0, C }, extent[] = { 1, 1, 1 };
    test_code(cairn_checkpoint_read_slice(checkpoint, tensor, start, extent, box, 4, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_read(checkpoint, tensor, UINT64_MAX, 1, box, &err), CAIRN_E_USAGE);
    const cairn_tensor_info *packed = cairn_checkpoint_find(checkpoint, "model", "packed");
    uint64_t rows[] = { 2, 0 }, two[] = { 2, 6 }, odd[] = { 2, 3 };
    unsigned char bytes[6];
    test_ok(cairn_checkpoint_read_slice(checkpoint, packed, rows, two, bytes, 6, &err));
    assert_memory_equal(bytes, nibbles + 6, 6);
    test_code(cairn_checkpoint_read_slice(checkpoint, packed, rows, odd, bytes, 3, &err), CAIRN_E_UNSUPPORTED); /* rows of half bytes */
    uint64_t inner[] = { 3, 1 }, four[] = { 1, 4 };
    test_code(cairn_checkpoint_read_slice(checkpoint, packed, inner, four, bytes, 2, &err), CAIRN_E_UNSUPPORTED); /* starts within a byte */
    inner[1] = 2;
    test_ok(cairn_checkpoint_read_slice(checkpoint, packed, inner, four, bytes, 2, &err));
    assert_memory_equal(bytes, nibbles + 3 * 3 + 1, 2);
    test_code(cairn_checkpoint_read_slice(checkpoint, packed, NULL, four, bytes, 2, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_read_slice(checkpoint, packed, inner, four, bytes, 3, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_read_slice(checkpoint, packed + 10, inner, four, bytes, 2, &err), CAIRN_E_USAGE);
    const void *mapped;
    test_ok(cairn_checkpoint_map(checkpoint, tensor, &mapped, &err));
    assert_memory_equal(mapped, cube, sizeof(float) * A * B * C);
    cairn_checkpoint_close(checkpoint);
    free(box);
}

enum { BLOCK = 4 << 20, SIZE = A * B * C * 4 };

static void ranges_are_checked(void **unused)
{
    cairn_checkpoint *checkpoint;
    unsigned char *got = malloc(SIZE);
    const void *mapped;
    (void)unused;
    open_step(make(), "latest", &checkpoint);
    const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, "model", "cube"), *other = tensor + 5;
    test_ok(cairn_checkpoint_read(checkpoint, tensor, BLOCK - 3, BLOCK + 7, got, &err)); /* a part, a whole block, a part */
    assert_memory_equal(got, (char *)cube + BLOCK - 3, BLOCK + 7);
    test_ok(cairn_checkpoint_read(checkpoint, tensor, SIZE, 0, NULL, &err));
    test_code(cairn_checkpoint_read(checkpoint, tensor, SIZE, 1, got, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_read(checkpoint, tensor, 1, SIZE_MAX, got, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_read(checkpoint, tensor, 0, 1, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_read(checkpoint, other, 0, 1, got, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_read(NULL, tensor, 0, 1, got, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_map(checkpoint, other, &mapped, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_map(checkpoint, tensor, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_read_slice(checkpoint, tensor, (const uint64_t[]){ 0, 0, 0 }, (const uint64_t[]){ 1, 1, 1 }, NULL, 4, &err),
              CAIRN_E_USAGE);
    test_ok(cairn_checkpoint_read_slice(checkpoint, tensor, (const uint64_t[]){ 0, 0, 0 }, (const uint64_t[]){ 0, 1, 1 }, NULL, 0, &err));
    assert_null(cairn_checkpoint_tensor(checkpoint, 2));
    assert_null(cairn_checkpoint_tensor(NULL, 0));
    assert_null(cairn_checkpoint_file(checkpoint, 99));
    assert_null(cairn_checkpoint_find(checkpoint, "model", "nothing"));
    assert_null(cairn_checkpoint_find(checkpoint, NULL, "cube"));
    assert_null(cairn_checkpoint_get_info(NULL));
    assert_null(cairn_checkpoint_values(NULL));
    assert_null(cairn_checkpoint_provenance(NULL));
    assert_int_equal(strlen(cairn_checkpoint_file(checkpoint, 0)->digest), 32);
    cairn_checkpoint_close(checkpoint);
    cairn_checkpoint_close(NULL);
    free(got);
}

static void values_come_back(void **unused)
{
    cairn_checkpoint *checkpoint;
    uint64_t bits;
    (void)unused;
    open_step(make(), "gold", &checkpoint);
    const cairn_value *extra = cairn_value_find(cairn_checkpoint_values(checkpoint), "extra");
    const cairn_value *map = cairn_value_find(cairn_value_find(extra, "a/b"), "c");
    assert_int_equal(cairn_value_count(map), 4);
    const cairn_value *list = cairn_value_at(cairn_value_find(map, "tuple"), 0);
    double odd = cairn_value_get_float(cairn_value_at(list, 0));
    memcpy(&bits, &odd, sizeof bits);
    assert_true(bits == UINT64_C(0x7ff8000000001234));
    assert_true(cairn_value_get_int(cairn_value_at(list, 1)) == INT64_MIN && signbit(cairn_value_get_float(cairn_value_at(list, 2))));
    assert_string_equal(cairn_value_tag(cairn_value_find(map, "pairs")), "Counter");
    assert_string_equal(cairn_value_get_data(cairn_value_at(cairn_value_find(map, "pairs"), 0), NULL), "98765432109876543210");
    assert_non_null(strstr(cairn_checkpoint_provenance(checkpoint), "\"host\""));
    cairn_checkpoint_close(checkpoint);
}

struct findings {
    int count;
    uint64_t blocks[16];
};

static void note(void *user, const cairn_damage *damage)
{
    struct findings *findings = user;
    if (findings->count < 16) findings->blocks[findings->count] = damage->block;
    findings->count++;
}

static void verify_names_each_damaged_block(void **unused)
{
    char folder[700];
    (void)unused;
    snprintf(folder, sizeof folder, "%s/checkpoint-5", make());
    test_shell("cp -r %s/model.safetensors %s/../good", folder, folder);
    test_damage(folder, "model.safetensors", 4096 + (4 << 20) + 17);
    test_damage(folder, "model.safetensors", 4096 + A * B * C * 4 - 1);
    for (uint32_t threads = 1; threads <= 4; threads += 3) {
        struct findings findings = { 0 };
        cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
        cairn_verify_report report = CAIRN_VERIFY_REPORT_INIT;
        options.damage = note;
        options.user = &findings;
        options.io_threads = threads;
        test_code(cairn_verify(NULL, folder, &options, &report, &err), CAIRN_E_CORRUPT);
        assert_int_equal(findings.count, 2);
        assert_true(findings.blocks[0] + findings.blocks[1] == 3 && report.damaged_blocks == 2);
        options.quick = 1;
        test_ok(cairn_verify(NULL, folder, &options, &report, &err));
    }
    cairn_checkpoint *checkpoint;
    float number;
    test_ok(cairn_checkpoint_open(NULL, folder, &checkpoint, &err));
    const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, "model", "cube");
    test_ok(cairn_checkpoint_read(checkpoint, tensor, 0, 4, &number, &err));
    test_code(cairn_checkpoint_read(checkpoint, tensor, 5 << 20, 4, &number, &err), CAIRN_E_CORRUPT);
    assert_int_equal(err.offset, 4096 + (4 << 20));
    cairn_checkpoint_close(checkpoint);
    /* cut and attached: told by file */
    struct findings findings = { 0 };
    cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
    options.damage = note;
    options.user = &findings;
    test_shell("chmod u+w %s/model.safetensors && truncate -s -1 %s/model.safetensors && rm %s/config.json", folder, folder, folder);
    test_code(cairn_verify(NULL, folder, &options, NULL, &err), CAIRN_E_TRUNCATED);
    assert_int_equal(findings.count, 2);
    options.io_threads = 17;
    test_shell("cp -f %s/../good %s/model.safetensors && cp %s/../checkpoint-6/config.json %s", folder, folder, folder, folder);
    test_code(cairn_verify(NULL, folder, &options, NULL, &err), CAIRN_E_USAGE);
    options.io_threads = 0;
    test_ok(cairn_verify(NULL, folder, &options, NULL, &err));
    test_shell("echo x > %s/config.json", folder);
    test_code(cairn_verify(NULL, folder, &options, NULL, &err), CAIRN_E_CORRUPT);
}

static void note_tensor(void *user, const cairn_damage *damage)
{
    size_t used = strlen(user);
    snprintf((char *)user + used, 1000 - used, "%s/%llu ", damage->tensor, (unsigned long long)damage->block);
}

/* A run with one checkpoint of these U8 tensors, each of its own size. */
static const char *make_of(const char *const *names, const uint64_t *sizes, size_t count)
{
    static char folder[700];
    cairn_state *state;
    cairn_run *run;
    cairn_save_options options = TEST_SAVE_OPTIONS;
    unsigned char *bytes = calloc(1, 16 << 20);
    snprintf(folder, sizeof folder, "%s/run", test_folder("of"));
    test_ok(cairn_state_new(&state, &err));
    for (size_t i = 0; i < count; i++) bind(state, "model", names[i], CAIRN_U8, 1, &sizes[i], bytes);
    test_ok(cairn_run_open(folder, NULL, &run, &err));
    options.step = 1;
    test_ok(cairn_save(run, state, &options, NULL, &err));
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
    free(bytes);
    strcat(folder, "/checkpoint-1");
    return folder;
}

static void what_cannot_be_read_is_told_block_by_block(void **unused)
{
    static const char *const names[] = { "a", "b", "c", "d" };
    static const uint64_t sizes[] = { 1 << 20, 1 << 20, 9 << 20, 1 << 20 };
    static const struct {
        uint64_t at, unread;
        const char *told;
    } cases[] = { { 4096 + (1 << 20) + 5000, 1 << 20, "model:b/0 " },
                  { 4096 + (2 << 20), 4 << 20, "model:c/0 " },
                  { 4096 + (7 << 20), 4 << 20, "model:c/1 " },
                  { 4096 + (11 << 20), 1 << 20, "model:d/0 " } };
    const char *folder = make_of(names, sizes, 4);
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char told[1000] = "";
        cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
        cairn_verify_report report = CAIRN_VERIFY_REPORT_INIT;
        options.damage = note_tensor;
        options.user = told;
        bad_sector = cases[i].at;
        int code = cairn_verify(NULL, folder, &options, &report, &err);
        bad_sector = 0;
        test_code(code, CAIRN_E_IO);
        assert_string_equal(told, cases[i].told);
        assert_true(report.damaged_blocks == 1 && report.checked_bytes == (12 << 20) - cases[i].unread);
    }
}

/* "Not there" must not be said for want of memory: a restore would leave such a tensor as it is. */
static void names_are_found_without_memory(void **unused)
{
    char name[CN_MAX_NAME_BYTES + 1];
    const char *names[] = { name };
    const uint64_t size = 1;
    cairn_checkpoint *checkpoint;
    cairn_state *state;
    unsigned char byte;
    (void)unused;
    memset(name, 'x', CN_MAX_NAME_BYTES);
    name[CN_MAX_NAME_BYTES] = 0;
    test_ok(cairn_checkpoint_open(NULL, make_of(names, &size, 1), &checkpoint, &err));
    test_ok(cairn_state_new(&state, &err));
    bind(state, "model", name, CAIRN_U8, 1, &size, &byte);
    test_ok(cairn_state_set_value(state, "data", "v", cairn_value_int(1), &err));
    starving = true;
    bool found = cairn_checkpoint_find(checkpoint, "model", name), bound = cairn_state_get_value(state, "data", "v");
    starving = false;
    assert_true(found && bound);
    cairn_checkpoint_close(checkpoint);
    cairn_state_free(state);
}

static double seconds_to_open(const char *folder)
{
    cairn_checkpoint *checkpoint;
    clock_t since = clock();
    test_ok(cairn_checkpoint_open(NULL, folder, &checkpoint, &err));
    double seconds = (double)(clock() - since) / CLOCKS_PER_SEC;
    assert_non_null(cairn_checkpoint_find(checkpoint, "model", "12345"));
    cairn_checkpoint_close(checkpoint);
    return seconds;
}

/* tensors.json and the manifest after a change, sealed again: what an attacker can do, too. */
static void rewrite(const char *folder, void (*change)(const char *folder, struct cn_table *table, struct cn_manifest_file *model))
{
    cn_file dir = CN_NO_FILE, training = CN_NO_FILE;
    struct cn_pool pool;
    struct cn_hash index;
    struct cn_table table;
    struct cn_manifest manifest;
    struct cn_buf buf;
    char *data;
    size_t size;
    cn_pool_init(&pool, cn_os_alloc(), UINT64_MAX);
    cn_hash_init(&index, cn_os_alloc(), 1);
    cn_buf_init(&buf, cn_os_alloc(), UINT64_C(1) << 30);
    assert_int_equal(cn_os_open_dir_path(folder, &dir), 0);
    assert_int_equal(cn_os_open_dir(dir, "training", &training), 0);
    test_ok(cn_smallfile_load(training, "tensors.json", UINT64_MAX, &data, &size, &err));
    test_ok(cn_table_decode(data, size, &pool, &index, &table, &err));
    cn_os_free(data);
    test_ok(cn_held_read(dir, ".", &pool, &manifest, &err));
    change(folder, &table, (struct cn_manifest_file *)(uintptr_t)cn_manifest_find(&manifest, "model.safetensors"));
    test_ok(cn_table_encode(&table, &buf, &err));
    struct cn_manifest_file *file = (struct cn_manifest_file *)(uintptr_t)cn_manifest_find(&manifest, "training/tensors.json");
    file->size_bytes = buf.size;
    file->digest = cn_digest_blocks(buf.data, buf.size);
    test_shell("rm %s/training/tensors.json %s/manifest.json", folder, folder);
    test_ok(cn_smallfile_put(training, "tensors.json", buf.data, buf.size, 0644, &err));
    buf.size = 0;
    test_ok(cn_manifest_encode(&manifest, &buf, &err));
    test_ok(cn_smallfile_put(dir, "manifest.json", buf.data, buf.size, 0644, &err));
    cn_buf_done(&buf);
    cn_hash_done(&index);
    cn_pool_done(&pool);
    cn_os_close(training);
    cn_os_close(dir);
}

static struct cn_table_row *rows_of(struct cn_table *table)
{
    return (struct cn_table_row *)(uintptr_t)table->rows;
}

/* From the last to the first; all are empty, so that any order is right. */
static void turn_rows_around(const char *folder, struct cn_table *table, struct cn_manifest_file *model)
{
    struct cn_table_row *rows = rows_of(table);
    (void)folder;
    (void)model;
    for (uint64_t i = 0; i < table->count / 2; i++) {
        struct cn_table_row row = rows[i];
        rows[i] = rows[table->count - 1 - i];
        rows[table->count - 1 - i] = row;
    }
}

static void empty_tensors_in_another_order_take_no_longer(void **unused)
{
    enum { COUNT = 50000 };
    char(*texts)[16] = calloc(COUNT, sizeof *texts);
    const char **names = calloc(COUNT, sizeof *names);
    uint64_t *sizes = calloc(COUNT, sizeof *sizes);
    (void)unused;
    for (int i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof texts[i], "%05d", i);
        names[i] = texts[i];
    }
    const char *folder = make_of(names, sizes, COUNT);
    double usual = seconds_to_open(folder);
    rewrite(folder, turn_rows_around);
    double turned = seconds_to_open(folder);
    if (turned > 5 * usual + 0.2) fail_msg("%.2f s in order, %.2f s in another", usual, turned);
    free(texts);
    free(names);
    free(sizes);
}

/* Puts a header in the model's place, of the same size; the digests that cover it are made right. */
static void put_header(const char *folder, const struct cn_table *table, struct cn_manifest_file *model, const char *json)
{
    char name[800], header[4096];
    uint64_t size = sizeof header - 8;
    struct cn_digest digests[8];
    assert_int_equal(model->header_bytes, sizeof header);
    memset(header, ' ', sizeof header);
    for (int i = 0; i < 8; i++) header[i] = (char)(size >> (8 * i) & 0xff);
    memcpy(header + 8, json, strlen(json));
    snprintf(name, sizeof name, "%s/model.safetensors", folder);
    test_shell("chmod u+w %s", name);
    int file = open(name, O_WRONLY);
    assert_int_equal(pwrite(file, header, sizeof header, 0), sizeof header);
    close(file);
    digests[0] = model->header_digest = cn_digest_of(header, sizeof header);
    for (uint64_t i = 0; i < table->count; i++) digests[i + 1] = table->rows[i].digest;
    model->digest = cn_digest_of(digests, (table->count + 1) * sizeof *digests);
}

#define ENTRY(name, begin, end) "\"" name "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[" #begin "," #end "]}"
#define OURS "{\"__metadata__\":{\"format\":\"pt\"},"

static void write_it_otherwise(const char *folder, struct cn_table *table, struct cn_manifest_file *model)
{
    put_header(folder, table, model, "{ " ENTRY("b", 1, 2) ", " ENTRY("\\u0061", 0, 1) ", \"__metadata__\" : {\"format\":\"np\"}}");
}

static void name_another(const char *folder, struct cn_table *table, struct cn_manifest_file *model)
{
    put_header(folder, table, model, OURS ENTRY("a", 0, 1) "," ENTRY("c", 1, 2) "}");
}

static void swap_names(const char *folder, struct cn_table *table, struct cn_manifest_file *model)
{
    put_header(folder, table, model, OURS ENTRY("b", 0, 1) "," ENTRY("a", 1, 2) "}");
}

static void name_one_twice(const char *folder, struct cn_table *table, struct cn_manifest_file *model)
{
    rows_of(table)[1].item = "other";
    rows_of(table)[1].name = "a";
    put_header(folder, table, model, OURS ENTRY("a", 0, 1) "," ENTRY("a", 1, 2) "}");
}

static void name_one_like_the_metadata(const char *folder, struct cn_table *table, struct cn_manifest_file *model)
{
    rows_of(table)[1].name = "__metadata__";
    put_header(folder, table, model, OURS ENTRY("a", 0, 1) "," ENTRY("__metadata__", 1, 2) "}");
}

static void leave_the_second_out(const char *folder, struct cn_table *table, struct cn_manifest_file *model)
{
    table->count = 1;
    put_header(folder, table, model, OURS ENTRY("a", 0, 1) "}");
}

static void leave_a_hole(const char *folder, struct cn_table *table, struct cn_manifest_file *model)
{
    rows_of(table)[0] = table->rows[1];
    leave_the_second_out(folder, table, model);
    put_header(folder, table, model, OURS ENTRY("b", 1, 2) "}");
}

/* Where every digest is right: a header is refused that a strict reader refuses, or that says something else than the table. */
static void a_header_agrees_with_the_table(void **unused)
{
    static const struct {
        void (*change)(const char *folder, struct cn_table *table, struct cn_manifest_file *model);
        int code;
        const char *says;
    } cases[] = { { write_it_otherwise, CAIRN_OK, "" },
                  { name_another, CAIRN_E_FORMAT, "a tensor is missing" },
                  { swap_names, CAIRN_E_FORMAT, "place of a tensor" },
                  { name_one_twice, CAIRN_E_FORMAT, "given twice" },
                  { name_one_like_the_metadata, CAIRN_E_FORMAT, "given twice" },
                  { leave_the_second_out, CAIRN_E_FORMAT, "follow after the last" },
                  { leave_a_hole, CAIRN_E_FORMAT, "leaves a hole" } };
    static const char *const names[] = { "a", "b" };
    static const uint64_t sizes[] = { 1, 1 };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cairn_checkpoint *checkpoint = NULL;
        const char *folder = make_of(names, sizes, 2);
        rewrite(folder, cases[i].change);
        int code = cairn_checkpoint_open(NULL, folder, &checkpoint, &err);
        if (code != cases[i].code || (code && !strstr(err.message, cases[i].says)))
            fail_msg("case %zu: %s: %s", i, cairn_code_name(code), err.message);
        cairn_checkpoint_close(checkpoint);
    }
}

static void any_changed_metadata_is_found_at_open(void **unused)
{
    static const char *const files[] = { "manifest.json", "training/tensors.json", "training/state.json", "training/provenance.json",
                                         "model.safetensors" };
    char folder[700];
    (void)unused;
    snprintf(folder, sizeof folder, "%s/checkpoint-5", make());
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        for (off_t at = 0; at < 700; at += 3) {
            char name[900];
            cairn_checkpoint *checkpoint = NULL;
            snprintf(name, sizeof name, "%s/%s", folder, files[i]);
            struct stat info;
            if (stat(name, &info) || at >= info.st_size) break;
            test_damage(folder, files[i], at);
            if (!cairn_checkpoint_open(NULL, folder, &checkpoint, &err)) fail_msg("%s byte %d changed and not found", files[i], (int)at);
            test_damage(folder, files[i], at);
        }
    cairn_checkpoint *checkpoint;
    test_ok(cairn_checkpoint_open(NULL, folder, &checkpoint, &err));
    cairn_checkpoint_close(checkpoint);
}

static void planted_things_are_not_followed(void **unused)
{
    const char *path = make();
    cairn_checkpoint *checkpoint = NULL;
    char folder[700];
    (void)unused;
    snprintf(folder, sizeof folder, "%s/checkpoint-5", path);
    test_shell("cd %s && mv model.safetensors away && ln -s away model.safetensors", folder);
    assert_int_not_equal(cairn_checkpoint_open(NULL, folder, &checkpoint, &err), 0);
    test_shell("cd %s && rm model.safetensors && mkfifo model.safetensors", folder);
    assert_int_not_equal(cairn_checkpoint_open(NULL, folder, &checkpoint, &err), 0);
    test_shell("cd %s && rm model.safetensors && mv away model.safetensors && mv training t && ln -s t training", folder);
    assert_int_not_equal(cairn_checkpoint_open(NULL, folder, &checkpoint, &err), 0);
    assert_null(checkpoint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_right),
        cmocka_unit_test(ranges_are_checked),
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(verify_names_each_damaged_block),
        cmocka_unit_test(what_cannot_be_read_is_told_block_by_block),
        cmocka_unit_test(names_are_found_without_memory),
        cmocka_unit_test(empty_tensors_in_another_order_take_no_longer),
        cmocka_unit_test(a_header_agrees_with_the_table),
        cmocka_unit_test(any_changed_metadata_is_found_at_open),
        cmocka_unit_test(planted_things_are_not_followed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(cube);
    return failed;
}

/* What readers do with a checkpoint: boxes against a naive copy, ranges, every flipped block named and no other, names of checkpoints. */
#include "support.h"

static cairn_error err = CAIRN_ERROR_INIT;

enum { A = 7, B = 401, C = 1009, NIBBLES = 64 * 30, BLOCK = 4 << 20 };

static float wide[A * B * C]; /* 11.3 MB: three blocks, the last one short */
static uint8_t packed[NIBBLES / 2];
static char folder[256];

static void make(void)
{
    static const uint64_t shape[] = { A, B, C }, four[] = { 64, 30 };
    cairn_state *state;
    cairn_run *run;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    for (size_t i = 0; i < A * B * C; i++) wide[i] = (float)i;
    for (size_t i = 0; i < sizeof packed; i++) packed[i] = (uint8_t)(i * 37);
    snprintf(folder, sizeof folder, "%s", test_folder("reading"));
    char path[300];
    snprintf(path, sizeof path, "%s/run", folder);
    test_ok(cairn_state_new(&state, &err));
    tensor.name = "wide", tensor.dtype = CAIRN_F32, tensor.rank = 3, tensor.shape = shape, tensor.address = wide;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    tensor.name = "packed", tensor.dtype = CAIRN_F4, tensor.rank = 2, tensor.shape = four, tensor.address = packed;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    test_ok(cairn_run_open(path, &options, &run, &err));
    for (uint64_t step = 5; step <= 10; step += 5) {
        cairn_save_options save = CAIRN_SAVE_OPTIONS_INIT;
        save.step = step;
        test_ok(cairn_save(run, state, &save, NULL, &err));
    }
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
}

static cairn_checkpoint *opened(const char *name)
{
    cairn_checkpoint *checkpoint = NULL;
    test_ok(cairn_checkpoint_open(folder, name, &checkpoint, &err));
    return checkpoint;
}

static void boxes_are_those_of_a_naive_copy(void **unused)
{
    (void)unused;
    make();
    cairn_checkpoint *checkpoint = opened("run@10");
    const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, "model", "wide");
    static float got[A * B * C], want[A * B * C];
    static const uint64_t shape[] = { A, B, C };
    srand(1);
    assert_non_null(tensor);
    for (int round = 0; round < 60; round++) {
        uint64_t start[3], extent[3];
        size_t count = 0;
        for (int i = 0; i < 3; i++) {
            start[i] = round % 3 > i ? 0 : (uint64_t)rand() % shape[i];
            extent[i] = round % 3 > i ? shape[i] : (uint64_t)rand() % (shape[i] - start[i] + 1);
        }
        for (uint64_t a = start[0]; a < start[0] + extent[0]; a++)
            for (uint64_t b = start[1]; b < start[1] + extent[1]; b++)
                for (uint64_t c = start[2]; c < start[2] + extent[2]; c++) want[count++] = wide[(a * B + b) * C + c];
        test_ok(cairn_checkpoint_read_slice(checkpoint, tensor, start, extent, got, count * sizeof *got, &err));
        assert_int_equal(memcmp(got, want, count * sizeof *got), 0);
    }
    uint64_t start[] = { 0, 400, 0 }, extent[] = { 1, 2, 1 };
    test_code(cairn_checkpoint_read_slice(checkpoint, tensor, start, extent, got, 8, &err), CAIRN_E_USAGE);
    start[1] = UINT64_MAX;
    test_code(cairn_checkpoint_read_slice(checkpoint, tensor, start, extent, got, 8, &err), CAIRN_E_USAGE);
    cairn_checkpoint_close(checkpoint);
}

static void half_bytes_are_read_by_whole_bytes(void **unused)
{
    (void)unused;
    make();
    cairn_checkpoint *checkpoint = opened("run@latest");
    const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, "model", "packed");
    uint8_t got[16];
    uint64_t start[] = { 3, 4 }, extent[] = { 2, 8 };
    assert_non_null(tensor);
    test_ok(cairn_checkpoint_read_slice(checkpoint, tensor, start, extent, got, 8, &err));
    assert_memory_equal(got, packed + 3 * 15 + 2, 4);
    assert_memory_equal(got + 4, packed + 4 * 15 + 2, 4);
    start[1] = 3;
    test_code(cairn_checkpoint_read_slice(checkpoint, tensor, start, extent, got, 8, &err), CAIRN_E_UNSUPPORTED);
    cairn_checkpoint_close(checkpoint);
}

static void ranges_are_checked(void **unused)
{
    (void)unused;
    make();
    cairn_checkpoint *checkpoint = opened("run@10");
    const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, "model", "wide");
    static unsigned char got[sizeof wide];
    const void *mapped;
    test_ok(cairn_checkpoint_read(checkpoint, tensor, BLOCK - 3, BLOCK + 7, got, &err)); /* a part, a whole block, a part */
    assert_int_equal(memcmp(got, (char *)wide + BLOCK - 3, BLOCK + 7), 0);
    test_ok(cairn_checkpoint_map(checkpoint, tensor, &mapped, &err));
    assert_int_equal(memcmp(mapped, wide, sizeof wide), 0);
    test_ok(cairn_checkpoint_read(checkpoint, tensor, sizeof wide, 0, got, &err));
    test_code(cairn_checkpoint_read(checkpoint, tensor, sizeof wide, 1, got, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_read(checkpoint, tensor, 1, SIZE_MAX, got, &err), CAIRN_E_USAGE);
    cairn_checkpoint_close(checkpoint);
}

struct found {
    unsigned count, blocks[3];
};

static void note_damage(void *user, const cairn_damage *damage)
{
    struct found *found = user;
    found->count++;
    assert_string_equal(damage->tensor, "model:wide");
    assert_int_equal(damage->code, CAIRN_E_CORRUPT);
    assert_true(damage->block < 3);
    found->blocks[damage->block]++;
}

static void flipped_blocks_are_named_and_no_other(void **unused)
{
    (void)unused;
    make();
    cairn_checkpoint *checkpoint = opened("run@10");
    const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, "model", "wide");
    char file[600], byte;
    snprintf(file, sizeof file, "%s/run/checkpoint-10/model.safetensors", folder);
    FILE *out = fopen(file, "r+b");
    assert_non_null(out);
    fseek(out, 0, SEEK_END);
    long base = ftell(out) - (long)sizeof wide - (long)sizeof packed; /* tensors are packed at the end, wide bits first */
    static const long places[] = { 12345, 2L * BLOCK + 1 };
    for (int i = 0; i < 2; i++) {
        fseek(out, base + places[i], SEEK_SET);
        assert_int_equal(fread(&byte, 1, 1, out), 1);
        byte ^= 1;
        fseek(out, base + places[i], SEEK_SET);
        assert_int_equal(fwrite(&byte, 1, 1, out), 1);
    }
    fclose(out);
    for (uint32_t threads = 1; threads <= 4; threads += 3) {
        struct found found = { 0 };
        cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
        cairn_verify_report report = CAIRN_VERIFY_REPORT_INIT;
        options.io_threads = threads, options.damage = note_damage, options.user = &found;
        test_code(cairn_verify(folder, "run@10", &options, &report, &err), CAIRN_E_CORRUPT);
        assert_int_equal(found.count, 2);
        assert_int_equal(found.blocks[0] + 10 * found.blocks[1] + 100 * found.blocks[2], 101);
        assert_int_equal(report.damaged_blocks, 2);
        test_ok(cairn_verify(folder, "run@5", &options, &report, &err));
        options.quick = 1;
        test_ok(cairn_verify(folder, "run@10", &options, &report, &err)); /* quick reads no tensor data */
    }
    static char got[64];
    test_code(cairn_checkpoint_read(checkpoint, tensor, 0, 1, got, &err), CAIRN_E_CORRUPT);
    test_ok(cairn_checkpoint_read(checkpoint, tensor, BLOCK, 64, got, &err)); /* the sound block between them */
    cairn_checkpoint_close(checkpoint);
}

static void names_lead_to_checkpoints(void **unused)
{
    (void)unused;
    make();
    static const struct { const char *name; uint64_t step; } good[] = { { "run@5", 5 }, { "run@10", 10 }, { "run@latest", 10 },
                                                                         { "run/checkpoint-5", 5 } };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cairn_checkpoint *checkpoint = opened(good[i].name);
        assert_int_equal(cairn_checkpoint_get_info(checkpoint)->entry.step, good[i].step);
        cairn_checkpoint_close(checkpoint);
    }
    cairn_checkpoint *none = NULL;
    test_code(cairn_checkpoint_open(folder, "run@7", &none, &err), CAIRN_E_NOTFOUND);
    assert_non_null(strstr(err.message, "10, 5")); /* says what there is */
    test_code(cairn_checkpoint_open(folder, "run@best", &none, &err), CAIRN_E_NOTFOUND);
    test_code(cairn_checkpoint_open(folder, "nothing", &none, &err), CAIRN_E_NOTFOUND);
    assert_null(none);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_are_those_of_a_naive_copy), cmocka_unit_test(half_bytes_are_read_by_whole_bytes),
        cmocka_unit_test(ranges_are_checked), cmocka_unit_test(flipped_blocks_are_named_and_no_other), cmocka_unit_test(names_lead_to_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

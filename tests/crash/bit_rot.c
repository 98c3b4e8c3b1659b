/* Proves: no change of a checkpoint's bytes goes unnoticed. Metadata - the JSON files, marks, run.json, the headers of tensor files - is found changed when a
 * checkpoint is opened or quickly verified, tensor data by a full verify and by a restore.
 *
 *     bit_rot BIN WORK STRIDE FLIPS      STRIDE: every so many bytes and lengths of metadata; FLIPS: of random bits of tensor data
 *
 * In this process, on one checkpoint in WORK, which is mended after each case. */
#include "cases.h"
#include "state.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 4096, HEADER = 4096, STEP = 2 };

struct victim { /* a file, as it ought to be */
    const char *name;
    int file;
    size_t size, header; /* header: what of it is metadata */
    uint8_t *bytes, *scratch;
};

static char run[PATH - 100], folder[PATH - 50];
static struct training training;
static cairn_error err = CAIRN_ERROR_INIT;

/* ------------------------------------------------------------------------------------------------------------ who finds it */

static bool found_at_open(void)
{
    cairn_checkpoint *checkpoint = NULL;
    cairn_verify_options quick = CAIRN_VERIFY_OPTIONS_INIT;
    quick.quick = 1;
    if (cairn_checkpoint_open(NULL, folder, &checkpoint, &err)) return true;
    cairn_checkpoint_close(checkpoint);
    return cairn_verify(NULL, folder, &quick, NULL, &err) != 0;
}

/* Of marks and of the run: a listing says so. */
static bool found_at_listing(void)
{
    cairn_listing *listing = NULL;
    bool found = false;
    if (cairn_listing_open(run, &listing, &err)) return true;
    for (size_t i = 0; i < cairn_listing_count(listing); i++) found |= cairn_listing_entry(listing, i)->problem != NULL;
    cairn_listing_close(listing);
    return found;
}

static bool found_by_verify(void)
{
    cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
    options.io_threads = 1;
    return cairn_verify(NULL, folder, &options, NULL, &err) != 0;
}

static bool found_by_restore(void)
{
    return cairn_load(NULL, folder, training.state, NULL, NULL, &err) != 0;
}

/* ---------------------------------------------------------------------------------------------------------------- the files */

static void write_all(int file, const uint8_t *bytes, size_t size, size_t offset)
{
    if (pwrite(file, bytes, size, (off_t)offset) != (ssize_t)size) perror("bit_rot: write"), exit(2);
}

static void resize(int file, size_t size)
{
    if (ftruncate(file, (off_t)size)) perror("bit_rot: truncate"), exit(2);
}

static struct victim victim_open(const char *where, const char *name)
{
    char path[PATH + 100];
    struct stat info;
    struct victim v = { .name = name };
    snprintf(path, sizeof path, "%s/%s", where, name);
    if (chmod(path, 0644)) perror(path), exit(2);
    v.file = open(path, O_RDWR | O_CLOEXEC);
    if (v.file < 0 || fstat(v.file, &info)) perror(path), exit(2);
    v.size = (size_t)info.st_size;
    v.header = strstr(name, ".safetensors") && !strstr(name, ".json") ? HEADER : v.size;
    v.bytes = malloc(v.size);
    v.scratch = malloc(v.size + 1);
    if (!v.bytes || !v.scratch || pread(v.file, v.bytes, v.size, 0) != info.st_size) perror(path), exit(2);
    return v;
}

static void victim_close(struct victim *v)
{
    close(v->file);
    free(v->bytes);
    free(v->scratch);
}

/* ---------------------------------------------------------------------------------------------------------------- the cases */

static void expect(struct cases *cases, bool found, const struct victim *v, const char *what, size_t at, size_t other)
{
    cases->run++;
    if (!found) case_failed(cases, NULL, "%s: %s %zu, %zu was not found", v->name, what, at, other);
}

/* Each bit of a byte, and all of them. */
static void flip_metadata(struct cases *cases, const struct victim *v, bool (*found)(void), size_t stride)
{
    for (size_t at = random_below(stride); at < v->header; at += stride)
        for (int bit = 0; bit <= 8; bit++) {
            const uint8_t changed = v->bytes[at] ^ (uint8_t)(bit == 8 ? 0xff : 1 << bit);
            write_all(v->file, &changed, 1, at);
            expect(cases, found(), v, "flip in byte", at, (size_t)bit);
            write_all(v->file, v->bytes + at, 1, at);
        }
}

/* Each length of metadata, some of data; and longer ones, zeros behind. */
static void cut(struct cases *cases, const struct victim *v, bool (*found)(void), size_t stride)
{
    for (size_t size = random_below(stride); size < v->size; size += size < v->header ? stride : 61 * stride) {
        resize(v->file, size);
        expect(cases, found(), v, "cut to", size, v->size);
        resize(v->file, v->size);
        write_all(v->file, v->bytes + size, v->size - size, size);
    }
    for (size_t more = 1; more < 10000; more *= 3) {
        resize(v->file, v->size + more);
        expect(cases, found(), v, "longer by", more, v->size);
        resize(v->file, v->size);
    }
}

/* Two different blocks change places. Returns false if they are the same. */
static bool swap(const struct victim *v, size_t block, size_t one, size_t other)
{
    if (!memcmp(v->bytes + one, v->bytes + other, block)) return false;
    write_all(v->file, v->bytes + other, block, one);
    write_all(v->file, v->bytes + one, block, other);
    return true;
}

static void swap_metadata(struct cases *cases, const struct victim *v, bool (*found)(void), size_t stride)
{
    static const size_t blocks[] = { 8, 32, 64, 512 };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        for (size_t one = 0; one + blocks[i] <= v->header; one += blocks[i])
            for (size_t other = one + blocks[i] * (1 + random_below(stride)); other + blocks[i] <= v->header; other += blocks[i] * stride) {
                if (!swap(v, blocks[i], one, other)) continue;
                expect(cases, found(), v, "blocks swapped", one, other);
                write_all(v->file, v->bytes + one, blocks[i], one);
                write_all(v->file, v->bytes + other, blocks[i], other);
            }
}

static bool rot_metadata(const char *where, const char *name, bool (*found)(void), size_t stride)
{
    char told[200];
    snprintf(told, sizeof told, "rot in %s", name);
    struct cases cases = { .name = told };
    struct victim v = victim_open(where, name);
    if (found()) case_failed(&cases, NULL, "%s: damaged before anything was done: %s", name, err.message);
    flip_metadata(&cases, &v, found, stride);
    cut(&cases, &v, found, stride);
    swap_metadata(&cases, &v, found, stride * 20);
    if (found()) case_failed(&cases, NULL, "%s: damaged after all was mended: %s", name, err.message);
    victim_close(&v);
    return cases_tell(&cases);
}

static const char *const tensor_files[] = { "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                                            "training/optimizer.safetensors", "training/train.safetensors" };
enum { TENSOR_FILES = sizeof tensor_files / sizeof *tensor_files, BLOCK = 4096 };

/* One random bit; every tenth time two blocks of 4 KiB. Small files are hit as often as large ones. */
static bool rot_data(uint64_t flips)
{
    struct cases flipped = { .name = "rot in tensor data: random bits, verify and restore" },
                 swapped = { .name = "rot in tensor data: blocks swapped" };
    struct victim v[TENSOR_FILES];
    for (int i = 0; i < TENSOR_FILES; i++) v[i] = victim_open(folder, tensor_files[i]);
    for (uint64_t k = 0; k < flips; k++) {
        const struct victim *one = &v[random_below(TENSOR_FILES)];
        const size_t at = one->header + random_below(one->size - one->header), bit = random_below(8);
        const uint8_t changed = one->bytes[at] ^ (uint8_t)(1 << bit);
        write_all(one->file, &changed, 1, at);
        expect(&flipped, found_by_verify() && found_by_restore(), one, "flip in byte", at, bit);
        write_all(one->file, one->bytes + at, 1, at);
        const size_t blocks = (one->size - one->header) / BLOCK;
        const size_t first = one->header + BLOCK * random_below(blocks), second = one->header + BLOCK * random_below(blocks);
        if (k % 10 || !blocks || !swap(one, BLOCK, first, second)) continue;
        expect(&swapped, found_by_verify() && found_by_restore(), one, "blocks swapped", first, second);
        write_all(one->file, one->bytes + first, BLOCK, first);
        write_all(one->file, one->bytes + second, BLOCK, second);
    }
    if (found_by_verify() || found_by_restore()) case_failed(&flipped, NULL, "damaged after all was mended: %s", err.message);
    for (int i = 0; i < TENSOR_FILES; i++) victim_close(&v[i]);
    const bool well = cases_tell(&flipped);
    return cases_tell(&swapped) && well;
}

int main(int argc, char **argv)
{
    static const char *const json[] = { "manifest.json", "model.safetensors.index.json", "training/tensors.json", "training/state.json",
                                        "training/provenance.json" };
    if (argc < 5) return 2;
    const size_t stride = strtoull(argv[3], NULL, 10);
    snprintf(run, sizeof run, "%s/rot/run", argv[2]);
    snprintf(folder, sizeof folder, "%s/checkpoint-%d", run, STEP);
    if (shell("'%s/trainer' '%s' '%s/diary' open resume save:%d tag:%d:keeper", argv[1], run, argv[2], STEP, STEP)) return 2;
    if (training_begin(&training, &err)) return 2;
    bool well = true;
    for (size_t i = 0; i < sizeof json / sizeof *json; i++) well &= rot_metadata(folder, json[i], found_at_open, stride);
    for (size_t i = 0; i < TENSOR_FILES; i++) well &= rot_metadata(folder, tensor_files[i], found_at_open, stride);
    well &= rot_metadata(folder, "marks.1.json", found_at_listing, stride);
    well &= rot_metadata(run, "run.json", found_at_listing, stride);
    well &= rot_data(strtoull(argv[4], NULL, 10));
    training_end(&training);
    return !well;
}

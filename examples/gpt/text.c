/*
 * The training text and the order in which it is read.
 *
 *  1. The same files give the same numbers on every machine: names are sorted by their bytes.
 *  2. An epoch reads every window of the training part once, in an order that follows from one 64-bit seed.
 */
#include "gpt/text.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { TEXT_BYTES_MAX = 256 << 20 };

/* Appends a file's bytes to text->ids, as they are. */
static int append_file(struct gpt_text *text, const char *path, char *message, size_t message_bytes)
{
    FILE *file = fopen(path, "rb");
    char block[65536];
    size_t size;

    if (file == NULL) {
        snprintf(message, message_bytes, "cannot read %s: %s", path, strerror(errno));
        return -1;
    }
    while ((size = fread(block, 1, sizeof(block), file)) > 0) {
        uint8_t *larger = text->count + size <= TEXT_BYTES_MAX ? realloc(text->ids, text->count + size) : NULL;
        if (larger == NULL) {
            snprintf(message, message_bytes, "%s: more text than fits (%d MiB)", path, TEXT_BYTES_MAX >> 20);
            fclose(file);
            return -1;
        }
        text->ids = larger;
        memcpy(text->ids + text->count, block, size);
        text->count += size;
    }
    int failed = ferror(file);
    if (failed) snprintf(message, message_bytes, "cannot read %s: %s", path, strerror(errno));
    fclose(file);
    return failed ? -1 : 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int append_folder(struct gpt_text *text, const char *path, char *message, size_t message_bytes)
{
    struct dirent **names;
    int count = scandir(path, &names, NULL, by_bytes), result = 0;

    if (count < 0) {
        snprintf(message, message_bytes, "cannot list %s: %s", path, strerror(errno));
        return -1;
    }
    for (int i = 0; i < count; i++) {
        char full[4096];
        struct stat status;
        int length = snprintf(full, sizeof(full), "%s/%s", path, names[i]->d_name);
        if (result == 0 && length < (int)sizeof(full) && lstat(full, &status) == 0 && S_ISREG(status.st_mode))
            result = append_file(text, full, message, message_bytes);
        free(names[i]);
    }
    free(names);
    return result;
}

/* Counts the characters that occur, numbers them, and takes the fingerprint (FNV-1a). */
static void number_characters(struct gpt_text *text)
{
    int occurs[256] = { 0 };
    uint8_t id_of[256];

    text->fingerprint = 0xcbf29ce484222325u;
    for (size_t i = 0; i < text->count; i++) {
        occurs[text->ids[i]] = 1;
        text->fingerprint = (text->fingerprint ^ text->ids[i]) * 0x100000001b3u;
    }
    for (int byte = 0; byte < 256; byte++)
        if (occurs[byte]) {
            id_of[byte] = (uint8_t)text->vocabulary;
            text->characters[text->vocabulary++] = (uint8_t)byte;
        }
    for (size_t i = 0; i < text->count; i++) text->ids[i] = id_of[text->ids[i]];
}

int gpt_text_load(struct gpt_text *text, const char *path, char *message, size_t message_bytes)
{
    struct stat status;
    int result = -1;

    *text = (struct gpt_text){ .count = 0 };
    if (stat(path, &status) != 0)
        snprintf(message, message_bytes, "cannot read %s: %s", path, strerror(errno));
    else if (S_ISDIR(status.st_mode))
        result = append_folder(text, path, message, message_bytes);
    else
        result = append_file(text, path, message, message_bytes);
    if (result == 0 && text->count < 4096) {
        snprintf(message, message_bytes, "%s: only %zu bytes of text, 4096 are the least", path, text->count);
        result = -1;
    }
    if (result != 0) {
        gpt_text_done(text);
        return -1;
    }
    number_characters(text);
    text->train_count = text->count - text->count / 10;
    return 0;
}

void gpt_text_done(struct gpt_text *text)
{
    free(text->ids);
    *text = (struct gpt_text){ .count = 0 };
}

void gpt_text_validation(const struct gpt_text *text, size_t index, size_t context, uint8_t *ret_tokens)
{
    size_t windows = (text->count - text->train_count - 1) / context;

    memcpy(ret_tokens, text->ids + text->train_count + index % windows * context, context + 1);
}

/* -------------------------------------------------------------------------------------------------------------- order */

static void shuffle(struct gpt_order *order)
{
    struct gpt_random random;

    gpt_random_seed(&random, order->order_seed);
    for (size_t i = 0; i < order->count; i++) order->windows[i] = (uint32_t)i;
    for (size_t i = order->count; i > 1; i--) {
        size_t j = (size_t)(gpt_random_next(&random) % i);
        uint32_t window = order->windows[i - 1];
        order->windows[i - 1] = order->windows[j];
        order->windows[j] = window;
    }
}

int gpt_order_init(struct gpt_order *order, const struct gpt_text *text, size_t context, uint64_t seed)
{
    *order = (struct gpt_order){ .order_seed = seed, .context = context, .count = (text->train_count - 1) / context };
    if (order->count == 0 || text->count - text->train_count <= context) return -1;
    order->windows = calloc(order->count, sizeof(*order->windows));
    if (order->windows == NULL) return -1;
    shuffle(order);
    return 0;
}

void gpt_order_done(struct gpt_order *order)
{
    free(order->windows);
    order->windows = NULL;
}

int gpt_order_resume(struct gpt_order *order)
{
    if (order->epoch < 0 || order->position < 0 || (uint64_t)order->position > order->count) return -1;
    shuffle(order);
    return 0;
}

void gpt_order_batch(struct gpt_order *order, const struct gpt_text *text, size_t sequences, uint8_t *ret_tokens)
{
    for (size_t i = 0; i < sequences; i++) {
        if ((size_t)order->position == order->count) {
            struct gpt_random random;
            gpt_random_seed(&random, ~order->order_seed);
            order->order_seed = gpt_random_next(&random);
            order->epoch++;
            order->position = 0;
            shuffle(order);
        }
        size_t window = order->windows[order->position++];
        memcpy(ret_tokens + i * (order->context + 1), text->ids + window * order->context, order->context + 1);
    }
}

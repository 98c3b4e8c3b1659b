/* Structure-aware mutation, the same for every target, as all of them are JSON: members and elements are removed, doubled, exchanged, replaced by
 * others of the text or by odd values, put into deep nests; one string or number is changed by libFuzzer. The 8 bytes before a safetensors
 * header are kept in step with its length, and a digest line stays in its place. Some mutations are plain bytes. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { MOST_SPANS = 4096, DEEPEST = 256, SEAL_BYTES = 45 };

/* A member ("key":value) or an element; value_start is behind the key. */
struct span {
    size_t start, value_start, end;
};

struct text {
    uint8_t *data;
    size_t size, max_size;
    struct span spans[MOST_SPANS];
    size_t count;
    uint64_t random;
};

static uint64_t next_random(struct text *text, uint64_t below)
{
    text->random ^= text->random << 13;
    text->random ^= text->random >> 7;
    text->random ^= text->random << 17;
    return below ? text->random % below : 0;
}

/* Not a parser: good enough to find where things begin and end, in broken text, too. */
static void find_spans(struct text *text)
{
    struct span open[DEEPEST];
    int depth = 0;
    bool in_string = false;
    text->count = 0;
    open[0] = (struct span){ 0, 0, 0 };
    for (size_t i = 0; i < text->size; i++) {
        uint8_t byte = text->data[i];
        if (in_string) {
            if (byte == '\\')
                i++;
            else if (byte == '"')
                in_string = false;
            continue;
        }
        if (byte == '"')
            in_string = true;
        else if (byte == ':')
            open[depth].value_start = i + 1;
        else if ((byte == '{' || byte == '[') && depth + 1 < DEEPEST)
            open[++depth] = (struct span){ i + 1, i + 1, 0 };
        else if ((byte == ',' || byte == '}' || byte == ']') && depth) {
            open[depth].end = i;
            if (i > open[depth].start && text->count < MOST_SPANS) text->spans[text->count++] = open[depth];
            if (byte == ',')
                open[depth] = (struct span){ i + 1, i + 1, 0 };
            else
                depth--;
        }
    }
}

/* Puts size bytes in the place of [start, end); nothing if there is no room. */
static void replace(struct text *text, size_t start, size_t end, const void *bytes, size_t size)
{
    if (text->size - (end - start) + size > text->max_size) return;
    memmove(text->data + start + size, text->data + end, text->size - end);
    memcpy(text->data + start, bytes, size);
    text->size = text->size - (end - start) + size;
}

static void replace_by_odd_value(struct text *text, const struct span *span)
{
    static const char *const odd[] = { "0",
                                       "-0",
                                       "-1",
                                       "1",
                                       "1.0",
                                       "1e3",
                                       "0.5",
                                       "-0.0",
                                       "1e400",
                                       "1e-400",
                                       "18446744073709551615",
                                       "18446744073709551616",
                                       "9223372036854775808",
                                       "-9223372036854775808",
                                       "-9223372036854775809",
                                       "4294967296",
                                       "281474976710656",
                                       "00",
                                       "+1",
                                       ".5",
                                       "1.",
                                       "null",
                                       "true",
                                       "false",
                                       "\"\"",
                                       "\"\\u0000\"",
                                       "\"\\ud800\"",
                                       "\"\\ud83d\\ude00\"",
                                       "\"a/../b\"",
                                       "\"..\"",
                                       "\"/etc/passwd\"",
                                       "\"NaN\"",
                                       "\"-Infinity\"",
                                       "NaN",
                                       "[]",
                                       "{}",
                                       "[0,0]",
                                       "[[]]",
                                       "{\"\":0}",
                                       "\"model.safetensors\"",
                                       "\"F32\"",
                                       "\"F4\"",
                                       "\"U64\"",
                                       "\"00000000000000000000000000000000\"",
                                       "1234567890123456789012345" };
    const char *value = odd[next_random(text, sizeof odd / sizeof *odd)];
    replace(text, span->value_start, span->end, value, strlen(value));
}

static void nest(struct text *text, const struct span *span)
{
    char deep[400];
    size_t levels = next_random(text, 2) ? 1 + next_random(text, 4) : 50 + next_random(text, 100);
    bool object = next_random(text, 2);
    size_t used = 0;
    for (size_t i = 0; i < levels && used + 5 < sizeof deep; i++)
        used += (size_t)snprintf(deep + used, sizeof deep - used, object ? "{\"\":" : "[");
    replace(text, span->value_start, span->value_start, deep, used);
    if (text->size > span->end + used) {
        memset(deep, object ? '}' : ']', levels);
        replace(text, span->end + used, span->end + used, deep, levels);
    }
}

static void copy_span(struct text *text, const struct span *from, size_t start, size_t end, bool value_only)
{
    static uint8_t copy[1 << 16];
    size_t first = value_only ? from->value_start : from->start, size = from->end - first;
    if (size > sizeof copy) return;
    memcpy(copy, text->data + first, size);
    replace(text, start, end, copy, size);
}

static void double_span(struct text *text, const struct span *span)
{
    size_t size = span->end - span->start;
    replace(text, span->end, span->end, ",", 1);
    if (text->size + size <= text->max_size) copy_span(text, span, span->end + 1, span->end + 1, false);
}

static void remove_span(struct text *text, const struct span *span)
{
    bool comma_after = span->end < text->size && text->data[span->end] == ',',
         comma_before = span->start && text->data[span->start - 1] == ',';
    replace(text, span->start - (!comma_after && comma_before), span->end + comma_after, "", 0);
}

static void change_bytes(struct text *text, const struct span *span)
{
    uint8_t piece[512];
    size_t size = span->end - span->value_start;
    if (!size || size > 256) return;
    memcpy(piece, text->data + span->value_start, size);
    size = LLVMFuzzerMutate(piece, size, sizeof piece);
    replace(text, span->value_start, span->end, piece, size);
}

static void change_structure(struct text *text)
{
    find_spans(text);
    if (!text->count) return;
    const struct span span = text->spans[next_random(text, text->count)], other = text->spans[next_random(text, text->count)];
    switch (next_random(text, 8)) {
    case 0: remove_span(text, &span); break;
    case 1: double_span(text, &span); break;
    case 2: copy_span(text, &other, span.value_start, span.end, true); break;
    case 3: copy_span(text, &other, span.start, span.end, false); break;
    case 4: copy_span(text, &other, span.start, span.value_start, false); break;
    case 5: nest(text, &span); break;
    case 6: replace_by_odd_value(text, &span); break;
    default: change_bytes(text, &span); break;
    }
}

static bool is_sealed(const uint8_t *data, size_t size)
{
    return size > SEAL_BYTES && !memcmp(data + size - SEAL_BYTES, "\"digest\":\"", 10);
}

/* A safetensors file: its JSON is changed, the prefix follows. */
static size_t change_file(struct text *text, uint8_t *data, size_t size, uint64_t json_bytes)
{
    static uint8_t tail[1 << 16];
    size_t tail_bytes = size - 8 - json_bytes;
    if (tail_bytes > sizeof tail) return LLVMFuzzerMutate(data, size, text->max_size);
    memcpy(tail, data + 8 + json_bytes, tail_bytes);
    text->data = data + 8;
    text->size = json_bytes;
    text->max_size -= 8 + tail_bytes;
    change_structure(text);
    uint64_t now = text->size;
    for (int i = 0; i < 8; i++) data[i] = (uint8_t)(now >> 8 * i);
    memcpy(data + 8 + now, tail, tail_bytes);
    return 8 + now + tail_bytes;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static struct text text;
    static uint8_t seal[SEAL_BYTES];
    uint64_t json_bytes = 0;
    text.random = ((uint64_t)seed << 1 | 1) * 0x9e3779b97f4a7c15u;
    text.data = data;
    text.size = size;
    text.max_size = max_size;
    if (next_random(&text, 5) == 0) return LLVMFuzzerMutate(data, size, max_size);
    for (int i = 7; i >= 0 && size > 8; i--) json_bytes = json_bytes << 8 | data[i];
    if (size > 9 && data[8] == '{' && json_bytes <= size - 8) return change_file(&text, data, size, json_bytes);
    bool sealed = is_sealed(data, size);
    if (sealed) {
        memcpy(seal, data + size - SEAL_BYTES, SEAL_BYTES);
        text.size -= SEAL_BYTES;
        text.max_size -= SEAL_BYTES;
    }
    change_structure(&text);
    if (!sealed) return text.size ? text.size : LLVMFuzzerMutate(data, size, max_size);
    memcpy(data + text.size, seal, SEAL_BYTES);
    return text.size + SEAL_BYTES;
}

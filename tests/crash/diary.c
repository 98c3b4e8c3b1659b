#include "diary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int diary_write(const char *path, const char *format, ...)
{
    char line[200];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    line[length++] = '\n';
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) return -1;
    bool whole = write(file, line, (size_t)length) == length;
    return close(file) || !whole ? -1 : 0;
}

static void note_saving(struct diary *diary, uint64_t step, uint64_t chain)
{
    if (diary->count == DIARY_CHECKPOINTS) abort();
    diary->checkpoints[diary->count++] = (struct noted){ .step = step, .chain = chain };
}

static bool is_beyond(const struct noted *one, const struct noted *other)
{
    return one->term != other->term ? one->term > other->term : one->step > other->step;
}

static void note_saved(struct diary *diary, uint64_t step, uint64_t chain, uint64_t term)
{
    for (int i = 0; i < diary->count; i++)
        if (diary->checkpoints[i].saved && diary->checkpoints[i].term < term && diary->checkpoints[i].step >= step)
            diary->checkpoints[i].superseded = true;
    for (int i = diary->count - 1; i >= 0; i--) {
        struct noted *noted = &diary->checkpoints[i];
        if (noted->step != step || noted->chain != chain || noted->saved) continue;
        noted->saved = true;
        noted->term = term;
        if (diary->last_saved < 0 || is_beyond(noted, &diary->checkpoints[diary->last_saved])) diary->last_saved = i;
        return;
    }
    abort(); /* said to be saved without having begun */
}

/* The newest of that step. */
static struct noted *find(struct diary *diary, uint64_t step)
{
    for (int i = diary->count - 1; i >= 0; i--)
        if (diary->checkpoints[i].saved && diary->checkpoints[i].step == step) return &diary->checkpoints[i];
    abort();
}

/* What was being saved, now or when somebody was killed, may be there: then it counts, and what it supersedes goes. */
static void note_keeping(struct diary *diary, uint64_t last)
{
    uint64_t newer = 0, lowest = UINT64_MAX; /* step of what may be there */
    for (int i = diary->count - 1; i >= 0; i--) {
        struct noted *noted = &diary->checkpoints[i];
        if (noted->saved && !noted->tag[0] && (noted->superseded || newer >= last || noted->step >= lowest)) noted->may_be_gone = true;
        if (!noted->saved && noted->step < lowest) lowest = noted->step;
        if (!noted->superseded && !noted->tag[0]) newer++;
    }
}

static uint64_t note_line(struct diary *diary, const char *line, uint64_t keep)
{
    char word[20] = "", second[32] = "", third[32] = "";
    unsigned long long a = 0, c = 0;
    sscanf(line, "%19s %31s %31s %llu", word, second, third, &c);
    a = strtoull(second, NULL, 10);
    if (!strcmp(word, "saving"))
        note_saving(diary, a, strtoull(third, NULL, 10));
    else if (!strcmp(word, "saved"))
        note_saved(diary, a, strtoull(third, NULL, 10), c);
    else if (!strcmp(word, "keeping"))
        keep = a;
    else if (!strcmp(word, "removing"))
        find(diary, a)->may_be_gone = true;
    else if (!strcmp(word, "removed"))
        find(diary, a)->must_be_gone = true;
    else if (!strcmp(word, "tagged"))
        snprintf(find(diary, a)->tag, sizeof find(diary, a)->tag, "%s", third);
    else if (!strcmp(word, "dropping"))
        find(diary, a)->may_lack_optimizer = true;
    else if (!strcmp(word, "dropped"))
        find(diary, a)->must_lack_optimizer = true;
    else if (!strcmp(word, "replacing"))
        diary->folder_before = diary->folder_now, diary->folder_now = a, diary->folder_is_done = false;
    else if (!strcmp(word, "replaced"))
        diary->folder_is_done = true;
    if (keep) note_keeping(diary, keep);
    return keep;
}

int diary_read(const char *path, struct diary *ret_diary)
{
    char line[200];
    uint64_t keep = 0;
    FILE *file = fopen(path, "re");
    *ret_diary = (struct diary){ .checkpoints = calloc(DIARY_CHECKPOINTS, sizeof(struct noted)), .last_saved = -1 };
    if (!ret_diary->checkpoints) abort();
    if (!file) return errno == ENOENT ? 0 : -1;
    while (fgets(line, sizeof line, file)) keep = note_line(ret_diary, line, keep);
    fclose(file);
    return 0;
}

void diary_free(struct diary *diary)
{
    free(diary->checkpoints);
    diary->checkpoints = NULL;
}

/* Holds a store against the diary of who wrote it (diary.h).
 *
 *     checker RUN DIARY [one-line] [all-said] [read-only]
 *
 * Every checkpoint said to be saved is there, whole and of the right bits, and has its tag; what was said to be removed is not; nothing else is there but, wholly
 * or not at all, what was being saved; the newest is resumed from, to the same bits; the next save works and leaves nothing behind. one-line:
 * nobody went back, so nothing is superseded. all-said: nobody was killed, so nothing is there that was not said to be saved. read-only: without that next save. Says what is wrong; exit status 1 then, 2 bad use. */
#include "diary.h"
#include "state.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int problems;
static bool one_line, all_said;
static cairn_error err = CAIRN_ERROR_INIT;
static struct training training;

static void __attribute__((format(printf, 1, 2))) wrong(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    problems++;
}

/* Full verify and a reading of every bit. Returns the chain, 0 if it is not whole. */
static uint64_t chain_of(const char *path)
{
    uint64_t chain = 0;
    char problem[400] = "";
    cairn_checkpoint *checkpoint = NULL;
    if (cairn_verify(NULL, path, NULL, NULL, &err)) wrong("%s: verify: %s", path, err.message);
    if (cairn_checkpoint_open(NULL, path, &checkpoint, &err)) return wrong("%s: %s", path, err.message), 0;
    if (checkpoint_is_whole(checkpoint, false, &chain, problem, sizeof problem)) wrong("%s: %s", path, problem), chain = 0;
    cairn_checkpoint_close(checkpoint);
    return chain;
}

static struct noted *match(struct diary *diary, const cairn_entry *entry, uint64_t chain)
{
    for (int i = diary->count - 1; i >= 0; i--) {
        struct noted *noted = &diary->checkpoints[i];
        if (noted->step == entry->step && noted->chain == chain && (!noted->saved || noted->term == entry->term)) return noted;
    }
    return NULL;
}

/* The highest that is saved, or one that was being saved after it. */
static void look_at_head(const struct diary *diary, uint64_t step, uint64_t chain)
{
    for (int i = diary->last_saved < 0 ? 0 : diary->last_saved; i < diary->count; i++) {
        const struct noted *noted = &diary->checkpoints[i];
        if (noted->saved && i != diary->last_saved) continue;
        if (noted->step == step && noted->chain == chain) return;
    }
    wrong("step %llu is resumed from, which is not the newest", (unsigned long long)step);
}

static bool has(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

static void look_at_entry(const char *run, struct diary *diary, const cairn_entry *entry)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", run, entry->name);
    if (entry->standing == CAIRN_DAMAGED || entry->standing == CAIRN_FOREIGN_FOLDER) return wrong("%s: %s", path, entry->problem);
    if (one_line && entry->standing == CAIRN_SUPERSEDED) wrong("%s is superseded, and nobody went back", path);
    const uint64_t chain = chain_of(path);
    if (!chain) return;
    struct noted *noted = match(diary, entry, chain);
    if (!noted) return wrong("%s is nothing that was ever saved", path);
    noted->is_there = true;
    if (all_said && !noted->saved) wrong("%s is there, and its save was not said to be done", path);
    if (entry->is_head) look_at_head(diary, entry->step, chain);
    if (noted->must_be_gone) wrong("%s was said to be removed", path);
    if (noted->tag[0] && !has(entry->tags, entry->tags_count, noted->tag)) wrong("%s has lost its tag %s", path, noted->tag);
    const bool lacks = has(entry->dropped, entry->dropped_count, "optimizer");
    if (lacks && !noted->may_lack_optimizer) wrong("%s has lost its optimizer", path);
    if (!lacks && noted->must_lack_optimizer) wrong("%s has the optimizer that was dropped", path);
}

static void look_at_run(const char *run, struct diary *diary)
{
    cairn_listing *listing = NULL;
    int code = cairn_listing_open(run, &listing, &err);
    if (code && (code != CAIRN_E_NOTFOUND || diary->last_saved >= 0)) wrong("%s cannot be listed: %s", run, err.message);
    for (size_t i = 0; i < cairn_listing_count(listing); i++) look_at_entry(run, diary, cairn_listing_entry(listing, i));
    cairn_listing_close(listing);
    for (int i = 0; i < diary->count; i++) {
        const struct noted *noted = &diary->checkpoints[i];
        if (noted->saved && !noted->may_be_gone && !noted->is_there)
            wrong("step %llu of term %llu is lost", (unsigned long long)noted->step, (unsigned long long)noted->term);
    }
}

static void is_empty(const char *run, const char *folder)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/.cairn/%s", run, folder);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) wrong("%s/%s was left behind", path, entry->d_name);
    if (dir) closedir(dir);
}

static int save_next(cairn_run *run)
{
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
    training_step(&training, 1000);
    options.step = (uint64_t)training.step;
    options.mode = CAIRN_SAVE_SYNC;
    return cairn_save(run, training.state, &options, &report, &err);
}

static void go_on(const char *path, const struct diary *diary)
{
    char next[4200];
    cairn_run *run = NULL;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    options.io_threads = 1;
    options.arena_bytes = 16 << 20;
    if (cairn_run_open(path, &options, &run, &err)) return wrong("it cannot be opened: %s", err.message);
    if (cairn_restore(run, training.state, NULL, &report, &err))
        wrong("it cannot be resumed: %s", err.message);
    else {
        if (!training_is_whole(&training)) wrong("%s was restored to other bits", report.name);
        if (!report.fresh)
            look_at_head(diary, report.step, training.chain);
        else if (diary->last_saved >= 0)
            wrong("the run is taken for a new one");
        if (save_next(run)) wrong("the next save fails: %s", err.message);
    }
    if (cairn_run_close(run, &err)) wrong("closing it fails: %s", err.message);
    snprintf(next, sizeof next, "%s@%llu", path, (unsigned long long)training.step);
    if (!problems && chain_of(next) != training.chain) wrong("the next save did not save what it should");
    is_empty(path, "staging");
    is_empty(path, "trash");
}

static void look_at_folder(const char *run, const struct diary *diary)
{
    char path[4200];
    if (!diary->folder_now) return;
    snprintf(path, sizeof path, "%s.folder", run);
    if (access(path, F_OK)) {
        if (diary->folder_before || diary->folder_is_done) wrong("%s is lost", path);
        return;
    }
    const uint64_t chain = chain_of(path);
    if (chain != diary->folder_now && (diary->folder_is_done || chain != diary->folder_before)) wrong("%s is neither old nor new", path);
}

int main(int argc, char **argv)
{
    struct diary diary;
    bool read_only = false;
    if (argc < 3 || diary_read(argv[2], &diary) || training_begin(&training, &err)) return 2;
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "one-line"))
            one_line = true;
        else if (!strcmp(argv[i], "all-said"))
            all_said = true;
        else if (!strcmp(argv[i], "read-only"))
            read_only = true;
        else
            return 2;
    }
    look_at_run(argv[1], &diary);
    look_at_folder(argv[1], &diary);
    if (!read_only) go_on(argv[1], &diary);
    training_end(&training);
    diary_free(&diary);
    return problems ? 1 : 0;
}

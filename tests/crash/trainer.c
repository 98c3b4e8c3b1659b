/* The trainer that the crash tests kill, stop and starve. It knows the public header alone, has one I/O thread, and keeps a diary (diary.h).
 *
 *     trainer RUN DIARY OPERATION...
 *
 * open[:KEEP]   opens the run, KEEP of its checkpoints stay       take-over[:KEEP]   the same, though another process writes it
 * resume        brings back the default                           back:STEP          brings back that one: another way begins
 * save[:COUNT]  trains a step and saves it; 0: for ever           die                the same, killed half-way
 * tag:STEP:TAG  rm:STEP  keep:LAST  drop:STEP                      as the program does, from outside
 * folder        saves to the single folder RUN.folder, replacing what is there
 * say:WORD      prints it                                         buffered           runs opened from here on write through the page cache
 * nap:MS        from here on, sleeps before each step
 * way:NUMBER    from here on, training goes another way         try-again          from here on, an open that is refused as LOCKED is repeated
 *
 * Messages of the library go to stderr, after "message: ". Exit status: 0; 2 bad use; 3 an error of the library; 4 CAIRN_E_LOCKED; 5 CAIRN_E_FENCED; 6 what was restored is not whole. */
#include "diary.h"
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct trainer {
    const char *path, *diary;
    cairn_run *run;
    uint64_t way;
    useconds_t nap_us;
    bool tries_again, buffered;
};
static struct training training;
static cairn_error err = CAIRN_ERROR_INIT;
enum { BAD_USE = 2, FAILED, LOCKED, FENCED, NOT_WHOLE };

static int note(const struct trainer *t, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    if (!diary_write(t->diary, "%s %llu %llu %llu", what, (unsigned long long)a, (unsigned long long)b, (unsigned long long)c)) return 0;
    perror(t->diary);
    exit(BAD_USE);
}

static void print(void *user, const char *message)
{
    (void)user;
    fprintf(stderr, "message: %s\n", message);
}

static int open_run(struct trainer *t, bool take_over, uint32_t keep)
{
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    options.io_threads = 1;
    options.arena_bytes = 16 << 20;
    options.keep_last = keep;
    options.take_over = take_over;
    options.message = print;
    if (t->buffered) options.io_mode = CAIRN_IO_BUFFERED;
    if (keep) note(t, "keeping", keep, 0, 0);
    int code = cairn_run_open(t->path, &options, &t->run, &err);
    while (code == CAIRN_E_LOCKED && t->tries_again) {
        usleep(2000);
        code = cairn_run_open(t->path, &options, &t->run, &err);
    }
    return code;
}

static int restore(struct trainer *t, uint64_t step)
{
    cairn_restore_options options = CAIRN_RESTORE_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    options.step = step;
    int code = cairn_restore(t->run, training.state, &options, &report, &err);
    if (!code && !training_is_whole(&training)) exit(NOT_WHOLE);
    if (step != CAIRN_STEP_DEFAULT) t->way = 100 + step;
    return code;
}

static int save(struct trainer *t)
{
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
    usleep(t->nap_us);
    training_step(&training, t->way);
    options.step = (uint64_t)training.step;
    options.mode = CAIRN_SAVE_SYNC;
    note(t, "saving", options.step, training.chain, 0);
    int code = cairn_save(t->run, training.state, &options, &report, &err);
    if (!code) note(t, "saved", options.step, training.chain, report.term);
    return code;
}

static int save_often(struct trainer *t, uint64_t count)
{
    int code = 0;
    for (uint64_t i = 0; !code && (!count || i < count); i++) code = save(t);
    return code;
}

static int save_folder(struct trainer *t)
{
    char path[4096];
    cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
    options.replace = 1;
    options.io_threads = 1;
    snprintf(path, sizeof path, "%s.folder", t->path);
    training_step(&training, t->way);
    note(t, "replacing", training.chain, 0, 0);
    int code = cairn_save_folder(path, training.state, &options, NULL, &err);
    if (!code) note(t, "replaced", training.chain, 0, 0);
    return code;
}

static int mark(struct trainer *t, const char *name, uint64_t step, const char *tag)
{
    cairn_mark_options options = CAIRN_MARK_OPTIONS_INIT;
    options.add_tags = &tag;
    options.add_tags_count = 1;
    diary_write(t->diary, "tagging %llu %s", (unsigned long long)step, tag);
    int code = cairn_mark(NULL, name, &options, &err);
    if (!code) diary_write(t->diary, "tagged %llu %s", (unsigned long long)step, tag);
    return code;
}

static int keep(struct trainer *t, uint32_t last)
{
    cairn_keep_options options = CAIRN_KEEP_OPTIONS_INIT;
    options.last = last;
    note(t, "keeping", last, 0, 0);
    int code = cairn_keep(t->path, &options, NULL, &err);
    if (!code) note(t, "keeping", 0, 0, 0);
    return code;
}

/* rm and drop of RUN@STEP */
static int lose(struct trainer *t, const char *name, uint64_t step, bool all)
{
    note(t, all ? "removing" : "dropping", step, 0, 0);
    int code = all ? cairn_remove(NULL, name, &err) : cairn_drop_item(NULL, name, "optimizer", &err);
    if (!code) note(t, all ? "removed" : "dropped", step, 0, 0);
    return code;
}

static int say(const char *word)
{
    printf("%s\n", word);
    fflush(stdout);
    return 0;
}

static int perform(struct trainer *t, char *operation)
{
    char name[4200];
    const char *what = strtok(operation, ":"), *first = strtok(NULL, ":"), *second = strtok(NULL, ":");
    const uint64_t number = first ? strtoull(first, NULL, 10) : 0;
    snprintf(name, sizeof name, "%s@%llu", t->path, (unsigned long long)number);
    if (!strcmp(what, "open")) return open_run(t, false, (uint32_t)number);
    if (!strcmp(what, "take-over")) return open_run(t, true, (uint32_t)number);
    if (!strcmp(what, "resume")) return restore(t, CAIRN_STEP_DEFAULT);
    if (!strcmp(what, "back")) return restore(t, number);
    if (!strcmp(what, "save")) return save_often(t, first ? number : 1);
    if (!strcmp(what, "die")) return training.dies = true, save(t);
    if (!strcmp(what, "tag") && second) return mark(t, name, number, second);
    if (!strcmp(what, "rm")) return lose(t, name, number, true);
    if (!strcmp(what, "drop")) return lose(t, name, number, false);
    if (!strcmp(what, "keep")) return keep(t, (uint32_t)number);
    if (!strcmp(what, "folder")) return save_folder(t);
    if (!strcmp(what, "say")) return say(first);
    if (!strcmp(what, "nap")) return t->nap_us = (useconds_t)number * 1000, 0;
    if (!strcmp(what, "buffered")) return t->buffered = true, 0;
    if (!strcmp(what, "way")) return t->way = number, 0;
    if (!strcmp(what, "try-again")) return t->tries_again = true, 0;
    fprintf(stderr, "no operation: %s\n", what);
    exit(BAD_USE);
}

int main(int argc, char **argv)
{
    if (argc < 4) return BAD_USE;
    struct trainer t = { .path = argv[1], .diary = argv[2] };
    int code = training_begin(&training, &err);
    for (int i = 3; !code && i < argc; i++) code = perform(&t, argv[i]);
    int closed = cairn_run_close(t.run, code ? NULL : &err);
    training_end(&training);
    if (!code) code = closed;
    if (code) fprintf(stderr, "%s: %s\n", cairn_code_name(code), err.message);
    return code == CAIRN_E_FENCED ? FENCED : code == CAIRN_E_LOCKED ? LOCKED : code ? FAILED : 0;
}

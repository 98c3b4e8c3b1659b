/* cairn verify: every byte against its digest, every damaged block by name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

struct verifying {
    const struct cli *cli;
    struct json results, passed_over, gone; /* with --json */
    uint64_t checkpoints, damaged, failed, gone_count;
    int worst; /* exit code */
    struct progress progress;
};

enum { RESULT_DEPTH = 2, LIST_DEPTH = 4 }; /* in the output */

/* One name that is looked at. */
struct looking {
    struct verifying *verifying;
    const char *name;
    bool may_go;                                  /* others may remove it meanwhile: that is no damage */
    bool is_told;                                 /* a finding was */
    enum { NOT_YET, NAMED, NAMED_DAMAGED } named; /* what stands above its findings */
    struct json damages, warnings;
    cairn_error err;
    cairn_verify_report report;
    int code, exit_code;
};

/* ---------------------------------------------------------------------------------------------------------------- findings */

static void put_damage(struct json *json, const cairn_damage *damage)
{
    json_open(json, NULL, '{');
    json_text(json, "file", damage->file);
    json_text(json, "code", cairn_code_name(damage->code));
    json_text(json, "message", damage->message);
    if (damage->tensor) json_text(json, "tensor", damage->tensor);
    if (damage->block != CAIRN_NO_OFFSET) {
        json_count(json, "block", damage->block);
        json_count(json, "offset", damage->offset);
        json_count(json, "size_bytes", damage->size_bytes);
    }
    if (damage->shared_with) json_text(json, "shared_with", damage->shared_with);
    json_close(json, '}');
}

/* The name first, then what was found, indented. */
static void print_name(struct looking *looking, bool damaged)
{
    progress_wipe(&looking->verifying->progress);
    if (looking->named) return;
    char *safe = cli_safe(looking->name);
    printf("%s:%s\n", safe, damaged ? " DAMAGED" : "");
    free(safe);
    looking->named = damaged ? NAMED_DAMAGED : NAMED;
}

/* 0: it is there, else errno. */
static int look_for(const char *folder, const char *name)
{
    struct stat info;
    char *path = cli_format("%s/%s", folder, name);
    int problem = lstat(path, &info) ? errno : 0;
    free(path);
    return problem;
}

/* Removed since it was listed: nothing is wrong with a run that is pruned meanwhile. Where it cannot be moved it goes where it stands: its manifest.json
 * becomes retired.json, and the folder goes last. */
static bool is_gone(const char *path)
{
    if (look_for(path, "manifest.json") != ENOENT) return false;
    return !look_for(path, "retired.json") || look_for(path, ".") == ENOENT;
}

static void tell_damage(void *user, const cairn_damage *damage)
{
    struct looking *looking = user;
    if (looking->may_go && is_gone(looking->name)) return;
    looking->is_told = true;
    if (looking->verifying->cli->json) {
        put_damage(&looking->damages, damage);
        return;
    }
    char *message = cli_safe(damage->message), *sharers = cli_safe(damage->shared_with ? damage->shared_with : "");
    print_name(looking, true);
    printf("  %s: %s\n", cairn_code_name(damage->code), message);
    if (damage->shared_with) printf("    the file is shared with %s\n", sharers);
    free(message);
    free(sharers);
}

static void tell_warning(void *user, const char *message)
{
    struct looking *looking = user;
    char *safe = cli_safe(message);
    if (looking->verifying->cli->json)
        json_text(&looking->warnings, NULL, safe);
    else {
        print_name(looking, false);
        printf("  warning: %s\n", safe);
    }
    free(safe);
}

static void tell_progress(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    const struct looking *looking = user;
    progress_show(&looking->verifying->progress, done_bytes, total_bytes);
}

/* ---------------------------------------------------------------------------------------------------------------- verdicts */

static void put_verdict(struct looking *looking)
{
    struct json *json = &looking->verifying->results;
    json_open(json, NULL, '{');
    json_text(json, "name", looking->name);
    json_truth(json, "ok", looking->exit_code == EXIT_FINE);
    json_text(json, "code", cairn_code_name(looking->code));
    json_count(json, "checked_bytes", looking->report.checked_bytes);
    json_truth(json, "digests_known", looking->report.digests_known);
    json_splice(json, "damage", &looking->damages);
    json_splice(json, "warnings", &looking->warnings);
    if (looking->code && !looking->report.findings) json_text(json, "message", looking->err.message);
    json_close(json, '}');
}

static void print_undigested(const struct looking *looking)
{
    char *path = cli_path(looking->verifying->cli, looking->name), *holder = cli_holder(looking->name);
    if (!holder) holder = cli_holder(path);
    char *safe = cli_safe(holder ? holder : "");
    if (holder)
        printf("well formed; its content is checked by verifying the checkpoint it belongs to, %s\n", safe);
    else
        puts("well formed (no digests: Cairn did not write it, so its content cannot be checked)");
    free(safe);
    free(holder);
    free(path);
}

static void print_verdict(const struct looking *looking)
{
    const struct cli *cli = looking->verifying->cli;
    const cairn_verify_report *report = &looking->report;
    char bytes[32], *safe = cli_safe(looking->name);
    if (looking->code && !report->findings) {
        cli_fail_name(cli, looking->name, &looking->err);
        free(safe);
        return;
    }
    if (looking->named)
        printf("  ");
    else
        printf("%s: ", safe);
    if (looking->code)
        printf("%s%llu finding%s, %llu damaged block%s\n", looking->named == NAMED_DAMAGED ? "" : "DAMAGED, ",
               (unsigned long long)report->findings, cli_s(report->findings), (unsigned long long)report->damaged_blocks,
               cli_s(report->damaged_blocks));
    else if (looking->exit_code)
        printf("well formed, but with %llu warning%s (--strict)\n", (unsigned long long)report->warnings, cli_s(report->warnings));
    else if (!report->digests_known)
        print_undigested(looking);
    else
        printf("ok%s, %s checked\n", cli->quick ? " (quick)" : "", cli_bytes(report->checked_bytes, bytes));
    free(safe);
}

static void count(struct verifying *verifying, int exit_code)
{
    verifying->checkpoints++;
    verifying->damaged += exit_code == EXIT_NO;
    verifying->failed += exit_code > EXIT_NO;
    if (exit_code > verifying->worst) verifying->worst = exit_code;
}

static void conclude(struct looking *looking)
{
    bool strict = looking->report.warnings && looking->verifying->cli->strict;
    looking->exit_code = looking->code ? cli_exit_code(looking->code) : strict ? EXIT_NO : EXIT_FINE;
    count(looking->verifying, looking->exit_code);
    if (looking->verifying->cli->json)
        put_verdict(looking);
    else
        print_verdict(looking);
}

static void tell_gone(struct verifying *verifying, const char *path)
{
    char *safe = cli_safe(path);
    verifying->gone_count++;
    if (verifying->cli->json)
        json_text(&verifying->gone, NULL, path);
    else
        printf("%s: gone meanwhile\n", safe);
    free(safe);
}

static void start(struct looking *looking, struct verifying *verifying, const char *name)
{
    *looking = (struct looking){ .verifying = verifying, .name = name, .err = CAIRN_ERROR_INIT, .report = CAIRN_VERIFY_REPORT_INIT };
    json_start(&looking->damages, LIST_DEPTH);
    json_start(&looking->warnings, LIST_DEPTH);
}

static void done(struct looking *looking)
{
    json_drop(&looking->damages);
    json_drop(&looking->warnings);
}

static void verify_one(struct verifying *verifying, const char *store, const char *name, bool may_go)
{
    struct looking looking;
    cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
    start(&looking, verifying, name);
    looking.may_go = may_go;
    options.quick = verifying->cli->quick;
    options.damage = tell_damage;
    options.progress = tell_progress;
    options.warning = tell_warning;
    options.user = &looking;
    progress_start(&verifying->progress, verifying->cli);
    looking.code = cairn_verify(store, name, &options, &looking.report, &looking.err);
    progress_wipe(&verifying->progress);
    if (looking.code && may_go && !looking.is_told && is_gone(name))
        tell_gone(verifying, name);
    else
        conclude(&looking);
    done(&looking);
}

/* A file that is of another kind than those that hold tensors was not meant to be one: no damage. */
static void tell_kind(struct verifying *verifying, const char *name, const cairn_error *err)
{
    struct looking looking;
    start(&looking, verifying, name);
    looking.err = *err;
    looking.code = err->code;
    conclude(&looking);
    done(&looking);
}

/* ------------------------------------------------------------------------------------------------------------------- a run */

static void pass_over(struct verifying *verifying, const char *path, const char *problem)
{
    char *safe = cli_safe(path), *why = cli_safe(problem ? problem : "");
    if (verifying->cli->json) {
        json_open(&verifying->passed_over, NULL, '{');
        json_text(&verifying->passed_over, "name", path);
        json_text(&verifying->passed_over, "problem", why);
        json_close(&verifying->passed_over, '}');
    } else
        printf("%s: passed over: %s\n", safe, why);
    free(safe);
    free(why);
}

static void verify_entry(struct verifying *verifying, const char *path, const cairn_entry *entry)
{
    char *below = cli_format("%s/%s", path, entry->name);
    if (is_gone(below))
        tell_gone(verifying, below);
    else if (entry->standing == CAIRN_FOREIGN_FOLDER)
        pass_over(verifying, below, entry->problem);
    else
        verify_one(verifying, NULL, below, true);
    free(below);
}

static void print_summary(const struct verifying *verifying, const char *path)
{
    char *safe = cli_safe(path);
    if (!verifying->checkpoints && !verifying->gone_count)
        printf("%s: no checkpoints yet", safe);
    else
        printf("%s: %llu checkpoint%s, %llu damaged", safe, (unsigned long long)verifying->checkpoints, cli_s(verifying->checkpoints),
               (unsigned long long)verifying->damaged);
    if (verifying->failed) printf(", %llu not to be checked", (unsigned long long)verifying->failed);
    if (verifying->gone_count) printf(", %llu gone meanwhile", (unsigned long long)verifying->gone_count);
    putchar('\n');
    free(safe);
}

static int verify_run(struct verifying *verifying, const char *path)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_listing *listing;
    if (cairn_listing_open(path, &listing, &err)) return cli_fail(verifying->cli, &err);
    verifying->checkpoints = verifying->damaged = verifying->failed = verifying->gone_count = 0;
    for (size_t i = 0; i < cairn_listing_count(listing); i++) verify_entry(verifying, path, cairn_listing_entry(listing, i));
    cairn_listing_close(listing);
    if (!verifying->cli->json) print_summary(verifying, path);
    return EXIT_FINE;
}

/* ------------------------------------------------------------------------------------------------------------ the command */

/* JSON that is named beside what was meant, as by RUN/...: a run's own, or that of the checkpoint which holder names. */
static bool pass_over_own(struct verifying *verifying, const char *name, const char *file, const char *holder)
{
    const char *kind = cli_kind(file), *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
    if (!kind) return false;
    char *folder = slash ? cli_format("%.*s", (int)(slash - file), file) : cli_copy("."), *problem = NULL;
    if (cli_is_run(folder) && (!strcmp(base, "run.json") || !strcmp(base, "metrics.jsonl")))
        problem = cli_format("not a safetensors file: %s, of the run", kind);
    else if (holder && !cli_is_named_safetensors(base))
        problem = cli_format("not a safetensors file: %s, checked by verifying %s", kind, holder);
    bool is_own = problem != NULL;
    if (is_own) pass_over(verifying, name, problem);
    free(problem);
    free(folder);
    return is_own;
}

static void verify_name(struct verifying *verifying, const char *name)
{
    cairn_error err = CAIRN_ERROR_INIT;
    char *file = cli_find(verifying->cli, name), *holder = cli_holder(file);
    if (pass_over_own(verifying, name, file, holder))
        ;
    else if (cli_explain_kind(file, &err))
        tell_kind(verifying, name, &err);
    else
        verify_one(verifying, verifying->cli->store, name, false);
    free(holder);
    free(file);
}

static int print_results(struct verifying *verifying)
{
    struct json json;
    json_start(&json, 0);
    json_open(&json, NULL, '{');
    json_count(&json, "version", 1);
    json_truth(&json, "ok", verifying->worst == EXIT_FINE);
    json_splice(&json, "results", &verifying->results);
    json_splice(&json, "passed_over", &verifying->passed_over);
    json_splice(&json, "gone", &verifying->gone);
    json_close(&json, '}');
    return json_print(&json);
}

int cmd_verify(const struct cli *cli)
{
    if (!cli->arguments_count) return cli_usage(cli, "give a checkpoint, a run or a file");
    struct verifying verifying = { .cli = cli };
    json_start(&verifying.results, RESULT_DEPTH);
    json_start(&verifying.passed_over, RESULT_DEPTH);
    json_start(&verifying.gone, RESULT_DEPTH);
    for (int i = 0; i < cli->arguments_count; i++) {
        char *path = cli_path(cli, cli->arguments[i]);
        int code = EXIT_FINE;
        if (cli_is_run(path))
            code = verify_run(&verifying, path);
        else
            verify_name(&verifying, cli->arguments[i]);
        if (code > verifying.worst) verifying.worst = code;
        free(path);
    }
    int code = cli->json ? print_results(&verifying) : EXIT_FINE;
    json_drop(&verifying.results);
    json_drop(&verifying.passed_over);
    json_drop(&verifying.gone);
    return code ? code : verifying.worst;
}

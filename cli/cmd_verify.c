/* cairn verify: every byte against its digest, every damaged block by name. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli.h"

struct verifying {
    const struct cli *cli;
    json_t *results, *damages, *warnings; /* JSON only */
    int worst;                            /* exit code */
    struct progress progress;
};

static json_t *damage_json(const cairn_damage *damage)
{
    json_t *row = json_pack("{s:o, s:s, s:o}", "file", cli_json_text(damage->file), "code", cairn_code_name(damage->code), "message",
                            cli_json_text(damage->message));
    if (damage->tensor) json_object_set_new(row, "tensor", cli_json_text(damage->tensor));
    if (damage->block != CAIRN_NO_OFFSET)
        json_object_update_new(row, json_pack("{s:I, s:I, s:I}", "block", (json_int_t)damage->block, "offset", (json_int_t)damage->offset,
                                              "size_bytes", (json_int_t)damage->size_bytes));
    if (damage->shared_with) json_object_set_new(row, "shared_with", cli_json_text(damage->shared_with));
    return row;
}

static void tell_damage(void *user, const cairn_damage *damage)
{
    struct verifying *verifying = user;
    if (verifying->damages) {
        json_array_append_new(verifying->damages, damage_json(damage));
        return;
    }
    char *message = cli_safe(damage->message), *sharers = cli_safe(damage->shared_with ? damage->shared_with : "");
    progress_wipe(&verifying->progress);
    printf("  %s: %s\n", cairn_code_name(damage->code), message);
    if (damage->shared_with) printf("    the file is shared with %s\n", sharers);
    free(message);
    free(sharers);
}

static void tell_warning(void *user, const char *message)
{
    struct verifying *verifying = user;
    char *safe = cli_safe(message);
    if (verifying->warnings)
        json_array_append_new(verifying->warnings, json_string(safe));
    else {
        progress_wipe(&verifying->progress);
        printf("  warning: %s\n", safe);
    }
    free(safe);
}

static void tell_progress(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    struct verifying *verifying = user;
    progress_show(&verifying->progress, done_bytes, total_bytes);
}

/* What became of one name. */
struct verdict {
    const char *name;
    int code, exit_code;
    cairn_error err;
    cairn_verify_report report;
};

static void add_json(struct verifying *verifying, const struct verdict *verdict)
{
    json_t *row =
        json_pack("{s:o, s:b, s:s, s:I, s:b, s:o, s:o}", "name", cli_json_text(verdict->name), "ok", verdict->exit_code == EXIT_FINE,
                  "code", cairn_code_name(verdict->code), "checked_bytes", (json_int_t)verdict->report.checked_bytes, "digests_known",
                  verdict->report.digests_known, "damage", verifying->damages, "warnings", verifying->warnings);
    if (verdict->code && !verdict->report.findings) json_object_set_new(row, "message", cli_json_text(verdict->err.message));
    json_array_append_new(verifying->results, row);
}

static void print_verdict(const struct verifying *verifying, const struct verdict *verdict)
{
    const cairn_verify_report *report = &verdict->report;
    char bytes[32], *safe = cli_safe(verdict->name);
    if (verdict->code && !report->findings)
        cli_fail(verifying->cli, &verdict->err);
    else if (verdict->code)
        printf("%s: DAMAGED, %llu finding%s, %llu damaged block%s\n", safe, (unsigned long long)report->findings, cli_s(report->findings),
               (unsigned long long)report->damaged_blocks, cli_s(report->damaged_blocks));
    else if (verdict->exit_code)
        printf("%s: well formed, but with %llu warning%s (--strict)\n", safe, (unsigned long long)report->warnings,
               cli_s(report->warnings));
    else if (!report->digests_known)
        printf("%s: well formed (no digests: Cairn did not write it, so its content cannot be checked)\n", safe);
    else
        printf("%s: ok%s, %s checked\n", safe, verifying->cli->quick ? " (quick)" : "", cli_bytes(report->checked_bytes, bytes));
    free(safe);
}

static void verify_one(struct verifying *verifying, const char *store, const char *name)
{
    struct verdict verdict = { .name = name, .err = CAIRN_ERROR_INIT, .report = CAIRN_VERIFY_REPORT_INIT };
    cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
    options.quick = verifying->cli->quick;
    options.damage = tell_damage;
    options.progress = tell_progress;
    options.warning = tell_warning;
    options.user = verifying;
    progress_start(&verifying->progress, verifying->cli);
    verifying->damages = verifying->cli->json ? json_array() : NULL;
    verifying->warnings = verifying->cli->json ? json_array() : NULL;
    verdict.code = cairn_verify(store, name, &options, &verdict.report, &verdict.err);
    progress_wipe(&verifying->progress);
    verdict.exit_code = verdict.code                                        ? cli_exit_code(verdict.code)
                        : verdict.report.warnings && verifying->cli->strict ? EXIT_NO
                                                                            : EXIT_FINE;
    if (verdict.exit_code > verifying->worst) verifying->worst = verdict.exit_code;
    if (verifying->cli->json)
        add_json(verifying, &verdict);
    else
        print_verdict(verifying, &verdict);
}

/* Removed since it was listed: nothing is wrong with a run that is pruned meanwhile. */
static bool is_gone(const char *path)
{
    struct stat info;
    return stat(path, &info) && errno == ENOENT;
}

static int verify_run(struct verifying *verifying, const char *path)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_listing *listing;
    if (cairn_listing_open(path, &listing, &err)) return cli_fail(verifying->cli, &err);
    size_t looked_at = 0;
    for (size_t i = 0; i < cairn_listing_count(listing); i++) {
        const cairn_entry *entry = cairn_listing_entry(listing, i);
        char *below;
        if (entry->standing == CAIRN_FOREIGN_FOLDER) continue;
        looked_at++;
        if (asprintf(&below, "%s/%s", path, entry->name) < 0) abort();
        if (!is_gone(below)) verify_one(verifying, NULL, below);
        free(below);
    }
    cairn_listing_close(listing);
    char *safe = cli_safe(path);
    if (!looked_at && !verifying->cli->json) printf("%s: no checkpoints yet\n", safe);
    free(safe);
    return EXIT_FINE;
}

int cmd_verify(const struct cli *cli)
{
    struct stat info;
    if (!cli->arguments_count) return cli_usage(cli, "give a checkpoint, a run or a file");
    struct verifying verifying = { .cli = cli, .results = cli->json ? json_array() : NULL };
    for (int i = 0; i < cli->arguments_count; i++) {
        char *path = cli_path(cli, cli->arguments[i]), *marker;
        if (asprintf(&marker, "%s/run.json", path) < 0) abort();
        bool is_run = !stat(marker, &info);
        int code = is_run ? verify_run(&verifying, path) : EXIT_FINE;
        if (!is_run) verify_one(&verifying, cli->store, cli->arguments[i]);
        if (code > verifying.worst) verifying.worst = code;
        free(marker);
        free(path);
    }
    if (!cli->json) return verifying.worst;
    int code = cli_print_json(json_pack("{s:i, s:b, s:o}", "version", 1, "ok", verifying.worst == 0, "results", verifying.results));
    return code ? code : verifying.worst;
}

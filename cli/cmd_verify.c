/* cairn verify: every byte against its digest, every damaged block by name. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

struct verifying {
    const struct cli *cli;
    const char *name;
    json_t *results, *damages, *warnings; /* JSON only */
    int worst;                            /* exit code */
    struct progress progress;
};

static void tell_damage(void *user, const cairn_damage *damage)
{
    struct verifying *verifying = user;
    if (verifying->damages) {
        json_t *row = json_pack("{s:o, s:s, s:o}", "file", cli_json_text(damage->file), "code", cairn_code_name(damage->code), "message",
                                cli_json_text(damage->message));
        if (damage->tensor) json_object_set_new(row, "tensor", cli_json_text(damage->tensor));
        if (damage->block != CAIRN_NO_OFFSET)
            json_object_update_new(row, json_pack("{s:I, s:I, s:I}", "block", (json_int_t)damage->block, "offset",
                                                  (json_int_t)damage->offset, "size_bytes", (json_int_t)damage->size_bytes));
        if (damage->shared_with) json_object_set_new(row, "shared_with", cli_json_text(damage->shared_with));
        json_array_append_new(verifying->damages, row);
        return;
    }
    char *message = cli_safe(damage->message);
    progress_wipe(&verifying->progress);
    printf("  %s: %s\n", cairn_code_name(damage->code), message);
    if (damage->shared_with) printf("    the file is shared with %s\n", damage->shared_with);
    free(message);
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

static void verify_one(struct verifying *verifying, const char *name)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
    cairn_verify_report report = CAIRN_VERIFY_REPORT_INIT;
    char bytes[32], *safe = cli_safe(name);
    options.quick = verifying->cli->quick;
    options.damage = tell_damage;
    options.progress = tell_progress;
    options.warning = tell_warning;
    options.user = verifying;
    progress_start(&verifying->progress, verifying->cli);
    verifying->damages = verifying->cli->json ? json_array() : NULL;
    verifying->warnings = verifying->cli->json ? json_array() : NULL;
    int code = cairn_verify(verifying->cli->store, name, &options, &report, &err);
    bool too_odd = !code && report.warnings && verifying->cli->strict;
    int exit_code = too_odd ? EXIT_NO : cli_exit_code(code);
    if (exit_code > verifying->worst) verifying->worst = exit_code;
    progress_wipe(&verifying->progress);
    if (verifying->cli->json) {
        json_t *row = json_pack("{s:o, s:b, s:s, s:I, s:b, s:o, s:o}", "name", cli_json_text(name), "ok", exit_code == EXIT_FINE, "code",
                                cairn_code_name(code), "checked_bytes", (json_int_t)report.checked_bytes, "digests_known",
                                report.digests_known, "damage", verifying->damages, "warnings", verifying->warnings);
        if (code && !report.findings) json_object_set_new(row, "message", cli_json_text(err.message));
        json_array_append_new(verifying->results, row);
    } else if (code && !report.findings)
        cli_fail(verifying->cli, &err);
    else if (code)
        printf("%s: DAMAGED, %llu findings, %llu damaged blocks\n", safe, (unsigned long long)report.findings,
               (unsigned long long)report.damaged_blocks);
    else if (too_odd)
        printf("%s: well formed, but with %llu warnings (--strict)\n", safe, (unsigned long long)report.warnings);
    else if (!report.digests_known)
        printf("%s: well formed (no digests: Cairn did not write it, so its content cannot be checked)\n", safe);
    else
        printf("%s: ok%s, %s checked\n", safe, verifying->cli->quick ? " (quick)" : "", cli_bytes(report.checked_bytes, bytes));
    free(safe);
}

static int verify_run(struct verifying *verifying, const char *path)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_listing *listing;
    if (cairn_listing_open(path, &listing, &err)) return cli_fail(verifying->cli, &err);
    struct cli plain = *verifying->cli;
    plain.store = NULL; /* path has it */
    verifying->cli = &plain;
    for (size_t i = 0; i < cairn_listing_count(listing); i++) {
        const cairn_entry *entry = cairn_listing_entry(listing, i);
        char *below;
        if (entry->standing == CAIRN_FOREIGN_FOLDER) continue;
        if (asprintf(&below, "%s/%s", path, entry->name) < 0) abort();
        verify_one(verifying, below);
        free(below);
    }
    cairn_listing_close(listing);
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
        verifying.cli = cli;
        if (!is_run) verify_one(&verifying, cli->arguments[i]);
        if (code > verifying.worst) verifying.worst = code;
        free(marker);
        free(path);
    }
    if (!cli->json) return verifying.worst;
    int code = cli_print_json(json_pack("{s:i, s:b, s:o}", "version", 1, "ok", verifying.worst == 0, "results", verifying.results));
    return code ? code : verifying.worst;
}

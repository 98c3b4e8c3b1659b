/* The public calls that mark, drop and remove. */
#include "api/structs.h"
#include "manager/upkeep.h"

int cairn_mark(const char *store, const char *name, const cairn_mark_options *options, cairn_error *err)
{
    if (!name || !*name || !options) return cn_error_set(err, CAIRN_E_USAGE, "cairn_mark: name and options must be given");
    int code = cn_check_struct(options, CAIRN_MARK_OPTIONS_INIT, err);
    return code ? code : cn_upkeep_mark(store, name, options, err);
}

int cairn_drop_item(const char *store, const char *name, const char *item, cairn_error *err)
{
    if (!name || !*name || !item || !*item) return cn_error_set(err, CAIRN_E_USAGE, "cairn_drop_item: name and item must be given");
    return cn_upkeep_drop(store, name, item, err);
}

int cairn_remove(const char *store, const char *name, cairn_error *err)
{
    if (!name || !*name) return cn_error_set(err, CAIRN_E_USAGE, "cairn_remove: name must be given");
    return cn_upkeep_remove(store, name, err);
}

const char *cairn_kept_name(uint32_t reason)
{
    static const char *const names[] = { "newest",    "head", "whole",     "last",   "uncounted",
                                         "unhealthy", "best", "best-link", "pinned", "tagged" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (reason == 1u << i) return names[i];
    return "?";
}

int cairn_keep(const char *run_path, const cairn_keep_options *options, cairn_keep_report *ret_report, cairn_error *err)
{
    if (!run_path || !*run_path || !options) return cn_error_set(err, CAIRN_E_USAGE, "cairn_keep: run_path and options must be given");
    int code = cn_check_struct(options, CAIRN_KEEP_OPTIONS_INIT, err);
    if (!code) code = cn_check_struct(ret_report, CAIRN_KEEP_REPORT_INIT, err);
    if (code) return code;
    if (!options->last && !options->best) return cn_error_set(err, CAIRN_E_USAGE, "keep options: last or best must be at least 1");
    if (options->best && (!options->metric || !*options->metric))
        return cn_error_set(err, CAIRN_E_USAGE, "keep options: best wants a metric");
    return cn_upkeep_keep(run_path, options, ret_report, err);
}

/* The public calls that mark, drop and remove. */
#include "manager/upkeep.h"

int cairn_mark(const char *store, const char *name, const cairn_mark_options *options, cairn_error *err)
{
    if (!name || !*name || !options) return cn_error_set(err, CAIRN_E_USAGE, "cairn_mark: name and options must be given");
    if (options->struct_size < sizeof *options)
        return cn_error_set(err, CAIRN_E_USAGE, "mark options: struct_size is not set; start from CAIRN_MARK_OPTIONS_INIT");
    return cn_upkeep_mark(store, name, options, err);
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

int cairn_keep(const char *run_path, const cairn_keep_options *options, cairn_keep_report *ret_report, cairn_error *err)
{
    if (!run_path || !*run_path || !options) return cn_error_set(err, CAIRN_E_USAGE, "cairn_keep: run_path and options must be given");
    if (options->struct_size < sizeof *options)
        return cn_error_set(err, CAIRN_E_USAGE, "keep options: struct_size is not set; start from CAIRN_KEEP_OPTIONS_INIT");
    if (!options->last) return cn_error_set(err, CAIRN_E_USAGE, "keep options: last must be at least 1");
    return cn_upkeep_keep(run_path, options, ret_report, err);
}

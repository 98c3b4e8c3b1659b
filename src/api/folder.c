/* The public calls on single folders and on following a run. */
#include "api/structs.h"
#include "manager/folder.h"
#include "manager/follow.h"

int cairn_save_folder(const char *path, cairn_state *state, const cairn_folder_options *options, cairn_save_report *ret_report,
                      cairn_error *err)
{
    static const cairn_folder_options defaults = CAIRN_FOLDER_OPTIONS_INIT;
    if (!path || !*path || !state) return cn_error_set(err, CAIRN_E_USAGE, "cairn_save_folder: path and state must be given");
    if (!options) options = &defaults;
    int code = cn_check_struct(options, CAIRN_FOLDER_OPTIONS_INIT, err);
    if (!code) code = cn_check_struct(ret_report, CAIRN_SAVE_REPORT_INIT, err);
    return code ? code : cn_folder_save(path, state, options, ret_report, err);
}

int cairn_load(const char *store, const char *name, cairn_state *state, const cairn_restore_options *options,
               cairn_restore_report *ret_report, cairn_error *err)
{
    static const cairn_restore_options defaults = CAIRN_RESTORE_OPTIONS_INIT;
    if (!options) options = &defaults;
    int code = cn_check_struct(options, CAIRN_RESTORE_OPTIONS_INIT, err);
    if (!code && (!name || !*name || (!state && !options->state_for)))
        code = cn_error_set(err, CAIRN_E_USAGE, "cairn_load: name and state must be given");
    if (!code) code = cn_check_struct(ret_report, CAIRN_RESTORE_REPORT_INIT, err);
    return code ? code : cn_folder_load(store, name, state, options, ret_report, err);
}

int cairn_wait_for_new(const char *run_path, cairn_position *position, uint64_t timeout_ms, cairn_checkpoint **ret_checkpoint,
                       cairn_error *err)
{
    if (!run_path || !*run_path || !position || !ret_checkpoint)
        return cn_error_set(err, CAIRN_E_USAGE, "cairn_wait_for_new: run_path, position and ret_checkpoint must be given");
    return cn_follow_next(run_path, position, timeout_ms, ret_checkpoint, err);
}

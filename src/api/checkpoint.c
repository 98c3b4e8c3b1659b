/* The public calls on checkpoints by name: opening and verifying. */
#include "api/structs.h"
#include "manager/resolve.h"
#include "manager/verify_named.h"

int cairn_checkpoint_open(const char *store, const char *name, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    if (!name || !*name || !ret_checkpoint)
        return cn_error_set(err, CAIRN_E_USAGE, "cairn_checkpoint_open: name and ret_checkpoint must be given");
    return cn_resolve_open(store, name, NULL, ret_checkpoint, err);
}

int cairn_verify(const char *store, const char *name, const cairn_verify_options *options, cairn_verify_report *ret_report,
                 cairn_error *err)
{
    static const cairn_verify_options defaults = CAIRN_VERIFY_OPTIONS_INIT;
    if (!name || !*name) return cn_error_set(err, CAIRN_E_USAGE, "cairn_verify: name must be given");
    if (!options) options = &defaults;
    int code = cn_check_struct(options, CAIRN_VERIFY_OPTIONS_INIT, err);
    if (!code) code = cn_check_struct(ret_report, CAIRN_VERIFY_REPORT_INIT, err);
    return code ? code : cn_verify_named(store, name, options, ret_report, err);
}

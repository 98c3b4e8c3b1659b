/* The public call that tries out a place. */
#include "api/structs.h"
#include "manager/probe.h"

int cairn_probe(const char *dir_path, cairn_probe_report *ret_report, cairn_error *err)
{
    if (!dir_path || !*dir_path || !ret_report)
        return cn_error_set(err, CAIRN_E_USAGE, "cairn_probe: dir_path and ret_report must be given");
    int code = cn_check_struct(ret_report, CAIRN_PROBE_REPORT_INIT, err);
    return code ? code : cn_probe(dir_path, ret_report, err);
}

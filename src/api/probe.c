/* The public call that tries out a place. */
#include "manager/probe.h"

int cairn_probe(const char *dir_path, cairn_probe_report *ret_report, cairn_error *err)
{
    if (!dir_path || !*dir_path || !ret_report)
        return cn_error_set(err, CAIRN_E_USAGE, "cairn_probe: dir_path and ret_report must be given");
    if (ret_report->struct_size < sizeof *ret_report)
        return cn_error_set(err, CAIRN_E_USAGE, "probe report: struct_size is not set; start from CAIRN_PROBE_REPORT_INIT");
    return cn_probe(dir_path, ret_report, err);
}

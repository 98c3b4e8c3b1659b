/* What ls and show say alike of a checkpoint. */
#include "cli.h"

void entry_json(struct json *json, const cairn_entry *entry)
{
    char time[32];
    json_text(json, "id", entry->id);
    json_count(json, "step", entry->step);
    json_count(json, "term", entry->term);
    json_text(json, "time", cli_time(entry->time_ns, time));
    json_number(json, "epoch", entry->epoch);
    json_truth(json, "healthy", entry->healthy);
    json_truth(json, "exact", entry->exact);
}

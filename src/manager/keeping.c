/* Facts for what stays (see keeping.h). Nothing is decided here, and nothing is removed. */
#include "manager/keeping.h"

#include <math.h>
#include <string.h>

#include "os/os.h"
#include "store/check.h"

struct look {
    const struct cn_rundir *run;
    const struct cn_catalog *catalog;
};

/* One that was renamed or removed since the listing is not there to be resumed from either. */
static bool is_whole(void *user, uint64_t index)
{
    const struct look *look = user;
    const struct cn_catalog_entry *entry = &look->catalog->entries[index];
    cn_auto_close cn_file dir = CN_NO_FILE;
    return !cn_os_open_dir(look->run->dir, entry->name, &dir) && !cn_check_quick(dir, &entry->manifest, NULL, NULL, NULL);
}

bool cn_keeping_find_metric(const struct cn_manifest *manifest, const char *name, double *ret_value)
{
    for (uint64_t i = 0; i < manifest->metrics_count; i++) {
        double value = manifest->metrics[i].value;
        if (strcmp(manifest->metrics[i].name, name) || isnan(value)) continue;
        *ret_value = value;
        return true;
    }
    return false;
}

static struct cn_keep_entry facts_of(const struct cn_keeping *keeping, const struct cn_catalog_entry *entry)
{
    const struct cn_manifest *manifest = &entry->manifest;
    struct cn_keep_entry facts = { .is_current = entry->standing == CAIRN_CURRENT,
                                   .is_healthy = manifest->healthy,
                                   .is_exact = manifest->exact,
                                   .is_complete = !manifest->dropped_count,
                                   .reasons = entry->kept };
    if (keeping->metric) facts.has_metric = cn_keeping_find_metric(manifest, keeping->metric, &facts.metric);
    for (uint64_t i = 0; i < keeping->ids_count; i++)
        if (!strcmp(keeping->ids[i], manifest->id)) facts.reasons |= CN_KEPT_IN_USE;
    return facts;
}

static int check_metric(const struct cn_keeping *keeping, const struct cn_rundir *run, const struct cn_keep_run *facts, cairn_error *err)
{
    struct cn_shown shown;
    if (!keeping->rules.best || !keeping->metric_must_be_known) return CAIRN_OK;
    for (uint64_t i = 0; i < facts->count; i++)
        if (facts->entries[i].has_metric) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_NOTFOUND, "%s: no checkpoint reports the metric '%s', so none is the best: nothing is removed",
                        run->path, cn_show_text(&shown, keeping->metric ? keeping->metric : ""));
}

int cn_keeping_decide(void *user, const struct cn_rundir *run, struct cn_catalog *catalog, cairn_error *err)
{
    const struct cn_keeping *keeping = user;
    struct look look = { run, catalog };
    struct cn_keep_run facts = { .entries = cn_pool_take_array(&catalog->pool, catalog->readable, sizeof *facts.entries),
                                 .count = catalog->readable,
                                 .is_whole = is_whole,
                                 .user = &look };
    if (!facts.entries) return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory to decide what stays", run->path);
    for (uint64_t i = 0; i < facts.count; i++) facts.entries[i] = facts_of(keeping, &catalog->entries[i]);
    int code = check_metric(keeping, run, &facts, err);
    if (code) return code;
    cn_keep_decide(&keeping->rules, &facts);
    for (uint64_t i = 0; i < facts.count; i++) catalog->entries[i].kept = facts.entries[i].reasons;
    return CAIRN_OK;
}

/* What the caller asked of a save, checked and copied: the call may return while the job still needs it. */
#ifndef CN_MANAGER_REQUEST_H
#define CN_MANAGER_REQUEST_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"

struct cn_origin;

struct cn_request_file {
    const char *name;
    const void *data;
    size_t size;
};

struct cn_request {
    struct cn_pool pool; /* of everything below */
    uint64_t step;
    double epoch;
    bool exact;
    cairn_metric *metrics;
    const char **tags;
    struct cn_request_file *files;
    uint64_t metrics_count, tags_count, files_count;
    struct cn_buf provenance;
};

int cn_request_check(const cairn_save_options *options, cairn_error *err); /* USAGE, LIMIT, PATH: looks at no file */
/* Attached files are read now. */
int cn_request_make(const cairn_save_options *options, const struct cn_origin *origin, struct cn_request *ret_request, cairn_error *err);
void cn_request_free(struct cn_request *request); /* takes a zeroed one */

#endif

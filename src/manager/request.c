/* A save's request (see request.h). */
#include "manager/request.h"

#include <string.h>

#include "base/hash.h"
#include "base/limits.h"
#include "os/os.h"
#include "snapshot/provenance.h"
#include "store/layout.h"
#include "store/smallfile.h"

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory for what a save was asked to keep");
}

/* ------------------------------------------------------------------------------------------------------------- checking */

static int check_metrics(const cairn_save_options *options, cairn_error *err)
{
    if (options->metrics_count > CN_MAX_METRICS) return cn_error_set(err, CAIRN_E_LIMIT, "at most %d metrics", CN_MAX_METRICS);
    for (size_t i = 0; i < options->metrics_count; i++) {
        int code = cn_layout_check_metric(options->metrics[i].name, err);
        if (code) return code;
        for (size_t k = 0; k < i; k++) {
            struct cn_shown shown;
            if (!strcmp(options->metrics[k].name, options->metrics[i].name))
                return cn_error_set(err, CAIRN_E_USAGE, "metric \"%s\" is given twice", cn_show_text(&shown, options->metrics[i].name));
        }
    }
    return CAIRN_OK;
}

/* What the names seen so far take: each as a file, and the folders that they lie in. */
struct taken {
    struct cn_hash files, folders;
};

static int no_memory_to_check(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory to check the attached files");
}

static int both(const char *name, size_t size, cairn_error *err)
{
    struct cn_shown shown;
    return cn_error_set(err, CAIRN_E_USAGE, "attached file \"%s\" is the folder of another one, too", cn_show(&shown, name, size));
}

static int take_name(struct taken *taken, const char *name, cairn_error *err)
{
    struct cn_shown shown;
    uint64_t unused;
    size_t size = strlen(name);
    int added = cn_hash_add(&taken->files, name, size, 0, NULL);
    if (added == 1) return cn_error_set(err, CAIRN_E_USAGE, "attached file \"%s\" is given twice", cn_show_text(&shown, name));
    if (added) return no_memory_to_check(err);
    if (cn_hash_find(&taken->folders, name, size, &unused)) return both(name, size, err);
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t folder = (size_t)(slash - name);
        if (cn_hash_find(&taken->files, name, folder, &unused)) return both(name, folder, err);
        if (cn_hash_add(&taken->folders, name, folder, 0, NULL) < 0) return no_memory_to_check(err);
    }
    return CAIRN_OK;
}

static int check_attachment(const cairn_attachment *attachment, struct taken *taken, cairn_error *err)
{
    struct cn_shown shown;
    if (!attachment->name) return cn_error_set(err, CAIRN_E_USAGE, "an attached file needs a name");
    int code = cn_layout_check_attachment(attachment->name, err);
    if (code) return code;
    if (!attachment->path && attachment->size_bytes && !attachment->data)
        return cn_error_set(err, CAIRN_E_USAGE, "attached file \"%s\": give a path or data", cn_show_text(&shown, attachment->name));
    return take_name(taken, attachment->name, err);
}

static int check_attachments(const cairn_save_options *options, cairn_error *err)
{
    struct taken taken;
    int code = CAIRN_OK;
    if (options->attachments_count > CN_MAX_FILES) return cn_error_set(err, CAIRN_E_LIMIT, "at most %d attached files", CN_MAX_FILES);
    cn_hash_init(&taken.files, cn_os_alloc(), 0);
    cn_hash_init(&taken.folders, cn_os_alloc(), 0);
    for (size_t i = 0; i < options->attachments_count && !code; i++) code = check_attachment(&options->attachments[i], &taken, err);
    cn_hash_done(&taken.files);
    cn_hash_done(&taken.folders);
    return code;
}

int cn_request_check(const cairn_save_options *options, cairn_error *err)
{
    if (options->step > CN_MAX_STEP)
        return cn_error_set(err, CAIRN_E_USAGE, "step %llu: steps are below 2^63", (unsigned long long)options->step);
    if ((options->metrics_count && !options->metrics) || (options->tags_count && !options->tags) ||
        (options->attachments_count && !options->attachments))
        return cn_error_set(err, CAIRN_E_USAGE, "save options: a count without its list");
    if ((unsigned)options->mode > CAIRN_SAVE_LAZY) return cn_error_set(err, CAIRN_E_USAGE, "save mode: %d is none", (int)options->mode);
    if ((unsigned)options->if_running > CAIRN_IF_RUNNING_ERROR)
        return cn_error_set(err, CAIRN_E_USAGE, "if_running: %d is none", (int)options->if_running);
    if (options->tags_count > CN_MAX_TAGS) return cn_error_set(err, CAIRN_E_LIMIT, "at most %d tags", CN_MAX_TAGS);
    int code = CAIRN_OK;
    for (size_t i = 0; i < options->tags_count && !code; i++) code = cn_layout_check_tag(options->tags[i], err);
    if (!code) code = check_metrics(options, err);
    return code ? code : check_attachments(options, err);
}

/* -------------------------------------------------------------------------------------------------------------- copying */

static int copy_lists(const cairn_save_options *options, struct cn_request *request, cairn_error *err)
{
    request->metrics = cn_pool_take_array(&request->pool, options->metrics_count, sizeof *request->metrics);
    request->tags = cn_pool_take_array(&request->pool, options->tags_count, sizeof *request->tags);
    if (!request->metrics || !request->tags) return no_memory(err);
    for (size_t i = 0; i < options->metrics_count; i++) {
        request->metrics[i] = (cairn_metric){ cn_pool_text(&request->pool, options->metrics[i].name), options->metrics[i].value };
        if (!request->metrics[i].name) return no_memory(err);
    }
    for (size_t i = 0; i < options->tags_count; i++)
        if (!(request->tags[i] = cn_pool_text(&request->pool, options->tags[i]))) return no_memory(err);
    request->metrics_count = options->metrics_count;
    request->tags_count = options->tags_count;
    return CAIRN_OK;
}

static int take_file(const cairn_attachment *attachment, struct cn_request *request, cairn_error *err)
{
    struct cn_request_file *file = &request->files[request->files_count];
    struct cn_shown shown;
    cn_auto_free char *loaded = NULL;
    size_t size = attachment->size_bytes;
    if (attachment->path) {
        int code = cn_smallfile_load_path(attachment->path, CN_MAX_ATTACHED_BYTES, &loaded, &size, err);
        if (code) return cn_error_prefix(err, code, "attached file \"%s\"", cn_show_text(&shown, attachment->name));
    }
    const void *data = attachment->path ? loaded : attachment->data;
    *file = (struct cn_request_file){ cn_pool_text(&request->pool, attachment->name), cn_pool_copy(&request->pool, data, size), size };
    if (!file->name || !file->data) return no_memory(err);
    request->files_count++;
    return CAIRN_OK;
}

int cn_request_make(const cairn_save_options *options, const struct cn_origin *origin, struct cn_request *ret_request, cairn_error *err)
{
    struct cn_request request = { .step = options->step, .epoch = options->epoch, .exact = !options->inexact };
    cn_pool_init(&request.pool, cn_os_alloc(), UINT64_MAX);
    cn_buf_init(&request.provenance, cn_os_alloc(), CN_MAX_PROVENANCE_BYTES);
    request.files = cn_pool_take_array(&request.pool, options->attachments_count, sizeof *request.files);
    int code = request.files ? copy_lists(options, &request, err) : no_memory(err);
    for (size_t i = 0; i < options->attachments_count && !code; i++) code = take_file(&options->attachments[i], &request, err);
    if (!code) code = cn_provenance_write(origin, options->config, &request.provenance, err);
    if (code)
        cn_request_free(&request);
    else
        *ret_request = request;
    return code;
}

void cn_request_free(struct cn_request *request)
{
    if (request->provenance.alloc) cn_buf_done(&request->provenance);
    if (request->pool.alloc) cn_pool_done(&request->pool);
    *request = (struct cn_request){ 0 };
}

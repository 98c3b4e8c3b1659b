/* A run's folder and checkpoints that hold nothing but a manifest: for tests of the store alone. */
#ifndef TESTS_STOREFIX_H
#define TESTS_STOREFIX_H

#include "support.h"

#include "os/os.h"
#include "store/commit.h"
#include "store/retire.h"
#include "store/rundir.h"
#include "store/term.h"

struct writer {
    struct cn_rundir run;
    char uuid[CN_ID_BYTES];
    uint64_t term;
    struct cn_lineage lineage[16];
    uint64_t lineage_count;
};

static inline void writer_open(struct writer *writer, const char *path, cairn_error *err)
{
    struct cn_digest id;
    memset(writer, 0, sizeof *writer);
    if (cn_rundir_open(path, &writer->run, err)) fail_msg("%s", err->message);
    cn_os_random(id.bytes, sizeof id.bytes);
    cn_digest_hex(&id, writer->uuid);
    if (cn_term_take(&writer->run, writer->uuid, &writer->term, err)) fail_msg("%s", err->message);
}

/* A manifest of this writer; tag may be NULL. */
static inline struct cn_manifest writer_manifest(const struct writer *writer, uint64_t step, const char *const *tag)
{
    struct cn_manifest manifest = { .term = writer->term,
                                    .step = step,
                                    .healthy = 1,
                                    .exact = 1,
                                    .lineage = writer->lineage,
                                    .lineage_count = writer->lineage_count,
                                    .tags = tag,
                                    .tags_count = tag != NULL };
    struct cn_digest id;
    cn_os_random(id.bytes, sizeof id.bytes);
    cn_digest_hex(&id, manifest.id);
    memcpy(manifest.run_id, writer->run.id, CN_ID_BYTES);
    return manifest;
}

static inline int writer_commit(struct writer *writer, const struct cn_manifest *manifest, cairn_error *err)
{
    struct cn_staging staging = { .dir = CN_NO_FILE, .training = CN_NO_FILE };
    struct cn_commit commit = { .manifest = manifest, .uuid = writer->uuid };
    int code = cn_staging_begin(&writer->run, writer->term, &staging, err);
    if (!code) code = cn_staging_commit(&staging, &commit, err);
    cn_staging_abandon(&staging);
    return code;
}

static inline int writer_save(struct writer *writer, uint64_t step, cairn_error *err)
{
    struct cn_manifest manifest = writer_manifest(writer, step, NULL);
    return writer_commit(writer, &manifest, err);
}

/* Goes back to step of the writer's own term, under a new one. */
static inline void writer_go_back(struct writer *writer, uint64_t step, cairn_error *err)
{
    writer->lineage[writer->lineage_count++] = (struct cn_lineage){ writer->term, step };
    if (cn_term_take(&writer->run, writer->uuid, &writer->term, err)) fail_msg("%s", err->message);
}

#endif

/* An open checkpoint: its manifest, its table, its files, held by a reader's lease. Also the view of what others wrote: one .safetensors
 * file, or a sharded folder. Opening reads no tensor data. Reading checks every block it touches where digests are known. */
#ifndef CN_SNAPSHOT_CHECKPOINT_H
#define CN_SNAPSHOT_CHECKPOINT_H

#include "base/hash.h"
#include "base/quota.h"
#include "io/infile.h"
#include "snapshot/table.h"
#include "store/catalog.h"
#include "store/held.h"

struct cairn_checkpoint {
    struct cn_quota quota; /* of the pool, the index and what parsing needs: what an untrusted file may cost */
    struct cn_pool pool;   /* everything below that is not a descriptor */
    cairn_source source;
    const char *path;    /* for messages */
    struct cn_held held; /* CHECKPOINT only */
    cn_file dir;         /* of the files; CHECKPOINT: same as held.dir */
    struct cn_manifest manifest;
    struct cn_table table;     /* of foreign sources too: blocks NULL, digests unknown */
    struct cn_table_row *rows; /* of foreign sources: table.rows, owned; else NULL */
    uint64_t claimed_bytes;    /* of all tensors, by the Hub's index; 0: it does not say */
    struct cn_infile *files;   /* per table file: opened at open */
    struct cn_mapping *maps;   /* per table file, made on demand under lock */
    struct cn_mutex *lock;
    struct cn_hash index; /* "item\0name" -> row */
    /* the public faces */
    cairn_checkpoint_info info;
    cairn_tensor_info *tensors; /* one per row */
    cairn_file_info *file_infos;
    cairn_value *values; /* owned; may be NULL */
    char *provenance;    /* cn_os_free; may be NULL */
};

/* A committed checkpoint, by name under an open folder. path is for messages and info. mode: how data will be read. */
int cn_checkpoint_open_at(cn_file parent, const char *name, const char *path, cairn_io_mode mode, cairn_checkpoint **ret_checkpoint,
                          cairn_error *err);
/* Any path: a checkpoint folder, a .safetensors file, a sharded or single-file folder of the Hub. NOTFOUND, UNSUPPORTED; GONE:
 * a checkpoint that was removed meanwhile. */
int cn_checkpoint_open_path(const char *path, cairn_io_mode mode, cairn_checkpoint **ret_checkpoint, cairn_error *err);
void cn_checkpoint_close(cairn_checkpoint *checkpoint);
/* NULL: there is none. */
const struct cn_table_row *cn_checkpoint_row(const cairn_checkpoint *checkpoint, const char *item, const char *name);
/* "tensor 'model:wte', block 3 (bytes 12582912-16777215 of model.safetensors)": the sentence that every digest error uses. CORRUPT. */
int cn_checkpoint_damaged_block(const cairn_checkpoint *checkpoint, const struct cn_table_row *row, uint64_t block, cairn_error *err);

#endif

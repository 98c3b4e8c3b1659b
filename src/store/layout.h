/* Names on disk, in one place (docs/FORMAT.md, "Layout"): what our files and folders are called, and which names others may use. */
#ifndef CN_STORE_LAYOUT_H
#define CN_STORE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CN_FORMAT_VERSION 1 /* of run.json and manifest.json; a higher one is E_VERSION */

#define CN_NAME_RUN "run.json"
#define CN_NAME_MANIFEST "manifest.json"
#define CN_NAME_RETIRED "retired.json" /* a manifest that was retired in place: no checkpoint any more */
#define CN_NAME_MARKS "marks."         /* then a number and ".json" */
#define CN_NAME_TRAINING "training"
#define CN_NAME_STATE "training/state.json"
#define CN_NAME_TENSORS "training/tensors.json"
#define CN_NAME_PROVENANCE "training/provenance.json"
#define CN_NAME_PRIVATE ".cairn"
#define CN_NAME_LOCK "lock"
#define CN_NAME_RETIRE_LOCK "retire.lock"
#define CN_NAME_TERMS "terms"
#define CN_NAME_STAGING "staging"
#define CN_NAME_TRASH "trash"
#define CN_PREFIX_TEMPORARY ".tmp-" /* in .cairn and in terms/: a name that is being made */
#define CN_NAME_LATEST "latest"
#define CN_NAME_BEST "best"
#define CN_ITEM_MODEL "model"

enum { CN_FOLDER_NAME_BYTES = 64 };

/* "checkpoint-1200" (*ret_term 0) or "checkpoint-1000~2"; canonical decimals only. */
bool cn_layout_parse_folder(const char *name, uint64_t *ret_step, uint64_t *ret_term);
void cn_layout_folder(uint64_t step, uint64_t term, char ret_name[CN_FOLDER_NAME_BYTES]); /* term 0: without ~T */
/* The name says another step than the manifest: *ret_text for people. Names are hints, and nothing rests on them; but who reads one believes it. */
enum { CN_ODD_NAME_BYTES = 80 };
bool cn_layout_name_is_odd(const char *name, uint64_t step, char ret_text[CN_ODD_NAME_BYTES]);
/* Has the form checkpoint-<anything>: what other trainers write, too. */
bool cn_layout_looks_like_checkpoint(const char *name);

int cn_layout_check_run(const char *path, cairn_error *err);    /* USAGE: the last part of a new run's path means something else */
int cn_layout_check_item(const char *item, cairn_error *err);   /* USAGE */
int cn_layout_check_tag(const char *tag, cairn_error *err);     /* USAGE: could be taken for a step or a selector, or is not plain text */
int cn_layout_check_metric(const char *name, cairn_error *err); /* USAGE */
int cn_layout_check_attachment(const char *name, cairn_error *err); /* PATH: absolute, "..", not plain, or a name of ours */
/* A file name from a manifest: relative, at most CN_MAX_FOLDER_DEPTH folders deep, plain parts: PATH otherwise. */
int cn_layout_check_file(const char *name, size_t size, cairn_error *err);
/* "model.safetensors", "training/optimizer-00002-of-00003.safetensors"; shards 1: without numbers. index 1-based. */
int cn_layout_data_file(const char *item, const char *stem, uint32_t index, uint32_t shards, char *ret_name, size_t size);
int cn_layout_index_file(const char *item, const char *stem, char *ret_name, size_t size); /* "model.safetensors.index.json" */

#endif

/* Steps of opening that checkpoints of ours and files of others share. Only for checkpoint_open.c, checkpoint_foreign.c and the listing. */
#ifndef CN_SNAPSHOT_CHECKPOINT_PARTS_H
#define CN_SNAPSHOT_CHECKPOINT_PARTS_H

#include "snapshot/checkpoint.h"

int cn_checkpoint_new(const char *path, cairn_checkpoint **ret_checkpoint, cairn_error *err); /* close it with cn_checkpoint_close */
int cn_checkpoint_take_files(cairn_checkpoint *checkpoint, cairn_error *err);                 /* room for table.files, all closed yet */
int cn_checkpoint_index(cairn_checkpoint *checkpoint, cairn_error *err);                      /* all rows by name, anew */
int cn_checkpoint_fill_tensors(cairn_checkpoint *checkpoint, cairn_error *err);               /* public infos */
void cn_checkpoint_fill_entry(const struct cn_manifest *manifest, cairn_entry *entry); /* what a manifest says; names stay the caller's */

/* The header of every data file against the table. Rows and headers that are handed out afterwards agree. */
int cn_checkpoint_check_headers(const cairn_checkpoint *checkpoint, cairn_error *err);
/* Of a dropped item: listed in tensors.json, no longer in the manifest. */
bool cn_checkpoint_file_is_gone(const cairn_checkpoint *checkpoint, uint32_t file);

#endif

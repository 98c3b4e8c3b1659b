/* A checkpoint held open, so that it stays while somebody looks at it. */
#ifndef CN_STORE_HELD_H
#define CN_STORE_HELD_H

#include "os/os.h"
#include "store/manifest.h"

/* Opens a checkpoint folder by name under parent, takes the reader's lease on its manifest (goes on without where locks are refused; waits a moment
 * for who holds it alone), reads the manifest through the folder's descriptor and looks again that the name still leads there: GONE if it does
 * not. */
struct cn_held {
    cn_file dir, manifest_file; /* the lease is on manifest_file */
    bool leased;
    uint64_t process; /* that took the lease: a forked child's copy must not give it up */
};
int cn_held_open(cn_file parent, const char *name, struct cn_pool *pool, struct cn_held *ret_held, struct cn_manifest *ret_manifest,
                 cairn_error *err);
/* Is the manifest still the one the name leads to? 0; -ESTALE: it is not; or what this process lacks. */
int cn_held_look_again(cn_file parent, const char *name, const struct cn_held *held);
void cn_held_close(struct cn_held *held);
/* The lease of who removes or changes a checkpoint, on its open manifest, which may become another descriptor of it. A reader's own lease goes before; look
 * again afterwards. 0: alone, or this place has no locks and so no readers' leases; -EWOULDBLOCK: somebody reads it, or nobody can tell. */
int cn_held_alone(cn_file dir, cn_file *manifest_file);
/* The same without lease and second look, which never waits: for listings, which hold nothing. */
int cn_held_peek(cn_file parent, const char *name, struct cn_pool *pool, struct cn_held *ret_held, struct cn_manifest *ret_manifest,
                 cairn_error *err);
/* The manifest alone, likewise: for who holds the checkpoint otherwise, or only wants to know who has a name. */
int cn_held_read(cn_file parent, const char *name, struct cn_pool *pool, struct cn_manifest *ret_manifest, cairn_error *err);
/* A name may be given to another checkpoint at any moment. GONE: what was found under it is not the one that was meant. id "": any was meant. */
int cn_held_check_id(const char *name, const struct cn_manifest *found, const char *id, cairn_error *err);

#endif

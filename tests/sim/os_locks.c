/* os.h, simulated: the run's lock, which belongs to a process, and leases, which belong to an open file. Both die with their process. */
#include "files.h"

#include <errno.h>

static int open_lock_file(cn_file dir, const char *name, struct sim_inode **ret_inode)
{
    cn_file file;
    int rc = cn_os_open_append(dir, name, 0644, &file);
    if (rc) return rc;
    *ret_inode = sim_inode_of(file);
    return cn_os_close(file);
}

int cn_os_lock_take(cn_file dir, const char *name, struct cn_os_lock **ret_lock)
{
    struct sim_inode *inode;
    int rc = open_lock_file(dir, name, &inode);
    if (rc) return rc;
    if (world.profile.refuse_locks) return -ENOLCK;
    for (const struct cn_os_lock *lock = world.locks; lock; lock = lock->next)
        if (lock->inode == inode) return sim_traced(lock->process == sim_self() ? -EBUSY : -EAGAIN, "lock %s", name);
    struct cn_os_lock *lock = cn_os_new(sizeof *lock);
    *lock = (struct cn_os_lock){ .next = world.locks, .process = sim_self(), .inode = inode };
    world.locks = lock;
    *ret_lock = lock;
    return sim_traced(0, "lock %s", name);
}

static void unlist(struct cn_os_lock **link)
{
    *link = (*link)->next;
}

void cn_os_lock_give(struct cn_os_lock *lock)
{
    if (!lock) return;
    struct cn_os_lock **link = &world.locks;
    while (*link != lock) link = &(*link)->next;
    unlist(link);
    cn_os_free(lock);
}

/* Their memory goes with the process's. */
void sim_locks_drop_all(struct sim_process *process)
{
    struct cn_os_lock **link = &world.locks;
    while (*link)
        if ((*link)->process == process)
            unlist(link);
        else
            link = &(*link)->next;
}

void cn_os_lease_give(cn_file file)
{
    if (sim_inode_of(file)) world.files[file].lease = SIM_NO_LEASE;
}

/* As flock: changing the kind gives the old lock up first, and does not get it back when the new one is refused. */
int cn_os_lease(cn_file file, bool exclusive)
{
    sim_call(SIM_LOOKS);
    const struct sim_inode *inode = sim_inode_of(file);
    if (!inode) return -EBADF;
    if (world.profile.refuse_locks) return -ENOLCK;
    world.files[file].lease = SIM_NO_LEASE;
    for (cn_file other = 0; other < SIM_MAX_FILES; other++) {
        const struct sim_file *held = &world.files[other];
        if (held->process && held->inode == inode && (held->lease == SIM_EXCLUSIVE || (exclusive && held->lease == SIM_SHARED)))
            return sim_traced(-EWOULDBLOCK, "lease %s%s", inode->label, exclusive ? ", alone" : "");
    }
    world.files[file].lease = exclusive ? SIM_EXCLUSIVE : SIM_SHARED;
    return sim_traced(0, "lease %s%s", inode->label, exclusive ? ", alone" : "");
}

/* The doctor's folder (see trial.h).
 *
 *  1. Signals that would end us wait from before it is made until it is gone: only SIGKILL leaves it behind.
 *  2. It is locked as long as the doctor or its child lives. One whose lock is free has nobody left, and the next doctor removes it. */
#include "trial.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOCTOR_PREFIX ".cairn-doctor-"

enum { RANDOM_LETTERS = 6, TRIES = 10 };

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static bool is_doctors(const char *name)
{
    size_t size = strlen(DOCTOR_PREFIX);
    return !strncmp(name, DOCTOR_PREFIX, size) && strlen(name) == size + RANDOM_LETTERS;
}

static int open_folder(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void remove_if_left(const char *path)
{
    struct stat info;
    int folder = open_folder(path);
    if (folder < 0) return;
    bool is_ours = !fstat(folder, &info) && info.st_uid == geteuid();
    if (is_ours && !flock(folder, LOCK_EX | LOCK_NB)) remove_tree(path);
    (void)close(folder);
}

static void remove_left(const char *dir)
{
    DIR *entries = opendir(dir);
    if (!entries) return;
    for (const struct dirent *entry; (entry = readdir(entries));) {
        if (!is_doctors(entry->d_name)) continue;
        char *path = cli_format("%s/%s", dir, entry->d_name);
        remove_if_left(path);
        free(path);
    }
    (void)closedir(entries);
}

/* Whether the folder is ours: another doctor that looked between its making and its lock has it removed. A place without locks has to do without. */
static bool lock_folder(const char *path, int *ret_lock)
{
    struct stat opened, named;
    int lock = open_folder(path);
    bool is_ours = lock >= 0 && (!flock(lock, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) && !fstat(lock, &opened) && !stat(path, &named) &&
                   opened.st_ino == named.st_ino;
    if (is_ours)
        *ret_lock = lock;
    else if (lock >= 0)
        (void)close(lock);
    return is_ours;
}

static int fail(cairn_error *err, const char *dir, const char *doing, int os_errno)
{
    err->code = os_errno == ENOENT ? CAIRN_E_NOTFOUND : os_errno == ENOSPC ? CAIRN_E_NOSPACE : CAIRN_E_IO;
    snprintf(err->message, sizeof err->message, "%s: %s: %s", dir, doing, strerror(os_errno));
    return err->code;
}

static int make_folder(struct trial *trial, const char *dir, cairn_error *err)
{
    for (int i = 0; i < TRIES; i++) {
        char *path = cli_format("%s/" DOCTOR_PREFIX "XXXXXX", dir);
        int os_errno = mkdtemp(path) ? 0 : errno;
        if (!os_errno && lock_folder(path, &trial->lock)) {
            trial->path = path;
            return CAIRN_OK;
        }
        free(path);
        if (os_errno) return fail(err, dir, "making a folder in it", os_errno);
    }
    return fail(err, dir, "making a folder in it", EBUSY);
}

/* Those that are ignored stay so. */
static void hold_signals(struct trial *trial)
{
    static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
    struct sigaction action;
    sigemptyset(&trial->held);
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        if (!sigaction(ending[i], NULL, &action) && action.sa_handler != SIG_IGN) sigaddset(&trial->held, ending[i]);
    sigprocmask(SIG_BLOCK, &trial->held, &trial->before);
}

int trial_begin(struct trial *trial, const char *dir, cairn_error *err)
{
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return fail(err, dir, "opening it", errno);
    (void)close(folder);
    hold_signals(trial);
    remove_left(dir);
    int code = make_folder(trial, dir, err);
    if (code) sigprocmask(SIG_SETMASK, &trial->before, NULL);
    return code;
}

void trial_end(struct trial *trial)
{
    remove_tree(trial->path);
    (void)close(trial->lock);
    free(trial->path);
    sigprocmask(SIG_SETMASK, &trial->before, NULL);
}

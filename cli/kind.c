/* What a file is that is no safetensors file: told by its type, or by its first bytes. Nothing is parsed, and what is not known stays unsaid. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

enum { HEAD_BYTES = 512, LENGTH_BYTES = 8, LARGEST_HEADER = 100000000 /* of what the library reads */ };

/* A safetensors file begins with the length of its header, and none of those below with a number so small. */
static bool may_be_safetensors(const unsigned char *head, size_t size)
{
    uint64_t length = 0;
    for (size_t i = 0; i < LENGTH_BYTES && i < size; i++) length |= (uint64_t)head[i] << 8 * i;
    return size >= LENGTH_BYTES && length <= LARGEST_HEADER;
}

static const char *kind_of_binary(const unsigned char *head, size_t size)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *kind;
    } beginnings[] = {
        { "GGUF", 4, "gguf" },
        { "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20", 10, "a PyTorch file (pickle)" },
        { "\x93NUMPY", 6, "a NumPy array" },
        { "\x89HDF\r\n\x1a\n", 8, "HDF5" },
        { "\x1f\x8b", 2, "gzip" },
        { "\x28\xb5\x2f\xfd", 4, "zstd" },
    };
    static const char zip[] = "PK\3\4", torch[] = "/data.pkl";
    if (size >= 4 && !memcmp(head, zip, 4)) return memmem(head, size, torch, strlen(torch)) ? "a PyTorch file (zip)" : "a zip archive";
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (size >= beginnings[i].size && !memcmp(head, beginnings[i].bytes, beginnings[i].size)) return beginnings[i].kind;
    return NULL;
}

/* head ends with a 0, and may end within a code point. */
static bool is_text(const char *head, size_t size)
{
    size_t cut = size == HEAD_BYTES ? 3 : 0;
    for (size_t i = 0; i < size; i++)
        if (iscntrl((unsigned char)head[i]) && !isspace((unsigned char)head[i])) return false;
    for (size_t i = 0; i <= cut; i++)
        if (cli_is_utf8(head, size - i)) return size > 0;
    return false;
}

static bool begins_with(const char *text, const char *beginning)
{
    return !strncasecmp(text, beginning, strlen(beginning));
}

static const char *kind_of_text(const char *head)
{
    const char *at = head + strspn(head, " \t\r\n");
    if (begins_with(at, "version https://git-lfs.github.com/")) return "a git-lfs pointer; `git lfs pull` brings the file itself";
    if (begins_with(at, "<!doctype html") || begins_with(at, "<html")) return "HTML";
    if (*at == '{' || *at == '[') return "JSON";
    return "text";
}

static const char *kind_of_content(const char *path)
{
    char head[HEAD_BYTES + 1] = "";
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t size = file < 0 ? -1 : pread(file, head, HEAD_BYTES, 0);
    if (file >= 0) (void)close(file);
    if (size <= 0 || may_be_safetensors((unsigned char *)head, (size_t)size)) return NULL;
    return is_text(head, (size_t)size) ? kind_of_text(head) : kind_of_binary((unsigned char *)head, (size_t)size);
}

const char *cli_kind(const char *path)
{
    struct stat info;
    if (stat(path, &info)) return NULL;
    switch (info.st_mode & S_IFMT) {
    case S_IFREG: return kind_of_content(path);
    case S_IFIFO: return "a named pipe";
    case S_IFSOCK: return "a socket";
    case S_IFCHR:
    case S_IFBLK: return "a device";
    default: return NULL;
    }
}

bool cli_is_named_safetensors(const char *name)
{
    static const char ending[] = ".safetensors";
    size_t size = strlen(name), ending_size = strlen(ending);
    return size > ending_size && !strcmp(name + size - ending_size, ending);
}

/* Of a folder: by its name the first file of tensors that is none. */
static char *find_in_folder(DIR *dir, const char *path, const char **ret_kind)
{
    char *found = NULL;
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (!cli_is_named_safetensors(entry->d_name)) continue;
        char *below = cli_format("%s/%s", path, entry->d_name);
        const char *kind = cli_kind(below);
        if (kind && (!found || strcmp(below, found) < 0)) {
            free(found);
            found = below;
            *ret_kind = kind;
        } else
            free(below);
    }
    return found;
}

char *cli_find_no_safetensors(const char *path, const char **ret_kind)
{
    DIR *dir = opendir(path);
    *ret_kind = dir ? NULL : cli_kind(path);
    char *found = dir ? find_in_folder(dir, path, ret_kind) : *ret_kind ? cli_copy(path) : NULL;
    if (dir) (void)closedir(dir);
    return found;
}

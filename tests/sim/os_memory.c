/* os.h, simulated: memory. Each process has all its pieces in one list, so that a killed one gives everything back, and one that ends by itself is
 * asked for what it kept. */
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct sim_block {
    struct sim_block *next, **link; /* link: what points to this one */
    void *pages;                    /* large memory: not behind the block but a mapping of its own */
    size_t size;
    _Alignas(16) unsigned char data[];
};

static struct sim_block *block_of(void *memory)
{
    return (struct sim_block *)((unsigned char *)memory - offsetof(struct sim_block, data));
}

static void enlist(struct sim_block *block)
{
    struct sim_process *process = sim_self();
    block->next = process->blocks;
    block->link = &process->blocks;
    if (block->next) block->next->link = &block->next;
    process->blocks = block;
}

static void unlist(struct sim_block *block)
{
    *block->link = block->next;
    if (block->next) block->next->link = block->link;
}

static void drop(struct sim_block *block)
{
    unlist(block);
    if (block->pages) (void)munmap(block->pages, block->size);
    free(block);
}

uint64_t sim_memory_drop_all(struct sim_process *process)
{
    uint64_t count = 0;
    for (; process->blocks; count++) drop(process->blocks);
    return count;
}

void *cn_os_new(size_t size)
{
    struct sim_block *block = calloc(1, sizeof *block + size);
    if (!block) return NULL;
    block->size = size;
    enlist(block);
    return block->data;
}

void *cn_os_new_array(uint64_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : cn_os_new(bytes);
}

void cn_os_free(void *memory)
{
    if (memory) drop(block_of(memory));
}

char *cn_os_copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = cn_os_new(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

static void *resize(void *user, void *memory, size_t size)
{
    (void)user;
    void *grown = cn_os_new(size);
    if (!grown || !memory) return grown;
    size_t kept = block_of(memory)->size;
    memcpy(grown, memory, kept < size ? kept : size);
    cn_os_free(memory);
    return grown;
}

static void release(void *user, void *memory)
{
    (void)user;
    cn_os_free(memory);
}

const struct cn_alloc *cn_os_alloc(void)
{
    static const struct cn_alloc alloc = { resize, release, NULL };
    return &alloc;
}

/* Most of an arena is never needed here. */
void cn_os_pages_touch(void *pages, uint64_t size_bytes)
{
    (void)pages, (void)size_bytes;
}

int cn_os_pages_new(uint64_t size_bytes, void **ret_pages)
{
    struct sim_block *block = calloc(1, sizeof *block);
    void *pages = block ? mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : MAP_FAILED;
    if (pages == MAP_FAILED) {
        free(block);
        return -ENOMEM;
    }
    block->pages = pages;
    block->size = size_bytes;
    enlist(block);
    *ret_pages = pages;
    return 0;
}

void cn_os_pages_free(void *pages, uint64_t size_bytes)
{
    (void)size_bytes;
    if (!pages) return;
    for (struct sim_block *block = sim_self()->blocks; block; block = block->next)
        if (block->pages == pages) {
            drop(block);
            return;
        }
    sim_fail("pages are freed that are nobody's");
}

uint64_t cn_os_free_memory(void)
{
    return UINT64_C(128) << 20;
}

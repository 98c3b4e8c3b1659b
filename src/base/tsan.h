/* ThreadSanitizer does not look into the vector code (it would take fifty times as long): what that code is about to read or write is told here. */
#ifndef CN_BASE_TSAN_H
#define CN_BASE_TSAN_H

#ifdef __SANITIZE_THREAD__
void __tsan_read_range(void *address, long size);
void __tsan_write_range(void *address, long size);
#define cn_tsan_reads(address, size) __tsan_read_range((void *)(uintptr_t)(address), (long)(size))
#define cn_tsan_writes(address, size) __tsan_write_range((void *)(uintptr_t)(address), (long)(size))
#else
#define cn_tsan_writes(address, size) ((void)0)
#define cn_tsan_reads(address, size) ((void)0)
#endif

#endif

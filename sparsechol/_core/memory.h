/* Advice about memory: to the system about large arrays that are about to be written for the first
 * time, to malloc about those that were freed, to the processor about a place that is about to be
 * read. */

#ifndef SPARSECHOL_MEMORY_H
#define SPARSECHOL_MEMORY_H

#include <stddef.h>

#ifdef __linux__
#include <stdint.h>
#include <sys/mman.h>

#if defined(MADV_HUGEPAGE)
/* Pages of 2 MiB: a fault for each of 4 KiB can cost as much as what is computed there. */
static inline void prefer_large_pages(void *start, size_t bytes)
{
    const uintptr_t page = 4096, large = (uintptr_t)1 << 21;
    uintptr_t begin = ((uintptr_t)start + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)start + bytes) & ~(page - 1);
    if (start != NULL && bytes >= 2 * large)
        madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}
#define SPARSECHOL_LARGE_PAGES
#endif
#endif

#ifndef SPARSECHOL_LARGE_PAGES
static inline void prefer_large_pages(void *start, size_t bytes)
{
    (void)start;
    (void)bytes;
}
#endif

#ifdef __GLIBC__
#include <stdlib.h>

/* Have malloc keep what is freed, up to 64 MiB, for the next call. What it returns to the system
 * comes back page by page, each cleared in a fault. It keeps up to twice the largest block of at most
 * 32 MiB that was freed so far, so one is freed that was never touched. Who has set these thresholds
 * of malloc by hand keeps them. */
static inline void keep_freed_memory(void)
{
    const size_t bytes = ((size_t)1 << 25) - 4 * 4096;
    void *volatile block = malloc(bytes);
    free(block);
}
#else
static inline void keep_freed_memory(void)
{
}
#endif

static inline void prefetch(const void *place)
{
#if defined(__GNUC__)
    __builtin_prefetch(place);
#else
    (void)place;
#endif
}

#endif

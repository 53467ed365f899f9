/** Preloaded into client and executor: counts the allocations and locks of each thread. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PUBLIC __attribute__((visibility("default")))

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void __libc_free(void *memory);
PUBLIC uint64_t counting_total(void);

static _Thread_local uint64_t total __attribute__((tls_model("initial-exec")));
static int (*next_lock)(pthread_mutex_t *);

__attribute__((constructor)) static void find_next(void)
{
    void *symbol = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    memcpy(&next_lock, &symbol, sizeof(symbol));
}

uint64_t counting_total(void)
{
    return total;
}

PUBLIC void *malloc(size_t size)
{
    total++;
    return __libc_malloc(size);
}

PUBLIC void *calloc(size_t count, size_t size)
{
    total++;
    return __libc_calloc(count, size);
}

PUBLIC void *realloc(void *old, size_t size)
{
    total++;
    return __libc_realloc(old, size);
}

PUBLIC void free(void *memory)
{
    total++;
    __libc_free(memory);
}

PUBLIC int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    total++;
    if (next_lock == NULL)
        find_next();
    return next_lock(mutex);
}

#include "executor/guard.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define ALTERNATE_BYTES (64u << 10)
#define BELOW_BYTES     (2u << 20) /* the kernel's gap below a stack, and a large frame */
#define PAGE_BYTES      4096u

typedef void (*terminate_handler)(void);

static struct {
    struct worker_page *page;
    uintptr_t stack_top;
    uintptr_t stack_bottom;
    void *(*exception_type)(void); /* of the C++ run-time that was loaded last */
} guard;

const void *volatile guard_page;

static void leave(sublet_status reason)
{
    atomic_store(&guard.page->reason, (uint32_t)reason);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    uintptr_t at = (uintptr_t)info->si_addr, page = (uintptr_t)guard_page;
    bool fault = info->si_code > 0; /* else somebody has sent it */
    if (fault && page != 0 && at - page < PAGE_BYTES)
        leave(SUBLET_ERR_OVERRUN);
    else if (fault && at >= guard.stack_bottom && at < guard.stack_top) /* the kernel would not let it grow */
        leave(SUBLET_ERR_STACK_OVERFLOW);
    signal(number, SIG_DFL);
    raise(number); /* comes when this returns */
}

void guard_start(struct worker_page *page)
{
    static char alternate[ALTERNATE_BYTES];
    struct rlimit limit;
    guard.page = page;
    guard.stack_top = (uintptr_t)__builtin_frame_address(0);
    if (getrlimit(RLIMIT_STACK, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < GUARD_STACK_BYTES ? limit.rlim_max : GUARD_STACK_BYTES;
        setrlimit(RLIMIT_STACK, &limit);
        guard.stack_bottom = guard.stack_top - limit.rlim_cur - BELOW_BYTES;
    }
    const stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    if (sigaltstack(&stack, NULL) == 0)
        sigaction(SIGSEGV, &action, NULL);
}

static void on_terminate(void)
{
    if (guard.exception_type != NULL && guard.exception_type() != NULL)
        guard_end(SUBLET_ERR_FUNCTION);
    abort();
}

void guard_library(void *library)
{
    /* std::set_terminate: the executor itself knows no C++. */
    void *set = dlsym(library, "_ZSt13set_terminatePFvvE"), *type = dlsym(library, "__cxa_current_exception_type");
    terminate_handler (*set_terminate)(terminate_handler);
    if (set == NULL || type == NULL)
        return;
    memcpy(&set_terminate, &set, sizeof(set));
    memcpy(&guard.exception_type, &type, sizeof(type));
    set_terminate(on_terminate);
}

_Noreturn void guard_end(sublet_status reason)
{
    leave(reason);
    _exit(1);
}

sublet_status guard_reason(struct worker_page *page, sublet_status otherwise)
{
    uint32_t reason = atomic_exchange(&page->reason, 0);
    switch (reason) {
    case SUBLET_ERR_STACK_OVERFLOW:
    case SUBLET_ERR_OVERRUN:
    case SUBLET_ERR_LEFT_THREADS:
    case SUBLET_ERR_FUNCTION:
        return (sublet_status)reason;
    default:
        return otherwise;
    }
}

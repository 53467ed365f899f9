#include "sublet/status.h"

__attribute__((visibility("default"))) const char *sublet_status_text(int status)
{
    static const char *const texts[SUBLET_STATUS_COUNT] = {
        [SUBLET_OK] = "ok",
        [SUBLET_ERR_INVALID] = "invalid argument",
        [SUBLET_ERR_NO_MEMORY] = "out of memory",
        [SUBLET_ERR_BUSY] = "nothing free now",
        [SUBLET_ERR_TIMEOUT] = "deadline passed",
        [SUBLET_ERR_CRASHED] = "function crashed",
        [SUBLET_ERR_TOO_LARGE] = "does not fit the buffer",
        [SUBLET_ERR_NOT_FOUND] = "not found",
        [SUBLET_ERR_DENIED] = "permission denied",
        [SUBLET_ERR_REVOKED] = "lease was taken back",
        [SUBLET_ERR_LOST] = "peer is gone",
        [SUBLET_ERR_VERSION] = "peer speaks another version",
        [SUBLET_ERR_SYSTEM] = "operating system error",
        [SUBLET_ERR_FUNCTION] = "function reported an error",
        [SUBLET_ERR_EXITED] = "function called exit",
        [SUBLET_ERR_STACK_OVERFLOW] = "function ran out of stack",
        [SUBLET_ERR_OVERRUN] = "function wrote past its result buffer",
        [SUBLET_ERR_LEFT_THREADS] = "function left threads behind",
        [SUBLET_ERR_HASH] = "no library of this content is known there",
    };
    return status >= 0 && status < SUBLET_STATUS_COUNT ? texts[status] : "unknown status";
}

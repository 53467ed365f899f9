/** Status of every call of Sublet's C interface. The numbers are part of the wire: append only. */
#ifndef SUBLET_STATUS_H
#define SUBLET_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sublet_status {
    SUBLET_OK = 0,
    SUBLET_ERR_INVALID = 1,         /**< an argument or a frame makes no sense */
    SUBLET_ERR_NO_MEMORY = 2,       /**< out of memory here */
    SUBLET_ERR_BUSY = 3,            /**< nothing free now; try again */
    SUBLET_ERR_TIMEOUT = 4,         /**< the deadline passed */
    SUBLET_ERR_CRASHED = 5,         /**< a signal ended the worker in the function */
    SUBLET_ERR_TOO_LARGE = 6,       /**< payload or result does not fit its buffer */
    SUBLET_ERR_NOT_FOUND = 7,       /**< no such function, lease or region */
    SUBLET_ERR_DENIED = 8,          /**< wrong token or wrong user */
    SUBLET_ERR_REVOKED = 9,         /**< the lease was taken back */
    SUBLET_ERR_LOST = 10,           /**< the peer is gone */
    SUBLET_ERR_VERSION = 11,        /**< the peer speaks another version */
    SUBLET_ERR_SYSTEM = 12,         /**< the operating system refused; see errno */
    SUBLET_ERR_FUNCTION = 13,       /**< the function itself reported an error */
    SUBLET_ERR_EXITED = 14,         /**< the function called exit */
    SUBLET_ERR_STACK_OVERFLOW = 15, /**< the function ran out of stack */
    SUBLET_ERR_OVERRUN = 16,        /**< the function wrote past the room for its result */
    SUBLET_ERR_LEFT_THREADS = 17,   /**< the function returned while threads that it had started still ran */
    SUBLET_ERR_HASH = 18,           /**< no library of this content is known there; the library sends it itself */
    SUBLET_STATUS_COUNT = 19
} sublet_status;

/** Text for a status, never NULL, also for numbers that are not one. */
const char *sublet_status_text(int status);

#ifdef __cplusplus
}
#endif
#endif

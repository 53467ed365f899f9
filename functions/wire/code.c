#include "wire/code.h"

#include <string.h>

#include "wire/control.h"

_Static_assert(sizeof(struct code_ask) == 56, "wire layout");
_Static_assert(sizeof(struct code_answer) == 16, "wire layout");

sublet_status code_ask_check(const struct code_ask *ask)
{
    if (ask->magic != CODE_MAGIC || ask->operation == 0 || ask->operation >= CODE_OPERATION_END)
        return SUBLET_ERR_INVALID;
    if (ask->operation == CODE_PATH && (ask->path_bytes == 0 || ask->path_bytes > CONTROL_PATH_MAX))
        return SUBLET_ERR_INVALID;
    return ask->size >= CONTROL_LIBRARY_MIN && ask->size <= CONTROL_BODY_MAX ? SUBLET_OK : SUBLET_ERR_INVALID;
}

bool code_path_check(const char *path, size_t bytes)
{
    if (bytes < 2 || bytes > CONTROL_PATH_MAX || path[0] != '/' || memchr(path, '\0', bytes) != NULL)
        return false;
    for (size_t begin = 1; begin <= bytes;) {
        const char *slash = begin < bytes ? memchr(path + begin, '/', bytes - begin) : NULL;
        size_t end = slash == NULL ? bytes : (size_t)(slash - path), size = end - begin;
        if (size == 0 || (size <= 2 && memcmp(path + begin, "..", size) == 0))
            return false;
        begin = end + 1;
    }
    return true;
}

sublet_status code_answer_check(const struct code_answer *answer)
{
    if (answer->magic != CODE_MAGIC || answer->operation == 0 || answer->operation >= CODE_OPERATION_END ||
        answer->status >= SUBLET_STATUS_COUNT)
        return SUBLET_ERR_INVALID;
    return SUBLET_OK;
}

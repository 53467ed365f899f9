#include "wire/code.h"

#include "wire/control.h"

_Static_assert(sizeof(struct code_ask) == 56, "wire layout");
_Static_assert(sizeof(struct code_answer) == 16, "wire layout");

sublet_status code_ask_check(const struct code_ask *ask)
{
    if (ask->magic != CODE_MAGIC || ask->operation == 0 || ask->operation >= CODE_OPERATION_END)
        return SUBLET_ERR_INVALID;
    return ask->size >= CONTROL_LIBRARY_MIN && ask->size <= CONTROL_BODY_MAX ? SUBLET_OK : SUBLET_ERR_INVALID;
}

sublet_status code_answer_check(const struct code_answer *answer)
{
    if (answer->magic != CODE_MAGIC || answer->operation == 0 || answer->operation >= CODE_OPERATION_END ||
        answer->status >= SUBLET_STATUS_COUNT)
        return SUBLET_ERR_INVALID;
    return SUBLET_OK;
}

/** What a starter is asked and what it tells an executor: lines of text, hostile after a fault in who wrote them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "executor/options.h"
#include "launch/message.h"
#include "launch/request.h"

static void must(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void executor(const uint8_t *data, size_t size)
{
    struct executor_options options;
    const char *why = NULL;
    if (options_parse((const char *)data, size, &options, &why) != SUBLET_OK) {
        must(why != NULL && why[0] != '\0');
        return;
    }
    must(options.workers <= CONTROL_WORKERS_MAX && (options.region || options.workers > 0));
    must(memchr(options.lease, '\0', sizeof(options.lease)) != NULL);
}

static void starter(const uint8_t *data, size_t size)
{
    static struct message message;
    static struct start_request request;
    char *text = malloc(size + 1); /* its own allocation: a read past the end is seen */
    char error[ERROR_BYTES] = "";
    must(text != NULL);
    memcpy(text, data, size);
    if (message_parse(text, size, &message) && !request_start(&message, &request, (size & 1) != 0, error))
        must(error[0] != '\0' && memchr(error, '\0', sizeof(error)) != NULL);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    executor(data, size);
    starter(data, size);
    return 0;
}

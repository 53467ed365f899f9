/** What the library reads from an executor on another node: welcomes, answers to calls, control frames. */
#include "hostile_executor.h"

static void way_came(struct connection *connection)
{
    uint32_t how = take(1);
    if ((how & 15) == 0)
        babble(connection);
    else if ((how & 15) == 1)
        hang_up(connection);
    else if ((how & 15) != 2)
        say_welcome(connection);
}

/** An answer to the first call of a connection, or one that is nearly so. */
static void answer(struct link *link)
{
    unsigned char body[4096];
    uint32_t how = take(1);
    const struct stream_worker *worker = NULL;
    struct connection *to = NULL;
    for (uint32_t i = 0; link->streams != NULL && i < link->workers && to == NULL; i++) {
        worker = &link->streams[(how + i) % link->workers];
        for (uint32_t k = 0; worker->count > 0 && k < connected; k++)
            if (connections[k].client_fd == worker->fd)
                to = &connections[k];
    }
    if (to == NULL)
        return;
    const struct stream_request *request = &worker->flights[0].request;
    uint64_t room = stream_request_room(request), size = take(2);
    struct stream_response response = {.sequence = request->sequence};
    size = (how & 16) != 0 ? room : size <= room ? size : size % (room + 1);
    response.status = (how & 96) == 96 ? take(1) % (SUBLET_STATUS_COUNT + 1) : SUBLET_OK;
    stream_response_set(&response, size, (how & 128) != 0 ? take(1) % 8 : 0);
    bend(&response, sizeof(response));
    hear(to);
    say(to, &response, sizeof(response));
    if ((response.flags & STREAM_FLAG_TRACED) != 0)
        say(to, body, sizeof(struct stream_trace));
    memset(body, (int)how, sizeof(body));
    for (size = size > 400000 ? 400000 : size; size > 0;) {
        size_t piece = size < sizeof(body) ? size : sizeof(body);
        say(to, body, piece);
        size -= piece;
    }
}

static void way_acts(uint32_t what)
{
    struct link *link = lease->link;
    (void)what;
    pthread_mutex_lock(&session->lock);
    if (link != NULL)
        answer(link);
    pthread_mutex_unlock(&session->lock);
}

static void more(uint32_t what)
{
    (void)what;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    session_run(data, size, "", "none", more, NULL);
    return 0;
}

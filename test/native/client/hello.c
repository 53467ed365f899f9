/** The shortest program: calls a function on what can be leased, here if nothing can. Uses include/ only. */
#include <stdio.h>
#include <string.h>

#include "sublet/sublet.h"

int main(int count, char **arguments)
{
    static const char text[] = "hello";
    char answer[sizeof(text)];
    size_t bytes = 0;
    sublet_session *session = NULL;
    sublet_library *library;
    sublet_function_ref *echo;
    sublet_lease *lease = NULL;
    if (count != 2) {
        fprintf(stderr, "usage: %s LIBRARY\n", arguments[0]);
        return 2;
    }
    if (sublet_open(NULL, &session) != SUBLET_OK || sublet_library_open(session, arguments[1], &library) != SUBLET_OK ||
        sublet_function_find(library, "echo", &echo) != SUBLET_OK)
        goto fail;
    if (sublet_lease_acquire(session, NULL, &lease) != SUBLET_OK)
        printf("nothing to lease (%s)\n", sublet_last_error());
    if (sublet_invoke(session, echo, text, sizeof(text), answer, sizeof(answer), &bytes, NULL) != SUBLET_OK)
        goto fail;
    printf("%s, %s\n", answer, lease != NULL ? "leased" : "local");
    sublet_close(session);
    return bytes == sizeof(text) && memcmp(text, answer, bytes) == 0 ? 0 : 1;
fail:
    fprintf(stderr, "%s\n", sublet_last_error());
    sublet_close(session);
    return 1;
}

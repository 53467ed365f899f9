/**
 * pass_lingering SOCKET COUNT: a user who passes descriptors whose close takes a minute to whoever serves SOCKET. Says
 * "passed N" when that is done, and keeps their peers open until standard input ends.
 */
#include "lingering.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <sys/wait.h>

/** By a process that has the last copy, and ends: it lingers for nobody. */
static bool pass_one(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int peer, go[2], passed = lingering(&peer), status;
    char byte;
    if (passed < 0 || pipe(go) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        close(go[1]);
        while (read(go[0], &byte, 1) > 0)
            continue;
        _exit(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && pass(fd, "x", 1, passed, 0) ? 0 : 1);
    }
    close(passed);
    close(go[0]);
    close(go[1]);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

int main(int count, char **arguments)
{
    int done = 0;
    char byte;
    if (count != 3)
        return 2;
    for (int i = atoi(arguments[2]); i > 0; i--)
        done += pass_one(arguments[1]);
    printf("passed %d\n", done);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return 0;
}

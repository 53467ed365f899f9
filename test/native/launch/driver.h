/** Runs a starter in a run directory of its own, with cgroups of its own, and speaks to it. */
#ifndef SUBLET_TEST_LAUNCH_DRIVER_H
#define SUBLET_TEST_LAUNCH_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { TEXT_BYTES = 65537, NAME_BYTES = 128, CONTROLLERS = 3 };
enum { GUEST_UID = 217001, PIDS_LIMIT = 20, MEMORY_LIMIT = 64 << 20 };

struct driver {
    char run_dir[NAME_BYTES];
    pid_t starter;
    int socket;
    char text[TEXT_BYTES];                /* the last frame received */
    char notice[TEXT_BYTES];              /* the last EXITED that came while waiting for an answer */
    char groups[CONTROLLERS][NAME_BYTES]; /* pids, memory, freezer (v1), or one (v2) */
    size_t group_count;
    bool unified; /* cgroup v2 */
};

/** True when this machine has the controllers that the tests need and we are root. Else says why. */
bool driver_can_run(void);
/** Makes the run directory and cgroups, starts the starter, connects. `option` (may be NULL) goes to the starter. */
void driver_begin(struct driver *driver, const char *option);
/** Ends everything and checks that nothing is left; false (and says what) otherwise. */
bool driver_end(struct driver *driver);

void driver_start_starter(struct driver *driver, const char *option);
int driver_connect(const struct driver *driver);
/** Sends a frame (its text) and receives frames until the one with this id came. False when none comes in 10 s. */
bool driver_ask(struct driver *driver, const char *text, unsigned id);
bool driver_receive(struct driver *driver, int timeout_ms);
bool driver_send(int fd, const char *text);
/** The value of a key in the last frame, or "" (in a static buffer). */
const char *driver_field(const char *text, const char *key);
/** The text of a START of this lease with the probe as executor. */
const char *driver_start_text(const struct driver *driver, const char *lease, unsigned id, const char *more);
const char *driver_probe_path(void);
/** Starts a guest that must come up; its pid. */
pid_t driver_guest(struct driver *driver, const char *lease);
/** Tells a guest's probe something, as printf would print it; its answer, or "" when it gave none. */
const char *driver_tell(const struct driver *driver, const char *lease, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** How many processes are in the test's cgroup. */
int driver_processes(const struct driver *driver);
/** Waits until a condition holds, looking every millisecond; false after ten seconds. */
bool driver_until(bool (*condition)(void *), void *argument);
bool driver_gone(void *pid);
bool driver_empty(void *driver);
uint64_t driver_now_us(void);

#endif

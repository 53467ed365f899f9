/** What the starter tells the service manager that started it, see sd_notify(3). */
#ifndef SUBLET_LAUNCH_NOTIFY_H
#define SUBLET_LAUNCH_NOTIFY_H

/** Sends `text` (e.g. "READY=1") to the socket in NOTIFY_SOCKET, without blocking; does nothing where there is none. */
void notify_manager(const char *text);

#endif

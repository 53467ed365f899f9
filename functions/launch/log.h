/** One JSON line per event on stderr, in the shape of the other daemons' logs. Never blocks: a full pipe loses lines.
 */
#ifndef SUBLET_LAUNCH_LOG_H
#define SUBLET_LAUNCH_LOG_H

enum log_level { LOG_LEVEL_INFO = 30, LOG_LEVEL_WARN = 40, LOG_LEVEL_ERROR = 50 };

void log_event(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

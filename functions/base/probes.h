/**
 * USDT probes: one nop each, and a note in the ELF file that names it. perf, bpftrace and SystemTap attach to them:
 * bpftrace -e 'usdt:./sublet-executor:sublet:call_end { ... }'. Provider "sublet":
 *
 *   in the executor   call_start(function, bytes)   call_end(function, status, bytes)
 *                     worker_sleep(number)          worker_wake(number)
 *   in libsublet      client_start(name, bytes)     client_end(name, status)
 *                     client_sleep(slot)            client_wake(slot)
 *
 * Without sys/sdt.h (package systemtap-sdt-dev) they are not there.
 */
#ifndef SUBLET_BASE_PROBES_H
#define SUBLET_BASE_PROBES_H

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define PROBE1(name, one)             DTRACE_PROBE1(sublet, name, one)
#define PROBE2(name, one, two)        DTRACE_PROBE2(sublet, name, one, two)
#define PROBE3(name, one, two, three) DTRACE_PROBE3(sublet, name, one, two, three)
#else
#define PROBE1(name, one)             ((void)(one))
#define PROBE2(name, one, two)        ((void)(one), (void)(two))
#define PROBE3(name, one, two, three) ((void)(one), (void)(two), (void)(three))
#endif

#endif

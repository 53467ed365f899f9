/** What a library defines, read from its file: nothing of it runs, and nothing in it is believed. */
#ifndef SUBLET_EXECUTOR_SYMBOLS_H
#define SUBLET_EXECUTOR_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>

/**
 * Does the ELF file at `bytes` define this dynamic symbol, so that dlsym finds it once the library is loaded? False
 * also when that cannot be told: no section headers, another machine's format, or a file that makes no sense.
 */
bool symbols_define(const unsigned char *bytes, size_t size, const char *name);

#endif

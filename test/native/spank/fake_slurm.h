/** What Slurm gives to a plugin, as far as ours uses it: the test sets what is asked and reads what was said. */
#ifndef SUBLET_TEST_FAKE_SLURM_H
#define SUBLET_TEST_FAKE_SLURM_H

#include <slurm/spank.h>
#include <stdbool.h>
#include <stdint.h>

struct fake_slurm {
    spank_context_t context;
    const char *alloc_cores; /* NULL: that is not known */
    uint64_t alloc_mem_mib;
    const char *partition; /* of the job's environment; NULL: not there */
    /* What the plugin did. */
    struct spank_option *option;
    char errors[4096];
    char job_control[256], environment[512]; /* NAME=VALUE; one after the other */
};

extern struct fake_slurm slurm;

#endif

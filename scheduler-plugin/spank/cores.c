/** Which Linux CPUs a job has: by Slurm's abstract numbers and the machine's topology, or by its cpuset. */
#include "plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 4096

size_t list_numbers(const char *text, uint32_t *out, size_t most)
{
    size_t count = 0;
    while (*text >= '0' && *text <= '9') {
        char *end;
        unsigned long first = strtoul(text, &end, 10), last = first;
        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        for (unsigned long value = first; value <= last && value < HOOK_CORES_MAX && count < most; value++)
            out[count++] = (uint32_t)value;
        if (*end != ',')
            break;
        text = end + 1;
    }
    return count;
}

static bool read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    bool good = file != NULL && fgets(line, (int)size, file) != NULL;
    if (file != NULL)
        fclose(file);
    return good;
}

struct core {
    uint32_t socket_first; /* first CPU of its socket: hwloc's order of sockets */
    uint32_t first;
    char threads[SETTING_BYTES];
};

static uint32_t first_of(const char *folder, uint32_t cpu, const char *name, const char *older, char *list, size_t size)
{
    char path[PATH_BYTES];
    uint32_t first;
    snprintf(path, sizeof(path), "%s/cpu%u/topology/%s", folder, cpu, name);
    if (!read_line(path, list, size)) {
        snprintf(path, sizeof(path), "%s/cpu%u/topology/%s", folder, cpu, older);
        if (!read_line(path, list, size))
            return UINT32_MAX;
    }
    return list_numbers(list, &first, 1) == 1 ? first : UINT32_MAX;
}

/** One entry per core: only a core's first thread makes one. False: it is not its core's first, or cannot be read. */
static bool read_core(const char *folder, uint32_t cpu, struct core *core)
{
    char socket[LIST_BYTES];
    core->first = first_of(folder, cpu, "core_cpus_list", "thread_siblings_list", core->threads, sizeof(core->threads));
    core->socket_first = first_of(folder, cpu, "package_cpus_list", "core_siblings_list", socket, sizeof(socket));
    return core->first == cpu && core->socket_first != UINT32_MAX;
}

static int by_place(const void *a, const void *b)
{
    const struct core *left = a, *right = b;
    if (left->socket_first != right->socket_first)
        return left->socket_first < right->socket_first ? -1 : 1;
    return (left->first > right->first) - (left->first < right->first);
}

static int by_number(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

size_t cores_of_abstract(const char *abstract, const char *cpus_folder, uint32_t *out, size_t most)
{
    char path[PATH_BYTES], line[LIST_BYTES];
    uint32_t *numbers = calloc(HOOK_CORES_MAX, sizeof(*numbers));
    struct core *cores = NULL;
    size_t count = 0, core_count = 0;
    snprintf(path, sizeof(path), "%s/online", cpus_folder);
    if (numbers == NULL || !read_line(path, line, sizeof(line)))
        goto done;
    size_t cpus = list_numbers(line, numbers, HOOK_CORES_MAX);
    cores = calloc(cpus > 0 ? cpus : 1, sizeof(*cores));
    if (cores == NULL)
        goto done;
    for (size_t i = 0; i < cpus; i++)
        if (read_core(cpus_folder, numbers[i], &cores[core_count]))
            core_count++;
    qsort(cores, core_count, sizeof(*cores), by_place);
    size_t wanted = list_numbers(abstract, numbers, HOOK_CORES_MAX);
    for (size_t i = 0; i < wanted; i++) {
        if (numbers[i] >= core_count) { /* numbered in a way that we do not know */
            count = 0;
            goto done;
        }
        count += list_numbers(cores[numbers[i]].threads, out + count, most - count);
    }
    qsort(out, count, sizeof(*out), by_number);
done:
    free(cores);
    free(numbers);
    return count;
}

/** Whether `word` is one of the words of a list with commas. */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

/** Where the hierarchy with cpusets is mounted, and whether it is the unified one. */
static bool find_mount(const char *mounts_file, char *mount, bool *unified)
{
    char line[PATH_BYTES], point[PATH_BYTES], type[64], options[PATH_BYTES];
    bool found = false;
    FILE *file = fopen(mounts_file, "re");
    if (file == NULL)
        return false;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%*s %4095s %63s %4095s", point, type, options) != 3)
            continue;
        bool old = strcmp(type, "cgroup") == 0 && has_word(options, "cpuset");
        if (!old && (strcmp(type, "cgroup2") != 0 || found))
            continue;
        strcpy(mount, point);
        *unified = !old;
        found = true;
        if (old)
            break;
    }
    fclose(file);
    return found;
}

/** Where the step begins in a cgroup's path: the last one, for a Slurm may run in a job of another. NULL: no step. */
static char *find_step(char *path)
{
    char *step = NULL;
    for (char *at = path; (at = strstr(at, "/step_")) != NULL; at++)
        step = at;
    return step;
}

/** The path of this process in that hierarchy, cut before its step: the job's. */
static bool find_job(const char *cgroup_file, bool unified, char *path)
{
    char line[PATH_BYTES];
    bool found = false;
    FILE *file = fopen(cgroup_file, "re");
    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        char *controllers = strchr(line, ':'), *at = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (at == NULL)
            continue;
        *at++ = '\0';
        controllers++;
        char *step = find_step(at);
        if (step == NULL || !(unified ? *controllers == '\0' : has_word(controllers, "cpuset")))
            continue;
        *step = '\0';
        strcpy(path, at);
        found = true;
    }
    fclose(file);
    return found;
}

size_t cores_of_job(const char *cgroup_file, const char *mounts_file, uint32_t *out, size_t most)
{
    char mount[PATH_BYTES], path[PATH_BYTES], file[3 * PATH_BYTES], line[LIST_BYTES];
    bool unified;
    if (!find_mount(mounts_file, mount, &unified) || !find_job(cgroup_file, unified, path))
        return 0;
    snprintf(file, sizeof(file), "%s%s/cpuset.cpus", mount, path);
    return read_line(file, line, sizeof(line)) ? list_numbers(line, out, most) : 0;
}

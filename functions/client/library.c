#include "client/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/error.h"
#include "client/lease.h"
#include "client/session.h"
#include "wire/control.h"

static sublet_status read_file(const char *path, void **bytes_out, size_t *size_out)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        sublet_status status = errno == ENOENT ? SUBLET_ERR_NOT_FOUND : SUBLET_ERR_SYSTEM;
        error_set(status, "cannot read %s: %m", path);
        if (fd >= 0)
            close(fd);
        return status;
    }
    sublet_status status = SUBLET_OK;
    size_t size = (size_t)info.st_size, done = 0;
    char *bytes = NULL;
    if (!S_ISREG(info.st_mode) || info.st_size < 64)
        status = error_set(SUBLET_ERR_INVALID, "%s is not a shared object", path);
    else if (size > CONTROL_BODY_MAX)
        status = error_set(SUBLET_ERR_TOO_LARGE, "%s is larger than %u bytes", path, CONTROL_BODY_MAX);
    else if ((bytes = malloc(size)) == NULL)
        status = error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    while (status == SUBLET_OK && done < size) {
        ssize_t got = read(fd, bytes + done, size - done);
        if (got > 0)
            done += (size_t)got;
        else if (got == 0)
            status = error_set(SUBLET_ERR_INVALID, "%s became shorter while it was read", path);
        else if (errno != EINTR)
            status = error_set(SUBLET_ERR_SYSTEM, "cannot read %s: %m", path);
    }
    close(fd);
    if (status != SUBLET_OK) {
        free(bytes);
        return status;
    }
    *bytes_out = bytes;
    *size_out = size;
    return SUBLET_OK;
}

void library_hash(struct sublet_library *library, uint8_t out[SHA256_BYTES])
{
    pthread_mutex_lock(&library->hash_lock);
    if (!library->hashed)
        sha256(library->bytes, library->size, library->hash);
    library->hashed = true;
    memcpy(out, library->hash, sizeof(library->hash));
    pthread_mutex_unlock(&library->hash_lock);
}

/** Makes it one of the session's. */
static sublet_status enter(struct sublet_session *session, struct sublet_library *library)
{
    pthread_mutex_lock(&session->lock);
    bool room = session->library_count < SESSION_LIBRARIES_MAX;
    if (room) {
        pthread_mutex_init(&library->hash_lock, NULL);
        library->session = session;
        library->number = session->library_count++;
        library->next = session->libraries;
        session->libraries = library;
    }
    pthread_mutex_unlock(&session->lock);
    return room ? SUBLET_OK : error_set(SUBLET_ERR_BUSY, "a session holds at most %u libraries", SESSION_LIBRARIES_MAX);
}

sublet_status sublet_library_open(sublet_session *session, const char *path, sublet_library **library_out)
{
    if (session == NULL || path == NULL || library_out == NULL)
        return error_set(SUBLET_ERR_INVALID, "session, path and library_out must not be NULL");
    struct sublet_library *library = calloc(1, sizeof(*library));
    if (library == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    sublet_status status = read_file(path, &library->bytes, &library->size);
    if (status != SUBLET_OK)
        goto free_library;
    char *full = realpath(path, NULL); /* with a slash in it, or the loader would search elsewhere */
    library->handle = full == NULL ? NULL : dlopen(full, RTLD_NOW | RTLD_LOCAL);
    if (full != NULL && strlen(full) <= CONTROL_PATH_MAX)
        library->path = full;
    else
        free(full);
    if (library->handle == NULL) {
        const char *why = dlerror();
        size_t named = library->path == NULL ? 0 : strlen(library->path); /* the loader often begins with it */
        if (why != NULL && named != 0 && strncmp(why, library->path, named) == 0 && strncmp(why + named, ": ", 2) == 0)
            why += named + 2;
        status = error_set(SUBLET_ERR_INVALID, "cannot load %s: %s", path, why == NULL ? "not a path" : why);
        goto free_bytes;
    }
    status = enter(session, library);
    if (status != SUBLET_OK)
        goto close_handle;
    *library_out = library;
    return SUBLET_OK;
close_handle:
    dlclose(library->handle);
free_bytes:
    free(library->path);
    free(library->bytes);
free_library:
    free(library);
    return status;
}

static sublet_status find_here(struct sublet_library *library, const char *name, struct sublet_function_ref *function)
{
    char marker[160];
    void *symbol = dlsym(library->handle, name);
    if (symbol == NULL)
        return error_set(SUBLET_ERR_NOT_FOUND,
                         "%s has no function %s: declare it with SUBLET_FUNCTION, in C++ as extern \"C\", in Fortran "
                         "with bind(c); nm -D lists what is there",
                         library->path == NULL ? "the library" : library->path, name);
    snprintf(marker, sizeof(marker), "sublet_form_%.127s", name);
    if (dlsym(library->handle, marker) != NULL)
        memcpy(&function->context, &symbol, sizeof(symbol));
    else
        memcpy(&function->plain, &symbol, sizeof(symbol));
    function->library = library;
    snprintf(function->name, sizeof(function->name), "%s", name);
    return SUBLET_OK;
}

sublet_status sublet_function_find(sublet_library *library, const char *name, sublet_function_ref **function_out)
{
    if (library == NULL || name == NULL || function_out == NULL)
        return error_set(SUBLET_ERR_INVALID, "library, name and function_out must not be NULL");
    if (name[0] == '\0' || strlen(name) > CONTROL_NAME_MAX)
        return error_set(SUBLET_ERR_INVALID, "a function's name has 1 to %u bytes", CONTROL_NAME_MAX);
    struct sublet_session *session = library->session;
    struct sublet_function_ref *function = calloc(1, sizeof(*function));
    if (function == NULL)
        return error_set(SUBLET_ERR_NO_MEMORY, "out of memory");
    sublet_status status = find_here(library, name, function);
    if (status != SUBLET_OK) {
        free(function);
        return status;
    }
    pthread_mutex_lock(&session->lock);
    struct sublet_function_ref *known = library->functions;
    while (known != NULL && strcmp(known->name, name) != 0)
        known = known->next;
    if (known == NULL && session->function_count < SESSION_FUNCTIONS_MAX) {
        function->number = session->function_count++;
        function->next = library->functions;
        library->functions = known = function;
        function = NULL;
    }
    pthread_mutex_unlock(&session->lock);
    free(function);
    if (known == NULL)
        return error_set(SUBLET_ERR_BUSY, "a session knows at most %u functions", SESSION_FUNCTIONS_MAX);
    *function_out = known;
    return SUBLET_OK;
}

sublet_status function_run(const struct sublet_function_ref *function, const void *in, size_t in_bytes, void *out,
                           size_t out_capacity, uint64_t timeout_ns, size_t *bytes_out)
{
    static const uint64_t nothing[8]; /* a worker gives a function without arguments memory, too */
    size_t size;
    if (function->context == NULL && function->plain == NULL)
        return SUBLET_ERR_NOT_FOUND; /* imported with a lease that has ended */
    if (function->context != NULL) {
        sublet_context context = {
            .struct_bytes = sizeof(context),
            .in_bytes = in_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)in_bytes,
            .out_bytes = out_capacity > UINT32_MAX ? UINT32_MAX : (uint32_t)out_capacity,
            .timeout_ns = timeout_ns,
            .in_size = in_bytes,
            .out_room = out_capacity,
        };
        *bytes_out = 0;
        if (function->context(&context, in == NULL ? nothing : in, out) != 0)
            return SUBLET_ERR_FUNCTION;
        size = context.result_size != 0 ? context.result_size : context.result_bytes;
    } else if (in_bytes > UINT32_MAX)
        return SUBLET_ERR_TOO_LARGE; /* this form cannot be told */
    else {
        /* The plain form may write to its arguments, as it may on a worker: it gets a copy of them. */
        void *copy = malloc(in_bytes == 0 ? 1 : in_bytes);
        if (copy == NULL)
            return SUBLET_ERR_NO_MEMORY;
        if (in_bytes != 0)
            memcpy(copy, in, in_bytes);
        size = function->plain(copy, (uint32_t)in_bytes, out);
        free(copy);
    }
    *bytes_out = size;
    return size > out_capacity ? SUBLET_ERR_TOO_LARGE : SUBLET_OK;
}

/** One whose lease has ended: a session that lives as long as its worker imports without end. Lock held. */
static struct sublet_function_ref *ended_import(struct sublet_session *session)
{
    for (struct sublet_library *library = session->libraries; library != NULL; library = library->next) {
        struct sublet_function_ref *function = library->functions;
        if (library->bytes == NULL && function != NULL && function->home == NULL && !function->kept)
            return function;
    }
    return NULL;
}

static sublet_status make_import(struct sublet_session *session, struct sublet_function_ref **function_out)
{
    struct sublet_library *library = calloc(1, sizeof(*library));
    struct sublet_function_ref *function = calloc(1, sizeof(*function));
    sublet_status status = library == NULL || function == NULL ? error_set(SUBLET_ERR_NO_MEMORY, "out of memory")
                                                               : enter(session, library);
    if (status != SUBLET_OK) {
        free(function);
        free(library);
        return status;
    }
    function->library = library;
    pthread_mutex_lock(&session->lock);
    bool room = session->function_count < SESSION_FUNCTIONS_MAX;
    if (room) {
        function->number = session->function_count++;
        function->kept = true; /* nobody else takes it */
        library->functions = function;
    }
    pthread_mutex_unlock(&session->lock);
    if (!room) {
        free(function);
        return error_set(SUBLET_ERR_BUSY, "a session knows at most %u functions", SESSION_FUNCTIONS_MAX);
    }
    *function_out = function;
    return SUBLET_OK;
}

sublet_status function_import(struct sublet_session *session, struct sublet_lease *lease, const char *name,
                              struct sublet_function_ref **function_out)
{
    pthread_mutex_lock(&session->lock);
    struct sublet_function_ref *function = ended_import(session);
    if (function != NULL)
        function->kept = true;
    pthread_mutex_unlock(&session->lock);
    sublet_status status = function == NULL ? make_import(session, &function) : SUBLET_OK;
    if (status != SUBLET_OK)
        return status;
    pthread_mutex_lock(&session->lock);
    function->home = lease;
    function->kept = false;
    snprintf(function->name, sizeof(function->name), "%s", name);
    lease->function = function;
    pthread_mutex_unlock(&session->lock);
    *function_out = function;
    return SUBLET_OK;
}

void libraries_forget_lease(struct sublet_session *session, const struct sublet_lease *lease)
{
    for (struct sublet_library *library = session->libraries; library != NULL; library = library->next)
        for (struct sublet_function_ref *function = library->functions; function != NULL; function = function->next)
            if (function->home == lease)
                function->home = NULL;
}

void libraries_free(struct sublet_session *session)
{
    while (session->libraries != NULL) {
        struct sublet_library *library = session->libraries;
        session->libraries = library->next;
        while (library->functions != NULL) {
            struct sublet_function_ref *function = library->functions;
            library->functions = function->next;
            free(function);
        }
        if (library->handle != NULL)
            dlclose(library->handle);
        free(library->path);
        free(library->bytes);
        pthread_mutex_destroy(&library->hash_lock);
        free(library);
    }
}

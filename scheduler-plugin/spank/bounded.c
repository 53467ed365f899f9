/**
 * The agent's socket is asked with deadlines throughout; to empty cgroups is to write files of the kernel, which may
 * block. slurmstepd must not, so all of it is a thread's, and the step goes on without that thread when it takes too
 * long. The library stays mapped (-z nodelete), since such a thread may return to it when Slurm has closed it.
 */
#include "plugin.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct task {
    struct settings settings;
    struct hook_notice notice;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done, left;
    bool acted;
    char text[400];
};

static void free_task(struct task *task)
{
    pthread_cond_destroy(&task->done);
    pthread_mutex_destroy(&task->lock);
    free(task);
}

static void *work(void *argument)
{
    struct task *task = argument;
    struct hook_site site = {task->settings.socket_path, task->settings.roots_path, task->settings.timeout_ms};
    bool acted = tell_agent(&site, &task->notice, task->text, sizeof(task->text));
    pthread_mutex_lock(&task->lock);
    task->acted = acted;
    task->is_done = true;
    bool left = task->left;
    pthread_cond_signal(&task->done);
    pthread_mutex_unlock(&task->lock);
    if (left)
        free_task(task);
    return NULL;
}

/** A thread that takes none of slurmstepd's signals. */
static bool start_thread(struct task *task)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, NULL, work, task) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started)
        pthread_detach(thread);
    return started;
}

static void wait_for(struct task *task)
{
    struct timespec end;
    uint32_t limit_ms = task->settings.timeout_ms + HOOK_EMPTY_TIMEOUT_MS + HOOK_SLACK_MS;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += limit_ms / 1000;
    end.tv_nsec += (long)(limit_ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&task->lock);
    while (!task->is_done && pthread_cond_timedwait(&task->done, &task->lock, &end) == 0)
        ;
    bool done = task->is_done;
    task->left = !done;
    pthread_mutex_unlock(&task->lock);
    if (!done) {
        slurm_error("sublet: taking cores back takes longer than %u ms: the step goes on", limit_ms);
        return; /* the thread frees it */
    }
    if (task->acted)
        slurm_error("sublet: %s", task->text);
    free_task(task);
}

void tell_bounded(const struct settings *settings, const struct hook_notice *notice)
{
    struct task *task = calloc(1, sizeof(*task));
    pthread_condattr_t attributes;
    if (task == NULL)
        return;
    task->settings = *settings;
    task->notice = *notice;
    pthread_mutex_init(&task->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&task->done, &attributes);
    pthread_condattr_destroy(&attributes);
    if (start_thread(task))
        wait_for(task);
    else {
        slurm_error("sublet: no thread: the agent is not told of job %u", notice->job_id);
        free_task(task);
    }
}

/** The helper that copies and checks one library: see code.h. It is the only process that reads what a guest offers. */
#include "launch/code.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launch/child.h"

enum { FROM = 3, TO, FREE, CPU_SECONDS = 10, PIECE = 1 << 18 };

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

/** The lease's own cores, after all else that wants them: the copy is the guest's affair. */
static bool confine(const struct code_copy *copy)
{
    cpu_set_t cores;
    struct sched_param none = {0};
    struct rlimit cpu = {CPU_SECONDS, CPU_SECONDS};
    if (sched_getaffinity(copy->guest, sizeof(cores), &cores) != 0 ||
        sched_setaffinity(0, sizeof(cores), &cores) != 0 || sched_setscheduler(0, SCHED_IDLE, &none) != 0 ||
        setrlimit(RLIMIT_CPU, &cpu) != 0)
        return false;
    uid_t files = copy->from < 0 ? copy->owner : copy->uid;
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    bool first_to_go = fd >= 0 && write(fd, "1000", 4) == 4;
    if (fd >= 0)
        close(fd);
    return first_to_go && (copy->pilot || child_drop_privileges(copy->uid, copy->gid, files) == NULL);
}

static bool keep_only(const struct code_copy *copy)
{
    int from = copy->from < 0 ? -1 : fcntl(copy->from, F_DUPFD, FREE), to = fcntl(copy->to, F_DUPFD, FREE);
    if ((from < 0 && copy->from >= 0) || to < 0 || (from >= 0 && dup2(from, FROM) < 0) || dup2(to, TO) < 0)
        return false;
    if (syscall(SYS_close_range, FREE, ~0U, 0) != 0)
        for (int fd = FREE; fd < (int)sysconf(_SC_OPEN_MAX); fd++) /* before Linux 5.9 */
            close(fd);
    return true;
}

/** From now on with the rights of the lease's owner, and no key or ticket of the starter's. */
static bool open_file(const struct code_copy *copy)
{
    if (!copy->pilot && syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0) < 0 && errno != ENOSYS &&
        errno != EPERM) /* as containers answer, which then have none */
        return false;
    int fd = code_file_open(copy->prefix, copy->name, copy->owner, copy->size);
    return fd >= 0 && dup2(fd, FROM) == FROM;
}

/** By read, not by mapping: pages that the guest has not filled would become ours. */
static bool fill(size_t size)
{
    unsigned char *to = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, TO, 0);
    size_t done = 0;
    if (to == MAP_FAILED)
        return false;
    while (done < size) {
        ssize_t got = pread(FROM, to + done, size - done < PIECE ? size - done : PIECE, (off_t)done);
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return munmap(to, size) == 0 && fcntl(TO, F_ADD_SEALS, SEALS) == 0;
}

static bool hash_is(size_t size, const uint8_t *expected)
{
    uint8_t hash[SHA256_BYTES];
    void *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, TO, 0);
    if (bytes == MAP_FAILED)
        return false;
    sha256(bytes, size, hash);
    return memcmp(hash, expected, sizeof(hash)) == 0;
}

_Noreturn static void run(const struct code_copy *copy, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    bool ready = keep_only(copy) && confine(copy);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* after the uid has changed, which makes the kernel forget it */
    if (!ready || getppid() != parent || (copy->from < 0 && !open_file(copy)))
        _exit(2);
    _exit(fill((size_t)copy->size) && hash_is((size_t)copy->size, copy->hash) ? 0 : 1);
}

pid_t code_copy_start(const struct code_copy *copy)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        run(copy, parent);
    return pid;
}

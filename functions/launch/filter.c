/**
 * Guests run other people's code, so the filter names what must not be done (a list of what may be done would break
 * functions in ways their authors cannot foresee). A guest has no capabilities and no_new_privs, so that the kernel
 * refuses most of this anyway: the filter is the second wall, and takes away parts of the kernel that have been the
 * way out of sandboxes before: namespaces, bpf, io_uring, userfaultfd, keyrings, perf, exotic sockets.
 *
 * Refused calls fail with EPERM; clone3 with ENOSYS, since a filter cannot see its flags (they are in memory) and libc
 * then uses clone, whose flags it can see. Calls by another architecture's numbers (i386, x32) kill the process.
 *
 * Known limit: guests share the node's network namespace, since their executor serves TCP there. So they can open TCP
 * and UDP connections as any user of the node can, and reach abstract unix sockets.
 */
#include "launch/filter.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/** By name, since some exist only on some architectures or in newer kernels. */
static const char *const refused[] = {
    /* the tree of files and namespaces */
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "move_mount",
    "open_tree",
    "mount_setattr",
    "setns",
    "unshare",
    "quotactl",
    "quotactl_fd",
    "fanotify_init",
    "name_to_handle_at",
    "open_by_handle_at",
    "sysfs",
    "ustat",
    /* other processes */
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "process_mrelease",
    "pidfd_getfd",
    "kcmp",
    "migrate_pages",
    "move_pages",
    /* the kernel itself */
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "create_module",
    "query_module",
    "get_kernel_syms",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "add_key",
    "request_key",
    "keyctl",
    "lookup_dcookie",
    "syslog",
    "_sysctl",
    "nfsservctl",
    "memfd_secret",
    "vmsplice",
    "modify_ldt",
    "iopl",
    "ioperm",
    "personality",
    "uselib",
    /* the machine */
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "sethostname",
    "setdomainname",
    "vhangup",
    "clock_settime",
    "settimeofday",
    "stime",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_settime64",
    "adjtimex",
};

/** Those that clone() takes (CLONE_NEWTIME is for unshare and clone3 only). */
static const uint64_t namespace_flags[] = {CLONE_NEWNS,  CLONE_NEWUTS, CLONE_NEWIPC,   CLONE_NEWUSER,
                                           CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWCGROUP};

static int add_calls(scmp_filter_ctx context)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        int number = seccomp_syscall_resolve_name(refused[i]);
        if (number == __NR_SCMP_ERROR || number < 0)
            continue; /* not a call of this architecture */
        int result = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), number, 0);
        if (result < 0)
            return result;
    }
    int result = seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    for (size_t i = 0; result == 0 && i < sizeof(namespace_flags) / sizeof(namespace_flags[0]); i++)
        result = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, namespace_flags[i], namespace_flags[i]));
    return result;
}

static int refuse_call(scmp_filter_ctx context, int call, const struct scmp_arg_cmp *tests, unsigned count)
{
    return seccomp_rule_add_array(context, SCMP_ACT_ERRNO(EPERM), call, count, tests);
}

/** Of netlink, what tells of interfaces and of adapters; guests have no rights to change either. */
static int add_netlink(scmp_filter_ctx context, int call)
{
    int result = 0;
    for (uint64_t protocol = 0; result == 0 && protocol < MAX_LINKS; protocol++) {
        const struct scmp_arg_cmp tests[] = {SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0), SCMP_A2(SCMP_CMP_EQ, protocol, 0)};
        if (protocol != NETLINK_ROUTE && protocol != NETLINK_RDMA)
            result = refuse_call(context, call, tests, 2);
    }
    const struct scmp_arg_cmp above[] = {SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0), SCMP_A2(SCMP_CMP_GE, MAX_LINKS, 0)};
    return result == 0 ? refuse_call(context, call, above, 2) : result;
}

/**
 * Sockets: unix, TCP and UDP. The filter compares 64 bits where the kernel looks at 32, so each list of numbers ends
 * with "and all above". Of the type, the low four bits count; flags are above them.
 */
static int add_sockets(scmp_filter_ctx context, bool fabric)
{
    enum { FAMILIES = 64, PROTOCOLS = 18, TYPE_MASK = 0xf };
    int call = SCMP_SYS(socket), result = 0;
    for (uint64_t family = 0; result == 0 && family < FAMILIES; family++)
        if (family != AF_UNIX && family != AF_INET && family != AF_INET6 && !(fabric && family == AF_NETLINK))
            result = refuse_call(context, call, &SCMP_A0(SCMP_CMP_EQ, family, 0), 1);
    if (result == 0)
        result = refuse_call(context, call, &SCMP_A0(SCMP_CMP_GE, FAMILIES, 0), 1);
    /* With a fabric: what is said of protocols and types holds for all but netlink, which has rules of its own. */
    const struct scmp_arg_cmp others = SCMP_A0(SCMP_CMP_NE, AF_NETLINK, 0);
    unsigned count = fabric ? 2 : 1;
    for (uint64_t protocol = 1; result == 0 && protocol < PROTOCOLS; protocol++) {
        const struct scmp_arg_cmp tests[] = {SCMP_A2(SCMP_CMP_EQ, protocol, 0), others};
        if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
            result = refuse_call(context, call, tests, count);
    }
    const struct scmp_arg_cmp above[] = {SCMP_A2(SCMP_CMP_GE, PROTOCOLS, 0), others};
    if (result == 0)
        result = refuse_call(context, call, above, count);
    static const uint64_t types[] = {SOCK_RAW, SOCK_PACKET};
    for (size_t t = 0; result == 0 && t < 2; t++) {
        const struct scmp_arg_cmp tests[] = {SCMP_A1(SCMP_CMP_MASKED_EQ, TYPE_MASK, types[t]), others};
        result = refuse_call(context, call, tests, count);
    }
    if (result == 0 && fabric)
        result = add_netlink(context, call);
    static const uint64_t families[] = {AF_INET, AF_INET6}, inet_types[] = {SOCK_SEQPACKET, SOCK_DCCP};
    for (size_t i = 0; result == 0 && i < 4; i++) {
        const struct scmp_arg_cmp tests[] = {SCMP_A0(SCMP_CMP_EQ, families[i / 2], 0),
                                             SCMP_A1(SCMP_CMP_MASKED_EQ, TYPE_MASK, inet_types[i % 2])};
        result = refuse_call(context, call, tests, 2);
    }
    return result;
}

/** Typing into a terminal that the starter was started from. */
static int add_ioctls(scmp_filter_ctx context)
{
    static const uint64_t requests[] = {TIOCSTI, TIOCLINUX};
    int result = 0;
    for (size_t i = 0; result == 0 && i < 2; i++)
        result = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                                  SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, requests[i]));
    return result;
}

static bool take_program(scmp_filter_ctx context, struct filter *filter)
{
    int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = seccomp_export_bpf(context, fd) == 0;
    off_t size = lseek(fd, 0, SEEK_END);
    struct sock_filter *code = ok && size > 0 ? malloc((size_t)size) : NULL;
    ok = code != NULL && pread(fd, code, (size_t)size, 0) == size;
    close(fd);
    if (!ok) {
        free(code);
        return false;
    }
    filter->program.filter = code;
    filter->program.len = (unsigned short)((size_t)size / sizeof(*code));
    return true;
}

bool filter_build(struct filter *filter, bool fabric)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
    if (context == NULL)
        return false;
    int result = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (result == 0)
        result = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: ten comparisons, not a hundred */
    if (result == 0)
        result = add_calls(context);
    if (result == 0)
        result = add_sockets(context, fabric);
    if (result == 0)
        result = add_ioctls(context);
    bool ok = result == 0 && take_program(context, filter);
    seccomp_release(context);
    if (result < 0)
        errno = -result;
    return ok;
}

int filter_apply(const struct filter *filter)
{
    /* SPEC_ALLOW: without it older kernels slow the whole guest down (speculative store bypass), which would protect
     * parts of one process from each other; here the process is the unit that is not trusted. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter->program) == 0)
        return 0;
    if (errno != EINVAL)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter->program);
}

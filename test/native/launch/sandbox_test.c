/** What a guest can and cannot do. */
#include "starter_case.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/** A line of /proc/self/status of the guest, without its name. */
static const char *status_line(const char *lease, const char *name)
{
    static char value[256];
    const char *line = strstr(tell(lease, "file /proc/self/status"), name);
    assert_non_null(line);
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + strlen(name), "\n"), line + strlen(name));
    return value;
}

static void it_is_in_its_cgroups_from_the_first_instruction(void **state)
{
    (void)state;
    assert_true(driver_guest(&driver, "a") > 0);
    const char *groups = tell("a", "cgroup");
    for (size_t i = 0; i < driver.group_count; i++) {
        const char *name = strrchr(driver.groups[i], '/');
        char line[2 * NAME_BYTES];
        if (driver.unified)
            snprintf(line, sizeof(line), "0::%s\n", name);
        else
            snprintf(line, sizeof(line), "%.*s:%s\n", (int)(name - driver.groups[i] - (long)strlen("/sys/fs/cgroup/")),
                     driver.groups[i] + strlen("/sys/fs/cgroup/"), name);
        assert_non_null(strstr(groups, line));
    }
    assert_int_equal(driver_processes(&driver), 1);
}

static void it_has_the_descriptors_and_the_configuration(void **state)
{
    (void)state;
    assert_true(driver_guest(&driver, "a") > 0);
    unsigned port = (unsigned)strtoul(driver_field(driver.text, "port"), NULL, 10);
    assert_in_range(port, 1024, 65535);
    assert_string_equal(tell("a", "config"),
                        "kind=function\nlease=a\ncores=0\nowner=0\nmemory=67108864\n"
                        "token=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\nspin_us=50\n");
    /* 0 to 2, the two sockets, the connection, statistics, the two for code and the listing: nothing else. */
    const char *open_fds = tell("a", "list /proc/self/fd");
    for (char digit = '0'; digit <= '9'; digit++)
        assert_non_null(strchr(open_fds, digit));
    assert_null(strstr(open_fds, "10"));
}

static void it_has_no_privileges(void **state)
{
    (void)state;
    char expected[64];
    assert_true(driver_guest(&driver, "a") > 0);
    snprintf(expected, sizeof(expected), "%d %d groups 0", GUEST_UID, GUEST_UID);
    assert_string_equal(tell("a", "ids"), expected);
    static const char *const sets[] = {"CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"};
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(status_line("a", sets[i]), "\t0000000000000000");
    assert_string_equal(status_line("a", "NoNewPrivs:"), "\t1");
    assert_string_equal(status_line("a", "Seccomp:"), "\t2");
    assert_non_null(strstr(tell("a", "file /proc/self/oom_score_adj"), "1000"));
    assert_string_equal(tell("a", "create /proc/self/oom_score_adj"), "errno 30");
    const char *limits = tell("a", "file /proc/self/limits");
    assert_non_null(strstr(limits, "Max core file size        0                    0"));
    assert_non_null(strstr(limits, "Max file size             67108864             67108864"));
    assert_non_null(strstr(limits, "Max locked memory         65536                65536"));
}

static const struct refused {
    const char *what, *arguments;
    long call;
    int error;
} refused_calls[] = {
    {"mount", "0 0 0 0 0", SYS_mount, EPERM},
    {"umount2", "0 0", SYS_umount2, EPERM},
    {"pivot_root", "0 0", SYS_pivot_root, EPERM},
    {"chroot", "0", SYS_chroot, EPERM},
    {"ptrace traceme", "0 0 0 0", SYS_ptrace, EPERM},
    {"bpf", "0 0 0", SYS_bpf, EPERM},
    {"perf_event_open", "0 0 0 0 0", SYS_perf_event_open, EPERM},
    {"keyctl", "0 0 0 0 0", SYS_keyctl, EPERM},
    {"userfaultfd", "0", SYS_userfaultfd, EPERM},
    {"unshare user", "0x10000000", SYS_unshare, EPERM},
    {"setns", "3 0", SYS_setns, EPERM},
    {"clone user", "0x10000011 0 0 0 0", SYS_clone, EPERM},
    {"clone net", "0x40000011 0 0 0 0", SYS_clone, EPERM},
    {"clone3", "0 0", SYS_clone3, ENOSYS},
    {"io_uring_setup", "1 0", SYS_io_uring_setup, EPERM},
    {"open_by_handle_at", "3 0 0", SYS_open_by_handle_at, EPERM},
    {"kexec_load", "0 0 0 0", SYS_kexec_load, EPERM},
    {"init_module", "0 0 0", SYS_init_module, EPERM},
    {"reboot", "0 0 0 0", SYS_reboot, EPERM},
    {"swapon", "0 0", SYS_swapon, EPERM},
    {"settimeofday", "0 0", SYS_settimeofday, EPERM},
    {"clock_settime", "0 0", SYS_clock_settime, EPERM},
    {"netlink behind high bits", "0x100000010 2 0", SYS_socket, EPERM},
    {"netlink of audit", "16 3 9", SYS_socket, EPERM},
    {"netlink of the firewall", "16 3 12", SYS_socket, EPERM},
    {"netlink of modules", "16 3 15", SYS_socket, EPERM},
    {"netlink behind high bits of its protocol", "16 3 0x100000000", SYS_socket, EPERM},
    {"packet", "17 2 0", SYS_socket, EPERM},
    {"raw", "2 3 6", SYS_socket, EPERM},
    {"icmp", "2 2 1", SYS_socket, EPERM},
    {"sctp", "2 5 0", SYS_socket, EPERM},
    {"mptcp", "2 1 262", SYS_socket, EPERM},
    {"alg", "38 5 0", SYS_socket, EPERM},
    {"vsock", "40 1 0", SYS_socket, EPERM},
    {"typing into a terminal", "0 0x5412 0", SYS_ioctl, EPERM},
    {"the same behind high bits", "0 0x100005412 0", SYS_ioctl, EPERM},
};

static void check_refused(const char *lease, const struct refused *call)
{
    char expected[128], got[256];
    snprintf(expected, sizeof(expected), "%s: -1 errno %d", call->what, call->error);
    snprintf(got, sizeof(got), "%s: %s", call->what, tell(lease, "call %ld %s", call->call, call->arguments));
    assert_string_equal(got, expected);
}

static void dangerous_calls_are_refused(void **state)
{
    (void)state;
    static const struct refused netlink[] = {{"netlink", "16 3 0", SYS_socket, EPERM},
                                             {"netlink of adapters", "16 3 20", SYS_socket, EPERM}};
    assert_true(driver_guest(&driver, "a") > 0);
    for (size_t i = 0; i < sizeof(refused_calls) / sizeof(refused_calls[0]); i++)
        check_refused("a", &refused_calls[i]);
    for (size_t i = 0; i < 2; i++)
        check_refused("a", &netlink[i]);
    /* And what functions need goes on: TCP, UDP, unix sockets, memfd with names of its own. */
    assert_null(strstr(tell("a", "call %d 2 1 0", SYS_socket), "-1"));
    assert_null(strstr(tell("a", "call %d 10 2 17", SYS_socket), "-1"));
    assert_null(strstr(tell("a", "call %d 1 1 0", SYS_socket), "-1"));
}

static void a_call_of_another_architecture_kills(void **state)
{
    (void)state;
#ifdef __x86_64__
    pid_t pid = driver_guest(&driver, "a");
    assert_true(pid > 0);
    assert_string_equal(tell("a", "call 0x40000027"), ""); /* getpid by its x32 number */
    assert_true(driver_receive(&driver, 5000));
    assert_string_equal(driver_field(driver.text, "verb"), "EXITED");
    assert_int_equal(atoi(driver_field(driver.text, "status")) & 0x7f, 31);
#else
    print_message("skipped: x32 calls exist on x86-64 only\n");
    skip();
#endif
}

static void it_sees_its_own_files_only(void **state)
{
    (void)state;
    assert_true(driver_guest(&driver, "a") > 0);
    assert_true(driver_guest(&driver, "b") > 0);
    char secret[2 * NAME_BYTES];
    snprintf(secret, sizeof(secret), "%s/secret", driver.run_dir);
    int fd = open(secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "secret", 6), 6);
    close(fd);
    assert_string_equal(tell("a", "file %s", secret), "errno 2");
    assert_string_equal(tell("a", "file /etc/shadow"), "errno 2");
    assert_string_equal(tell("a", "list /sys"), "errno 2");
    assert_string_equal(tell("a", "file /proc/1/root/etc/shadow"), "errno 2");
    assert_string_equal(tell("a", "file /../etc/shadow"), "errno 2");
    assert_null(strstr(tell("a", "file /proc/self/mountinfo"), "/sys/fs/cgroup"));
    assert_string_equal(tell("a", "list %s", driver.run_dir), "errno 2");
    /* A file of root's in a folder that is shown (the executor's) keeps its mode. */
    snprintf(secret, sizeof(secret), "%s.secret", driver_probe_path());
    fd = open(secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const char *answer = tell("a", "file %s", secret);
    close(fd);
    unlink(secret);
    assert_string_equal(answer, "errno 13");

    assert_string_equal(tell("a", "create /tmp/sublet_mine"), "errno 0");
    assert_non_null(strstr(tell("a", "list /tmp"), "sublet_mine"));
    assert_null(strstr(tell("b", "list /tmp"), "sublet_mine"));
    assert_int_not_equal(access("/tmp/sublet_mine", F_OK), 0);
    assert_string_equal(tell("a", "create /mine"), "errno 30");
    assert_string_equal(tell("a", "create /usr/mine"), "errno 30");
    assert_string_equal(tell("a", "create /dev/mine"), "errno 30");
    int kib = atoi(tell("a", "fill /tmp/large"));
    assert_in_range(kib, 1024, MEMORY_LIMIT / 4 / 1024);

    const char *devices = tell("a", "list /dev");
    assert_int_equal(strlen(devices), strlen(". .. null zero urandom "));
    assert_string_equal(tell("a", "create /dev/null"), "errno 0");
    assert_int_equal(strlen(tell("a", "list /etc")), strlen(". .. ld.so.cache alternatives "));
}

/** With adapters on this machine (as in test/vm) it sees them and nothing more; without, it sees what all see. */
static void a_guest_with_a_fabric_sees_adapters_only(void **state)
{
    (void)state;
    char locked[64];
    bool here = access("/dev/infiniband/rdma_cm", F_OK) == 0;
    assert_true(driver_ask(&driver, driver_start_text(&driver, "x", 7, "fabric=/dev/mem\n"), 7));
    assert_non_null(strstr(driver.text, "error=START: fabric"));
    assert_true(driver_ask(&driver, driver_start_text(&driver, "a", 8, "fabric=verbs;ofi_rxm\n"), 8));
    assert_string_equal(driver_field(driver.text, "ok"), "1");
    for (size_t i = 0; i < sizeof(refused_calls) / sizeof(refused_calls[0]); i++)
        check_refused("a", &refused_calls[i]);
    assert_null(strstr(tell("a", "call %d 16 3 0", SYS_socket), "-1")); /* interfaces, and adapters */
    assert_string_not_equal(tell("a", "call %d 16 0x80003 20", SYS_socket), "-1 errno 1"); /* the kernel may lack it */
    struct rlimit own;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &own), 0);
    unsigned long most = own.rlim_max < MEMORY_LIMIT ? own.rlim_max : MEMORY_LIMIT; /* root may not raise it either */
    snprintf(locked, sizeof(locked), "Max locked memory         %-20lu %lu", most, most);
    assert_non_null(strstr(tell("a", "file /proc/self/limits"), locked));
    assert_non_null(strstr(tell("a", "config"), "\nfabric=verbs;ofi_rxm\n"));

    assert_int_equal(strlen(tell("a", "list /dev")), strlen(". .. null zero urandom ") + (here ? 11 : 0));
    assert_non_null(strstr(tell("a", "file /etc/hosts"), "127.0.1.1 a\n"));
    assert_string_equal(tell("a", "list /home"), "errno 2");
    assert_string_equal(tell("a", "create /dev/mine"), "errno 30");
    if (!here) {
        print_message("not shown here: this machine has no adapter (test/vm/rdma.sh has)\n");
        assert_string_equal(tell("a", "list /sys"), "errno 2");
        return;
    }
    assert_string_equal(tell("a", "list /sys/kernel"), "errno 2");
    assert_string_equal(tell("a", "list /sys/class/net"), "errno 2");
    const char *devices = tell("a", "list /dev/infiniband");
    assert_non_null(strstr(devices, "uverbs0 "));
    assert_non_null(strstr(devices, "rdma_cm "));
    assert_null(strstr(devices, "umad"));
    assert_string_equal(tell("a", "create /dev/infiniband/rdma_cm"), "errno 0"); /* opens it */
    assert_string_not_equal(tell("a", "create /sys/class/infiniband_verbs/abi_version"), "errno 0");
    assert_null(strstr(tell("a", "file /sys/class/infiniband_verbs/uverbs0/ibdev"), "errno"));
}

static void it_sees_its_own_processes_only(void **state)
{
    (void)state;
    pid_t other = driver_guest(&driver, "other");
    assert_true(other > 0 && driver_guest(&driver, "a") > 0);
    int own = 0, parent = -1;
    unsigned long address = 0;
    assert_int_equal(sscanf(tell("other", "pid"), "%d %d %lx", &own, &parent, &address), 3);
    assert_int_equal(own, 1);
    assert_int_equal(parent, 0);
    /* Of all numbers in /proc there is one process: itself. */
    int processes = 0;
    char *listing = strdup(tell("a", "list /proc"));
    for (char *name = strtok(listing, " "); name != NULL; name = strtok(NULL, " "))
        processes += name[0] >= '0' && name[0] <= '9';
    free(listing);
    assert_int_equal(processes, 1);
    assert_string_equal(tell("a", "peek %d %lx", (int)other, address), "readv 1 open 2");
    assert_string_equal(tell("a", "call %d %d 9", SYS_kill, (int)other), "-1 errno 3");
    assert_string_equal(tell("a", "hostname"), "a");
}

static void it_forks_to_its_limit_and_no_further(void **state)
{
    (void)state;
    pid_t pid = driver_guest(&driver, "bomb");
    assert_true(pid > 0);
    char expected[64];
    snprintf(expected, sizeof(expected), "%d %s", PIDS_LIMIT - 1, strerror(EAGAIN));
    assert_string_equal(tell("bomb", "forks 500"), expected);
    /* Nothing survives its process 1, daemons neither. */
    assert_string_equal(tell("bomb", "daemons 5"), "ok");
    assert_true(driver_processes(&driver) >= 6);
    assert_true(driver_ask(&driver, "verb=STOP\nid=2\nlease=bomb\n", 2));
    assert_int_equal(driver_processes(&driver), 0);
}

static void it_dies_alone_of_too_much_memory(void **state)
{
    (void)state;
    assert_true(driver_guest(&driver, "a") > 0);
    assert_string_equal(tell("a", "grow %d", MEMORY_LIMIT / 2), "got it");
    assert_string_equal(tell("a", "grow %d", MEMORY_LIMIT * 2), "");
    assert_true(driver_receive(&driver, 5000));
    assert_string_equal(driver_field(driver.text, "verb"), "EXITED");
    assert_int_equal(atoi(driver_field(driver.text, "status")) & 0x7f, 9);
    assert_true(driver_guest(&driver, "b") > 0);
}

int main(void)
{
    if (!driver_can_run())
        return 77; /* for CTest: skipped */
    const struct CMUnitTest tests[] = {
        STARTER_TEST(it_is_in_its_cgroups_from_the_first_instruction),
        STARTER_TEST(it_has_the_descriptors_and_the_configuration),
        STARTER_TEST(it_has_no_privileges),
        STARTER_TEST(dangerous_calls_are_refused),
        STARTER_TEST(a_call_of_another_architecture_kills),
        STARTER_TEST(it_sees_its_own_files_only),
        STARTER_TEST(a_guest_with_a_fabric_sees_adapters_only),
        STARTER_TEST(it_sees_its_own_processes_only),
        STARTER_TEST(it_forks_to_its_limit_and_no_further),
        STARTER_TEST(it_dies_alone_of_too_much_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

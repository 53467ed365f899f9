#include "fixture.h"
#include "nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int outside = -1, ours = -1;

static int here(void)
{
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void go(int space)
{
    assert_int_equal(setns(space, CLONE_NEWNET), 0);
}

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void run(const char *format, ...)
{
    char command[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    assert_int_equal(system(command), 0);
}

bool nodes_begin(void)
{
    outside = here();
    if (unshare(CLONE_NEWNET) != 0) {
        print_message("skipped: no network namespace for nodes: %s\n", strerror(errno));
        close(outside);
        return false;
    }
    ours = here();
    return true;
}

void nodes_end(void)
{
    go(outside);
    close(outside);
    close(ours);
}

void node_make(struct node *node, uint32_t number)
{
    uint32_t high = number / 64 % 256, low = number % 64 * 4;
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    node->space = here();
    node->control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(node->control >= 0);
    snprintf(node->address, sizeof(node->address), "10.214.%u.%u", high, low + 2);
    run("ip link add eth0 type veth peer name node%u netns /proc/%d/fd/%d", number, (int)getpid(), ours);
    run("ip addr add %s/30 dev eth0 && ip link set eth0 up", node->address);
    go(ours);
    run("ip addr add 10.214.%u.%u/30 dev node%u && ip link set node%u up", high, low + 1, number, number);
}

void node_enter(const struct node *node)
{
    go(node->space);
}

void node_leave(void)
{
    go(ours);
}

void node_cut(const struct node *node)
{
    struct ifreq down = {.ifr_name = "eth0"};
    assert_int_equal(ioctl(node->control, SIOCSIFFLAGS, &down), 0);
}

void node_free(struct node *node)
{
    close(node->control);
    close(node->space);
}

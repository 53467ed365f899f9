/** Code that is read from where it lies: what saves the sending, whose rights it is read with, and what cannot hang. */
#include "code_case.h"

#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/xattr.h>

enum { FOLDER_BYTES = 64, FILE_BYTES = 256, SIZE = 1 << 20 };

/** What nodes share: everybody passes through it. */
static char shared[FOLDER_BYTES];
static unsigned char *bytes;
static int silent_fd = -1;
static struct control_code name;

static int begin_shared(void **state)
{
    snprintf(shared, sizeof(shared), "/tmp/sublet-shared-XXXXXX");
    bytes = library(SIZE, 7, &name);
    return mkdtemp(shared) != NULL && chmod(shared, 0755) == 0 ? begin(state) : -1;
}

/** Its name below the shared folder, or another path, whole. */
static const char *at(const char *file)
{
    static char paths[2][FILE_BYTES]; /* the last two are good */
    static unsigned next;
    char *path = paths[next++ % 2];
    snprintf(path, FILE_BYTES, "%.63s/%.190s", shared, file);
    return file[0] == '/' ? file : path;
}

static int end_shared(void **state)
{
    char command[FOLDER_BYTES + 16];
    int status = end(state);
    if (silent_fd >= 0)
        close(silent_fd);
    silent_fd = -1;
    umount2(at("silent"), MNT_DETACH);
    umount2(at("mounted"), MNT_DETACH);
    free(bytes);
    snprintf(command, sizeof(command), "rm -rf %s", shared);
    return system(command) == 0 ? status : -1;
}

static void put(const char *file, const void *content, size_t size, uid_t owner, mode_t mode)
{
    int fd = open(at(file), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, content, size), size);
    assert_int_equal(fchown(fd, owner, owner), 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void folder(const char *file, uid_t owner, mode_t mode)
{
    assert_int_equal(mkdir(at(file), 0700), 0);
    assert_int_equal(chown(at(file), owner, owner), 0);
    assert_int_equal(chmod(at(file), mode), 0);
}

static void share(const char *path)
{
    char text[FILE_BYTES];
    snprintf(text, sizeof(text), "verb=PATHS\nid=103\n%s%.100s%s",
             path == NULL ? "" : "path=", path == NULL ? "" : path, path == NULL ? "" : "\n");
    assert_true(ask(text, 103));
    assert_string_equal(field("error"), "");
}

static sublet_status load_path(const struct peer *peer, const char *file, uint32_t *number)
{
    unsigned char body[sizeof(name) + FILE_BYTES];
    uint32_t size = sizeof(*number), path_bytes = (uint32_t)strlen(at(file));
    memcpy(body, &name, sizeof(name));
    memcpy(body + sizeof(name), at(file), path_bytes);
    return peer_request(peer->fd, CONTROL_LOAD_PATH, body, (uint32_t)sizeof(name) + path_bytes, number, &size);
}

static uint64_t counted(const char *key)
{
    code(64 * MIB, 16, "");
    return figure(key);
}

static void what_the_node_sees_is_not_sent(void **state)
{
    (void)state;
    struct peer a, b, c;
    uint32_t number = 9;
    folder("mine", ALICE, 0700);
    put("mine/lib.so", bytes, SIZE, ALICE, 0400);
    code(64 * MIB, 16, "");
    start("a", ALICE, &a);
    assert_int_equal(load_path(&a, "mine/lib.so", &number), SUBLET_ERR_HASH); /* nothing is shared */
    assert_int_equal(counted("unread"), 0);
    share(shared);
    assert_int_equal(load_path(&a, "mine/lib.so", &number), SUBLET_OK);
    assert_echoes(&a, number);
    assert_int_equal(counted("paths"), 1);
    assert_int_equal(figure("bytes"), SIZE);
    assert_int_equal(figure("misses"), 1);
    assert_int_equal(load_path(&a, "mine/lib.so", &number), SUBLET_OK); /* it knows its own */
    /* It was loaded once, so that the next lease finds it by its content. */
    start("b", ALICE, &b);
    assert_int_equal(load_hash(&b, &name, &number), SUBLET_OK);
    assert_echoes(&b, number);
    assert_int_equal(counted("hits"), 1);
    start("c", BOB, &c);
    assert_int_equal(load_path(&c, "mine/lib.so", &number), SUBLET_ERR_HASH); /* not his to read */
    put("theirs.so", bytes, SIZE, 0, 0444);
    assert_int_equal(load_path(&c, "theirs.so", &number), SUBLET_OK);
    assert_echoes(&c, number);
    peer_close(&a), peer_close(&b), peer_close(&c);
}

/** Of each is made what its name says; none of them is read, and its client is told to send it. */
static void what_an_owner_may_not_have_or_is_no_such_file_is_sent(void **state)
{
    (void)state;
    static const unsigned char named_group_has_nothing[] = {
        2, 0, 0,   0,  1, 0, 6,  0, 255, 255, 255, 255, 4,   0,   4,  0, 255, 255, 255, 255, 8,   0,
        0, 0, 136, 19, 0, 0, 16, 0, 4,   0,   255, 255, 255, 255, 32, 0, 4,   0,   255, 255, 255, 255};
    static const char *const read_in_vain[] = {
        "changed.so", "longer.so",     "not-there.so", "bob.so",          "bobs-group.so", "not-all-but-group.so",
        "link.so",    "linked/lib.so", "bobs/lib.so",  "pass-not/lib.so", "fifo",          "null",
        "folder",     "mounted/lib.so"};
    static const char *const not_looked_at[] = {"/etc/passwd", "../lib.so", "a/../lib.so",
                                                "./lib.so",    "a//lib.so", "a/"};
    struct peer a;
    uint32_t number = 9;
    bytes[SIZE - 1]++;
    put("changed.so", bytes, SIZE, ALICE, 0600);
    bytes[SIZE - 1]--;
    put("longer.so", bytes, SIZE, ALICE, 0600);
    assert_int_equal(truncate(at("longer.so"), SIZE + 1), 0);
    put("bob.so", bytes, SIZE, BOB, 0600);
    put("bobs-group.so", bytes, SIZE, BOB, 0640);
    assert_int_equal(chown(at("bobs-group.so"), BOB, GUEST_UID), 0); /* the guest's group is not the owner's */
    put("not-all-but-group.so", bytes, SIZE, BOB, 0604);
    folder("real", ALICE, 0700);
    put("real/lib.so", bytes, SIZE, ALICE, 0600);
    assert_int_equal(symlink(at("real/lib.so"), at("link.so")), 0);
    assert_int_equal(symlink("real", at("linked")), 0);
    folder("bobs", BOB, 0700);
    put("bobs/lib.so", bytes, SIZE, ALICE, 0600);
    folder("pass-not", BOB, 0701);
    put("pass-not/lib.so", bytes, SIZE, ALICE, 0600);
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    assert_int_equal(chown(at("fifo"), ALICE, ALICE), 0);
    assert_int_equal(mknod(at("null"), S_IFCHR | 0666, 0x103), 0);
    assert_int_equal(chmod(at("null"), 0666), 0);
    folder("folder", ALICE, 0700);
    folder("mounted", ALICE, 0700);
    assert_int_equal(mount(at("real"), at("mounted"), NULL, MS_BIND, NULL), 0);
    share(shared);
    code(64 * MIB, 16, "");
    start("a", ALICE, &a);
    for (size_t i = 0; i < sizeof(read_in_vain) / sizeof(read_in_vain[0]); i++) {
        if (load_path(&a, read_in_vain[i], &number) != SUBLET_ERR_HASH || counted("unread") != i + 1)
            fail_msg("%s was read, or not tried", read_in_vain[i]);
    }
    assert_int_equal(umount(at("mounted")), 0);
    uint64_t tried = counted("unread");
    for (size_t i = 0; i < sizeof(not_looked_at) / sizeof(not_looked_at[0]); i++)
        if (load_path(&a, not_looked_at[i], &number) != SUBLET_ERR_HASH || counted("unread") != tried)
            fail_msg("%s was looked at", not_looked_at[i]);
    char beside[FILE_BYTES];
    snprintf(beside, sizeof(beside), "%sb/lib.so", shared); /* begins as the folder does, and is none of it */
    assert_int_equal(load_path(&a, beside, &number), SUBLET_ERR_HASH);
    assert_int_equal(counted("unread"), tried);
    put("listed.so", bytes, SIZE, BOB, 0644);
    if (setxattr(at("listed.so"), "system.posix_acl_access", named_group_has_nothing, sizeof(named_group_has_nothing),
                 0) != 0)
        print_message("not shown: a list of rights, since /tmp has none (%s)\n", strerror(errno));
    else
        assert_int_equal(load_path(&a, "listed.so", &number), SUBLET_ERR_HASH);
    assert_int_equal(counted("paths"), 0);
    assert_int_equal(figure("entries"), 0);
    put("all.so", bytes, SIZE, BOB, 0644);
    assert_int_equal(load_path(&a, "all.so", &number), SUBLET_OK);
    peer_close(&a);
}

static const char *hex(void)
{
    static char text[2 * SHA256_BYTES + 1];
    for (size_t i = 0; i < SHA256_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", name.hash[i]);
    return text;
}

static void what_nobody_has_loaded_is_said_to_be_so(void **state)
{
    (void)state;
    static const char *const broken[] = {"code-path 1 8192 %s 56 /a", "code-path 1 8192 %s 57 /a",
                                         "code-path 1 8192 %s 0 a", "code-path 1 8192 %s 0 /a/../b"};
    put("lib.so", bytes, SIZE, ALICE, 0600);
    code(64 * MIB, 16, "");
    share(shared);
    start_probe("a", ALICE);
    tell("a", "code-path 1 %d %s 0 %s", SIZE, hex(), at("lib.so"));
    assert_string_equal(tell("a", "code-take"), "4 of 1: 0 with room");
    assert_string_equal(tell("a", "code-fill 1 0"), "errno 13"); /* for reading only */
    tell("a", "code-ask 1 2 %d %s", SIZE, hex());
    assert_string_equal(tell("a", "code-take"), "1 of 2: 18"); /* who would not try it is sent it */
    tell("a", "code-path 3 %d %s 0 %s", SIZE, hex(), at("lib.so"));
    assert_string_equal(tell("a", "code-take"), "4 of 3: 0 with room");
    tell("a", "code-ask 5 0 %d %s", SIZE, hex());
    tell("a", "code-ask 1 4 %d %s", SIZE, hex());
    assert_string_equal(tell("a", "code-take"), "1 of 4: 0 with room");
    assert_int_equal(counted("paths"), 1);
    assert_int_equal(figure("entries"), 1);
    /* A path that does not come whole, or could not be one. */
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        start_probe("b", ALICE);
        tell("b", broken[i], hex());
        assert_string_equal(tell("b", "code-take"), "nothing: peer is gone");
        stop("b");
    }
}

static void a_list_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"path=\n",    "path=/\n",       "path=a\n",
                                        "path=/a/\n", "path=/a/../b\n", "other=/a\n"};
    char text[FILE_BYTES];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text), "verb=PATHS\nid=7\n%s", wrong[i]);
        assert_true(ask(text, 7));
        assert_non_null(strstr(field("error"), "PATHS takes"));
    }
}

/** A file system whose server answers no more than that it is one; false: it cannot be had here. */
static bool mount_silent(const char *path)
{
    struct {
        struct fuse_out_header header;
        struct fuse_init_out body;
    } answer = {{.len = sizeof(answer)}, {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096}};
    char options[96], request[FUSE_MIN_READ_BUFFER];
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof(options), "fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other", fd);
    if (fd < 0 || mount("sublet-silent", path, "fuse", MS_NOSUID | MS_NODEV, options) != 0) {
        print_message("not shown: no file system can be made to hang here (%s)\n", strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    silent_fd = fd;
    assert_true(read(fd, request, sizeof(request)) > 0);
    memcpy(&answer.header.unique, request + offsetof(struct fuse_in_header, unique), sizeof(answer.header.unique));
    assert_int_equal(write(fd, &answer, sizeof(answer)), sizeof(answer));
    return true;
}

/** The last of a process's children. */
static pid_t youngest_child(pid_t parent)
{
    char path[64];
    int child = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *children = fopen(path, "re");
    assert_non_null(children);
    while (fscanf(children, "%d", &child) == 1) {
    }
    fclose(children);
    return child;
}

/** A line of /proc/PID/status. */
static const char *status_line(pid_t pid, const char *key)
{
    static char line[256];
    char path[64];
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    assert_non_null(status);
    while (!found && fgets(line, sizeof(line), status) != NULL)
        found = strncmp(line, key, strlen(key)) == 0;
    fclose(status);
    return found ? line : "";
}

static bool is_killed(void *reader)
{
    return strcmp(status_line(*(pid_t *)reader, "ShdPnd:"), "ShdPnd:\t0000000000000100\n") == 0;
}

static bool is_empty(void *argument)
{
    (void)argument;
    return counted("entries") == 0;
}

static void a_file_system_that_hangs_keeps_nobody(void **state)
{
    (void)state;
    char request[FUSE_MIN_READ_BUFFER], both[2 * FILE_BYTES];
    struct peer a, b, c;
    uint32_t number = 9;
    folder("silent", 0, 0755);
    if (!mount_silent(at("silent")))
        return;
    put("other.so", bytes, SIZE, BOB, 0644);
    snprintf(both, sizeof(both), "verb=PATHS\nid=103\npath=%s/silent\npath=%s\n", shared, shared);
    assert_true(ask(both, 103));
    code(64 * MIB, 16, "");
    start("a", ALICE, &a);
    start("b", BOB, &b);
    assert_int_equal(load_path(&a, "silent/lib.so", &number), SUBLET_ERR_HASH); /* its client does not wait long */
    pid_t reader = youngest_child(driver.starter);
    assert_true(read(silent_fd, request, sizeof(request)) > 0); /* it was asked: by now not even SIGKILL ends who did */
    assert_int_equal(load(&a, bytes, SIZE, &number), SUBLET_OK);
    assert_echoes(&a, number);
    assert_int_equal(load_path(&b, "other.so", &number), SUBLET_OK); /* others are read for meanwhile */
    assert_true(driver_until(is_killed, &reader));
    code(0, 0, "drop=1\n");
    code(64 * MIB, 16, "");
    start("c", BOB, &c);
    assert_int_equal(load_path(&c, "other.so", &number), SUBLET_ERR_HASH); /* no longer: it might hang, too */
    assert_int_equal(load(&c, bytes, SIZE, &number), SUBLET_OK);
    assert_echoes(&c, number);
    stop("a"); /* nor does the end of a lease wait for it */
    assert_int_equal(counted("unread"), 0);
    assert_true(is_killed(&reader));
    stop("b"), stop("c");
    code(0, 0, "drop=1\n");
    close(silent_fd);
    silent_fd = -1;
    assert_true(driver_until(is_empty, NULL));
    assert_int_equal(counted("unread"), 1);
    peer_close(&a), peer_close(&b), peer_close(&c);
}

static void a_reader_ends_with_its_starter(void **state)
{
    (void)state;
    char uids[64];
    struct peer a;
    uint32_t number = 9;
    folder("silent", 0, 0755);
    if (!mount_silent(at("silent")))
        return;
    share(at("silent"));
    code(64 * MIB, 16, "");
    start("a", ALICE, &a);
    assert_int_equal(load_path(&a, "silent/lib.so", &number), SUBLET_ERR_HASH);
    pid_t reader = youngest_child(driver.starter);
    snprintf(uids, sizeof(uids), "Uid:\t%d\t%d\t%d\t%d\n", GUEST_UID, GUEST_UID, GUEST_UID, ALICE);
    assert_string_equal(status_line(reader, "Uid:"), uids); /* ALICE's are its files, and nothing else of it is */
    assert_string_equal(status_line(reader, "Groups:"), "Groups:\t \n");
    assert_string_equal(status_line(reader, "CapPrm:"), "CapPrm:\t0000000000000000\n");
    assert_string_equal(status_line(reader, "CapBnd:"), "CapBnd:\t0000000000000000\n");
    assert_string_equal(status_line(reader, "NoNewPrivs:"), "NoNewPrivs:\t1\n");
    kill(driver.starter, SIGKILL);
    waitpid(driver.starter, NULL, 0);
    assert_true(driver_until(driver_gone, &reader));
    peer_close(&a);
    close(driver.socket);
    assert_true(driver_until(driver_empty, &driver));
    driver_start_starter(&driver, NULL);
    assert_true(driver_guest(&driver, "a") > 0); /* over the socket that the dead one left */
}

#define PATH_TEST(test) cmocka_unit_test_setup_teardown(test, begin_shared, end_shared)

int main(void)
{
    if (!driver_can_run())
        return 77; /* for CTest: skipped */
    const struct CMUnitTest tests[] = {
        PATH_TEST(what_the_node_sees_is_not_sent),
        PATH_TEST(what_an_owner_may_not_have_or_is_no_such_file_is_sent),
        PATH_TEST(what_nobody_has_loaded_is_said_to_be_so),
        PATH_TEST(a_list_that_is_none_is_refused),
        PATH_TEST(a_file_system_that_hangs_keeps_nobody),
        PATH_TEST(a_reader_ends_with_its_starter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

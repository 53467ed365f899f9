/**
 * Regions that have nowhere to go but a disk that is full, and huge pages, which regions leave alone. The disk is a
 * tmpfs in a mount namespace of the test's own: root only; nothing of it is left.
 */
#include "durable_regions.h"
#include "fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/** A session that may spill into a small disk of its own, mounted where only this test sees it. False: not to be had
 * here. */
static bool small_disk(struct fixture *fixture, char *folder, size_t size, uint64_t bytes)
{
    char with[64], socket[100];
    sublet_options options = SUBLET_OPTIONS_INIT;
    snprintf(folder, size, "%s/disk", fixture->folder);
    snprintf(socket, sizeof(socket), "%s/agent.sock", fixture->folder);
    snprintf(with, sizeof(with), "size=%llu", (unsigned long long)bytes);
    assert_int_equal(mkdir(folder, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", folder, "tmpfs", 0, with) != 0) {
        rmdir(folder);
        return false;
    }
    options.agent_socket = socket;
    options.timeout_ms = fixture_timeout_ms;
    options.spill_folder = folder;
    assert_int_equal(sublet_open(&options, &fixture->session), SUBLET_OK);
    return true;
}

static uint64_t disk_used(const char *folder)
{
    struct statvfs disk;
    assert_int_equal(statvfs(folder, &disk), 0);
    return (uint64_t)(disk.f_blocks - disk.f_bfree) * disk.f_frsize;
}

static void remove_disk(struct fixture *fixture, sublet_session *plain, const char *folder)
{
    sublet_close(fixture->session);
    fixture->session = plain;
    for (uint64_t end_ns = time_ns() + 20000000000u; disk_used(folder) != 0; poll(NULL, 0, 1))
        assert_true(time_ns() < end_ns);
    assert_int_equal(umount(folder), 0);
    assert_int_equal(rmdir(folder), 0);
}

/** One more write, which must be acknowledged, into the region and into what it should hold. */
static void put_more(sublet_region *region, unsigned char *bytes, uint64_t offset)
{
    memset(bytes + offset, (int)(offset / 4096 + 1), 4096);
    assert_int_equal(sublet_region_put(region, offset, bytes + offset, 4096), SUBLET_OK);
}

/** The disk is full and nobody lends: every acknowledged write is there to the end of the budget; then it is said. */
static void spills_into_a_full_disk(void **state)
{
    struct fixture *fixture = *state;
    sublet_session *plain = fixture->session;
    char folder[100];
    unsigned char word[8];
    if (!small_disk(fixture, folder, sizeof(folder), BYTES / 2)) {
        print_message("skipped: needs root, to mount a disk that is too small\n");
        skip();
    }
    struct executor *first = fixture_region(fixture, BYTES, false);
    sublet_region *region = region_of(fixture, SUBLET_EVACUATED);
    unsigned char *bytes = pattern(30);
    assert_int_equal(sublet_region_put(region, 0, bytes, BYTES), SUBLET_OK);
    fake_agent_drain(fixture->agent, first->grant.id, 1500, false);
    for (uint64_t i = 0; i < 64; i++) {
        put_more(region, bytes, i * 65536);
        poll(NULL, 0, 5);
    }
    assert_content(region, bytes);
    assert_int_equal(info_of(region).spilled_bytes, 0);
    for (uint64_t end_ns = time_ns() + 20000000000u; info_of(region).copies != 0; poll(NULL, 0, 1))
        assert_true(time_ns() < end_ns);
    assert_int_equal(sublet_region_get(region, 0, word, 8), SUBLET_ERR_REVOKED);
    assert_int_equal(sublet_region_put(region, 0, word, 8), SUBLET_ERR_REVOKED);
    sublet_region_free(region);
    remove_disk(fixture, plain, folder);
    free(bytes);
}

/** The disk is full while the budget runs: room that comes in time takes the content, and so does memory. */
static void room_comes_in_time(void **state)
{
    struct fixture *fixture = *state;
    sublet_session *plain = fixture->session;
    char folder[100], filler[120];
    if (!small_disk(fixture, folder, sizeof(folder), BYTES + BYTES / 2)) {
        print_message("skipped: needs root, to mount a disk that is too small\n");
        skip();
    }
    struct executor *first = fixture_region(fixture, BYTES, false);
    sublet_region *region = region_of(fixture, SUBLET_EVACUATED);
    unsigned char *bytes = pattern(31);
    assert_int_equal(sublet_region_put(region, 0, bytes, BYTES), SUBLET_OK);
    snprintf(filler, sizeof(filler), "%s/filler", folder);
    int fd = open(filler, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(fallocate(fd, 0, 0, BYTES), 0);
    close(fd);
    fake_agent_drain(fixture->agent, first->grant.id, 60000, false);
    for (uint64_t i = 0; i < 64; i++) {
        put_more(region, bytes, i * 65536);
        poll(NULL, 0, 2);
    }
    assert_int_equal(info_of(region).spilled_bytes, 0);
    assert_int_equal(disk_used(folder), BYTES);
    assert_int_equal(unlink(filler), 0);
    wait_given_back(fixture, first);
    assert_int_equal(info_of(region).spilled_bytes, BYTES);
    assert_content(region, bytes);
    for (uint64_t i = 0; i < 8; i++)
        put_more(region, bytes, i * 131072 + 4096);
    struct executor *second = fixture_region(fixture, BYTES, false); /* memory again, and then a full disk again */
    for (uint64_t end_ns = time_ns() + 20000000000u; info_of(region).spilled_bytes != 0; poll(NULL, 0, 1))
        assert_true(time_ns() < end_ns);
    fd = open(filler, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    for (uint64_t end_ns = time_ns() + 20000000000u; fallocate(fd, 0, 0, BYTES) != 0; poll(NULL, 0, 1))
        assert_true(time_ns() < end_ns); /* its file goes a moment after the copy */
    close(fd);
    fake_agent_drain(fixture->agent, second->grant.id, 60000, false);
    put_more(region, bytes, 0);
    struct executor *third = fixture_region(fixture, BYTES, true);
    wait_given_back(fixture, second);
    assert_true(fake_agent_holds(fixture->agent, third->grant.id));
    assert_int_equal(info_of(region).spilled_bytes, 0);
    assert_content(region, bytes);
    sublet_region_free(region);
    assert_int_equal(unlink(filler), 0);
    remove_disk(fixture, plain, folder);
    free(bytes);
}

/** A number of /proc/meminfo. */
static uint64_t memory_figure(const char *name)
{
    char line[200];
    unsigned long long value = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            (void)sscanf(line + strlen(name), ": %llu", &value);
    fclose(file);
    return value;
}

/** Huge pages that are set aside are the jobs': a region never takes one, wherever it moves. */
static void huge_pages(void **state)
{
    struct fixture *fixture = *state;
    uint64_t free_before = memory_figure("HugePages_Free");
    if (free_before == 0) {
        print_message("skipped: no huge pages are set aside here (nr_hugepages)\n");
        skip();
    }
    struct executor *first = fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, SUBLET_EVACUATED);
    unsigned char *bytes = pattern(32);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(sublet_region_put(region, 0, bytes, BYTES), SUBLET_OK);
        assert_int_equal(memory_figure("HugePages_Free"), free_before);
        assert_int_equal(memory_figure("HugePages_Rsvd"), 0);
        struct executor *next = fixture_region(fixture, BYTES, true);
        fake_agent_drain(fixture->agent, first->grant.id, 60000, false);
        wait_given_back(fixture, first);
        assert_content(region, bytes);
        first = next;
    }
    sublet_region_free(region);
    free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_start, fixture_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(spills_into_a_full_disk),
        TEST(room_comes_in_time),
        TEST(huge_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

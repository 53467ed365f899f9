/** Regions that outlive their node: what is refused, one copy for a while, silence, moves, spilling, mappings, the end.
 */
#include "durable_regions.h"
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/** A mirror needs two nodes; what was leased for the first copy goes back. */
static void refused(void **state)
{
    struct fixture *fixture = *state;
    sublet_region *region = NULL;
    sublet_region_options options = SUBLET_REGION_OPTIONS_INIT;
    struct executor *executor = fixture_region(fixture, BYTES, false);
    struct grant twin = executor->grant; /* the same node once more */
    snprintf(twin.id, sizeof(twin.id), "twin");
    fake_agent_offer(fixture->agent, &twin);
    assert_int_equal(alloc(fixture, SUBLET_MIRRORED, &region), SUBLET_ERR_BUSY);
    assert_false(fake_agent_holds(fixture->agent, executor->grant.id));
    assert_false(fake_agent_holds(fixture->agent, "twin"));
    assert_int_equal(alloc(fixture, (sublet_durability)9, &region), SUBLET_ERR_INVALID);
    options.durability = SUBLET_MIRRORED;
    options.node = "node-0";
    assert_int_equal(sublet_region_alloc(fixture->session, BYTES, &options, &region), SUBLET_ERR_INVALID);
    assert_null(region);
}

/** No second node lends: it goes on with one, and is whole again as soon as one does. */
static void one_copy_for_a_while(void **state)
{
    struct fixture *fixture = *state;
    struct executor *first = fixture_region(fixture, BYTES, false);
    struct executor *second = fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, SUBLET_MIRRORED);
    unsigned char *bytes = pattern(1);
    assert_int_equal(info_of(region).copies, 2);
    assert_int_equal(info_of(region).same_node, 1);
    executor_kill(first);
    assert_int_equal(sublet_region_put(region, 0, bytes, BYTES), SUBLET_OK);
    assert_int_equal(wait_copies(region, 1, 0).same_node, 0);
    assert_content(region, bytes);
    struct executor *third = fixture_region(fixture, BYTES, false);
    assert_int_equal(wait_copies(region, 2, 1).moves, 1);
    executor_kill(second);
    assert_content(region, bytes);
    sublet_region_free(region);
    assert_false(fake_agent_holds(fixture->agent, third->grant.id));
    free(bytes);
}

/** Stops it, and returns when all its threads stand. */
static void stand_still(const struct executor *executor)
{
    kill(executor->pid, SIGSTOP);
    assert_int_equal(waitpid(executor->pid, NULL, WUNTRACED), executor->pid);
}

/** Both are gone: every access says so, also those under way. */
static void both_gone(void **state)
{
    struct fixture *fixture = *state;
    struct executor *first = fixture_region(fixture, BYTES, true);
    struct executor *second = fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, SUBLET_MIRRORED);
    unsigned char *bytes = pattern(2);
    uint64_t before;
    stand_still(first);
    stand_still(second);
    for (int i = 0; i < 16; i++)
        assert_int_equal(sublet_region_put_async(region, 0, bytes, BYTES), SUBLET_OK);
    /* Over a fabric the puts may have been acknowledged by the time they are killed, since those who stand are not
       asked. This one is: they alone serve it. */
    assert_int_equal(sublet_region_fetch_add_async(region, 0, 1, &before), SUBLET_OK);
    executor_kill(first);
    executor_kill(second);
    assert_int_not_equal(sublet_region_flush(region), SUBLET_OK);
    assert_int_equal(sublet_region_put(region, 0, bytes, 8), SUBLET_ERR_LOST);
    wait_region(region, SUBLET_LEASE_REVOKED);
    assert_int_equal(sublet_region_get_async(region, 0, bytes, 8), SUBLET_ERR_LOST);
    assert_int_equal(sublet_region_flush(region), SUBLET_ERR_LOST);
    assert_non_null(strstr(sublet_last_error(), "gone"));
    sublet_region_free(region);
    free(bytes);
}

/** A node without power says nothing: after the session's timeout the other copy goes on alone. */
static void silent_copy(void **state)
{
    struct fixture *fixture = *state;
    struct executor *first = fixture_region(fixture, BYTES, true);
    fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, SUBLET_MIRRORED);
    unsigned char *bytes = pattern(3);
    uint64_t before = 1, begin_ns = time_ns();
    stand_still(first);
    assert_int_equal(sublet_region_fetch_add(region, 64, 5, &before), SUBLET_OK);
    assert_int_equal(before, 0);
    assert_true(time_ns() - begin_ns >= fixture_timeout_ms * UINT64_C(1000000) / 2);
    assert_int_equal(sublet_region_put(region, 0, bytes, BYTES), SUBLET_OK);
    assert_content(region, bytes);
    wait_copies(region, 1, 0);
    kill(first->pid, SIGCONT);
    sublet_region_free(region);
    free(bytes);
}

/** A second writer would break the order of writes: the child is refused, the parent goes on. */
static void child_is_refused(void **state)
{
    struct fixture *fixture = *state;
    uint64_t word = 7;
    fixture_region(fixture, BYTES, false);
    fixture_region(fixture, BYTES, false);
    sublet_region *region = region_of(fixture, SUBLET_MIRRORED);
    pid_t child = fork();
    if (child == 0)
        _exit(sublet_region_put(region, 0, &word, 8) == SUBLET_ERR_DENIED &&
                      sublet_region_get(region, 0, &word, 8) == SUBLET_ERR_DENIED &&
                      sublet_region_flush(region) == SUBLET_ERR_DENIED
                  ? 0
                  : 1);
    int ended = -1;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_int_equal(ended, 0);
    assert_int_equal(sublet_region_put(region, 0, &word, 8), SUBLET_OK);
    sublet_region_free(region);
}

/** A large put to two other nodes: both are moved at the same time, or one would be dropped for its silence. */
static void large_puts(void **state)
{
    struct fixture *fixture = *state;
    fixture_region(fixture, BYTES, true);
    fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, SUBLET_MIRRORED);
    unsigned char *bytes = pattern(4), *other = pattern(5), *got = malloc(BYTES);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(sublet_region_put_async(region, 0, i % 2 == 0 ? other : bytes, BYTES), SUBLET_OK);
        assert_int_equal(sublet_region_fence(region), SUBLET_OK);
        assert_int_equal(sublet_region_get_async(region, 0, got, BYTES), SUBLET_OK);
    }
    assert_int_equal(sublet_region_flush(region), SUBLET_OK);
    assert_memory_equal(got, bytes, BYTES); /* gets behind puts */
    assert_content(region, bytes);
    assert_int_equal(info_of(region).copies, 2);
    sublet_region_free(region);
    free(bytes);
    free(other);
    free(got);
}

static void freed_with_accesses_under_way(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *bytes = pattern(6);
    fixture_region(fixture, BYTES, true);
    fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, SUBLET_MIRRORED);
    for (int i = 0; i < 32; i++)
        assert_int_equal(sublet_region_put_async(region, 0, bytes, BYTES), SUBLET_OK);
    sublet_region_free(region);
    free(bytes);
    assert_false(fake_agent_holds(fixture->agent, "lease-0"));
    assert_false(fake_agent_holds(fixture->agent, "lease-1"));
}

/** The session is closed first, and while a copy is being asked for. */
static void closed_with_the_session(void **state)
{
    struct fixture *fixture = *state;
    fixture_region(fixture, BYTES, true);
    struct executor *second = fixture_region(fixture, BYTES, false);
    (void)region_of(fixture, SUBLET_MIRRORED);
    fake_agent_be_silent(fixture->agent, true);
    executor_kill(second);
    poll(NULL, 0, 50);
}

/** Pointers into a mirrored region stay good when one of its nodes dies. */
static void mapped(void **state)
{
    struct fixture *fixture = *state;
    struct executor *first = fixture_region(fixture, BYTES, false);
    struct executor *second = fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, SUBLET_MIRRORED);
    sublet_mapping *map = NULL;
    void *pointer = NULL;
    unsigned char *bytes = pattern(7);
    sublet_map_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_region_put(region, 0, bytes, BYTES), SUBLET_OK);
    assert_int_equal(sublet_map(region, 0, BYTES, NULL, &pointer, &map), SUBLET_OK);
    assert_int_equal(sublet_map_info_get(map, &info), SUBLET_OK);
    assert_int_equal(info.direct, 0); /* it could not follow */
    unsigned char *mine = pointer;
    for (size_t i = 0; i < BYTES; i++) {
        assert_int_equal(mine[i], bytes[i]);
        mine[i] = bytes[i] = (unsigned char)(bytes[i] + 1);
        if (i == BYTES / 3)
            executor_kill(first);
    }
    struct executor *third = fixture_region(fixture, BYTES, true);
    assert_int_equal(sublet_map_flush(map), SUBLET_OK);
    wait_copies(region, 2, 1);
    executor_kill(second);
    assert_memory_equal(mine, bytes, BYTES);
    assert_int_equal(sublet_unmap(map), SUBLET_OK);
    assert_content(region, bytes);
    assert_true(fake_agent_holds(fixture->agent, third->grant.id));
    sublet_region_free(region);
    free(bytes);
}

/** Wanted back: the content moves, the lease goes back long before its budget is over, the handle stays. */
static void moves(void **state)
{
    struct fixture *fixture = *state;
    struct executor *first = fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, SUBLET_EVACUATED);
    unsigned char *bytes = pattern(8);
    assert_int_equal(sublet_region_put(region, 0, bytes, BYTES), SUBLET_OK);
    fake_agent_drain(fixture->agent, first->grant.id, 60000, false);
    wait_region(region, SUBLET_LEASE_DRAINING); /* nobody lends anything yet */
    assert_content(region, bytes);
    fixture_region(fixture, BYTES, false);
    wait_given_back(fixture, first);
    executor_kill(first);
    assert_content(region, bytes);
    assert_int_equal(info_of(region).state, SUBLET_LEASE_ACTIVE);
    assert_int_equal(info_of(region).same_node, 1);
    assert_int_equal(info_of(region).moves, 1);
    assert_int_equal(info_of(region).copies, 1);
    sublet_region_free(region);
    free(bytes);
}

/** There was nowhere to go to within the budget: as of an ephemeral region. */
static void nowhere_to_go(void **state)
{
    struct fixture *fixture = *state;
    struct executor *first = fixture_region(fixture, BYTES, false);
    sublet_region *region = region_of(fixture, SUBLET_EVACUATED);
    unsigned char bytes[8] = "";
    fake_agent_drain(fixture->agent, first->grant.id, 2000, false);
    wait_region(region, SUBLET_LEASE_DRAINING);
    assert_int_equal(sublet_region_put(region, 0, bytes, 8), SUBLET_OK);
    for (uint64_t end_ns = time_ns() + 20000000000u; sublet_region_put(region, 0, bytes, 8) == SUBLET_OK;)
        assert_true(time_ns() < end_ns);
    assert_int_equal(sublet_region_put(region, 0, bytes, 8), SUBLET_ERR_REVOKED);
    wait_region(region, SUBLET_LEASE_REVOKED);
    assert_int_equal(info_of(region).copies, 0);
    sublet_region_free(region);
}

/** A mirrored copy is wanted back: another one is filled first, and there never is only one. */
static void mirror_moves(void **state)
{
    struct fixture *fixture = *state;
    struct executor *first = fixture_region(fixture, BYTES, false);
    struct executor *second = fixture_region(fixture, BYTES, true);
    sublet_region *region = region_of(fixture, SUBLET_MIRRORED);
    unsigned char *bytes = pattern(9);
    assert_int_equal(sublet_region_put(region, 0, bytes, BYTES), SUBLET_OK);
    fixture_region(fixture, BYTES, true);
    fake_agent_drain(fixture->agent, first->grant.id, 60000, false);
    wait_given_back(fixture, first);
    assert_int_equal(info_of(region).copies, 2);
    executor_kill(first);
    executor_kill(second);
    assert_content(region, bytes);
    sublet_region_free(region);
    free(bytes);
}

/** How many files this process has open there, and that none of them has a name. */
static uint32_t files_in(const char *folder)
{
    char path[300], target[300];
    uint32_t count = 0;
    DIR *open_files = opendir("/proc/self/fd");
    assert_non_null(open_files);
    for (struct dirent *entry; (entry = readdir(open_files)) != NULL;) {
        snprintf(path, sizeof(path), "/proc/self/fd/%.200s", entry->d_name);
        ssize_t size = readlink(path, target, sizeof(target) - 1);
        target[size < 0 ? 0 : size] = '\0';
        if (strncmp(target, folder, strlen(folder)) == 0 && strstr(target, "(deleted)") != NULL)
            count++;
    }
    closedir(open_files);
    return count;
}

/** A session of its own that may spill: nobody lends, so content goes to a file, and back when somebody does. */
static void spills(void **state)
{
    struct fixture *fixture = *state;
    char socket[100], folder[100];
    sublet_session *plain = fixture->session;
    sublet_options options = SUBLET_OPTIONS_INIT;
    snprintf(socket, sizeof(socket), "%s/agent.sock", fixture->folder);
    snprintf(folder, sizeof(folder), "%s/spill", fixture->folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    options.agent_socket = socket;
    options.timeout_ms = fixture_timeout_ms;
    options.spill_folder = folder;
    options.spill_bytes = BYTES + BYTES / 2; /* one, not two */
    assert_int_equal(sublet_open(&options, &fixture->session), SUBLET_OK);
    struct executor *first = fixture_region(fixture, BYTES, false), *second = fixture_region(fixture, BYTES, false);
    sublet_region *region = region_of(fixture, SUBLET_EVACUATED), *other = region_of(fixture, SUBLET_EVACUATED);
    unsigned char *bytes = pattern(10), column[4 * 16];
    uint64_t before = 0;
    assert_int_equal(sublet_region_put(region, 0, bytes, BYTES), SUBLET_OK);
    fake_agent_drain(fixture->agent, first->grant.id, 60000, false);
    wait_given_back(fixture, first);
    assert_int_equal(info_of(region).spilled_bytes, BYTES);
    assert_string_equal(info_of(region).path, "file");
    assert_int_equal(files_in(folder), 1);
    assert_content(region, bytes);
    fake_agent_drain(fixture->agent, second->grant.id, 500, false); /* the quota is used up */
    for (uint64_t end_ns = time_ns() + 20000000000u; info_of(other).copies != 0; poll(NULL, 0, 1))
        assert_true(time_ns() < end_ns);
    assert_int_equal(sublet_region_get(other, 0, column, 8), SUBLET_ERR_REVOKED);
    sublet_region_free(other);

    memset(column, 0x5a, sizeof(column)); /* every kind of access, on the file */
    for (int i = 0; i < 4; i++)
        memset(bytes + 4096 + i * 256, 0x5a, 16);
    assert_int_equal(sublet_region_put_strided(region, 4096, 4, 16, 256, column), SUBLET_OK);
    sublet_region_piece pieces[2] = {{.offset = 1, .bytes = column, .size = 3},
                                     {.offset = BYTES - 1, .bytes = column, .size = 1}};
    memset(bytes + 1, 0x5a, 3);
    bytes[BYTES - 1] = 0x5a;
    assert_int_equal(sublet_region_put_list(region, pieces, 2), SUBLET_OK);
    uint64_t word, sum;
    memcpy(&word, bytes + 64, 8);
    assert_int_equal(sublet_region_fetch_add(region, 64, 9, &before), SUBLET_OK);
    assert_int_equal(before, word);
    assert_int_equal(sublet_region_compare_swap(region, 64, word, 1, &before), SUBLET_OK);
    assert_int_equal(before, word + 9);
    assert_int_equal(sublet_region_compare_swap(region, 64, word + 9, 1, &before), SUBLET_OK);
    sum = 1;
    memcpy(bytes + 64, &sum, 8);
    assert_content(region, bytes);

    fixture_region(fixture, BYTES, true); /* memory again */
    for (uint64_t end_ns = time_ns() + 20000000000u; info_of(region).spilled_bytes != 0; poll(NULL, 0, 1))
        assert_true(time_ns() < end_ns);
    for (uint64_t end_ns = time_ns() + 20000000000u; files_in(folder) != 0; poll(NULL, 0, 1))
        assert_true(time_ns() < end_ns);
    assert_content(region, bytes);
    sublet_region_free(region);
    sublet_close(fixture->session);
    fixture->session = plain;
    assert_int_equal(rmdir(folder), 0); /* nothing was left in it */
    free(bytes);
}

/** What was in a region that ended is never in another: the kernel gives new pages, and they are zeros. */
static void never_old_bytes(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *zeros = calloc(1, BYTES), *secret = malloc(BYTES);
    memset(secret, 0xa5, BYTES);
    for (int i = 0; i < 8; i++) {
        struct executor *executor = fixture_region(fixture, BYTES, i % 2 == 0);
        sublet_region *region = region_of(fixture, SUBLET_EPHEMERAL);
        assert_content(region, zeros);
        assert_int_equal(sublet_region_put(region, 0, secret, BYTES), SUBLET_OK);
        sublet_region_free(region);
        executor_kill(executor);
    }
    free(zeros);
    free(secret);
}

/** An ephemeral region works until its budget is over, then says so before the next access. */
static void ephemeral_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct executor *executor = fixture_region(fixture, BYTES, false);
    sublet_region *region = region_of(fixture, SUBLET_EPHEMERAL);
    uint64_t word = 0;
    assert_int_equal(info_of(region).copies, 0);
    fake_agent_drain(fixture->agent, executor->grant.id, 2000, false);
    assert_int_equal(sublet_region_put(region, 0, &word, 8), SUBLET_OK);
    wait_region(region, SUBLET_LEASE_REVOKED);
    assert_int_equal(sublet_region_get(region, 0, &word, 8), SUBLET_ERR_REVOKED);
    sublet_region_free(region);
}

static int start(void **state)
{
    bool emulated = getenv("SUBLET_TEST_FEW") != NULL; /* a machine that may stand for seconds */
    fixture_timeout_ms = emulated ? 10000 : 1500;
    return fixture_start(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, fixture_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(refused),
        TEST(one_copy_for_a_while),
        TEST(both_gone),
        TEST(silent_copy),
        TEST(child_is_refused),
        TEST(large_puts),
        TEST(freed_with_accesses_under_way),
        TEST(closed_with_the_session),
        TEST(mapped),
        TEST(moves),
        TEST(nowhere_to_go),
        TEST(mirror_moves),
        TEST(spills),
        TEST(never_old_bytes),
        TEST(ephemeral_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/**
 * sublet-door between a user, an agent and a starter, all three of which are this test: what it shows to the starter,
 * what the user and the agent get when that has a voucher, and that everything else passes as it is.
 */
#include "door_case.h"

#include <errno.h>
#include <sys/wait.h>

#include "door/frames.h"

enum { WHO_BYTES = 12 };

struct scene {
    char folder[PATH_BYTES], path[PATH_BYTES + 8], inner[PATH_BYTES + 8], starter_path[PATH_BYTES + 8];
    pid_t door;
    int words;          /* the door's standard input */
    int says;           /* its standard output */
    int inner_listener; /* the agent's socket */
    int starter_listener;
    int starter; /* the door's connection to the starter */
    int user, agent;
};

static int accepted(int listener)
{
    struct pollfd entry = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&entry, 1, PATIENCE_MS), 1);
    return accept(listener, NULL, NULL);
}

/** The agent says that there are vouchers; the door connects to the starter. */
static void open_vouchers(struct scene *scene)
{
    assert_int_equal(write(scene->words, "+", 1), 1);
    scene->starter = accepted(scene->starter_listener);
    assert_true(scene->starter >= 0);
}

/** A user comes, and the agent takes him. */
static void visit(struct scene *scene)
{
    uint32_t who[3];
    scene->user = unix_socket(scene->path, false);
    scene->agent = accepted(scene->inner_listener);
    assert_true(scene->agent >= 0);
    read_all(scene->agent, who, sizeof(who));
    assert_int_equal(who[1], getuid());
}

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    int in[2], out[2];
    char line[16];
    snprintf(scene->folder, sizeof(scene->folder), "/tmp/sublet_door_XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->path, sizeof(scene->path), "%s/a.sock", scene->folder);
    snprintf(scene->inner, sizeof(scene->inner), "%s/d.sock", scene->folder);
    snprintf(scene->starter_path, sizeof(scene->starter_path), "%s/s.sock", scene->folder);
    scene->inner_listener = unix_socket(scene->inner, true);
    scene->starter_listener = unix_socket(scene->starter_path, true);
    scene->starter = scene->user = scene->agent = -1;
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    scene->door = fork();
    if (scene->door == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl(DOOR_PATH, "sublet-door", scene->path, scene->inner, scene->starter_path, NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    scene->words = in[1];
    scene->says = out[0];
    assert_true(read(scene->says, line, sizeof(line)) > 0);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    const int all[] = {scene->words,   scene->says, scene->inner_listener, scene->starter_listener,
                       scene->starter, scene->user, scene->agent};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i] >= 0)
            close(all[i]);
    int status;
    assert_int_equal(waitpid(scene->door, &status, 0), scene->door);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    unlink(scene->path);
    unlink(scene->inner);
    unlink(scene->starter_path);
    assert_int_equal(rmdir(scene->folder), 0);
    free(scene);
    return 0;
}

#define DOOR_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void say(int fd, const void *bytes, size_t size)
{
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

static void hear(int fd, const void *bytes, size_t size)
{
    unsigned char heard[4096];
    assert_true(size <= sizeof(heard));
    read_all(fd, heard, size);
    assert_memory_equal(heard, bytes, size);
}

static bool nothing_comes(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, 30) == 0;
}

/** id 7, LocalLease{request: 1a 01 78, job 300}; and what is anything else. */
static const unsigned char lease_frame[] = {12, 0, 0, 0, 0x08, 7, 0x12, 8, 0x0a, 3, 0x1a, 1, 'x', 0x10, 0xac, 2};
static const unsigned char other_frame[] = {4, 0, 0, 0, 0x08, 8, 0x2a, 0};

/** The starter's side of one question, and its answer. */
static void starter_answers(struct scene *scene, const char *told)
{
    unsigned char header[FRAME_HEADER];
    char text[1024], wanted[256], answer[1024];
    unsigned id = 0;
    read_all(scene->starter, header, sizeof(header));
    uint32_t size = frame_length(header);
    assert_true(size < sizeof(text));
    read_all(scene->starter, text, size);
    text[size] = '\0';
    assert_int_equal(sscanf(text, "verb=REDEEM\nid=%u\n", &id), 1);
    snprintf(wanted, sizeof(wanted), "verb=REDEEM\nid=%u\nuid=%u\ngid=%u\njob=300\nask=1a0178\n", id, getuid(),
             getgid());
    assert_string_equal(text, wanted);
    if (told == NULL)
        return;
    int length = snprintf(answer + FRAME_HEADER, sizeof(answer) - FRAME_HEADER, "id=%u\n%s", id, told);
    frame_put_length((unsigned char *)answer, (uint32_t)length);
    say(scene->starter, answer, FRAME_HEADER + (size_t)length);
}

static const unsigned char answer_frame[] = {4, 0, 0, 0, 0x08, 7, 0x22, 0};
static const unsigned char mark_frame[] = {8, 0, 0, 0x80, 0x2c, 1, 0, 0, 'n', '-', '1', 'a'};

static void what_can_be_redeemed_never_reaches_the_agent(void **state)
{
    struct scene *scene = *state;
    open_vouchers(scene);
    visit(scene);
    say(scene->user, lease_frame, sizeof(lease_frame));
    starter_answers(scene, "ok=1\nlease=n-1a\nanswer=2200\n");
    hear(scene->user, answer_frame, sizeof(answer_frame));
    hear(scene->agent, mark_frame, sizeof(mark_frame));
    assert_true(nothing_comes(scene->agent));
    say(scene->agent, other_frame, sizeof(other_frame)); /* both ways are as they were */
    hear(scene->user, other_frame, sizeof(other_frame));
    say(scene->user, other_frame, sizeof(other_frame));
    hear(scene->agent, other_frame, sizeof(other_frame));
}

/** The agent's work would take the core on which the executor is to answer. What the user says next is not held up by
 * that. */
static void the_agent_hears_a_moment_later_or_before_what_comes_next(void **state)
{
    struct scene *scene = *state;
    open_vouchers(scene);
    visit(scene);
    say(scene->user, lease_frame, sizeof(lease_frame));
    starter_answers(scene, "ok=1\nlease=n-1a\nanswer=2200\n");
    hear(scene->user, answer_frame, sizeof(answer_frame));
    say(scene->user, lease_frame, sizeof(lease_frame)); /* and again */
    starter_answers(scene, "ok=1\nlease=n-1a\nanswer=2200\n");
    hear(scene->user, answer_frame, sizeof(answer_frame));
    hear(scene->agent, mark_frame, sizeof(mark_frame));
    say(scene->user, other_frame, sizeof(other_frame));
    hear(scene->agent, mark_frame, sizeof(mark_frame));
    hear(scene->agent, other_frame, sizeof(other_frame));
}

static void the_agent_hears_all_in_the_order_in_which_it_was_said(void **state)
{
    struct scene *scene = *state;
    unsigned char all[3 * sizeof(other_frame) + sizeof(lease_frame)];
    open_vouchers(scene);
    visit(scene);
    memcpy(all, other_frame, sizeof(other_frame));
    memcpy(all + 8, lease_frame, sizeof(lease_frame));
    memcpy(all + 24, other_frame, sizeof(other_frame));
    memcpy(all + 32, other_frame, sizeof(other_frame));
    say(scene->user, all, sizeof(all) - 3); /* the last one in two pieces */
    starter_answers(scene, "ok=1\nlease=n-1a\nanswer=2200\n");
    say(scene->user, all + sizeof(all) - 3, 3);
    hear(scene->user, answer_frame, sizeof(answer_frame));
    hear(scene->agent, other_frame, sizeof(other_frame));
    hear(scene->agent, mark_frame, sizeof(mark_frame));
    hear(scene->agent, other_frame, sizeof(other_frame));
    hear(scene->agent, other_frame, sizeof(other_frame));
}

static void a_starter_without_a_voucher_or_a_word_changes_nothing(void **state)
{
    struct scene *scene = *state;
    static const char *const told[] = {"error=none\n", "ok=1\nlease=n-1a\n", "ok=1\nlease=n-1a\nanswer=2x\n",
                                       "ok=1\nlease=\nanswer=2200\n", NULL};
    open_vouchers(scene);
    visit(scene);
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        say(scene->user, lease_frame, sizeof(lease_frame));
        starter_answers(scene, told[i]);
        hear(scene->agent, lease_frame, sizeof(lease_frame));
    }
    /* It is gone: the next ones pass at once. */
    close(scene->starter);
    close(scene->starter_listener);
    scene->starter = -1;
    for (int i = 0; i < 3; i++) {
        say(scene->user, lease_frame, sizeof(lease_frame));
        hear(scene->agent, lease_frame, sizeof(lease_frame));
    }
    assert_true(nothing_comes(scene->user));
    scene->starter_listener = unix_socket(scene->starter_path, true);
    open_vouchers(scene); /* and one that comes again is asked again */
    say(scene->user, lease_frame, sizeof(lease_frame));
    starter_answers(scene, "ok=1\nlease=n-1a\nanswer=2200\n");
    hear(scene->user, answer_frame, sizeof(answer_frame));
}

/** He asks until the door has come to the starter; what it did not show to it has gone to the agent. */
static void ask_until_it_connects(struct scene *scene)
{
    struct pollfd entry = {.fd = scene->starter_listener, .events = POLLIN};
    int64_t left_ms = PATIENCE_MS;
    for (; left_ms > 0; left_ms -= 100) {
        say(scene->user, lease_frame, sizeof(lease_frame));
        if (poll(&entry, 1, 100) == 1)
            break;
        hear(scene->agent, lease_frame, sizeof(lease_frame));
    }
    assert_true(left_ms > 0);
    scene->starter = accepted(scene->starter_listener);
}

/** It was too slow for it once, say. The agent, whose vouchers the starter still has, sees nothing of that. */
static void a_starter_that_has_closed_the_connection_is_asked_anew(void **state)
{
    struct scene *scene = *state;
    open_vouchers(scene);
    visit(scene);
    for (int i = 0; i < 2; i++) { /* the second time not before a second is over: it may be closed at once each time */
        close(scene->starter);
        ask_until_it_connects(scene);
        starter_answers(scene, "ok=1\nlease=n-1a\nanswer=2200\n");
        hear(scene->user, answer_frame, sizeof(answer_frame));
        hear(scene->agent, mark_frame, sizeof(mark_frame));
    }
    close(scene->starter);
    scene->starter = -1;
    assert_int_equal(write(scene->words, "-", 1), 1);
    usleep(1100000);
    say(scene->user, lease_frame, sizeof(lease_frame)); /* nor is it sought without vouchers */
    hear(scene->agent, lease_frame, sizeof(lease_frame));
    assert_true(nothing_comes(scene->starter_listener));
}

static void nobody_is_asked_without_the_agents_word(void **state)
{
    struct scene *scene = *state;
    visit(scene);
    say(scene->user, lease_frame, sizeof(lease_frame));
    hear(scene->agent, lease_frame, sizeof(lease_frame));
    open_vouchers(scene);
    assert_int_equal(write(scene->words, "-", 1), 1);
    usleep(20000);
    say(scene->user, lease_frame, sizeof(lease_frame));
    hear(scene->agent, lease_frame, sizeof(lease_frame));
    assert_true(nothing_comes(scene->starter));
}

static void half_an_answer_to_the_user_is_never_cut_by_ours(void **state)
{
    struct scene *scene = *state;
    open_vouchers(scene);
    visit(scene);
    say(scene->agent, other_frame, 5);
    hear(scene->user, other_frame, 5);
    say(scene->user, lease_frame, sizeof(lease_frame));
    hear(scene->agent, lease_frame, sizeof(lease_frame));
    assert_true(nothing_comes(scene->starter));
    say(scene->agent, other_frame + 5, 3);
    hear(scene->user, other_frame + 5, 3);
    say(scene->user, lease_frame, sizeof(lease_frame));
    starter_answers(scene, "ok=1\nlease=n-1a\nanswer=2200\n");
    hear(scene->user, answer_frame, sizeof(answer_frame));
}

static void whoever_plays_the_door_is_sent_away(void **state)
{
    struct scene *scene = *state;
    unsigned char byte;
    for (int i = 0; i < 2; i++) {
        visit(scene);
        say(scene->user, other_frame, i == 0 ? 0 : sizeof(other_frame));
        for (size_t at = 0; at < sizeof(mark_frame); at++) /* a byte at a time, which the door may read apart */
            if (send(scene->user, mark_frame + at, 1, MSG_NOSIGNAL) != 1)
                break;
        struct pollfd entry = {.fd = scene->user, .events = POLLIN};
        assert_int_equal(poll(&entry, 1, PATIENCE_MS), 1);
        assert_true(recv(scene->user, &byte, 1, 0) <= 0);
        for (size_t had = 0;; had++) { /* of the mark not a whole header has reached the agent */
            assert_true(had < (i == 0 ? 0 : sizeof(other_frame)) + FRAME_HEADER);
            if (recv(scene->agent, &byte, 1, 0) <= 0)
                break;
        }
        close(scene->user);
        close(scene->agent);
        scene->user = scene->agent = -1;
    }
}

/** A user who leaves while the starter is asked: the agent is told of the lease, and that he has left. */
static void who_leaves_meanwhile_leaves_his_lease_with_the_agent(void **state)
{
    struct scene *scene = *state;
    unsigned char byte;
    open_vouchers(scene);
    visit(scene);
    say(scene->user, lease_frame, sizeof(lease_frame));
    close(scene->user);
    scene->user = -1;
    starter_answers(scene, "ok=1\nlease=n-1a\nanswer=2200\n");
    hear(scene->agent, mark_frame, sizeof(mark_frame));
    struct pollfd entry = {.fd = scene->agent, .events = POLLIN};
    assert_int_equal(poll(&entry, 1, PATIENCE_MS), 1);
    assert_true(recv(scene->agent, &byte, 1, 0) <= 0);
}

static void what_is_a_request_for_a_lease_is_told_by_its_bytes(void **state)
{
    (void)state;
    struct lease_ask ask;
    const unsigned char *body = lease_frame + FRAME_HEADER;
    size_t size = sizeof(lease_frame) - FRAME_HEADER;
    assert_true(lease_ask_read(body, size, &ask));
    assert_int_equal(ask.id_size, 2);
    assert_int_equal(ask.request_size, 3);
    assert_ptr_equal(ask.request, body + 6);
    assert_int_equal(ask.job_id, 300);
    for (size_t less = 0; less < size; less++)
        assert_false(lease_ask_read(body, less, &ask));
    for (size_t at = 0; at < size; at++) { /* every other byte in every place: never beyond the frame */
        unsigned char changed[sizeof(lease_frame)];
        memcpy(changed, body, size);
        for (unsigned value = 0; value < 256; value++) {
            changed[at] = (unsigned char)value;
            if (lease_ask_read(changed, size, &ask))
                assert_true(ask.request + ask.request_size <= changed + size && ask.id == changed);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOOR_TEST(what_can_be_redeemed_never_reaches_the_agent),
        DOOR_TEST(the_agent_hears_a_moment_later_or_before_what_comes_next),
        DOOR_TEST(the_agent_hears_all_in_the_order_in_which_it_was_said),
        DOOR_TEST(a_starter_without_a_voucher_or_a_word_changes_nothing),
        DOOR_TEST(a_starter_that_has_closed_the_connection_is_asked_anew),
        DOOR_TEST(nobody_is_asked_without_the_agents_word),
        DOOR_TEST(half_an_answer_to_the_user_is_never_cut_by_ours),
        DOOR_TEST(whoever_plays_the_door_is_sent_away),
        DOOR_TEST(who_leaves_meanwhile_leaves_his_lease_with_the_agent),
        cmocka_unit_test(what_is_a_request_for_a_lease_is_told_by_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

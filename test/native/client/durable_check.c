/**
 * The checker of durable regions: threads write cells and know every write that was acknowledged, while copies are
 * killed and their nodes lose power (mirrored), or are wanted back (evacuated). Every read must find what was
 * acknowledged last, or something younger.
 *
 *   client_durable_check [KILLS [DRAINS [POWER_CUTS [SEED]]]]
 *
 * A cell is 64 bytes: its writer's count, eight times, so that a torn cell shows. Each writer has cells of its own;
 * all share counters, which are added to: the sum of what was acknowledged is what must be there in the end.
 */
#include "fixture.h"
#include "nodes.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

enum { WRITERS = 4, READERS = 2, CELL = 64, CELLS = 16384, COUNTERS = 64, BATCH = 16, RUN = 8, SETTLE_MS = 200 };

#define CELLS_BYTES ((uint64_t)WRITERS * CELLS * CELL)
#define BYTES       (CELLS_BYTES + COUNTERS * 8 + 4096)

static uint32_t kills = 20, drains = 50, power_cuts = 20;
static uint64_t seed = 88172645463325252u;

struct check;

struct worker {
    pthread_t thread;
    struct check *check;
    uint32_t number;
    uint64_t random;
    uint64_t operations;
};

struct check {
    struct fixture *fixture;
    sublet_region *region;
    _Atomic uint64_t acknowledged[WRITERS][CELLS];
    _Atomic uint64_t added[COUNTERS];
    atomic_bool stop;
    atomic_uint wrong;
    char what[200]; /* the first thing that was wrong */
    struct worker workers[WRITERS + READERS];
};

static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state % below;
}

#define WRONG(check, ...)                                                                                              \
    do {                                                                                                               \
        if (atomic_fetch_add(&(check)->wrong, 1) == 0)                                                                 \
            snprintf((check)->what, sizeof((check)->what), __VA_ARGS__);                                               \
    } while (0)

static uint64_t offset_of(uint32_t writer, uint32_t cell)
{
    return ((uint64_t)cell * WRITERS + writer) * CELL; /* cells of all writers lie side by side */
}

static void fill(uint64_t cell[8], uint64_t count)
{
    for (int i = 0; i < 8; i++)
        cell[i] = count;
}

static void expect_done(struct check *check, sublet_status status, const char *what)
{
    if (status != SUBLET_OK)
        WRONG(check, "%s: %s (%s)", what, sublet_status_text(status), sublet_last_error());
}

/** `most` of UINT64_MAX: another thread's cell, which may be written just now (and then be torn, so not looked at). */
static void expect(struct check *check, uint32_t writer, uint32_t cell, const uint64_t *got, uint64_t least,
                   uint64_t most)
{
    if (got[0] < least || got[0] > most)
        WRONG(check, "cell %u of writer %u holds %llu, acknowledged was %llu", cell, writer, (unsigned long long)got[0],
              (unsigned long long)least);
    for (int i = 1; i < 8 && most != UINT64_MAX; i++)
        if (got[i] != got[0])
            WRONG(check, "cell %u of writer %u is torn", cell, writer);
}

static void acknowledge(struct worker *worker, const uint32_t *cells, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        atomic_fetch_add(&worker->check->acknowledged[worker->number][cells[i]], 1);
}

/** BATCH different cells and their next contents. */
static void pick(struct worker *worker, uint32_t cells[BATCH], uint64_t contents[BATCH][8])
{
    uint32_t first = (uint32_t)draw(&worker->random, CELLS);
    for (uint32_t i = 0; i < BATCH; i++) {
        cells[i] = (first + i * 97) % CELLS;
        fill(contents[i], atomic_load(&worker->check->acknowledged[worker->number][cells[i]]) + 1);
    }
}

static void put_one(struct worker *worker)
{
    uint32_t cells[BATCH];
    uint64_t contents[BATCH][8];
    pick(worker, cells, contents);
    expect_done(worker->check,
                sublet_region_put(worker->check->region, offset_of(worker->number, cells[0]), contents[0], CELL),
                "put");
    acknowledge(worker, cells, 1);
}

static void put_many(struct worker *worker)
{
    struct check *check = worker->check;
    uint32_t cells[BATCH];
    uint64_t contents[BATCH][8];
    pick(worker, cells, contents);
    for (int i = 0; i < BATCH; i++)
        expect_done(check,
                    sublet_region_put_async(check->region, offset_of(worker->number, cells[i]), contents[i], CELL),
                    "put_async");
    expect_done(check, sublet_region_flush(check->region), "flush");
    acknowledge(worker, cells, BATCH);
}

static void put_listed(struct worker *worker)
{
    uint32_t cells[BATCH];
    uint64_t contents[BATCH][8];
    sublet_region_piece pieces[BATCH];
    pick(worker, cells, contents);
    for (int i = 0; i < BATCH; i++)
        pieces[i] =
            (sublet_region_piece){.offset = offset_of(worker->number, cells[i]), .bytes = contents[i], .size = CELL};
    expect_done(worker->check, sublet_region_put_list(worker->check->region, pieces, BATCH), "put_list");
    acknowledge(worker, cells, BATCH);
}

static void put_column(struct worker *worker)
{
    struct check *check = worker->check;
    uint32_t first = (uint32_t)draw(&worker->random, CELLS - RUN), cells[RUN];
    uint64_t contents[RUN][8];
    for (uint32_t i = 0; i < RUN; i++) {
        cells[i] = first + i;
        fill(contents[i], atomic_load(&check->acknowledged[worker->number][cells[i]]) + 1);
    }
    expect_done(check,
                sublet_region_put_strided(check->region, offset_of(worker->number, first), RUN, CELL,
                                          (uint64_t)WRITERS * CELL, contents),
                "put_strided");
    acknowledge(worker, cells, RUN);
}

static void add(struct worker *worker)
{
    struct check *check = worker->check;
    uint64_t before = 0, value = draw(&worker->random, 1000) + 1, counter = draw(&worker->random, COUNTERS);
    uint64_t least = atomic_load(&check->added[counter]), offset = CELLS_BYTES + counter * 8;
    sublet_status status;
    if (value % 4 != 0)
        status = sublet_region_fetch_add(check->region, offset, value, &before);
    else { /* the same, made of swaps */
        uint64_t seen = least;
        while ((status = sublet_region_compare_swap(check->region, offset, seen, seen + value, &before)) == SUBLET_OK &&
               before != seen)
            seen = before;
    }
    expect_done(check, status, "atomic");
    if (before < least)
        WRONG(check, "counter %u was %llu, acknowledged was %llu", (unsigned)counter, (unsigned long long)before,
              (unsigned long long)least);
    atomic_fetch_add(&check->added[counter], value);
}

static void get_own(struct worker *worker)
{
    struct check *check = worker->check;
    uint32_t cells[BATCH];
    uint64_t contents[BATCH][8], got[BATCH][8];
    pick(worker, cells, contents);
    for (int i = 0; i < BATCH; i++)
        expect_done(check, sublet_region_get_async(check->region, offset_of(worker->number, cells[i]), got[i], CELL),
                    "get_async");
    expect_done(check, sublet_region_flush(check->region), "flush");
    for (int i = 0; i < BATCH; i++)
        expect(check, worker->number, cells[i], got[i], contents[i][0] - 1, contents[i][0] - 1);
}

static void *write_cells(void *argument)
{
    static void (*const operations[])(struct worker *) = {put_one, put_many, put_listed, put_column, add, get_own};
    struct worker *worker = argument;
    while (!atomic_load(&worker->check->stop) && atomic_load(&worker->check->wrong) == 0) {
        operations[draw(&worker->random, sizeof(operations) / sizeof(operations[0]))](worker);
        worker->operations++;
    }
    return NULL;
}

/** Reads everybody's cells: what was acknowledged before the read began must be there. */
static void *read_cells(void *argument)
{
    struct worker *worker = argument;
    struct check *check = worker->check;
    while (!atomic_load(&check->stop) && atomic_load(&check->wrong) == 0) {
        uint32_t writer = (uint32_t)draw(&worker->random, WRITERS), cell = (uint32_t)draw(&worker->random, CELLS);
        uint64_t least = atomic_load(&check->acknowledged[writer][cell]), got[8];
        expect_done(check, sublet_region_get(check->region, offset_of(writer, cell), got, CELL), "get");
        expect(check, writer, cell, got, least, UINT64_MAX);
        worker->operations++;
    }
    return NULL;
}

/** Nobody writes: all must be exactly as acknowledged. */
static void verify(struct check *check)
{
    unsigned char *all = malloc(BYTES);
    uint64_t got[8];
    expect_done(check, sublet_region_get(check->region, 0, all, BYTES), "get");
    for (uint32_t writer = 0; writer < WRITERS; writer++)
        for (uint32_t cell = 0; cell < CELLS; cell++) {
            uint64_t acknowledged = atomic_load(&check->acknowledged[writer][cell]);
            memcpy(got, all + offset_of(writer, cell), sizeof(got));
            expect(check, writer, cell, got, acknowledged, acknowledged);
        }
    for (uint32_t i = 0; i < COUNTERS; i++) {
        memcpy(got, all + CELLS_BYTES + i * 8, 8);
        if (got[0] != atomic_load(&check->added[i]))
            WRONG(check, "counter %u is %llu, acknowledged were %llu", i, (unsigned long long)got[0],
                  (unsigned long long)atomic_load(&check->added[i]));
    }
    free(all);
}

static struct check *begin(struct fixture *fixture, sublet_durability durability)
{
    struct check *check = calloc(1, sizeof(*check));
    sublet_region_options options = SUBLET_REGION_OPTIONS_INIT;
    options.durability = durability;
    check->fixture = fixture;
    if (sublet_region_alloc(fixture->session, BYTES, &options, &check->region) != SUBLET_OK)
        fail_msg("%s", sublet_last_error());
    return check;
}

static void work(struct check *check)
{
    atomic_store(&check->stop, false);
    for (uint32_t i = 0; i < WRITERS + READERS; i++) {
        struct worker *worker = &check->workers[i];
        worker->check = check;
        worker->number = i;
        worker->random = seed + i * 0x9e3779b97f4a7c15u + 1;
        assert_int_equal(pthread_create(&worker->thread, NULL, i < WRITERS ? write_cells : read_cells, worker), 0);
    }
}

static void rest(struct check *check)
{
    atomic_store(&check->stop, true);
    for (uint32_t i = 0; i < WRITERS + READERS; i++)
        pthread_join(check->workers[i].thread, NULL);
    verify(check);
}

static void end(struct check *check, const char *what, uint32_t rounds)
{
    uint64_t operations = 0;
    for (uint32_t i = 0; i < WRITERS + READERS; i++)
        operations += check->workers[i].operations;
    printf("%u %s, %llu operations, %u wrong%s%s\n", rounds, what, (unsigned long long)operations,
           atomic_load(&check->wrong), check->what[0] == '\0' ? "" : ": ", check->what);
    assert_int_equal(atomic_load(&check->wrong), 0);
    sublet_region_free(check->region);
    free(check);
}

static sublet_lease_info info_of(const struct check *check)
{
    sublet_lease_info info = {.struct_bytes = sizeof(info)};
    assert_int_equal(sublet_region_info_get(check->region, &info), SUBLET_OK);
    return info;
}

static bool wait_copies(struct check *check, uint32_t copies)
{
    for (uint64_t end_ns = time_ns() + 20000000000u; time_ns() < end_ns; poll(NULL, 0, 1))
        if (atomic_load(&check->wrong) != 0 || info_of(check).copies == copies)
            return atomic_load(&check->wrong) == 0;
    WRONG(check, "after 20 s there are %u copies, not %u", info_of(check).copies, copies);
    return false;
}

static bool wait_held(struct check *check, const struct executor *executor, bool held)
{
    for (uint64_t end_ns = time_ns() + 20000000000u; time_ns() < end_ns; poll(NULL, 0, 1))
        if (atomic_load(&check->wrong) != 0 || fake_agent_holds(check->fixture->agent, executor->grant.id) == held)
            return atomic_load(&check->wrong) == 0;
    WRONG(check, "after 20 s %s is %sheld", executor->grant.id, held ? "not " : "");
    return false;
}

static void stop_node(struct check *check, struct executor *executor)
{
    fake_agent_withdraw(check->fixture->agent, executor->grant.id);
    executor_kill(executor);
}

/** Which way it is reached, and when it dies, is drawn; every third new copy dies while it is being filled. */
static void mirrored_under_kills(void **state)
{
    struct fixture *fixture = *state;
    uint64_t random = seed;
    struct executor *live[2] = {fixture_region(fixture, BYTES, false), fixture_region(fixture, BYTES, true)};
    struct check *check = begin(fixture, SUBLET_MIRRORED);
    work(check);
    uint32_t done = 0;
    while (done < kills && wait_copies(check, 2)) {
        uint32_t victim = (uint32_t)draw(&random, 2);
        poll(NULL, 0, (int)draw(&random, 20));
        struct executor *next = fixture_region(fixture, BYTES, draw(&random, 2) == 0);
        stop_node(check, live[victim]);
        done++;
        if (draw(&random, 3) == 0 && done < kills && wait_held(check, next, true)) {
            poll(NULL, 0, (int)draw(&random, 4));
            stop_node(check, next);
            done++;
            next = fixture_region(fixture, BYTES, draw(&random, 2) == 0);
        }
        live[victim] = next;
        wait_held(check, next, true); /* the loss was noticed: only then 2 copies mean two that live */
    }
    wait_copies(check, 2);
    rest(check);
    stop_node(check, live[draw(&random, 2)]); /* and the other one has it all */
    verify(check);
    end(check, "kills of mirrored copies", done);
}

/**
 * A target that is to die before it has the content: one copy is all there is, so a kill after the move is a loss. How
 * far the move is when its target is stopped is drawn; a stopped one acknowledges nothing, so a move that has not ended
 * after SETTLE_MS does not end. false: it had ended, and the target goes on.
 */
static bool stop_target(struct check *check, const struct executor *live, struct executor *target, uint64_t moves)
{
    kill(target->pid, SIGSTOP);
    for (uint64_t end_ns = time_ns() + SETTLE_MS * 1000000u; time_ns() < end_ns; poll(NULL, 0, 1))
        if (info_of(check).moves > moves || !fake_agent_holds(check->fixture->agent, live->grant.id)) {
            kill(target->pid, SIGCONT);
            return false;
        }
    stop_node(check, target);
    return true;
}

/** The old lease goes back by itself within its budget; every fourth target dies while it is being filled, or before.
 */
static void evacuated_under_drains(void **state)
{
    struct fixture *fixture = *state;
    uint64_t random = seed;
    struct executor *live = fixture_region(fixture, BYTES, false);
    struct check *check = begin(fixture, SUBLET_EVACUATED);
    work(check);
    uint32_t done = 0, died = 0;
    for (; done < drains && atomic_load(&check->wrong) == 0; done++) {
        poll(NULL, 0, (int)draw(&random, 20));
        struct executor *next = fixture_region(fixture, BYTES, draw(&random, 2) == 0);
        uint64_t moves = info_of(check).moves;
        fake_agent_drain(fixture->agent, live->grant.id, 20000, false);
        if (draw(&random, 4) == 0) {
            usleep((useconds_t)draw(&random, 4000));
            if (stop_target(check, live, next, moves)) {
                died++;
                next = fixture_region(fixture, BYTES, draw(&random, 2) == 0);
            }
        }
        if (!wait_held(check, live, false))
            break;
        stop_node(check, live);
        live = next;
    }
    rest(check);
    printf("%u targets died before they had the content\n", died);
    end(check, "reclaims of evacuated regions", done);
}

/** A copy on a node of its own. */
struct apart {
    struct node node;
    struct executor *executor;
};

static struct apart *power_on(struct fixture *fixture, struct apart *all, uint32_t *count)
{
    struct apart *made = &all[*count];
    node_make(&made->node, (*count)++);
    fixture->host = made->node.address;
    node_enter(&made->node);
    made->executor = fixture_region(fixture, BYTES, true);
    node_leave();
    return made;
}

/** The cable goes first: what the kernel says when the process dies reaches nobody. */
static void power_off(struct check *check, struct apart *apart)
{
    node_cut(&apart->node);
    stop_node(check, apart->executor);
}

/** The next copy is asked for when the loss is noticed. Sooner than silence can tell, something was heard. */
static bool wait_noticed(struct check *check, const struct apart *next, uint64_t cut_ns)
{
    bool held = wait_held(check, next->executor, true);
    uint32_t took_ms = (uint32_t)((time_ns() - cut_ns) / 1000000);
    if (held && took_ms < fixture_timeout_ms / 2)
        WRONG(check, "a power cut was noticed after %u ms", took_ms);
    return held;
}

/** As under kills, but nobody hears of it: silence is all that tells. */
static void mirrored_under_power_cuts(void **state)
{
    struct fixture *fixture = *state;
    if (fixture == NULL)
        skip();
    uint64_t random = seed;
    uint32_t count = 0, done = 0;
    struct apart *all = calloc((size_t)power_cuts + 4, sizeof(*all));
    struct apart *live[2] = {power_on(fixture, all, &count), power_on(fixture, all, &count)};
    struct check *check = begin(fixture, SUBLET_MIRRORED);
    work(check);
    while (done < power_cuts && wait_copies(check, 2)) {
        uint32_t victim = (uint32_t)draw(&random, 2);
        poll(NULL, 0, (int)draw(&random, 20));
        struct apart *next = power_on(fixture, all, &count);
        uint64_t cut_ns = time_ns();
        power_off(check, live[victim]);
        done++;
        if (draw(&random, 3) == 0 && done < power_cuts && wait_noticed(check, next, cut_ns)) {
            poll(NULL, 0, (int)draw(&random, 4));
            cut_ns = time_ns();
            power_off(check, next);
            done++;
            next = power_on(fixture, all, &count);
        }
        live[victim] = next;
        wait_noticed(check, next, cut_ns);
    }
    wait_copies(check, 2);
    rest(check);
    power_off(check, live[draw(&random, 2)]); /* and the other one has it all */
    verify(check);
    end(check, "power cuts of nodes with a mirrored copy", done);
    for (uint32_t i = 0; i < count; i++)
        node_free(&all[i].node);
    free(all);
}

static int start_among_nodes(void **state)
{
    *state = NULL;
    if (!nodes_begin())
        return 0;
    fixture_timeout_ms = 1500; /* each cut is noticed after this */
    return fixture_start(state);
}

static int stop_among_nodes(void **state)
{
    if (*state == NULL)
        return 0;
    int left = fixture_stop(state);
    nodes_end();
    return left;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_start, fixture_stop)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        TEST(mirrored_under_kills), TEST(evacuated_under_drains),
        cmocka_unit_test_setup_teardown(mirrored_under_power_cuts, start_among_nodes, stop_among_nodes)};
    if (count > 1)
        kills = (uint32_t)strtoul(arguments[1], NULL, 10);
    if (count > 2)
        drains = (uint32_t)strtoul(arguments[2], NULL, 10);
    if (count > 3)
        power_cuts = (uint32_t)strtoul(arguments[3], NULL, 10);
    if (count > 4)
        seed = strtoull(arguments[4], NULL, 10) | 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/** The command against a controller that answers by the real protocol: what it asks, and what it shows. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { SubletError } from "../../../src/common/errors.ts";
import { mungeIdentity } from "../../../src/rpc/munge.ts";
import { type ControllerHandlers, serve } from "../../../src/rpc/server.ts";
import { startMunged } from "../rpc/munged.ts";
import { lease, sublet } from "./typed.ts";

const pressure = {
  durationMs: 12_000,
  cpuUs: 150_000,
  memoryUs: 0,
  ioUs: 0,
  watchedMs: 10_000,
  memoryWatchedMs: 10_000,
};
const receipt = {
  jobId: 7,
  node: "n1",
  uid: 20001,
  fromUnixMs: 1000,
  toUnixMs: 61_000,
  ended: true,
  consent: "CONSENT_SHARE" as const,
  guests: [
    {
      leaseId: "l-1",
      uid: 20002,
      kind: "LEASE_KIND_FUNCTION" as const,
      class: "CAPACITY_CLASS_SHARED" as const,
      coreSeconds: 12.34,
      byteSeconds: 2 ** 30,
      leases: 1,
    },
  ],
  actions: [{ action: "freeze", count: 2 }],
  alone: pressure,
  beside: { ...pressure, cpuUs: 300_000 },
  pressureOf: "job",
};

const byTasks = { ...pressure, memoryWatchedMs: 0 };
const unwatched = { ...byTasks, watchedMs: 0 };
const receipts: Readonly<Record<number, typeof receipt>> = {
  7: receipt,
  9: { ...receipt, jobId: 9, alone: byTasks, beside: byTasks, pressureOf: "tasks" },
  10: { ...receipt, jobId: 10, alone: unwatched, beside: unwatched, pressureOf: "node" },
};

const usageOfNobody = { rows: [], fromDay: "2026-11-25", toDay: "2026-11-25", timeZone: "UTC" };
const used = { uid: 20001, user: "alice", leases: 3, coreSeconds: 7200, byteSeconds: 3600 * 2 ** 31 };
const usage = {
  ...usageOfNobody,
  rows: [
    { ...used, account: "physics", invocations: 12 },
    { ...used, account: "", user: '=HYPERLINK("x")', uid: 20002, coreSeconds: 90, invocations: 0 },
  ],
  quotas: [{ account: "physics", limitCoreSeconds: 28_800, usedCoreSeconds: 7300 }],
  quotaResetsInMs: 3_600_000,
  allUsers: true,
};

describe("with a controller", () => {
  const released: string[] = [];
  const asked: object[] = [];
  const environment: Record<string, string> = {};
  const closers: (() => Promise<void>)[] = [];
  before(async () => {
    const munged = await startMunged();
    closers.push(() => munged.stop());
    const unused = async (): Promise<never> => assert.fail("not used");
    const handlers: ControllerHandlers = {
      report: unused,
      getUsage: async ({ from, to, groupBy, account, user }) => {
        if (to !== "today" && to < from) throw new SubletError("INVALID_ARGUMENT", "to is before from");
        asked.push({ from, to, groupBy, account, user });
        return from === "yesterday" ? { ...usageOfNobody, fromDay: "2026-11-24" } : usage;
      },
      getGain: async ({ fromUnixMs, toUnixMs }) => {
        asked.push({ fromUnixMs, toUnixMs });
        return {
          fromUnixMs,
          toUnixMs,
          covered: 0.5,
          coreHours: { total: 1000, slurmAlone: 600, perfectPacking: 400, lent: 60, beyondPacking: 5 },
          money: 1.5,
          currency: "EUR",
          cost: {
            guardActions: 2,
            leasesReclaimed: 3,
            cpuPressurePercent: 0.25,
            memoryPressurePercent: Number.NaN,
            holdOutDifferencePercent: 0.03,
            holdOutCpu: {
              lending: { waitedPercent: 0.41, nodes: 95.25, jobCoreHours: 12_345 },
              heldOut: { waitedPercent: 0.38, nodes: 5, jobCoreHours: 650 },
              differencePercent: 0.03,
              lowPercent: -0.02,
              highPercent: 0.08,
            },
            holdOutMemory: {
              lending: { waitedPercent: 0.02, nodes: 95.25, jobCoreHours: 12_345 },
              heldOut: { waitedPercent: 0.01, nodes: 0.5, jobCoreHours: 7 },
              differencePercent: Number.NaN,
              lowPercent: Number.NaN,
              highPercent: Number.NaN,
            },
          },
        };
      },
      listReceipts: async ({ jobId = 0 }) => {
        const one = receipts[jobId];
        if (one !== undefined) return { receipts: [one] };
        const all = [
          receipt,
          { ...receipt, node: "n2" },
          { ...receipt, jobId: 12, uid: 5, guests: [], alone: null, beside: null, toUnixMs: 1 },
        ];
        return { receipts: jobId === 0 ? all : [] };
      },
      requestLease: unused,
      renewLease: unused,
      listLeases: async () => ({ leases: [lease] }),
      releaseLease: async ({ leaseId, node }) => {
        if (node !== "n2") throw new SubletError("PERMISSION_DENIED", `lease ${leaseId} is another user's`);
        released.push(leaseId);
        return { lease };
      },
      drain: async ({ selection, mode, budgetMs, reason }) => {
        asked.push({ selection, mode, budgetMs, reason });
        return {
          outcomes: [
            { node: "n1", drainingLeaseIds: [lease.id ?? ""], leasesEnded: 1, lending: "LENDING_DRAINED" },
            { node: "n2", code: 14, message: "no agent reports from n2" },
          ],
        };
      },
      resume: async () => ({ outcomes: [{ node: "n1", lending: "LENDING_ON" }] }),
      reclaim: async ({ selection, mode, budgetMs, reason }) => {
        asked.push({ selection, mode, budgetMs, reason });
        return { outcomes: [{ node: "n1", drainingLeaseIds: ["gone"], lending: "LENDING_ON" }] };
      },
      listNodes: async () => ({
        snapshotValid: true,
        snapshotAgeMs: 3_000,
        nodes: [
          {
            node: "n1",
            slurmState: "mixed",
            slurmCores: 8,
            slurmAllocCores: 5,
            slurmMemoryBytes: 2 ** 34,
            slurmAllocMemoryBytes: 2 ** 33,
            offerAgeMs: 1_000,
            offer: {
              node: "n1",
              spare: [{ class: "CAPACITY_CLASS_UNALLOCATED", cores: [6, 7], memoryBytes: 2 ** 30 }],
            },
            leases: 1,
            leasedCores: 1,
            leasedMemoryBytes: 2 ** 20,
            partitions: ["main"],
          },
          { node: "n2", slurmState: "down", slurmCores: 8 },
        ],
      }),
    };
    const server = await serve({
      listen: "127.0.0.1:0",
      identity: mungeIdentity({ socket: munged.socket }),
      trustedUids: [0],
      controller: handlers,
    });
    closers.push(() => server.close());
    environment.SUBLET_CONTROLLER = server.address;
    environment.SUBLET_MUNGE_SOCKET = munged.socket;
  });
  after(async () => {
    for (const close of closers.reverse()) await close();
  });

  it("drains what is selected, tells who did it, and says partly where one did not", async () => {
    const args = ["drain", "n[1-2]", "gpu1", "--partition", "main", "--reason", "disk", "--no-wait"];
    const { status, out, err } = await sublet(args, environment);
    assert.equal(status, 4);
    assert.equal(
      out,
      "n1 drained; 1 lease ended, 1 lease has its budget\n" +
        "n2 not reached (no agent reports): it goes on lending if it lives: drain it again when it answers\n",
    );
    assert.equal(err, "");
    assert.deepEqual(asked.pop(), {
      selection: { nodes: ["n[1-2]", "gpu1"], partitions: ["main"], all: false, leaseIds: [] },
      mode: "RECLAIM_MODE_GRACEFUL",
      budgetMs: 30_000,
      reason: "disk",
    });
  });
  it("reclaims leases, waits for their budgets, and resumes", async () => {
    const args = ["--json", "reclaim", "--lease", "a", "--lease", "b", "--budget", "5"];
    const { status, out } = await sublet(args, environment);
    assert.equal(status, 0);
    const { outcomes, failed } = JSON.parse(out) as { outcomes: Record<string, unknown>[]; failed: number };
    assert.deepEqual([failed, outcomes[0]?.leasesEnded, outcomes[0]?.drainingLeaseIds], [0, 1, []]);
    assert.deepEqual(asked.pop(), {
      selection: { nodes: [], partitions: [], all: false, leaseIds: ["a", "b"] },
      mode: "RECLAIM_MODE_GRACEFUL",
      budgetMs: 5_000,
      reason: "",
    });
    assert.equal((await sublet(["resume", "--all"], environment)).status, 0);
    const nothing = await sublet(["resume"], environment);
    assert.equal(nothing.status, 1);
    assert.match(nothing.err, /nothing is selected/);
    assert.equal((await sublet(["drain", "n1", "--budget", "0"], environment)).status, 2);
    assert.equal((await sublet(["reclaim", "n1", "--mode", "keep"], environment)).status, 2);
  });
  it("shows nodes", async () => {
    const { status, out } = await sublet(["nodes"], environment);
    assert.equal(status, 0);
    assert.equal(
      out,
      "NODE  STATE  CORES           MEMORY  SPARE CORES    SPARE MEMORY  LASTS  LEASES  LENT             HEARD\n" +
        "n1    mixed    5/8  8 GiB of 16 GiB  2 unallocated         1 GiB      ?       1  1 core, 1 MiB  1 s ago\n" +
        "n2    down     0/8       0 B of 0 B  no agent                                 0  0 cores, 0 B\n" +
        "Slurm was asked 3 s ago. CORES and MEMORY: given to jobs, of all. " +
        "LASTS: how long what is spare is likely to stay; ?: too little was seen to say.\n",
    );
    const narrow = await sublet(["nodes"], environment, 60);
    for (const line of narrow.out.split("\n")) assert.ok(line.length <= 60, line);
    assert.match(
      (await sublet(["nodes", "--state", "allocated"], environment)).out,
      /\nNo node matches\. States of all nodes: down, mixed, no-agent, unspecified; partitions: main\.\n$/,
    );
    const json = JSON.parse((await sublet(["--json", "nodes"], environment)).out) as {
      nodes: { node: string; offer: unknown }[];
    };
    assert.deepEqual(
      json.nodes.map(({ node, offer }) => [node, offer === null]),
      [
        ["n1", false],
        ["n2", true],
      ],
    );
  });
  it("shows the nodes and columns that are asked for, in their order", async () => {
    const shown = async (...args: string[]) =>
      (await sublet(["nodes", "--no-header", ...args], environment)).out;
    const names = ["--format", "node"];
    assert.equal(await shown(...names), "n1\nn2\n");
    assert.equal(await shown(...names, "--sort", "-node"), "n2\nn1\n");
    assert.equal(await shown("--format", "leases,node", "--sort", "spare-cores"), "0  n2\n1  n1\n");
    assert.equal(await shown(...names, "--node", "n[2,1]", "--state", "down"), "n2\n");
    assert.equal(await shown(...names, "--state", "no-agent,mixed"), "n1\nn2\n");
    assert.equal(await shown(...names, "--partition", "main"), "n1\n");
    assert.equal(await shown("--partition", "none"), "");
    const wrong = await sublet(["nodes", "--sort", "spare-core"], environment);
    assert.equal(wrong.status, 2);
    assert.match(wrong.err, /did you mean spare-cores\?/);
    const strange = await sublet(["nodes", "--node", "n1x"], environment);
    assert.equal(strange.status, 1);
    assert.match(strange.err, /no node n1x: .*; did you mean n1\?/);
    assert.equal((await sublet(["nodes", "--watch", "0"], environment)).status, 2);
  });
  it("shows the leases that are asked for", async () => {
    const ids = async (...args: string[]) =>
      (await sublet(["leases", "--no-header", "--format", "lease", ...args], environment)).out;
    assert.equal(await ids("--user", "20001", "--state", "active", "--node", "n[1-3]"), "n2-abc\n");
    for (const other of [
      ["--user", "root"],
      ["--state", "draining"],
      ["--node", "n1"],
      ["--partition", "main"],
    ])
      assert.equal(await ids(...other), "", other.join(" "));
    const nobody = await sublet(["leases", "--user", "no-such-user"], environment);
    assert.equal(nobody.status, 1);
    assert.match(nobody.err, /no user no-such-user is known/);
  });
  it("shows and ends leases", async () => {
    const { out } = await sublet(["leases"], environment);
    assert.equal(
      out,
      "LEASE   NODE  KIND      STATE   CORES  MEMORY  CLASS    UID  JOB  ENDS IN  CALLS\n" +
        "n2-abc  n2    function  active  1-3    64 MiB  idle   20001   42     59 s      7\n",
    );
    assert.deepEqual(await sublet(["release", "n2-abc"], environment), {
      status: 0,
      out: "Lease n2-abc on n2 has ended.\n",
      err: "",
    });
    assert.deepEqual(released, ["n2-abc"]);
  });
  it("shows what guests cost a job", async () => {
    const { out } = await sublet(["jobs", "7"], environment);
    assert.equal(
      out,
      `Job 7 on n1: 1 min, shares what it does not use.
LEASE    UID  KIND      CLASS   CORE SECONDS   MEMORY
l-1    20002  function  shared          12.3  1 GiB·s
Guard: freeze 2×.
Waiting, the pressure of the job's cgroup, time in which some task waited:
  without guests (12 s): cpu 1.50 %, memory 0.00 %, io 0.00 %
  with guests (12 s): cpu 3.00 %, memory 0.00 %, io 0.00 %
`,
    );
    const json = JSON.parse((await sublet(["--json", "jobs", "7"], environment)).out);
    assert.deepEqual(json, { receipts: [receipt], leftOut: 0 });
    assert.equal(
      (await sublet(["jobs", "--summary", "7"], environment)).out,
      "sublet: 1 guest, 12.3 core s, 1 GiB s, guard acted 2 times, " +
        "cpu pressure 1.50 % without and 3.00 % with guests\n",
    );
    const byTasks = (await sublet(["jobs", "9"], environment)).out;
    assert.match(
      byTasks,
      /^Waiting of the job's tasks .*\n {2}without guests \(12 s\): cpu 1\.50 %, memory -, io -$/m,
    );
    // Of an agent that took the node's pressure for the job's.
    assert.match((await sublet(["jobs", "10"], environment)).out, /Waiting: not measured\.\n$/);
    const none = await sublet(["jobs", "8"], environment);
    assert.equal(none.status, 1);
    assert.match(none.err, /^sublet: no receipt of job 8 is known here/);
    assert.equal((await sublet(["jobs", "x"], environment)).status, 2);
  });
  it("lists jobs, each in one row over its nodes, sorted, narrowed, as JSON", async () => {
    const { out } = await sublet(["jobs"], environment);
    const lines = out.split("\n");
    assert.match(
      lines[0] ?? "",
      /^JOB +UID +STATE +BEGAN +TOOK +NODES +GUESTS +CORE SECONDS +MEMORY +GUARD +WAIT ALONE +WAIT BESIDE$/,
    );
    assert.match(lines[1] ?? "", /^ +7 +20001 +ended .* 1 min +2 +2 +24\.7 +2 GiB·s +4 +1\.50 % +3\.00 %$/);
    assert.match(lines[2] ?? "", /^ +12 +5 +ended .* 1 +0 +0\.0 +0 B·s +2 +- +-$/);
    const narrow = (await sublet(["jobs"], environment, 60)).out;
    for (const line of narrow.split("\n").slice(0, 3)) assert.ok(line.length <= 60, line);
    const picked = await sublet(
      ["jobs", "--no-header", "--sort", "guests", "--format", "job,nodes"],
      environment,
    );
    assert.equal(picked.out, "12  1\n 7  2\n");
    const { jobs } = JSON.parse((await sublet(["--json", "jobs"], environment)).out);
    assert.deepEqual(
      jobs.map((job: Record<string, unknown>) => [job.jobId, job.nodes, job.guests]),
      [
        [7, ["n1", "n2"], 2],
        [12, ["n1"], 0],
      ],
    );
    for (const wrong of [
      ["jobs", "--summary"],
      ["jobs", "7", "--sort", "job"],
      ["jobs", "--sort", "jbo"],
    ]) {
      const { status, err } = await sublet(wrong, environment);
      assert.equal(status, 2, err);
    }
  });
  it("shows usage as a table with quotas, as CSV, as JSON; asks for days, accounts and users", async () => {
    asked.length = 0;
    const { out } = await sublet(["usage"], environment);
    assert.equal(
      out,
      [
        "Usage 2026-11-25 (days of UTC):",
        "ACCOUNT  USER             LEASES  CORE HOURS  GIB HOURS  CALLS  OF TODAY'S QUOTA",
        "physics  alice                 3        2.00       2.00     12              25 %",
        '-        =HYPERLINK("x")       3        0.03       2.00      0                 -',
        "Quotas begin again in 1 h.",
        "",
      ].join("\n"),
    );
    const csv = await sublet(
      ["usage", "--csv", "--from", "7d", "--by", "day", "user", "--account", "a", "--user", "b"],
      environment,
    );
    assert.equal(
      csv.out,
      [
        "day,user,leases,core_seconds,byte_seconds,invocations",
        ",alice,3,7200,7730941132800,12",
        `,"'=HYPERLINK(""x"")",3,90,7730941132800,0`,
        "",
      ].join("\r\n"),
    );
    assert.deepEqual(asked, [
      {
        from: "today",
        to: "today",
        groupBy: ["USAGE_GROUP_ACCOUNT", "USAGE_GROUP_USER"],
        account: "",
        user: "",
      },
      { from: "7d", to: "today", groupBy: ["USAGE_GROUP_DAY", "USAGE_GROUP_USER"], account: "a", user: "b" },
    ]);
    const json = JSON.parse((await sublet(["--json", "usage"], environment)).out);
    assert.partialDeepStrictEqual(json.rows[0], { account: "physics", coreSeconds: 7200 });
    const none = await sublet(["usage", "--from", "yesterday"], environment);
    assert.equal(none.out, "No usage: 2026-11-24 to 2026-11-25 (UTC), yours.\n");
    // Usage errors before anybody is asked, with the status that `gain` has for them.
    for (const [command, day, expected] of [
      ["usage", "soon", "Expected 2026-11-25, today, yesterday, or 7d."],
      ["usage", "2026-02-30", "Expected 2026-11-25, today, yesterday, or 7d."],
      ["gain", "tomorrow", "Expected today, yesterday, 7d, 30d, 2026-11-25 or 2026-11-25T12:00."],
    ] as const) {
      const wrong = await sublet([command, "--from", day], environment);
      assert.equal(wrong.status, 2);
      assert.ok(wrong.err.includes(expected), wrong.err);
    }
    const backwards = await sublet(["usage", "--from", "2026-11-25", "--to", "2026-11-24"], environment);
    assert.deepEqual([backwards.status, backwards.err], [1, "sublet: to is before from\n"]);
  });
  it("says where the dashboard is: a tunnel, unless settings or an option know better", async () => {
    const { out } = await sublet(["--controller", "head.example:7700", "dashboard"], environment);
    assert.match(
      out,
      /^http:\/\/localhost:7704\/\n.*: ssh -L 7704:localhost:7704 head\.example\nReading needs no login\.\n$/,
    );
    const known = { ...environment, SUBLET_DASHBOARD_URL: "https://head.example:7704/sublet" };
    assert.equal(
      (await sublet(["dashboard"], known)).out.split("\n")[0],
      "https://head.example:7704/sublet/",
    );
    const given = await sublet(["--json", "dashboard", "--url", "https://other/"], known);
    assert.deepEqual(JSON.parse(given.out), { url: "https://other/" });
    const wrong = await sublet(["dashboard", "--url", "javascript:alert(1)"], environment);
    assert.equal(wrong.status, 1);
    assert.match(wrong.err, /expected "https:\/\/HOST:PORT\/"/);
  });
  it("shows what was won, beside both baselines, and what it cost", async () => {
    asked.length = 0;
    const { out, status } = await sublet(
      ["gain", "--from", "2026-11-24", "--to", "2026-11-25T12:00"],
      environment,
    );
    assert.equal(status, 0);
    assert.match(out, /^2026-11-24 00:00 to 2026-11-25 12:00 \(UTC\), watched 50 % of it:\n/);
    assert.match(out, /\nSlurm alone: held by jobs +600 +-\n/);
    assert.match(out, /\nLent: 10\.0 % of the core hours of Slurm alone, 15\.0 % of perfect packing's\.\n/);
    assert.match(out, /Worth 1\.5 EUR\./);
    assert.match(out, /guard acted 2 times, 3 leases were taken back/);
    assert.match(out, /beside guests less alone: 0\.25 % of the time; for memory: not measured/);
    assert.ok(
      out.includes(`
  jobs waiting for a core on nodes that lend, less on nodes held out: +0.03 % of their core time (95 %: -0.02 to +0.08)
    lend: 0.41 % of 12,345 job core hours on 95.3 nodes; held out: 0.38 % of 650 job core hours on 5 nodes
  jobs waiting for memory on nodes that lend, less on nodes held out: too little data
    lend: 0.02 % of 12,345 job core hours on 95.3 nodes; held out: 0.01 % of 7 job core hours on 0.5 nodes
`),
      out,
    );
    // At the clock of the site, which the controller tells, not of this machine.
    assert.deepEqual(asked.at(-1), {
      fromUnixMs: Date.parse("2026-11-24T00:00:00Z"),
      toUnixMs: Date.parse("2026-11-25T12:00:00Z"),
    });
    assert.equal((await sublet(["gain", "--from", "soon"], environment)).status, 2);
    for (const line of (await sublet(["gain"], environment, 60)).out.split("\n"))
      assert.ok(line.length <= 60, line);
  });
  it("says what was refused, and ends with 1", async () => {
    assert.deepEqual(await sublet(["release", "n2-abc", "--node", "n9"], environment), {
      status: 1,
      out: "",
      err: "sublet: lease n2-abc is another user's\n",
    });
    assert.equal((await sublet(["release", "gone"], environment)).status, 1);
  });
});

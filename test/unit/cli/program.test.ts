/** The command as a user runs it: against a controller and an agent that answer by the real protocols, and a fake libsublet. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { invoke } from "../../../src/cli/invoke.ts";
import type { Output } from "../../../src/cli/output.ts";
import { run } from "../../../src/cli/program.ts";
import { trace } from "../../../src/cli/trace.ts";
import { SubletError } from "../../../src/common/errors.ts";
import { loadCliConfig } from "../../../src/config/cli.ts";
import { decodeLocalRequest, encodeLocalResponse, FrameReader } from "../../../src/rpc/local.ts";
import type { Init, LeaseMessage } from "../../../src/rpc/messages.ts";
import { mungeIdentity } from "../../../src/rpc/munge.ts";
import { type ControllerHandlers, serve } from "../../../src/rpc/server.ts";
import { startMunged } from "../rpc/munged.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-cli-"));
after(() => rmSync(folder, { recursive: true }));

function collector(width?: number): Output & { out: string; err: string } {
  return {
    out: "",
    err: "",
    width,
    write(text) {
      this.out += text;
    },
    writeBytes(bytes) {
      this.out += bytes.toString("latin1");
    },
    error(text) {
      this.err += text;
    },
  };
}

const settingsFile = join(folder, "cli.toml");
writeFileSync(settingsFile, "timeout_ms = 5000\n");

async function sublet(args: readonly string[], environment: Record<string, string> = {}, width?: number) {
  const output = collector(width);
  const status = await run(["--config", settingsFile, ...args], output, environment);
  return { status, out: output.out, err: output.err };
}

const lease: Init<LeaseMessage> = {
  id: "n2-abc",
  kind: "LEASE_KIND_FUNCTION",
  state: "LEASE_STATE_ACTIVE",
  node: "n2",
  cores: [1, 2, 3],
  memoryBytes: 2 ** 26,
  class: "CAPACITY_CLASS_IDLE",
  owner: { uid: 20_001, jobId: 42 },
  remainingMs: 59_000,
  invocations: 7,
};

const pressure = { durationMs: 10_000, cpuUs: 150_000, memoryUs: 0, ioUs: 0 };
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
  pressureOf: "node",
};

describe("usage", () => {
  it("is explained", async () => {
    const { status, out } = await sublet(["--help"]);
    assert.equal(status, 0);
    for (const word of [
      "nodes",
      "leases",
      "status",
      "invoke",
      "trace",
      "release",
      "doctor",
      "Exit status",
      "--json",
    ])
      assert.ok(out.includes(word), word);
    assert.match((await sublet(["invoke", "--help"])).out, /--max-out <bytes>.*largest result/);
    assert.equal((await sublet(["--version"])).status, 0);
  });
  it("that is wrong ends with 2", async () => {
    const wrong: string[][] = [
      [],
      ["nodse"],
      ["release"],
      ["leases", "--frob"],
      ["--timeout", "soon", "leases"],
      ["--controller", "nowhere", "leases"],
      ["invoke", "a", "b", "--in", "x", "--data", "y"],
    ];
    for (const args of wrong) {
      const { status, err, out } = await sublet(args);
      assert.equal(status, 2, args.join(" "));
      assert.notEqual(err, "");
      assert.equal(out, "");
    }
    assert.match((await sublet(["nodse"])).err, /Did you mean nodes/);
  });
  it("without daemons ends with 3, and JSON errors are JSON", async () => {
    const none = { SUBLET_AGENT_SOCKET: join(folder, "none.sock") };
    for (const args of [["leases"], ["status"], ["release", "x"], ["nodes"]]) {
      const { status, err } = await sublet(args, none);
      assert.equal(status, 3, args.join(" "));
      assert.match(err, /^sublet: /);
    }
    const { out } = await sublet(["--json", "leases"], none);
    assert.equal((JSON.parse(out) as { error: { code: string } }).error.code, "UNAVAILABLE");
  });
});

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
        if (from === "soon") throw new SubletError("INVALID_ARGUMENT", 'from "soon" is no day');
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
          },
        };
      },
      listReceipts: async ({ jobId }) => ({
        receipts:
          jobId === 7
            ? [receipt]
            : jobId === 0
              ? [
                  receipt,
                  { ...receipt, node: "n2" },
                  { ...receipt, jobId: 12, uid: 5, guests: [], alone: null, beside: null, toUnixMs: 1 },
                ]
              : [],
      }),
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
        "Slurm was asked 3 s ago. CORES and MEMORY: given to jobs, of all.\n",
    );
    const narrow = await sublet(["nodes"], environment, 60);
    for (const line of narrow.out.split("\n").slice(0, 3)) assert.ok(line.length <= 60, line);
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
Pressure of the whole node, time in which some task waited:
  without guests (10 s): cpu 1.50 %, memory 0.00 %, io 0.00 %
  with guests (10 s): cpu 3.00 %, memory 0.00 %, io 0.00 %
`,
    );
    const json = JSON.parse((await sublet(["--json", "jobs", "7"], environment)).out);
    assert.deepEqual(json, { receipts: [receipt], leftOut: 0 });
    assert.equal(
      (await sublet(["jobs", "--summary", "7"], environment)).out,
      "sublet: 1 guest, 12.3 core s, 1 GiB s, guard acted 2 times, " +
        "cpu pressure 1.50 % without and 3.00 % with guests\n",
    );
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
    const wrong = await sublet(["usage", "--from", "soon"], environment);
    assert.deepEqual([wrong.status, wrong.err], [1, 'sublet: from "soon" is no day\n']);
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
    // At the clock of the site, which the controller tells, not of this machine.
    assert.deepEqual(asked.at(-1), {
      fromUnixMs: Date.parse("2026-11-24T00:00:00Z"),
      toUnixMs: Date.parse("2026-11-25T12:00:00Z"),
    });
    assert.equal((await sublet(["gain", "--from", "soon"], environment)).status, 2);
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

describe("with an agent only", () => {
  const socket = join(folder, "agent.sock");
  const server = createServer((peer) => {
    const reader = new FrameReader();
    peer.on("data", (chunk: Buffer) => {
      for (const body of reader.push(chunk)) {
        const request = decodeLocalRequest(body);
        const { id } = request;
        if (request.body === "list") peer.write(encodeLocalResponse({ id, leases: { leases: [lease] } }));
        else if (request.body === "release") peer.write(encodeLocalResponse({ id, lease }));
        else
          peer.write(
            encodeLocalResponse({
              id,
              status: {
                offer: {
                  node: "n1",
                  address: "10.77.0.11:7701",
                  coresTotal: 2,
                  coresUsedByJobs: 1,
                  memoryBytesTotal: 2 ** 31,
                  spare: [{ class: "CAPACITY_CLASS_UNALLOCATED", cores: [1], memoryBytes: 2 ** 30 }],
                },
                findings: { "cgroup.version": "v1" },
              },
            }),
          );
      }
    });
  });
  const environment = { SUBLET_AGENT_SOCKET: socket };
  before(async () => {
    server.listen(socket);
    await once(server, "listening");
  });
  after(() => server.close());

  it("shows its leases and ends one", async () => {
    assert.match((await sublet(["leases"], environment)).out, /^n2-abc {2}n2/m);
    assert.equal((await sublet(["release", "n2-abc"], environment)).status, 0);
    const { out } = await sublet(["--json", "leases"], environment);
    assert.deepEqual((JSON.parse(out) as { leases: { cores: number[] }[] }).leases[0]?.cores, [1, 2, 3]);
  });
  it("shows its status", async () => {
    assert.equal(
      (await sublet(["status"], environment)).out,
      "node                n1" +
        "\naddress             10.77.0.11:7701\n" +
        "controller          not connected\n" +
        "cores               1 of 2 held by jobs\n" +
        "memory              0 B of 2 GiB held by jobs\n" +
        "spare, unallocated  cores 1, 1 GiB\n" +
        "cgroup.version      v1\n",
    );
  });
});

describe("invoke, by a libsublet built against the real header", () => {
  const fake = join(folder, "libfake.so");
  const config = loadCliConfig(settingsFile, { SUBLET_AGENT_SOCKET: "/a/sock" });
  before(() => {
    const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
    execFileSync("cc", [
      "-shared",
      "-fPIC",
      "-D_GNU_SOURCE",
      "-I",
      here("../../../functions/include"),
      "-o",
      fake,
      here("fixtures/fake_sublet.c"),
    ]);
  });
  const call = (options: Partial<Parameters<typeof invoke>[3]>, json = false, name = "reverse") => {
    const output = collector();
    const session = { config, output, json };
    invoke(session, "libx.so", name, { maxOut: 100, cores: 2, local: true, ...options }, fake);
    return output;
  };

  it("passes arguments, options and result through", () => {
    const { out, err } = call({ data: "abc", node: "n7", local: false });
    assert.equal(out, "cba");
    assert.match(
      err,
      /^ran on socket=\/a\/sock timeout=5000 cores=2 in=3 out=100 node=n7 flags=2 call=5000 wait=6000: lease/,
    );
  });
  it("reads and writes files, and takes no arguments as none", () => {
    const [from, to] = [join(folder, "in"), join(folder, "out")];
    writeFileSync(from, Buffer.from([1, 2, 0, 255]));
    assert.equal(call({ in: from, out: to }).out, "");
    assert.deepEqual(readFileSync(to), Buffer.from([255, 0, 2, 1]));
    assert.equal(call({}).out, "");
    assert.throws(() => call({ in: join(folder, "none") }), { code: "INVALID_ARGUMENT" });
  });
  it("runs here when nobody lends, unless it must not", () => {
    const { out, err } = call({ data: "xy", cores: 9 });
    assert.equal(out, "yx");
    assert.match(err, /nobody lends 9 cores now; it runs here/);
    assert.throws(() => call({ data: "xy", cores: 9, local: false }), {
      code: "RESOURCE_EXHAUSTED",
      message: /nobody lends 9 cores now/,
    });
  });
  it("says what libsublet says", () => {
    assert.throws(() => call({}, false, "nope"), { code: "NOT_FOUND", message: /no function nope/ });
    assert.throws(() => call({ data: "x".repeat(101) }), { code: "INVALID_ARGUMENT" });
    assert.throws(
      () =>
        invoke(
          { config, output: collector(), json: false },
          "l",
          "f",
          { maxOut: 1, cores: 0, local: true },
          "/no/lib.so",
        ),
      {
        code: "FAILED_PRECONDITION",
        message: /npm run build/,
      },
    );
  });
  it("traces calls", async () => {
    const output = collector();
    const options = { count: 3, pauseMs: 0, payloadBytes: 7, node: "n5" };
    await trace({ config, output, json: true }, "libx.so", "reverse", options, fake);
    const said = JSON.parse(output.out) as { node: string; times: { name: string; firstNs: number }[] };
    assert.deepEqual(
      { ...said, times: said.times.length },
      {
        node: "n5",
        path: "connection",
        count: 3,
        payloadBytes: 7,
        workerTold: 3,
        workerSlept: 0,
        callerSlept: 3,
        times: 11,
      },
    );
    const first = said.times.map(({ firstNs }) => firstNs);
    assert.deepEqual(first, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 55]);
    assert.deepEqual(said.times[10], { name: "total", where: "", firstNs: 55, medianNs: 550, p99Ns: 550 });
  });
  it("prints JSON", () => {
    const json = JSON.parse(call({ data: "abc" }, true).out) as Record<string, unknown>;
    assert.equal(json.outBytes, 3);
    assert.equal(json.outBase64, Buffer.from("cba").toString("base64"));
  });
});

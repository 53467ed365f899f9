import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { loadCliConfig } from "../../../src/config/cli.ts";
import { loadAgentConfig, loadControllerConfig } from "../../../src/config/config.ts";
import { editDistance, nearestWord } from "../../../src/config/nearest.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-config-"));
after(() => rmSync(folder, { recursive: true }));

function file(text: string): string {
  const path = join(folder, "test.toml");
  writeFileSync(path, text);
  return path;
}
const agent = (text: string, environment: Record<string, string> = {}) =>
  loadAgentConfig(file(text), environment);

/** The whole complaint, paths shortened. */
function complaint(load: () => unknown): string {
  try {
    load();
  } catch (thrown) {
    return (thrown as Error).message.replaceAll(`${folder}/`, "");
  }
  return assert.fail("was accepted");
}

describe("agent.toml", () => {
  it("[reclaim] has its own keys, and says what is wrong with them", () => {
    const { reclaim } = agent(
      'node = "n1"\nrun_dir = "/r"\nfabric_address = "a"\n[reclaim]\nprolog = "learned"\nbudget_ms = 0',
    );
    assert.deepEqual(reclaim, { prolog: "learned", budgetMs: 0, stateDir: "/r" });
    assert.match(
      complaint(() =>
        agent('[reclaim]\nprolog = "none"\nbudget = 1', { SUBLET_RECLAIM: "ignored: not the agent's" }),
      ),
      /test\.toml:2: reclaim\.prolog: .*\ntest\.toml:3: unknown key reclaim\.budget; did you mean budget_ms\?/,
    );
  });
  it("fills all defaults", () => {
    const config = agent('node = "n1"\nlisten = "10.77.0.11:7701"\nnative_dir = "/opt/sublet"');
    assert.deepEqual(config, {
      node: "n1",
      runDir: "/run/sublet",
      listen: "10.77.0.11:7701",
      metricsListen: "0.0.0.0:7702",
      controllers: [],
      fabricAddress: "10.77.0.11",
      fabricProvider: "auto",
      cgroupName: "sublet_n1",
      slurmCgroup: "slurm",
      nativeDir: "/opt/sublet",
      cores: [],
      reserveCores: [],
      memoryBytes: undefined,
      reserveMemoryBytes: 512 * 1024 * 1024,
      trustedUids: [0],
      adminGid: undefined,
      guestUidFirst: 200_000,
      guestUidCount: 1000,
      poolMax: 4,
      codeCacheBytes: 256 * 1024 * 1024,
      codeFromPaths: [],
      leaseHereFirst: true,
      grantAhead: true,
      leaseTermMs: 60_000,
      leaseTermMaxMs: 3_600_000,
      announceTimeoutMs: 10_000,
      controllerTimeoutMs: 10_000,
      startTimeoutMs: 6_000,
      spinUs: 50,
      mungeSocket: undefined,
      tls: undefined,
      consent: {
        default: "no",
        account: {},
        qos: {},
        partition: {},
        unallocated: "lend",
        quietMs: 10_000,
        wakeMs: 500,
        memoryMarginBytes: 1024 * 1024 * 1024,
      },
      reclaim: { prolog: "all", budgetMs: 1_000, stateDir: "/run/sublet" },
      guardPolicyFile: undefined,
      lending: { mode: "on", holdOut: 0, holdOutDays: 7, shadowTermMs: 300_000 },
      log: { level: "info", to: "auto" },
      accounting: { sliceMs: 300_000, spoolBytes: 8 * 1024 * 1024 },
    });
  });
  it("takes consent by account, QOS and partition, and names the line of a wrong one", () => {
    const rules = (text: string) => agent(`slurm_conf = "none"\n[consent]\n${text}`).consent;
    assert.deepEqual(rules('[consent.partition]\ndebug = "share"').partition, { debug: "share" });
    assert.equal(rules("memory_margin_mib = 1").memoryMarginBytes, 1024 * 1024);
    assert.throws(() => rules('[consent.qos]\nhigh = "share"\nlow = "perhaps"'), {
      code: "INVALID_ARGUMENT",
      message: /\.toml:\d+: consent\.qos\.low: /,
    });
  });
  it("takes every key", () => {
    const config = agent(`
node = "n2"
run_dir = "/run/other"
listen = "0.0.0.0:1"
metrics_listen = "127.0.0.1:2"
controllers = ["10.77.0.1:7700", "[fd00::1]:7700"]
fabric_address = "10.0.0.2"
cgroup_name = "guests"
slurm_cgroup = "slurm_n2"
native_dir = "/n"
cores = "0-3,8"
reserve_cores = "0"
memory_mib = 2048
reserve_memory_mib = 100
trusted_uids = [0, 64030]
admin_gid = 50
guest_uid_first = 300000
guest_uid_count = 10
lease_term_ms = 1000
lease_term_max_ms = 2000
announce_timeout_ms = 3000
spin_us = 0
munge_socket = "/run/munge/m"
[tls]
ca_file = "/ca"
cert_file = "/cert"
key_file = "/key"
`);
    assert.deepEqual(config.cores, [0, 1, 2, 3, 8]);
    assert.deepEqual(config.reserveCores, [0]);
    assert.equal(config.memoryBytes, 2 ** 31);
    assert.equal(config.fabricAddress, "10.0.0.2");
    assert.deepEqual(config.trustedUids, [0, 64_030]);
    assert.deepEqual(config.tls, { caFile: "/ca", certFile: "/cert", keyFile: "/key" });
    assert.equal(config.spinUs, 0);
  });
  it("lets the environment override, units and lists included", () => {
    const config = agent('node = "n1"\nspin_us = 5', {
      SUBLET_AGENT_SPIN_US: "70",
      SUBLET_AGENT_CONTROLLERS: "a:1, b:2",
      SUBLET_AGENT_TRUSTED_UIDS: "0,7",
      SUBLET_AGENT_FABRIC_ADDRESS: "10.1.1.1",
      SUBLET_AGENT_SOCKET: "/not/a/key/of/this/file",
    });
    assert.equal(config.spinUs, 70);
    assert.deepEqual(config.controllers, ["a:1", "b:2"]);
    assert.deepEqual(config.trustedUids, [0, 7]);
    assert.equal(config.fabricAddress, "10.1.1.1");
  });
  it("refuses unknown keys with line and what was meant", () => {
    assert.equal(
      complaint(() => agent('node = "n1"\n\nspin_ms = 5\n')),
      "test.toml:3: unknown key spin_ms; did you mean spin_us?",
    );
    assert.equal(
      complaint(() => agent('[tls]\nca_file = "/a"\ncert_file = "/b"\nkeyfile = "/c"\n')),
      "test.toml:1: tls.key_file: missing, expected text (PEM of its key)\n" +
        "test.toml:4: unknown key tls.keyfile; did you mean key_file?",
    );
    assert.match(
      complaint(() => agent("zzzzzzzzzzzz = 5")),
      /known keys: node, run_dir/,
    );
  });
  it("refuses wrong values, all at once, with line or variable", () => {
    const said = complaint(() =>
      agent('listen = "nowhere"\nspin_us = -1\nrun_dir = "run"', { SUBLET_AGENT_ADMIN_GID: "staff" }),
    ).split("\n");
    assert.equal(said.length, 4);
    assert.match(said.join("\n"), /test\.toml:1: listen: expected "host:port"/);
    assert.match(said.join("\n"), /test\.toml:2: spin_us: /);
    assert.match(said.join("\n"), /test\.toml:3: run_dir: expected an absolute path/);
    assert.match(said.join("\n"), /SUBLET_AGENT_ADMIN_GID: admin_gid: /);
  });
  it("says of a wrong kind or size what it got, what it wants and in which unit, but no secret", () => {
    assert.equal(
      complaint(() => agent('lease_term_ms = "5s"')),
      'test.toml:1: lease_term_ms: got "5s", expected whole number, 1 to 86400000 (term of a lease whose client asked for none)',
    );
    assert.match(
      complaint(() => agent("[lending]\nhold_out = 5")),
      /^test\.toml:2: lending\.hold_out: got 5, expected number, 0 to 0\.5 \(share of the nodes/,
    );
    assert.match(
      complaint(() => agent('[lending]\nmode = "of"')),
      /^test\.toml:2: lending\.mode: got "of", expected one of "on", "shadow" \(/,
    );
    const said = (text: string): string => complaint(() => loadControllerConfig(file(text), {}));
    assert.match(said("[accounting]\nurl = 4711"), /^test\.toml:2: accounting\.url: wrong, expected text \(/);
    assert.match(
      said('[accounting]\nquota.cfd = "x"'),
      /^test\.toml:2: accounting\.quota\.cfd: got "x", expected number, 0 or more \(/,
    );
    assert.match(
      said('[dashboard.price]\nper_core_hour = 1\nper_gib_hour = 1\ncurrency = ""'),
      /currency: Too small: expected string to have >=1 characters/,
    );
  });
  it("refuses what does not fit together", () => {
    assert.match(
      complaint(() => agent('cores = "0-1"\nreserve_cores = "2"')),
      /^test\.toml:2: reserve_cores: 2 not among/,
    );
    assert.match(
      complaint(() => agent('cores = "4-1"')),
      /^test\.toml:1: cores: expected a CPU list/,
    );
    assert.match(
      complaint(() => agent("lease_term_ms = 5\nlease_term_max_ms = 4")),
      /^test\.toml:1: lease_term_ms 5 is beyond/,
    );
    assert.match(
      complaint(() => agent("memory_mib = 100")),
      /^test\.toml:1: .* more than memory_mib/,
    );
  });
  it("says where TOML is broken, and that a file is not there", () => {
    assert.match(
      complaint(() => agent('node = "n1"\nlisten = \n')),
      /^test\.toml:2:\d+: /,
    );
    assert.match(
      complaint(() => loadAgentConfig(join(folder, "none.toml"), {})),
      /is not there/,
    );
  });
});

describe("controller.toml and sublet.toml", () => {
  it("fill all defaults", () => {
    assert.deepEqual(loadControllerConfig(file(""), {}), {
      listen: "0.0.0.0:7700",
      names: [],
      metricsListen: "0.0.0.0:7703",
      pollIntervalMs: 10_000,
      grantTimeoutMs: 5_000,
      horizonConfidence: 0.8,
      slurmConf: undefined,
      trustedUids: [0],
      adminGid: undefined,
      mungeSocket: undefined,
      stateDir: "/var/lib/sublet",
      tls: undefined,
      log: { level: "info", to: "auto" },
      accounting: {
        enabled: true,
        mariadb: undefined,
        timeZone: new Intl.DateTimeFormat().resolvedOptions().timeZone,
        retentionDays: 400,
        totalsRetentionDays: 3650,
        quota: {},
      },
      receipts: { adminComment: false, adminCommentsPerMinute: 60 },
      dashboard: {
        listen: "127.0.0.1:7704",
        cluster: "",
        pagesDir: undefined,
        tls: undefined,
        hstsSeconds: 0,
        proxies: [],
        prometheus: undefined,
        price: undefined,
      },
    });
    assert.equal(loadCliConfig(file('controller = "h:7700"'), {}).controller, "h:7700");
    assert.equal(loadCliConfig(file(""), { SUBLET_CONTROLLER: "e:1" }).controller, "e:1");
    assert.equal(loadCliConfig(file(""), {}).agentSocket, "/run/sublet/agent.sock");
  });
  it("refuse TLS to a data base that contradicts itself", () => {
    const said = (lines: string): string =>
      complaint(() => loadControllerConfig(file(`[accounting]\n${lines}`), {}));
    const url = 'url = "mariadb://u@db/d"\n';
    const ca = 'tls_ca_file = "/ca.pem"\n';
    assert.match(said('tls = "verify-ca"'), /accounting\.tls: the accounting is in SQLite/);
    assert.match(said(`${url}tls = "verify-ca"`), /accounting\.tls: wants tls_ca_file/);
    assert.match(said(url + ca), /accounting\.tls_ca_file: nobody looks at it while tls is "off"/);
    assert.match(
      said(`url = "mariadb://u@10.0.0.1/d"\n${ca}tls = "verify-full"`),
      /compares names: .* 10\.0\.0\.1/,
    );
    assert.match(
      said(`url = "mariadb://u@db/d?socket=/s"\n${ca}tls = "verify-ca"`),
      /a unix socket is not encrypted/,
    );
    const { accounting } = loadControllerConfig(file(`[accounting]\n${url}${ca}tls = "verify-full"`), {});
    assert.deepEqual(accounting.mariadb?.tls, { caFile: "/ca.pem", verifyHost: true });
  });
  it("refuse keys of the other", () => {
    assert.match(
      complaint(() => loadControllerConfig(file("spin_us = 1"), {})),
      /unknown key spin_us/,
    );
  });
});

describe("nearest word", () => {
  it("counts edits, a swap as one", () => {
    assert.equal(editDistance("", "abc"), 3);
    assert.equal(editDistance("kitten", "sitting"), 3);
    assert.equal(editDistance("listne", "listen"), 1);
  });
  it("is found when near, else nothing", () => {
    const known = ["listen", "metrics_listen", "cores"];
    assert.equal(nearestWord("LISTNE", known), "listen");
    assert.equal(nearestWord("core", known), "cores");
    assert.equal(nearestWord("qqqqqq", known), undefined);
  });
});

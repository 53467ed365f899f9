/** Layers: who wins, where each value came from, and that every layer's mistakes are named with their place. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "smol-toml";
import { z } from "zod";
import { readPolicy } from "../../../agent/guard/policy.ts";
import { daemonArguments } from "../../../src/config/arguments.ts";
import { readCli } from "../../../src/config/cli.ts";
import { readAgent, readController } from "../../../src/config/config.ts";
import { lineOf, linesOf } from "../../../src/config/lines.ts";
import { checkLayers } from "../../../src/config/load.ts";
import { secret } from "../../../src/config/meta.ts";
import { settingsJson, settingsText, shownSettings } from "../../../src/config/show.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-layers-"));
after(() => rmSync(folder, { recursive: true }));
let next = 0;

/** An agent.toml with its drop-ins, alone in a folder. */
function place(text: string, dropIns: Readonly<Record<string, string>> = {}): string {
  const home = join(folder, String(next++));
  mkdirSync(join(home, "agent.conf.d"), { recursive: true });
  const file = join(home, "agent.toml");
  writeFileSync(file, `fabric_address = "a"\n${text}`);
  for (const [name, each] of Object.entries(dropIns)) writeFileSync(join(home, "agent.conf.d", name), each);
  return file;
}

function complaint(load: () => unknown): string {
  try {
    load();
  } catch (thrown) {
    return (thrown as Error).message.replaceAll(new RegExp(`${folder}/\\d+/`, "g"), "");
  }
  return assert.fail("was accepted");
}

const flag = (key: string, text: string) => ({ flag: `--set ${key}`, key, text });

describe("layers", () => {
  it("win in the order default, file, drop-ins by name, environment, flag; and say which did", () => {
    const file = place("spin_us = 1\npool_max = 1\nlease_term_ms = 1001\n[reclaim]\nbudget_ms = 1\n", {
      "20-b.toml": "pool_max = 3\nlease_term_ms = 1003\n",
      "10-a.toml": "pool_max = 2\nlease_term_ms = 1002\n[reclaim]\nprolog = 'close'\n",
      ".hidden.toml": "pool_max = 60",
      "30-c.toml.dpkg-new": "pool_max = 61",
      "40-d.toml~": "pool_max = 62",
    });
    const environment = {
      SUBLET_AGENT_LEASE_TERM_MS: "1004",
      SUBLET_AGENT_RECLAIM__BUDGET_MS: "4",
      SUBLET_AGENT_SOCKET: "/of/clients",
    };
    const { read, config } = readAgent({ file, environment, flags: [flag("reclaim.budget_ms", "5")] });
    assert.equal(config.spinUs, 1);
    assert.equal(config.poolMax, 3);
    assert.equal(config.leaseTermMs, 1004);
    assert.deepEqual([config.reclaim.prolog, config.reclaim.budgetMs], ["close", 5]);
    const where = (key: string): string[] => {
      const found = read.settings.find((each) => each.key.key === key);
      return [found?.origin.kind ?? "", (found?.origin.where ?? "").replace(/.*\/\d+\//, "")];
    };
    assert.deepEqual(where("announce_timeout_ms"), ["default", ""]);
    assert.deepEqual(where("spin_us"), ["file", "agent.toml:2"]);
    assert.deepEqual(where("pool_max"), ["drop-in", "agent.conf.d/20-b.toml:1"]);
    assert.deepEqual(where("reclaim.prolog"), ["drop-in", "agent.conf.d/10-a.toml:4"]);
    assert.deepEqual(where("lease_term_ms"), ["environment", "SUBLET_AGENT_LEASE_TERM_MS"]);
    assert.deepEqual(where("reclaim.budget_ms"), ["flag", "--set reclaim.budget_ms"]);
    assert.deepEqual(read.files.length, 3);
  });
  it("lists are replaced, tables of names grow", () => {
    const file = place(
      'controllers = ["a:1", "b:2"]\nslurm_conf = "none"\n[consent.partition]\ndebug = "share"\n',
      {
        "a.toml": 'controllers = ["c:3"]\n[consent.partition]\nlong = "no"\n',
      },
    );
    const environment = { SUBLET_AGENT_CONSENT__ACCOUNT__Physics: "share" };
    const { controllers, consent } = readAgent({ file, environment }).config;
    assert.deepEqual(controllers, ["c:3"]);
    assert.deepEqual(consent.partition, { debug: "share", long: "no" });
    assert.deepEqual(consent.account, { Physics: "share" });
  });
  it("variables and flags are read as their key wants them", () => {
    const flags = [
      flag("controllers", '["a:1", "b:2"]'),
      flag("trusted_uids", "0,7"),
      flag("lease_here_first", "false"),
      flag("lending.hold_out", "0.25"),
      flag("consent.qos", '{ high = "share" }'),
    ];
    const { config } = readAgent({ file: place(""), environment: {}, flags });
    assert.deepEqual(config.controllers, ["a:1", "b:2"]);
    assert.deepEqual(config.trustedUids, [0, 7]);
    assert.equal(config.leaseHereFirst, false);
    assert.equal(config.lending.holdOut, 0.25);
    assert.deepEqual(config.consent.qos, { high: "share" });
  });
  it("refuse unknown keys, each with its place and the nearest known one, all at once", () => {
    const file = place("spin_ms = 1\n", { "a.toml": "\n[reclaim]\nbudget = 1\n", "b.toml": "spin_ms = 2" });
    const environment = { SUBLET_AGENT_POOLMAX: "1", SUBLET_AGENT_LENDING__MODES: "on" };
    const flags = [flag("consent.quite_ms", "5"), flag("__proto__.polluted", "1")];
    assert.deepEqual(
      complaint(() => readAgent({ file, environment, flags }))
        .split("\n")
        .sort(),
      [
        "--set consent.quite_ms: unknown key consent.quite_ms; did you mean quiet_ms?",
        "SUBLET_AGENT_LENDING__MODES: unknown key lending.modes; did you mean mode?",
        "SUBLET_AGENT_POOLMAX: unknown key poolmax; did you mean pool_max?",
        "agent.conf.d/a.toml:3: unknown key reclaim.budget; did you mean budget_ms?",
        "agent.conf.d/b.toml:1: unknown key spin_ms; did you mean spin_us?",
        "agent.toml:2: unknown key spin_ms; did you mean spin_us?",
      ].sort(),
    );
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
  });
  it("refuse wrong values with the place of the layer that has the last word", () => {
    const file = place("", { "a.toml": 'listen = "nowhere"\n' });
    const said = complaint(() =>
      readAgent({
        file,
        environment: { SUBLET_AGENT_SPIN_US: "soon" },
        flags: [flag("reclaim.prolog", "some")],
      }),
    );
    assert.match(said, /^agent\.conf\.d\/a\.toml:1: listen: expected "host:port"$/m);
    assert.match(said, /^SUBLET_AGENT_SPIN_US: spin_us: /m);
    assert.match(said, /^--set reclaim\.prolog: reclaim\.prolog: /m);
  });
  it("a daemon without any file has its defaults; a file that is named must be there", () => {
    const environment = {};
    assert.equal(readController({ environment }).config.pollIntervalMs, 10_000);
    assert.match(
      complaint(() => readController({ file: join(folder, "no.toml"), environment })),
      /is not there/,
    );
  });
  it("the CLI reads the site's file, then the user's own", () => {
    const home = join(folder, "home");
    mkdirSync(join(home, ".config/sublet"), { recursive: true });
    writeFileSync(join(home, ".config/sublet/sublet.toml"), 'controller = "mine:1"\n');
    assert.equal(readCli({ environment: { HOME: home } }).config.controller, "mine:1");
    mkdirSync(join(home, ".config/sublet/sublet.conf.d"));
    writeFileSync(join(home, ".config/sublet/sublet.conf.d/a.toml"), "not read");
    const environment = { HOME: home, SUBLET_CONTROLLER: "env:1", SUBLET_SPILL_DIR: "/of/the/library" };
    assert.equal(readCli({ environment }).config.controller, "env:1");
    assert.equal(
      readCli({ environment: { HOME: "/", XDG_CONFIG_HOME: join(home, ".config") } }).config.controller,
      "mine:1",
    );
  });
});

describe("lines of a TOML file", () => {
  const text = `# listen = 1
listen = "x"
a.b.c = 1
[t]
"quoted" = 1
text = """
listen = 2
[not.a.table]
"""
[ t . u ]
v = 1
[[list]]
w = 1
`;
  const lines = linesOf(text);
  it("are found for keys, dotted keys, tables; strings over several lines are passed over", () => {
    const at = (...path: string[]): number | undefined => lineOf(lines, path);
    assert.deepEqual(
      [
        at("listen"),
        at("a", "b", "c"),
        at("t", "quoted"),
        at("t", "u", "v"),
        at("t", "none"),
        at("list", "w"),
      ],
      [2, 3, 5, 11, 4, 13],
    );
    assert.equal(at("not", "a", "table"), undefined);
  });
});

describe("what is in effect", () => {
  const file = place(
    'controllers = ["a:1"]\nslurm_conf = "none"\n[consent.partition]\n"my-part" = "share"\n',
  );
  const settings = readAgent({
    file,
    environment: { SUBLET_AGENT_POOL_MAX: "2" },
    flags: [flag("node", "n1")],
  });
  it("is shown as TOML that says the same again, with the source of each", () => {
    const text = settingsText("agent", settings);
    assert.match(text, /^pool_max = 2 +# SUBLET_AGENT_POOL_MAX$/m);
    assert.match(text, /^node = "n1" +# --set node$/m);
    assert.match(text, /^cgroup_name = "sublet_n1" +# default, computed$/m);
    assert.match(text, /^# memory_mib is unset +# default$/m);
    const again = join(folder, "again.toml");
    writeFileSync(again, text);
    assert.deepEqual(readAgent({ file: again, environment: {} }).config, settings.config);
    assert.deepEqual({ ...(parse(text).consent as { partition: object }).partition }, { "my-part": "share" });
  });
  it("shows settings of a file of their own behind it, as comments", () => {
    const policy = join(folder, "guard.toml");
    writeFileSync(policy, 'mode = "watch"\n[freeze]\nmax_ms = 9000\n');
    const guard = readPolicy(policy, { cores: 4, memoryBytes: 2 ** 33 });
    const text = settingsText("agent", { ...settings, parts: { guard } });
    assert.match(text, /^# Settings of guard in effect\. Files read: .*guard\.toml$/m);
    assert.match(text, /^# mode = "watch" +# .*guard\.toml:1$/m);
    assert.match(text, /^# \[freeze\]\n# max_ms = 9000 +# .*guard\.toml:3$/m);
    assert.match(text, /^# interval_ms = 1000 +# default$/m);
    assert.deepEqual({ ...parse(text) }, { ...parse(settingsText("agent", settings)) });
    const { parts } = settingsJson("agent", { ...settings, parts: { guard } }) as {
      parts: { guard: { settings: { key: string; value: unknown; where: string }[] } };
    };
    const shown = parts.guard.settings.find(({ key }) => key === "freeze.max_ms");
    assert.deepEqual([shown?.value, shown?.where], [9000, `${policy}:3`]);
  });
  it("is shown as JSON", () => {
    const { settings: shown, files } = settingsJson("agent", settings) as {
      settings: { key: string; where: string; live: boolean }[];
      files: string[];
    };
    assert.deepEqual(files, [file]);
    assert.equal(shown.find(({ key }) => key === "controllers")?.where, `${file}:2`);
    assert.equal(shown.find(({ key }) => key === "pool_max")?.live, true);
    assert.equal(shown.find(({ key }) => key === "run_dir")?.live, false);
  });
  it("never shows what the schema calls secret", () => {
    const schema = z.strictObject({ url: z.string().describe("u").meta(secret), other: z.string() });
    const layer = {
      kind: "file",
      values: { url: "mysql://u:hunter2@h/d", other: "seen" },
      where: () => "f",
    } as const;
    const checked = checkLayers(schema, [layer], "f");
    const read = { ...checked, files: [], subject: "f" };
    const text = JSON.stringify(shownSettings({ config: {}, read, computed: {} }));
    assert.ok(text.includes("seen") && !text.includes("hunter2"), text);
  });
});

describe("the daemons' command line", () => {
  it("knows --set and flags of single keys, and refuses others", () => {
    const given = daemonArguments(["--set", "a.b=c=d", "--listen", "x:1", "--config", "f"], {
      listen: "listen",
    });
    assert.deepEqual(given.flags, [
      { flag: "--set a.b", key: "a.b", text: "c=d" },
      { flag: "--listen", key: "listen", text: "x:1" },
    ]);
    assert.throws(() => daemonArguments(["--set", "novalue"], {}), { code: "INVALID_ARGUMENT" });
    assert.throws(() => daemonArguments(["--nonsense"], {}), { code: "INVALID_ARGUMENT" });
  });
  for (const [daemon, script] of [
    ["controller", "src/controller/main.ts"],
    ["agent", "agent/daemon.ts"],
  ] as const)
    it(`sublet-${daemon} --check-config ends with 0, 2 or 78`, () => {
      const main = fileURLToPath(new URL(`../../../${script}`, import.meta.url));
      const run = (...args: string[]) => {
        const found = spawnSync(process.execPath, [main, ...args, "--check-config"], {
          encoding: "utf8",
          env: {},
          timeout: 60_000,
        });
        return [found.status, found.stdout, found.stderr] as const;
      };
      const [status, shown] = run("--set", "log.level=debug");
      assert.equal(status, 0);
      assert.match(shown, /^level = "debug" +# --set log\.level$/m);
      assert.equal(JSON.parse(run("--json")[1]).config, daemon);
      assert.equal(
        /^# Settings of guard in effect\..*\n# mode = "act" +# default$/m.test(shown),
        daemon === "agent",
      );
      const [wrong, , why] = run("--set", "log.levle=debug");
      assert.equal(wrong, 78);
      assert.match(why, /--set log\.levle: unknown key log\.levle; did you mean level\?/);
      assert.equal(run("--what")[0], 2);
    });
});

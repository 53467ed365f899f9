/** How a node is wired to Slurm: each way to be wrong is one finding that says what to do; what cannot be seen is not judged. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { exportedNumber } from "../../../src/cli/doctor/elf.ts";
import type { Facts, PluginFacts, Result, SlurmNodeFacts, Wiring } from "../../../src/cli/doctor/facts.ts";
import { neighbourFindings } from "../../../src/cli/doctor/neighbours.ts";
import { parseSlurmConfig } from "../../../src/cli/doctor/parse.ts";
import { parseForced, parseNode, readHooks, readPlugin } from "../../../src/cli/doctor/wiring.ts";
import { wiringFindings } from "../../../src/cli/doctor/wiring-checks.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-wiring-"));
after(() => rmSync(folder, { recursive: true }));

const script = "#!/bin/sh\nhook=/usr/lib/sublet/bin/sublet-hook\n";
const mib = 1024 * 1024;
const builtFor = 0x16_05_08;
const plugin: PluginFacts = { conf: "/p.conf", kind: "optional", path: "/spank_sublet.so", builtFor };
const wired: Wiring = {
  prolog: { "/pro/50-sublet": script },
  epilog: { "/epi/50-sublet": script },
  plugin,
  pamAdopt: false,
  node: { ok: true, value: { cpus: 8, cpusForJobs: 8, specMemoryMib: 0 } },
  forcedPartitions: [],
};
const config = {
  SLURM_VERSION: "22.05.8",
  Prolog: "/pro/*",
  Epilog: "/epi/*",
  PrologFlags: "Alloc",
};
const findings = {
  cores: "0-7",
  "reserve.cores": "",
  "reserve.memory_mib": "512",
  "cgroup.missing": "freezer",
};

interface Change {
  readonly wiring?: Partial<Wiring>;
  readonly config?: Record<string, string>;
  readonly found?: Record<string, string>;
  readonly folders?: Facts["folders"];
}

function facts(change: Change): Facts {
  return {
    slurm: {
      config: { ok: true, value: { ...config, ...change.config } },
      wiring: { ...wired, ...change.wiring },
    },
    agent: {
      ok: true,
      value: { node: "n1", controllerConnected: true, findings: { ...findings, ...change.found } },
    },
    folders: change.folders ?? [{ path: "/run/sublet", freeBytes: 1024 * mib, freeFiles: 10_000 }],
  } as unknown as Facts;
}

const node = (value: Partial<SlurmNodeFacts>): Change => ({
  wiring: { node: { ok: true, value: { cpus: 8, cpusForJobs: 8, specMemoryMib: 0, ...value } } },
});
const withPlugin = (value: Partial<PluginFacts>): Change => ({ wiring: { plugin: { ...plugin, ...value } } });
const foreign = "#!/bin/sh\n# sublet-hook was here\nexit 0\n";

const cases: readonly [name: string, Change, check: string, Result, says: RegExp, mends: RegExp][] = [
  [
    "prolog without the hook",
    { wiring: { prolog: { "/pro/10": foreign } } },
    "slurm prolog",
    "fail",
    /does not call/,
    /50-sublet/,
  ],
  [
    "epilog without the hook",
    { wiring: { epilog: { "/epi/10": foreign } } },
    "slurm epilog hook",
    "warn",
    /receipt/,
    /epilog\.d/,
  ],
  [
    "no epilog",
    { config: { Epilog: "(null)" }, wiring: { epilog: {} } },
    "slurm epilog hook",
    "warn",
    /does not call/,
    /epilog\.d/,
  ],
  [
    "no flags",
    { config: { PrologFlags: "(null)" } },
    "slurm prolog flags",
    "warn",
    /runs its prolog late/,
    /PrologFlags=Alloc/,
  ],
  [
    "adopted logins without a step",
    { wiring: { pamAdopt: true } },
    "pam_slurm_adopt",
    "warn",
    /counts to no job/,
    /Contain/,
  ],
  [
    "no plugin",
    withPlugin({ kind: undefined, path: undefined }),
    "slurm plugin",
    "warn",
    /p\.conf does not name/,
    /optional spank/,
  ],
  [
    "plugin not there",
    withPlugin({ missing: true }),
    "slurm plugin",
    "warn",
    /is not there$/,
    /slurm-spank-sublet/,
  ],
  [
    "required and not there",
    withPlugin({ missing: true, kind: "required" }),
    "slurm plugin",
    "fail",
    /no job starts/,
    /whole path/,
  ],
  ["required plugin", withPlugin({ kind: "required" }), "slurm plugin", "warn", /is "required"/, /optional/],
  [
    "another Slurm",
    withPlugin({ builtFor: 0x17_0b_0a }),
    "slurm plugin",
    "warn",
    /for Slurm 23\.11\.10, this is 22\.05\.8/,
    /build-spank/,
  ],
  [
    "cores of the system",
    node({ cpusForJobs: 6 }),
    "slurm reserve",
    "warn",
    /keeps 2 of 8 .* may lend 8/,
    /reserve_cores/,
  ],
  [
    "memory of the system",
    node({ specMemoryMib: 2048 }),
    "slurm reserve memory",
    "warn",
    /2048 MiB .* 512 MiB/,
    /= 2048/,
  ],
  [
    "no delegation",
    { found: { "cgroup.missing": "freezer,pids" } },
    "cgroup limits",
    "warn",
    /has no pids/,
    /Delegate/,
  ],
  [
    "limits refused",
    { found: { "cgroup.alarms": "memory.high" } },
    "cgroup limits",
    "warn",
    /memory\.high/,
    /Delegate/,
  ],
  [
    "full disk",
    { folders: [{ path: "/s", freeBytes: 5 * mib, freeFiles: undefined }] },
    "disk space",
    "warn",
    /\/s has 5 MiB/,
    /make room/,
  ],
  [
    "no inodes",
    { folders: [{ path: "/s", freeBytes: 5000 * mib, freeFiles: 3 }] },
    "disk space",
    "warn",
    /3 files/,
    /make room/,
  ],
];

describe("the doctor on how a node is wired", () => {
  it("finds nothing where all is well, with what is reserved named on both sides, and where nothing can be seen", () => {
    assert.deepEqual(wiringFindings(facts({})), []);
    const kept = node({ cpusForJobs: 6, specMemoryMib: 512 });
    assert.deepEqual(wiringFindings(facts({ ...kept, found: { "reserve.cores": "6-7" } })), []);
    assert.deepEqual(
      wiringFindings(facts({ config: { PrologFlags: "Contain" }, wiring: { pamAdopt: true } })),
      [],
    );
    const blind: Partial<Wiring> = {
      prolog: {},
      epilog: {},
      plugin: undefined,
      node: { ok: false, why: "x" },
    };
    assert.deepEqual(wiringFindings(facts({ wiring: blind })), []);
    const away = { slurm: { config: { ok: false, why: "" } }, agent: { ok: false, why: "" } };
    assert.deepEqual(wiringFindings(away as unknown as Facts), []);
  });
  for (const [name, change, check, result, says, mends] of cases)
    it(`${name}: ${check}, and no other check speaks`, () => {
      const [finding, ...rest] = wiringFindings(facts(change));
      assert.deepEqual(rest, []);
      assert.deepEqual([finding?.check, finding?.result], [check, result]);
      assert.match(finding?.found ?? "", says);
      assert.match(finding?.mend ?? "", mends);
    });
  it("names partitions that force jobs to share cores", () => {
    const [finding] = neighbourFindings(facts({ wiring: { forcedPartitions: ["debug", "long"] } }));
    assert.equal(finding?.check, "slurm oversubscribe");
    assert.match(finding.found, /FORCE in debug, long/);
  });
});

describe("what is read for it", () => {
  it("a node and partitions, as scontrol prints them", () => {
    const text =
      "NodeName=n1 Arch=x86_64 CPUAlloc=0 CPUEfctv=6 CPUTot=8 CoreSpecCount=2 CPUSpecList=6-7 MemSpecLimit=1024 State=IDLE";
    assert.deepEqual(parseNode(text), { cpus: 8, cpusForJobs: 6, specMemoryMib: 1024 });
    assert.deepEqual(parseNode("NodeName=n1 CPUTot=8"), {
      cpus: 8,
      cpusForJobs: undefined,
      specMemoryMib: undefined,
    });
    const partitions = [
      "PartitionName=main AllowGroups=ALL OverSubscribe=NO State=UP",
      "PartitionName=debug AllowGroups=ALL OverSubscribe=FORCE:4 State=UP",
      "PartitionName=one OverSubscribe=FORCE:1 State=UP",
      "PartitionName=gang OverSubscribe=FORCE State=UP",
    ];
    assert.deepEqual(parseForced(partitions.join("\n")), ["debug", "gang"]);
  });
  it("several prologs, however Slurm prints them", async () => {
    assert.equal(parseSlurmConfig("Prolog[0] = /a\nProlog[1] = /b/*\nX = 1\n").Prolog, "/a,/b/*");
    mkdirSync(join(folder, "pro"));
    writeFileSync(join(folder, "pro", "10-site"), foreign);
    writeFileSync(join(folder, "pro", "20-binary"), "\x7fELF");
    const setting = `${folder}/pro/*,/not/here,(null)`;
    assert.deepEqual(await readHooks(setting), {
      [`${folder}/pro/10-site`]: foreign.trim(),
      [`${folder}/pro/20-binary`]: "",
    });
  });
  it("the plugin's line through includes, its file by PluginDir, the version that it was built for", async () => {
    const source = join(folder, "plugin.c");
    const file = join(folder, "spank_sublet.so");
    writeFileSync(
      source,
      `const unsigned plugin_version = ${builtFor}; const char plugin_name[] = "sublet";\n`,
    );
    execFileSync("cc", ["-shared", "-fPIC", "-o", file, source]);
    mkdirSync(join(folder, "conf.d"));
    const conf = join(folder, "plugstack.conf");
    writeFileSync(conf, "# optional spank_sublet.so\ninclude conf.d/*\n");
    const read = () => readPlugin({ PlugStackConfig: conf, PluginDir: `/not/here:${folder}` });
    assert.deepEqual(await read(), { conf, kind: undefined, path: undefined, builtFor: undefined });
    writeFileSync(join(folder, "conf.d", "sublet.conf"), "optional spank_sublet.so timeout_ms=100 # ours\n");
    assert.deepEqual(await read(), { conf, kind: "optional", path: file, builtFor });
    rmSync(file);
    assert.equal((await read())?.missing, true);
    assert.equal(await readPlugin({ PlugStackConfig: join(folder, "none") }), undefined);
  });
  it("a file that is cut off or none of ours has no version", () => {
    const source = join(folder, "cut.c");
    const file = join(folder, "cut.so");
    writeFileSync(source, "const unsigned plugin_version = 7;\n");
    execFileSync("cc", ["-shared", "-fPIC", "-o", file, source]);
    const whole = readFileSync(file);
    assert.equal(exportedNumber(whole, "plugin_version"), 7);
    assert.equal(exportedNumber(whole, "plugin_versio"), undefined);
    for (let length = 0; length < whole.length; length += 97)
      assert.ok([7, undefined].includes(exportedNumber(whole.subarray(0, length), "plugin_version")));
    assert.equal(exportedNumber(Buffer.from("#!/bin/sh\n"), "plugin_version"), undefined);
  });
});

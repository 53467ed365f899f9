/**
 * What deploy/slurm gives to sites: Slurm's own parser takes the lines, what is set agrees with the Slurm that the testbed runs,
 * paths are the packages', and the drop-in never fails a prolog.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { planLayout } from "../../../deploy/testbed/layout.ts";
import { cgroupConf, type SlurmSettings, slurmConf } from "../../../deploy/testbed/slurm-conf.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const read = (name: string): string => readFileSync(join(root, "deploy/slurm", name), "utf8");
const folder = mkdtempSync(join(tmpdir(), "sublet-snippets-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** NAME=VALUE by name; of lines with several, the first. */
const settings = (text: string): Map<string, string> =>
  new Map([...text.matchAll(/^([A-Za-z]+)=(\S+)/gm)].map(([, name = "", value = ""]) => [name, value]));

/** What Slurm says when it reads this; empty: it takes it. Its error names the key. */
function slurmSays(snippet: string): string {
  const file = join(folder, "slurm.conf");
  const head = ["ClusterName=x", "SlurmctldHost=localhost", "NodeName=n[001-128] CPUs=4 RealMemory=1000"];
  writeFileSync(file, `${head.join("\n")}\n${snippet}`);
  const environment = { ...process.env, SLURM_CONF: file };
  const { status, stderr, error } = spawnSync("scontrol", ["show", "hostnames", "n1"], {
    encoding: "utf8",
    env: environment,
    timeout: 20_000,
  });
  if (error !== undefined) throw error;
  return status === 0 && stderr === "" ? "" : stderr || `exit status ${status}`;
}

const testbed: SlurmSettings = {
  cgroupPlugin: "cgroup/v2",
  systemd: true,
  hook: "/usr/lib/sublet/bin/sublet-hook",
  slurmdTimeoutS: 300,
  more: [],
};

test("Slurm takes every line of slurm.conf, and would name one that it does not know", () => {
  const text = read("site/slurm.conf");
  assert.equal(slurmSays(text), "");
  assert.match(slurmSays(`${text}\nPrologFlag=Alloc\n`), /PrologFlag/);
});

test("what is set agrees with the Slurm that the testbed runs", () => {
  const ours = settings(read("site/slurm.conf"));
  const theirs = settings(
    slurmConf(planLayout({ nodes: 1, stateDir: folder, cores: [], memoryMibPerNode: 4096 }), testbed),
  );
  for (const name of ["PrologFlags", "ProctrackType", "TaskPlugin", "SelectType", "SelectTypeParameters"])
    assert.equal(ours.get(name), theirs.get(name), name);
  const cgroups = settings(cgroupConf(testbed));
  const site = settings(read("site/cgroup.conf"));
  assert.ok(site.size > 0);
  for (const [name, value] of site) assert.equal(value, cgroups.get(name), name);
});

test("each setting says why it is there", () => {
  for (const name of ["site/slurm.conf", "site/cgroup.conf", "site/plugstack.conf"]) {
    const blocks = read(name).split(/\n\n+/);
    for (const block of blocks) assert.match(block, /^#/, `${name}: ${block}`);
  }
});

test("paths are where the packages and docs/install.md have them", () => {
  const install = readFileSync(join(root, "docs/install.md"), "utf8");
  const ours = settings(read("site/slurm.conf"));
  for (const name of ["Prolog", "Epilog", "PrologFlags"])
    assert.ok(install.includes(`${name}=${ours.get(name)}`), name);
  const hook = /^hook=(\S+)/m.exec(read("prolog.example.sh"))?.[1] ?? "";
  const packaged = readFileSync(join(root, "deploy/debian/sublet-agent.install"), "utf8");
  assert.ok(packaged.split("\n").includes(hook.slice(1)), hook);
  const folderOfPlugins = /^include (.*)\/\*\.conf$/m.exec(read("site/plugstack.conf"))?.[1] ?? "none";
  assert.ok(read("plugstack.example.conf").includes(`${folderOfPlugins}/sublet.conf`), folderOfPlugins);
});

test("the drop-in ends with 0 whether the hook is missing, works or fails", () => {
  const text = read("prolog.example.sh");
  const told = join(folder, "told");
  const hook = join(folder, "hook");
  const run = (): number | null => {
    const script = join(folder, "50-sublet");
    writeFileSync(script, text.replace(/^hook=.*/m, `hook=${hook}`));
    return spawnSync("sh", [script], { timeout: 20_000 }).status;
  };
  assert.equal(run(), 0);
  for (const status of [0, 1]) {
    writeFileSync(hook, `#!/bin/sh\necho called >> ${told}\nexit ${status}\n`);
    chmodSync(hook, 0o755);
    assert.equal(run(), 0);
  }
  assert.equal(readFileSync(told, "utf8"), "called\ncalled\n");
});

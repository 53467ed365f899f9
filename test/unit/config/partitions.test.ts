/** Rules by partition against slurm.conf: what Slurm does not know is refused where it is said. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { readAgent } from "../../../src/config/config.ts";
import { partitionsIn } from "../../../src/config/partitions.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-partitions-"));
after(() => rmSync(folder, { recursive: true }));

function place(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const slurmConf = place(
  "slurm.conf",
  "ClusterName=c\nPartitionName=batch Nodes=ALL\nPartitionName=gpu Nodes=g1\n",
);

function agent(text: string, environment: Record<string, string> = {}): string {
  const file = place("agent.toml", `fabric_address = "a"\n${text}`);
  try {
    readAgent({ file, environment });
    return "";
  } catch (thrown) {
    return (thrown as Error).message.replaceAll(`${folder}/`, "");
  }
}

describe("partitions of slurm.conf", () => {
  it("are found as Slurm finds them: any case, comments, lines that go on, Include", () => {
    const files: Record<string, string> = {
      "/s/slurm.conf":
        "clustername = Big # PartitionName=no\n#PartitionName=off\npartitionname=a Nodes=n1 \\\n  State=UP\n" +
        "PartitionName=DEFAULT MaxTime=1\nInclude more.conf\ninclude /t/%c.conf\nNodeName=PartitionName=x\n",
      "/s/more.conf": "PARTITIONNAME=b,c Default=YES\nInclude slurm.conf\n",
      "/t/big.conf": "PartitionName=d",
    };
    const read = (path: string): string => files[path] ?? assert.fail(`asks for ${path}`);
    assert.deepEqual([...partitionsIn("/s/slurm.conf", read)], ["a", "b", "c", "d"]);
  });
});

describe("rules by partition", () => {
  const named = `slurm_conf = "${slurmConf}"\n`;

  it("are taken where Slurm knows the partition", () => {
    assert.equal(agent(`${named}[consent.partition]\ngpu = "no"\nbatch = "share"\n`), "");
  });

  it("are refused with file and line where it does not, and the right name is told", () => {
    const said = agent(
      `${named}[consent]\ndefault = "share"\n[consent.partition]\nbatch = "no"\ngpuu = "no"\n`,
    );
    assert.match(
      said,
      /^agent\.toml:7: consent\.partition: slurm\.conf has no partition gpuu; did you mean gpu\?/,
    );
    assert.doesNotMatch(said, /no partition batch/);
  });

  it("are looked up in the file that Slurm's commands would take", () => {
    assert.match(
      agent('[consent.partition]\nprivate = "no"\n', { SLURM_CONF: slurmConf }),
      /slurm\.conf has no partition private; there are batch, gpu/,
    );
  });

  it("are not checked where the site says so, or the file is not there", () => {
    const rule = '[consent.partition]\nmade-at-runtime = "no"\n';
    assert.equal(agent(`slurm_conf = "none"\n${rule}`, { SLURM_CONF: slurmConf }), "");
    assert.equal(agent(rule, { SLURM_CONF: join(folder, "gone.conf") }), "");
  });

  it("are refused where the file that was named cannot be read", () => {
    assert.match(
      agent(`slurm_conf = "${folder}/gone.conf"\n[consent.partition]\na = "no"\n`),
      /gone\.conf is not there/,
    );
  });
});

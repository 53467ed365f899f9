/** Regions: put and get of 4 KiB to 10 MiB, same node against memcpy, across nodes against a raw socket stream. */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { treeRoot } from "../../deploy/testbed/sublet-conf.ts";
import { outputOf, submit, withBed } from "./bed.ts";
import type { Row } from "./table.ts";

interface Line {
  bytes: number;
  memcpy_us: number;
  put_us: number;
  get_us: number;
  raw_put_us?: number;
  raw_get_us?: number;
}

const port = 27999;

export async function run(progress: (message: string) => void): Promise<Row[]> {
  return await withBed({ progress }, async (bed) => {
    const program = join(bed.base, "bin/sublet-region-bench");
    cpSync(join(treeRoot, "build/native/bin/sublet-region-bench"), program);
    const rows: Row[] = [];
    const address = `${bed.cluster.node("n1").address}:${port}`;
    const server = bed.cluster.runOnNode("n1", ["taskset", "-c", "0", program, "serve", address], {
      timeoutMs: 120_000,
    });
    for (const [from, where, raw] of [
      ["n3", "across nodes", address],
      ["n1", "same node", "0.0.0.0:0"],
    ] as const) {
      progress(`from ${from} to n1, ${where}`);
      const script = `#!/bin/bash\nsrun '${program}' n1 ${raw}\n`;
      const text = await outputOf(bed, await submit(bed, from, script));
      for (const line of text.split("\n").filter((entry) => entry.startsWith("{"))) {
        const figures = JSON.parse(line) as Line;
        const size =
          figures.bytes >= 2 ** 20 ? `${figures.bytes / 2 ** 20} MiB` : `${figures.bytes / 1024} KiB`;
        for (const [verb, value, rawValue] of [
          ["put", figures.put_us, figures.raw_put_us],
          ["get", figures.get_us, figures.raw_get_us],
        ] as const)
          rows.push({
            what: `${verb} ${size}, ${where}`,
            value,
            unit: "µs",
            baseline:
              rawValue === undefined
                ? { what: "memcpy", value: figures.memcpy_us }
                : { what: "raw stream", value: rawValue },
          });
      }
    }
    await bed.cluster.runOnNode("n1", ["pkill", "-x", "-f", `${program} serve ${address}`]);
    await server;
    return rows;
  });
}

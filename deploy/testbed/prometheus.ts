/** Debian's Prometheus against the testbed with what deploy/prometheus ships; every daemon is scraped each second. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DaemonSpec } from "./daemons.ts";
import { controllerAddress, type Layout } from "./layout.ts";
import { metricsUrl, treeRoot } from "./sublet-conf.ts";

export const prometheusUrl = `http://${controllerAddress}:17790`;

export function prometheusDaemon(layout: Layout): DaemonSpec {
  const dir = join(layout.stateDir, "prometheus");
  mkdirSync(dir, { recursive: true });
  const shipped = join(treeRoot, "deploy/prometheus");
  for (const name of ["rules.yml", "alerts.yml"]) copyFileSync(join(shipped, name), join(dir, name));
  const host = (name: string): string => new URL(metricsUrl(layout, name) ?? "http://none").host;
  const targets = {
    controllers: { targets: [host("controller")] },
    // As agents.sh has them, but for their addresses, which no name server knows.
    agents: {
      targets: layout.nodes.map((node) => host(`agent-${node.name}`)),
      labels: { partitions: "main" },
    },
  };
  for (const [name, group] of Object.entries(targets))
    writeFileSync(join(dir, `${name}.json`), JSON.stringify([group]));
  const config = readFileSync(join(shipped, "prometheus.yml"), "utf8");
  const [, pace = ""] = /^ {2}(scrape_interval: \S+)$/m.exec(config) ?? [];
  writeFileSync(join(dir, "prometheus.yml"), config.replace(pace, "scrape_interval: 1s"));
  return {
    name: "prometheus",
    where: "ctl",
    argv: [
      "prometheus",
      `--config.file=${join(dir, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(dir, "data")}`,
      `--web.listen-address=${new URL(prometheusUrl).host}`,
      "--log.level=warn",
    ],
  };
}

export async function prometheusReady(): Promise<true | undefined> {
  try {
    const answer = await fetch(`${prometheusUrl}/-/ready`, { signal: AbortSignal.timeout(1000) });
    return answer.ok ? true : undefined;
  } catch {
    return undefined;
  }
}

/** Debian's Prometheus against the testbed: the rules and alerts of deploy/prometheus, every daemon scraped each second. */
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DaemonSpec } from "./daemons.ts";
import { controllerAddress, type Layout } from "./layout.ts";
import { metricsUrl, treeRoot } from "./sublet-conf.ts";

export const prometheusUrl = `http://${controllerAddress}:17790`;

export function prometheusDaemon(layout: Layout): DaemonSpec {
  const dir = join(layout.stateDir, "prometheus");
  mkdirSync(dir, { recursive: true });
  for (const name of ["rules.yml", "alerts.yml"])
    copyFileSync(join(treeRoot, "deploy/prometheus", name), join(dir, name));
  const host = (name: string): string => new URL(metricsUrl(layout, name) ?? "http://none").host;
  const agents = layout.nodes.map((node) => host(`agent-${node.name}`));
  const config = {
    global: { scrape_interval: "1s", evaluation_interval: "1s", external_labels: { cluster: "testbed" } },
    rule_files: ["rules.yml", "alerts.yml"],
    scrape_configs: [
      {
        job_name: "sublet-controller",
        static_configs: [{ targets: [host("controller")], labels: { cluster: "testbed" } }],
      },
      { job_name: "sublet-agent", static_configs: [{ targets: agents, labels: { cluster: "testbed" } }] },
    ],
  };
  // JSON is YAML.
  writeFileSync(join(dir, "prometheus.yml"), JSON.stringify(config, undefined, 2));
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

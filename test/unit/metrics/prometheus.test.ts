/** Rules, alerts, Grafana and the runbook against each other and against the metrics that the code declares. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { leanNames } from "../../../src/metrics/lean.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const documented = new Set(
  [...read("docs/metrics.md").matchAll(/^\| `(\w+)`/gm)].map((match) => match[1] ?? ""),
);

describe("what ships for Prometheus", () => {
  it("holds under promtool: rules, alerts, and what they say on made-up series", () => {
    const ran = spawnSync("promtool", ["test", "rules", "tests.yml"], {
      cwd: join(root, "deploy/prometheus"),
      encoding: "utf8",
    });
    assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  });
  it("asks for metrics that exist", () => {
    for (const file of [
      "deploy/prometheus/rules.yml",
      "deploy/prometheus/alerts.yml",
      "deploy/grafana/sublet.json",
    ])
      for (const [name] of read(file).matchAll(/\b(sublet|process)_[a-z_0-9]+/g))
        assert.ok(
          documented.has(name.replace(/_(bucket|sum|count)$/, "")) || documented.has(name),
          `${file}: ${name}`,
        );
  });
  it("has a section of the runbook for every alert, and no other", () => {
    const alerts = [...read("deploy/prometheus/alerts.yml").matchAll(/- alert: (\w+)/g)].map(
      (match) => match[1],
    );
    const sections = [...read("docs/runbook.md").matchAll(/^## (\w+)$/gm)].map((match) => match[1]);
    assert.deepEqual(sections, alerts);
    for (const alert of alerts)
      assert.match(read("deploy/prometheus/alerts.yml"), new RegExp(`runbook.md#${alert?.toLowerCase()}"`));
  });
  it("keeps lean metrics that exist", () => {
    for (const name of leanNames) assert.ok(documented.has(name), name);
  });
});

/** Rules, alerts, Grafana and the runbook against each other and against the metrics that the code declares. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { readPageFile } from "../../../deploy/site/markdown.ts";
import { pageOf } from "../../../deploy/site/navigation.ts";
import { leanNames } from "../../../src/metrics/lean.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const documented = new Set(
  [...read("docs/metrics.md").matchAll(/^\| `(\w+)`/gm)].map((match) => match[1] ?? ""),
);

const alerts = [...read("deploy/prometheus/alerts.yml").matchAll(/- alert: (\w+)/g)].map(
  ([, name]) => name ?? "",
);
const shipped = [
  "deploy/prometheus/rules.yml",
  "deploy/prometheus/alerts.yml",
  "deploy/grafana/sublet.json",
  "src/dashboard/prometheus.ts",
];
/** Metrics that a file asks for, by the names that they are declared with. */
const asked = (file: string): string[] =>
  [...read(file).matchAll(/\b(?:sublet|process)_[a-z_0-9]+/g)]
    .map(([name]) => (documented.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "")))
    // The label that links begin with.
    .filter((name) => name !== "sublet_docs");
const promtool = (...args: string[]) =>
  spawnSync("promtool", args, { cwd: join(root, "deploy/prometheus"), encoding: "utf8" });

/** The labels of each metric, by the page of metrics; those of the list of targets are added where it makes them. */
const labelsOf = new Map(
  [...read("docs/metrics.md").matchAll(/^\| `(\w+)` \| \w+ \| ([^|]*)\|/gm)].map(
    ([, name = "", labels = ""]) => [name, [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label ?? "")],
  ),
);
const ofTargets = ["cluster", "instance", "job"];
const ofAgents = new Set(
  [...(read("docs/metrics.md").split(/^## (?:Agent|Controller)$/m)[1] ?? "").matchAll(/^\| `(\w+)`/gm)].map(
    ([, name]) => name ?? "",
  ),
);

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets: readonly { readonly expr: string }[];
  }[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly query: string | { readonly query: string } }[];
  };
}
const grafana = (): Dashboard => JSON.parse(read("deploy/grafana/sublet.json"));
const variables = (): Map<string, string> =>
  new Map(
    grafana().templating.list.flatMap(({ name, query }) =>
      typeof query === "string" ? [] : [[name, query.query] as const],
    ),
  );

/** agents.sh where Slurm says `lines`, with an awk of this name. */
function agentsOf(lines: string, args: readonly string[] = [], awk = "awk") {
  const folder = mkdtempSync(join(tmpdir(), "sublet-agents-"));
  try {
    writeFileSync(join(folder, "said"), lines);
    writeFileSync(join(folder, "sinfo"), `#!/bin/sh\n[ -s ${folder}/said ] || exit 1\ncat ${folder}/said\n`, {
      mode: 0o755,
    });
    writeFileSync(join(folder, "awk"), `#!/bin/sh\nPATH=${process.env.PATH}\nexec ${awk} "$@"\n`, {
      mode: 0o755,
    });
    return spawnSync("sh", [join(root, "deploy/prometheus/agents.sh"), ...args], {
      encoding: "utf8",
      env: { PATH: `${folder}:${process.env.PATH}` },
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("what ships for Grafana", () => {
  it("asks every metric by labels that it has", () => {
    const exprs = [
      ...grafana().panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
      ...variables().values(),
    ];
    let count = 0;
    for (const expr of exprs)
      for (const [, name = "", within = ""] of expr.matchAll(/\b((?:sublet|process)_\w+)\{([^}]*)\}/g)) {
        const known = [
          ...(labelsOf.get(name) ?? []),
          ...ofTargets,
          ...(ofAgents.has(name) ? ["partitions"] : []),
        ];
        for (const [, label = ""] of within.matchAll(/(\w+)\s*(?:=~|!=|!~|=)/g)) {
          count++;
          assert.ok(known.includes(label), `${name} has no label ${label}: ${expr}`);
        }
      }
    assert.ok(count > 50, `${count} labels`);
  });
  it("narrows each choice by those before it, and what is shown by all of them", () => {
    const asks = variables();
    assert.deepEqual([...asks.keys()], ["cluster", "partition", "node"]);
    assert.match(asks.get("partition") ?? "", /\$cluster/);
    assert.match(asks.get("node") ?? "", /\$cluster.*\$partition/);
    let ofNodes = 0;
    for (const { title, targets } of grafana().panels)
      for (const { expr } of targets)
        for (const [, name = "", within = ""] of expr.matchAll(/\b((?:sublet|process)_\w+)\{([^}]*)\}/g)) {
          // This one is joined to what is chosen already.
          if (name === "sublet_lending_mode") continue;
          assert.match(within, /\$cluster/, `${title}: ${expr}`);
          // What "All" nodes are is for the partition to say.
          const ofNode = within.includes("$node") || /^sublet_(cores|memory_bytes|job_)/.test(name);
          if (ofNode) assert.match(within, /\$partition/, `${title}: ${expr}`);
          if (ofNode) ofNodes++;
        }
    assert.ok(ofNodes >= 8, `${ofNodes} of nodes`);
  });
});

describe("what ships for Prometheus", () => {
  it("makes the list of agents of what Slurm says: each node once, with all its partitions", () => {
    // What Debian has by itself, and what most others have.
    const awks = ["mawk", "gawk"].filter((name) => spawnSync(name, ["1"], { input: "" }).status === 0);
    for (const awk of ["awk", ...awks]) {
      const ran = agentsOf("n2 long\nn1 short\nn10 long\nn2 long\nn2 short\n", [], awk);
      assert.equal(ran.status, 0, ran.stderr);
      assert.deepEqual(
        JSON.parse(ran.stdout),
        [
          { targets: ["n1:7702"], labels: { partitions: "short" } },
          { targets: ["n10:7702"], labels: { partitions: "long" } },
          { targets: ["n2:7702"], labels: { partitions: "long,short" } },
        ],
        awk,
      );
    }
    assert.match(agentsOf("n1 a\n", ["9"]).stdout, /"n1:9"/);
  });
  it("prints no list when Slurm does not answer", () => {
    const ran = agentsOf("");
    assert.notEqual(ran.status, 0);
    assert.equal(ran.stdout, "");
  });
  it("is a configuration that Prometheus takes", () => {
    const ran = promtool("check", "config", "prometheus.yml");
    assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  });
  it("holds under promtool: rules, alerts, and what they say on made-up series", () => {
    const ran = promtool("test", "rules", "tests.yml");
    assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  });
  it("has a case for every recording rule, and for every alert one that fires and one that does not", () => {
    const cases = read("deploy/prometheus/tests.yml");
    const rules = [...read("deploy/prometheus/rules.yml").matchAll(/- record: (\S+)/g)].map(
      ([, name]) => name ?? "",
    );
    assert.ok(rules.length >= 12);
    for (const name of rules) assert.match(cases, new RegExp(`- expr: .*${name}\\b`), name);
    for (const alert of alerts) {
      assert.match(
        cases,
        new RegExp(`alertname: ${alert}\\n +exp_alerts:\\n +- exp_labels`),
        `${alert} fires`,
      );
      assert.match(cases, new RegExp(`alertname: ${alert}, exp_alerts: \\[\\]`), `${alert} does not fire`);
    }
  });
  it("asks for metrics that exist, and that are in the lean set", () => {
    for (const file of shipped) {
      assert.ok(asked(file).length > 0, file);
      for (const name of asked(file)) {
        assert.ok(documented.has(name), `${file}: there is no ${name}`);
        assert.ok(leanNames.includes(name), `${file}: ${name} is not in the lean set`);
      }
    }
  });
  it("needs the agents for nothing but single nodes", () => {
    const rules = read("deploy/prometheus/rules.yml").split("- record: ").slice(1);
    const ofNodes = rules.filter((rule) => /sublet_(?!cluster_|partition_)|sublet-agent/.test(rule));
    // What agents cost, and nodes that lend against nodes that are held out.
    const allowed = /^sublet:(agent_cpu|cpu_pressure|job_)/;
    assert.deepEqual(
      ofNodes.filter((rule) => !allowed.test(rule)),
      [],
    );
  });
  it("has a section of the runbook for every alert, with what it means, where to look and what to do; and no other", () => {
    const sections = read("docs/runbook.md").split(/^## /m).slice(1);
    assert.deepEqual(
      sections.map((text) => text.split("\n")[0]),
      alerts,
    );
    for (const [i, text] of sections.entries())
      for (const part of ["Means", "Look", "Do"])
        assert.match(text, new RegExp(`^\\*\\*${part}:\\*\\* \\S+`, "m"), `${alerts[i]}: ${part}`);
  });
  it("links every alert to its section in the site", () => {
    const links = [...read("deploy/prometheus/alerts.yml").matchAll(/runbook_url: "(.*)"/g)].map(
      ([, url]) => url,
    );
    assert.deepEqual(
      links,
      alerts.map(
        (alert) => `{{ $externalLabels.sublet_docs }}/${pageOf("docs/runbook.md")}#${alert.toLowerCase()}`,
      ),
    );
    const anchors = readPageFile(root, "docs/runbook.md").headings.map(({ anchor }) => anchor);
    for (const alert of alerts) assert.ok(anchors.includes(alert.toLowerCase()), alert);
    assert.match(read("deploy/prometheus/prometheus.yml"), /external_labels: \{ sublet_docs: "http\S+" \}/);
  });
  it("is installed where its files say", () => {
    const install = read("deploy/package/install.sh");
    const [, folder = ""] = /path: (\S+) \}/.exec(read("deploy/grafana/provisioning.yml")) ?? [];
    assert.match(install, new RegExp(`"\\$to${folder}" deploy/grafana/`));
    assert.match(install, /"\$to\/usr\/share\/sublet\/prometheus" deploy\/prometheus\//);
    for (const name of ["grafana", "prometheus"]) {
      assert.match(
        read("deploy/debian/sublet-controller.install"),
        new RegExp(`^usr/share/sublet/${name}$`, "m"),
      );
      assert.match(read("deploy/rpm/sublet.spec"), new RegExp(`^%\\{_datadir\\}/sublet/${name}$`, "m"));
    }
  });
  it("keeps lean metrics that exist", () => {
    for (const name of leanNames) assert.ok(documented.has(name), name);
  });
});

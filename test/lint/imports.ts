/**
 * Import rules: each folder may import only the folders named here (and itself). The table is the tree's
 * direction of flow; see ARCHITECTURE.md.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative, sep } from "node:path";

const allowed: Record<string, readonly string[]> = {
  "src/common": [],
  "src/config": ["src/common"],
  "src/rpc": ["src/common"],
  "src/metrics": ["src/common"],
  "src/slurm": ["src/common", "src/config", "src/rpc", "src/metrics"],
  "src/capacity": ["src/common"],
  "src/placement": ["src/common"],
  "src/lease": ["src/common"],
  "src/accounting": ["src/common", "src/config"],
  "src/dashboard": ["src/common", "src/config"],
  "src/estimate": ["src/common", "src/capacity", "src/placement", "src/lease"],
  "src/controller": [
    "src/common",
    "src/config",
    "src/rpc",
    "src/metrics",
    "src/slurm",
    "src/capacity",
    "src/placement",
    "src/lease",
    "src/accounting",
    "src/dashboard",
  ],
  "src/client": ["src/common", "src/config", "src/rpc"],
  "src/cli": [
    "src/common",
    "src/config",
    "src/rpc",
    "src/metrics",
    "src/slurm",
    "src/client",
    "src/dashboard",
    "src/estimate",
  ],
  agent: ["src/common", "src/config", "src/rpc", "src/metrics", "src/capacity", "src/lease"],
};

/** Packages that one folder alone may import. */
const owners: Record<string, string> = { "@grpc/grpc-js": "src/rpc", "prom-client": "src/metrics" };

function areaOf(file: string): string | undefined {
  const parts = file.split(sep);
  return parts[0] === "src" ? `src/${parts[1]}` : parts[0] === "agent" ? "agent" : undefined;
}

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.tsx?$/.test(entry.name)) yield path;
  }
}

const problems: string[] = [];
for (const file of ["src", "agent"]
  .filter((folder) => existsSync(folder))
  .flatMap((folder) => [...sources(folder)])) {
  const area = areaOf(file);
  const may = area === undefined ? undefined : allowed[area];
  if (area === undefined || may === undefined) {
    problems.push(`${file}: folder has no entry in the table of import rules`);
    continue;
  }
  const text = readFileSync(file, "utf8");
  for (const match of text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)) {
    const target = match[1] ?? "";
    if (target.startsWith(".")) {
      const to = areaOf(relative(".", normalize(join(dirname(file), target))));
      if (to !== area && (to === undefined || !may.includes(to)))
        problems.push(`${file}: ${area} may not import ${target}`);
    } else if (owners[target] !== undefined && owners[target] !== area) {
      problems.push(`${file}: only ${owners[target]} may import ${target}`);
    }
  }
}
for (const problem of problems) console.error(problem);
process.exit(problems.length === 0 ? 0 : 1);

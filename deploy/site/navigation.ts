/** The pages of the site, by who reads them and in the order of reading; a unit test wants every page of docs/ here. */

export interface Entry {
  /** Path of the Markdown in the tree. */
  readonly source: string;
  /** In the navigation; short. */
  readonly title: string;
}

export interface Group {
  readonly reader: string;
  readonly entries: readonly Entry[];
}

function docs(name: string, title: string): Entry {
  return { source: `docs/${name}.md`, title };
}

export const navigation: readonly Group[] = [
  {
    reader: "Start here",
    entries: [
      { source: "README.md", title: "What Sublet is" },
      docs("faq", "A sceptic's questions"),
      docs("estimate", "What would it gain?"),
      docs("install", "Install in 15 minutes"),
    ],
  },
  {
    reader: "Sysadmin",
    entries: [
      docs("sysadmin", "What runs where"),
      docs("how-it-decides", "How it decides"),
      docs("neighbours", "Consent and neighbours"),
      docs("guard", "The guard"),
      docs("harm", "What it does to jobs"),
      docs("security", "Security"),
      docs("accounting", "Accounting and quotas"),
      docs("runbook", "Runbook"),
      docs("cli", "The command sublet"),
      docs("rollout", "Roll-out"),
      docs("upgrade", "Upgrade and rollback"),
      docs("configuration", "Settings"),
      docs("logs", "Logs"),
      docs("metrics", "Metrics"),
    ],
  },
  {
    reader: "Programmer",
    entries: [
      docs("programmer", "More cores in one line"),
      docs("regions", "Regions"),
      docs("pilot", "Without root"),
      docs("speed", "How fast it is"),
      docs("fabric", "Fabrics"),
    ],
  },
  { reader: "Dashboard", entries: [docs("dashboard", "What it shows")] },
  {
    reader: "Next author",
    entries: [
      { source: "ARCHITECTURE.md", title: "Architecture" },
      { source: "CHANGELOG.md", title: "Changes" },
    ],
  },
];

export const entries: readonly Entry[] = navigation.flatMap((group) => group.entries);

/** The file of a page in the site: README.md is the first page. */
export function pageOf(source: string): string {
  if (source === "README.md") return "index.html";
  return `${source
    .slice(source.lastIndexOf("/") + 1)
    .replace(/\.md$/, "")
    .toLowerCase()}.html`;
}

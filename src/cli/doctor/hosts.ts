/** Many hosts in few words, as Slurm writes them: the reverse of src/slurm/hostlist.ts. */

interface Run {
  readonly first: string;
  last: string;
}

/** Made when it is needed: every start of the command would wait for it. */
let natural: Intl.Collator | undefined;

/** Runs of numbers in order; a number follows when it has the width that the run was begun with. */
function runsOf(numbers: readonly string[]): Run[] {
  const runs: Run[] = [];
  for (const number of [...numbers].sort((a, b) => Number(a) - Number(b) || a.length - b.length)) {
    const run = runs.at(-1);
    if (run !== undefined && String(Number(run.last) + 1).padStart(run.first.length, "0") === number)
      run.last = number;
    else runs.push({ first: number, last: number });
  }
  return runs;
}

/** A host list that stands for these names, each once: `n[1-3,7],gpu01`. */
export function foldHosts(names: Iterable<string>): string {
  natural ??= new Intl.Collator("en", { numeric: true });
  const kinds = new Map<string, { head: string; tail: string; numbers: string[] }>();
  for (const name of [...new Set(names)].sort(natural.compare)) {
    const [, head = name, number, tail = ""] = /^(.*?)(\d{1,9})(\D*)$/.exec(name) ?? [];
    const key = number === undefined ? `${name}/` : `${head}/${tail}/`;
    const kind = kinds.get(key) ?? { head, tail, numbers: [] };
    kinds.set(key, kind);
    if (number !== undefined) kind.numbers.push(number);
  }
  const parts = [...kinds.values()].map(({ head, tail, numbers }) => {
    const runs = runsOf(numbers).map(({ first, last }) => (first === last ? first : `${first}-${last}`));
    const text = runs.join();
    return `${head}${/[-,]/.test(text) ? `[${text}]` : text}${tail}`;
  });
  return parts.join();
}

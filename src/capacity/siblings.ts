/**
 * Hardware threads of one physical core share its units and caches, so they go together: a job that has one of them has
 * all of them as far as guests are concerned, and so has what is reserved. Cores whose group is not known stand alone.
 */
export type Siblings = readonly (readonly number[])[];

/** The cores with all their siblings, ascending. */
export function wholeCores(cores: readonly number[], siblings: Siblings): readonly number[] {
  const whole = new Set(cores);
  for (const group of siblings)
    if (group.some((core) => whole.has(core))) for (const core of group) whole.add(core);
  return [...whole].sort((a, b) => a - b);
}

/** Of the cores those of which no sibling is one of `others`. */
export function apartFrom(
  cores: readonly number[],
  others: readonly number[],
  siblings: Siblings,
): readonly number[] {
  const kept = new Set(wholeCores(others, siblings));
  return cores.filter((core) => !kept.has(core));
}

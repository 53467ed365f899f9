/** The two questions with which one comes, each in one figure, and what it stands on. Free of the DOM. */
import type { Gain, WaitingComparison } from "../../api.ts";
import { money, number, percent, points } from "./format.ts";

export interface Verdict {
  readonly value: string;
  readonly note: string;
}

/** What was lent, against what Slurm alone gave to jobs. */
export function gained({ coreHours, gibHours, money: worth, covered }: Gain): Verdict {
  if (covered === 0) return { value: "Not known yet", note: "Nothing of this span was watched." };
  const leased = coreHours.lent + gibHours.lent > 0;
  const parts = [
    leased ? "" : "Nobody leased anything",
    leased && coreHours.slurmAlone > 0
      ? `${percent(coreHours.lent / coreHours.slurmAlone, 1)} on top of Slurm's`
      : "",
    gibHours.lent > 0 ? `${number(gibHours.lent)} GiB-hours of memory` : "",
    worth !== null && worth.value > 0 ? `worth ${money(worth.value, worth.currency)}` : "",
    covered < 0.995 ? `${percent(covered)} of the time was watched` : "",
  ];
  return {
    value: `${number(coreHours.lent)} core-hours`,
    note: together(parts.filter((part) => part !== "").join(" · ")),
  };
}

/** No line ends between a number and its sign. */
function together(text: string): string {
  return text.replaceAll(" %", "\u00a0%");
}

function range({ differencePercent, lowPercent, highPercent }: WaitingComparison): string {
  return `${points(differencePercent, true)} (95 %: ${points(lowPercent, true)} to ${points(highPercent, true)})`;
}

/**
 * By the comparison with nodes held out where there is one, since guests and jobs alone are not alike. Harm that is sure is
 * never behind a figure that is not: the worst of what is sure comes first.
 */
export function paid({ holdOut, cpuPressurePercent, memoryPressurePercent }: Gain["cost"]): Verdict {
  const compared = [
    { what: "cores", found: holdOut.cpu },
    { what: "memory", found: holdOut.memory },
  ].filter(({ found }) => found.differencePercent !== null);
  const sure = compared
    .filter(({ found }) => (found.lowPercent ?? 0) > 0)
    .sort((a, b) => (b.found.differencePercent ?? 0) - (a.found.differencePercent ?? 0))[0];
  const less = compared.every(({ found }) => (found.highPercent ?? 0) < 0);
  if (compared.length > 0) {
    const each = compared.map(({ what, found }) => `for ${what} ${range(found)}`).join(", ");
    return {
      value:
        sure !== undefined
          ? `${points(sure.found.differencePercent, true)} waiting for ${sure.what}`
          : less
            ? "Less waiting than without"
            : "No difference to be seen",
      note: together(`Time that jobs waited on nodes that lend, less that on nodes held out: ${each}.`),
    };
  }
  if (cpuPressurePercent === null && memoryPressurePercent === null)
    return {
      value: "Not measured yet",
      note: "It takes jobs on nodes that lend and on nodes held out, or with guests beside them and without.",
    };
  const known = [
    { what: "cores", percent: cpuPressurePercent },
    { what: "memory", percent: memoryPressurePercent },
  ].filter((each): each is { what: string; percent: number } => each.percent !== null);
  const worst = known.reduce((most, each) => (each.percent > most.percent ? each : most));
  return {
    value: `${points(worst.percent, true)} waiting for ${worst.what}`,
    note: "Of the time of jobs beside guests, less that of jobs without. A comparison with nodes held out is not there yet.",
  };
}

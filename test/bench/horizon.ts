/**
 * Leases cut short on a real machine's idle times, with horizons and without, at equal coverage (simulated time). Beside each
 * what the best policy could reach that knows how old a spell is and how long others lasted: where nearly all of the idle time
 * is lent, that is not much, since most spells then end under a lease.
 */
import { whole } from "./bed.ts";
import {
  confidence,
  daintIdle,
  leastCut,
  type Replayed,
  type ReplayOptions,
  replay,
} from "./horizon/replay.ts";
import type { Row } from "./table.ts";

const base = { days: 5, learnDays: 1, seed: 5 } as const;
const demands: readonly number[] = [0.2, 0.5, 0.8, 1.2];
const coverageStep = 0.004;

/** The demand at which the horizon's coverage is that of the other policy, by bisection. */
function atCoverage(options: Omit<ReplayOptions, "demand">, demand: number, coverage: number): Replayed {
  let [low, high] = [demand / 8, demand * 1.5];
  let best = replay({ ...options, demand });
  for (let i = 0; i < 10 && Math.abs(best.coverage - coverage) > coverageStep; i++) {
    const middle = (low + high) / 2;
    best = replay({ ...options, demand: middle });
    if (best.coverage < coverage) low = middle;
    else high = middle;
  }
  return best;
}

export async function run(progress: (message: string) => void, extent = whole): Promise<Row[]> {
  const rows: Row[] = [];
  for (const reading of ["optimistic", "pessimistic"] as const) {
    const options = { ...base, nodes: extent.small ? 5 : 100, distribution: daintIdle[reading] };
    const kept: number[] = [];
    for (const demand of demands) {
      progress(`${reading} reading, demand ${demand} of what is idle`);
      const first = replay({ ...options, policy: "first-fit", demand });
      const horizon = atCoverage({ ...options, policy: "horizon" }, demand, first.coverage);
      kept.push(horizon.kept);
      rows.push({
        what: `leases cut short, ${(100 * first.coverage).toFixed(0)} % of idle time lent, ${reading}`,
        value: horizon.cut,
        unit: "leases",
        baseline: { what: "first fit", value: first.cut },
        mark: 0.7,
        issue: "4.7",
        note: `coverage ${horizon.coverage.toFixed(3)} and ${first.coverage.toFixed(3)}; cut share ${(
          (100 * horizon.cut) / horizon.granted
        ).toFixed(
          1,
        )} % and ${((100 * first.cut) / first.granted).toFixed(1)} %; by age alone none could do better than ${(
          (leastCut(options.distribution, horizon.coverage) * horizon.spells) / first.cut
        ).toFixed(2)}`,
      });
    }
    rows.push({
      what: `horizons that held, ${reading}`,
      value: kept.reduce((sum, each) => sum + each, 0) / kept.length,
      unit: "share",
      baseline: { what: "promised", value: confidence },
    });
  }
  return rows;
}

/** The page to show: one HTML file, nothing loaded, no script; light and dark, on paper, too. */
import type { Estimate, ReadingEstimate, Resource } from "./estimate.ts";

export interface Price {
  readonly perCoreHour: number;
  readonly currency: string;
}

const colours = ["var(--used)", "var(--idle)", "var(--rest)", "var(--held)"];

export function estimatePage(found: Estimate, price: Price | undefined, command: string): string {
  const [reading] = found.readings;
  const best = reading?.terms[0];
  const days = (found.toMs - found.fromMs) / 86_400_000;
  const spare = found.coreHours.idle + found.coreHours.unallocated;
  const headline =
    best === undefined
      ? ""
      : `<p class="big"><b>${number(best.caughtCoreHours / days)}</b> core-hours a day could have been lent in leases of ${words(best.termS)}, had somebody always wanted them${price === undefined ? "" : `, worth <b>${number((best.caughtCoreHours / days) * price.perCoreHour)} ${escaped(price.currency)}</b> a day`}: the work of <b>${number(best.caughtCoreHours / days / 24)}</b> more cores, on ${number(found.nodes)} nodes with ${number(found.cores)} cores.</p>`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>What would this cluster gain?</title><style>${style}</style></head><body><main>
<h1>What would this cluster gain?</h1>
<p class="sub">${escaped(found.source)} · ${date(found.fromMs)} to ${date(found.toMs)} (${number(days)} days)${found.jobs > 0 ? ` · ${number(found.jobs)} jobs` : ""}</p>
${headline}
<h2>Where the capacity was</h2>
${shareBar("Cores", found.coreHours, "core-hours")}
${shareBar("Memory", found.gibHours, "GiB-hours")}
<p class="keys">${["given to jobs, or used by them", "idle nodes", "beside jobs", "held by jobs and not used"].map((text, i) => `<span><i style="background:${colours[i]}"></i>${text}</span>`).join("")}</p>
${found.coreHours.heldUnused === null && found.gibHours.heldUnused === null ? "<p>What jobs hold and do not use is not recorded here.</p>" : "<p>What jobs hold and do not use is lent only where their owners or the site consent.</p>"}
<h2>Spare cores over time</h2>
${overTime(found)}
${found.readings.map((each) => readingPart(each, found, spare, found.readings.length > 1)).join("\n")}
<h2>How this was found</h2>
<ul>
<li>A hole is a core that nobody had, from when it became free until a job took it again; what became free last is taken first.</li>
<li>Leases are simulated with the code that places and grants real ones: somebody always wants more, every lease lasts one term, and a job takes back what it needs at once. What a lease did before it was cut short is counted as lost, though short functions are mostly done by then.</li>
<li>“Fits” is what whole terms fill of each core's hole, taken by itself. “Caught” may be a little more: it is found on a sample of the nodes where there are many, and leases that the end of the span cuts off count.</li>
${found.notes.map((note) => `<li>${escaped(note)}</li>`).join("\n")}
<li>Made by <code>${escaped(command)}</code></li>
</ul>
</main></body></html>
`;
}

function shareBar(name: string, of: Resource, unit: string): string {
  const held = of.heldUnused ?? 0;
  const parts = [of.allocated - held, of.idle, of.unallocated, held];
  const words = [
    of.heldUnused === null ? "given to jobs" : "used by jobs",
    "idle nodes",
    "beside jobs",
    "held and not used",
  ];
  let x = 0;
  const bars = parts.map((part, i) => {
    const width = of.total === 0 ? 0 : (100 * part) / of.total;
    const bar = `<rect x="${x.toFixed(3)}%" width="${width.toFixed(3)}%" height="28" fill="${colours[i]}"><title>${words[i]}: ${number(part)} ${unit}, ${percent(part / of.total)}</title></rect>`;
    x += width;
    return bar;
  });
  const told = parts
    .flatMap((part, i) => (part > 0 ? [`${words[i]} ${percent(part / of.total)}`] : []))
    .join(", ");
  return `<figure><figcaption><b>${name}</b> ${number(of.total)} ${unit}: ${told}</figcaption><svg width="100%" height="28" role="img" aria-label="${name}: ${told}">${bars.join("")}</svg></figure>`;
}

function overTime(found: Estimate): string {
  const { spareCores } = found.overTime;
  const [width, height] = [960, 180];
  const most = Math.max(1, ...spareCores);
  const at = (value: number, i: number): string =>
    `${((i * width) / Math.max(1, spareCores.length - 1)).toFixed(1)},${(height - (value / most) * height).toFixed(1)}`;
  const line = spareCores.map(at).join(" ");
  const mean = spareCores.reduce((sum, value) => sum + value, 0) / Math.max(1, spareCores.length);
  const told = `on average ${number(mean)}, at most ${number(most)} of ${number(found.cores)} cores`;
  return `<figure><figcaption>${told}</figcaption><svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" class="area" role="img" aria-label="Spare cores: ${told}"><polygon points="0,${height} ${line} ${width},${height}" fill="var(--idle)"/></svg><p class="ends"><span>${date(found.fromMs)}</span><span>${date(found.toMs)}</span></p></figure>`;
}

function readingPart(reading: ReadingEstimate, found: Estimate, spare: number, named: boolean): string {
  const of = named ? ` (read ${escaped(reading.name)})` : "";
  const most = Math.max(1e-9, ...reading.holes.map(({ coreHours }) => coreHours));
  const rows = reading.holes
    .map(({ count, coreHours, gibHours }, i) => {
      const share = percent(spare === 0 ? 0 : coreHours / spare);
      return `<tr><th scope="row">${binWords(found.holeEdgesS, i)}</th><td class="plot"><span class="bar" style="width:${((100 * coreHours) / most).toFixed(1)}%"></span></td><td>${number(coreHours)}</td><td>${share}</td><td>${number(gibHours)}</td><td>${number(count)}</td></tr>`;
    })
    .join("\n");
  const terms = reading.terms
    .map(
      (term) =>
        `<tr><th scope="row">${words(term.termS)}</th><td>${percent(term.fits)}</td><td>${percent(term.caught)}</td><td>${number(term.caughtCoreHours)}</td><td>${percent(term.lost)}</td><td>${term.cutPercent.toFixed(1)} %</td><td>${number(term.leasesPerHour)}</td></tr>`,
    )
    .join("\n");
  return `<h2>Spare capacity by length of hole${of}</h2>
<div class="wide"><table><thead><tr><th scope="col">length</th><th scope="col" class="plot"></th><th scope="col">core-hours</th><th scope="col">share</th><th scope="col">GiB-hours</th><th scope="col">holes</th></tr></thead><tbody>${rows}</tbody></table></div>
<h2>What leases would have caught${of}</h2>
<div class="wide"><table><thead><tr><th scope="col">term</th><th scope="col">fits</th><th scope="col">caught</th><th scope="col">core-hours</th><th scope="col">lost</th><th scope="col">cut short</th><th scope="col">leases an hour</th></tr></thead><tbody>${terms}</tbody></table></div>`;
}

/** "1 to 5 min" */
export function binWords(edgesS: readonly number[], bin: number): string {
  const from = bin === 0 ? undefined : edgesS[bin - 1];
  const to = edgesS[bin];
  if (from === undefined) return `under ${words(to ?? 0)}`;
  return to === undefined ? `over ${words(from)}` : `${words(from)} to ${words(to)}`;
}

export function words(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${seconds / 60} min`;
  return seconds < 86_400 ? `${seconds / 3600} h` : `${seconds / 86_400} d`;
}

/** Three figures, thousands apart. */
export function number(value: number): string {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en-GB", { maximumFractionDigits: Math.min(digits, 3) });
}

export function percent(share: number): string {
  return Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "0 %";
}

function date(unixMs: number): string {
  return new Date(unixMs).toISOString().slice(0, 16).replace("T", " ");
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

const style = `
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#5b6570;--line:#d9dee3;--paper:#fff;--used:#9aa5b1;--idle:#1f7a5c;--rest:#5fb08f;--held:#c98a1b}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ec;--dim:#9aa4ae;--line:#363c43;--paper:#15181b;--used:#5b6570;--idle:#3fa981;--rest:#7cc7a9;--held:#d9a441}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:60rem;margin:0 auto;padding:2rem 1rem 4rem}h1{font-size:1.9rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
.sub,.ends,figcaption,.keys{color:var(--dim)}.big{font-size:1.3rem;line-height:1.4;max-width:46rem}
figure{margin:.6rem 0}svg{display:block}.area{width:100%;height:11rem}.ends{display:flex;justify-content:space-between;margin:.2rem 0;font-size:.85rem}
.keys{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;font-size:.9rem}.keys i{display:inline-block;width:.8em;height:.8em;margin-right:.4em;border-radius:2px}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child{text-align:left}thead th{color:var(--dim);font-weight:500}.plot{width:35%}td.plot{text-align:left}.bar{display:inline-block;height:.8em;background:var(--idle);border-radius:2px}
ul{padding-left:1.2rem}code{font-size:.9em;overflow-wrap:anywhere}@media print{body{font-size:11pt}}
`;

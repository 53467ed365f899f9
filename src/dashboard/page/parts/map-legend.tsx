/** What the colours of the node map mean. */
import { type MapColor, stepNames } from "./node-map.tsx";

const words: Readonly<Record<MapColor, string>> = {
  lent: "Share of the node's cores that is lent",
  spare: "Share of the node's cores that is offered and not wanted",
  allocated: "Share of the node's cores that Slurm allocated",
  parts: "From below: allocated, lent, spare",
  lending: "What the node's agent does",
};
const kinds: Readonly<Record<"parts" | "lending", readonly [string, string][]>> = {
  parts: [
    ["part-used", "Allocated"],
    ["part-lent", "Lent"],
    ["part-spare", "Spare"],
  ],
  lending: [
    ["part-lent", "On"],
    ["blue-3", "Hold-out"],
    ["part-spare", "Shadow"],
    ["warn", "Drained"],
    ["part-closed", "None"],
  ],
};

export function MapLegend(props: { by: MapColor }) {
  const { by } = props;
  return (
    <div class="map-legend">
      <span class="muted">{words[by]}</span>
      {by === "parts" || by === "lending" ? (
        kinds[by].map(([name, word]) => (
          <span key={name} class="key">
            <span class="swatch" aria-hidden="true" style={{ background: `var(--${name})` }} />
            {word}
          </span>
        ))
      ) : (
        <span class="key">
          0
          <span class="ramp" aria-hidden="true">
            {stepNames(by).map((name) => (
              <span key={name} style={{ background: `var(--${name})` }} />
            ))}
          </span>
          100 %
        </span>
      )}
      {by !== "lending" && (
        <span class="key">
          <span class="swatch swatch-off" aria-hidden="true" />
          Down or drained
        </span>
      )}
    </div>
  );
}

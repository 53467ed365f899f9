import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  type Column,
  formatDuration,
  formatEnum,
  formatTable,
  inAscii,
  wrap,
} from "../../../src/cli/output.ts";
import { formatBytes } from "../../../src/common/units.ts";

interface Row {
  readonly name: string;
  readonly cores: number;
  readonly note: string;
}
const columns: readonly Column<Row>[] = [
  { title: "NAME", text: ({ name }) => name },
  { title: "CORES", text: ({ cores }) => String(cores), align: "right" },
  { title: "NOTE", text: ({ note }) => note, spare: 1 },
];
const rows: readonly Row[] = [
  { name: "n1", cores: 8, note: "partly free" },
  { name: "node-with-a-long-name", cores: 128, note: "" },
];

describe("a terminal that shows nothing but ASCII", () => {
  it("gets other signs of the same width", () => {
    assert.equal(inAscii("2 × 1.14 GiB·s in 5 µs…\u001b[K"), "2 x 1.14 GiB*s in 5 us~\u001b[K");
    assert.equal(inAscii("größe"), "gr??e");
  });
});

describe("tables", () => {
  it("are aligned, and never cut without a terminal", () => {
    assert.equal(
      formatTable(columns, rows, undefined),
      "NAME                   CORES  NOTE\n" +
        "n1                         8  partly free\n" +
        "node-with-a-long-name    128\n",
    );
  });
  it("lose spare columns first, and say so", () => {
    assert.equal(
      formatTable(columns, rows, 30),
      "NAME                   CORES\n" +
        "n1                         8\n" +
        "node-with-a-long-name    128\n" +
        "(narrow terminal: no room for…\n",
    );
  });
  it("then cut the widest", () => {
    assert.equal(
      formatTable(columns, rows, 20).split("\n").slice(0, 3).join("\n"),
      "NAME           CORES\nn1                 8\nnode-with-a-…    128",
    );
  });
  it("fit every width that holds their columns", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 20, max: 120 }),
        fc.array(fc.record({ name: fc.string(), cores: fc.nat(), note: fc.string() })),
        (width, any) => {
          for (const line of formatTable(columns, any, width).split("\n"))
            assert.ok(line.length <= width, line);
        },
      ),
    );
  });
  it("keep control characters from the terminal", () => {
    assert.ok(
      !formatTable(columns, [{ name: "\u001b[2Jx\n", cores: 1, note: "" }], undefined).includes("\u001b"),
    );
  });
});

describe("words", () => {
  it("for sizes", () => {
    const sizes: [number, string][] = [
      [0, "0 B"],
      [1023, "1023 B"],
      [1024, "1 KiB"],
      [1536, "1.5 KiB"],
      [512 * 2 ** 20, "512 MiB"],
      [1023.9 * 2 ** 20, "1 GiB"],
      [10.04 * 2 ** 30, "10 GiB"],
      [2 ** 50, "1 PiB"],
    ];
    for (const [bytes, text] of sizes) assert.equal(formatBytes(bytes), text);
  });
  it("for times", () => {
    const times: [number, string][] = [
      [0, "0 ms"],
      [999, "999 ms"],
      [58_400, "58 s"],
      [60_000, "1 min"],
      [61_000, "1 min 1 s"],
      [3_600_000, "1 h"],
      [5_400_000, "1 h 30 min"],
    ];
    for (const [ms, text] of times) assert.equal(formatDuration(ms), text);
  });
  it("for enums", () => {
    assert.equal(formatEnum("LEASE_STATE_ACTIVE", "LEASE_STATE_"), "active");
    assert.equal(formatEnum("REASON_BATCH_JOB", "REASON_"), "batch job");
    assert.equal(formatEnum("REASON_UNSPECIFIED", "REASON_"), "");
  });
  it("are wrapped at spaces", () => {
    assert.equal(wrap("one two three four five six", 22, "  "), "  one two three four\n  five six");
  });
});

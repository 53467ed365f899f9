import assert from "node:assert/strict";
import { test } from "node:test";
import { href, parseRoute } from "../../../../src/dashboard/page/lib/address.ts";
import { retryDelayMs } from "../../../../src/dashboard/page/lib/backoff.ts";
import {
  bytes,
  compact,
  coreList,
  cores,
  isDrawn,
  money,
  number,
  percent,
  points,
  sentence,
  span,
  word,
} from "../../../../src/dashboard/page/lib/format.ts";

test("numbers have three digits that matter below 100, and separators above", () => {
  assert.deepEqual([0, 7, 0.1234, 1.2345, 12.34, 123.4, 1234567].map(number), [
    "0",
    "7",
    "0.123",
    "1.23",
    "12.3",
    "123",
    "1,234,567",
  ]);
  assert.deepEqual([null, undefined, Number.NaN].map(number), ["–", "–", "–"]);
  assert.equal(compact(48_210_553), "48.2M");
  assert.deepEqual([0, 0.0213, 0.5, 9.96, 12.5].map(compact), ["0", "0.021", "0.5", "10", "12.5"]);
});

test("sizes are MiB to PiB", () => {
  assert.deepEqual(
    [0, 512 * 2 ** 20, 2 ** 30, 154 * 2 ** 30, 1500 * 2 ** 30, 2500 * 2 ** 40, null].map(bytes),
    ["0 GiB", "512 MiB", "1 GiB", "154 GiB", "1.46 TiB", "2.44 PiB", "–"],
  );
  assert.deepEqual([1, 64].map(cores), ["1 core", "64 cores"]);
});

test("spans carry the unit that a person would choose", () => {
  assert.deepEqual(
    [0, 0.44, 8.4, 61, 1240, 59_999, 60_000, 250_000, 3_600_000, 12_000_000, 187_200_000, -5].map(span),
    [
      "0 ms",
      "0.4 ms",
      "8.4 ms",
      "61 ms",
      "1.2 s",
      "60 s",
      "1 min",
      "4 min 10 s",
      "1 h",
      "3 h 20 min",
      "2 d 4 h",
      "0 ms",
    ],
  );
});

test("shares and differences", () => {
  assert.deepEqual(
    [0, 0.004, 0.5, 1].map((share) => percent(share)),
    ["0 %", "< 1 %", "50 %", "100 %"],
  );
  assert.deepEqual(
    [0.31, -0.04, 0].map((value) => points(value, true)),
    ["+0.31 %", "−0.04 %", "0 %"],
  );
});

test("a site may count in a unit of its own", () => {
  assert.equal(money(40_676.4, "EUR"), "€40,676");
  assert.equal(money(12.5, "node-hours"), "12.5 node-hours");
});

test("words of the protocol", () => {
  assert.deepEqual(["LEASE_STATE_ACTIVE", "BATCH_JOB", "hold-out", ""].map(word), [
    "active",
    "batch job",
    "hold-out",
    "",
  ]);
});

test("messages are sentences", () => {
  assert.deepEqual(["nobody is logged in", "Ask root.", ""].map(sentence), [
    "Nobody is logged in.",
    "Ask root.",
    "",
  ]);
});

test("cores are written as Linux does", () => {
  assert.equal(coreList([3, 0, 1, 2, 8, 10, 11]), "0-3,8,10-11");
  assert.equal(coreList([]), "");
});

test("an address holds any name, and what is no encoding is taken as it is", () => {
  const name = `a/b?c=#<img> ü%`;
  const { path, query } = parseRoute(href(["nodes", name], { view: "table", sort: undefined, name }));
  assert.deepEqual(path, ["nodes", name]);
  assert.deepEqual(
    [...query],
    [
      ["view", "table"],
      ["name", name],
    ],
  );
  assert.deepEqual(parseRoute("#/nodes/%E0%A4%A").path, ["nodes", "%E0%A4%A"]);
  assert.deepEqual(parseRoute("").path, []);
});

test("tries are further and further apart, half a minute at most", () => {
  assert.deepEqual(
    [0, 1, 2, 5, 50].map((attempt) => retryDelayMs(attempt, 0.5)),
    [1000, 2000, 4000, 30_000, 30_000],
  );
  assert.ok(retryDelayMs(0, 0) < retryDelayMs(0, 1), "spread");
});

test("a chart takes two points; what is not recorded is none", () => {
  assert.deepEqual([[], [null, 3, null], [0, null, 0]].map(isDrawn), [false, false, true]);
});

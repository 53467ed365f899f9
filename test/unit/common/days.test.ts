import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Days, parseDay } from "../../../src/common/days.ts";

const zurich = new Days("Europe/Zurich");
const at = (text: string): number => Date.parse(text);

test("a day begins at the site's midnight, in winter and in summer", () => {
  assert.equal(zurich.startOf("2026-01-15"), at("2026-01-14T23:00:00Z"));
  assert.equal(zurich.startOf("2026-07-15"), at("2026-07-14T22:00:00Z"));
  assert.equal(zurich.dayOf(at("2026-07-14T21:59:59.999Z")), "2026-07-14");
  assert.equal(zurich.dayOf(at("2026-07-14T22:00:00Z")), "2026-07-15");
});

test("days with a changed clock are 23 and 25 hours long, and a midnight that is skipped is none", () => {
  const hours = (day: string): number => (zurich.endOf(day) - zurich.startOf(day)) / 3_600_000;
  assert.deepEqual([hours("2026-03-29"), hours("2026-10-25"), hours("2026-10-26")], [23, 25, 24]);
  const cairo = new Days("Africa/Cairo"); // Its clocks go forward at midnight.
  assert.equal(cairo.startOf("2026-04-24"), at("2026-04-23T22:00:00Z"));
  assert.equal(cairo.dayOf(at("2026-04-23T22:00:00Z")), "2026-04-24");
});

test("a span is divided among its days", () => {
  assert.deepEqual(zurich.split(at("2026-01-15T22:00:00Z"), at("2026-01-16T02:00:00Z")), [
    { day: "2026-01-15", share: 0.25 },
    { day: "2026-01-16", share: 0.75 },
  ]);
  assert.deepEqual(zurich.split(at("2026-01-15T22:00:00Z"), at("2026-01-15T23:00:00Z")), [
    { day: "2026-01-15", share: 1 },
  ]);
  assert.deepEqual(zurich.split(5, 5), [{ day: "1970-01-01", share: 1 }]);
});

test("parts of a span follow each other and add up to all of it", () => {
  const zone = fc.constantFrom("UTC", "Europe/Zurich", "America/New_York", "Asia/Kathmandu", "Pacific/Apia");
  const span = fc.tuple(fc.integer({ min: 1_400_000_000_000, max: 1_900_000_000_000 }), fc.nat(400_000_000));
  fc.assert(
    fc.property(zone, span, (timeZone, [begin, length]) => {
      const days = new Days(timeZone);
      const parts = days.split(begin, begin + length);
      const sum = parts.reduce((all, { share }) => all + share, 0);
      assert.ok(Math.abs(sum - 1) < 1e-9, `${sum}`);
      assert.ok(parts.every(({ share }) => share > 0));
      assert.equal(parts[0]?.day, days.dayOf(begin));
      const names = parts.map(({ day }) => day);
      assert.deepEqual(names, [...new Set(names)].sort());
    }),
    { numRuns: 300 },
  );
});

test("days are named as people name them", () => {
  const read = (text: string) => parseDay(text, "2026-03-01", zurich);
  assert.equal(read(""), "2026-03-01");
  assert.equal(read("yesterday"), "2026-02-28");
  assert.equal(read("1d"), "2026-03-01");
  assert.equal(read("7d"), "2026-02-23");
  assert.equal(read("2025-12-31"), "2025-12-31");
  for (const bad of ["2026-02-30", "0d", "now", "2026-1-1", "7", "-7d"])
    assert.equal(read(bad), undefined, bad);
});

test("a clock's time is a moment, also where clocks change", () => {
  const at = (clock: string) => new Date(zurich.momentOf(clock)).toISOString().slice(0, 16);
  assert.equal(at("2026-11-25T12:00"), "2026-11-25T11:00");
  assert.equal(at("2026-03-29T01:59"), "2026-03-29T00:59");
  assert.equal(at("2026-03-29T02:30"), "2026-03-29T01:30", "skipped: 03:30 it is");
  assert.equal(at("2026-03-29T03:00"), "2026-03-29T01:00");
  assert.equal(at("2026-10-25T02:30"), "2026-10-25T00:30", "the first of two");
  assert.equal(at("2026-10-25T03:00:30"), "2026-10-25T02:00");
  assert.equal(zurich.clockAt(Date.parse("2026-10-25T22:59:59Z")), "2026-10-25 23:59:59");
  const fleeting = new Days("Pacific/Apia");
  assert.equal(fleeting.clockAt(fleeting.momentOf("2011-12-31T00:00")), "2011-12-31 00:00:00");
});

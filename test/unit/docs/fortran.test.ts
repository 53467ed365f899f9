/** The Fortran module has what the C header has: every function, every constant with its value. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../../../functions/", import.meta.url);
const header = ["sublet.h", "status.h"]
  .map((name) => readFileSync(new URL(`include/sublet/${name}`, root), "utf8"))
  .join("\n");
const fortran = readFileSync(new URL("bindings/fortran/sublet.f90", root), "utf8");

const all = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map(([, name = ""]) => name);

test("every function of the header can be called", () => {
  const wanted = all(header, /^(?:SUBLET_API |const char )[^;]*?\b(sublet_\w+)\(/gm);
  const bound = new Set([
    ...all(fortran, /^ {4}(?:function|subroutine) (\w+)\([^)]*\)[^\n]*bind\(c\)/gm),
    ...all(fortran, /^ {4}(?:function|subroutine) (\w+)\([^)]*\)\s*&?\s*bind\(c\)/gm),
    ...all(fortran, /bind\(c, name="(\w+)"\)/g),
  ]);
  assert.ok(wanted.length > 50, `${wanted.length} functions found`);
  assert.deepEqual(
    wanted.filter((name) => !bound.has(name)),
    [],
  );
  assert.deepEqual(
    [...bound].filter((name) => !wanted.includes(name) && !/_c$/.test(name)),
    [],
  );
});

test("constants have the values that they have in C", () => {
  const inC = new Map([
    ...[...header.matchAll(/^#define (SUBLET_\w+)\s+(\d+)u/gm)].map(
      ([, name, value]) => [name, value] as const,
    ),
    ...[...header.matchAll(/^ {4}(SUBLET_\w+) = (\d+),/gm)].map(([, name, value]) => [name, value] as const),
  ]);
  const inFortran = new Map(
    [...fortran.matchAll(/parameter :: (SUBLET_\w+) = (\d+)$/gm)].map(
      ([, name, value]) => [name, value] as const,
    ),
  );
  for (const [name, value] of inFortran) assert.equal(value, inC.get(name), name);
  assert.deepEqual(
    [...inC.keys()].filter((name) => !inFortran.has(name) && name !== "SUBLET_STATUS_COUNT"),
    [],
  );
});

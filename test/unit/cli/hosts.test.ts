import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { foldHosts } from "../../../src/cli/doctor/hosts.ts";
import { parseHostList } from "../../../src/slurm/hostlist.ts";

test("folds numbers into ranges, by width and by what is around them", () => {
  assert.equal(foldHosts([]), "");
  assert.equal(foldHosts(["login"]), "login");
  assert.equal(foldHosts(["n17"]), "n17");
  assert.equal(foldHosts(["n3", "n1", "n2", "n2", "n7", "gpu01", "n10"]), "gpu01,n[1-3,7,10]");
  assert.equal(foldHosts(["n098", "n099", "n100"]), "n[098-100]");
  assert.equal(foldHosts(["n9", "n10", "n09"]), "n[9,09-10]");
  assert.equal(foldHosts(["r1c1-x", "r1c2-x", "r2c1-x"]), "r1c[1-2]-x,r2c1-x");
  assert.equal(foldHosts(Array.from({ length: 1998 }, (_, i) => `n${i + 1}`)), "n[1-1998]");
});

test("what is unfolded again is what was folded", () => {
  const name = fc
    .tuple(
      fc.constantFrom("n", "gpu-", "r1c", "x.y"),
      fc.nat(120),
      fc.constantFrom(0, 2, 3),
      fc.constantFrom("", "-ib", "a"),
    )
    .map(([head, number, width, tail]) => `${head}${String(number).padStart(width, "0")}${tail}`);
  const odd = fc.constantFrom("login", "n", "0", "1234567890123", "n0000000009", "n0000000010", "a-b");
  fc.assert(
    fc.property(fc.array(fc.oneof({ weight: 5, arbitrary: name }, odd), { maxLength: 60 }), (names) => {
      const unfolded = parseHostList(foldHosts(names));
      assert.deepEqual([...unfolded].sort(), [...new Set(names)].sort());
    }),
    { numRuns: 500 },
  );
});

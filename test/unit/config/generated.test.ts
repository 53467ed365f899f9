/** What is generated from the schemas: as it is in the tree, whole, and right. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, it, test } from "node:test";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { exampleFile } from "../../../deploy/docs/example.ts";
import { manPage } from "../../../deploy/docs/man.ts";
import { pages } from "../../../deploy/docs/pages.ts";
import { type Subject, subjects } from "../../../deploy/docs/subjects.ts";
import { keysOf, tablesOf } from "../../../src/config/keys.ts";
import { flagLayer } from "../../../src/config/layers.ts";
import { checkLayers, parseToml } from "../../../src/config/load.ts";
import { live } from "../../../src/config/meta.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

test("the generated files are as the code says: else run `npm run docs:config`", () => {
  for (const [path, text] of pages())
    assert.ok(readFileSync(`${root}/${path}`, "utf8") === text, `${path} has drifted: npm run docs:config`);
});

/** Takes the "#" away from defaults, and with `examples` from the rest too. */
function uncommented(text: string, examples: boolean): string {
  const defaults = text.replace(/^#(?=[a-z_]+ = )/gm, "");
  return examples ? defaults.replace(/^# (?=[a-z_]+ = |\[[a-z_.]+\]$)/gm, "") : defaults;
}

for (const { file, schema, ships = {} } of subjects)
  describe(file, () => {
    const keys = keysOf(schema);
    const text = readFileSync(`${root}/deploy/config/${file}`, "utf8");
    it("has a description for every key and table", () => {
      for (const { key, description } of keys) assert.notEqual(description, "", key);
      for (const { name, description } of tablesOf(schema)) assert.notEqual(description, "", name);
    });
    const shipped = checkLayers(
      schema,
      [
        flagLayer(
          Object.entries(ships).map(([key, value]) => ({ flag: "", key, text: String(value) })),
          keys,
        ),
      ],
      file,
    ).raw;
    it("as it ships says nothing but defaults and where the packages' folders are", () => {
      assert.deepEqual(parseToml(text, file, schema), shipped);
    });
    it("with every default uncommented says the same, so every default is right", () => {
      const open = uncommented(text, false);
      const set = keys.filter((each) => each.default !== undefined).length;
      assert.equal(open.match(/^[a-z_]+ = /gm)?.length ?? 0, set + Object.keys(ships).length);
      assert.deepEqual(parseToml(open, file, schema), shipped);
    });
    it("with everything uncommented has every key, and is accepted", () => {
      const open = uncommented(text, true);
      assert.equal(open.match(/^[a-z_]+ = /gm)?.length ?? 0, keys.length);
      parseToml(open, file, schema);
    });
  });

test("manual pages are without complaint from groff", (t) => {
  for (const man of [...pages().keys()].filter((path) => path.startsWith("deploy/man/"))) {
    const found = spawnSync("groff", ["-ww", "-z", "-man", `${root}/${man}`], {
      encoding: "utf8",
    });
    if (found.error !== undefined) {
      t.skip("groff is not installed");
      return;
    }
    assert.deepEqual([found.status, found.stderr], [0, ""], man);
  }
});

test("drift is seen: a key that is new, changed or live differs in every page", () => {
  const base: Subject = { ...(subjects[0] as Subject), schema: z.strictObject({}) };
  const variants = [
    z.strictObject({ a: z.int().min(1).default(5).describe("d") }),
    z.strictObject({ a: z.int().min(1).default(6).describe("d") }),
    z.strictObject({ a: z.int().min(2).default(5).describe("d") }),
    z.strictObject({ a: z.int().min(1).default(5).describe("e") }),
    z.strictObject({ a: z.int().min(1).default(5).describe("d").meta(live) }),
    z.strictObject({
      t: z
        .strictObject({ a: z.int().default(5).describe("d") })
        .prefault({})
        .describe("u"),
    }),
  ];
  for (const write of [exampleFile, manPage]) {
    const texts = variants.map((schema) => write({ ...base, schema }));
    assert.equal(new Set(texts).size, variants.length);
  }
});

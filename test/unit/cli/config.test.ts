/** `sublet config`: show, check, explain; for people and for programs. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { captured } from "./captured.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-config-"));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, "controller.toml");

const sublet = (...args: string[]) => captured(args, { SUBLET_CONTROLLER_ADMIN_GID: "77" });

test("shows what is in effect and where it came from", async () => {
  writeFileSync(file, "poll_interval_ms = 5000\n");
  const { status, out } = await sublet("config", "show", "controller", "--file", file);
  assert.equal(status, 0);
  assert.match(out, /^poll_interval_ms = 5000 +# .*controller\.toml:1$/m);
  assert.match(out, /^admin_gid = 77 +# SUBLET_CONTROLLER_ADMIN_GID$/m);
  const { out: json } = await sublet("--json", "config", "show", "controller", "--file", file);
  const { settings } = JSON.parse(json) as { settings: { key: string; value: unknown; from: string }[] };
  assert.equal(settings.find(({ key }) => key === "admin_gid")?.from, "environment");
});

test("checks: 0, or 78 with every complaint", async () => {
  writeFileSync(file, "poll_interval_ms = 5000\n");
  assert.equal((await sublet("config", "check", "controller", "--file", file)).status, 0);
  writeFileSync(file, "poll_interval = 5000\nlisten = 1\n");
  const { status, err } = await sublet("config", "check", "controller", "--file", file);
  assert.equal(status, 78);
  assert.match(err, /controller\.toml:1: unknown key poll_interval; did you mean poll_interval_ms\?/);
  assert.match(err, /controller\.toml:2: listen: /);
  const told = await sublet("--json", "config", "check", "controller", "--file", file);
  assert.equal((JSON.parse(told.out) as { complaints: string[] }).complaints.length, 2);
});

test("explains a key, and helps with a wrong one", async () => {
  writeFileSync(file, "");
  const { out } = await sublet("config", "explain", "controller", "horizon_confidence", "--file", file);
  assert.match(out, /^horizon_confidence = 0\.8\n {2}from +default\n/);
  assert.match(out, /at most +0\.99\n {2}reload +changes it at once\n {2}share of the horizons/);
  const wrong = await sublet("config", "explain", "agent", "budget_ms");
  assert.equal(wrong.status, 1);
  assert.match(wrong.err, /did you mean reclaim\.budget_ms\?/);
  assert.equal((await sublet("config", "explain", "nobody", "x")).status, 2);
});

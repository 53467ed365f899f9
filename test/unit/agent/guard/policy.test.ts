import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { loadPolicy, parsePolicy } from "../../../../agent/guard/policy.ts";

const node = { cores: 8, memoryBytes: 4 * 2 ** 30 };
const builtIn = loadPolicy(undefined, node);

function refused(text: string): string[] {
  try {
    parsePolicy(text, "guard.toml", node);
  } catch (thrown) {
    assert.equal((thrown as { code?: string }).code, "INVALID_ARGUMENT");
    return (thrown as Error).message.split("\n");
  }
  assert.fail(`taken: ${text}`);
}

test("the file that ships says what is built in, key by key", () => {
  const text = readFileSync(new URL("../../../../deploy/config/guard.toml", import.meta.url), "utf8");
  assert.deepEqual(parsePolicy(text, "guard.toml", node), builtIn);
  // Every key is there as a comment too: taken in, the policy is the same, so none is mistyped.
  const uncommented = text.replace(/^#(?=[a-z_]+ = )/gm, "");
  assert.deepEqual(parsePolicy(uncommented, "guard.toml", node), builtIn);
});

test("a policy as it is used: units, rungs, thresholds", () => {
  assert.deepEqual(
    builtIn.rungs.map(({ action, quotaPercent }) => `${action} ${quotaPercent}`),
    ["none 100", "throttle 50", "throttle 10", "freeze 10"],
  );
  const policy = parsePolicy(
    'mode = "watch"\nguest_quota_cores = 2.5\n[job_refaults]\nenter_per_s = 50\nleave_per_s = 5\nstrongest = "freeze"\n',
    "guard.toml",
    node,
  );
  assert.deepEqual([policy.mode, policy.guestQuotaCores], ["watch", 2.5]);
  assert.deepEqual(policy.signals.job_refaults, { use: true, enter: 50, leave: 5, strongest: "freeze" });
});

test("a contradiction or a typing error is refused with its line and what to write instead", () => {
  for (const [text, ...complaints] of [
    [
      "interval_ms = 500\n\n[job_run_delay]\nenter_percent = 5\nleave_percent = 6\n",
      /^guard\.toml:5: job_run_delay\.leave_percent: 6 must be below enter_percent \(5\)/,
    ],
    ["[job_run_delay]\nenter_percent = 1\n", /^guard\.toml:1: job_run_delay\.leave_percent: 2 must be below/],
    [
      "[node_memory_headroom]\nenter_mib = 300\nleave_mib = 200\n",
      /^guard\.toml:3: node_memory_headroom\.leave_mib: 200 must be above enter_mib \(300\)/,
    ],
    [
      "[node_memory_headroom]\nleave_mib = 9000\n",
      /^guard\.toml:2: node_memory_headroom\.leave_mib: beyond the node: it has 4096 MiB/,
    ],
    ["guest_quota_cores = 9\n", /^guard\.toml:1: guest_quota_cores: beyond the node: this node has 8 cores/],
    ["[throttle]\nquota_percent = [10, 50]\n", /^guard\.toml:2: .*each step must be below/],
    ["[throttle]\nquota_percent = [100]\n", /^guard\.toml:2: .*less than the whole lease/],
    ["interval_s = 1\n", /^guard\.toml:1: unknown key interval_s; did you mean interval_ms\?/],
    [
      "[job_run_delay]\nenter_permille = 5\n",
      /^guard\.toml:2: unknown key job_run_delay\.enter_permille; did you mean enter_percent\?/,
    ],
    [
      "[job_run_dely]\nuse = true\n",
      /^guard\.toml:1: unknown key job_run_dely; did you mean job_run_delay\?/,
    ],
    ['interval_ms = "1 s"\n', /^guard\.toml:1: interval_ms: expected a number; its unit is the end/],
    [
      "escalate_ms = 3000\ninterval_fast_ms = 2000\n",
      /^guard\.toml:2: interval_fast_ms: 2000 is beyond interval_ms 1000/,
    ],
    ["[freeze]\nmax_ms = 500\n", /^guard\.toml:2: freeze\.max_ms: 500 is below escalate_ms/],
    ['mode = "maybe"\n', /^guard\.toml:1: mode: /],
    [
      "mode = 1\n[throttle]\nscop = 2\n",
      /^guard\.toml:1: mode: /,
      /^guard\.toml:3: unknown key throttle\.scop; did you mean scope\?/,
    ],
  ] as [string, ...RegExp[]][]) {
    const found = refused(text);
    assert.equal(found.length, complaints.length, found.join("\n"));
    for (const complaint of complaints)
      assert.ok(
        found.some((line) => complaint.test(line)),
        `${complaint} in ${found.join(" | ")}`,
      );
  }
});

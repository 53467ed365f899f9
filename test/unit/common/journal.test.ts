/**
 * Lines as entries of the journal. What the encoding is and what happens when journald is busy or away is tested with senders of the
 * test; that journald takes and finds it all is tested with a real systemd-journald on a private /run (needs root and unshare).
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, fstatSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it, test } from "node:test";
import { fileURLToPath } from "node:url";
import { fieldName, journalEntry, journalSink } from "../../../src/common/journal.ts";
import { logEvents } from "../../../src/common/log-events.ts";
import { leadsToJournal } from "../../../src/common/logger.ts";
import { eventually } from "../agent/fake-starter.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-journal-"));
after(() => rmSync(folder, { recursive: true }));
const root = fileURLToPath(new URL("../../..", import.meta.url));

/** An entry's fields, read as journald does; a name may come more than once. */
function decode(entry: Buffer): [string, string][] {
  const fields: [string, string][] = [];
  let at = 0;
  while (at < entry.length) {
    const end = entry.indexOf(10, at);
    const line = entry.subarray(at, end).toString();
    const equals = line.indexOf("=");
    if (equals >= 0) {
      fields.push([line.slice(0, equals), line.slice(equals + 1)]);
      at = end + 1;
    } else {
      const size = Number(entry.readBigUInt64LE(end + 1));
      fields.push([line, entry.subarray(end + 9, end + 9 + size).toString()]);
      at = end + 9 + size + 1;
    }
  }
  return fields;
}

const entryOf = (line: object): Map<string, string> =>
  new Map(decode(journalEntry("sublet-agent", `${JSON.stringify(line)}\n`)));

describe("an entry", () => {
  it("has message, priority, id and fields", () => {
    const entry = entryOf({
      level: 40,
      time: 1,
      event: "guard_acted",
      lease: "n1-x",
      jobs: [77],
      quotaPercent: 50,
      why: "a word",
      msg: "guard: throttle",
    });
    assert.equal(entry.get("MESSAGE"), 'guard: throttle lease=n1-x jobs=77 quotaPercent=50 why="a word"');
    assert.equal(entry.get("PRIORITY"), "4");
    assert.equal(entry.get("SYSLOG_IDENTIFIER"), "sublet-agent");
    assert.equal(entry.get("MESSAGE_ID"), logEvents.guard_acted.id);
    assert.deepEqual(
      ["SUBLET_EVENT", "SUBLET_LEASE", "SUBLET_JOBS", "SUBLET_QUOTA_PERCENT"].map((name) => entry.get(name)),
      ["guard_acted", "n1-x", "77", "50"],
    );
    assert.ok(!entry.has("SUBLET_TIME") && !entry.has("SUBLET_LEVEL"));
  });
  it("has a field for each member of a list, whatever is in it; what has lines keeps them", () => {
    const fields = decode(
      journalEntry("x", JSON.stringify({ level: 50, reasons: ["a\nb", "c=d", ""], msg: "m\nn" })),
    );
    assert.deepEqual(
      fields.filter(([name]) => name === "SUBLET_REASONS").map(([, value]) => value),
      ["a\nb", "c=d", ""],
    );
    assert.match(fields.find(([name]) => name === "MESSAGE")?.[1] ?? "", /^m\nn reasons=/);
  });
  it("cannot be forged by what is logged: a name stays a name, a value a value", () => {
    const fields = decode(
      journalEntry(
        "x",
        JSON.stringify({ level: 30, "a=1\nPRIORITY": "0\nMESSAGE_ID=f", msg: "x\nPRIORITY=0" }),
      ),
    );
    assert.deepEqual(
      fields.filter(([name]) => name === "PRIORITY"),
      [["PRIORITY", "6"]],
    );
    assert.ok(!fields.some(([name]) => name === "MESSAGE_ID"));
    assert.match(fieldName("ä/quota Percent\n"), /^SUBLET_[A-Z0-9_]+$/);
  });
  it("is bounded, and takes lines that are not ours", () => {
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`k${n}`, "x".repeat(50_000)]));
    assert.ok(decode(journalEntry("x", JSON.stringify({ ...many, msg: "m" }))).length <= 64);
    assert.equal(new Map(decode(journalEntry("x", "no json\n"))).get("MESSAGE"), "no json");
  });
  it("has the priority of its level", () => {
    const priorities = [20, 30, 40, 50, 60].map((level) => entryOf({ level, msg: "" }).get("PRIORITY"));
    assert.deepEqual(priorities, ["7", "6", "4", "3", "2"]);
  });
});

/** A fake journald that answers with an errno as it is told. */
function fake() {
  const here = { errno: 0, sent: [] as string[], fallen: [] as string[] };
  const sink = journalSink({
    identifier: "x",
    sender: {
      send(bytes) {
        if (here.errno === 0) here.sent.push(new Map(decode(bytes)).get("MESSAGE") ?? "");
        return here.errno;
      },
    },
    fallback: { write: (line) => void here.fallen.push(line), flushSync: () => undefined },
  });
  return Object.assign(here, { sink });
}
const line = (msg: string): string => `${JSON.stringify({ level: 30, msg })}\n`;

test("a busy journal gets lines later and in order; beyond a bound they are dropped and counted", async () => {
  const journal = fake();
  journal.errno = 11;
  for (let n = 0; n < 2_500; n++) journal.sink.write(line(`${n}`));
  assert.deepEqual([journal.sent, journal.fallen], [[], []]);
  journal.errno = 0;
  await eventually("they are sent", () => journal.sent.length > 2_000);
  assert.deepEqual(
    journal.sent.slice(0, 2_000),
    Array.from({ length: 2_000 }, (_, n) => `${n}`),
  );
  assert.equal(journal.sent[2_000], "the journal was busy: lines were dropped lines=500");
});

test("without a journal lines go to standard error", () => {
  const journal = fake();
  journal.errno = 2;
  journal.sink.write(line("a"));
  assert.deepEqual(journal.fallen, [line("a")]);
  const nowhere = join(folder, "nobody");
  const fallen: string[] = [];
  const fallback = { write: (each: string) => void fallen.push(each), flushSync: () => undefined };
  journalSink({ identifier: "x", socket: nowhere, fallback }).write(line("b"));
  assert.deepEqual(fallen, [line("b")]);
});

test("standard error leads to the journal when systemd says so of this very stream", () => {
  const fd = openSync(join(folder, "stream"), "w");
  const { dev, ino } = fstatSync(fd);
  assert.ok(leadsToJournal(fd, { JOURNAL_STREAM: `${dev}:${ino}` }));
  assert.ok(!leadsToJournal(fd, { JOURNAL_STREAM: `${dev}:${ino + 1}` }));
  assert.ok(!leadsToJournal(fd, {}));
  assert.ok(!leadsToJournal(fd, { JOURNAL_STREAM: "what" }));
});

test("ids are 128 bits, and no two events have the same", () => {
  const ids = Object.values(logEvents).map(({ id }) => id);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
  assert.equal(new Set(ids).size, ids.length);
});

const journald = "/lib/systemd/systemd-journald";

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return "needs root, for a private /run";
  if (!existsSync(journald)) return "systemd-journald is not installed";
  return spawnSync("unshare", ["--mount", "true"]).status === 0
    ? false
    : "no mount namespace can be made here";
}

test("a real journald: entries of a daemon are found by id, field and priority, and explained", {
  skip: whyNot(),
}, () => {
  const script = join(folder, "journald.sh");
  const shell = `set -eu
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/systemd/catalog
for dir in /var/lib/systemd/catalog /var/log/journal; do [ ! -d $dir ] || mount -t tmpfs tmpfs $dir; done
mkdir -p /run/systemd /run/log ${folder}/root/usr/lib/systemd/catalog
ln -s journal.sublet /run/systemd/journal
${journald} sublet 2> /dev/null & journald=$!
trap 'kill $journald; wait $journald || true' EXIT
for try in $(seq 100); do [ -S /run/systemd/journal/socket ] && break; sleep 0.05; done
status=0
${process.execPath} ${root}/src/controller/main.ts --set log.to=journal --set listen=127.0.0.1:0 \\
  --set metrics_listen=127.0.0.1:0 --set accounting.enabled=false --set munge_socket=/nonexistent > ${folder}/out 2> ${folder}/err & daemon=$!
cp ${root}/deploy/systemd/sublet.catalog ${folder}/root/usr/lib/systemd/catalog/
journalctl --update-catalog --root=${folder}/root
cp ${folder}/root/var/lib/systemd/catalog/database /var/lib/systemd/catalog/database
ask() { journalctl --namespace=sublet --sync; journalctl --namespace=sublet --no-pager -o json "$@" > ${folder}/found || true; }
for try in $(seq 200); do ask MESSAGE_ID=${logEvents.ready.id}; grep -q "^{" ${folder}/found && break; sleep 0.1; done
cp ${folder}/found ${folder}/ready
kill -HUP $daemon
for try in $(seq 100); do ask MESSAGE_ID=${logEvents.config_changed.id}; grep -q "^{" ${folder}/found && break; sleep 0.1; done
journalctl --namespace=sublet --no-pager -x -t sublet-controller > ${folder}/explained
journalctl --namespace=sublet --no-pager -o json -p warning SUBLET_OUTCOME=failed > ${folder}/warnings
kill $daemon; wait $daemon || status=$?
exit $status
`;
  writeFileSync(script, shell);
  execFileSync("unshare", ["--mount", "bash", script], {
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    stdio: ["ignore", "ignore", "inherit"],
    timeout: 120_000,
  });
  const entries = (name: string): Record<string, string>[] =>
    execFileSync("cat", [join(folder, name)], { encoding: "utf8" })
      .split("\n")
      .filter(Boolean)
      .map((each) => JSON.parse(each) as Record<string, string>);
  const [ready] = entries("ready");
  assert.match(ready?.MESSAGE ?? "", /^controller is ready address=127\.0\.0\.1:\d+ metrics=/);
  assert.deepEqual(
    [ready?.PRIORITY, ready?.SYSLOG_IDENTIFIER, ready?.SUBLET_EVENT],
    ["6", "sublet-controller", "ready"],
  );
  assert.match(ready?.SUBLET_ADDRESS ?? "", /^127\.0\.0\.1:\d+$/);
  assert.equal(entries("found")[0]?.SUBLET_EVENT, "config_changed");
  assert.equal(entries("warnings")[0]?.PRIORITY, "4");
  const explained = execFileSync("cat", [join(folder, "explained")], { encoding: "utf8" });
  assert.match(explained, /Subject: The configuration was read again and applied/);
  assert.equal(execFileSync("cat", [join(folder, "err")], { encoding: "utf8" }), "");
});

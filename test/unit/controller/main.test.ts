/** The program itself: settings, the line that says it is ready, signals. Without munged and without Slurm. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { certificate } from "../dashboard/certificates.ts";
import { listener } from "../rpc/service-manager.ts";

const main = fileURLToPath(new URL("../../../src/controller/main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "sublet-controller-"));
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

function start(toml: string, env: Readonly<Record<string, string>> = {}): ChildProcess {
  const file = join(folder, "controller.toml");
  writeFileSync(file, toml);
  const child = spawn(process.execPath, [main, "--config", file], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: folder, ...env },
    timeout: 120_000,
  });
  children.push(child);
  return child;
}

type Line = {
  msg?: string;
  metrics?: string;
  reasons?: string[];
  changed?: string[];
  restart?: string[];
};

async function* linesOf(child: ChildProcess): AsyncGenerator<Line> {
  assert.ok(child.stderr);
  for await (const line of createInterface({ input: child.stderr })) yield JSON.parse(line) as Line;
}

const good = `listen = "127.0.0.1:0"\nmetrics_listen = "127.0.0.1:0"\nstate_dir = "${folder}/state"\n`;

for (const signal of ["SIGTERM", "SIGINT"] as const)
  test(`serves, says where, and ends cleanly at ${signal}`, async () => {
    const child = start(good);
    const seen: string[] = [];
    for await (const line of linesOf(child)) {
      seen.push(line.msg ?? "");
      if (line.msg !== "controller is ready") continue;
      const page = await (await fetch(`http://${line.metrics}/metrics`)).text();
      assert.match(page, /^sublet_agents 0$/m);
      child.kill(signal);
    }
    const [code] = child.exitCode === null ? await once(child, "exit") : [child.exitCode];
    assert.equal(code, 0, seen.join("\n"));
    assert.ok(seen.includes("Slurm was asked in vain"), "says that there is no scontrol");
  });

test("a setting that is not known ends it with the nearest one that is", async () => {
  const child = start(`${good}poll_intervall_ms = 5\n`);
  assert.ok(child.stderr);
  let said = "";
  for await (const chunk of child.stderr) said += String(chunk);
  const [code] = child.exitCode === null ? await once(child, "exit") : [child.exitCode];
  assert.equal(code, 78);
  assert.match(
    said,
    /^sublet-controller: .*controller\.toml:4: unknown key .*did you mean poll_interval_ms\?$/m,
  );
});

test("SIGHUP: what changed, what wants a restart, what was refused", async () => {
  const child = start(`${good}poll_interval_ms = 60000\n`);
  const file = join(folder, "controller.toml");
  const seen: Line[] = [];
  for await (const line of linesOf(child)) {
    seen.push(line);
    if (line.msg === "controller is ready") {
      writeFileSync(file, `${good}poll_intervall_ms = 50\n`);
      child.kill("SIGHUP");
    }
    if (line.msg?.startsWith("configuration refused")) {
      writeFileSync(file, `${good}poll_interval_ms = 50\nslurm_conf = "/s"\n[log]\nlevel = "debug"\n`);
      child.kill("SIGHUP");
    }
    if (line.restart !== undefined) child.kill("SIGTERM");
  }
  const refused = seen.find(({ msg }) => msg?.startsWith("configuration refused"));
  assert.match(refused?.reasons?.join() ?? "", /:\d+: unknown key poll_intervall_ms; did you mean/);
  const changed = seen.find(({ msg }) => msg === "configuration changed");
  assert.deepEqual(
    changed?.changed?.map((each) => each.replace(/ \(.*/, "")),
    ["poll_interval_ms: 60000 -> 50", 'log.level: "info" -> "debug"'],
  );
  assert.match(seen.find(({ restart }) => restart)?.restart?.join() ?? "", /^slurm_conf: unset -> "\/s"/);
});

test("the dashboard's certificate: checked before, renewed by SIGHUP, a wrong one changes nothing", async () => {
  const first = certificate(folder, "first");
  const second = certificate(folder, "second");
  const { certFile, keyFile } = first;
  const toml = `${good}[dashboard]\nlisten = "127.0.0.1:0"\ntls.cert_file = "${certFile}"\ntls.key_file = "${keyFile}"\n`;
  const child = start(toml);
  const check = () =>
    spawnSync(process.execPath, [main, "--config", join(folder, "controller.toml"), "--check-config"]);
  assert.equal(check().status, 0);
  const seen: (Line & { url?: string })[] = [];
  let url = "";
  const served = () =>
    new Promise<string>((resolve, reject) => {
      const { hostname, port } = new URL(url);
      const socket = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
        resolve(String(socket.getPeerCertificate().subject.CN));
        socket.destroy();
      }).on("error", reject);
    });
  for await (const line of linesOf(child)) {
    seen.push(line);
    url = (line as { url?: string }).url ?? url;
    if (line.msg === "controller is ready") {
      assert.match(url, /^https:/);
      assert.equal(await served(), "first");
      // The key of one and the certificate of the other, as between two writes of a renewal.
      copyFileSync(second.certFile, certFile);
      child.kill("SIGHUP");
    }
    if (line.msg?.startsWith("configuration refused")) {
      assert.match(line.reasons?.join() ?? "", /key_file .* is not the key of/);
      assert.equal(await served(), "first", "nothing was applied");
      assert.match(String(check().stderr), /is not the key of/);
      assert.equal(check().status, 78);
      copyFileSync(second.keyFile, keyFile);
      child.kill("SIGHUP");
    }
    if (line.msg?.startsWith("configuration read again")) {
      assert.equal(await served(), "second");
      child.kill("SIGTERM");
    }
  }
  assert.ok(seen.some(({ msg }) => msg?.startsWith("configuration refused")));
  assert.ok(
    seen.some(({ msg }) => msg === "the dashboard's certificate ends soon"),
    "two days are not long",
  );
});

test("a dashboard that cannot be had holds up no reload, is never in the clear, and comes up once its path is mended; then it is not to be broken", async (t) => {
  const { certFile, keyFile } = certificate(folder, "lonely");
  const notify = join(folder, "notify");
  const systemd = listener(notify);
  t.after(() => systemd.close());
  const toml = (pollMs: number, key: string): string =>
    `${good}poll_interval_ms = ${pollMs}\n[dashboard]\nlisten = "127.0.0.1:0"\n` +
    `tls.cert_file = "${certFile}"\ntls.key_file = "${key}"\n`;
  const file = join(folder, "controller.toml");
  const missing = join(folder, "no.key");
  const child = start(toml(60_000, missing), { NOTIFY_SOCKET: notify });
  const steps = [toml(50_000, missing), toml(50_000, keyFile), toml(40_000, missing), toml(30_000, keyFile)];
  const seen: (Line & { url?: string; message?: string })[] = [];
  for await (const line of linesOf(child)) {
    seen.push(line);
    if (!/^(controller is ready|configuration (changed|refused|read again))/.test(line.msg ?? "")) continue;
    const next = steps.shift();
    if (next === undefined) child.kill("SIGTERM");
    else {
      writeFileSync(file, next);
      child.kill("SIGHUP");
    }
  }
  const told = seen.filter(({ msg }) => msg === "there is no dashboard");
  assert.equal(told.length, 2, "at the start, and by the reload that left it so");
  for (const { message } of told)
    assert.match(message ?? "", /dashboard\.tls\.key_file .*no\.key: is not there/);
  assert.deepEqual(
    seen.filter(({ msg }) => /^(dashboard is ready|configuration)/.test(msg ?? "")).map(({ msg }) => msg),
    [
      "configuration changed",
      "dashboard is ready",
      "configuration changed",
      "configuration refused: nothing was applied, the old one stays",
      "configuration changed",
    ],
  );
  assert.match(seen.find(({ url }) => url)?.url ?? "", /^https:/);
  const refused = seen.find(({ reasons }) => reasons);
  assert.match(refused?.reasons?.join() ?? "", /key_file .*no\.key: is not there/);
  const changed = seen.flatMap((line) => (line.changed ?? []).map((each) => each.replace(/ \(.*/, "")));
  assert.deepEqual(changed, [
    "poll_interval_ms: 60000 -> 50000",
    `dashboard.tls.key_file: "${missing}" -> "${keyFile}"`,
    "poll_interval_ms: 50000 -> 30000",
  ]);
  assert.deepEqual(
    seen.filter(({ restart }) => restart),
    [],
  );
  const statuses = systemd.hear().filter((text) => text.startsWith("READY=1"));
  assert.deepEqual(
    statuses.map((text) => /no dashboard: dashboard\.tls\.key_file/.test(text)),
    [true, true, false, false, false],
    "what systemctl status shows",
  );
});

test("a dashboard whose port is taken: a reload applies what else changed, and brings it up once the port is free", async (t) => {
  const other = createServer().listen(0, "127.0.0.1");
  t.after(() => other.close());
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  const file = join(folder, "controller.toml");
  const dashboard = `[dashboard]\nlisten = "127.0.0.1:${port}"\n`;
  const child = start(`${good}poll_interval_ms = 60000\n${dashboard}`);
  const seen: (Line & { message?: string })[] = [];
  for await (const line of linesOf(child)) {
    seen.push(line);
    if (line.msg === "controller is ready") {
      writeFileSync(file, `${good}poll_interval_ms = 50000\n${dashboard}`);
      child.kill("SIGHUP");
    }
    if (line.msg === "configuration changed") {
      other.close();
      await once(other, "close");
      child.kill("SIGHUP");
    }
    if (line.msg?.startsWith("configuration read again")) {
      const signal = AbortSignal.timeout(10_000);
      assert.equal((await fetch(`http://127.0.0.1:${port}/api/v1/summary`, { signal })).status, 200);
      child.kill("SIGTERM");
    }
  }
  const told = seen.filter(({ msg }) => msg === "there is no dashboard");
  assert.equal(told.length, 2);
  assert.match(told[1]?.message ?? "", /EADDRINUSE/);
  assert.match(
    seen.find(({ changed }) => changed)?.changed?.join() ?? "",
    /^poll_interval_ms: 60000 -> 50000/,
  );
  assert.ok(seen.some(({ msg }) => msg?.startsWith("configuration read again")));
});

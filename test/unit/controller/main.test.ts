/** The program itself: settings, the line that says it is ready, signals. Without munged and without Slurm. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { certificate } from "../dashboard/certificates.ts";

const main = fileURLToPath(new URL("../../../src/controller/main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "sublet-controller-"));
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

function start(toml: string): ChildProcess {
  const file = join(folder, "controller.toml");
  writeFileSync(file, toml);
  const child = spawn(process.execPath, [main, "--config", file], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: folder },
    timeout: 20_000,
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

test("a dashboard whose certificate cannot be read is not served in the clear, and SIGHUP brings it up once it can be", async () => {
  const { certFile, keyFile } = certificate(folder, "lonely");
  const late = join(folder, "late.key");
  const tls = `tls.cert_file = "${certFile}"\ntls.key_file = "${late}"\n`;
  const child = start(`${good}[dashboard]\nlisten = "127.0.0.1:0"\n${tls}`);
  const seen: (Line & { url?: string })[] = [];
  for await (const line of linesOf(child)) {
    seen.push(line);
    if (line.msg === "controller is ready") child.kill("SIGHUP");
    if (line.msg?.startsWith("configuration refused")) {
      assert.match(line.reasons?.join() ?? "", /dashboard\.tls\.key_file .*late\.key: is not there/);
      assert.equal(
        seen.some(({ msg }) => msg === "dashboard is ready"),
        false,
      );
      copyFileSync(keyFile, late);
      chmodSync(late, 0o600);
      child.kill("SIGHUP");
    }
    if (line.msg?.startsWith("configuration read again")) child.kill("SIGTERM");
  }
  const said = seen.map(({ msg }) => msg ?? "");
  assert.ok(said.includes("there is no dashboard"), said.join("\n"));
  assert.match(seen.find(({ msg }) => msg === "dashboard is ready")?.url ?? "", /^https:/);
});

test("a dashboard whose port is taken: a reload is refused as a whole until it is free", async (t) => {
  const other = createServer().listen(0, "127.0.0.1");
  t.after(() => other.close());
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  const file = join(folder, "controller.toml");
  const dashboard = `[dashboard]\nlisten = "127.0.0.1:${port}"\n`;
  const child = start(`${good}poll_interval_ms = 60000\n${dashboard}`);
  const seen: (Line & { url?: string })[] = [];
  for await (const line of linesOf(child)) {
    seen.push(line);
    if (line.msg === "controller is ready") {
      writeFileSync(file, `${good}poll_interval_ms = 50000\n${dashboard}`);
      child.kill("SIGHUP");
    }
    if (line.msg?.startsWith("configuration refused")) {
      assert.match(line.reasons?.join() ?? "", /EADDRINUSE/);
      other.close();
      await once(other, "close");
      child.kill("SIGHUP");
    }
    if (line.msg === "configuration changed") {
      const signal = AbortSignal.timeout(10_000);
      assert.equal((await fetch(`http://127.0.0.1:${port}/api/v1/summary`, { signal })).status, 200);
      child.kill("SIGTERM");
    }
  }
  assert.match(
    seen.find(({ changed }) => changed)?.changed?.join() ?? "",
    /^poll_interval_ms: 60000 -> 50000/,
    "the reload that was refused had changed nothing",
  );
});

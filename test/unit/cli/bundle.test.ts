/** The support bundle: whole, the same for the same content, and without the secrets that are planted in all that goes in. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { type Manifest, packed } from "../../../src/cli/doctor/bundle.ts";
import { withoutSecrets } from "../../../src/cli/doctor/secrets.ts";
import { tarGz } from "../../../src/cli/doctor/tar.ts";
import { cliKind } from "../../../src/config/cli.ts";
import { keysOf } from "../../../src/config/keys.ts";
import { agentKind, controllerKind } from "../../../src/config/kinds.ts";
import { certificate } from "../dashboard/certificates.ts";
import { captured } from "./captured.ts";

const folder = mkdtempSync(join(tmpdir(), "sublet-bundle-"));
after(() => rmSync(folder, { recursive: true }));

/** Everything that must not leave. */
const planted = {
  url: "mariadb://planted-user@planted-host/planted-base",
  overridden: "mariadb://planted-old@planted-gone/planted-past",
  password: "planted-pa$$word%1",
  inPrefix: "planted-in-prolog",
  comment: "planted-comment",
  slurm: "planted-slurm-key",
  inFile: "planted in password_file",
  credential: `MUNGE:AwQFAABplanted${"A".repeat(60)}==:`,
  bearer: "planted.bearer-0123456789",
  basic: "cGxhbnRlZDpiYXNpYw==",
  cookie: "planted-session-cookie",
  inUrl: "planted-url-password",
  token: "planted-token",
};
const dashboardTls = certificate(folder, "dashboard");
const agentTls = certificate(folder, "agent");
/** Base64 of a PEM, without its frame. */
const keyLines = [dashboardTls, agentTls].flatMap(({ keyFile }) =>
  readFileSync(keyFile, "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("-----")),
);

const metrics = createServer((_, response) => response.end(`sublet_x{db="${planted.url}"} 1\n`));
const bin = join(folder, "bin");

/** Slurm's and the journal's commands, as they answer here. */
function command(name: string, script: string): void {
  writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(bin, name), 0o755);
}

before(async () => {
  await new Promise<void>((resolve) => metrics.listen(0, "127.0.0.1", resolve));
  mkdirSync(bin);
  const prolog = join(folder, "prolog.sh");
  writeFileSync(
    prolog,
    `#!/bin/sh\nKEY=${planted.slurm}\nSUBLET_ACCOUNTING_PASSWORD='${planted.inPrefix}' SITE_TOKEN=${planted.token} sublet-hook prolog\n`,
  );
  command(
    "scontrol",
    `case "$*" in
*config*) printf '%s\\n' 'SLURM_VERSION = 24.11' 'AccountingStoragePass = ${planted.slurm}' 'AuthInfo = ${planted.slurm}' 'Prolog = ${prolog}' 'SelectType = select/cons_tres';;
--version) echo slurm 24.11;;
*) echo 'Slurmctld(primary) at head is UP';;
esac`,
  );
  command(
    "journalctl",
    `echo "line about $*"; echo 'opening ${planted.url} with ${planted.password}'
echo 'password_file has ${planted.inFile}'
echo 'credential ${planted.credential}'
echo 'authorization: Bearer ${planted.bearer}' '{"authorization":"Basic ${planted.basic}"}' 'cookie: __Host-sublet_session=${planted.cookie}'
echo 'proxy http://u:${planted.inUrl}@proxy/'
cat ${dashboardTls.keyFile}
echo 'half a key:' ${keyLines.at(-2)}`,
  );
  const controller = join(folder, "controller.toml");
  const { port } = metrics.address() as AddressInfo;
  writeFileSync(
    controller,
    `# ${planted.comment}\nmetrics_listen = "127.0.0.1:${port}"\n[accounting]\nurl = "${planted.overridden}"\npassword_file = "${folder}/password"\n` +
      `[dashboard.tls]\ncert_file = "${dashboardTls.certFile}"\nkey_file = "${dashboardTls.keyFile}"\n`,
  );
  mkdirSync(join(folder, "controller.conf.d"));
  writeFileSync(join(folder, "controller.conf.d", "a.toml"), `[accounting]\nurl = "${planted.url}"\n`);
  writeFileSync(join(folder, "password"), `${planted.inFile}\n`);
  writeFileSync(
    join(folder, "agent.toml"),
    `fabric_address = "127.0.0.1"\nmetrics_listen = "127.0.0.1:1"\n[tls]\nca_file = "${agentTls.certFile}"\n` +
      `cert_file = "${agentTls.certFile}"\nkey_file = "${agentTls.keyFile}"\n`,
  );
});
after(() => metrics.close());

async function bundle(...more: string[]) {
  const file = join(folder, "out.tar.gz");
  const environment = { HOME: folder, SUBLET_ACCOUNTING_PASSWORD: planted.password };
  const path = process.env.PATH;
  process.env.PATH = `${bin}:${path}`;
  const files = [
    "--agent-file",
    join(folder, "agent.toml"),
    "--controller-file",
    join(folder, "controller.toml"),
  ];
  const args = ["--agent-socket", join(folder, "nobody"), ...more, "doctor", "--bundle", file, ...files];
  const { status, out, err } = await captured(args, environment);
  process.env.PATH = path;
  assert.equal(status, 0, err);
  return { file, out };
}

function unpack(file: string): { names: string[]; read: (name: string) => string } {
  const dir = mkdtempSync(join(folder, "unpacked-"));
  execFileSync("tar", ["xzf", file, "-C", dir]);
  const names = execFileSync("tar", ["tzf", file], { encoding: "utf8" }).trim().split("\n");
  const top = names[0]?.split("/")[0] ?? "";
  return {
    names: names.map((name) => name.slice(top.length + 1)),
    read: (name) => readFileSync(join(dir, top, name), "utf8"),
  };
}

test("a bundle has what helps, a manifest of it, and none of the planted secrets", async () => {
  const { file, out } = await bundle();
  const { names, read } = unpack(file);
  const manifest = JSON.parse(read("manifest.json")) as Manifest;
  assert.deepEqual(
    names,
    ["manifest.json"].concat(
      manifest.files.filter(({ missing }) => missing === null).map(({ name }) => name),
    ),
  );
  for (const { name, sha256, bytes, missing } of manifest.files) {
    if (missing !== null) continue;
    const text = read(name);
    assert.equal(createHash("sha256").update(text).digest("hex"), sha256, name);
    assert.equal(Buffer.byteLength(text), bytes, name);
  }
  const bytes = gunzipSync(readFileSync(file)).toString("latin1") + out;
  for (const [what, secret] of Object.entries(planted))
    assert.ok(!bytes.includes(secret), `${what} is in it`);
  assert.ok(!/planted-(user|host|old|gone)/.test(bytes), "parts of a URL are in it");
  for (const line of keyLines) assert.ok(!bytes.includes(line), "a line of a private key is in it");
  // That they were there to be found, and that the rest is there.
  assert.match(
    read("logs/sublet-controller.txt"),
    /line about .*-t sublet-controller.*\nopening \(secret\) with \(secret\)\npassword_file has \(secret\)\ncredential \(secret\)/,
  );
  assert.equal(read("metrics/controller.prom"), 'sublet_x{db="(secret)"} 1\n');
  assert.match(
    read("hooks.txt"),
    /SUBLET_ACCOUNTING_PASSWORD=\(secret\) SITE_TOKEN=\(secret\) sublet-hook prolog/,
  );
  const { settings } = JSON.parse(read("config/controller.json")) as {
    settings: { key: string; value: unknown }[];
  };
  assert.equal(settings.find(({ key }) => key === "accounting.url")?.value, "(secret)");
  assert.equal(JSON.parse(read("slurm.json")).config.SelectType, "select/cons_tres");
  assert.equal(JSON.parse(read("versions.json")).node, process.version);
  assert.match(read("findings.txt"), /\d+ ok, /);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const missing = manifest.files.filter((each) => each.missing !== null).map(({ name }) => name);
  assert.deepEqual(missing, [
    "cgroups.txt",
    "status.json",
    "nodes.json",
    "leases.json",
    "metrics/agent.prom",
  ]);
});

test("names are the same each time, and --json has the manifest", async () => {
  const first = unpack((await bundle()).file).names;
  const { out, file } = await bundle("--json");
  assert.deepEqual(unpack(file).names, first);
  const said = JSON.parse(out) as { file: string; manifest: Manifest };
  assert.equal(said.file, file);
  assert.equal(said.manifest.format, 1);
});

test("a configuration that is refused gives its reasons and not its secret", async () => {
  const controller = join(folder, "controller.conf.d", "z.toml");
  writeFileSync(controller, '[accounting]\nurl = "mariadb://u:planted-in-url@h/d"\n');
  const { file } = await bundle();
  rmSync(controller);
  const bytes = gunzipSync(readFileSync(file)).toString("latin1");
  assert.ok(!bytes.includes("planted-in-url"));
  assert.match(bytes, /accounting\.url: it holds a password/);
});

test("the same content is the same bytes, and tar reads it", () => {
  const gathered = [
    { item: { name: "a/b.txt", what: "b", gather: async () => "" }, text: "x".repeat(1000), why: undefined },
    { item: { name: "c.txt", what: "c", gather: async () => "" }, text: "", why: "no c" },
  ];
  const one = packed(gathered, [], "h", 1_700_000_000_000);
  assert.ok(one.archive.equals(packed(gathered, [], "h", 1_700_000_000_000).archive));
  assert.throws(() => tarGz([{ name: "x".repeat(101), text: "" }], 0), /too long/);
});

test("every setting that names a password, a key or a token is marked as one", () => {
  const named = /password|secret|token|(^|_)key(_|$)|credential/;
  for (const kind of [agentKind, controllerKind, cliKind])
    for (const { key, secret, secretFile } of keysOf(kind.schema))
      if (named.test(key)) assert.ok(secret || secretFile, `${kind.name}: ${key}`);
});

test("a secret is found in every form it is written in; a short one would be everywhere", () => {
  assert.equal(withoutSecrets('a"b\\c', ['a"b\\c']), "(secret)");
  assert.equal(withoutSecrets(JSON.stringify({ k: 'a"b\\c' }), ['a"b\\c']), '{"k":"(secret)"}');
  assert.equal(withoutSecrets("x://h/p%40ss%2Fword", ["p@ss/word"]), "x://h/(secret)");
  assert.equal(withoutSecrets("secret and secretly", ["secret", "secretly"]), "(secret) and (secret)");
  assert.equal(withoutSecrets("abc", ["b", ""]), "abc");
});

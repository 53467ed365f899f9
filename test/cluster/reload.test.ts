/** SIGHUP of an agent with guests: what is live changes under them, what is not is named, and a bad file changes nothing. */
import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { listGuests } from "../../agent/cgroup/guests.ts";
import { slowness } from "../../deploy/testbed/shell.ts";
import { eventually } from "../unit/agent/fake-starter.ts";
import { localClient } from "../unit/agent/local-client.ts";
import { last, lease, skip, world } from "./world.ts";

const patienceMs = 20_000 * slowness;

test("a reload is applied as a whole or not at all, and the log says which keys", { skip }, async (t) => {
  const here = await world(t);
  const agent = await here.agent();
  const file = join(here.dir, "agent.toml");
  const whole = readFileSync(file, "utf8");
  const client = await localClient(here.socket);
  t.after(() => client.close());
  const { id } = await lease(client, 1);
  await eventually("a guest", () => listGuests(here.guests).includes(id), patienceMs);

  mkdirSync(join(here.dir, "agent.conf.d"));
  writeFileSync(join(here.dir, "agent.conf.d", "10-site.toml"), `reserve_cores = "${last}"\n`);
  appendFileSync(file, "[lending]\nmod = 'shadow'\n");
  agent.kill("SIGHUP");
  await eventually("refused", () => here.log().includes("configuration refused"), patienceMs);
  assert.match(here.log(), /agent\.toml:\d+: unknown key lending\.mod; did you mean mode\?/);
  assert.ok(!here.log().includes("configuration changed") && listGuests(here.guests).includes(id));

  writeFileSync(file, whole.replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.2:0"'));
  agent.kill("SIGHUP");
  await eventually("applied", () => here.log().includes("configuration changed"), patienceMs);
  const logged = here
    .log()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as { msg: string; changed?: string[]; restart?: string[] });
  const { changed } = logged.find(({ msg }) => msg === "configuration changed") ?? {};
  assert.match(changed?.join() ?? "", /^reserve_cores: "" -> "\d+" \(.*10-site\.toml:1\)$/);
  const { restart } = logged.find((line) => line.restart !== undefined) ?? {};
  assert.match(restart?.join() ?? "", /^listen: "127\.0\.0\.1:0" -> "127\.0\.0\.2:0"/);
  // Cores are lent from the top: the lease was on the one that is reserved now.
  await eventually("taken back", () => !listGuests(here.guests).includes(id), patienceMs);
});

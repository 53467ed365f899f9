/**
 * A user who asks for the same lease again and again: `again.ts NODE`, told `lease`, `renew` or `release` (the last one) by line, answers each
 * with a line of JSON, and says when a lease of his was taken. Ends with its standard input.
 */
import { createInterface } from "node:readline";
import { connectAgent, defaultAgentSocket } from "../../src/client/agent.ts";
import { toSubletError } from "../../src/common/errors.ts";

const node = process.argv[2] ?? "";
const client = await connectAgent({
  socket: defaultAgentSocket,
  timeoutMs: Number(process.env.SUBLET_TIMEOUT_MS ?? 10_000),
});
let id = "";

async function obey(word: string): Promise<object> {
  if (word === "lease") {
    const { lease } = await client.lease({
      kind: "LEASE_KIND_FUNCTION",
      cores: 1,
      memoryBytes: 64 * 1024 * 1024,
      termMs: 20_000,
      node,
    });
    id = lease?.id ?? "";
    return lease ?? {};
  }
  return word === "renew" ? await client.renew(id, node) : await client.release(id, node);
}

for await (const word of createInterface({ input: process.stdin }))
  process.stdout.write(
    `${JSON.stringify(await obey(word).catch((thrown: unknown) => ({ error: toSubletError(thrown).message })))}\n`,
  );
client.close();

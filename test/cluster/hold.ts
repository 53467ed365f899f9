/**
 * A user who holds a lease until its standard input ends: `hold.ts NODE [function|region] [CORES MIB]`, which prints the
 * lease as JSON, or the code of the refusal. Node "": wherever it is placed.
 */
import { connectAgent, defaultAgentSocket } from "../../src/client/agent.ts";
import { toSubletError } from "../../src/common/errors.ts";

const [on = "", kind = "function", cores = "1", mib = "64"] = process.argv.slice(2);
const client = await connectAgent({
  socket: defaultAgentSocket,
  timeoutMs: Number(process.env.SUBLET_TIMEOUT_MS ?? 10_000),
});
try {
  const { lease } = await client.lease({
    kind: kind === "region" ? "LEASE_KIND_REGION" : "LEASE_KIND_FUNCTION",
    cores: kind === "region" ? 0 : Number(cores),
    memoryBytes: Number(mib) * 1024 * 1024,
    termMs: 600_000,
    node: on,
  });
  process.stdout.write(`${JSON.stringify(lease)}\n`);
} catch (thrown) {
  const { code, message } = toSubletError(thrown);
  process.stdout.write(`${JSON.stringify({ code, message })}\n`);
}
process.stdin.on("end", () => client.close());
process.stdin.resume();

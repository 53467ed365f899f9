/** A user who holds a lease until its standard input ends: `hold.ts NODE`, which prints the lease as JSON. */
import { connectAgent, defaultAgentSocket } from "../../src/client/agent.ts";

const client = await connectAgent({ socket: defaultAgentSocket });
const { lease } = await client.lease({
  kind: "LEASE_KIND_FUNCTION",
  cores: 1,
  memoryBytes: 64 * 1024 * 1024,
  termMs: 600_000,
  node: process.argv[2] ?? "",
});
process.stdout.write(`${JSON.stringify(lease)}\n`);
process.stdin.on("end", () => client.close());
process.stdin.resume();

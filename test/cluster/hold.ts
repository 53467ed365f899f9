/** A user who holds a lease until its standard input ends: `hold.ts NODE [region]`, which prints the lease as JSON. */
import { connectAgent, defaultAgentSocket } from "../../src/client/agent.ts";

const region = process.argv[3] === "region";
const client = await connectAgent({ socket: defaultAgentSocket });
const { lease } = await client.lease({
  kind: region ? "LEASE_KIND_REGION" : "LEASE_KIND_FUNCTION",
  cores: region ? 0 : 1,
  memoryBytes: 64 * 1024 * 1024,
  termMs: 600_000,
  node: process.argv[2] ?? "",
});
process.stdout.write(`${JSON.stringify(lease)}\n`);
process.stdin.on("end", () => client.close());
process.stdin.resume();

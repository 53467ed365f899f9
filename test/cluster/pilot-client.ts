/** A client of a pilot that holds a lease until it is taken: prints the lease, then each notice, as lines of JSON. */
import { connectAgent } from "../../src/client/agent.ts";

const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`);

const client = await connectAgent({
  socket: process.argv[2] ?? "",
  onDraining: (draining) => say({ draining }),
  onRevoked: (revoked) => {
    say({ revoked });
    client.close();
  },
});
const { lease } = await client.lease({
  kind: "LEASE_KIND_FUNCTION",
  cores: 1,
  memoryBytes: 64 * 1024 * 1024,
  termMs: 600_000,
});
say({ lease });
await client.closed;

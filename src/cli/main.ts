/**
 * Entry of the `sublet` command in the sources; packages start launch.ts. What it compiles is kept for the next time, below the
 * user's home as the system knows it: who can write there could have us run what he likes, so it is neither /tmp nor what $HOME says.
 */
import { enableCompileCache } from "node:module";
import { userInfo } from "node:os";
import { join } from "node:path";

try {
  enableCompileCache(join(userInfo().homedir, ".cache", "sublet"));
} catch {
  // A uid without a name has no home: each start compiles anew.
}
const { main } = await import("./process.ts");
await main();

/** Writes src/rpc/codecs.ts; a unit test fails when it drifts from proto/. `npm run codecs` is this. */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { codecs } from "./codecs.ts";

writeFileSync(fileURLToPath(new URL("../../src/rpc/codecs.ts", import.meta.url)), codecs());

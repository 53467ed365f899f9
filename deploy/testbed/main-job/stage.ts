/** Copies what the jobs need to where the job user can read it: a checkout may lie in a home that nobody else may enter. */
import { cp, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));

/** Fills `folder` and returns it. Its parents must be open to the job user. */
export async function stage(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  for (const part of ["bin/options-job", "bin/durable-job", "lib", "functions"])
    await cp(join(root, "build/native", part), join(folder, part), {
      recursive: true,
      force: true,
      verbatimSymlinks: true,
    });
  await cp(join(root, "deploy/testbed/main-job/melt.in"), join(folder, "melt.in"), { force: true });
  return folder;
}

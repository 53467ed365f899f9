/** Users by name, from wherever this system keeps them (files, LDAP, SSSD). */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { SubletError } from "../common/errors.ts";

const lookupTimeoutMs = 5_000;

/** The uid. @throws SubletError NOT_FOUND. */
export async function userInfoOf(name: string): Promise<number> {
  const found = /^[A-Za-z_][\w.@$-]{0,63}$/.test(name)
    ? await promisify(execFile)("getent", ["passwd", name], { timeout: lookupTimeoutMs }).catch(
        () => undefined,
      )
    : undefined;
  const uid = Number(found?.stdout.split(":")[2]);
  if (found === undefined || !Number.isInteger(uid))
    throw new SubletError("NOT_FOUND", `no user ${name.slice(0, 64)} is known on this machine`);
  return uid;
}

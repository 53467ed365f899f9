/**
 * What the schema says of a key beyond its type: read by the loader, the reload, the generated pages and the support bundle.
 * A key is marked where it is declared, outermost: `z.int().default(5).describe("...").meta(live)`.
 */
import type { z } from "zod";

declare module "zod" {
  interface GlobalMeta {
    /** live: SIGHUP changes it. Otherwise the daemon has to be started again. */
    readonly apply?: "live";
    /** A password, a token, a key, or what may contain one: never shown, logged or put into a bundle. */
    readonly secret?: boolean;
    /** The file that it names holds nothing but a secret: what is in it never goes into a bundle. */
    readonly secretFile?: boolean;
    /** For the example files: of a key that is unset by default. */
    readonly example?: unknown;
  }
}

export const live = { apply: "live" } as const satisfies z.GlobalMeta;
export const secret = { secret: true } as const satisfies z.GlobalMeta;
export const secretFile = { secretFile: true } as const satisfies z.GlobalMeta;

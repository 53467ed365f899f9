/** [tls], the same in all configurations. */
import type * as z from "zod";
import type { tls as tlsSchema } from "./fields.ts";

export interface TlsConfig {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export function tlsOf(tls: z.output<typeof tlsSchema> | undefined): TlsConfig | undefined {
  if (tls === undefined) return undefined;
  return { caFile: tls.ca_file, certFile: tls.cert_file, keyFile: tls.key_file };
}

/** Kinds of values that keys of several configurations have. */
import * as z from "zod";
import { secretFile } from "./meta.ts";

export const address = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[^:\s[\]]+):\d{1,5}$/, 'expected "host:port"')
  .refine((text) => !(Number(text.slice(text.lastIndexOf(":") + 1)) > 65535), "port is beyond 65535");
export const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, "expected a name of letters, digits, . _ -");
export const path = z.string().regex(/^\//, "expected an absolute path");
export const count = z.int().min(0);
export const id = z.int().min(0).max(0xffff_fffe);
export const ms = z.int().min(1).max(86_400_000);

export const tls = z
  .strictObject({
    ca_file: path
      .describe("PEM of the authority that signed all certificates")
      .meta({ example: "/etc/sublet/tls/ca.pem" }),
    cert_file: path
      .describe("PEM of this daemon's certificate")
      .meta({ example: "/etc/sublet/tls/cert.pem" }),
    key_file: path.describe("PEM of its key").meta(secretFile).meta({ example: "/etc/sublet/tls/key.pem" }),
  })
  .describe("mutual TLS between daemons; MUNGE says who is calling all the same");

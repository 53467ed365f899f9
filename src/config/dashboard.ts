/** [dashboard] of controller.toml: where its pages are served, and what a core-hour is worth. */
import * as z from "zod";
import { secretFile } from "./meta.ts";

const address = z
  .string()
  .regex(/^((\[[0-9a-fA-F:.]+\]|[^:\s[\]]+):\d{1,5})?$/, 'expected "host:port", or "" for none')
  .refine((text) => !(Number(text.slice(text.lastIndexOf(":") + 1)) > 65535), "port is beyond 65535");
const money = z.number().min(0).max(1e9);

const file = z.string().regex(/^\//, "expected an absolute path");

export const dashboardSchema = z
  .strictObject({
    listen: address
      .default("127.0.0.1:7704")
      .describe(
        'HTTP for the dashboard; "" = none. Whoever reaches it may read; the default is for a proxy or a tunnel on this machine',
      ),
    hsts_days: z
      .int()
      .min(0)
      .max(730)
      .default(0)
      .describe(
        "with tls: for so long browsers use HTTPS for every port of this host name, whatever they are told; 0: they are not told to, since a head node often serves plain HTTP beside",
      ),
    proxies: z
      .array(z.union([z.ipv4(), z.ipv6()], { error: "expected an IP address" }))
      .max(16)
      .default([])
      .describe(
        "addresses of reverse proxies whose X-Forwarded-Proto, -Host and -For count; without tls people log in by them and from this machine only",
      ),
    cluster: z
      .string()
      .max(64)
      .default("")
      .describe("name of the cluster on the pages; default: this machine's, short"),
    pages_dir: z
      .string()
      .regex(/^\//, "expected an absolute path")
      .optional()
      .describe("folder with the built pages; default: the one that came with the controller")
      .meta({ example: "/usr/share/sublet/dashboard" }),
    tls: z
      .strictObject({
        cert_file: file
          .describe("PEM of the dashboard's certificate, and of those between it and the authority's")
          .meta({ example: "/etc/sublet/tls/dashboard.pem" }),
        key_file: file
          .describe("PEM of its key: without passphrase, and not for every user to read")
          .meta(secretFile)
          .meta({ example: "/etc/sublet/tls/dashboard.key" }),
      })
      .optional()
      .describe("HTTPS for the dashboard; SIGHUP reads both files again"),
    prometheus: z
      .strictObject({
        url: z
          .url({ protocol: /^https?$/, error: 'expected "http://HOST:9090" or https' })
          .refine(
            (text) => !URL.canParse(text) || new URL(text).username === "",
            "no user here: use token_file",
          )
          .describe(
            "where this controller reaches the site's Prometheus, with the path of a prefix if it has one",
          )
          .meta({ example: "http://prometheus:9090" }),
        token_file: file
          .optional()
          .describe("a bearer token to show there; read each time")
          .meta(secretFile)
          .meta({ example: "/etc/sublet/prometheus.token" }),
        ca_file: file
          .optional()
          .describe("PEM of the authority that signed its certificate; default: those that Node knows")
          .meta({ example: "/etc/sublet/tls/ca.pem" }),
        selector: z
          .string()
          .regex(/^([a-zA-Z_]\w*=~?"[^"\\{}]*"(,(?=.)|$))*$/, 'expected labels as in "cluster=\\"alps\\""')
          .optional()
          .describe("labels of this cluster's series, where its Prometheus holds several clusters")
          .meta({ example: 'cluster="alps"' }),
      })
      .optional()
      .describe("history beyond the controller's own: the pages offer 90 days and a year"),
    price: z
      .strictObject({
        currency: z.string().min(1).max(8).default("EUR").describe("its name, as it is shown"),
        per_core_hour: money.default(0).describe("what a core-hour is worth"),
        per_gib_hour: money.default(0).describe("what a GiB of memory for an hour is worth"),
      })
      .prefault({})
      .describe("turns what was won into money; 0, 0: it is not"),
  })
  .prefault({})
  .describe("the pages that show what is lent, what it brings and what it costs");

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface PrometheusConfig {
  readonly url: string;
  readonly tokenFile: string | undefined;
  readonly caFile: string | undefined;
  /** Label matchers, with commas. */
  readonly selector: string;
}

export interface DashboardConfig {
  /** undefined: no dashboard. */
  readonly listen: string | undefined;
  readonly cluster: string;
  readonly pagesDir: string | undefined;
  /** undefined: plain HTTP. */
  readonly tls: TlsFiles | undefined;
  readonly hstsSeconds: number;
  readonly proxies: readonly string[];
  readonly prometheus: PrometheusConfig | undefined;
  readonly price:
    | { readonly currency: string; readonly perCoreHour: number; readonly perGibHour: number }
    | undefined;
}

export function dashboardConfig(found: z.output<typeof dashboardSchema>): DashboardConfig {
  const { price, tls, prometheus } = found;
  return {
    listen: found.listen === "" ? undefined : found.listen,
    cluster: found.cluster,
    pagesDir: found.pages_dir,
    tls: tls === undefined ? undefined : { certFile: tls.cert_file, keyFile: tls.key_file },
    hstsSeconds: found.hsts_days * 86_400,
    proxies: found.proxies,
    prometheus:
      prometheus === undefined
        ? undefined
        : {
            url: prometheus.url,
            tokenFile: prometheus.token_file,
            caFile: prometheus.ca_file,
            selector: prometheus.selector ?? "",
          },
    price:
      price.per_core_hour === 0 && price.per_gib_hour === 0
        ? undefined
        : {
            currency: price.currency,
            perCoreHour: price.per_core_hour,
            perGibHour: price.per_gib_hour,
          },
  };
}

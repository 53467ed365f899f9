/** The settings of agent.toml and controller.toml: name, type, default. Units are in the names. */
import * as z from "zod";
import { accountingSchema, agentAccountingSchema } from "./accounting.ts";
import { consentSchema } from "./consent.ts";
import { dashboardSchema } from "./dashboard.ts";
import { address, count, id, ms, name, path, tls } from "./fields.ts";
import { guardSchema } from "./guard.ts";
import { lendingSchema } from "./lending.ts";
import { logSchema } from "./log.ts";
import { live } from "./meta.ts";
import { receiptsSchema } from "./receipts.ts";
import { reclaimSchema } from "./reclaim.ts";

const port0 = "a host name or an IPv4 address, without port";
/** Those that functions/launch/fabric.c knows, too. */
export const fabricProviders = [
  "auto",
  "none",
  "cxi",
  "efa",
  "verbs;ofi_rxm",
  "psm3",
  "opx",
  "net",
  "tcp",
  "tcp;ofi_rxm",
] as const;
/** Absolute, and its text says what it lies below: as code_path_check() of functions/wire/code.c. */
const folder = z
  .string()
  .max(900)
  .regex(
    /^(\/(?!\.{1,2}(\/|$))[^/\p{Cc}]+)+$/u,
    "expected an absolute path without links, . or .. and no slash at its end",
  );
const cpuList = z.string().regex(/^[0-9,\-:/ ]*$/, 'expected a CPU list, as "0-3,8"');

export const agentSchema = z.strictObject({
  node: name
    .optional()
    .describe("this node as Slurm calls it; default: the host name, short")
    .meta({ example: "n1" }),
  run_dir: path.default("/run/sublet").describe("sockets of this node"),
  listen: address.default("0.0.0.0:7701").describe("gRPC for controllers and the CLI"),
  metrics_listen: address.default("0.0.0.0:7702").describe("HTTP /metrics and /healthz"),
  controllers: z.array(address).max(8).default([]).describe("controllers to report to").meta(live),
  fabric_address: z
    .string()
    .regex(/^[A-Za-z0-9.-]+$/, port0)
    .optional()
    .describe("where executors listen; default: the host of `listen`, else the first address of this machine")
    .meta({ example: "10.0.0.1" }),
  fabric_provider: z
    .enum(fabricProviders)
    .default("auto")
    .describe("how calls may come beside TCP: a provider of libfabric; auto: the first that works; none"),
  cgroup_name: name
    .optional()
    .describe("directory of our guests in each hierarchy; default sublet_<node>")
    .meta({ example: "sublet_n1" }),
  slurm_cgroup: name
    .default("slurm")
    .describe("directory of Slurm's jobs if it is not as Slurm names it by itself"),
  slurm_conf: z
    .string()
    .regex(/^(\/.+|none)$/, 'expected an absolute path or "none"')
    .optional()
    .describe(
      "names the partitions that consent.partition may; default: as Slurm looks for it, if it is there; none: do not look",
    )
    .meta(live)
    .meta({ example: "/etc/slurm/slurm.conf" }),
  native_dir: path
    .optional()
    .describe("folder with bin/ of the native programs")
    .meta({ example: "/usr/lib/sublet" }),
  cores: cpuList.default("").describe("cores that are this node's, as a CPU list (0-3,8); empty: all"),
  reserve_cores: cpuList.default("").describe("cores never lent, as a CPU list").meta(live),
  memory_mib: count
    .optional()
    .describe("this node's memory; default: what the kernel says")
    .meta({ example: 131_072 }),
  reserve_memory_mib: count.default(512).describe("memory never lent").meta(live),
  trusted_uids: z.array(id).max(64).default([0]).describe("daemon users that may act for others").meta(live),
  admin_gid: id
    .optional()
    .describe("group whose members see and end all leases")
    .meta(live)
    .meta({ example: 1000 }),
  guest_uid_first: id.default(200_000).describe("first of the user ids that guests run as"),
  guest_uid_count: z.int().min(1).max(1_000_000).default(1000).describe("how many user ids from there on"),
  pool_max: z
    .int()
    .min(0)
    .max(64)
    .default(4)
    .describe("executors kept ready for leases to come; 0: none")
    .meta(live),
  code_cache_mib: z
    .int()
    .min(0)
    .max(65_536)
    .default(256)
    .describe(
      "libraries of functions kept for the next leases of their users, in MiB; one user has half; 0: none",
    )
    .meta(live),
  code_from_paths: z
    .array(folder)
    .max(16)
    .default([])
    .describe("folders that nodes share; a library below one is read there with its user's rights, not sent")
    .meta(live),
  lease_here_first: z
    .boolean()
    .default(true)
    .describe("leases for functions that this node can serve are granted here, without a controller")
    .meta(live),
  grant_ahead: z
    .boolean()
    .default(true)
    .describe(
      "a user's next equal lease may be granted before he asks, here and on the nodes that he leases on",
    )
    .meta(live),
  lease_term_ms: ms.default(60_000).describe("term of a lease whose client asked for none").meta(live),
  lease_term_max_ms: ms
    .default(3_600_000)
    .describe("longest term that a lease is granted or renewed for")
    .meta(live),
  announce_timeout_ms: ms
    .default(10_000)
    .describe(
      "how long an announced job keeps the node closed; a twentieth of it, 2 s at most: how long one whose cgroup shows no cores yet may be silent before all leases go",
    )
    .meta(live),
  controller_timeout_ms: ms
    .default(10_000)
    .describe("how long a controller is given to find a client a lease; libsublet waits 10,000 by default")
    .meta(live),
  start_timeout_ms: ms
    .default(6_000)
    .describe(
      "how long what the agent starts is given to be ready: starter, door, own socket; an executor of a lease",
    ),
  spin_us: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(50)
    .describe("how long a worker polls before it sleeps")
    .meta(live),
  munge_socket: path
    .optional()
    .describe("socket of munged; default: libmunge's")
    .meta({ example: "/run/munge/munge.socket.2" }),
  tls: tls.optional(),
  consent: consentSchema.prefault({}),
  reclaim: reclaimSchema,
  guard: guardSchema,
  lending: lendingSchema,
  log: logSchema,
  accounting: agentAccountingSchema,
});

export const controllerSchema = z.strictObject({
  listen: address.default("0.0.0.0:7700").describe("gRPC for agents and the CLI"),
  names: z
    .array(z.string().regex(/^[A-Za-z0-9.-]{1,253}$/, "expected a host's name without its port"))
    .max(16)
    .default([])
    .describe(
      "names of this host in settings of agents and CLI, beside its host name (short, and with the domains that /etc/resolv.conf searches), its addresses, and what /etc/hosts calls them",
    )
    .meta({ example: ["head", "head.example.org"] }),
  metrics_listen: address.default("0.0.0.0:7703").describe("HTTP /metrics and /healthz"),
  poll_interval_ms: ms
    .default(10_000)
    .describe("between two looks at slurmctld, when it answers fast")
    .meta(live),
  grant_timeout_ms: ms
    .default(5_000)
    .describe("how long one node is given to grant a lease before the next best is asked")
    .meta(live),
  horizon_confidence: z
    .number()
    .min(0.5)
    .max(0.99)
    .default(0.8)
    .describe("share of the horizons of offers that hold until a job comes")
    .meta(live),
  slurm_conf: path
    .optional()
    .describe("sets SLURM_CONF for Slurm's commands")
    .meta({ example: "/etc/slurm/slurm.conf" }),
  trusted_uids: z.array(id).max(64).default([0]).describe("daemon users that may act for others").meta(live),
  admin_gid: id
    .optional()
    .describe("group whose members see and end all leases")
    .meta(live)
    .meta({ example: 1000 }),
  munge_socket: path
    .optional()
    .describe("socket of munged; default: libmunge's")
    .meta({ example: "/run/munge/munge.socket.2" }),
  state_dir: path
    .default("/var/lib/sublet")
    .describe("what outlives the controller: the accounting, the dashboard's history"),
  tls: tls.optional(),
  log: logSchema,
  accounting: accountingSchema,
  receipts: receiptsSchema,
  dashboard: dashboardSchema,
});

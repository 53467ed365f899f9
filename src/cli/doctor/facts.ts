/** What the checks of `sublet doctor` look at. Plain data: gathered by gather.ts, judged by checks.ts. */

/** The outcome of asking something: an answer, or why there was none. */
export type Asked<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly why: string };

/** spank_sublet.so, as plugstack.conf has it. */
export interface PluginFacts {
  readonly conf: string;
  /** optional or required; undefined: no line names it. */
  readonly kind: string | undefined;
  readonly path: string | undefined;
  /** Slurm's version as a number, which slurmd compares; undefined: the file has none. */
  readonly builtFor: number | undefined;
  readonly missing?: boolean;
}

/** This node by slurmctld. */
export interface SlurmNodeFacts {
  readonly cpus: number | undefined;
  /** Without those that are kept for the system; Slurm says so from 22.05 on. */
  readonly cpusForJobs: number | undefined;
  readonly specMemoryMib: number | undefined;
}

/** How Slurm and PAM of this machine are wired to us. Texts by path, as far as they are on this machine. */
export interface Wiring {
  readonly prolog: Readonly<Record<string, string>>;
  readonly epilog: Readonly<Record<string, string>>;
  /** undefined: plugstack.conf is not on this machine. */
  readonly plugin: PluginFacts | undefined;
  readonly pamAdopt: boolean;
  /** undefined: no agent here says which it is. */
  readonly node: Asked<SlurmNodeFacts> | undefined;
  readonly forcedPartitions: readonly string[];
}

/** A folder that daemons write to. */
export interface FolderFacts {
  readonly path: string;
  readonly freeBytes: number;
  /** undefined: its file system does not count them. */
  readonly freeFiles: number | undefined;
}

export interface Facts {
  /** The user who runs the doctor: some things can be seen by root only. */
  readonly uid: number;
  readonly cgroup: {
    /** Mount directory by controller, cgroup v1. */
    readonly v1: Readonly<Record<string, string>>;
    /** Mount directory of the unified hierarchy, and the controllers it has. */
    readonly v2: { readonly dir: string; readonly controllers: readonly string[] } | undefined;
    /** Hierarchies that are mounted read-only. */
    readonly readOnly: readonly string[];
  };
  readonly slurm: {
    /** Path by command; undefined when it is not installed. */
    readonly commands: Readonly<Record<string, string | undefined>>;
    /** What `scontrol ping` printed. */
    readonly ping: Asked<string>;
    /** What `scontrol show config` said, by key. */
    readonly config: Asked<Readonly<Record<string, string>>>;
    /** Text by path of the programs that Slurm runs beside jobs on this node, as far as they are scripts. */
    readonly scripts?: Readonly<Record<string, string>>;
    /** How it is wired to us; undefined where slurmctld does not answer. */
    readonly wiring?: Wiring;
  };
  /** Where agent and starter of this node write. */
  readonly folders?: readonly FolderFacts[];
  /** The uid that a credential made here was decoded to. */
  readonly munge: Asked<number>;
  readonly agent: Asked<{
    readonly node: string;
    readonly controllerConnected: boolean;
    readonly findings: Readonly<Record<string, string>>;
  }>;
  readonly agentSocket: string;
  readonly starter: Asked<{ readonly uid: number; readonly mode: number; readonly isSocket: boolean }>;
  readonly starterSocket: string;
  /** host:port; undefined when none is named. */
  readonly controller: string | undefined;
  /** Time on the controller's machine minus time here; precise to a second. */
  readonly clockOffsetMs: Asked<number> | undefined;
  /** Time zone of its accounting; undefined when no controller is named. */
  readonly accounting?: Asked<string> | undefined;
  /** IPv4 addresses of this machine that other machines may reach. */
  readonly addresses: readonly string[];
  /** By path below /proc/sys; undefined when this kernel has no such knob. */
  readonly knobs: Readonly<Record<string, string | undefined>>;
  readonly pressure: boolean;
  readonly swapBytes: number;
}

export type Result = "ok" | "warn" | "fail";

export interface Finding {
  readonly check: string;
  readonly result: Result;
  /** What was found. */
  readonly found: string;
  /** How to mend it; with every warn and fail. */
  readonly mend?: string;
}

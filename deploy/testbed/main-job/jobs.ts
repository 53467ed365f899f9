/**
 * The batch scripts of the main job's three jobs. `base` is a folder that the job user can read (see stage.ts):
 * bin/, lib/, functions/, melt.in.
 */

/** Options and rounds are the same in every run of job B, so that checksums can be compared. */
export const optionsPerRound = 2_000_000;
export const batchSize = 2000;
export const regionMib = 512;

export interface OptionsJob {
  readonly rounds: number;
  readonly leases: number;
  /** Options priced in each round; optionsPerRound if not set. */
  readonly options?: number;
  readonly regionMib?: number;
  readonly lendNode?: string;
  readonly exclude?: string;
  /** Only measure: NODE:CORES. */
  readonly probe?: string;
}

const quoted = (words: readonly (string | number)[]) =>
  words.map((word) => `'${String(word).replaceAll("'", "'\\''")}'`).join(" ");

/** MPI quietly: the testbed's nodes share one kernel and have no fabric but TCP. */
const mpi = "export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_hwloc_base_binding_policy=none OMP_NUM_THREADS=1";

/** Job A: LAMMPS. */
export function meltScript(base: string, steps: number): string {
  return `#!/bin/bash
${mpi}
srun --mpi=pmix lmp -in ${quoted([`${base}/melt.in`])} -var steps ${steps} -log none
`;
}

/** Job B: options-job, linked with libsublet. */
export function optionsScript(base: string, job: OptionsJob): string {
  const argv: (string | number)[] = [`${base}/bin/options-job`, "--library-dir", `${base}/functions`];
  if (job.probe !== undefined) argv.push("--probe", job.probe);
  else
    argv.push(
      "--options",
      job.options ?? optionsPerRound,
      "--batch",
      batchSize,
      "--rounds",
      job.rounds,
      "--leases",
      job.leases,
    );
  if (job.regionMib !== undefined) argv.push("--region-mib", job.regionMib);
  if (job.lendNode !== undefined) argv.push("--lend-node", job.lendNode);
  if (job.exclude !== undefined) argv.push("--exclude", job.exclude);
  return `#!/bin/bash
${mpi}
srun --mpi=pmix ${quoted(argv)}
`;
}

/** Job C: says where and on which cores it runs, and works for a moment. */
export function visitorScript(seconds: number): string {
  return `#!/bin/bash
srun bash -c 'echo "$(hostname) $(grep Cpus_allowed_list /proc/self/status) $(date +%s.%N)"; timeout ${seconds} bash -c "while :; do :; done"; true'
`;
}

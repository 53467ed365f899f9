/**
 * A figure of a job beside guests against the same figure when no guest ran, as in CPI² (Zhang et al., EuroSys 2013), with the
 * job as its own control: a batch job runs once, so there is no fleet to learn from. Mean and spread forget slowly, so
 * that a job that enters another phase is compared with that phase as soon as guests stood still in it for a while.
 */
const leastSamples = 5;
/** Weight of a new sample, once there are many. */
const weight = 0.1;
/** What lies within is noise. */
const deviations = 2;

export class Baseline {
  #samples = 0;
  #mean = 0;
  #variance = 0;

  /** No guest ran. */
  learn(value: number): void {
    this.#samples += 1;
    const part = Math.max(weight, 1 / this.#samples);
    const off = value - this.#mean;
    this.#mean += part * off;
    // The first sample is the mean; how far it is from nothing is no spread.
    this.#variance = this.#samples === 1 ? 0 : (1 - part) * (this.#variance + part * off * off);
  }

  /**
   * Percent by which the value is worse than what is normal for the job; 0 within its noise.
   * undefined: too little is known of the job alone.
   */
  worsePercent(value: number, bad: "above" | "below"): number | undefined {
    if (this.#samples < leastSamples || this.#mean <= 0) return undefined;
    const worse = bad === "above" ? value - this.#mean : this.#mean - value;
    return Math.max(0, (100 * (worse - deviations * Math.sqrt(this.#variance))) / this.#mean);
  }
}

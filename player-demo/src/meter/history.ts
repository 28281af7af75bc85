// A figure over the last minute, for a graph and its quantiles.

import { quantile } from "./quantile";

const KEPT_MS = 60_000;

export interface Sample {
  /** `performance.now()`. */
  readonly at: number;
  /** Milliseconds. */
  readonly value: number;
}

export class History {
  #samples: Sample[] = [];

  get samples(): readonly Sample[] {
    return this.#samples;
  }

  add(at: number, value: number): void {
    this.#samples.push({ at, value });
    const first = this.#samples.findIndex((sample) => at - sample.at <= KEPT_MS);
    this.#samples.splice(0, Math.max(0, first));
  }

  quantile(q: number): number | null {
    return quantile(
      this.#samples.map(({ value }) => value),
      q,
    );
  }

  clear(): void {
    this.#samples = [];
  }
}

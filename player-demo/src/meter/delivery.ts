// How old a part is when it arrives: looks at the end of the buffer, and whenever that has moved
// forward, notes how long ago it was live.
//
// A look every 100 ms sees an arrival up to 100 ms late; the smallest of the last ones is close.

import { quantile } from "./quantile";

/** Arrivals the figure is made of: some seconds of parts. */
const KEPT = 24;
/** Smaller moves of the buffer's end are rounding. */
const STEP_SECONDS = 0.02;
/** The share of arrivals that were seen almost at once. */
const PROMPT = 0.25;

export class DeliveryMeter {
  #end = Number.NaN;
  #lags: number[] = [];

  /** Milliseconds from a part's last instant to its being in the buffer; null while unknown. */
  get lag(): number | null {
    return quantile(this.#lags, PROMPT);
  }

  /** Looks at the buffer's end: its media time in seconds, and its age in milliseconds. */
  observe(end: number, age: number): void {
    const moved = end - this.#end;
    if (Math.abs(moved) < STEP_SECONDS) {
      return;
    }
    // Not at the first look: what is there then has come at any time before.
    if (moved > 0) {
      this.#lags.push(age);
      if (this.#lags.length > KEPT) {
        this.#lags.shift();
      }
    }
    this.#end = end;
  }

  reset(): void {
    this.#end = Number.NaN;
    this.#lags = [];
  }
}

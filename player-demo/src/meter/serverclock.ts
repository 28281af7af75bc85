// The server's clock, as seen from here: `/time` asked a few times, half the round trip taken off.
//
// The page's own clock may be off by minutes; only its monotonic part is used.

import { median } from "./quantile";

const ROUND_TRIPS = 7;
/** Two quartz clocks drift apart by less than 5 ms in this time. */
const REFRESH_MS = 60_000;
/** Until the first measurement succeeds. */
const RETRY_MS = 3_000;

export class ServerClock {
  #offset: number | null = null;

  /** Milliseconds since the epoch on the server at a `performance.now()`; null until measured. */
  at(monotonic: number): number | null {
    return this.#offset === null ? null : monotonic + this.#offset;
  }

  /** Server's clock now; the page's own until the server's is known. */
  nearly(): number {
    return this.at(performance.now()) ?? Date.now();
  }

  /** Measures now and from time to time, until the signal. */
  async keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const offset = await measure(signal).catch(() => null);
      this.#offset = offset ?? this.#offset;
      await pause(this.#offset === null ? RETRY_MS : REFRESH_MS, signal);
    }
  }
}

async function measure(signal: AbortSignal): Promise<number | null> {
  const offsets: number[] = [];
  for (let trip = 0; trip < ROUND_TRIPS; trip++) {
    const sent = performance.now();
    const response = await fetch("/time", { cache: "no-store", signal });
    // The date is taken when the answer is made: what comes after the headers is not its fault.
    const received = performance.now();
    const server = Date.parse((await response.text()).trim());
    // The first trip pays for the connection.
    if (response.ok && !Number.isNaN(server) && trip > 0) {
      offsets.push(server - (sent + received) / 2);
    }
  }
  return median(offsets);
}

function pause(millis: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, millis);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

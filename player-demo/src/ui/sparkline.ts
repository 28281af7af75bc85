// The last minute of the latency, as a line.

import type { LatencySample } from "../meter/latency";

const SPAN_MS = 60_000;
const WIDTH = 300;
const HEIGHT = 56;
const MARGIN = 3;

/** Points of a polyline in a 300 × 56 box: the newest at the right, zero at the bottom. */
export function sparkline(samples: readonly LatencySample[]): string {
  const measured = samples.filter(({ latency }) => latency !== null);
  const newest = measured.at(-1)?.at ?? 0;
  const top = Math.max(500, ...measured.map(({ latency }) => latency ?? 0)) * 1.1;
  return measured
    .filter(({ at }) => newest - at < SPAN_MS)
    .map(({ at, latency }) => {
      const x = WIDTH - ((newest - at) / SPAN_MS) * WIDTH;
      const y = HEIGHT - MARGIN - ((latency ?? 0) / top) * (HEIGHT - 2 * MARGIN);
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    })
    .join(" ");
}

// The last minute of the latency, as a line.

import type { LatencySample } from "../meter/latency";

const SPAN_MS = 60_000;
const WIDTH = 300;
const HEIGHT = 56;
const MARGIN = 3;

export interface Sparkline {
  /** Points of the line. */
  readonly line: string;
  /** Points of the area under it. */
  readonly area: string;
}

/** Points in a 300 × 56 box: the newest at the right, zero at the bottom. */
export function sparkline(samples: readonly LatencySample[]): Sparkline {
  const measured = samples.filter(({ latency }) => latency !== null);
  const newest = measured.at(-1)?.at ?? 0;
  const top = Math.max(500, ...measured.map(({ latency }) => latency ?? 0)) * 1.1;
  const shown = measured.filter(({ at }) => newest - at < SPAN_MS);
  const line = shown
    .map(({ at, latency }) => {
      const y = HEIGHT - MARGIN - ((latency ?? 0) / top) * (HEIGHT - 2 * MARGIN);
      return `${x(newest - at)},${y.toFixed(1)}`;
    })
    .join(" ");
  const oldest = shown[0];
  const area = oldest ? `${x(newest - oldest.at)},${HEIGHT} ${line} ${WIDTH},${HEIGHT}` : "";
  return { line, area };
}

function x(age: number): string {
  return (WIDTH - (age / SPAN_MS) * WIDTH).toFixed(1);
}

// The tick the demo broadcaster sounds at every whole second S, and how to hear it.
//
// 20 ms of 1000 Hz, then eight bits of 15 ms each, 2000 Hz for 0 and 3000 Hz for 1: S modulo 64,
// most significant bit first, and two check bits.
//
// A pure function over samples: no Web Audio, no clock.

const START_HZ = 1000;
const START_SECONDS = 0.02;
const BIT_HZ = [2000, 3000] as const;
const BIT_SECONDS = 0.015;
const BITS = 8;
/** How long a whole tick lasts. */
export const TICK_SECONDS = START_SECONDS + BITS * BIT_SECONDS;

/** Steps in which a tick's beginning is looked for; the precision of its date. */
const STEP_SECONDS = 0.001;
/** Below this mean square (about -50 dB) it is silence. */
const SILENCE = 1e-5;
/** The share of a window's power that must be in the tone that is looked for. */
const PURITY = 0.6;
/** The same of each single tone: where sound breaks off within a tick, the rest says nothing. */
const LEAST_PURITY = 0.5;

export interface Tick {
  /** The whole second it stands for, modulo 64. */
  readonly second: number;
  /** Index of the tick's first sample. */
  readonly at: number;
}

export function checkBits(second: number): number {
  return (second ^ (second >> 2) ^ (second >> 4)) & 3;
}

/** The first whole tick in the samples, or null. */
export function findTick(samples: Float32Array, rate: number): Tick | null {
  const step = Math.round(rate * STEP_SECONDS);
  const last = samples.length - Math.ceil(rate * TICK_SECONDS);
  for (let at = 0; at <= last; at += step) {
    if (toneShare(samples, rate, START_HZ, at, START_SECONDS) < PURITY) {
      continue;
    }
    const tick = bestNear(samples, rate, at, Math.min(last, at + Math.round(rate * START_SECONDS)), step);
    if (tick) {
      return tick;
    }
    at += Math.round(rate * START_SECONDS);
  }
  return null;
}

// The start tone is recognised before it has wholly entered the window: of the positions after
// that, the best is the one where all nine tones fit.
function bestNear(samples: Float32Array, rate: number, from: number, to: number, step: number): Tick | null {
  let best: Tick | null = null;
  let bestScore = 0;
  for (let at = from; at <= to; at += step) {
    let score = toneShare(samples, rate, START_HZ, at, START_SECONDS);
    let least = score;
    let value = 0;
    for (let bit = 0; bit < BITS; bit++) {
      const begin = at + Math.round(rate * (START_SECONDS + bit * BIT_SECONDS));
      const [zero, one] = BIT_HZ.map((hz) => toneShare(samples, rate, hz, begin, BIT_SECONDS)) as [number, number];
      value = value * 2 + Number(one > zero);
      score += Math.max(zero, one);
      least = Math.min(least, Math.max(zero, one));
    }
    const second = value >> 2;
    if (score > bestScore && score > PURITY * (BITS + 1) && least > LEAST_PURITY && checkBits(second) === (value & 3)) {
      best = { second, at };
      bestScore = score;
    }
  }
  return best;
}

// The share of a window's power that is at one frequency (Goertzel), 0 to 1.
function toneShare(samples: Float32Array, rate: number, hz: number, from: number, seconds: number): number {
  const length = Math.round(rate * seconds);
  const coefficient = 2 * Math.cos((2 * Math.PI * hz) / rate);
  let before = 0;
  let earlier = 0;
  let power = 0;
  for (let index = from; index < from + length; index++) {
    const sample = samples[index] ?? 0;
    const now = sample + coefficient * before - earlier;
    earlier = before;
    before = now;
    power += sample * sample;
  }
  if (power / length < SILENCE) {
    return 0;
  }
  const tone = before * before + earlier * earlier - coefficient * before * earlier;
  return (2 * tone) / (length * power);
}

import { describe, expect, test } from "vitest";
import { checkBits, findTick, TICK_SECONDS } from "../src/meter/tick";

// The tick as a broadcaster sounds it, with a 1 ms rise and fall.
function sound(second: number, at: number, length: number, rate: number, gain = 0.25): Float32Array {
  const code = (second << 2) | checkBits(second);
  const samples = new Float32Array(length);
  const total = Math.round(rate * TICK_SECONDS);
  for (let index = 0; index < total && at + index < length; index++) {
    const millis = (index / rate) * 1000;
    const bit = Math.min(7, Math.floor((millis - 20) / 15));
    const hz = millis < 20 ? 1000 : (code >> (7 - bit)) & 1 ? 3000 : 2000;
    const ramp = Math.min(1, Math.min(index, total - index) / (rate / 1000));
    samples[at + index] = gain * ramp * Math.sin((2 * Math.PI * hz * index) / rate);
  }
  return samples;
}

// Reproducible noise.
function withNoise(samples: Float32Array, level: number): Float32Array {
  let state = 1;
  return samples.map((sample) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return sample + level * (state / 2 ** 31 - 1);
  });
}

describe("a tick", () => {
  test.each([48_000, 44_100])("of every second is heard at %i Hz, on the millisecond", (rate) => {
    for (let second = 0; second < 64; second++) {
      const at = 5_000 + second * 37;
      const tick = findTick(sound(second, at, 16_384, rate), rate);
      expect(tick?.second).toBe(second);
      expect(Math.abs((tick?.at ?? 0) - at)).toBeLessThanOrEqual(rate / 1000);
    }
  });

  test("is heard through noise", () => {
    const tick = findTick(withNoise(sound(42, 3_000, 16_384, 48_000), 0.05), 48_000);
    expect(tick?.second).toBe(42);
    expect(Math.abs((tick?.at ?? 0) - 3_000)).toBeLessThanOrEqual(96);
  });

  test("that is cut off at the end is not heard yet", () => {
    expect(findTick(sound(42, 12_000, 16_384, 48_000), 48_000)).toBeNull();
  });

  test("that breaks off into silence says nothing", () => {
    const rate = 48_000;
    for (let second = 0; second < 64; second++) {
      for (let bit = 0; bit < 8; bit++) {
        const broken = sound(second, 3_000, 16_384, rate);
        broken.fill(0, 3_000 + Math.round(rate * (0.02 + bit * 0.015)));
        expect(findTick(broken, rate)).toBeNull();
      }
    }
  });

  test("with a wrong check bit is refused", () => {
    const rate = 48_000;
    const right = sound(21, 0, 8_192, rate);
    const wrong = right.slice();
    const last = Math.round(rate * (TICK_SECONDS - 0.015));
    const hz = checkBits(21) & 1 ? 2000 : 3000;
    for (let index = last; index < rate * TICK_SECONDS; index++) {
      wrong[index] = 0.25 * Math.sin((2 * Math.PI * hz * index) / rate);
    }
    expect(findTick(right, rate)?.second).toBe(21);
    expect(findTick(wrong, rate)).toBeNull();
  });
});

describe("what is no tick", () => {
  test("is silence", () => {
    expect(findTick(new Float32Array(16_384), 48_000)).toBeNull();
  });

  test("is noise", () => {
    expect(findTick(withNoise(new Float32Array(16_384), 0.5), 48_000)).toBeNull();
  });

  test("is a steady tone of 1000 Hz", () => {
    const tone = Float32Array.from({ length: 16_384 }, (_, index) => Math.sin((2 * Math.PI * index) / 48));
    expect(findTick(tone, 48_000)).toBeNull();
  });
});

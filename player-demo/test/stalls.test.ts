import { describe, expect, test } from "vitest";
import { StallMeter } from "../src/meter/stalls";

const LOOK = 100;

// Looks at playback every 100 ms: `steps` are the media seconds it moved between looks.
function watch(meter: StallMeter, from: number, steps: readonly number[], wanted = true): number {
  let now = from;
  let time = from / 1000;
  for (const step of steps) {
    now += LOOK;
    time += step;
    meter.observe(now, { time, wanted });
  }
  return now;
}

const playing = (looks: number) => Array.from({ length: looks }, () => 0.1);
const frozen = (looks: number) => Array.from({ length: looks }, () => 0);

describe("a stall", () => {
  test("is a picture that stands still, and lasts until it moves", () => {
    const meter = new StallMeter();
    watch(meter, 0, [...playing(5), ...frozen(10), ...playing(3)]);
    expect(meter.count).toBe(1);
    expect(meter.millis).toBe(1100);
  });

  test("told by the player and seen in the picture counts once", () => {
    const meter = new StallMeter();
    const now = watch(meter, 0, playing(5));
    meter.waiting(now + 10, { time: 0.5, wanted: true });
    for (let look = 1; look <= 10; look++) {
      meter.observe(now + look * LOOK, { time: 0.5, wanted: true });
    }
    expect(meter.count).toBe(1);
  });

  test("told by the player counts even if it is short", () => {
    const meter = new StallMeter();
    const now = watch(meter, 0, playing(5));
    meter.waiting(now + 10, { time: 0.55, wanted: true });
    meter.observe(now + LOOK, { time: 0.55, wanted: true });
    meter.observe(now + 2 * LOOK, { time: 0.6, wanted: true });
    expect(meter.count).toBe(1);
    expect(meter.millis).toBe(190);
  });
});

describe("no stall", () => {
  test("is waiting for the first picture", () => {
    const meter = new StallMeter();
    meter.waiting(10, { time: 0, wanted: true });
    watch(meter, 0, frozen(50));
    expect(meter.count).toBe(0);
  });

  test("is the jump to the live edge and the wait behind it", () => {
    const meter = new StallMeter();
    watch(meter, 0, [0, 30, ...frozen(20), ...playing(5)]);
    expect(meter.count).toBe(0);
  });

  test("is a pause", () => {
    const meter = new StallMeter();
    const now = watch(meter, 0, playing(5));
    for (let look = 1; look <= 50; look++) {
      meter.observe(now + look * LOOK, { time: 0.5, wanted: false });
    }
    meter.observe(now + 51 * LOOK, { time: 0.6, wanted: true });
    expect(meter.count).toBe(0);
  });

  test("is a wait that is told and over before anybody sees it", () => {
    const meter = new StallMeter();
    const now = watch(meter, 0, playing(5));
    meter.waiting(now + 10, { time: 0.51, wanted: true });
    watch(meter, now, playing(5));
    expect(meter.count).toBe(0);
    expect(meter.millis).toBe(0);
  });

  test("is a hiccup of a few frames", () => {
    const meter = new StallMeter();
    watch(meter, 0, [...playing(5), ...frozen(3), ...playing(5)]);
    expect(meter.count).toBe(0);
  });
});

describe("a player made anew", () => {
  test("ends the stall, and its start is none", () => {
    const meter = new StallMeter();
    const now = watch(meter, 0, [...playing(5), ...frozen(20)]);
    expect(meter.stalledFor(now)).toBe(2000);
    meter.rearm(now);
    expect(meter.stalledFor(now + 100)).toBe(0);
    watch(meter, now, frozen(30));
    expect(meter.count).toBe(1);
    expect(meter.millis).toBe(2000);
  });
});

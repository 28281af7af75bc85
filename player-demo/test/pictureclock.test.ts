import { describe, expect, test } from "vitest";
import { pictureClock } from "../src/meter/pictureclock";

const shown = [
  { at: 1000, clock: 50_000 },
  { at: 1100, clock: 50_100 },
  { at: 1200, clock: 50_250 },
  { at: 1300, clock: 52_000 },
];

describe("the picture's clock", () => {
  test("is a frame's own when it was shown", () => {
    expect(pictureClock(shown, 1100)).toBe(50_100);
  });

  test("goes on between frames, at the speed of playback", () => {
    expect(pictureClock(shown, 1040)).toBe(50_040);
    expect(pictureClock(shown, 1150)).toBe(50_175);
  });

  test("goes on for a moment after the newest frame, and no longer", () => {
    expect(pictureClock(shown, 1320)).toBe(52_020);
    expect(pictureClock(shown, 1900)).toBeNull();
  });

  test("is not known across a jump, before the first frame, and without frames", () => {
    expect(pictureClock(shown, 1250)).toBeNull();
    expect(pictureClock(shown, 900)).toBeNull();
    expect(pictureClock([], 900)).toBeNull();
  });
});

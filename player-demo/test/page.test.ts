import { describe, expect, test } from "vitest";
import { median, quantile } from "../src/meter/quantile";
import { renditionOf } from "../src/players/rendition";
import { manifestUrl } from "../src/players/player";
import { age, signedMillis } from "../src/ui/format";
import { sparkline } from "../src/ui/sparkline";

describe("a rendition's name", () => {
  test("is the folder of its media playlist", () => {
    expect(renditionOf("http://host/live/demo/720p/index.m3u8", 720)).toBe("720p");
    expect(renditionOf("http://host/live/demo/source/index.m3u8?x=1", 1080)).toBe("source");
  });

  test("is its height where the URL tells nothing", () => {
    expect(renditionOf("http://host/media_0.m3u8", 360)).toBe("360p");
  });
});

test("a channel's manifest is where the server publishes it", () => {
  expect(manifestUrl("demo", "hls")).toBe("/live/demo/index.m3u8");
  expect(manifestUrl("demo", "dash")).toBe("/live/demo/manifest.mpd");
});

describe("a quantile", () => {
  test("is by nearest rank, of unsorted samples", () => {
    const samples = [5, 1, 4, 2, 3];
    expect(median(samples)).toBe(3);
    expect(quantile(samples, 0.95)).toBe(5);
    expect(quantile(samples, 0)).toBe(1);
  });

  test("of nothing is nothing", () => {
    expect(median([])).toBeNull();
  });
});

test("an offset is told with its direction", () => {
  expect(signedMillis(12.4)).toBe("+12 ms");
  expect(signedMillis(-3.6)).toBe("−4 ms");
  expect(signedMillis(-0.3)).toBe("0 ms");
});

test("an age is told in its largest unit", () => {
  expect([age(-5), age(59_000), age(61_000), age(7_300_000), age(90_000_000)]).toEqual(["0 s", "59 s", "1 min", "2 h", "1 d"]);
});

test("the line ends at the right and leaves out what is older than a minute", () => {
  const { line } = sparkline([
    { at: 0, clock: 0, latency: 900 },
    { at: 50_000, clock: 0, latency: null },
    { at: 60_000, clock: 0, latency: 1000 },
    { at: 90_000, clock: 0, latency: 500 },
  ]);
  const points = line.split(" ").map((point) => Number(point.split(",")[0]));
  expect(points).toEqual([150, 300]);
});

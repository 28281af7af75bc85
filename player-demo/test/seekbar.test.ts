import { describe, expect, test } from "vitest";
import { back } from "../src/ui/seekbar";
import { listOf, stillAt, stillsOf } from "../src/ui/stills";

const LIST = `#EXTM3U
#EXT-X-IMAGES-ONLY
#EXT-X-PROGRAM-DATE-TIME:2026-11-25T19:00:00.000Z
#EXTINF:1.60000,
#EXT-X-TILES:RESOLUTION=170x96,LAYOUT=1x1,DURATION=1.60000
../019/96p.stills/10.jpg
#EXTINF:1.60000,
#EXT-X-GAP
#EXT-X-TILES:RESOLUTION=170x96,LAYOUT=1x1,DURATION=1.60000
../019/96p.stills/11.jpg
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-11-25T19:00:03.200Z
#EXTINF:1.60000,
#EXT-X-TILES:RESOLUTION=170x96,LAYOUT=1x1,DURATION=1.60000
../01a/96p.stills/12.jpg
`;

describe("stills", () => {
  const stills = stillsOf(LIST, "http://h/live/a/96p/images.m3u8");
  const at = Date.UTC(2026, 10, 25, 19);

  test("are read with their dates and addresses", () => {
    expect(stills).toEqual([
      { date: at, seconds: 1.6, url: "http://h/live/a/019/96p.stills/10.jpg" },
      { date: at + 3_200, seconds: 1.6, url: "http://h/live/a/01a/96p.stills/12.jpg" },
    ]);
  });

  test("stand until the next, and not long over a gap", () => {
    expect(stillAt(stills, at - 1)).toBeNull();
    expect(stillAt(stills, at + 1_000)?.date).toBe(at);
    expect(stillAt(stills, at + 3_000)).toBeNull();
    expect(stillAt(stills, at + 4_000)?.date).toBe(at + 3_200);
    expect(stillAt(stills, at + 60_000)).toBeNull();
  });

  test("are listed where the multivariant playlist says, if it does", () => {
    const tag = '#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=9,RESOLUTION=170x96,CODECS="jpeg",URI="96p/images.m3u8"';
    expect(listOf(`#EXTM3U\n${tag}\n`, "http://h/live/a/index.m3u8")).toBe("http://h/live/a/96p/images.m3u8");
    expect(listOf("#EXTM3U\n", "http://h/live/a/index.m3u8")).toBeNull();
  });
});

test("how far back something is reads as on a clock", () => {
  expect([0, 65, 600, 3_725].map(back)).toEqual(["−0:00", "−1:05", "−10:00", "−1:02:05"]);
});

import { describe, expect, test } from "vitest";
import { keyFrameAt, keyFramesOf } from "../src/ui/keyframes";
import { back } from "../src/ui/seekbar";

const LIST = `#EXTM3U
#EXT-X-I-FRAMES-ONLY
#EXT-X-MAP:URI="../019/96p/init.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-25T19:00:00.000Z
#EXTINF:1.60000,
#EXT-X-BYTERANGE:500@0
../019/96p/10.m4s
#EXTINF:1.60000,
#EXT-X-GAP
../019/96p/11.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="../01a/96p/init.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-25T19:00:03.200Z
#EXTINF:1.60000,
../01a/96p/12.m4s
`;

describe("key frames", () => {
  const frames = keyFramesOf(LIST, "http://h/live/a/96p/iframes.m3u8");
  const at = Date.UTC(2026, 10, 25, 19);

  test("are read with their dates, their init segments and addresses of their own", () => {
    expect(frames).toEqual([
      { date: at, seconds: 1.6, init: "http://h/live/a/019/96p/init.mp4", url: "http://h/live/a/019/96p.keys/10.m4s" },
      { date: at + 3_200, seconds: 1.6, init: "http://h/live/a/01a/96p/init.mp4", url: "http://h/live/a/01a/96p.keys/12.m4s" },
    ]);
  });

  test("stand until the next, and not long over a gap", () => {
    expect(keyFrameAt(frames, at - 1)).toBeNull();
    expect(keyFrameAt(frames, at + 1_000)?.date).toBe(at);
    expect(keyFrameAt(frames, at + 3_000)).toBeNull();
    expect(keyFrameAt(frames, at + 4_000)?.date).toBe(at + 3_200);
    expect(keyFrameAt(frames, at + 60_000)).toBeNull();
  });
});

test("how far back something is reads as on a clock", () => {
  expect([0, 65, 600, 3_725].map(back)).toEqual(["−0:00", "−1:05", "−10:00", "−1:02:05"]);
});

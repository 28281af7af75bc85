import { describe, expect, test } from "vitest";
import { encode, stateOf, Token } from "../src/beacon";
import { DeliveryMeter } from "../src/meter/delivery";
import { History } from "../src/meter/history";
import { median, quantile } from "../src/meter/quantile";
import { ofPictures, split, total } from "../src/meter/stages";
import { origins } from "../src/players/origins";
import { renditionOf } from "../src/players/rendition";
import { manifestUrl } from "../src/players/player";
import { inStereo } from "../src/players/sdp";
import { age, signedMillis } from "../src/ui/format";
import { lanes, path, scaleFor } from "../src/ui/graph";

describe("a rendition's name", () => {
  test("is the folder of its media playlist", () => {
    expect(renditionOf("http://host/live/demo/720p/index.m3u8", 720)).toBe("720p");
    expect(renditionOf("http://host/live/demo/source/index.m3u8?x=1", 1080)).toBe("source");
  });

  test("is its height where the URL tells nothing", () => {
    expect(renditionOf("http://host/media_0.m3u8", 360)).toBe("360p");
  });
});

test("sound by WebRTC is in stereo", () => {
  const offer = "a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\n";
  expect(inStereo(offer)).toContain("a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n");
});

test("a channel's manifest is where the server publishes it", () => {
  expect(manifestUrl("", "demo", "hls")).toBe("/live/demo/index.m3u8");
  expect(manifestUrl("http://localhost:8080", "demo", "dash")).toBe("http://localhost:8080/live/demo/manifest.mpd");
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

describe("the graph", () => {
  test("ends at the right and leaves out what is older than a minute", () => {
    const samples = [0, 60_000, 90_000].map((at) => ({ at, value: 500 }));
    expect(path(samples, 90_000, 1_000)).toBe("M500.0 50.00M1000.0 50.00");
  });

  test("joins what follows closely and leaves holes open", () => {
    const samples = [0, 500, 4_000, 4_500].map((at) => ({ at, value: 0 }));
    expect(path(samples, 60_000, 1_000).replace(/[0-9. ]+/g, "")).toBe("MLML");
  });

  test("has a scale from zero with few lines and air above", () => {
    expect(scaleFor(0)).toEqual({ top: 1_000, ticks: [0, 0.25, 0.5, 0.75, 1] });
    expect(scaleFor(1_400).top).toBe(2_000);
    expect(scaleFor(1_400).ticks).toEqual([0, 0.5, 1, 1.5, 2]);
    expect(scaleFor(7_000).ticks).toEqual([0, 2, 4, 6, 8]);
    expect(scaleFor(400_000).ticks.length).toBeLessThanOrEqual(6);
  });
});

describe("ad breaks behind the graph", () => {
  const shown = 1_795_000_000_000;

  test("lie where their pictures were on the screen", () => {
    const seen = [{ start_ms: shown - 45_000, end_ms: shown - 30_000 }];
    expect(lanes(seen, shown)).toEqual([{ left: 0.25, width: 0.25 }]);
  });

  test("are cut where the minute begins and ends, and left out where they are not in it", () => {
    const on = { start_ms: shown - 15_000, end_ms: shown + 15_000 };
    const leaving = { start_ms: shown - 90_000, end_ms: shown - 45_000 };
    const gone = { start_ms: shown - 90_000, end_ms: shown - 75_000 };
    const coming = { start_ms: shown + 5_000, end_ms: shown + 20_000 };
    expect(lanes([gone, leaving, on, coming], shown)).toEqual([
      { left: 0, width: 0.25 },
      { left: 0.75, width: 0.25 },
    ]);
  });
});

describe("the last minute", () => {
  test("forgets what is older", () => {
    const history = new History();
    for (let at = 0; at <= 120_000; at += 1_000) {
      history.add(at, at < 60_000 ? 9_000 : 1_000);
    }
    expect(history.samples.length).toBe(61);
    expect(history.quantile(0.95)).toBe(1_000);
  });
});

describe("two players", () => {
  const at = (url: string) => origins(new URL(url) as unknown as Location);

  test("use loopback's two names", () => {
    expect(at("http://127.0.0.1:8080/watch/demo")).toEqual({ second: "http://localhost:8080", crowded: false });
    expect(at("http://localhost:8080/")).toEqual({ second: "http://127.0.0.1:8080", crowded: false });
    expect(at("http://localhost/")).toEqual({ second: "http://127.0.0.1", crowded: false });
  });

  test("share one HTTP/2 connection, or are told that they are crowded", () => {
    expect(at("https://tv.example/watch/demo")).toEqual({ second: "", crowded: false });
    expect(at("http://tv.example:8080/watch/demo")).toEqual({ second: "", crowded: true });
  });
});

describe("stages", () => {
  const server = { ingest_ms: 20, encode_ms: 30, part_ms: 270, package_ms: 2 };

  test("add up to what was measured", () => {
    const ages = { glass: 1_300, media: 1_240, delivery: 45 };
    expect(total(ages, server)).toBe(1_300);
    expect(split(ages, server)).toEqual({ ingest: 60, encode: 30, part: 270, edge: 13, buffer: 927 });
  });

  test("without a clock in the picture go by the media's date", () => {
    const ages = { glass: null, media: 1_240, delivery: null };
    expect(total(ages, server)).toBe(1_260);
    expect(split(ages, server)).toEqual({ ingest: 20, encode: 30, part: 270, edge: null, buffer: 940 });
    expect(split({ glass: null, media: null, delivery: null }, null).buffer).toBeNull();
  });

  test("of a channel that encodes nothing have no encoder", () => {
    const passed = { ...server, encode_ms: null };
    expect(split({ glass: 1_000, media: 980, delivery: 10 }, passed)).toEqual({
      ingest: 20,
      encode: null,
      part: 270,
      edge: 8,
      buffer: 702,
    });
  });
});

describe("a preview's stages", () => {
  test("have no part that is waited for", () => {
    const server = ofPictures({ ingest_ms: 20, encode_ms: 30, part_ms: 270, package_ms: 2 });
    expect(split({ glass: 90, media: null, delivery: null }, server)).toEqual({
      ingest: 20,
      encode: 30,
      part: null,
      edge: null,
      buffer: 40,
    });
    expect(ofPictures(null)).toBeNull();
  });
});

describe("a delivery meter", () => {
  test("notes the age of the buffer's end when it moves, and no more often", () => {
    const meter = new DeliveryMeter();
    meter.observe(10, 500);
    expect(meter.lag).toBeNull();
    for (let part = 1; part <= 8; part++) {
      meter.observe(10 + part * 0.25, part % 2 ? 40 : 90);
      meter.observe(10 + part * 0.25, 140);
    }
    expect(meter.lag).toBe(40);
  });
});

describe("a report", () => {
  test("is a dictionary in its order, without what is unknown or false", () => {
    const report = encode({ v: 2, sid: 'a"b', bs: true, br: [3000], ltc: null, bsd: false, e: new Token("ps") });
    expect(report).toBe('br=(3000),bs,e=ps,sid="a\\"b",v=2');
  });

  test("tells the player's state in the words of CMCD", () => {
    const still = { playing: false, stalled: false };
    const state = (kind: "waiting" | "playing" | "ended", now = still, paused = false) =>
      stateOf({ kind }, now, paused);
    expect([state("waiting"), state("ended")]).toEqual(["w", "e"]);
    expect(stateOf({ kind: "starting", after: null }, still, false)).toBe("s");
    expect(state("playing", { playing: true, stalled: false })).toBe("p");
    expect(state("playing", { playing: true, stalled: true })).toBe("r");
    expect(state("playing", still, true)).toBe("a");
    expect(stateOf({ kind: "failed", problem: "" }, still, false)).toBe("f");
  });
});

import type { Fragment, Part } from "hls.js";
import { describe, expect, it } from "vitest";
import { markUnfinished, type Lists } from "../src/players/parts";

const stream = { startPTS: 0, endPTS: 1, startDTS: 0, endDTS: 1 };
const frag = (sn: number, type = "main") => ({ sn, type, level: 0, elementaryStreams: { video: { ...stream }, audio: null } }) as unknown as Fragment;
const part = (sn: number, index: number, loaded = false) => ({ fragment: frag(sn), index, loaded }) as unknown as Part;
const lists = (...partList: Part[]): Lists => ({ levels: [{ details: { partList } }], audioTracks: [{ details: { partList: [] } }], audioTrack: 0 }) as unknown as Lists;
const partial = ({ elementaryStreams }: Fragment) => elementaryStreams.video?.partial;

describe("a segment that is loaded by its parts", () => {
  it("is unfinished while a later part of it is listed and not loaded", () => {
    const segment = frag(7);
    markUnfinished(lists(part(7, 0, true), part(7, 1), part(7, 2)), segment, part(7, 1));
    expect(partial(segment)).toBe(true);
  });

  it("is finished with its last part, whatever comes after it", () => {
    const segment = frag(7);
    markUnfinished(lists(part(7, 0, true), part(7, 1), part(8, 0)), segment, part(7, 0));
    expect(partial(segment)).toBe(true);
    markUnfinished(lists(part(7, 0, true), part(7, 1, true), part(8, 0)), segment, part(7, 1));
    expect(partial(segment)).toBe(false);
  });

  it("is judged by the sound's own parts where it is sound, and left alone where it is loaded whole", () => {
    const sound = frag(7, "audio");
    markUnfinished(lists(part(7, 1)), sound, part(7, 0));
    expect(partial(sound)).toBe(false);
    const whole = frag(7);
    markUnfinished(lists(part(7, 1)), whole, null);
    expect(partial(whole)).toBeUndefined();
  });
});

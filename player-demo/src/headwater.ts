// `window.headwater`: the page's live measurements, for tests and for the curious.

import type { Split } from "./meter/stages";
import type { Format, Level } from "./players/player";

/** All numbers are as of the moment of reading. */
export interface Measurements {
  readonly format: Format;
  /** The picture is moving. */
  readonly playing: boolean;
  /** Name of the rendition on the screen. */
  readonly rendition: string | null;
  /** `auto`, or the name of the rendition that was asked for. */
  readonly selected: string;
  readonly levels: readonly Level[];
  /** Size of the decoded picture. */
  readonly width: number;
  readonly height: number;
  readonly bufferSeconds: number;
  readonly droppedFrames: number;
  /** Since this page was opened. */
  readonly stalls: number;
  readonly stallSeconds: number;
  /** Times a player had to be made anew after a failure. */
  readonly restarts: number;
  /** The picture stands though it should move. */
  readonly stalled: boolean;
  /** Glass to glass: median of the last second's samples. */
  readonly latencyMs: number | null;
  /** The last minute's samples, oldest first. */
  readonly latencySamples: readonly number[];
  /** How old the media on the screen is by its own date (PROGRAM-DATE-TIME, or the MPD's timeline). */
  readonly mediaAgeMs: number | null;
  /** Where that time goes, in milliseconds. */
  readonly stages: Split;
  /** The instant drawn into the newest picture that was read. */
  readonly clockMillis: number | null;
  /** By how much the sound comes after the picture. */
  readonly avOffsetMs: number | null;
  readonly muted: boolean;
  /** From the start of the player to its first picture. */
  readonly timeToFirstFrameMs: number | null;
  /** The last failure in words, until playback goes on. */
  readonly error: string | null;
}

/** The first player's measurements stand in `window.headwater` itself, all players' in `panes`. */
export type Headwater = Measurements & {
  select(rendition: string): void;
  readonly panes: readonly Measurements[];
};

declare global {
  interface Window {
    readonly headwater: Headwater;
  }
}

/** Makes `window.headwater`; each property is measured when it is read. */
export function exposeHeadwater(measure: () => readonly Measurements[], select: (rendition: string) => void): void {
  const live = Object.fromEntries(
    Object.keys(measure()[0] ?? {}).map((key) => [
      key,
      { enumerable: true, get: () => measure()[0]?.[key as keyof Measurements] },
    ]),
  );
  const headwater = Object.freeze(
    Object.defineProperties(
      {},
      { ...live, panes: { enumerable: true, get: measure }, select: { enumerable: true, value: select } },
    ),
  );
  Object.defineProperty(window, "headwater", { value: headwater, enumerable: true });
}

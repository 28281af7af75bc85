// What the page needs of a player: one small interface over hls.js, dash.js and WebRTC.

export type Format = "hls" | "dash" | "webrtc";

/** A rendition that can be chosen. */
export interface Level {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  /** Bits per second. */
  readonly bitrate: number;
}

export interface PlayerEvents {
  /** The renditions are known, or have changed. */
  levels(): void;
  /** Something failed that the player means to get over; the words are for a person. */
  troubled(problem: string): void;
  /** Playback can't go on with this player; the words are for a person. */
  failed(problem: string): void;
}

export interface Player {
  readonly format: Format;
  /** Renditions, best first; empty until the manifest is there. */
  levels(): readonly Level[];
  /** Name of the rendition on the screen; null before the first picture. */
  playing(): string | null;
  /** Plays this rendition from the next segment on; `auto` leaves it to the player again. */
  select(name: string): void;
  /** Goes back to where a viewer who joins now would start. */
  seekToLive(): void;
  /** Goes to a time of the element, and stays as far behind the live edge as that is. */
  seek(time: number): void;
  /** The date of what is on the screen, milliseconds since the epoch; null before the first picture. */
  date(): number | null;
  destroy(): void;
}

export const AUTO = "auto";

/** Where a channel is played from; `origin` is empty for the page's own. */
export function manifestUrl(origin: string, channel: string, format: Format): string {
  return `${origin}/live/${encodeURIComponent(channel)}/${RESOURCES[format]}`;
}

const RESOURCES: Record<Format, string> = { hls: "index.m3u8", dash: "manifest.mpd", webrtc: "whep" };

// A viewer of HLS never fetches dash.js, nor the other way round.
const CODE = {
  hls: () => import("./hls"),
  dash: () => import("./dash"),
  webrtc: () => import("./webrtc"),
};

/** Fetches a player's code before it is needed. */
export function preload(format: Format): void {
  // A failure shows again, and is told, when the player is made.
  CODE[format]().catch(() => undefined);
}

/** What is played. */
export interface Source {
  /** Where the media comes from; empty for the page's own. */
  readonly origin: string;
  readonly channel: string;
  /** The rendition to begin with, or `auto`. */
  readonly rendition: string;
}

/** A player of adaptive formats begins with what it likes: it is told of the rendition when it knows them. */
export async function createPlayer(
  format: Format,
  video: HTMLVideoElement,
  { origin, channel, rendition }: Source,
  events: PlayerEvents,
): Promise<Player> {
  const url = manifestUrl(origin, channel, format);
  if (format === "webrtc") {
    const { WebRtcPlayer } = await CODE.webrtc();
    return new WebRtcPlayer(video, url, { channel, rendition }, events);
  }
  if (format === "hls") {
    const { HlsPlayer } = await CODE.hls();
    return new HlsPlayer(video, url, events);
  }
  const { DashPlayer } = await CODE.dash();
  return new DashPlayer(video, url, events);
}

// hls.js behind the page's interface. Stock configuration, low latency mode included, but that it comes
// back to the latency that the playlist asks for: by itself it stays where it happened to start, and
// where a hiccup, or a machine too busy to play in real time, has left it. A little behind it plays a
// little faster; from further behind, where hls.js takes a viewer for one who looks back, it jumps, unless
// the viewer does. It begins a little behind: while a page opens and a decoder starts, a buffer of three parts
// is soon empty.

import Hls, { ErrorDetails, ErrorTypes, Events, type ErrorData, type Level as HlsLevel, type LevelDetails } from "hls.js";
import { markUnfinished } from "./parts";
import { AUTO, type Level, type Player, type PlayerEvents } from "./player";
import { renditionOf } from "./rendition";

/** A decoder that fails again this soon after it was recovered will not recover. */
const RECOVERY_MS = 5_000;

/** Playback this fast is hardly heard: browsers keep the pitch. */
const CATCH_UP_RATE = 1.1;
/**
 * Seconds that the target moves back for a stall: about a part. hls.js's own whole second costs every
 * later minute more than another stall would.
 */
const STALL_INCREASE = 0.3;
/** Seconds that the target lies further back at first, and for how long from the first picture on. */
const BEGINS_BEHIND = 1;
const BEGINS_FOR_MS = 6_000;
/** Seconds behind the target that are made up by playing faster, within half a minute. */
const NEAR = 2;

/** What a viewer may make of the failures that are likely; the rest keep hls.js's own name. */
const WORDS: Partial<Record<ErrorDetails, string>> = {
  [ErrorDetails.MANIFEST_LOAD_ERROR]: "The playlist could not be loaded",
  [ErrorDetails.MANIFEST_LOAD_TIMEOUT]: "The playlist took too long",
  [ErrorDetails.MANIFEST_PARSING_ERROR]: "The playlist could not be read",
  [ErrorDetails.LEVEL_LOAD_ERROR]: "The playlist could not be loaded",
  [ErrorDetails.LEVEL_LOAD_TIMEOUT]: "The playlist took too long",
  [ErrorDetails.LEVEL_EMPTY_ERROR]: "The playlist has nothing to play yet",
  [ErrorDetails.AUDIO_TRACK_LOAD_ERROR]: "The sound's playlist could not be loaded",
  [ErrorDetails.AUDIO_TRACK_LOAD_TIMEOUT]: "The sound's playlist took too long",
  [ErrorDetails.FRAG_LOAD_ERROR]: "A segment could not be loaded",
  [ErrorDetails.FRAG_LOAD_TIMEOUT]: "A segment took too long",
  [ErrorDetails.BUFFER_APPEND_ERROR]: "The browser refused a segment",
};

export class HlsPlayer implements Player {
  readonly format = "hls";
  readonly #hls: Hls;
  readonly #events: PlayerEvents;
  #recoveredAt = Number.NEGATIVE_INFINITY;
  /** Whether the viewer paused or sought since it was last near its target. hls.js seeks too. */
  #looksBack = false;
  /** When the first picture moved; `null` before. */
  #playsSince: number | null = null;
  /** The latency that was asked of hls.js, in seconds. */
  #target = 0;

  constructor(video: HTMLVideoElement, url: string, events: PlayerEvents) {
    this.#events = events;
    this.#hls = new Hls({ maxLiveSyncPlaybackRate: CATCH_UP_RATE, liveSyncOnStallIncrease: STALL_INCREASE });
    if (!Hls.isSupported()) {
      queueMicrotask(() => events.failed("This browser has no Media Source Extensions, which hls.js needs."));
      return;
    }
    this.#hls.on(Events.MANIFEST_PARSED, () => events.levels());
    this.#hls.on(Events.LEVELS_UPDATED, () => events.levels());
    // Before hls.js looks for the first segment.
    this.#hls.on(Events.LEVEL_UPDATED, (_, { details }) => this.#aim(details));
    this.#hls.on(Events.LEVEL_UPDATED, () => this.#comeBack());
    this.#hls.on(Events.FRAG_PARSED, (_, { frag, part }) => markUnfinished(this.#hls, frag, part));
    const looksBack = () => (this.#looksBack = true);
    this.#hls.on(Events.MEDIA_ATTACHED, () => video.addEventListener("pause", looksBack));
    this.#hls.on(Events.MEDIA_DETACHING, () => video.removeEventListener("pause", looksBack));
    const begins = () => (this.#playsSince ??= performance.now());
    this.#hls.on(Events.MEDIA_ATTACHED, () => video.addEventListener("playing", begins));
    this.#hls.on(Events.MEDIA_DETACHING, () => video.removeEventListener("playing", begins));
    this.#hls.on(Events.ERROR, (_, data) => this.#onError(data));
    this.#hls.loadSource(url);
    this.#hls.attachMedia(video);
  }

  levels(): readonly Level[] {
    return this.#hls.levels.map(levelOf).sort((a, b) => b.bitrate - a.bitrate);
  }

  playing(): string | null {
    const level = this.#hls.levels[this.#hls.currentLevel];
    return level ? levelOf(level).name : null;
  }

  select(name: string): void {
    // -1 is hls.js's word for automatic.
    const index = name === AUTO ? -1 : this.#hls.levels.findIndex((level) => levelOf(level).name === name);
    if (name === AUTO || index >= 0) {
      this.#hls.nextLevel = index;
    }
  }

  seekToLive(): void {
    const { media, liveSyncPosition } = this.#hls;
    if (media && liveSyncPosition !== null) {
      media.currentTime = liveSyncPosition;
    }
  }

  seek(time: number): void {
    const { media } = this.#hls;
    if (media) {
      this.#looksBack = true;
      media.currentTime = time;
    }
  }

  date(): number | null {
    return this.#hls.playingDate?.getTime() ?? null;
  }

  destroy(): void {
    this.#hls.destroy();
  }

  // How far behind a playlist in parts is played.
  #aim({ live, partHoldBack }: LevelDetails): void {
    if (!live || partHoldBack <= 0) {
      return;
    }
    const begins = this.#playsSince === null || performance.now() - this.#playsSince < BEGINS_FOR_MS;
    const target = partHoldBack + (begins ? BEGINS_BEHIND : 0);
    if (target !== this.#target) {
      this.#target = target;
      this.#hls.targetLatency = target;
    }
  }

  // With every part that the playlist gets.
  #comeBack(): void {
    const { media, latency, targetLatency } = this.#hls;
    if (!media || media.paused || media.seeking || media.readyState < HTMLMediaElement.HAVE_FUTURE_DATA || targetLatency === null) {
      return;
    }
    if (latency - targetLatency < NEAR) {
      this.#looksBack = false;
    } else if (!this.#looksBack) {
      this.seekToLive();
    }
  }

  // What hls.js retries by itself is not fatal. A decoder's failure is for the page to recover, as
  // hls.js's documentation asks; the rest ends this player.
  #onError(data: ErrorData): void {
    if (!data.fatal) {
      return;
    }
    const now = performance.now();
    if (data.type === ErrorTypes.MEDIA_ERROR && now - this.#recoveredAt > RECOVERY_MS) {
      this.#recoveredAt = now;
      this.#hls.recoverMediaError();
      return;
    }
    const status = data.response?.code ? `HTTP ${data.response.code}, ` : "";
    this.#events.failed(`${WORDS[data.details] ?? "The player stopped"} (${status}hls.js ${data.details})`);
  }
}

function levelOf(level: HlsLevel): Level {
  const url = level.url[0] ?? "";
  return {
    name: renditionOf(url, level.height),
    width: level.width,
    height: level.height,
    bitrate: level.bitrate,
  };
}

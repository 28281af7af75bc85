// dash.js behind the page's interface. Stock configuration, but that it looks for events as often as
// pictures change, and `abr.autoSwitchBitrate.video`, because it would undo a viewer's choice otherwise.

import { MediaPlayer, type MediaPlayerClass, type Representation } from "dashjs";
import { AUTO, type Level, type Player, type PlayerEvents } from "./player";

const VIDEO = "video";
/** By itself dash.js looks every 100 ms, and tells of an ad break up to three pictures late. */
const EVENTS_EVERY_MS = 20;

const errors = MediaPlayer.errors;
/** A segment that is missing or late, and a clock that does not answer. */
const SURVIVED = new Set<number>([
  errors.TIME_SYNC_FAILED_ERROR_CODE,
  errors.FRAGMENT_LOADER_LOADING_FAILURE_ERROR_CODE,
  errors.FRAGMENT_LOADER_NULL_REQUEST_ERROR_CODE,
  errors.DOWNLOAD_ERROR_ID_CONTENT_CODE,
]);
/** What a viewer may make of the failures that are likely; the rest keep dash.js's number. */
const WORDS: Record<number, string> = {
  [errors.MANIFEST_LOADER_PARSING_FAILURE_ERROR_CODE]: "The manifest could not be read",
  [errors.MANIFEST_LOADER_LOADING_FAILURE_ERROR_CODE]: "The manifest could not be loaded",
  [errors.DOWNLOAD_ERROR_ID_MANIFEST_CODE]: "The manifest could not be loaded",
  [errors.TIME_SYNC_FAILED_ERROR_CODE]: "The server's clock did not answer",
  [errors.FRAGMENT_LOADER_LOADING_FAILURE_ERROR_CODE]: "A segment could not be loaded",
  [errors.DOWNLOAD_ERROR_ID_CONTENT_CODE]: "A segment could not be loaded",
  [errors.DOWNLOAD_ERROR_ID_INITIALIZATION_CODE]: "A segment could not be loaded",
  [errors.APPEND_ERROR_CODE]: "The browser refused a segment",
};

export class DashPlayer implements Player {
  readonly format = "dash";
  readonly #video: HTMLVideoElement;
  readonly #player: MediaPlayerClass;
  #playing: string | null = null;

  constructor(video: HTMLVideoElement, url: string, events: PlayerEvents) {
    this.#video = video;
    this.#player = MediaPlayer().create();
    this.#player.updateSettings({ streaming: { events: { eventControllerRefreshDelay: EVENTS_EVERY_MS } } });
    const on = MediaPlayer.events;
    this.#player.on(on.STREAM_INITIALIZED, () => events.levels());
    this.#player.on(on.QUALITY_CHANGE_RENDERED, ({ mediaType, newRepresentation }) => {
      if (mediaType === VIDEO) {
        this.#playing = newRepresentation.id;
      }
    });
    this.#player.on(on.ERROR, ({ error }) => this.#onError(error, events));
    // The page starts the element by itself, because it may only be allowed to start muted.
    const autoplay = false;
    this.#player.initialize(video, url, autoplay);
  }

  levels(): readonly Level[] {
    return this.#representations()
      .map((representation) => ({
        name: representation.id,
        width: representation.width,
        height: representation.height,
        bitrate: representation.bandwidth,
      }))
      .sort((a, b) => b.bitrate - a.bitrate);
  }

  playing(): string | null {
    // dash.js tells of changes only: until the first one, the rendition is the one it began with.
    return this.#playing ?? (this.#ready() ? (this.#player.getCurrentRepresentationForType(VIDEO)?.id ?? null) : null);
  }

  select(name: string): void {
    this.#player.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: name === AUTO } } } });
    if (name !== AUTO && this.#representations().some(({ id }) => id === name)) {
      this.#player.setRepresentationForTypeById(VIDEO, name);
    }
  }

  seekToLive(): void {
    this.#player.seekToOriginalLive();
  }

  // It leads an element back that somebody else has moved.
  seek(time: number): void {
    this.#player.seekToPresentationTime(time);
  }

  // Periods are placed on the epoch: the element's time is the date.
  date(): number | null {
    return this.#ready() ? this.#video.currentTime * 1000 : null;
  }

  destroy(): void {
    // dash.js 5.2 waits for `canplay` to set a playback rate, and goes on waiting when destroyed:
    // the next player's `canplay` would make it throw.
    this.#video.dispatchEvent(new Event("canplay"));
    this.#player.destroy();
  }

  // dash.js tells of all errors alike, of those too that it goes on after.
  #onError(error: unknown, events: PlayerEvents): void {
    const code = codeOf(error);
    const word = (code !== null && WORDS[code]) || "The player stopped";
    const problem = `${word} (dash.js error ${code ?? String(error)})`;
    if (code !== null && SURVIVED.has(code)) {
      events.troubled(problem);
    } else {
      events.failed(problem);
    }
  }

  #ready(): boolean {
    return this.#player.isReady() && this.#player.getActiveStream() !== null;
  }

  #representations(): Representation[] {
    return this.#ready() ? this.#player.getRepresentationsByType(VIDEO) : [];
  }
}

function codeOf(error: unknown): number | null {
  return error !== null && typeof error === "object" && "code" in error ? Number(error.code) : null;
}

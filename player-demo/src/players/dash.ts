// dash.js behind the page's interface. Stock configuration; the one setting ever touched is
// `abr.autoSwitchBitrate.video`, because dash.js would undo a viewer's choice otherwise.

import { MediaPlayer, type MediaPlayerClass, type Representation } from "dashjs";
import { AUTO, type Level, type Player, type PlayerEvents } from "./player";

const VIDEO = "video";

export class DashPlayer implements Player {
  readonly format = "dash";
  readonly #player: MediaPlayerClass;
  #playing: string | null = null;

  constructor(video: HTMLVideoElement, url: string, events: PlayerEvents) {
    this.#player = MediaPlayer().create();
    const on = MediaPlayer.events;
    this.#player.on(on.STREAM_INITIALIZED, () => events.levels());
    this.#player.on(on.QUALITY_CHANGE_RENDERED, ({ mediaType, newRepresentation }) => {
      if (mediaType === VIDEO) {
        this.#playing = newRepresentation.id;
      }
    });
    this.#player.on(on.ERROR, ({ error }) => events.failed(`dash.js stopped: ${words(error)}`));
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

  destroy(): void {
    this.#player.destroy();
  }

  #ready(): boolean {
    return this.#player.isReady() && this.#player.getActiveStream() !== null;
  }

  #representations(): Representation[] {
    return this.#ready() ? this.#player.getRepresentationsByType(VIDEO) : [];
  }
}

function words(error: unknown): string {
  if (typeof error === "string") {
    return error;
  }
  const { message, code } = (error ?? {}) as { message?: string; code?: number };
  return message ?? `error ${code ?? "unknown"}`;
}

// One player with its picture, its measurements and its reports: a whole of its own, so that two can
// stand beside each other.

import { Beacon, stateOf } from "./beacon";
import type { AdBreak, ChannelStatus, StageLatency } from "./channel";
import type { Measurements } from "./headwater";
import { AvSyncMeter } from "./meter/avsync";
import { History } from "./meter/history";
import { LatencyMeter } from "./meter/latency";
import type { ServerClock } from "./meter/serverclock";
import { ofPictures, split, total, type Ages } from "./meter/stages";
import type { Format, Level } from "./players/player";
import { Session } from "./session";
import { setText, stamp, within } from "./ui/dom";
import { Overlay } from "./ui/overlay";
import { Panel } from "./ui/panel";
import { SeekBar } from "./ui/seekbar";

const NAMES: Record<Format, string> = { hls: "LL-HLS in hls.js", dash: "LL-DASH in dash.js", webrtc: "Preview by WebRTC" };

export interface PaneOptions {
  readonly channel: string;
  readonly format: Format;
  /** Where the media comes from, empty for the page's own. */
  readonly origin: string;
  /** Starts without sound, and does not offer it. */
  readonly quiet: boolean;
  readonly clock: ServerClock;
}

export interface PaneEvents {
  status(status: ChannelStatus | null): void;
  levels(): void;
}

export class Pane {
  readonly format: Format;
  readonly root = stamp("pane");
  readonly video: HTMLVideoElement;
  readonly history = new History();
  readonly #seekBar: SeekBar;
  readonly #session: Session;
  readonly #latency: LatencyMeter;
  readonly #avsync: AvSyncMeter;
  readonly #overlay: Overlay;
  readonly #panel: Panel;
  readonly #beacon: Beacon;
  readonly #clock: ServerClock;
  #status: ChannelStatus | null = null;

  constructor({ channel, format, origin, quiet, clock }: PaneOptions, events: PaneEvents) {
    this.format = format;
    this.#clock = clock;
    this.root.dataset["format"] = format;
    setText(within(this.root, '[data-part="name"]', HTMLElement), NAMES[format]);
    this.video = within(this.root, "video", HTMLVideoElement);
    this.video.muted = quiet;
    this.#overlay = new Overlay(this.root, !quiet);
    this.#panel = new Panel(this.root);
    this.#latency = new LatencyMeter(this.video, clock);
    this.#avsync = new AvSyncMeter(this.video, () => this.#latency.samples);
    this.#session = new Session(this.video, channel, origin, clock, {
      state: (state) => this.#overlay.show(state),
      status: (status) => {
        this.#status = status;
        this.#panel.showStatus(status);
        events.status(status);
      },
      levels: () => events.levels(),
      restarted: () => {
        this.#latency.reset();
        this.#avsync.reset();
        this.history.clear();
      },
    });
    this.#beacon = new Beacon(channel, {
      measure: () => this.measure(),
      state: () => stateOf(this.#session.state, this.measure(), this.video.paused),
    });
    this.#overlay.onUnmute(() => {
      this.video.muted = false;
      void this.#avsync.start();
    });
    this.#seekBar = new SeekBar(this.root, this.video, channel, origin, {
      live: () => this.#session.seekToLive(),
      seek: (time) => this.#session.seek(time),
    });
    // media-chrome takes a playlist of known length for a recording, and would seek to the last
    // picture there is, where a player starves.
    Object.assign(this.video, { streamType: "live" });
    within(this.root, '[data-part="live"]', HTMLElement).addEventListener("mediaseektoliverequest", (event) => {
      event.stopPropagation();
      this.#session.seekToLive();
    });
  }

  /** Ad breaks, and the date of the picture on the screen; null while there is none. */
  breaks(): { readonly breaks: readonly AdBreak[]; readonly shown: number | null } {
    const { mediaAgeMs } = this.measure();
    return {
      breaks: this.#status?.breaks ?? [],
      shown: mediaAgeMs === null ? null : this.#clock.nearly() - mediaAgeMs,
    };
  }

  get selected(): string {
    return this.#session.selected;
  }

  levels(): readonly Level[] {
    return this.#session.levels();
  }

  select(rendition: string): void {
    this.#session.select(rendition);
  }

  play(): void {
    void this.#session.play(this.format);
  }

  measure(): Measurements {
    const now = this.#session.measure(this.#latency, this.#avsync);
    return { ...now, stages: split(this.#ages(now), this.#stages()) };
  }

  #ages({ latencyMs, mediaAgeMs }: Pick<Measurements, "latencyMs" | "mediaAgeMs">): Ages {
    return { glass: latencyMs, media: mediaAgeMs, delivery: this.#session.deliveryMs };
  }

  #stages(): StageLatency | null {
    const server = this.#status?.latency ?? null;
    return this.format === "webrtc" ? ofPictures(server) : server;
  }

  /** Shows and tells what is measured; call it several times a second. */
  refresh(): void {
    const now = this.measure();
    const all = now.playing ? total(this.#ages(now), this.#stages()) : null;
    this.#panel.show(now, all, now.stages);
    if (all !== null) {
      this.history.add(performance.now(), all);
    }
    this.#overlay.showSound(this.video);
    this.#seekBar.show(now.mediaAgeMs === null ? null : this.#clock.nearly() - now.mediaAgeMs);
    this.#beacon.look();
    // Only a picture with a clock has ticks in its sound.
    if (now.clockMillis !== null) {
      void this.#avsync.start();
    }
  }

  /** The viewer leaves. */
  leave(): void {
    this.#beacon.quit();
  }

  end(): void {
    this.leave();
    this.#latency.stop();
    this.#avsync.stop();
    this.#session.end();
    this.root.remove();
  }
}

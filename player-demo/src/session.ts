// Keeps a channel playing in the element: waits for it to be live, makes a player, makes it anew
// when it fails, and stops when the channel has ended. The viewer never has to reload.
//
//   waiting ──live──▶ playing ──fatal error──▶ failed ──pause──▶ waiting
//                        └──────ended──────▶ ended ──live again──▶ playing

import { fetchStatus, isPlayable, type ChannelStatus } from "./channel";
import type { Measurements } from "./headwater";
import type { AvSyncMeter } from "./meter/avsync";
import type { LatencyMeter } from "./meter/latency";
import { DeliveryMeter } from "./meter/delivery";
import { median } from "./meter/quantile";
import type { ServerClock } from "./meter/serverclock";
import { StallMeter, type Playback } from "./meter/stalls";
import { AUTO, createPlayer, preload, type Format, type Level, type Player } from "./players/player";

const STATUS_MS = 2_000;
/** A viewer who waits for a channel sees it sooner. */
const WAITING_STATUS_MS = 1_000;
const OBSERVE_MS = 100;
/** The pause before a failed player is made anew. */
const RESTART_MS = 2_000;
/** A player that shows nothing for this long, or stalls for this long, will not go on. */
const PATIENCE_MS = 15_000;
/** The same, for the first picture of a preview: it is there within a second, or a server is out of breath. */
const PREVIEW_PATIENCE_MS = 6_000;
/** The same, once the player has told of trouble. */
const TROUBLED_PATIENCE_MS = 4_000;
/** `latencyMs` is the median over this much time. */
const LATENCY_WINDOW_MS = 1_000;

export type SessionState =
  | { readonly kind: "waiting" | "playing" | "ended" }
  /** `after` is why the player before this one was given up. */
  | { readonly kind: "starting"; readonly after: string | null }
  | { readonly kind: "failed"; readonly problem: string };

export interface SessionEvents {
  state(state: SessionState): void;
  status(status: ChannelStatus | null): void;
  levels(): void;
  /** Another player has the element: what was measured before is not of it. */
  restarted(): void;
}

export class Session {
  readonly #video: HTMLVideoElement;
  readonly #channel: string;
  readonly #origin: string;
  readonly #clock: ServerClock;
  readonly #delivery = new DeliveryMeter();
  readonly #life = new AbortController();
  readonly #events: SessionEvents;
  readonly #stalls = new StallMeter();
  #format: Format = "hls";
  #player: Player | null = null;
  #selected: string = AUTO;
  #state: SessionState = { kind: "waiting" };
  #status: ChannelStatus | null = null;
  #startedAt = 0;
  #firstFrameMs: number | null = null;
  #restarts = 0;
  #trouble: string | null = null;
  #failure: string | null = null;
  // Which call of `play` owns the element; an older one that is still loading gives up.
  #turn = 0;

  /** `origin` is where the media comes from, empty for the page's own. */
  constructor(video: HTMLVideoElement, channel: string, origin: string, clock: ServerClock, events: SessionEvents) {
    this.#video = video;
    this.#channel = channel;
    this.#origin = origin;
    this.#clock = clock;
    this.#events = events;
    video.addEventListener("waiting", () => this.#stalls.waiting(performance.now(), this.#playback()));
    video.addEventListener("loadedmetadata", () => void this.#start());
    video.addEventListener("loadeddata", () => this.#onFirstFrame());
    video.addEventListener("playing", () => this.#onPlaying());
    video.addEventListener("ended", () => this.#enter({ kind: "ended" }));
    const observer = setInterval(() => this.#observe(), OBSERVE_MS);
    this.#life.signal.addEventListener("abort", () => clearInterval(observer));
    void this.#watchStatus();
  }

  /** Ends it: nothing plays and nothing is asked any more. */
  end(): void {
    this.#turn += 1;
    this.#life.abort();
    this.#destroyPlayer();
  }

  /** Milliseconds from the end of a part to its being in the buffer, lately; null while unknown. */
  get deliveryMs(): number | null {
    return this.#delivery.lag;
  }

  get state(): SessionState {
    return this.#state;
  }

  get selected(): string {
    return this.#selected;
  }

  levels(): readonly Level[] {
    return this.#player?.levels() ?? [];
  }

  /** Plays the channel in this format, as soon as it can be played. */
  async play(format: Format): Promise<void> {
    const turn = ++this.#turn;
    if (format !== this.#format) {
      this.#failure = null;
    }
    this.#format = format;
    this.#destroyPlayer();
    preload(format);
    if (!this.#status || !isPlayable(this.#status.state)) {
      this.#enter({ kind: idleKind(this.#status) });
      return;
    }
    this.#enter({ kind: "starting", after: this.#failure });
    this.#startedAt = performance.now();
    this.#firstFrameMs = null;
    this.#trouble = null;
    const from = { origin: this.#origin, channel: this.#channel, rendition: this.#selected };
    const player = await createPlayer(format, this.#video, from, {
      levels: () => this.#onLevels(),
      troubled: (problem) => this.#onTroubled(problem),
      failed: (problem) => this.#onFailed(turn, problem),
    }).catch(() => null);
    if (turn !== this.#turn) {
      player?.destroy();
      return;
    }
    if (!player) {
      this.#onFailed(turn, "The player's code did not load");
      return;
    }
    this.#player = player;
    this.#events.restarted();
  }

  /** Asks for a rendition by name, or `auto`; remembered for the players to come. */
  select(name: string): void {
    this.#selected = name;
    this.#player?.select(name);
  }

  /** Goes back to the live edge, after a pause for instance. */
  seekToLive(): void {
    this.#player?.seekToLive();
    void this.#start();
  }

  /** Goes to a time of the element. */
  seek(time: number): void {
    this.#player?.seek(time);
    void this.#start();
  }

  measure(latency: LatencyMeter, avsync: AvSyncMeter): Omit<Measurements, "stages"> {
    const video = this.#video;
    const samples = latency.samples.filter((sample) => sample.latency !== null);
    const since = (samples.at(-1)?.at ?? 0) - LATENCY_WINDOW_MS;
    return {
      format: this.#format,
      playing: this.#state.kind === "playing" && !video.paused && video.readyState > 2,
      rendition: this.#firstFrameMs === null ? null : (this.#player?.playing() ?? null),
      selected: this.#selected,
      levels: this.levels(),
      width: video.videoWidth,
      height: video.videoHeight,
      bufferSeconds: bufferSeconds(video),
      droppedFrames: video.getVideoPlaybackQuality().droppedVideoFrames,
      stalls: this.#stalls.count,
      stallSeconds: this.#stalls.millis / 1000,
      restarts: this.#restarts,
      stalled: this.#stalls.stalledFor(performance.now()) > 0,
      latencyMs: median(samples.filter(({ at }) => at >= since).map(({ latency }) => latency ?? 0)),
      latencySamples: samples.map(({ latency }) => latency ?? 0),
      mediaAgeMs: this.#mediaAge(),
      clockMillis: latency.samples.at(-1)?.clock ?? null,
      avOffsetMs: avsync.offset,
      muted: video.muted || video.volume === 0,
      timeToFirstFrameMs: this.#firstFrameMs,
      error: this.#state.kind === "failed" ? this.#state.problem : null,
    };
  }

  // With sound if the browser lets us; else muted, and the page offers to unmute.
  async #start(): Promise<void> {
    try {
      await this.#video.play();
    } catch (problem) {
      if (problem instanceof DOMException && problem.name === "NotAllowedError" && !this.#video.muted) {
        this.#video.muted = true;
        await this.#video.play().catch(() => undefined);
      }
    }
  }

  #mediaAge(): number | null {
    const now = this.#clock.at(performance.now());
    const date = this.#firstFrameMs === null ? null : (this.#player?.date() ?? null);
    return now === null || date === null ? null : now - date;
  }

  async #watchStatus(): Promise<void> {
    while (!this.#life.signal.aborted) {
      // A server that doesn't answer says nothing of the channel: the last word stands.
      const status = await fetchStatus(this.#channel).catch(() => this.#status);
      if (this.#life.signal.aborted) {
        return;
      }
      this.#status = status;
      this.#events.status(status);
      this.#follow(status);
      const pause = this.#player ? STATUS_MS : WAITING_STATUS_MS;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  // An ended channel's player first plays to the end of what it has; a failed one has its own pause.
  #follow(status: ChannelStatus | null): void {
    const { kind } = this.#state;
    if (kind === "starting" || kind === "playing" || kind === "failed") {
      return;
    }
    if (status && isPlayable(status.state)) {
      void this.play(this.#format);
    } else {
      this.#enter({ kind: idleKind(status) });
    }
  }

  #observe(): void {
    const now = performance.now();
    this.#stalls.observe(now, this.#playback());
    if (!this.#player) {
      return;
    }
    const age = this.#mediaAge();
    if (age !== null) {
      this.#delivery.observe(this.#video.currentTime + bufferSeconds(this.#video), age - bufferSeconds(this.#video) * 1000);
    }
    const patience = this.#format === "webrtc" ? PREVIEW_PATIENCE_MS : PATIENCE_MS;
    if (this.#state.kind === "starting" && this.#firstFrameMs === null && now - this.#startedAt > patience) {
      this.#onFailed(this.#turn, "No picture came");
    } else if (this.#stalls.stalledFor(now) > (this.#trouble ? TROUBLED_PATIENCE_MS : PATIENCE_MS)) {
      this.#onFailed(this.#turn, this.#trouble ?? "The picture stood still");
    }
  }

  #onLevels(): void {
    if (this.#selected !== AUTO) {
      this.#player?.select(this.#selected);
    }
    this.#events.levels();
  }

  #onPlaying(): void {
    this.#trouble = null;
    this.#failure = null;
    this.#enter({ kind: "playing" });
  }

  #onFirstFrame(): void {
    this.#firstFrameMs ??= performance.now() - this.#startedAt;
  }

  #onTroubled(problem: string): void {
    console.warn(problem);
    this.#trouble = problem;
  }

  #onFailed(turn: number, problem: string): void {
    if (turn !== this.#turn) {
      return;
    }
    console.error(problem);
    this.#failure = problem;
    this.#destroyPlayer();
    this.#enter({ kind: "failed", problem });
    this.#restarts += 1;
    setTimeout(() => {
      if (turn === this.#turn) {
        this.#enter({ kind: "waiting" });
        this.#follow(this.#status);
      }
    }, RESTART_MS);
  }

  #destroyPlayer(): void {
    this.#player?.destroy();
    this.#player = null;
    this.#stalls.rearm(performance.now());
    this.#delivery.reset();
  }

  #enter(state: SessionState): void {
    this.#state = state;
    this.#events.state(state);
  }

  #playback(): Playback {
    const { paused, seeking, ended, currentTime } = this.#video;
    const wanted = this.#player !== null && !paused && !seeking && !ended;
    return { time: currentTime, wanted };
  }
}

function idleKind(status: ChannelStatus | null): "waiting" | "ended" {
  return status?.state === "ended" ? "ended" : "waiting";
}

function bufferSeconds({ buffered, currentTime }: HTMLVideoElement): number {
  for (let range = 0; range < buffered.length; range++) {
    if (buffered.start(range) <= currentTime && currentTime <= buffered.end(range)) {
      return buffered.end(range) - currentTime;
    }
  }
  return 0;
}

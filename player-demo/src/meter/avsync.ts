// How far the sound is from the picture: hears the tick in the sound and reads which instant the
// picture showed at that moment.
//
// The element's sound goes through a Web Audio graph from then on, so this starts only where a
// clock is in the picture, and only when an audio context really runs: a suspended one would
// silence the element and stop its clock. The sound of a stream is heard beside the element, which goes on by itself.

import { pictureClock, type Shown } from "./pictureclock";
import { median } from "./quantile";
import { findTick } from "./tick";

/** 0.68 s at 48 kHz: with a look every 250 ms every tick (140 ms) is whole in some look. */
const WINDOW = 32768;
const EVERY_MS = 250;
/** The pause after an audio context did not run. */
const RETRY_MS = 10_000;
/** Ticks the figure is the median of. */
const KEPT = 9;
/** With fewer the figure is not shown: one tick may be off by a buffer of the sound card. */
const ENOUGH = 3;
/** Further apart than this, picture and tick are not of the same second. */
const PLAUSIBLE_MS = 5_000;

export class AvSyncMeter {
  readonly #video: HTMLVideoElement;
  readonly #shown: () => readonly Shown[];
  #context: AudioContext | null = null;
  #analyser: AnalyserNode | null = null;
  #source: MediaElementAudioSourceNode | MediaStreamAudioSourceNode | null = null;
  #timer = 0;
  #offsets: number[] = [];
  #lastTick = Number.NaN;
  #starting = false;
  #stopped = false;
  #retryAt = 0;

  constructor(video: HTMLVideoElement, shown: () => readonly Shown[]) {
    this.#video = video;
    this.#shown = shown;
  }

  /** Milliseconds by which the sound comes after the picture; null while unknown. */
  get offset(): number | null {
    return this.#offsets.length < ENOUGH ? null : median(this.#offsets);
  }

  /** Starts listening if it can be done without harm; safe to call again and again. */
  async start(): Promise<void> {
    const now = performance.now();
    if (this.#stopped || this.#context || this.#starting || now < this.#retryAt || this.#video.muted || this.#video.paused) {
      return;
    }
    this.#starting = true;
    this.#retryAt = now + RETRY_MS;
    try {
      const context = new AudioContext({ latencyHint: "interactive" });
      if (!(await runs(context)) || this.#stopped) {
        await context.close();
        return;
      }
      const analyser = context.createAnalyser();
      analyser.fftSize = WINDOW;
      if (!this.#video.srcObject) {
        this.#source = context.createMediaElementSource(this.#video);
        this.#source.connect(context.destination);
        this.#source.connect(analyser);
      }
      this.#analyser = analyser;
      this.#context = context;
      this.#timer = window.setInterval(() => this.#listen(), EVERY_MS);
      // A context the system has interrupted takes the sound with it: bring it back.
      context.addEventListener("statechange", () => {
        if (!this.#stopped) {
          void context.resume().catch(() => undefined);
        }
      });
    } catch {
      // No Web Audio here: the figure stays unknown, the sound plays as it did.
    } finally {
      this.#starting = false;
    }
  }

  reset(): void {
    this.#offsets = [];
  }

  /** For good: browsers give a page few audio contexts. */
  stop(): void {
    this.#stopped = true;
    window.clearInterval(this.#timer);
    void this.#context?.close().catch(() => undefined);
  }

  // Another rendition of a preview is another stream.
  #follow(context: AudioContext, analyser: AnalyserNode): void {
    const stream = this.#video.srcObject;
    const heard = this.#source instanceof MediaStreamAudioSourceNode ? this.#source.mediaStream : null;
    if (stream instanceof MediaStream && stream !== heard && stream.getAudioTracks().length > 0) {
      this.#source?.disconnect();
      this.#source = context.createMediaStreamSource(stream);
      this.#source.connect(analyser);
    }
  }

  #listen(): void {
    const { context, analyser } = { context: this.#context, analyser: this.#analyser };
    if (!context || !analyser || this.#video.paused) {
      return;
    }
    this.#follow(context, analyser);
    const samples = new Float32Array(WINDOW);
    analyser.getFloatTimeDomainData(samples);
    // The newest sample is the one that has just been pulled from the element.
    const end = performance.now();
    const tick = findTick(samples, context.sampleRate);
    if (!tick) {
      return;
    }
    const heard = end - ((WINDOW - tick.at) / context.sampleRate) * 1000;
    const picture = pictureClock(this.#shown(), heard);
    if (picture === null) {
      return;
    }
    const second = nearest(tick.second, picture / 1000);
    const offset = picture - second * 1000;
    // One tick is heard in several looks, and counts once.
    if (second === this.#lastTick || Math.abs(offset) > PLAUSIBLE_MS) {
      return;
    }
    this.#lastTick = second;
    this.#offsets.push(offset);
    if (this.#offsets.length > KEPT) {
      this.#offsets.shift();
    }
  }
}

// The whole second nearest to `near` that is `second` modulo 64.
function nearest(second: number, near: number): number {
  return second + 64 * Math.round((near - second) / 64);
}

async function runs(context: AudioContext): Promise<boolean> {
  const patience = new Promise<void>((resolve) => setTimeout(resolve, 500));
  await Promise.race([context.resume(), patience]).catch(() => undefined);
  return context.state === "running";
}

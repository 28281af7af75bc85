// Glass to glass: reads the clock in the picture as frames reach the screen, and compares it with
// the server's clock at that moment.
//
// The broadcaster draws its own clock; in the demo that is the server's machine. Against a
// broadcaster elsewhere the figure is as good as the two clocks agree.

import { COLUMNS, ROWS, STRIP_SHARE, readMark, unwrap } from "./clockmark";
import type { Shown } from "./pictureclock";
import type { ServerClock } from "./serverclock";

/** Reading pixels back costs a copy of the frame: a few times a second is enough. */
const EVERY_MS = 100;
const CELL = 10;
/** Samples kept: about a minute. */
const KEPT = 600;

export interface LatencySample extends Shown {
  /** Glass to glass in milliseconds; null until the server's clock is known. */
  readonly latency: number | null;
}

export class LatencyMeter {
  readonly #video: HTMLVideoElement;
  readonly #clock: ServerClock;
  readonly #context: CanvasRenderingContext2D | null;
  #samples: LatencySample[] = [];
  #readAt = 0;
  #handle = 0;

  constructor(video: HTMLVideoElement, clock: ServerClock) {
    this.#video = video;
    this.#clock = clock;
    const canvas = document.createElement("canvas");
    canvas.width = COLUMNS * CELL;
    canvas.height = ROWS * CELL;
    this.#context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.#next();
  }

  /** The last minute's samples, oldest first. */
  get samples(): readonly LatencySample[] {
    return this.#samples;
  }

  reset(): void {
    this.#samples = [];
  }

  stop(): void {
    this.#video.cancelVideoFrameCallback?.(this.#handle);
  }

  #next(): void {
    // Not in every browser; without it there is no meter, and the page says so.
    this.#handle = this.#video.requestVideoFrameCallback?.((now, frame) => {
      this.#next();
      if (now - this.#readAt >= EVERY_MS) {
        this.#readAt = now;
        this.#read(frame.expectedDisplayTime);
      }
    });
  }

  #read(displayed: number): void {
    const { videoWidth, videoHeight } = this.#video;
    const context = this.#context;
    if (!context || videoWidth === 0) {
      return;
    }
    const { width, height } = context.canvas;
    context.drawImage(this.#video, 0, 0, videoWidth, videoHeight * STRIP_SHARE, 0, 0, width, height);
    const mark = readMark(context.getImageData(0, 0, width, height));
    if (mark === null) {
      return;
    }
    const clock = unwrap(mark, this.#clock.nearly());
    const server = this.#clock.at(displayed);
    this.#samples.push({ at: displayed, clock, latency: server === null ? null : server - clock });
    if (this.#samples.length > KEPT) {
      this.#samples.shift();
    }
  }
}

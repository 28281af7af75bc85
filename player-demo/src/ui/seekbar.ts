// The bar under a picture: the channel's window, where the viewer is in it, and what was on at each place.

import { clockTime } from "./format";
import { setText, within } from "./dom";
import { Stills } from "./stills";

/** Seconds behind the live edge within which a viewer is live: players stay some seconds behind it. */
const LIVE = 12;
/** A window shorter than this is not worth a bar. */
const SHORTEST = 20;

export interface Seekable {
  readonly start: number;
  readonly end: number;
}

/** What a browser lets be sought to; null before there is anything. */
export function seekable({ seekable: ranges }: Pick<HTMLVideoElement, "seekable">): Seekable | null {
  const last = ranges.length - 1;
  return last < 0 ? null : { start: ranges.start(0), end: ranges.end(last) };
}

/** How far back something is, as viewers read it: −1:05. */
export function back(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value: number): string => String(value).padStart(2, "0");
  return `−${hours > 0 ? `${hours}:${two(minutes)}` : minutes}:${two(rest)}`;
}

/** Where the viewer goes. */
export interface Go {
  live(): void;
  /** To a time of the element. */
  seek(time: number): void;
}

export class SeekBar {
  readonly #root: HTMLElement;
  readonly #range: HTMLInputElement;
  readonly #preview: HTMLElement;
  readonly #picture: HTMLImageElement;
  readonly #label: HTMLElement;
  readonly #place: HTMLElement;
  readonly #video: HTMLVideoElement;
  readonly #stills: Stills;
  /** Date of the element's time 0, in milliseconds since the epoch. */
  #zero: number | null = null;
  #dragging = false;
  /** Share of the bar that is pointed at. */
  #pointed = 0;
  /** The date that was asked for last. */
  #wanted: number | null = null;

  constructor(pane: HTMLElement, video: HTMLVideoElement, channel: string, origin: string, go: Go) {
    this.#root = within(pane, '[data-part="seek"]', HTMLElement);
    this.#range = within(this.#root, "input", HTMLInputElement);
    this.#preview = within(this.#root, '[data-part="preview"]', HTMLElement);
    this.#picture = within(this.#preview, "img", HTMLImageElement);
    this.#label = within(this.#preview, "span", HTMLElement);
    this.#place = within(this.#root, "output", HTMLElement);
    this.#video = video;
    this.#stills = new Stills(channel, origin);
    this.#picture.addEventListener("load", () => (this.#picture.hidden = false));
    this.#picture.addEventListener("error", () => (this.#picture.hidden = true));
    this.#range.addEventListener("input", () => {
      this.#dragging = true;
      this.#look(Number(this.#range.value));
    });
    this.#range.addEventListener("change", () => {
      this.#dragging = false;
      this.#hide();
      const [to, end] = [Number(this.#range.value), Number(this.#range.max)];
      if (end - to < LIVE) {
        go.live();
      } else {
        go.seek(to);
      }
    });
    this.#range.addEventListener("pointermove", (event) => {
      const { left, width } = this.#range.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
      const [start, end] = [Number(this.#range.min), Number(this.#range.max)];
      this.#look(start + share * (end - start));
    });
    this.#range.addEventListener("pointerleave", () => this.#hide());
    this.#range.addEventListener("blur", () => this.#hide());
  }

  /** Shows where things are; `date` is that of the picture on the screen. */
  show(date: number | null): void {
    const window = seekable(this.#video);
    this.#root.hidden = window === null || window.end - window.start < SHORTEST;
    if (!window || this.#root.hidden) {
      return;
    }
    this.#zero = date === null ? this.#zero : date - this.#video.currentTime * 1000;
    this.#range.min = String(window.start);
    this.#range.max = String(window.end);
    const behind = window.end - this.#video.currentTime;
    if (!this.#dragging) {
      this.#range.value = String(this.#video.currentTime);
    }
    // A pointer at rest sees what comes to be known, and what the window moves under it.
    if (!this.#preview.hidden) {
      const { start, end } = window;
      this.#look(this.#dragging ? Number(this.#range.value) : start + this.#pointed * (end - start));
    }
    const words = behind < LIVE ? "Live" : back(behind);
    setText(this.#place, words);
    this.#range.setAttribute("aria-valuetext", words);
  }

  // What was on at a time of the element.
  #look(time: number): void {
    const [start, end] = [Number(this.#range.min), Number(this.#range.max)];
    this.#pointed = Math.min(1, Math.max(0, (time - start) / Math.max(1, end - start)));
    this.#preview.hidden = false;
    this.#preview.style.setProperty("--at", `${this.#pointed * 100}%`);
    const date = this.#zero === null ? null : this.#zero + time * 1000;
    setText(this.#label, date === null ? back(end - time) : `${back(end - time)} · ${clockTime(date).slice(0, 8)}`);
    if (date !== null) {
      void this.#draw(date);
    }
  }

  // The still of a date, unless another is asked for before its address is known.
  async #draw(date: number): Promise<void> {
    this.#wanted = date;
    const url = await this.#stills.at(date);
    if (url !== null && this.#wanted === date && this.#picture.src !== url) {
      this.#picture.src = url;
    }
  }

  #hide(): void {
    if (!this.#dragging) {
      this.#preview.hidden = true;
    }
  }
}

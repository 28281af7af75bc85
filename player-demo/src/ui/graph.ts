// The latency of the last minute as lines over a grid: one line a player, the newest at the right. Ad
// breaks that were on the screen are a lane behind them.

import type { AdBreak } from "../channel";
import type { Sample } from "../meter/history";
import { element } from "./dom";

const SVG = "http://www.w3.org/2000/svg";
export const SPAN_MS = 60_000;
/** Of the drawing's own coordinates. */
const WIDTH = 1000;
const HEIGHT = 100;
/** More lines than this are hard to read. */
const MOST_LINES = 5;
const STEPS = [0.25, 0.5, 1, 2, 5, 10, 20, 60];
/** Times of the axis, in seconds before now. */
const TIMES = [60, 45, 30, 15];
/** A hole in a line that is longer is left open. */
const HOLE_MS = 1_500;

export interface Line {
  /** The class that colours it. */
  readonly name: string;
  readonly samples: readonly Sample[];
}

export interface Scale {
  /** The highest value that fits, in milliseconds. */
  readonly top: number;
  /** Values of the grid's lines, in seconds. */
  readonly ticks: readonly number[];
}

/** A scale from zero on which `highest` milliseconds have some air above them. */
export function scaleFor(highest: number): Scale {
  const wanted = Math.max(1_000, highest * 1.1) / 1_000;
  const step = STEPS.find((size) => wanted / size <= MOST_LINES) ?? 60 * Math.ceil(wanted / 60 / MOST_LINES);
  const count = Math.ceil(wanted / step);
  return { top: count * step * 1_000, ticks: Array.from({ length: count + 1 }, (_, index) => index * step) };
}

/** An SVG path; holes are left open. */
export function path(samples: readonly Sample[], now: number, top: number): string {
  let before = Number.NEGATIVE_INFINITY;
  return samples
    .filter(({ at }) => now - at <= SPAN_MS)
    .map(({ at, value }) => {
      const x = WIDTH - ((now - at) / SPAN_MS) * WIDTH;
      const y = HEIGHT - Math.min(1, value / top) * HEIGHT;
      const command = at - before > HOLE_MS ? "M" : "L";
      before = at;
      return `${command}${x.toFixed(1)} ${y.toFixed(2)}`;
    })
    .join("");
}

/** Where breaks lie from left to right, as parts of the width, when the picture is of `shown`. */
export function lanes(breaks: readonly AdBreak[], shown: number): { readonly left: number; readonly width: number }[] {
  const place = (at: number): number => Math.min(1, Math.max(0, 1 - (shown - at) / SPAN_MS));
  return breaks
    .map(({ start_ms, end_ms }) => ({ left: place(start_ms), width: place(end_ms) - place(start_ms) }))
    .filter(({ width }) => width > 0);
}

export class Graph {
  readonly #root = element("graph", HTMLElement);
  readonly #svg: SVGElement;
  readonly #lines = new Map<string, SVGPathElement>();
  #top = 0;

  constructor() {
    const svg = this.#root.querySelector("svg");
    if (!svg) {
      throw new Error("the graph has no drawing");
    }
    this.#svg = svg;
    for (const seconds of TIMES) {
      this.#label("time", `−${seconds} s`, { left: `${100 - (seconds * 100_000) / SPAN_MS}%` });
    }
    this.#label("time now", "now", { left: "100%" });
  }

  show(lines: readonly Line[], now: number): void {
    const values = lines.flatMap(({ samples }) => samples.filter(({ at }) => now - at <= SPAN_MS));
    const { top, ticks } = scaleFor(Math.max(0, ...values.map(({ value }) => value)));
    if (top !== this.#top) {
      this.#top = top;
      this.#grid(ticks, top);
    }
    for (const [name, line] of this.#lines) {
      if (!lines.some((wanted) => wanted.name === name)) {
        line.remove();
        this.#lines.delete(name);
      }
    }
    for (const { name, samples } of lines) {
      this.#line(name).setAttribute("d", path(samples, now, top));
    }
  }

  /** Shows the breaks among which the picture of `shown`, in milliseconds since the epoch, is. */
  showBreaks(breaks: readonly AdBreak[], shown: number | null): void {
    const wanted = shown === null ? [] : lanes(breaks, shown);
    const there = this.#root.querySelectorAll<HTMLElement>(".break");
    there.forEach((lane, index) => index >= wanted.length && lane.remove());
    wanted.forEach(({ left, width }, index) => {
      const lane = there[index] ?? document.createElement("i");
      lane.className = "break";
      lane.title = "Ad break";
      lane.style.left = `${left * 100}%`;
      lane.style.width = `${width * 100}%`;
      if (!lane.isConnected) {
        this.#root.prepend(lane);
      }
    });
  }

  #line(name: string): SVGPathElement {
    const known = this.#lines.get(name);
    if (known) {
      return known;
    }
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("class", `line ${name}`);
    line.setAttribute("vector-effect", "non-scaling-stroke");
    this.#svg.append(line);
    this.#lines.set(name, line);
    return line;
  }

  #grid(ticks: readonly number[], top: number): void {
    for (const old of this.#root.querySelectorAll(".rule, .value")) {
      old.remove();
    }
    const digits = (ticks[1] ?? 1) < 1 ? ((ticks[1] ?? 1) < 0.5 ? 2 : 1) : 0;
    for (const seconds of ticks) {
      const y = HEIGHT - (seconds * 1_000 * HEIGHT) / top;
      const rule = document.createElementNS(SVG, "path");
      rule.setAttribute("class", "rule");
      rule.setAttribute("vector-effect", "non-scaling-stroke");
      rule.setAttribute("d", `M0 ${y}H${WIDTH}`);
      this.#svg.prepend(rule);
      this.#label("value", `${seconds.toFixed(digits)} s`, { top: `${y}%` });
    }
  }

  #label(kind: string, text: string, place: { left?: string; top?: string }): void {
    const label = document.createElement("span");
    label.className = kind;
    label.textContent = text;
    Object.assign(label.style, place);
    this.#root.append(label);
  }
}

// The measurements beside a picture.

import type { ChannelStatus } from "../channel";
import type { Measurements } from "../headwater";
import type { Split } from "../meter/stages";
import { setText, within } from "./dom";
import { clockTime, millis, orNothing, seconds, signedMillis, size } from "./format";

/** Stages and the figure that each is written into. */
const STAGES = [
  ["ingest", "ingest"],
  ["encode", "encode"],
  ["part", "part"],
  ["edge", "edge"],
  ["buffer", "buffered"],
] as const satisfies readonly (readonly [keyof Split, string])[];

export class Panel {
  readonly #pane: HTMLElement;
  readonly #latency: HTMLElement;
  readonly #note: HTMLElement;
  readonly #figures: Map<string, HTMLElement>;

  constructor(pane: HTMLElement) {
    this.#pane = pane;
    this.#latency = within(pane, '[data-part="latency"]', HTMLElement);
    this.#note = within(pane, '[data-part="note"]', HTMLElement);
    const figures = [...pane.querySelectorAll<HTMLElement>("[data-figure]")];
    this.#figures = new Map(figures.map((node) => [node.dataset["figure"] ?? "", node]));
  }

  showStatus(status: ChannelStatus | null): void {
    this.#figure("source", status?.fps ? `${status.fps} frames/s` : orNothing(null));
  }

  /** `total` is the whole of `stages`, in milliseconds. */
  show(now: Measurements, total: number | null, stages: Split): void {
    setText(this.#latency, total === null ? "–" : (total / 1000).toFixed(2));
    setText(this.#note, noteOn(now, total));
    this.#figure("rendition", orNothing(now.rendition));
    this.#figure("resolution", size(now.width, now.height));
    this.#figure("buffer", seconds(now.width > 0 ? now.bufferSeconds : null));
    this.#figure("dropped", String(now.droppedFrames));
    this.#figure("stalls", now.stalls === 0 ? "0" : `${now.stalls} (${seconds(now.stallSeconds)})`);
    this.#figure("av", signedMillis(now.avOffsetMs));
    this.#figure("clock", clockTime(now.clockMillis));
    for (const [stage, figure] of STAGES) {
      this.#figure(figure, millis(stages[stage]));
      within(this.#pane, `i[data-stage="${stage}"]`, HTMLElement).style.flexGrow = String(stages[stage] ?? 0);
    }
  }

  #figure(name: string, text: string): void {
    const node = this.#figures.get(name);
    if (node) {
      setText(node, text);
    }
  }
}

function noteOn({ latencyMs, clockMillis, playing }: Measurements, total: number | null): string {
  if (latencyMs !== null) {
    return "measured from the clock in the picture";
  }
  if (clockMillis !== null) {
    return "asking the server for its clock";
  }
  if (total !== null) {
    return "by the stream’s own date: this picture has no clock";
  }
  return playing ? "asking the server for its clock" : "waiting for a picture";
}

// The measurements beside the picture.

import { STATE_WORDS, type ChannelStatus, type StageLatency } from "../channel";
import type { Measurements } from "../headwater";
import type { LatencySample } from "../meter/latency";
import { element, setText } from "./dom";
import { clockTime, millis, orNothing, seconds, signedMillis, size } from "./format";
import { sparkline } from "./sparkline";

const STAGES = ["ingest", "encode", "package", "deliver"] as const;
type Stage = (typeof STAGES)[number];

export class Panel {
  readonly #state = element("state", HTMLElement);
  readonly #latency = element("latency", HTMLElement);
  readonly #latencyNote = element("latency-note", HTMLElement);
  readonly #line = element("latency-line", SVGPolylineElement);
  readonly #area = element("latency-area", SVGPolygonElement);
  readonly #figures = new Map(
    [...document.querySelectorAll<HTMLElement>("[data-figure]")].map((node) => [node.dataset["figure"] ?? "", node]),
  );
  #stages: StageLatency | null = null;

  showStatus(status: ChannelStatus | null): void {
    const state = status?.state ?? "idle";
    this.#state.dataset["state"] = state;
    setText(this.#state, STATE_WORDS[state]);
    this.#stages = status?.latency ?? null;
    this.#figure("source", status?.fps ? `${status.fps} frames/s` : orNothing(null));
  }

  show(now: Measurements, samples: readonly LatencySample[]): void {
    const { latencyMs } = now;
    setText(this.#latency, latencyMs === null ? "–" : (latencyMs / 1000).toFixed(2));
    setText(this.#latencyNote, noteOn(now));
    const { line, area } = sparkline(samples);
    this.#line.setAttribute("points", line);
    this.#area.setAttribute("points", area);
    this.#figure("rendition", orNothing(now.rendition));
    this.#figure("resolution", size(now.width, now.height));
    this.#figure("buffer", seconds(now.width > 0 ? now.bufferSeconds : null));
    this.#figure("dropped", String(now.droppedFrames));
    this.#figure("stalls", now.stalls === 0 ? "0" : `${now.stalls} (${seconds(now.stallSeconds)})`);
    this.#figure("av", signedMillis(now.avOffsetMs));
    this.#figure("clock", clockTime(now.clockMillis));
    this.#showStages(latencyMs);
  }

  // What the server's stages don't explain is delivery and the player's buffer.
  #showStages(latencyMs: number | null): void {
    const { ingest_ms = null, encode_ms = null, package_ms = null } = this.#stages ?? {};
    const known = (ingest_ms ?? 0) + (encode_ms ?? 0) + (package_ms ?? 0);
    const stages: Record<Stage, number | null> = {
      ingest: ingest_ms,
      encode: encode_ms,
      package: package_ms,
      deliver: latencyMs === null ? null : Math.max(0, latencyMs - known),
    };
    for (const stage of STAGES) {
      this.#figure(stage, millis(stages[stage]));
      element(`bar-${stage}`, HTMLElement).style.flexGrow = String(stages[stage] ?? 0);
    }
  }

  #figure(name: string, text: string): void {
    const node = this.#figures.get(name);
    if (node) {
      setText(node, text);
    }
  }
}

function noteOn({ latencyMs, clockMillis, playing }: Measurements): string {
  if (latencyMs !== null) {
    return "measured from the clock in the picture";
  }
  if (clockMillis !== null) {
    return "asking the server for its clock";
  }
  if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) {
    return "this browser does not tell when a frame is shown";
  }
  return playing ? "no clock in this picture" : "waiting for a picture";
}

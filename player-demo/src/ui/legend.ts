// Under the graph's title: each line's name, and its median and 95th percentile of the last minute.

import type { History } from "../meter/history";
import type { Format } from "../players/player";
import { element, setText } from "./dom";

const NAMES: Record<Format, string> = { hls: "LL-HLS", dash: "LL-DASH", webrtc: "WebRTC" };

interface Shown {
  readonly format: Format;
  readonly history: History;
}

export class Legend {
  readonly #root = element("legend", HTMLUListElement);
  readonly #rows = new Map<Format, HTMLLIElement>();

  show(shown: readonly Shown[]): void {
    for (const [format, row] of this.#rows) {
      if (!shown.some((wanted) => wanted.format === format)) {
        row.remove();
        this.#rows.delete(format);
      }
    }
    for (const { format, history } of shown) {
      const [p50, p95] = [history.quantile(0.5), history.quantile(0.95)];
      const figures =
        p50 === null || p95 === null ? "" : ` median ${(p50 / 1000).toFixed(2)} s · 95 % below ${(p95 / 1000).toFixed(2)} s`;
      setText(this.#row(format), `${NAMES[format]}${figures}`);
    }
  }

  #row(format: Format): HTMLLIElement {
    const known = this.#rows.get(format);
    if (known) {
      return known;
    }
    const row = document.createElement("li");
    row.className = format;
    this.#rows.set(format, row);
    this.#root.append(row);
    return row;
  }
}

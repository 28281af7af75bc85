// The viewer's choices, HLS, DASH, both beside each other or a preview, and a rendition; both stand in the
// address, so a link carries them.

import { AUTO, type Format, type Level } from "../players/player";
import { element } from "./dom";
import { bitrate } from "./format";

export type View = Format | "both";

export interface ChoiceEvents {
  view(view: View): void;
  rendition(name: string): void;
}

export class Choices {
  readonly #menu = element("rendition", HTMLSelectElement);
  #view: View;

  constructor(location: Location, events: ChoiceEvents) {
    const query = new URLSearchParams(location.search);
    this.#view = viewOf(query.get("format"));
    for (const radio of document.querySelectorAll<HTMLInputElement>('input[name="view"]')) {
      radio.checked = radio.value === this.#view;
      radio.addEventListener("change", () => {
        this.#view = viewOf(radio.value);
        remember("format", this.#view);
        events.view(this.#view);
      });
    }
    this.showLevels([], query.get("rendition") ?? AUTO);
    this.#menu.addEventListener("change", () => {
      remember("rendition", this.#menu.value);
      events.rendition(this.#menu.value);
    });
  }

  get view(): View {
    return this.#view;
  }

  get rendition(): string {
    return this.#menu.value;
  }

  /** Offers the levels there are; the chosen one is offered even before it is known. */
  showLevels(levels: readonly Level[], chosen: string): void {
    const options = [new Option("Auto", AUTO)];
    options.push(...levels.map(({ name, bitrate: bits }) => new Option(`${name} · ${bitrate(bits)}`, name)));
    if (!options.some(({ value }) => value === chosen)) {
      options.push(new Option(chosen, chosen));
    }
    this.#menu.replaceChildren(...options);
    this.#menu.value = chosen;
  }
}

function viewOf(word: string | null): View {
  return word === "dash" || word === "webrtc" || word === "both" ? word : "hls";
}

function remember(key: string, value: string): void {
  const url = new URL(location.href);
  url.searchParams.set(key, value);
  history.replaceState(null, "", url);
}

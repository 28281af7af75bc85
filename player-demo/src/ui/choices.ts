// The viewer's two choices, HLS or DASH and a rendition; both stand in the address, so a link
// carries them.

import { AUTO, type Format, type Level } from "../players/player";
import { element } from "./dom";
import { bitrate } from "./format";

export interface ChoiceEvents {
  format(format: Format): void;
  rendition(name: string): void;
}

export class Choices {
  readonly #menu = element("rendition", HTMLSelectElement);

  constructor(location: Location, events: ChoiceEvents) {
    const query = new URLSearchParams(location.search);
    const format = query.get("format") === "dash" ? "dash" : "hls";
    for (const radio of document.querySelectorAll<HTMLInputElement>('input[name="format"]')) {
      radio.checked = radio.value === format;
      radio.addEventListener("change", () => {
        remember("format", radio.value);
        events.format(this.format);
      });
    }
    this.showLevels([], query.get("rendition") ?? AUTO);
    this.#menu.addEventListener("change", () => {
      remember("rendition", this.#menu.value);
      events.rendition(this.#menu.value);
    });
  }

  get format(): Format {
    const dash = document.querySelector<HTMLInputElement>('input[name="format"][value="dash"]');
    return dash?.checked ? "dash" : "hls";
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

function remember(key: string, value: string): void {
  const url = new URL(location.href);
  url.searchParams.set(key, value);
  history.replaceState(null, "", url);
}

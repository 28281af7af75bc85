// What stands over the picture: why there is none, and the offer to unmute.

import type { SessionState } from "../session";
import { setText, within } from "./dom";

interface Words {
  readonly title: string;
  readonly detail: string;
}

export class Overlay {
  readonly #root: HTMLElement;
  readonly #title: HTMLElement;
  readonly #detail: HTMLElement;
  readonly #unmute: HTMLButtonElement;
  #wantsSound: boolean;

  /** `wantsSound`: whether a picture without sound should offer it. */
  constructor(pane: HTMLElement, wantsSound: boolean) {
    this.#root = within(pane, '[data-part="overlay"]', HTMLElement);
    this.#title = within(pane, '[data-part="overlay-title"]', HTMLElement);
    this.#detail = within(pane, '[data-part="overlay-detail"]', HTMLElement);
    this.#unmute = within(pane, '[data-part="unmute"]', HTMLButtonElement);
    this.#wantsSound = wantsSound;
  }

  show(state: SessionState): void {
    const words = wordsFor(state);
    this.#root.hidden = words === null;
    this.#root.dataset["kind"] = state.kind;
    if (words) {
      setText(this.#title, words.title);
      setText(this.#detail, words.detail);
    }
  }

  /** Offers to unmute a picture that plays without sound, until the viewer has decided once. */
  showSound(video: HTMLVideoElement): void {
    const playingMuted = video.muted && !video.paused && video.readyState > 2;
    this.#unmute.hidden = !(this.#wantsSound && playingMuted);
  }

  onUnmute(action: () => void): void {
    this.#unmute.addEventListener("click", () => {
      this.#wantsSound = false;
      this.#unmute.hidden = true;
      action();
    });
  }
}

function wordsFor(state: SessionState): Words | null {
  switch (state.kind) {
    case "waiting":
      return { title: "Not live yet", detail: "The picture will appear here as soon as somebody publishes." };
    case "starting":
      return state.after === null
        ? { title: "Starting", detail: "The first picture is on its way." }
        : { title: "Starting again", detail: `${state.after}.` };
    case "ended":
      return { title: "This broadcast has ended", detail: "If it comes back, it will go on here by itself." };
    case "failed":
      return { title: "Playback was interrupted", detail: `${state.problem}. Trying again …` };
    case "playing":
      return null;
  }
}

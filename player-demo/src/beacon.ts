// What this player tells the server of itself: CMCD version 2 in event mode (CTA-5004-B), posted at
// every change of state, every few seconds, and when the page is left. Nothing of it is of the
// viewer: the session's id is random and new with every player.

import type { Measurements } from "./headwater";
import type { SessionState } from "./session";

const EVERY_MS = 10_000;
const TYPE = "application/cmcd";

/** `sf`: HLS, DASH, other. */
const STREAMING_FORMATS = { hls: "h", dash: "d", webrtc: "o" } as const;

/** `sta`: starting, playing, rebuffering, paused, waiting, ended, failed, quit. */
export type PlayerState = "s" | "p" | "r" | "a" | "w" | "e" | "f" | "q";

type Value = string | number | boolean | Token | readonly number[];

/** A word that is written without quotes. */
export class Token {
  constructor(readonly word: string) {}
}

/** One report: keys in their order, false and null left out. */
export function encode(report: Readonly<Record<string, Value | null>>): string {
  return Object.entries(report)
    .filter(([, value]) => value !== null && value !== false)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => (value === true ? key : `${key}=${text(value as Value)}`))
    .join(",");
}

function text(value: Value): string {
  if (value instanceof Token) {
    return value.word;
  }
  if (typeof value === "string") {
    return `"${value.replace(/[\\"]/g, "\\$&")}"`;
  }
  return Array.isArray(value) ? `(${value.join(" ")})` : String(value);
}

export function stateOf(session: SessionState, { playing, stalled }: Pick<Measurements, "playing" | "stalled">, paused: boolean): PlayerState {
  switch (session.kind) {
    case "waiting":
      return "w";
    case "starting":
      return "s";
    case "ended":
      return "e";
    case "failed":
      return "f";
    case "playing":
      return paused ? "a" : stalled ? "r" : playing ? "p" : "s";
  }
}

export interface Watched {
  measure(): Measurements;
  state(): PlayerState;
}

export class Beacon {
  readonly #url: string;
  readonly #channel: string;
  readonly #watched: Watched;
  #session = randomId();
  #sequence = 0;
  #state: PlayerState | null = null;
  #sentAt = Number.NEGATIVE_INFINITY;
  #stalls = 0;
  #stallSeconds = 0;

  constructor(channel: string, watched: Watched) {
    this.#url = `/live/${encodeURIComponent(channel)}/cmcd`;
    this.#channel = channel;
    this.#watched = watched;
  }

  /** Looks whether there is something to tell; call it several times a second. */
  look(): void {
    const now = performance.now();
    const state = this.#watched.state();
    if (this.#state === null && state === "w") {
      // Nobody watches what is not there.
      return;
    }
    if (state !== this.#state) {
      this.#send("ps", state);
    } else if (now - this.#sentAt >= EVERY_MS) {
      this.#send("t", state);
    }
  }

  /** The viewer leaves, or another player begins. */
  quit(): void {
    if (this.#state !== null && this.#state !== "q") {
      this.#send("ps", "q");
    }
    this.#state = null;
    this.#session = randomId();
    this.#sequence = 0;
  }

  #send(event: "ps" | "t", state: PlayerState): void {
    const now = this.#watched.measure();
    const waited = Math.round((now.stallSeconds - this.#stallSeconds) * 1000);
    const bits = now.levels.find(({ name }) => name === now.rendition)?.bitrate ?? null;
    const age = now.mediaAgeMs === null ? null : Math.max(0, Math.round(now.mediaAgeMs));
    const report = encode({
      bl: now.width > 0 ? [Math.round(now.bufferSeconds * 10) * 100] : null,
      br: bits === null ? null : [Math.round(bits / 1000)],
      bs: now.stalls > this.#stalls,
      bsd: waited > 0 ? [waited] : null,
      cid: this.#channel,
      e: new Token(event),
      ltc: state === "p" ? age : null,
      sf: new Token(STREAMING_FORMATS[now.format]),
      sid: this.#session,
      sn: this.#sequence,
      st: new Token("ll"),
      sta: new Token(state),
      ts: Date.now(),
      v: 2,
    });
    this.#stalls = now.stalls;
    this.#stallSeconds = now.stallSeconds;
    this.#sequence += 1;
    this.#state = state;
    this.#sentAt = performance.now();
    // Also when the page is being left; an answer is not waited for, and a failure is not the viewer's.
    void fetch(this.#url, { method: "POST", body: report, headers: { "content-type": TYPE }, keepalive: true }).catch(
      () => undefined,
    );
  }
}

/** 128 random bits: `crypto.randomUUID` is not there without HTTPS. */
function randomId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Counts stalls: moments in which playback should go on and does not.
//
// A player that tells (the `waiting` event) and a picture that silently freezes both count, once. Players also
// tell of waits that are over before the next frame is due: those nobody sees, and they do not count.

/** A picture that has not moved for this long is a stall even if nobody says so. */
const FREEZE_MS = 400;
/** A wait that is told is seen once the picture has stood for two frames at 25 a second. */
const BRIEF_MS = 80;
/** More than playback can move between two looks. */
const JUMP_SECONDS = 1;

export interface Playback {
  /** Media time in seconds. */
  readonly time: number;
  /** Whether playback should be going on: not paused, not seeking, not at its end. */
  readonly wanted: boolean;
}

export class StallMeter {
  #count = 0;
  #millis = 0;
  #time = Number.NaN;
  #advancedAt = Number.NaN;
  #stalledSince: number | null = null;
  /** A wait that was told and has not been seen yet, and where the picture was. */
  #told: { readonly since: number; readonly time: number } | null = null;

  /** Stalls so far. */
  get count(): number {
    return this.#count;
  }

  /** Time spent in stalls that are over, in milliseconds. */
  get millis(): number {
    return this.#millis;
  }

  /** How long the stall of this moment has lasted, in milliseconds; 0 without one. */
  stalledFor(now: number): number {
    return this.#stalledSince === null ? 0 : now - this.#stalledSince;
  }

  /** Playback starts anew, with a wait that is no stall. What has been counted stays. */
  rearm(now: number): void {
    this.#end(now);
    this.#time = Number.NaN;
    this.#advancedAt = Number.NaN;
    this.#told = null;
  }

  /** Looks at playback; `now` is monotonic, in milliseconds. Call it several times a second. */
  observe(now: number, { time, wanted }: Playback): void {
    const step = time - this.#time;
    this.#time = time;
    if (this.#told && (!wanted || time !== this.#told.time)) {
      this.#told = null;
    }
    if (step !== 0) {
      // A jump is a seek, and not a sign that playback has started.
      const moved = wanted && step > 0 && step < JUMP_SECONDS; // false for the first look: NaN
      this.#advancedAt = moved ? now : Number.NaN;
      this.#end(now);
    } else if (!wanted) {
      this.#advancedAt = Number.NaN;
      this.#end(now);
    } else if (now - this.#advancedAt > FREEZE_MS) {
      this.#begin(this.#advancedAt);
    }
    if (this.#told && now - this.#told.since >= BRIEF_MS) {
      this.#begin(this.#told.since);
    }
  }

  /** The element says that it waits for data. Before the first movement that is not a stall. */
  waiting(now: number, { time, wanted }: Playback): void {
    if (wanted && !Number.isNaN(this.#advancedAt)) {
      this.#told ??= { since: now, time };
    }
  }

  #begin(since: number): void {
    if (this.#stalledSince === null) {
      this.#stalledSince = since;
      this.#count += 1;
    }
  }

  #end(now: number): void {
    if (this.#stalledSince !== null) {
      this.#millis += now - this.#stalledSince;
      this.#stalledSince = null;
    }
  }
}

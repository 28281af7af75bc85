// Which instant the picture showed at some moment, between the frames that were read.

export interface Shown {
  /** `performance.now()` when the frame reached the screen. */
  readonly at: number;
  /** The instant drawn into the frame, milliseconds since the epoch. */
  readonly clock: number;
}

/** Further from the nearest frame that was read, the answer would be a guess. */
const REACH_MS = 300;
/** Playback at up to twice or half the speed; anything else between two frames is a jump. */
const JUMP_MS = 300;

/**
 * The instant on the screen at `moment`; null where the frames read don't tell, or where playback
 * jumped. `shown` is in order of `at`.
 */
export function pictureClock(shown: readonly Shown[], moment: number): number | null {
  const next = shown.findIndex(({ at }) => at > moment);
  const before = shown.at(next < 0 ? -1 : next - 1);
  const after = next < 0 ? undefined : shown[next];
  if (!before || before.at > moment || moment - before.at > REACH_MS) {
    return null;
  }
  if (!after) {
    return before.clock + (moment - before.at);
  }
  const span = after.at - before.at;
  const moved = after.clock - before.clock;
  if (Math.abs(moved - span) > JUMP_MS) {
    return null;
  }
  return before.clock + (moved * (moment - before.at)) / span;
}

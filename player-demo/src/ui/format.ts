// Numbers for people.

const NOTHING = "–";

export function seconds(value: number | null): string {
  return value === null ? NOTHING : `${value.toFixed(1)} s`;
}

export function millis(value: number | null): string {
  return value === null ? NOTHING : `${Math.round(value)} ms`;
}

export function signedMillis(value: number | null): string {
  if (value === null) {
    return NOTHING;
  }
  const rounded = Math.round(value);
  return rounded === 0 ? "0 ms" : `${rounded > 0 ? "+" : "−"}${Math.abs(rounded)} ms`;
}

export function bitrate(bits: number): string {
  return bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mb/s` : `${Math.round(bits / 1e3)} kb/s`;
}

export function size(width: number, height: number): string {
  return width > 0 ? `${width} × ${height}` : NOTHING;
}

/** How long ago, in the largest unit that fits. */
export function age(span: number): string {
  const total = Math.max(0, Math.floor(span / 1000));
  const units = [
    [86_400, "d"],
    [3_600, "h"],
    [60, "min"],
  ] as const;
  for (const [length, name] of units) {
    if (total >= length) {
      return `${Math.floor(total / length)} ${name}`;
    }
  }
  return `${total} s`;
}

/** The time of day of an instant, UTC, with milliseconds. */
export function clockTime(instant: number | null): string {
  return instant === null ? NOTHING : new Date(instant).toISOString().slice(11, 23);
}

export function orNothing(text: string | null): string {
  return text ?? NOTHING;
}

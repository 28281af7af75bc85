// Where the time goes between the glass of the camera and that of the screen: five stages that add
// up to what was measured.
//
// The server tells its own stages (status.json). The rest follows from three ages of the media, by
// the server's clock: of the picture by the clock drawn into it, of the same picture by its date in
// the manifest, and of a part's end when it arrives.

import type { StageLatency } from "../channel";

export interface Split {
  /** The broadcaster, the way to the server, and its buffer. */
  readonly ingest: number | null;
  readonly encode: number | null;
  /** Until the first frame of a part can be fetched. */
  readonly part: number | null;
  /** From there to the browser's buffer. */
  readonly edge: number | null;
  /** What the player keeps in store. */
  readonly buffer: number | null;
}

export interface Ages {
  /** By the clock in the picture; null where there is none. */
  readonly glass: number | null;
  /** By the media's own date. */
  readonly media: number | null;
  /** Of a part's end at its arrival. */
  readonly delivery: number | null;
}

/** What was measured in all: by the picture's clock, or by its date and what the server adds. */
export function total({ glass, media }: Ages, server: StageLatency | null): number | null {
  if (glass !== null) {
    return glass;
  }
  return media === null ? null : media + (server?.ingest_ms ?? 0);
}

/** All in milliseconds; a stage that can't be told is null, and counts to the player's buffer. */
export function split(ages: Ages, server: StageLatency | null): Split {
  const all = total(ages, server);
  const encode = server?.encode_ms ?? null;
  const part = server?.part_ms ?? null;
  const ingest =
    ages.glass !== null && ages.media !== null ? Math.max(0, ages.glass - ages.media) : (server?.ingest_ms ?? null);
  // A part's end was live, then its last frame encoded and packaged; what is left is the way.
  const inside = (encode ?? 0) + (server?.package_ms ?? 0);
  const edge = ages.delivery === null ? null : Math.max(0, ages.delivery - inside);
  const known = (ingest ?? 0) + (encode ?? 0) + (part ?? 0) + (edge ?? 0);
  return { ingest, encode, part, edge, buffer: all === null ? null : Math.max(0, all - known) };
}

/** What of the server's stages a preview goes through: it is sent picture by picture, and waits for no part. */
export function ofPictures(server: StageLatency | null): StageLatency | null {
  return server && { ...server, part_ms: null, package_ms: null };
}

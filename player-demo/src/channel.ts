// What the server says of its channels: `/channels.json` and `/live/{channel}/status.json`.

export type ChannelState = "idle" | "starting" | "live" | "holding" | "ended";

export interface ChannelEntry {
  readonly name: string;
  readonly state: ChannelState;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

/** The part of a channel's status that the page shows. */
export interface ChannelStatus {
  readonly state: ChannelState;
  readonly since: number;
  readonly segment_ms: number | null;
  readonly part_ms: number | null;
  readonly fps: string | null;
  readonly renditions: readonly RenditionStatus[];
  readonly breaks: readonly AdBreak[];
  readonly latency: StageLatency;
  readonly last_error: string | null;
}

/** What can be played. */
export interface RenditionStatus {
  readonly name: string;
  /** Width and height; null of sound. */
  readonly size: readonly [number, number] | null;
  /** Bits per second. */
  readonly bitrate: number;
}

/** An ad break, in milliseconds since the epoch; its end may still change. */
export interface AdBreak {
  readonly start_ms: number;
  readonly end_ms: number;
}

/** Medians in milliseconds; null where nothing has passed yet, or nothing is encoded. */
export interface StageLatency {
  readonly ingest_ms: number | null;
  readonly encode_ms: number | null;
  readonly part_ms: number | null;
  readonly package_ms: number | null;
}

export const STATE_WORDS: Record<ChannelState, string> = {
  idle: "Not live",
  starting: "Starting",
  live: "Live",
  holding: "Source lost",
  ended: "Ended",
};

/** Whether there is something to play. */
export function isPlayable(state: ChannelState): boolean {
  return state === "live" || state === "holding";
}

export async function fetchChannels(): Promise<ChannelEntry[]> {
  return (await fetchJson("/channels.json")) as ChannelEntry[];
}

/** Null where the server knows no such channel, or not yet. */
export async function fetchStatus(channel: string): Promise<ChannelStatus | null> {
  const url = `/live/${encodeURIComponent(channel)}/status.json`;
  return (await fetchJson(url)) as ChannelStatus | null;
}

async function fetchJson(url: string): Promise<unknown> {
  const response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(5_000) });
  if (response.status === 404) {
    return null;
  }
  if (!response.ok) {
    throw new Error(`the server answered ${response.status}`);
  }
  return response.json();
}

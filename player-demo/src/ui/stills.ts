// Stills of the past, one a segment, as the channel's image playlist lists them.
//
//   index.m3u8 ─▶ which rendition has them ─▶ images.m3u8 ─▶ the address of the one that is on at a date
//
// Nothing is fetched before somebody asks. The pictures are the browser's to fetch and to keep.

/** A list is fetched again when it is older than this, and one that could not be had after as long. */
const FRESH_MS = 5_000;
/** Longest wait for a list. */
const PATIENCE_MS = 3_000;

export interface Still {
  /** When it is on, in milliseconds since the epoch. */
  readonly date: number;
  readonly seconds: number;
  readonly url: string;
}

/** Reads an image playlist: what is no gap. */
export function stillsOf(text: string, base: string): Still[] {
  const stills: Still[] = [];
  let [date, seconds, gap] = [Number.NaN, 0, false];
  for (const line of text.split("\n")) {
    if (line.startsWith("#EXT-X-PROGRAM-DATE-TIME:")) {
      date = Date.parse(line.slice(line.indexOf(":") + 1));
    } else if (line.startsWith("#EXTINF:")) {
      seconds = Number.parseFloat(line.slice("#EXTINF:".length));
    } else if (line.startsWith("#EXT-X-GAP")) {
      gap = true;
    } else if (line !== "" && !line.startsWith("#")) {
      if (!gap && !Number.isNaN(date)) {
        stills.push({ date, seconds, url: new URL(line, base).href });
      }
      date += seconds * 1000;
      gap = false;
    }
  }
  return stills;
}

/** The still that is on at a date; null where there is none. */
export function stillAt(stills: readonly Still[], date: number): Still | null {
  const after = stills.findIndex((still) => still.date > date);
  const still = stills.at(after === -1 ? -1 : after - 1);
  return after !== 0 && still && date < still.date + still.seconds * 1000 + 1_000 ? still : null;
}

/** Where the stills of a channel are listed; null if it has none. */
export function listOf(multivariant: string, base: string): string | null {
  const line = multivariant.split("\n").find((line) => line.startsWith("#EXT-X-IMAGE-STREAM-INF:"));
  const uri = /URI="([^"]+)"/.exec(line ?? "")?.[1];
  return uri === undefined ? null : new URL(uri, base).href;
}

export class Stills {
  readonly #multivariant: string;
  #list: string | null = null;
  #stills: readonly Still[] = [];
  #askedAt = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | null = null;

  constructor(channel: string, origin: string) {
    this.#multivariant = new URL(`${origin}/live/${encodeURIComponent(channel)}/index.m3u8`, location.href).href;
  }

  /** The address of the still that is on at a date; null where there is none, or no list can be had. */
  async at(date: number): Promise<string | null> {
    if (this.#fetching === null && performance.now() - this.#askedAt > FRESH_MS) {
      this.#askedAt = performance.now();
      this.#fetching = this.#fetch().finally(() => (this.#fetching = null));
    }
    await this.#fetching?.catch(() => undefined);
    return stillAt(this.#stills, date)?.url ?? null;
  }

  async #fetch(): Promise<void> {
    this.#list ??= listOf(await text(this.#multivariant), this.#multivariant);
    if (this.#list !== null) {
      this.#stills = stillsOf(await text(this.#list), this.#list);
    }
  }
}

async function text(url: string): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) {
    throw new Error(`${url}: ${response.status}`);
  }
  return response.text();
}

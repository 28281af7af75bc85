// Pictures of the past: the key frames of the smallest rung, one a segment, decoded beside the player.
//
//   iframes.m3u8 ─▶ which key frame is at a date ─▶ {rendition}.keys/{k}.m4s ─▶ a hidden element ─▶ bitmap
//
// Nothing is fetched before somebody asks, and then one at a time: the newest wish counts.

/** A list is fetched again when it is older than this. */
const FRESH_MS = 5_000;
/** Pictures that are kept. */
const KEPT = 120;
/** Longest wait for a picture to be decoded. */
const PATIENCE_MS = 3_000;

export interface KeyFrame {
  /** When it is on, in milliseconds since the epoch. */
  readonly date: number;
  readonly seconds: number;
  readonly init: string;
  readonly url: string;
}

/** Reads an I-frame playlist: what is no gap, with addresses of key frames alone. */
export function keyFramesOf(text: string, base: string): KeyFrame[] {
  const frames: KeyFrame[] = [];
  let [date, seconds, init, gap] = [Number.NaN, 0, "", false];
  for (const line of text.split("\n")) {
    if (line.startsWith("#EXT-X-MAP:")) {
      init = new URL(/URI="([^"]+)"/.exec(line)?.[1] ?? "", base).href;
    } else if (line.startsWith("#EXT-X-PROGRAM-DATE-TIME:")) {
      date = Date.parse(line.slice(line.indexOf(":") + 1));
    } else if (line.startsWith("#EXTINF:")) {
      seconds = Number.parseFloat(line.slice("#EXTINF:".length));
    } else if (line.startsWith("#EXT-X-GAP")) {
      gap = true;
    } else if (line !== "" && !line.startsWith("#")) {
      if (!gap && !Number.isNaN(date)) {
        const url = new URL(line, base).href.replace(/\/(\d+\.m4s)$/, ".keys/$1");
        frames.push({ date, seconds, init, url });
      }
      date += seconds * 1000;
      gap = false;
    }
  }
  return frames;
}

/** The key frame that is on at a date; null where there is none. */
export function keyFrameAt(frames: readonly KeyFrame[], date: number): KeyFrame | null {
  const after = frames.findIndex((frame) => frame.date > date);
  const frame = frames.at(after === -1 ? -1 : after - 1);
  return after !== 0 && frame && date < frame.date + frame.seconds * 1000 + 1_000 ? frame : null;
}

export class KeyFrames {
  readonly #channel: string;
  readonly #origin: string;
  #rendition: { readonly name: string; readonly codecs: string } | null = null;
  #frames: readonly KeyFrame[] = [];
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #decoder: Decoder | null = null;
  readonly #kept = new Map<string, ImageBitmap>();
  #wanted: number | null = null;
  #busy = false;

  constructor(channel: string, origin: string) {
    this.#channel = channel;
    this.#origin = origin;
  }

  /** Gives the picture at a date to `show`, unless a newer wish comes before that is there. */
  want(date: number, show: (picture: ImageBitmap) => void): void {
    this.#wanted = date;
    if (!this.#busy) {
      void this.#work(show);
    }
  }

  end(): void {
    this.#wanted = null;
    this.#decoder?.end();
    this.#kept.forEach((picture) => picture.close());
    this.#kept.clear();
  }

  async #work(show: (picture: ImageBitmap) => void): Promise<void> {
    this.#busy = true;
    while (this.#wanted !== null) {
      const date = this.#wanted;
      const picture = await this.#picture(date).catch(() => null);
      if (this.#wanted === date) {
        this.#wanted = null;
        if (picture) {
          show(picture);
        }
      }
    }
    this.#busy = false;
  }

  async #picture(date: number): Promise<ImageBitmap | null> {
    await this.#refresh();
    const frame = keyFrameAt(this.#frames, date);
    if (!frame || !this.#rendition) {
      return null;
    }
    const known = this.#kept.get(frame.url);
    if (known) {
      return known;
    }
    this.#decoder ??= await Decoder.open(`video/mp4; codecs="${this.#rendition.codecs}"`);
    const picture = await this.#decoder.decode(await bytes(frame.init), await bytes(frame.url));
    this.#kept.set(frame.url, picture);
    const [oldest] = this.#kept;
    if (this.#kept.size > KEPT && oldest) {
      oldest[1].close();
      this.#kept.delete(oldest[0]);
    }
    return picture;
  }

  async #refresh(): Promise<void> {
    const now = performance.now();
    if (now - this.#fetchedAt < FRESH_MS) {
      return;
    }
    const base = new URL(`${this.#origin}/live/${encodeURIComponent(this.#channel)}/`, location.href).href;
    this.#rendition ??= smallest(await text(`${base}index.m3u8`));
    if (this.#rendition) {
      const url = `${base}${this.#rendition.name}/iframes.m3u8`;
      this.#frames = keyFramesOf(await text(url), url);
      this.#fetchedAt = now;
    }
  }
}

/** The I-frame playlist of the fewest bits. */
function smallest(multivariant: string): { name: string; codecs: string } | null {
  const lists = multivariant.split("\n").filter((line) => line.startsWith("#EXT-X-I-FRAME-STREAM-INF:"));
  const found = lists.map((line) => ({
    bits: Number(/BANDWIDTH=(\d+)/.exec(line)?.[1]),
    codecs: /CODECS="([^"]+)"/.exec(line)?.[1] ?? "",
    name: /URI="([^"/]+)\/iframes\.m3u8"/.exec(line)?.[1] ?? "",
  }));
  return found.filter(({ name }) => name !== "").sort((a, b) => a.bits - b.bits)[0] ?? null;
}

async function text(url: string): Promise<string> {
  return (await answer(url)).text();
}

async function bytes(url: string): Promise<ArrayBuffer> {
  return (await answer(url)).arrayBuffer();
}

async function answer(url: string): Promise<Response> {
  const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) {
    throw new Error(`${url}: ${response.status}`);
  }
  return response;
}

/** An element that nobody sees, which decodes one picture after the other. */
class Decoder {
  readonly #video = document.createElement("video");
  readonly #buffer: SourceBuffer;

  private constructor(video: HTMLVideoElement, buffer: SourceBuffer) {
    this.#video = video;
    this.#buffer = buffer;
  }

  static async open(type: string): Promise<Decoder> {
    const video = document.createElement("video");
    video.muted = true;
    const source = new MediaSource();
    video.src = URL.createObjectURL(source);
    await once(source, "sourceopen");
    return new Decoder(video, source.addSourceBuffer(type));
  }

  async decode(init: ArrayBuffer, frame: ArrayBuffer): Promise<ImageBitmap> {
    for (const piece of [init, frame]) {
      this.#buffer.appendBuffer(piece);
      await once(this.#buffer, "updateend");
    }
    const { buffered } = this.#buffer;
    const at = buffered.start(buffered.length - 1);
    const decoded = once(this.#video, "seeked");
    this.#video.currentTime = at + 0.001;
    await decoded;
    const picture = await createImageBitmap(this.#video);
    this.#buffer.remove(0, Number.POSITIVE_INFINITY);
    await once(this.#buffer, "updateend");
    return picture;
  }

  end(): void {
    URL.revokeObjectURL(this.#video.src);
    this.#video.removeAttribute("src");
    this.#video.load();
  }
}

function once(target: EventTarget, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${name}`)), PATIENCE_MS);
    target.addEventListener(
      name,
      () => {
        clearTimeout(late);
        resolve();
      },
      { once: true },
    );
  });
}

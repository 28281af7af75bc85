// A preview by WebRTC behind the page's interface: one offer to `/live/{channel}/whep`, and what comes is
// shown as soon as it can be (draft-ietf-wish-whep). There is nothing to seek in and nothing in store.
//
// Browsers hold sound for longer than a picture, and the picture back to its sound. So one that is muted is
// asked for without, and `sound=off` in the page's address asks for none ever. Another rendition, and sound that
// is switched on or off, is another session, which takes the element from the one before when its picture comes.

import { fetchStatus } from "../channel";
import { AUTO, type Level, type Player, type PlayerEvents } from "./player";
import { inStereo } from "./sdp";

export class WebRtcPlayer implements Player {
  readonly format = "webrtc";
  readonly #video: HTMLVideoElement;
  readonly #url: string;
  readonly #channel: string;
  readonly #events: PlayerEvents;
  #levels: readonly Level[] = [];
  #selected: string;
  /** What the element shows, and what is to take its place. */
  #session: Session | null = null;
  #next: Session | null = null;
  readonly #life = new AbortController();
  readonly #maySound = new URLSearchParams(location.search).get("sound") !== "off";

  constructor(
    video: HTMLVideoElement,
    url: string,
    { channel, rendition }: { readonly channel: string; readonly rendition: string },
    events: PlayerEvents,
  ) {
    this.#video = video;
    this.#url = url;
    this.#channel = channel;
    this.#selected = rendition;
    this.#events = events;
    void this.#connect();
    void this.#learnLevels();
    video.addEventListener("volumechange", () => this.#followSound(), { signal: this.#life.signal });
  }

  levels(): readonly Level[] {
    return this.#levels;
  }

  playing(): string | null {
    const { videoHeight } = this.#video;
    if (videoHeight === 0) {
      return null;
    }
    return this.#levels.find(({ height }) => height === videoHeight)?.name ?? `${videoHeight}p`;
  }

  select(name: string): void {
    if (name !== this.#selected) {
      this.#selected = name;
      void this.#connect();
    }
  }

  // It is always there.
  seekToLive(): void {}

  seek(): void {}

  date(): number | null {
    return null;
  }

  destroy(): void {
    this.#life.abort();
    this.#session?.end();
    this.#next?.end();
    this.#video.srcObject = null;
  }

  async #learnLevels(): Promise<void> {
    const status = await fetchStatus(this.#channel).catch(() => null);
    const renditions = status?.renditions ?? [];
    this.#levels = renditions
      .flatMap(({ name, size, bitrate }) => (size ? [{ name, width: size[0], height: size[1], bitrate }] : []))
      .sort((a, b) => b.bitrate - a.bitrate);
    if (!this.#life.signal.aborted) {
      this.#events.levels();
    }
  }

  get #wantsSound(): boolean {
    return this.#maySound && !this.#video.muted;
  }

  #followSound(): void {
    const newest = this.#next ?? this.#session;
    if (newest && newest.withSound !== this.#wantsSound) {
      void this.#connect();
    }
  }

  async #connect(): Promise<void> {
    if (this.#life.signal.aborted) {
      return;
    }
    this.#next?.end();
    const query = this.#selected === AUTO ? "" : `?rendition=${encodeURIComponent(this.#selected)}`;
    const session = new Session(this.#url + query, this.#wantsSound);
    this.#next = session;
    const mine = () => !this.#life.signal.aborted && (this.#session === session || this.#next === session);
    try {
      await session.begin({
        coming: (stream, picture) => {
          const show = () => {
            if (mine()) {
              this.#session?.end();
              this.#session = session;
              this.#next = null;
              this.#video.srcObject = stream;
            }
          };
          // One that is shown stays until then.
          if (this.#session) {
            picture.addEventListener("unmute", show, { once: true });
          } else {
            show();
          }
        },
        lost: () => {
          if (mine()) {
            this.#events.failed("The preview's connection is gone");
          }
        },
      });
    } catch (problem) {
      if (mine()) {
        this.#events.failed(`The preview did not begin (${problem instanceof Error ? problem.message : String(problem)})`);
      }
    }
  }
}

interface SessionEvents {
  /** The session is agreed upon; the first packet of its picture will unmute this track. */
  coming(stream: MediaStream, picture: MediaStreamTrack): void;
  lost(): void;
}

class Session {
  readonly withSound: boolean;
  readonly #url: string;
  readonly #peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  #resource: string | null = null;
  #ended = false;

  constructor(url: string, withSound: boolean) {
    this.#url = url;
    this.withSound = withSound;
  }

  async begin(events: SessionEvents): Promise<void> {
    const peer = this.#peer;
    const stream = new MediaStream();
    peer.addEventListener("track", ({ track }) => {
      stream.addTrack(track);
      if (track.kind === "video") {
        events.coming(stream, track);
      }
    });
    peer.addEventListener("connectionstatechange", () => {
      if (peer.connectionState === "failed" || peer.connectionState === "closed") {
        events.lost();
      }
    });
    peer.addTransceiver("video", { direction: "recvonly" });
    if (this.withSound) {
      peer.addTransceiver("audio", { direction: "recvonly" });
    }
    const offer = await peer.createOffer();
    await peer.setLocalDescription({ type: "offer", sdp: inStereo(offer.sdp ?? "") });
    // Without waiting for addresses of its own: the server never calls on any.
    const response = await fetch(this.#url, {
      method: "POST",
      headers: { "content-type": "application/sdp" },
      body: peer.localDescription?.sdp ?? "",
    });
    const text = await response.text();
    if (response.status !== 201) {
      throw new Error(`HTTP ${response.status}: ${text.trim()}`);
    }
    const location = response.headers.get("location");
    this.#resource = location && new URL(location, response.url).href;
    if (this.#ended) {
      await this.#leave();
      return;
    }
    await peer.setRemoteDescription({ type: "answer", sdp: text });
    // When the server ends it, the transport closes, and the connection may say so late.
    const transport = peer.getReceivers()[0]?.transport;
    transport?.addEventListener("statechange", () => {
      if (!this.#ended && (transport.state === "closed" || transport.state === "failed")) {
        events.lost();
      }
    });
  }

  end(): void {
    this.#ended = true;
    // Told first: a session whose connection has ended is not there any more to be deleted.
    void this.#leave().finally(() => this.#peer.close());
  }

  async #leave(): Promise<void> {
    const resource = this.#resource;
    this.#resource = null;
    if (resource) {
      // Also while the page is being left. A server that is not told finds out by itself.
      await fetch(resource, { method: "DELETE", keepalive: true }).catch(() => undefined);
    }
  }
}

// Publishes a stream by WHIP, and again when the line breaks.

const AGAIN_MS = 1_000;
/** How long a line may be silent before it is made anew: browsers wait for much longer by themselves. */
const DISCONNECTED_MS = 2_000;
/** Bits per second of the picture at the most. */
const MAX_BITRATE = 4_000_000;

export type PublisherState =
  | { readonly kind: "idle" | "live" }
  | { readonly kind: "connecting" | "refused"; readonly problem?: string };

export interface Sent {
  readonly bitrate: number;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly rttMs: number | null;
  readonly lostPercent: number | null;
}

export class Publisher {
  readonly #url: string;
  readonly #key: string;
  readonly #stream: MediaStream;
  readonly #tell: (state: PublisherState) => void;
  #peer: RTCPeerConnection | null = null;
  #resource: string | null = null;
  #ended = false;
  #before: { at: number; bytes: number } | null = null;

  constructor(url: string, key: string, stream: MediaStream, tell: (state: PublisherState) => void) {
    this.#url = url;
    this.#key = key;
    this.#stream = stream;
    this.#tell = tell;
    void this.#connect();
  }

  end(): void {
    this.#ended = true;
    this.#leave();
  }

  async measure(): Promise<Sent | null> {
    const stats = await this.#peer?.getStats();
    if (!stats) {
      return null;
    }
    const all = [...stats.values()];
    const picture = all.find(({ type, kind }) => type === "outbound-rtp" && kind === "video");
    const heard = all.find(({ type, kind }) => type === "remote-inbound-rtp" && kind === "video");
    const bytes = all.filter(({ type }) => type === "outbound-rtp").reduce((sum, { bytesSent }) => sum + (bytesSent ?? 0), 0);
    const now = { at: performance.now(), bytes };
    const before = this.#before ?? now;
    this.#before = now;
    const seconds = (now.at - before.at) / 1000;
    return {
      bitrate: seconds > 0 ? ((now.bytes - before.bytes) * 8) / seconds : 0,
      width: picture?.frameWidth ?? 0,
      height: picture?.frameHeight ?? 0,
      fps: picture?.framesPerSecond ?? 0,
      rttMs: heard?.roundTripTime === undefined ? null : heard.roundTripTime * 1000,
      lostPercent: heard?.fractionLost === undefined ? null : heard.fractionLost * 100,
    };
  }

  async #connect(): Promise<void> {
    this.#leave();
    if (this.#ended) {
      return;
    }
    this.#tell({ kind: "connecting" });
    const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#peer = peer;
    this.#before = null;
    const mine = () => !this.#ended && this.#peer === peer;
    let silent: ReturnType<typeof setTimeout> | undefined;
    peer.addEventListener("connectionstatechange", () => {
      clearTimeout(silent);
      if (!mine()) {
        return;
      }
      switch (peer.connectionState) {
        case "connected":
          this.#tell({ kind: "live" });
          break;
        case "disconnected":
          silent = setTimeout(() => mine() && this.#again("The line is silent"), DISCONNECTED_MS);
          break;
        case "failed":
        case "closed":
          this.#again("The line is broken");
      }
    });
    for (const track of this.#stream.getTracks()) {
      const { sender } = peer.addTransceiver(track, { direction: "sendonly", streams: [this.#stream] });
      if (track.kind === "video") {
        const parameters = sender.getParameters();
        parameters.encodings.forEach((encoding) => (encoding.maxBitrate = MAX_BITRATE));
        await sender.setParameters(parameters).catch(() => undefined);
      }
    }
    try {
      await peer.setLocalDescription();
      // Without waiting for addresses of its own: the server never calls on any.
      const headers: Record<string, string> = { "content-type": "application/sdp" };
      if (this.#key) {
        headers["authorization"] = `Bearer ${this.#key}`;
      }
      const response = await fetch(this.#url, { method: "POST", headers, body: peer.localDescription?.sdp ?? "" });
      const text = await response.text();
      if (!mine()) {
        return;
      }
      if (response.status !== 201) {
        // What is refused now is refused again, unless the server only has no room or no time.
        if (response.status >= 500) {
          this.#again(text.trim());
        } else {
          this.#leave();
          this.#tell({ kind: "refused", problem: text.trim() });
        }
        return;
      }
      const location = response.headers.get("location");
      this.#resource = location && new URL(location, response.url).href;
      await peer.setRemoteDescription({ type: "answer", sdp: text });
      const transport = peer.getSenders()[0]?.transport;
      transport?.addEventListener("statechange", () => {
        if (mine() && (transport.state === "closed" || transport.state === "failed")) {
          this.#again("The server ended the session");
        }
      });
    } catch (problem) {
      if (mine()) {
        this.#again(problem instanceof Error ? problem.message : String(problem));
      }
    }
  }

  #again(problem: string): void {
    this.#leave();
    this.#tell({ kind: "connecting", problem });
    setTimeout(() => void this.#connect(), AGAIN_MS);
  }

  #leave(): void {
    this.#peer?.close();
    this.#peer = null;
    if (this.#resource) {
      fetch(this.#resource, { method: "DELETE", keepalive: true }).catch(() => undefined);
      this.#resource = null;
    }
  }
}

// The page that goes live from a camera: one offer to `/live/{channel}/whip` with the channel's key (RFC 9725).
// A line that breaks is made anew for as long as the publisher has not said that it is enough.

import "./style/base.css";
import "./style/publish.css";
import { Publisher, type PublisherState } from "./players/whip";
import { element, setText, within } from "./ui/dom";
import { bitrate } from "./ui/format";

const FIGURES_MS = 1_000;

const channel = decodeURIComponent(/^\/publish\/([^/]+)/.exec(location.pathname)?.[1] ?? "");
document.title = `${channel} · Headwater`;
element("channel", HTMLElement).textContent = channel;
const watch = element("watch", HTMLAnchorElement);
watch.href = `/watch/${encodeURIComponent(channel)}`;

const form = element("form", HTMLFormElement);
const key = element("key", HTMLInputElement);
const camera = element("camera", HTMLSelectElement);
const microphone = element("microphone", HTMLSelectElement);
const go = element("go", HTMLButtonElement);
const preview = element("preview", HTMLVideoElement);
const note = element("note", HTMLElement);
const badge = element("state", HTMLElement);

const BADGES: Record<PublisherState["kind"], readonly [state: string, word: string]> = {
  idle: ["idle", "Not live"],
  connecting: ["starting", "Connecting"],
  live: ["live", "Live"],
  refused: ["ended", "Refused"],
};

let publisher: Publisher | null = null;

function show(state: PublisherState): void {
  const [word, text] = BADGES[state.kind];
  badge.dataset["state"] = word;
  setText(badge, text);
  setText(note, state.kind === "refused" || state.kind === "connecting" ? (state.problem ?? "") : "");
  const on = state.kind === "connecting" || state.kind === "live";
  setText(go, on ? "Stop" : "Go live");
  for (const field of [key, camera, microphone]) {
    field.disabled = on;
  }
}

function chosen({ value }: HTMLSelectElement): MediaTrackConstraints {
  return value === "" ? {} : { deviceId: value };
}

async function captured(): Promise<MediaStream> {
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { ...chosen(camera), width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
    // What cleans up a voice spoils everything else; channels are for more than voices.
    audio: { ...chosen(microphone), echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  preview.srcObject = stream;
  await showDevices();
  return stream;
}

async function showDevices(): Promise<void> {
  const devices = await navigator.mediaDevices.enumerateDevices();
  for (const [menu, kind] of [
    [camera, "videoinput"],
    [microphone, "audioinput"],
  ] as const) {
    const before = menu.value;
    const of = devices.filter((device) => device.kind === kind);
    menu.replaceChildren(...of.map(({ label, deviceId }, index) => new Option(label || `${index + 1}`, deviceId)));
    menu.value = before || (of[0]?.deviceId ?? "");
  }
}

function release(): void {
  const stream = preview.srcObject;
  if (stream instanceof MediaStream) {
    stream.getTracks().forEach((track) => track.stop());
  }
  preview.srcObject = null;
}

async function begin(): Promise<void> {
  try {
    const stream = await captured();
    publisher = new Publisher(`/live/${encodeURIComponent(channel)}/whip`, key.value, stream, show);
  } catch (problem) {
    show({ kind: "refused", problem: `No camera: ${problem instanceof Error ? problem.message : String(problem)}` });
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (publisher) {
    publisher.end();
    publisher = null;
    release();
    show({ kind: "idle" });
  } else {
    void begin();
  }
});

setInterval(async () => {
  const now = await publisher?.measure();
  const figure = (name: string, text: string) => setText(within(document, `[data-figure="${name}"]`, HTMLElement), text);
  figure("bitrate", now?.bitrate ? bitrate(now.bitrate) : "–");
  figure("picture", now?.width ? `${now.width}×${now.height}, ${Math.round(now.fps)} fps` : "–");
  figure("rtt", now?.rttMs == null ? "–" : `${Math.round(now.rttMs)} ms`);
  figure("lost", now?.lostPercent == null ? "–" : `${now.lostPercent.toFixed(1)} %`);
}, FIGURES_MS);

addEventListener("pagehide", () => publisher?.end());
if (navigator.mediaDevices) {
  void showDevices();
} else {
  // getUserMedia is for secure contexts, and loopback is one.
  show({ kind: "refused", problem: "Browsers give a camera to pages over HTTPS only, or on the same machine" });
  go.disabled = true;
}

// The watch page: one channel, played by hls.js or dash.js, with its measurements.

import "./style/base.css";
import "./style/watch.css";
import { Session } from "./session";
import { AvSyncMeter } from "./meter/avsync";
import { LatencyMeter } from "./meter/latency";
import { ServerClock } from "./meter/serverclock";
import { exposeHeadwater, type Measurements } from "./headwater";
import { element } from "./ui/dom";
import { Choices } from "./ui/choices";
import { Overlay } from "./ui/overlay";
import { Panel } from "./ui/panel";

const REFRESH_MS = 250;

const channel = decodeURIComponent(/^\/watch\/([^/]+)/.exec(location.pathname)?.[1] ?? "");
const video = element("video", HTMLVideoElement);
document.title = `${channel} · Headwater`;
element("channel", HTMLElement).textContent = channel;

const clock = new ServerClock();
void clock.keep(new AbortController().signal);
const latency = new LatencyMeter(video, clock);
const avsync = new AvSyncMeter(video, () => latency.samples);
const overlay = new Overlay();
const panel = new Panel();

const session = new Session(video, channel, {
  state: (state) => overlay.show(state),
  status: (status) => panel.showStatus(status),
  levels: () => choices.showLevels(session.levels(), session.selected),
  restarted: () => {
    latency.reset();
    avsync.reset();
  },
});
const choices = new Choices(location, {
  format: (format) => void session.play(format),
  rendition: (name) => session.select(name),
});
overlay.onUnmute(() => {
  video.muted = false;
  void avsync.start();
});

function measure(): Measurements {
  return session.measure(latency, avsync);
}
exposeHeadwater(measure, (name) => {
  session.select(name);
  choices.showLevels(session.levels(), session.selected);
});

setInterval(() => {
  const now = measure();
  panel.show(now, latency.samples);
  overlay.showSound(video);
  // Only a picture with a clock has ticks in its sound.
  if (now.clockMillis !== null) {
    void avsync.start();
  }
}, REFRESH_MS);

session.select(choices.rendition);
void session.play(choices.format);

// media-chrome takes a playlist of known length for a recording, and would seek to the last picture
// there is, where a player starves.
Object.assign(video, { streamType: "live" });
element("live", HTMLElement).addEventListener("mediaseektoliverequest", (event) => {
  event.stopPropagation();
  session.seekToLive();
});
// The controls are not what a viewer waits for.
void import("media-chrome");

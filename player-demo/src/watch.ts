// The watch page: one channel, played by hls.js, by dash.js, by both beside each other, or as a preview by
// WebRTC, with their measurements.

import "./style/base.css";
import "./style/watch.css";
import { STATE_WORDS, type ChannelStatus } from "./channel";
import { exposeHeadwater } from "./headwater";
import { ServerClock } from "./meter/serverclock";
import { Pane } from "./pane";
import { origins } from "./players/origins";
import type { Format } from "./players/player";
import { Choices, type View } from "./ui/choices";
import { element, setText } from "./ui/dom";
import { Graph } from "./ui/graph";
import { Legend } from "./ui/legend";

const REFRESH_MS = 250;

const channel = decodeURIComponent(/^\/watch\/([^/]+)/.exec(location.pathname)?.[1] ?? "");
document.title = `${channel} · Headwater`;
element("channel", HTMLElement).textContent = channel;

const clock = new ServerClock();
void clock.keep(new AbortController().signal);
const graph = new Graph();
const legend = new Legend();
const badge = element("state", HTMLElement);
const hint = element("hint", HTMLElement);
const stand = element("panes", HTMLElement);
const choices = new Choices(location, {
  view: (view) => show(view),
  rendition: (name) => select(name),
});
let panes: Pane[] = [];

function show(view: View): void {
  for (const pane of panes) {
    pane.end();
  }
  const { second, crowded } = origins(location);
  const both = view === "both";
  const formats: readonly Format[] = both ? ["hls", "dash"] : [view];
  panes = formats.map(
    (format, index) =>
      new Pane(
        { channel, format, origin: index === 0 ? "" : second, quiet: both, clock },
        {
          status: showStatus,
          levels: () => showLevels(),
        },
      ),
  );
  stand.dataset["view"] = view;
  stand.append(...panes.map(({ root }) => root));
  hint.hidden = !(both && crowded);
  setText(hint, "Both players share this host’s six connections and may wait for each other; over HTTPS they do not.");
  for (const pane of panes) {
    pane.root.querySelector("details")?.toggleAttribute("open", !both);
    // Two sounds a moment apart are none.
    pane.video.addEventListener("volumechange", () => {
      if (!pane.video.muted) {
        for (const other of panes.filter((each) => each !== pane)) {
          other.video.muted = true;
        }
      }
    });
    pane.select(choices.rendition);
    pane.play();
  }
}

function showStatus(status: ChannelStatus | null): void {
  const state = status?.state ?? "idle";
  badge.dataset["state"] = state;
  setText(badge, STATE_WORDS[state]);
}

function showLevels(): void {
  const [first] = panes;
  const levels = panes.map((pane) => pane.levels()).find((known) => known.length > 0) ?? [];
  if (first) {
    choices.showLevels(levels, first.selected);
  }
}

function select(rendition: string): void {
  for (const pane of panes) {
    pane.select(rendition);
  }
}

show(choices.view);
exposeHeadwater(
  () => panes.map((pane) => pane.measure()),
  (rendition) => {
    select(rendition);
    showLevels();
  },
);

setInterval(() => {
  for (const pane of panes) {
    pane.refresh();
  }
  graph.show(
    panes.map(({ format, history }) => ({ name: format, samples: history.samples })),
    performance.now(),
  );
  const [first] = panes;
  if (first) {
    const { breaks, shown } = first.breaks();
    graph.showBreaks(breaks, shown);
  }
  legend.show(panes);
}, REFRESH_MS);

addEventListener("pagehide", () => {
  for (const pane of panes) {
    pane.leave();
  }
});
// The controls are not what a viewer waits for.
void import("media-chrome");

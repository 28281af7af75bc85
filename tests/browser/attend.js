// In the page of stage.mjs: opens players, with their stock configuration unless their name says
// otherwise, and watches each for what a viewer would mind.

"use strict";

/** How often a picture is looked at. */
const LOOK_MS = 100;
/** A picture that has not moved for this long is a stall even if nobody says so. */
const FREEZE_MS = 400;
/** More than playback can move between two looks, beyond the time between them. */
const JUMP_SECONDS = 1;
/** Players find their place in the first moments. */
const SETTLED_SECONDS = 1;
/** A player that joins late has this long to get to the latency it aims at. */
const CAUGHT_UP_SECONDS = 5;

/** Errors of dash.js that it goes on after: a segment or a clock that could not be loaded. */
const DASH_SURVIVES = new Set(
  [
    "TIME_SYNC_FAILED_ERROR_CODE",
    "FRAGMENT_LOADER_LOADING_FAILURE_ERROR_CODE",
    "FRAGMENT_LOADER_NULL_REQUEST_ERROR_CODE",
    "DOWNLOAD_ERROR_ID_CONTENT_CODE",
  ].map((name) => dashjs.MediaPlayer.errors[name]),
);

/** What events of SCTE-35 are called in DASH. */
const CUES = ["urn:scte:scte35:2014:xml+bin", "urn:scte:scte35:2013:xml", "urn:scte:scte35:2013:bin"];

function openHls(video, url, { note, raised, ads }, config) {
  const hls = new Hls(config);
  video.textTracks.addEventListener("addtrack", ({ track }) => {
    track.addEventListener("cuechange", () => {
      const now = hls.playingDate?.getTime();
      for (const { id, startTime } of track.activeCues ?? []) {
        raised(id, now + (startTime - video.currentTime) * 1000, now);
      }
    });
  });
  hls.on(Hls.Events.ERROR, (_, { fatal, details }) => note(fatal, details));
  const { Events } = Hls;
  for (const [what, name] of [
    ["begun", Events.INTERSTITIAL_STARTED],
    ["asset begun", Events.INTERSTITIAL_ASSET_STARTED],
    ["asset over", Events.INTERSTITIAL_ASSET_ENDED],
    ["asset failed", Events.INTERSTITIAL_ASSET_ERROR],
    ["over", Events.INTERSTITIAL_ENDED],
  ]) {
    hls.on(name, (_, { event }) => ads(what, event?.identifier ?? "", scheduled(hls, video)));
  }
  hls.loadSource(url);
  hls.attachMedia(video);
  return {
    date: () => hls.playingDate?.getTime(),
    live: () => (video.currentTime = hls.liveSyncPosition),
  };
}

/** Where the element is on the programme's own line of time: of an advertisement hls.js tells no date. */
function scheduled(hls, video) {
  const dated = hls.latestLevelDetails?.fragments.find(({ programDateTime }) => programDateTime);
  return dated && dated.programDateTime + (video.currentTime - dated.start) * 1000;
}

/**
 * Opens a player on an element; `note(fatal, text)` is told of its errors, `raised(id, date, now)` of
 * each cue: when it is by the player's word, and what is on the screen; `ads(what, id, now)` of what is
 * played in place of a break. Gives a function that
 * tells the date of what is on the screen, in milliseconds since the epoch, and of a player that can,
 * one that searches the window from its beginning at a rate, or plays on at rate 1.
 */
const LIBRARIES = {
  hls: (video, url, to) => openHls(video, url, to, {}),
  "plain-hls": (video, url, to) => openHls(video, url, to, { lowLatencyMode: false }),
  dash(video, url, { note, raised }) {
    const player = dashjs.MediaPlayer().create();
    // As our page has it.
    player.updateSettings({ streaming: { events: { eventControllerRefreshDelay: 20 } } });
    player.on("error", ({ error }) => note(!DASH_SURVIVES.has(error?.code), `${error?.code} ${error?.message}`));
    const mode = dashjs.MediaPlayer.events.EVENT_MODE_ON_START;
    const told = ({ event }) =>
      raised(`${event.id}`, event.calculatedPresentationTime * 1000, video.currentTime * 1000);
    CUES.forEach((scheme) => player.on(scheme, told, null, { mode }));
    player.initialize(video, url, true);
    // Our Periods are placed on the epoch.
    return {
      date: () => video.currentTime * 1000,
      live: () => player.seekToOriginalLive(),
      // It leads an element back that somebody has moved behind its back.
      back: (seconds) => player.seekToPresentationTime(video.currentTime - seconds),
      still: (seconds) =>
        new Promise((tell) => {
          // Of a live channel it counts from the beginning of the window.
          player.provideThumbnail(video.currentTime - seconds - player.getDvrWindow().start, (still) => {
            tell(still && { url: still.url, width: still.width, height: still.height });
          });
        }),
    };
  },
  shaka: (video, url, to) => openShaka(video, url, to, {}),
  // A live service that says what latency it is meant for is always led back to that: who wants to search
  // must not read it.
  "shaka-search": (video, url, to) =>
    openShaka(video, url, to, { manifest: { dash: { manifestPreprocessorTXml: withoutService } } }),
  // Low latency by its configuration: a delay that is suggested to everybody else is not for it, and it
  // keeps to the latency that the service describes.
  "shaka-low": (video, url, to) =>
    openShaka(video, url, to, {
      manifest: { dash: { ignoreSuggestedPresentationDelay: true } },
      streaming: { lowLatencyMode: true, liveSync: { enabled: true } },
    }),
};

function withoutService(mpd) {
  mpd.children = mpd.children.filter(({ tagName }) => tagName !== "ServiceDescription");
}

/** What date ranges without a class are called. */
const DATE_RANGES = "com.apple.quicktime.HLS";

function openShaka(video, url, { note, raised }, configuration) {
  shaka.polyfill.installAll();
  const CRITICAL = 2;
  // What is thrown and not the library's own has no code.
  const told = (error) => note(error.severity === CRITICAL, `shaka error ${error.code ?? error.stack ?? error}`);
  const player = new shaka.Player();
  player.addEventListener("error", ({ detail }) => told(detail));
  player.addEventListener("timelineregionenter", ({ detail: { schemeIdUri, id, startTime } }) => {
    // Our Periods are placed on the epoch; its own dates count from availabilityStartTime, which is a
    // publish delay later.
    const dash = CUES.includes(schemeIdUri);
    if (dash || schemeIdUri === DATE_RANGES) {
      const now = dash ? video.currentTime * 1000 : player.getPlayheadTimeAsDate()?.getTime();
      raised(id, now + (startTime - video.currentTime) * 1000, now);
    }
  });
  // Events that segments carry have a name of their own.
  player.addEventListener("emsg", ({ detail: { schemeIdUri, id, startTime } }) => {
    if (CUES.includes(schemeIdUri)) {
      raised(`${id}`, startTime * 1000, video.currentTime * 1000);
    }
  });
  player.configure(configuration);
  // Version 5.2 looks for the first segment after a switch by floor((time - start) / duration), which is
  // one too few where a duration such as 1.6 s is not exact in binary, and then loads no picture any
  // more: in DASH by number it stays with the rung that it begins with.
  player.configure("abr.enabled", !/\.mpd(#|$)/.test(url));
  // The anchor that dash.js reads itself (ISO/IEC 23009-1 annex C.4).
  const from = /#t=posix:(\d+)$/.exec(url)?.[1];
  void player.attach(video).then(() => player.load(url, from && Number(from))).catch(told);
  return {
    date: () => player.getPlayheadTimeAsDate()?.getTime(),
    search(rate) {
      if (rate === 1) {
        player.cancelTrickPlay();
      } else {
        video.currentTime = player.seekRange().start;
        player.trickPlay(rate);
      }
    },
    async still(seconds) {
      const [track] = player.getImageTracks();
      const still = track && (await player.getThumbnails(track.id, video.currentTime - seconds));
      return still && { url: still.uris[0], width: still.width, height: still.height };
    },
  };
}

class Attention {
  #opened = Date.now();
  #video;
  #time = Number.NaN;
  #lookedAt = Date.now();
  #movedAt = null;
  #stall = null;
  #seen = { startedAfterMs: null, stalls: [], jumps: [], reloads: 0, ended: false, errors: [], fatal: [], cues: [], ads: [] };
  #playedSeconds = 0;
  /** Tells the date of what is on the screen. */
  date = () => undefined;
  /** Searches at a rate. */
  search;
  /** Tells the still of so many seconds ago: its address, and its size in pixels. */
  still;
  /** Goes to where viewers are who have just come. */
  live;
  #latencies = [];

  constructor(video) {
    this.#video = video;
    video.addEventListener("waiting", () => this.#movedAt !== null && this.#wanted() && this.#begin(Date.now()));
    video.addEventListener("seeking", () => {
      if (this.#playedSeconds > SETTLED_SECONDS) {
        this.#seen.jumps.push({ atMs: Date.now(), from: this.#time, to: video.currentTime, stored: this.#ranges() });
      }
    });
    // The element is given another source.
    video.addEventListener("emptied", () => (this.#seen.reloads += this.#playedSeconds > 0 ? 1 : 0));
    video.addEventListener("ended", () => (this.#seen.ended = true));
    video.addEventListener("error", () => this.note(true, video.error?.message ?? "media error"));
    setInterval(() => this.#look(), LOOK_MS);
  }

  /** Goes back by so many seconds. */
  back(seconds) {
    this.#video.currentTime -= seconds;
  }

  note(fatal, text) {
    (fatal ? this.#seen.fatal : this.#seen.errors).push(`${Date.now()} ${text}`);
  }

  /** A cue was raised, in milliseconds since the epoch: each counts once. */
  raised(id, dateMs, shownMs) {
    if (!this.#seen.cues.some((cue) => cue.id === id)) {
      this.#seen.cues.push({ id, dateMs, shownMs });
    }
  }

  /** Something happened to what is played in place of a break, when `dateMs` was on the screen. */
  ads(what, id, dateMs) {
    this.#seen.ads.push({ what, id, atMs: Date.now(), dateMs: dateMs ?? null });
  }

  report() {
    const video = this.#video;
    const buffered = video.buffered.length > 0 ? video.buffered.end(video.buffered.length - 1) : 0;
    return {
      ...this.#seen,
      stalls: [...this.#seen.stalls, ...(this.#stall ? [this.#lasting(this.#stall)] : [])],
      playedSeconds: this.#playedSeconds,
      latencyMs: this.#latency(),
      time: video.currentTime,
      behindMs: this.#behind(),
      bufferSeconds: Math.max(0, buffered - video.currentTime),
      frames: video.getVideoPlaybackQuality().totalVideoFrames,
      blocking: requested(/_HLS_msn=/),
      parts: requested(/\/\d+\.\d+\.m4s$/),
      keyFrames: requested(/\.keys\/\d+\.m4s$/),
      width: video.videoWidth,
      height: video.videoHeight,
    };
  }

  // Players tell no date, or throw, before they know one.
  #behind() {
    try {
      const date = this.#movedAt === null ? undefined : this.date();
      return date === undefined ? null : Date.now() - date;
    } catch {
      return null;
    }
  }

  /** Median and 95th percentile of how old the picture has been. */
  #latency() {
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    const at = (part) => Math.round(sorted[Math.floor((sorted.length - 1) * part)]);
    return sorted.length > 0 ? { p50: at(0.5), p95: at(0.95) } : null;
  }

  #wanted() {
    return !this.#video.paused && !this.#video.seeking && !this.#video.ended;
  }

  #look() {
    const now = Date.now();
    const step = this.#video.currentTime - this.#time;
    // On a busy machine a look may come a second late, and the picture has moved for that long.
    const most = JUMP_SECONDS + (now - this.#lookedAt) / 1000;
    this.#time = this.#video.currentTime;
    this.#lookedAt = now;
    if (step > 0 && step < most && this.#wanted()) {
      this.#playedSeconds += step;
      this.#seen.startedAfterMs ??= now - this.#opened;
      this.#movedAt = now;
      const behind = this.#playedSeconds > CAUGHT_UP_SECONDS ? this.#behind() : null;
      if (behind !== null) {
        this.#latencies.push(behind);
      }
      this.#end();
    } else if (this.#movedAt !== null && now - this.#movedAt > FREEZE_MS && !this.#video.ended) {
      this.#begin(this.#movedAt);
    }
  }

  #begin(since) {
    this.#stall ??= { atMs: since, time: this.#video.currentTime, storedSeconds: this.#stored(), behindMs: this.#behind() };
  }

  /** What is in store, as pairs of times. */
  #ranges() {
    const { buffered } = this.#video;
    return Array.from({ length: buffered.length }, (_, n) => [buffered.start(n), buffered.end(n)]);
  }

  /** How much there is to be played from here on without a gap. */
  #stored() {
    const { buffered, currentTime } = this.#video;
    for (let n = 0; n < buffered.length; n++) {
      if (buffered.start(n) <= currentTime && currentTime < buffered.end(n)) {
        return buffered.end(n) - currentTime;
      }
    }
    return 0;
  }

  #end() {
    if (this.#stall) {
      this.#seen.stalls.push(this.#lasting(this.#stall));
      this.#stall = null;
    }
  }

  #lasting(stall) {
    return { ...stall, lastedMs: Date.now() - stall.atMs };
  }
}

/** Requests that are kept for the report: a player with low latency makes ten a second. */
const KEPT_REQUESTS = 20_000;
performance.setResourceTimingBufferSize(KEPT_REQUESTS);

/** How many requests of this page were for such an address. */
function requested(address) {
  return performance.getEntriesByType("resource").filter(({ name }) => address.test(name)).length;
}

const attentions = [];

function play(library, url) {
  const video = document.createElement("video");
  video.muted = true;
  video.autoplay = true;
  document.body.append(video);
  const attention = new Attention(video);
  attentions.push(attention);
  const opened = LIBRARIES[library](video, url, {
    note: (fatal, text) => attention.note(fatal, text),
    raised: (id, date, now) => attention.raised(id, date, now),
    ads: (what, id, now) => attention.ads(what, id, now),
  });
  Object.assign(attention, opened);
  return attentions.length - 1;
}

function report(number) {
  return attentions[number].report();
}

function search(number, rate) {
  attentions[number].search(rate);
}

async function still(number, back) {
  return (await attentions[number].still(back)) ?? null;
}

function seek(number, back) {
  const attention = attentions[number];
  if (back === null) {
    attention.live();
  } else {
    attention.back(back);
  }
}

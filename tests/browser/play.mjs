// Opens a watch page in Chromium, plays for a while and tells what was seen.
//
// One JSON line on stdout. `latencySeries` holds [milliseconds since the epoch, latency in milliseconds,
// how far behind the present the player is in the channel's own time] over the whole time, so that a test
// can see the latency change. Exit codes: 0 it played, 1 it did not, 2 wrong options. A stall, a failed
// switch or a complaint on the console is for the caller to judge: it stands in the JSON.

import { complaints, quietEvaluator, withPage } from "./browser.mjs";
import { parse, viewportOf } from "./options.mjs";

const USAGE =
  "node play.mjs --url URL [--format hls|dash|both] [--seconds N] [--select NAME] [--screenshot FILE] [--viewport WxH] [--no-sound] [--start-timeout S] [--settle S] [--steady]";

const options = parse(
  USAGE,
  {
    url: { type: "string" },
    format: { type: "string", default: "hls" },
    // Seconds of watching, counted from the first picture.
    seconds: { type: "string", default: "10" },
    // A rendition to switch to, after a third of the time.
    select: { type: "string" },
    screenshot: { type: "string" },
    viewport: { type: "string", default: "1280x800" },
    // Chromium's own autoplay policy: the page has to start muted, and is unmuted by a click after a
    // third of the time.
    "no-sound": { type: "boolean", default: false },
    "start-timeout": { type: "string", default: "20" },
    // Seconds after the first picture that `glass` leaves out: players find their place.
    settle: { type: "string", default: "0" },
    // No player plays faster or slower than real time: what changes is not the player's doing.
    steady: { type: "boolean", default: false },
  },
  ["url"],
);

const LOOK_MS = 250;

// Everything the page measures, and what only the element knows.
const LOOK = `(() => {
  const video = document.querySelector("video");
  const { select, ...now } = window.headwater;
  return {
    ...now,
    time: video.currentTime,
    totalFrames: video.getVideoPlaybackQuality().totalVideoFrames,
    audioBytes: video.webkitAudioDecodedByteCount,
    audioTracks: video.srcObject?.getAudioTracks().length ?? null,
  };
})()`;

const result = await withPage(
  { viewport: viewportOf(options.viewport), sound: !options["no-sound"] },
  (page) => play(page),
).catch((error) => ({ played: false, failure: error.message.split("\n")[0] }));

process.stdout.write(`${JSON.stringify(result)}\n`);
process.exitCode = result.played ? 0 : 1;

async function play(page) {
  const consoleErrors = complaints(page);
  const evaluate = await quietEvaluator(page);
  if (options.steady) {
    await page.addInitScript(() => {
      const rate = { get: () => 1, set: () => undefined };
      Object.defineProperty(HTMLMediaElement.prototype, "playbackRate", rate);
    });
  }
  const url = new URL(options.url);
  url.searchParams.set("format", options.format);
  const opened = Date.now();
  await page.goto(url.href, { waitUntil: "commit" });
  const start = await firstPicture(page, evaluate, opened + Number(options["start-timeout"]) * 1000);
  const openToFirstFrameMs = Date.now() - opened;
  if (!start) {
    await screenshot(page);
    const error = await evaluate("window.headwater?.error ?? null");
    return { played: false, failure: error ?? "no picture within the time", consoleErrors };
  }
  const unmuteOffered = await page.locator('[data-part="unmute"]').first().isVisible();
  const seen = await watch(page, evaluate, Number(options.seconds) * 1000);
  await screenshot(page);
  const end = await evaluate(LOOK);
  return {
    played: end.time > start.time,
    format: end.format,
    openToFirstFrameMs,
    timeToFirstFrameMs: end.timeToFirstFrameMs,
    playedSeconds: end.time - start.time,
    stalls: end.stalls,
    stallSeconds: end.stallSeconds,
    restarts: end.restarts,
    latencyP50Ms: quantile(end.latencySamples, 0.5),
    latencyP95Ms: quantile(end.latencySamples, 0.95),
    latencySamples: end.latencySamples.length,
    latencySeries: seen.latencySeries,
    glass: seen.glass,
    droppedFrames: end.droppedFrames,
    totalFrames: end.totalFrames,
    levels: end.levels.map(({ name }) => name),
    renditions: seen.renditions,
    sizes: seen.sizes,
    selected: end.selected,
    switchMs: seen.switchMs,
    avOffsetMs: end.avOffsetMs,
    startedMuted: start.muted,
    unmuteOffered,
    // Of a preview: how many tracks of sound it had while it was muted, and has in the end.
    mutedTracks: seen.mutedTracks,
    audioTracks: end.audioTracks,
    soundOn: !end.muted && end.audioBytes > 0,
    bufferSeconds: end.bufferSeconds,
    clockMillis: end.clockMillis,
    panes: end.panes.map(({ format, playing, stalls, stallSeconds, restarts }) => ({ format, playing, stalls, stallSeconds, restarts })),
    errors: seen.errors,
    consoleErrors,
  };
}

// What the page says at the moment the picture first moves; null if it doesn't before `deadline`.
async function firstPicture(page, evaluate, deadline) {
  while (Date.now() < deadline) {
    // While the document is being replaced there is nothing to ask.
    const now = await evaluate(`window.headwater ? ${LOOK} : null`).catch(() => null);
    if (now?.playing && now.time > 0) {
      return now;
    }
    await page.waitForTimeout(50);
  }
  return null;
}

async function watch(page, evaluate, millis) {
  const renditions = new Set();
  const sizes = new Set();
  const errors = new Set();
  const latencySeries = [];
  // Single readings of the picture's clock, not medians, and where the time goes.
  const readings = [];
  const stages = {};
  let settledStalls = 0;
  const begin = Date.now();
  let acted = false;
  let selectedAt = null;
  let switchMs = null;
  let mutedTracks = null;
  while (Date.now() - begin < millis) {
    const { rendition, width, height, error, latencyMs, mediaAgeMs, latencySamples, stages: now, stalls, audioTracks } =
      await evaluate(LOOK);
    if (Date.now() - begin < Number(options.settle) * 1000) {
      settledStalls = stalls;
    } else if (latencySamples.length > 0) {
      readings.push(latencySamples.at(-1));
      for (const [stage, value] of Object.entries(now)) {
        (stages[stage] ??= []).push(value ?? 0);
      }
    }
    if (latencyMs !== null && mediaAgeMs !== null) {
      latencySeries.push([Date.now(), Math.round(latencyMs), Math.round(mediaAgeMs)]);
    }
    renditions.add(rendition);
    sizes.add(`${width}x${height}`);
    if (error) {
      errors.add(error);
    }
    if (!acted && Date.now() - begin > millis / 3) {
      acted = true;
      if (options["no-sound"]) {
        mutedTracks = audioTracks;
        await page.locator('[data-part="unmute"]').first().click({ timeout: 2_000 });
      }
      if (options.select) {
        await evaluate(`window.headwater.select(${JSON.stringify(options.select)})`);
        selectedAt = Date.now();
      }
    }
    if (selectedAt !== null && switchMs === null && rendition === options.select) {
      switchMs = Date.now() - selectedAt;
    }
    await page.waitForTimeout(Math.min(LOOK_MS, Math.max(0, millis - (Date.now() - begin))));
  }
  renditions.delete(null);
  const glass = {
    readings: readings.length,
    p50Ms: quantile(readings, 0.5),
    p95Ms: quantile(readings, 0.95),
    maxMs: quantile(readings, 1),
    stagesP50Ms: Object.fromEntries(Object.entries(stages).map(([stage, values]) => [stage, quantile(values, 0.5)])),
    stallsBefore: settledStalls,
  };
  return { renditions: [...renditions], sizes: [...sizes], errors: [...errors], switchMs, mutedTracks, latencySeries, glass };
}

async function screenshot(page) {
  if (options.screenshot) {
    await page.screenshot({ path: options.screenshot });
  }
}

function quantile(samples, q) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? null;
}

// Opens a watch page in Chromium, plays for a while and tells what was seen.
//
// One JSON line on stdout. Exit codes: 0 it played, 1 it did not, 2 wrong options. A stall, a failed
// switch or a complaint on the console is for the caller to judge: it stands in the JSON.

import { complaints, withPage } from "./browser.mjs";
import { parse, viewportOf } from "./options.mjs";

const USAGE =
  "node play.mjs --url URL [--format hls|dash] [--seconds N] [--select NAME] [--screenshot FILE] [--viewport WxH] [--no-sound] [--start-timeout S]";

const options = parse(
  USAGE,
  {
    url: { type: "string" },
    format: { type: "string", default: "hls" },
    // Seconds of watching, counted from the first picture.
    seconds: { type: "string", default: "10" },
    // A rendition to switch to after a third of the time.
    select: { type: "string" },
    screenshot: { type: "string" },
    viewport: { type: "string", default: "1280x800" },
    // Chromium's own autoplay policy: the page has to start muted.
    "no-sound": { type: "boolean", default: false },
    "start-timeout": { type: "string", default: "20" },
  },
  ["url"],
);

const LOOK_MS = 250;

const result = await withPage(
  { viewport: viewportOf(options.viewport), sound: !options["no-sound"] },
  (page) => play(page),
).catch((error) => ({ played: false, failure: error.message.split("\n")[0] }));

process.stdout.write(`${JSON.stringify(result)}\n`);
process.exitCode = result.played ? 0 : 1;

async function play(page) {
  const errors = complaints(page);
  const url = new URL(options.url);
  url.searchParams.set("format", options.format);
  const opened = Date.now();
  await page.goto(url.href, { waitUntil: "commit" });
  const start = await firstPicture(page, Number(options["start-timeout"]) * 1000);
  const openToFirstFrameMs = Date.now() - opened;
  if (!start) {
    await screenshot(page);
    const error = await page.evaluate(() => window.headwater?.error ?? null).catch(() => null);
    return { played: false, failure: error ?? "no picture within the time", consoleErrors: errors };
  }
  const seen = await watch(page, Number(options.seconds) * 1000);
  await screenshot(page);
  const end = await look(page);
  const { latencySamples, levels, ...last } = end;
  return {
    played: end.time > start.time,
    format: last.format,
    openToFirstFrameMs,
    timeToFirstFrameMs: last.timeToFirstFrameMs,
    playedSeconds: end.time - start.time,
    stalls: last.stalls,
    stallSeconds: last.stallSeconds,
    restarts: last.restarts,
    latencyP50Ms: quantile(latencySamples, 0.5),
    latencyP95Ms: quantile(latencySamples, 0.95),
    latencySamples: latencySamples.length,
    droppedFrames: last.droppedFrames,
    totalFrames: end.totalFrames,
    levels: levels.map(({ name }) => name),
    renditions: seen.renditions,
    sizes: seen.sizes,
    selected: last.selected,
    switchMs: seen.switchMs,
    avOffsetMs: last.avOffsetMs,
    soundOn: !last.muted && end.audioBytes > 0,
    bufferSeconds: last.bufferSeconds,
    clockMillis: last.clockMillis,
    errors: seen.errors,
    consoleErrors: errors,
  };
}

// Where the picture first moves; null if it doesn't in time.
async function firstPicture(page, timeout) {
  const moving = () => (window.headwater?.playing && window.headwater.timeToFirstFrameMs !== null) || false;
  const started = await page.waitForFunction(moving, undefined, { timeout, polling: 50 }).catch(() => null);
  return started && look(page);
}

async function watch(page, millis) {
  const renditions = new Set();
  const sizes = new Set();
  const errors = new Set();
  const begin = Date.now();
  let selectedAt = null;
  let switchMs = null;
  while (Date.now() - begin < millis) {
    const { rendition, width, height, error } = await look(page);
    renditions.add(rendition);
    sizes.add(`${width}x${height}`);
    if (error) {
      errors.add(error);
    }
    if (options.select && selectedAt === null && Date.now() - begin > millis / 3) {
      await page.evaluate((name) => window.headwater.select(name), options.select);
      selectedAt = Date.now();
    }
    if (selectedAt !== null && switchMs === null && rendition === options.select) {
      switchMs = Date.now() - selectedAt;
    }
    await page.waitForTimeout(Math.min(LOOK_MS, Math.max(0, millis - (Date.now() - begin))));
  }
  renditions.delete(null);
  return { renditions: [...renditions], sizes: [...sizes], errors: [...errors], switchMs };
}

async function look(page) {
  return page.evaluate(() => {
    const video = document.querySelector("video");
    const { select: _, ...now } = window.headwater;
    return {
      ...now,
      time: video.currentTime,
      totalFrames: video.getVideoPlaybackQuality().totalVideoFrames,
      audioBytes: video.webkitAudioDecodedByteCount,
    };
  });
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

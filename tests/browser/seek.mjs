// Opens a watch page in Chromium and uses its seek bar as a viewer does: points at a place, looks at what it
// shows, goes there, and comes back; and sees that who falls behind without having asked for it does not stay there.
//
// One JSON line on stdout; times in milliseconds since the epoch. Exit codes: 0 all of it was done, 1 it was
// not, with the reason, 2 wrong options.

import { complaints, quietEvaluator, withPage } from "./browser.mjs";
import { parse } from "./options.mjs";

const USAGE = "node seek.mjs --url URL [--format hls|dash] [--place SHARE]";

const options = parse(
  USAGE,
  {
    url: { type: "string" },
    format: { type: "string", default: "hls" },
    // Where on the bar, from 0 to 1.
    place: { type: "string", default: "0.25" },
  },
  ["url"],
);

/** For the first picture, and for each thing that is waited for. */
const PATIENCE_MS = 30_000;
const LOOK_MS = 50;
/** Seconds: more than is made up by playing faster. */
const FALLS_BACK = 5;

// What the bar says, and when what is on the screen was made.
const LOOK = `(() => {
  const video = document.querySelector("video");
  const bar = document.querySelector('[data-part="seek"]');
  const { min, max, value } = bar.querySelector("input");
  const preview = bar.querySelector('[data-part="preview"]');
  const still = preview.querySelector("img");
  const { mediaAgeMs, playing } = window.headwater;
  return {
    there: !bar.hidden,
    playing,
    time: video.currentTime,
    start: Number(min),
    end: Number(max),
    value: Number(value),
    words: bar.querySelector("output").textContent,
    preview: preview.hidden ? null : preview.querySelector("span").textContent,
    still: still.hidden || !still.complete ? null : { url: still.src, width: still.naturalWidth, height: still.naturalHeight },
    shown: mediaAgeMs === null ? null : Date.now() - mediaAgeMs,
  };
})()`;

const result = await withPage({ viewport: { width: 1280, height: 800 } }, seek).catch((error) => ({
  failure: error.message.split("\n")[0],
}));

process.stdout.write(`${JSON.stringify(result)}\n`);
process.exitCode = result.failure ? 1 : 0;

async function seek(page) {
  const consoleErrors = complaints(page);
  const evaluate = await quietEvaluator(page);
  const until = async (what, is) => {
    const deadline = Date.now() + PATIENCE_MS;
    let now = null;
    while (Date.now() < deadline) {
      // While the document is being replaced there is nothing to ask.
      now = await evaluate(`window.headwater ? ${LOOK} : null`).catch(() => null);
      if (now && is(now)) {
        return now;
      }
      await page.waitForTimeout(LOOK_MS);
    }
    throw new Error(`${what}: ${JSON.stringify(now)}`);
  };
  const url = new URL(options.url);
  url.searchParams.set("format", options.format);
  await page.goto(url.href, { waitUntil: "commit" });
  const before = await until("a bar", (now) => now.there);

  const bar = page.locator('[data-part="seek"] input').first();
  // What is said beside it makes it longer and shorter.
  const at = async (share) => {
    const { x, y, width, height } = await bar.boundingBox();
    return [x + width * share, y + height / 2];
  };
  // Maybe before it is known when anything was made: the still comes to a pointer at rest.
  await page.mouse.move(...(await at(Number(options.place))));
  const pointed = await until("a still", (now) => now.playing && now.shown !== null && now.still !== null);
  // When what is pointed at was made: the element's times have one date.
  const zero = pointed.shown - pointed.time * 1000;
  const wanted = zero + (pointed.start + Number(options.place) * (pointed.end - pointed.start)) * 1000;

  await page.mouse.click(...(await at(Number(options.place))));
  // The pointer has gone, and with it what it showed.
  await page.mouse.move(0, 0);
  const back = await until("a picture from then", (now) => now.playing && now.words !== "Live" && now.time > now.start);
  const later = await until("it plays on", (now) => now.time > back.time + 1);

  await page.mouse.click(...(await at(0.99)));
  await page.mouse.move(0, 0);
  const live = await until("the live edge", (now) => now.playing && now.words === "Live");
  const on = await until("it plays on at the edge", (now) => now.time > live.time + 1);

  // hls.js itself seeks over a hole and after a hiccup, which makes nobody look back.
  let returned = null;
  if (options.format === "hls") {
    await evaluate(`document.querySelector("video").currentTime -= ${FALLS_BACK}`);
    returned = await until("it is back by itself", (now) => now.playing && Date.now() - now.shown < FALLS_BACK * 1000 - 1000);
  }
  return { before, pointed, wanted, back, later, live: on, returned, consoleErrors };
}

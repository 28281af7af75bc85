// Takes a picture of a page: for looking at, and for tests of what a page shows.
//
// Prints one JSON line: the page's title and visible text, whether it is wider than the window, and
// its complaints. Exit codes: 0 taken, 1 the page did not come up, 2 wrong options.

import { complaints, withPage } from "./browser.mjs";
import { parse, viewportOf } from "./options.mjs";

const options = parse(
  "node shot.mjs --url URL [--screenshot FILE] [--viewport WxH] [--text TEXT] [--timeout S] [--no-sound]",
  {
    url: { type: "string" },
    screenshot: { type: "string" },
    viewport: { type: "string", default: "1280x800" },
    // Waits until this text is on the page.
    text: { type: "string" },
    timeout: { type: "string", default: "10" },
    "no-sound": { type: "boolean", default: false },
  },
  ["url"],
);

const result = await withPage(
  { viewport: viewportOf(options.viewport), sound: !options["no-sound"], reducedMotion: "reduce" },
  shoot,
).catch((error) => ({ shown: false, failure: error.message.split("\n")[0] }));

process.stdout.write(`${JSON.stringify(result)}\n`);
process.exitCode = result.shown ? 0 : 1;

async function shoot(page) {
  const errors = complaints(page);
  await page.goto(options.url, { waitUntil: "load" });
  if (options.text) {
    await page.getByText(options.text).first().waitFor({ timeout: Number(options.timeout) * 1000 });
  }
  if (options.screenshot) {
    await page.screenshot({ path: options.screenshot, fullPage: true });
  }
  const overflows = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  return {
    shown: true,
    title: await page.title(),
    text: await page.evaluate(() => document.body.innerText),
    overflows,
    consoleErrors: errors,
  };
}

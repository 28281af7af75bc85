// A page under the command of another program, for tests in which things happen while it is open.
//
// The commands are lines of JSON as in commands.mjs; the browser closes at the end of stdin.
//
//   {"goto": URL}
//   {"wait": EXPRESSION, "seconds": 10}   until the expression is truthy in the page; its value
//   {"read": EXPRESSION}                  its value, such as `window.headwater.stalls`
//   {"click": SELECTOR}                   a real click: counts as a gesture of the user
//   {"press": KEY}                        a real key press
//   {"screenshot": FILE}
//   {"complaints": true}                  exceptions and console errors so far

import { complaints, quietEvaluator, withPage } from "./browser.mjs";
import { obey } from "./commands.mjs";
import { parse, viewportOf } from "./options.mjs";

const options = parse(
  "node drive.mjs [--viewport WxH] [--no-sound]",
  {
    viewport: { type: "string", default: "1280x800" },
    "no-sound": { type: "boolean", default: false },
  },
  [],
);

const ACTION_MS = 10_000;
const LOOK_MS = 50;

await withPage({ viewport: viewportOf(options.viewport), sound: !options["no-sound"] }, async (page) => {
  const found = complaints(page);
  const evaluate = await quietEvaluator(page);

  const commands = {
    goto: async ({ goto }) => void (await page.goto(goto, { waitUntil: "load" })),
    wait: ({ wait, seconds = 10 }) => waitFor(wait, seconds * 1000),
    read: ({ read }) => evaluate(read),
    click: async ({ click }) => void (await page.locator(click).click({ timeout: ACTION_MS })),
    press: async ({ press }) => void (await page.keyboard.press(press)),
    screenshot: async ({ screenshot }) => void (await page.screenshot({ path: screenshot })),
    complaints: () => found,
  };

  async function waitFor(expression, millis) {
    const deadline = Date.now() + millis;
    for (;;) {
      // While a document is being replaced there is nothing to ask.
      const value = await evaluate(expression).catch(() => null);
      if (value) {
        return value;
      }
      if (Date.now() > deadline) {
        const text = await evaluate("document.body.innerText").catch(() => "");
        throw new Error(`not within ${millis} ms: ${expression}; the page says: ${text}`);
      }
      await page.waitForTimeout(LOOK_MS);
    }
  }

  await obey(commands);
});

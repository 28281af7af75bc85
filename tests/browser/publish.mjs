// Opens a publish page in Chromium, goes live from its fake camera and microphone, and leaves after a while
// by closing the tab.
//
// One JSON line on stdout. Exit codes: 0 it went live, 1 it did not, 2 wrong options.

import { complaints, withPage } from "./browser.mjs";
import { parse, viewportOf } from "./options.mjs";

const USAGE = "node publish.mjs --url URL [--key KEY] [--seconds N] [--start-timeout S]";

const options = parse(
  USAGE,
  {
    url: { type: "string" },
    key: { type: "string", default: "" },
    // Counted from when it is live.
    seconds: { type: "string", default: "10" },
    "start-timeout": { type: "string", default: "30" },
  },
  ["url"],
);

const FLAGS = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const LOOK_MS = 100;

const result = await withPage({ viewport: viewportOf("1280x800"), flags: FLAGS }, (page) => publish(page)).catch((error) => ({
  live: false,
  failure: error.message.split("\n")[0],
}));
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exitCode = result.live ? 0 : 1;

async function publish(page) {
  const consoleErrors = complaints(page);
  // What the browser itself says of what it sends.
  await page.addInitScript(() => {
    const Real = window.RTCPeerConnection;
    window.peers = [];
    window.RTCPeerConnection = class extends Real {
      constructor(...args) {
        super(...args);
        window.peers.push(this);
      }
    };
  });
  await page.goto(options.url);
  await page.fill("#key", options.key);
  await page.click("#go");
  const states = [];
  const look = async () => {
    const state = await page.textContent("#state");
    if (states.at(-1) !== state) {
      states.push(state);
    }
    return state;
  };
  const deadline = Date.now() + Number(options["start-timeout"]) * 1000;
  while ((await look()) !== "Live") {
    if (Date.now() > deadline) {
      return { live: false, failure: await page.textContent("#note"), states, consoleErrors };
    }
    await page.waitForTimeout(LOOK_MS);
  }
  const end = Date.now() + Number(options.seconds) * 1000;
  while (Date.now() < end) {
    await look();
    await page.waitForTimeout(LOOK_MS);
  }
  const sent = await page.evaluate(async () => {
    const stats = [...(await window.peers.at(-1).getStats()).values()];
    const of = (kind) => stats.find((s) => s.type === "outbound-rtp" && s.kind === kind) ?? {};
    const { framesEncoded, frameWidth, frameHeight, nackCount, pliCount, keyFramesEncoded } = of("video");
    return { pictures: framesEncoded, width: frameWidth, height: frameHeight, nacks: nackCount, plis: pliCount, keyFrames: keyFramesEncoded, sounds: of("audio").packetsSent };
  });
  return { live: true, states, ...sent, connections: await page.evaluate(() => window.peers.length), consoleErrors };
}

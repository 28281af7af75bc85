// Several stock players in one browser, under the command of another program: some watch while
// things go wrong, others join in the middle of it.
//
// The commands are lines of JSON as in commands.mjs; the browser closes at the end of stdin.
//
//   {"play": "hls" | "plain-hls" | "dash" | "shaka", "url": MANIFEST}   opens a player; its number
//   {"report": NUMBER}                                    what that player has seen (attend.js)
//   {"search": NUMBER, "rate": RATE}                      has it search, or play on at rate 1
//   {"seek": NUMBER, "back": SECONDS | null}              has it go back, or to the live edge
//   {"still": NUMBER, "back": SECONDS}                    the still of so long ago, as the player finds it; null
//   {"offer": [{"URI": MANIFEST, "DURATION": SECONDS}]}   what is to be played in place of breaks; the address
//                                                         of the X-ASSET-LIST that says so
//   {"asked": true}                                       what of those addresses players have asked for

import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { obey } from "./commands.mjs";
import { quietEvaluator, withPage } from "./browser.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Where the list of what is played in place of a break is. */
const ASSETS = "/assets.json";

// The libraries that the watch page is made of, and one that it is not.
const FILES = {
  "/": ["text/html", here("stage.html")],
  "/attend.js": ["text/javascript", here("attend.js")],
  "/hls.js": ["text/javascript", here("../../player-demo/node_modules/hls.js/dist/hls.min.js")],
  "/dash.js": ["text/javascript", here("../../player-demo/node_modules/dashjs/dist/modern/umd/dash.all.min.js")],
  "/shaka.js": ["text/javascript", here("node_modules/shaka-player/dist/shaka-player.compiled.js")],
};

// What players find in place of breaks, and the queries with which they asked for it.
let offered = [];
const asked = [];

// Pages on loopback may ask servers on loopback; others may not.
const server = createServer((request, response) => {
  const { pathname, search } = new URL(request.url, "http://stage");
  if (pathname === ASSETS) {
    asked.push(search);
    response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" });
    response.end(JSON.stringify({ ASSETS: offered }));
    return;
  }
  const [type, path] = FILES[request.url] ?? [];
  if (!path) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "content-type": type });
  createReadStream(path).pipe(response);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));

try {
  await withPage({ viewport: { width: 1000, height: 700 } }, async (page) => {
    const evaluate = await quietEvaluator(page);
    await page.goto(`http://127.0.0.1:${server.address().port}/`, { waitUntil: "load" });
    const call = (name, ...values) => evaluate(`${name}(${values.map((v) => JSON.stringify(v)).join()})`);
    await obey({
      play: ({ play, url }) => call("play", play, url),
      report: ({ report }) => call("report", report),
      search: ({ search, rate }) => call("search", search, rate),
      seek: ({ seek, back }) => call("seek", seek, back),
      still: ({ still, back }) => call("still", still, back),
      offer({ offer }) {
        offered = offer;
        return `http://127.0.0.1:${server.address().port}${ASSETS}`;
      },
      asked: () => asked,
    });
  });
} finally {
  server.close();
  server.closeAllConnections();
}

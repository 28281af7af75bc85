// A Chromium of our own: headless, with a fresh profile, always closed.

import { chromium } from "playwright-core";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

// Headless on a machine without GPU or sound card, as any user, with no traffic of its own.
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/**
 * Runs `work(page)` in a new browser and closes it, whatever happens: also on SIGTERM and SIGINT,
 * so that a test that is stopped leaves no process behind.
 *
 * `sound: true` lets pages start with sound, as a browser does on a site that its user plays often;
 * without it Chromium's own autoplay policy stands. `flags` are more of Chromium's own.
 */
export async function withPage({ viewport, sound = true, reducedMotion = "no-preference", flags = [] }, work) {
  const profile = await mkdtemp(join(tmpdir(), "headwater-browser-"));
  let context;
  const close = async () => {
    await context?.close().catch(() => {});
    await rm(profile, { recursive: true, force: true, maxRetries: 5 }).catch(() => {});
  };
  const stop = (signal) => {
    void close().finally(() => process.exit(signal === "SIGINT" ? 130 : 143));
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
  try {
    const policy = sound ? "no-user-gesture-required" : "document-user-activation-required";
    context = await chromium.launchPersistentContext(profile, {
      executablePath: EXECUTABLE,
      headless: true,
      viewport,
      reducedMotion,
      // Playwright mutes headless browsers; sound is part of what is tested.
      ignoreDefaultArgs: ["--mute-audio"],
      args: [...FLAGS, ...flags, `--autoplay-policy=${policy}`],
      handleSIGTERM: false,
      handleSIGINT: false,
    });
    const page = context.pages()[0] ?? (await context.newPage());
    return await work(page);
  } finally {
    process.off("SIGTERM", stop);
    process.off("SIGINT", stop);
    await close();
  }
}

/**
 * A function that evaluates an expression in the page, without counting as a gesture of its user:
 * Playwright's own `evaluate` does, and so would let a page start with sound that may not.
 */
export async function quietEvaluator(page) {
  const session = await page.context().newCDPSession(page);
  return async (expression) => {
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
      userGesture: false,
    });
    if (exceptionDetails) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  };
}

/** Collects what a page complains about. */
export function complaints(page) {
  const found = [];
  page.on("pageerror", (error) => found.push(`exception: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") {
      const { url } = message.location();
      found.push(url ? `${message.text()} (${url})` : message.text());
    }
  });
  return found;
}

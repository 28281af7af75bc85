// Command line options of the scripts here: typed, with their usage as the error.

import { parseArgs } from "node:util";

/** Parses `process.argv`; prints the problem and the usage and exits with 2 if it is wrong. */
export function parse(usage, options, required) {
  try {
    const { values } = parseArgs({ options, strict: true });
    for (const name of required) {
      if (values[name] === undefined) {
        throw new Error(`--${name} is missing`);
      }
    }
    return values;
  } catch (error) {
    process.stderr.write(`${error.message}\nusage: ${usage}\n`);
    process.exit(2);
  }
}

/** `1280x800` → `{ width, height }`. */
export function viewportOf(text) {
  const [, width, height] = /^(\d+)x(\d+)$/.exec(text) ?? [];
  if (width === undefined || height === undefined) {
    throw new Error(`a viewport is WIDTHxHEIGHT, not ${text}`);
  }
  return { width: Number(width), height: Number(height) };
}

// Obeys another program: each line on stdin is a command, a JSON object one of whose keys names it;
// each is answered by one line on stdout, `{"ok": value}` or `{"error": words}`.

import { createInterface } from "node:readline";

/** Obeys until the end of stdin. `commands` maps names to functions of the whole command. */
export async function obey(commands) {
  async function run(line) {
    const command = JSON.parse(line);
    const name = Object.keys(commands).find((key) => key in command);
    if (!name) {
      throw new Error(`no such command: ${line}`);
    }
    return commands[name](command);
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = await run(line).then(
      (value) => ({ ok: value ?? null }),
      (error) => ({ error: error.message }),
    );
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

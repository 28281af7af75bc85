// The start page: the channels there are, and how to publish one.

import "./style/base.css";
import "./style/start.css";
import { fetchChannels, STATE_WORDS, type ChannelEntry } from "./channel";
import { ServerClock } from "./meter/serverclock";
import { element, setText } from "./ui/dom";
import { age } from "./ui/format";

const REFRESH_MS = 2_000;

const list = element("channels", HTMLUListElement);
const empty = element("empty", HTMLElement);
const notice = element("notice", HTMLElement);
// Ages are the server's: the viewer's clock may be wrong.
const clock = new ServerClock();
const rows = new Map<string, HTMLLIElement>();

setText(element("publish-url", HTMLElement), `rtmp://${location.hostname}/live`);

async function refresh(): Promise<void> {
  try {
    show(await fetchChannels());
    notice.hidden = true;
  } catch {
    setText(notice, "The server does not answer. Trying again.");
    notice.hidden = false;
  }
  setTimeout(() => void refresh(), REFRESH_MS);
}

// Rows are kept, so that the one with the focus keeps it.
function show(channels: readonly ChannelEntry[]): void {
  const names = new Set(channels.map(({ name }) => name));
  for (const [name, row] of rows) {
    if (!names.has(name)) {
      row.remove();
      rows.delete(name);
    }
  }
  for (const channel of channels) {
    update(rows.get(channel.name) ?? add(channel.name), channel);
  }
  list.hidden = channels.length === 0;
  empty.hidden = channels.length > 0;
}

function add(name: string): HTMLLIElement {
  const template = element("channel-row", HTMLTemplateElement);
  const row = template.content.firstElementChild?.cloneNode(true) as HTMLLIElement;
  part(row, "link").setAttribute("href", `/watch/${encodeURIComponent(name)}`);
  setText(part(row, "name"), name);
  rows.set(name, row);
  list.append(row);
  return row;
}

function update(row: HTMLLIElement, { state, since }: ChannelEntry): void {
  const badge = part(row, "state") as HTMLElement;
  badge.dataset["state"] = state;
  setText(badge, STATE_WORDS[state]);
  setText(part(row, "since"), state === "idle" ? "nobody publishes" : `for ${age(clock.nearly() - since)}`);
}

function part(row: HTMLElement, name: string): Element {
  const found = row.querySelector(`[data-part="${name}"]`);
  if (!found) {
    throw new Error(`a channel's row has no ${name}`);
  }
  return found;
}

void clock.keep(new AbortController().signal);
void refresh();

// What hls.js 1.7 has to be told of a segment that is loaded by its parts. It takes one for whole as soon as
// any of its parts is in the buffer, if the playlist lists the segment whole by then: a player that is late
// by a part never asks for the last ones, and the picture stands until they have left the playlist.

import type { AudioTracksUpdatedData, Fragment, Level, Part } from "hls.js";

/** Where hls.js keeps what playlists list. */
export interface Lists {
  readonly levels: readonly Pick<Level, "details">[];
  readonly audioTracks: readonly Pick<AudioTracksUpdatedData["audioTracks"][number], "details">[];
  readonly audioTrack: number;
}

/** Says of a segment, one of whose parts has been parsed, whether parts of it are still to be loaded. */
export function markUnfinished(lists: Lists, frag: Fragment, part: Part | null): void {
  if (!part) {
    return;
  }
  const list = (frag.type === "audio" ? lists.audioTracks[lists.audioTrack] : lists.levels[frag.level])?.details;
  const later = (other: Part) => other.fragment.sn === frag.sn && other.index > part.index && !other.loaded;
  const unfinished = list?.partList?.some(later) ?? false;
  for (const stream of Object.values(frag.elementaryStreams)) {
    if (stream) {
      stream.partial = unfinished;
    }
  }
}

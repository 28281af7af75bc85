// A rendition's name as the server gives it: `/live/{channel}/{rendition}/index.m3u8` in HLS, the
// Representation's id in DASH.

/** The name in a media playlist's URL; by its height where the URL has another form. */
export function renditionOf(playlistUrl: string, height: number): string {
  const name = /\/([A-Za-z0-9][A-Za-z0-9_-]*)\/index\.m3u8(?:[?#]|$)/.exec(playlistUrl)?.[1];
  return name ?? `${height}p`;
}

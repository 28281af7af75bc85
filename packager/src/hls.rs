//! HLS playlists, rendered from a snapshot.

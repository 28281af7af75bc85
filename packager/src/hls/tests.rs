//! Golden playlists and what holds for every playlist.

use m3u8_rs::{MasterPlaylist, MediaPlaylist};

use super::{Options, media, multivariant};
use crate::timeline::example;

fn parse_media(text: &str) -> MediaPlaylist {
    m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap()
}

fn parse_multivariant(text: &str) -> MasterPlaylist {
    m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap()
}

#[test]
fn an_independent_reader_takes_every_example() {
    for snapshot in [example::live(), example::two_runs(), example::ended()] {
        let playlist = parse_multivariant(&multivariant(&snapshot, &Options::default()));
        assert_eq!(playlist.variants.len(), 3);
        for index in 0..4 {
            let playlist = parse_media(&media(&snapshot, index, &Options::default()));
            assert_eq!(playlist.segments.len(), snapshot.listed(index).len());
        }
    }
}

#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::super::feed;
use super::super::fixture::*;
use super::*;
use crate::hub::{Access, Subscription};
use crate::source::Unit;

fn hub() -> (Hub, Name, Subscription) {
    let channel = Name::parse("news").unwrap();
    let access = Access {
        channel: channel.clone(),
        key: None,
        max_bitrate: None,
        program: None,
        open_groups: false,
        has_source: true,
    };
    let (hub, mut subscriptions) = Hub::new([access]);
    let subscription = subscriptions.remove(&channel).unwrap();
    (hub, channel, subscription)
}

fn recording(bytes: &[u8], repeat: bool) -> (tempfile::TempDir, Recording) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.ts");
    std::fs::write(&path, bytes).unwrap();
    (folder, Recording { path, repeat })
}

#[tokio::test]
async fn a_file_is_played_once_to_its_last_picture() {
    let (hub, channel, mut subscription) = hub();
    let mut mux = Mux::default();
    mux.tables().program(90_000, 8);
    let (_folder, recording) = recording(&mux.bytes, false);
    let watching = async {
        let mut session = subscription.next().await.unwrap();
        assert_eq!(session.protocol, Protocol::File);
        let mut pictures = 0;
        while let Some(unit) = session.next().await {
            pictures += usize::from(matches!(unit, Unit::Video(_)));
        }
        (session.peer.to_string(), pictures)
    };
    let begun = Instant::now();
    let (end, (peer, pictures)) = tokio::join!(recording.play(&hub, &channel), watching);
    assert!(matches!(end, End::Over), "{end}");
    assert_eq!((peer, pictures), (recording.path.display().to_string(), 8));
    assert!(begun.elapsed() >= Duration::from_millis(7 * 40), "at its pace");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_no_source() {
    let (hub, channel, subscription) = hub();
    let (folder, recording) = recording(&[], true);
    drop(folder);
    let end = recording.play(&hub, &channel).await;
    assert!(matches!(end, End::Io(_)), "{end}");
    drop(hub);
    let mut subscription = subscription;
    assert!(subscription.next().await.is_none());
}

#[tokio::test]
async fn a_file_of_something_else_ends_after_one_turn_with_the_reason() {
    let (hub, channel, _subscription) = hub();
    let (_folder, recording) = recording(&[0x11; 5_000], true);
    match recording.play(&hub, &channel).await {
        End::Feed(error @ feed::Error::Nothing { .. }) => {
            assert_eq!(error.to_string(), "no MPEG-TS packets in what is sent");
        }
        end => panic!("{end}"),
    }
}

#[tokio::test]
async fn a_short_file_is_not_read_again_and_again_without_a_pause() {
    let (hub, channel, mut subscription) = hub();
    let mut mux = Mux::default();
    mux.tables().program(90_000, 2);
    let (_folder, recording) = recording(&mux.bytes, true);
    let playing = recording.play(&hub, &channel);
    let watching = async {
        let mut session = subscription.next().await.unwrap();
        let begun = Instant::now();
        let mut pictures = 0;
        while pictures < 3 {
            pictures += usize::from(matches!(session.next().await, Some(Unit::Video(_))));
        }
        begun.elapsed()
    };
    tokio::select! {
        end = playing => panic!("{end}"),
        took = watching => assert!(took > Duration::from_millis(500), "{took:?}"),
    }
}

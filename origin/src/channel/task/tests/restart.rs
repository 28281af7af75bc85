//! What a channel does when the process before this one ended: it goes on as if its source had been
//! lost then.

use super::*;

/// Milliseconds since the epoch at which segment `k` begins.
fn at(k: u64) -> i64 {
    let start = Timestamp::new(grid().boundary(k), grid().video_scale());
    start.ticks_in(Timescale::MILLIS, Rounding::Ceil)
}

/// Ends the process as it stands, and begins another one when its clock shows `millis`.
async fn again(channel: Fixture, millis: i64) -> Fixture {
    channel.task.abort();
    // The store's lock is free when all have let go of it.
    let _ = channel.task.await;
    drop(channel.store);
    Fixture::begin(channel.folder, ManualClock::at_millis(millis))
}

/// A channel whose segment K is listed, and its publisher.
async fn live() -> (Fixture, Publication) {
    let mut channel = Fixture::new();
    channel.let_worker_begin_at(K);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    channel.until(|status| status.last_segment == Some(K)).await;
    (channel, publication)
}

fn run_id(channel: &Fixture) -> packager::media::RunId {
    let snapshot = channel.snapshots.borrow().clone().unwrap();
    snapshot.tracks[0].segments.last().unwrap().run.id.clone()
}

#[tokio::test]
async fn a_channel_that_was_on_the_air_waits_for_its_source_until_hold_is_over() {
    let (channel, _publication) = live().await;
    let mut channel = again(channel, at(K + 1)).await;
    let status = channel.status.borrow().clone();
    assert_eq!(status.state, Health::Holding, "from the first moment on");
    assert!(status.interrupted);
    tokio::time::pause();
    let idle = channel.until(|status| status.state == Health::Idle).await;
    assert!(!idle.interrupted);
    tokio::time::resume();
    // Its end is remembered.
    let channel = again(channel, at(K + 1)).await;
    assert_eq!(channel.status.borrow().state, Health::Idle);
    channel.stop().await;
}

#[tokio::test]
async fn a_dead_time_longer_than_hold_is_an_end() {
    let (channel, _publication) = live().await;
    let channel = again(channel, at(K + 1) + 60_000).await;
    assert_eq!(channel.status.borrow().state, Health::Idle);
    channel.stop().await;
}

#[tokio::test]
async fn a_source_that_comes_back_and_goes_again_does_not_end_the_wait() {
    let (channel, _publication) = live().await;
    let mut channel = again(channel, at(K + 1)).await;
    let publication = channel.publish();
    channel.state(Health::Starting).await;
    drop(publication);
    let status = channel.until(|status| status.state == Health::Holding).await;
    assert!(status.interrupted);
    channel.let_worker_begin_at(K + 2);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    let status = channel.until(|status| status.last_segment == Some(K + 2)).await;
    assert!(!status.interrupted);
    channel.stop().await;
}

#[tokio::test]
async fn no_run_id_comes_twice_whatever_the_clock_is_set_to() {
    let (mut channel, mut publication) = live().await;
    let mut last = run_id(&channel);
    // By two seconds and by an hour, forth and back.
    for (restart, step) in [2_000, -4_000, 3_600_000, -7_200_000].into_iter().enumerate() {
        let before = channel.status.borrow().last_segment.unwrap();
        channel = again(channel, at(before) + step).await;
        drop(publication);
        let next = before + 1 + restart as u64;
        channel.let_worker_begin_at(next);
        publication = channel.publish();
        send(&publication, beginning()).await;
        channel.until(|status| status.last_segment == Some(next)).await;
        let id = run_id(&channel);
        assert!(id > last, "{id} after {last}");
        last = id;
    }
    channel.stop().await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_make_a_channel_wait_for_it() {
    let (channel, _publication) = live().await;
    let mut channel = again(channel, at(K) - 3_600_000).await;
    let status = channel.status.borrow().clone();
    assert_eq!(status.clock_ahead_ms / 1000, 3_600);
    assert_eq!(status.state, Health::Holding);
    channel.let_worker_begin_at(K + 1);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    let status = channel.until(|status| status.last_segment == Some(K + 1)).await;
    assert_eq!(status.last_error, None);
    channel.stop().await;
}

#[tokio::test]
async fn what_the_channel_became_again_is_what_another_process_finds() {
    let (channel, publication) = live().await;
    let mut channel = again(channel, at(K + 1)).await;
    drop(publication);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    let other = VideoConfig { codec_string: "avc1.64001f".into(), ..video() };
    // As it was found, something else, and as before.
    for (n, video) in [video(), other, video()].into_iter().enumerate() {
        let k = K + 2 + 2 * n as u64;
        channel.let_worker_begin_with(video, k);
        kill(*channel.workers(n + 2).await.last().unwrap());
        channel.until(|status| status.last_segment == Some(k)).await;
    }
    let channel = again(channel, at(K + 7)).await;
    let format = channel.store.recovered().format.clone().unwrap();
    assert_eq!(format.renditions[0].codec, video().codec_string);
    channel.stop().await;
}

//! A channel's task with a real publication, a real store, and a worker process that says what a
//! test wrote down for it.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use ingest::av::protocol::{FromWorker, HEAD, ToWorker, read_head};
use ingest::hub::{Access, Hub, Publication, Request};
use ingest::source::{Protocol, SoundConfig, SourceSample};
use packager::grid::Grid;
use packager::media::{
    AudioConfig, Config, Name, Rendition, Sample, Track, VideoCodec, VideoConfig,
};
use tokio::task::JoinHandle;

use super::*;
use crate::clock::ManualClock;
use crate::store::{Limits, Store};
use crate::telemetry::metrics::Metrics;

mod restart;

const RATE: FrameRate = FrameRate::new(30, 1);
/// The segment in which the clock stands.
const K: u64 = 1_104_576_903;
/// So long a condition is awaited before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

struct Fixture {
    hub: Hub,
    status: watch::Receiver<Arc<Status>>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
    folder: tempfile::TempDir,
    store: Arc<ChannelStore>,
    clock: Arc<ManualClock>,
    preview: Arc<Preview>,
}

fn grid() -> Grid {
    Grid::choose(RATE, 48_000, Span::millis(2_000), Span::millis(300))
}

impl Fixture {
    fn new() -> Self {
        let start = Timestamp::new(grid().boundary(K), grid().video_scale());
        let clock = ManualClock::at_millis(start.ticks_in(Timescale::MILLIS, Rounding::Ceil));
        Self::begin(tempfile::tempdir().unwrap(), clock)
    }

    /// A process that begins in `folder`, where another may have been, at a time.
    fn begin(folder: tempfile::TempDir, clock: ManualClock) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/channel/task/tests/worker.sh");
        let program = folder.path().join("worker");
        let _ = std::fs::remove_file(&program);
        std::os::unix::fs::symlink(script, &program).unwrap();
        std::fs::write(folder.path().join("says"), "").unwrap();
        let name = Name::parse("news").unwrap();
        let mut config = config::Channel::named(name.clone());
        config.fps = Some(RATE);
        // Shorter than the silence after which a worker counts as hung.
        config.hold = Duration::from_secs(2);
        config.window = Span::millis(2_000);
        let store = Store::open(&folder.path().join("store"), Limits::default()).unwrap();
        let (hub, mut subscriptions) = Hub::new([Access {
            channel: name.clone(),
            key: None,
            max_bitrate: None,
            program: None,
            open_groups: false,
            has_source: false,
        }]);
        let (snapshot_sender, snapshots) = watch::channel(None);
        let (status_sender, status) = watch::channel(Arc::default());
        let store = store.channel(&name).unwrap();
        let least = store.recovered().newest_start().unwrap_or(Timestamp::new(0, Timescale::NANOS));
        let clock = Arc::new(clock);
        let preview = Arc::new(Preview::default());
        let context = Context {
            config,
            clock: Arc::new(Ahead::of(Arc::clone(&clock) as Arc<dyn crate::clock::Clock>, least)),
            store: Arc::clone(&store),
            metrics: Metrics::new("test").channel("news"),
            admission: Arc::new(Admission::new(None)),
            program,
            snapshots: snapshot_sender,
            status: status_sender,
            orders: super::super::cues::Desk::new().1,
            preview: Arc::clone(&preview),
        };
        let cancel = CancellationToken::new();
        let subscription = subscriptions.remove(&name).unwrap();
        let task = tokio::spawn(run(context, subscription, cancel.clone()));
        Self { hub, status, snapshots, cancel, task, folder, store, clock, preview }
    }

    fn publish(&self) -> Publication {
        let peer = "127.0.0.1:5000".parse::<SocketAddr>().unwrap().into();
        let request = Request { channel: "news", key: None, peer, protocol: Protocol::Rtmp };
        self.hub.publish(&request).unwrap()
    }

    /// What the next worker says: that it begins at segment `first_k`, and that segment.
    fn let_worker_begin_at(&self, first_k: u64) {
        self.let_worker_begin_with(video(), first_k);
    }

    /// The same with a picture of this kind.
    fn let_worker_begin_with(&self, video: VideoConfig, first_k: u64) {
        self.let_worker_make(video, first_k, grid().segment_ticks / u64::from(RATE.frame_ticks()));
    }

    /// The same, but it stops after `frames`.
    fn let_worker_make(&self, video: VideoConfig, first_k: u64, frames: u64) {
        self.let_worker_say(&Self::made(video, first_k, frames));
    }

    /// What a worker says that begins at segment `first_k` and makes so many frames.
    fn made(video: VideoConfig, first_k: u64, frames: u64) -> Vec<FromWorker> {
        let grid = grid();
        let config = Config::Video(video);
        let rendition = Rendition {
            name: Name::parse("720p").unwrap(),
            track: Track { timescale: grid.video_scale(), config },
            rate: Some(RATE),
            average_bitrate: 1,
            peak_bitrate: 1,
        };
        let frame = RATE.frame_ticks();
        let start = grid.boundary(first_k);
        let mut says = vec![FromWorker::Started { renditions: vec![rendition], first_k, start }];
        for n in 0..frames {
            let dts = grid.boundary(first_k) + n.cast_signed() * i64::from(frame);
            let data = Bytes::from_static(b"picture");
            let sample = Sample { dts, pts: dts, duration: frame, sync: n == 0, data };
            says.push(FromWorker::Sample { rendition: 0, sample, captured: 0, encoded: 0 });
        }
        says
    }

    fn let_worker_say(&self, says: &[FromWorker]) {
        let wires = says.iter().map(FromWorker::to_wire);
        let bytes: Vec<u8> = wires.flat_map(|w| [w.head, w.payload].concat()).collect();
        std::fs::write(self.folder.path().join("says"), bytes).unwrap();
    }

    async fn state(&mut self, state: Health) {
        self.until(|status| status.state == state).await;
    }

    async fn until(&mut self, condition: impl Fn(&Status) -> bool) -> Arc<Status> {
        let met = self.status.wait_for(|status| condition(status));
        tokio::time::timeout(PATIENCE, met).await.expect("the state comes").unwrap().clone()
    }

    /// Process ids of the workers that have said what they had to say, once there are `count`.
    async fn workers(&self, count: usize) -> Vec<i32> {
        let path = self.folder.path().join("pids");
        let pids = || std::fs::read_to_string(&path).unwrap_or_default();
        eventually(|| Some(pids()).filter(|pids| pids.lines().count() >= count)).await;
        pids().lines().map(|pid| pid.parse().unwrap()).collect()
    }

    /// What a worker was told, one word per message, once it was told `count` things.
    async fn told(&self, worker: i32, count: usize) -> Vec<String> {
        let path = self.folder.path().join(format!("told.{worker}"));
        eventually(|| {
            let told = words(&std::fs::read(&path).unwrap_or_default());
            (told.len() >= count).then_some(told)
        })
        .await
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }
}

/// What other processes do is looked at again and again: nobody tells.
async fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let begin = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "it does not come");
        std::thread::sleep(Duration::from_millis(5));
        tokio::task::yield_now().await;
    }
}

fn words(mut bytes: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
        let (length, kind) = read_head(*head).unwrap();
        let Some((body, after)) = rest.split_at_checked(length) else { break };
        words.push(match ToWorker::from_body(kind, Bytes::copy_from_slice(body)).unwrap() {
            ToWorker::Start(_) => "start".into(),
            ToWorker::VideoConfig { .. } => "video".into(),
            ToWorker::AudioConfig { .. } => "audio".into(),
            ToWorker::Video(s) if s.sync => format!("key {}", s.dts / 1_000_000),
            ToWorker::Video(s) => format!("p {}", s.dts / 1_000_000),
            ToWorker::Audio(s) => format!("a {}", s.dts / 1_000_000),
            ToWorker::SourceLost => "lost".into(),
            ToWorker::Rungs { .. } => "rungs".into(),
            ToWorker::KeyFrames { rungs, at } => {
                format!("keys {rungs} {}", at - grid().boundary(K))
            }
            ToWorker::Slate { .. } => "slate".into(),
            ToWorker::Splices(splices) => {
                format!("splices {:?}", splices.iter().collect::<Vec<_>>())
            }
            ToWorker::Locate { id, at } => format!("locate {id} {at}"),
            ToWorker::Opus { on } => format!("opus {on}"),
            ToWorker::Film(_) => "film".into(),
            ToWorker::Stop => "stop".into(),
        });
        bytes = after;
    }
    words
}

fn kill(worker: i32) {
    let pid = rustix::process::Pid::from_raw(worker).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn video() -> VideoConfig {
    VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(&[1]),
        codec_string: "avc1.640020".into(),
        width: 1280,
        height: 720,
        rate: None,
    }
}

fn audio() -> AudioConfig {
    AudioConfig {
        record: Bytes::from_static(&[2]),
        codec_string: "mp4a.40.2".into(),
        sample_rate: 48_000,
        channels: 2,
        frame_samples: 1024,
    }
}

fn sample(ms: i64, sync: bool) -> SourceSample {
    let at = Timestamp::new(ms, Timescale::MILLIS);
    let data = Bytes::from_static(b"coded");
    SourceSample { dts: at, pts: at, sync, data, received: std::time::Instant::now() }
}

async fn send(publication: &Publication, units: impl IntoIterator<Item = Unit>) {
    for unit in units {
        publication.push(unit).await.unwrap();
    }
}

/// The beginning of a broadcast.
fn beginning() -> [Unit; 4] {
    let pictures = [sample(0, true), sample(33, false)].map(Unit::Video);
    let [key, p] = pictures;
    [Unit::VideoConfig(video().into()), Unit::AudioConfig(SoundConfig::Aac(audio())), key, p]
}

#[tokio::test]
async fn a_worker_that_dies_is_followed_by_one_that_needs_neither_header_nor_key_frame() {
    let mut channel = Fixture::new();
    let publication = channel.publish();
    send(&publication, beginning()).await;
    let first = channel.workers(1).await[0];
    let beginning = ["start", "video", "audio", "key 0", "p 33"];
    assert_eq!(channel.told(first, 5).await, beginning);
    kill(first);
    channel.until(|status| status.worker_restarts == 1).await;
    let second = channel.workers(2).await[1];
    assert_eq!(channel.told(second, 5).await, beginning);
    assert_eq!(channel.status.borrow().state, Health::Starting);
    channel.stop().await;
}

#[tokio::test]
async fn opus_is_made_for_as_long_as_somebody_watches_by_webrtc_by_a_worker_that_follows_too() {
    let mut channel = Fixture::new();
    let publication = channel.publish();
    send(&publication, beginning()).await;
    let first = channel.workers(1).await[0];
    channel.told(first, 5).await;
    let watching = channel.preview.watch();
    assert_eq!(channel.told(first, 6).await[5], "opus true");
    kill(first);
    channel.until(|status| status.worker_restarts == 1).await;
    let second = channel.workers(2).await[1];
    assert!(channel.told(second, 6).await.contains(&"opus true".to_owned()));
    drop(watching);
    assert_eq!(channel.told(second, 7).await[6], "opus false");
    channel.stop().await;
}

#[tokio::test]
async fn what_keeps_a_source_away_is_told_until_it_is_there_and_who_was_turned_away_is_counted() {
    let mut channel = Fixture::new();
    let name = Name::parse("news").unwrap();
    channel.hub.absent(&name, Some("address in use".to_owned()));
    channel.hub.turned_away("news", "passphrase");
    let said = "the channel's source is not there: address in use";
    let status = channel.until(|status| status.last_error.as_deref() == Some(said)).await;
    assert_eq!(
        status.events.last().map(|event| (event.kind, event.ended)),
        Some(("no source", None))
    );
    channel.until(|status| status.turned_away == [("passphrase", 1)].into()).await;
    let _publication = channel.publish();
    channel.until(|status| status.source.is_some() && status.last_error.is_none()).await;
    channel.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_late_for_a_part_is_asked_for_a_key_frame_behind_the_filler() {
    let mut channel = Fixture::new();
    // A part has 8 frames: the second one is begun.
    channel.let_worker_make(video(), K, 11);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    let worker = channel.workers(1).await[0];
    channel.state(Health::Live).await;
    let (part, patience) = (Duration::from_micros(266_667), Duration::from_micros(383_334));
    channel.clock.advance(part * 2 + patience - Duration::from_millis(5));
    assert_eq!(channel.told(worker, 5).await.len(), 5, "it is there, and may be so late");
    channel.clock.advance(Duration::from_millis(10));
    assert_eq!(channel.told(worker, 6).await[5], format!("keys 1 {}", 16 * 3_000));
    channel.stop().await;
}

#[tokio::test]
async fn a_rung_that_goes_off_before_its_encoder_has_caught_up_is_filled() {
    let mut channel = Fixture::new();
    // Three segments lie before its first picture, and it never gets through the first.
    let mut says = Fixture::made(video(), K - 3, 11);
    says.push(FromWorker::Rung { rendition: 0, on: false, at: grid().boundary(K - 2) });
    channel.let_worker_say(&says);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    channel.until(|status| status.last_segment >= Some(K - 2)).await;
    channel.stop().await;
}

#[tokio::test]
async fn an_encoder_that_never_catches_up_does_not_keep_a_channel_from_beginning() {
    let mut channel = Fixture::new();
    channel.let_worker_make(video(), K - 3, 11);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    let part = channel.snapshots.wait_for(Option::is_some);
    tokio::time::timeout(PATIENCE, part).await.expect("a part").unwrap();
    assert_eq!(channel.status.borrow().last_segment, None, "it is waited for");
    channel.clock.advance(Duration::from_secs(11));
    channel.until(|status| status.last_segment >= Some(K - 1)).await;
    channel.stop().await;
}

#[tokio::test]
async fn a_channel_goes_live_holds_ends_and_leaves_the_air() {
    let mut channel = Fixture::new();
    channel.let_worker_begin_at(K);
    let publication = channel.publish();
    channel.state(Health::Starting).await;
    send(&publication, beginning()).await;
    channel.state(Health::Live).await;
    channel.until(|status| status.last_segment == Some(K)).await;
    // From here on nothing but time passes.
    tokio::time::pause();
    drop(publication);
    channel.state(Health::Holding).await;
    channel.state(Health::Ended).await;
    let ended = channel.snapshots.borrow().clone().unwrap();
    assert_eq!((ended.state, ended.last_k()), (State::Ended, Some(K)));
    let idle = channel.until(|status| status.state == Health::Idle).await;
    assert!(channel.snapshots.borrow().is_none());
    assert!(idle.renditions.is_empty(), "nothing can be played");
    channel.stop().await;
}

#[tokio::test]
async fn a_return_after_the_end_is_a_new_presentation_with_higher_numbers() {
    let mut channel = Fixture::new();
    channel.let_worker_begin_at(K);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    channel.until(|status| status.last_segment == Some(K)).await;
    tokio::time::pause();
    drop(publication);
    channel.state(Health::Ended).await;
    tokio::time::resume();
    channel.let_worker_begin_at(K + 60);
    let publication = channel.publish();
    channel.state(Health::Starting).await;
    send(&publication, beginning()).await;
    channel.until(|status| status.last_segment == Some(K + 60)).await;
    let snapshot = channel.snapshots.borrow().clone().unwrap();
    assert_eq!((snapshot.state, snapshot.first_k()), (State::Live, Some(K + 60)));
    channel.stop().await;
}

#[tokio::test]
async fn a_source_that_leaves_before_a_picture_leaves_an_idle_channel() {
    let mut channel = Fixture::new();
    let publication = channel.publish();
    send(&publication, [Unit::AudioConfig(SoundConfig::Aac(audio()))]).await;
    channel.state(Health::Starting).await;
    drop(publication);
    channel.state(Health::Idle).await;
    channel.stop().await;
}

#[tokio::test]
async fn a_source_and_a_worker_lost_together_do_not_end_the_channel_before_hold() {
    let mut channel = Fixture::new();
    channel.let_worker_begin_at(K);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    channel.until(|status| status.last_segment == Some(K)).await;
    std::fs::write(channel.folder.path().join("says"), "").unwrap();
    kill(channel.workers(1).await[0]);
    channel.until(|status| status.worker_restarts == 1).await;
    drop(publication);
    channel.state(Health::Holding).await;
    // One more, now that there is no source: it goes on with the last picture there was.
    kill(channel.workers(2).await[1]);
    channel.until(|status| status.worker_restarts == 2).await;
    let third = channel.workers(3).await[2];
    let told = channel.told(third, 6).await;
    assert_eq!(told, ["start", "video", "audio", "key 0", "p 33", "lost"]);
    assert_eq!(channel.snapshots.borrow().as_ref().unwrap().state, State::Live);
    channel.stop().await;
}

#[tokio::test]
async fn a_newer_publisher_takes_over_a_channel_that_starts() {
    let mut channel = Fixture::new();
    let first = channel.publish();
    send(&first, beginning()).await;
    let worker = channel.workers(1).await[0];
    channel.told(worker, 5).await;
    let second = channel.publish();
    assert_eq!(first.closed().await, Closed::TakenOver);
    send(&second, beginning()).await;
    let told = channel.told(worker, 10).await;
    assert_eq!(told[5..], ["lost", "video", "audio", "key 0", "p 33"]);
    drop(first);
    channel.until(|s| s.state == Health::Starting && s.source.is_some()).await;
    channel.stop().await;
}

#[tokio::test]
async fn a_run_that_would_use_numbers_again_is_refused() {
    let mut channel = Fixture::new();
    channel.let_worker_begin_at(K);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    channel.until(|status| status.last_segment == Some(K)).await;
    let other = VideoConfig { record: Bytes::from_static(&[1, 2]), ..video() };
    channel.let_worker_begin_with(other, K);
    kill(channel.workers(1).await[0]);
    let is_told = |status: &Status| status.last_error.as_ref().is_some_and(|e| e.contains("used"));
    channel.until(is_told).await;
    channel.stop().await;
}

#[tokio::test]
async fn a_worker_with_the_same_init_segments_goes_on_in_the_same_run() {
    let mut channel = Fixture::new();
    channel.let_worker_begin_at(K);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    channel.until(|status| status.last_segment == Some(K)).await;
    // What this one makes leaves out a segment.
    channel.let_worker_begin_at(K + 2);
    kill(channel.workers(1).await[0]);
    channel.until(|status| status.last_segment == Some(K + 2)).await;
    let snapshot = channel.snapshots.borrow().clone().unwrap();
    let segments = snapshot.listed(0);
    assert_eq!(segments.iter().map(|s| s.k).collect::<Vec<_>>(), [K, K + 1, K + 2]);
    assert!(segments.iter().all(|s| !s.gap && s.run.id == segments[0].run.id));
    channel.stop().await;
}

#[tokio::test]
async fn a_worker_with_other_init_segments_begins_a_run_of_its_own() {
    let mut channel = Fixture::new();
    channel.let_worker_begin_at(K);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    let before = channel.until(|status| status.last_segment == Some(K)).await;
    assert_eq!(before.first_segment, Some(K));
    let run = channel.snapshots.borrow().as_ref().unwrap().listed(0)[0].run.clone();
    let other = VideoConfig { record: Bytes::from_static(&[1, 2]), ..video() };
    channel.let_worker_begin_with(other, K + 2);
    kill(channel.workers(1).await[0]);
    channel.until(|status| status.last_segment == Some(K + 2)).await;
    let snapshot = channel.snapshots.borrow().clone().unwrap();
    let next = &snapshot.listed(0).last().unwrap().run;
    assert!(next.id > run.id);
    assert_eq!(next.discontinuity, run.discontinuity + 1);
    // What a manifest of the old run promised is there, though the new run has the numbers.
    let promise = snapshot.promise.clone().unwrap();
    assert_eq!((promise.run, promise.numbers), (run.id.clone(), K + 2..K + 8));
    let old = channel.store.read(run.id.as_str(), "720p", K + 7).unwrap();
    assert!(!old.open && old.len > 0);
    assert!(channel.store.read(run.id.as_str(), "720p", K + 8).is_none());
    channel.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_never_begins_is_replaced() {
    let mut channel = Fixture::new();
    let publication = channel.publish();
    send(&publication, beginning()).await;
    let status = channel.until(|status| status.worker_restarts > 0).await;
    let error = status.last_error.clone().unwrap();
    assert!(error.contains("did not begin"), "{error}");
    channel.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_without_pictures_is_told_to_people() {
    let mut channel = Fixture::new();
    let publication = channel.publish();
    send(
        &publication,
        [Unit::AudioConfig(SoundConfig::Aac(audio())), Unit::Audio(sample(0, true))],
    )
    .await;
    let status = channel.until(|status| status.last_error.is_some()).await;
    assert!(status.last_error.as_ref().unwrap().contains("no picture"));
    assert_eq!(status.state, Health::Starting, "it may still come");
    channel.stop().await;
}

#[tokio::test]
async fn going_down_tells_the_publisher_and_closes_what_is_open() {
    let mut channel = Fixture::new();
    channel.let_worker_begin_at(K);
    let publication = channel.publish();
    send(&publication, beginning()).await;
    channel.until(|status| status.last_segment == Some(K)).await;
    let snapshots = channel.snapshots.clone();
    channel.stop().await;
    assert_eq!(publication.closed().await, Closed::ShuttingDown);
    let snapshot = snapshots.borrow().clone().unwrap();
    assert_eq!(snapshot.state, State::Live, "its successor goes on");
}

#[tokio::test]
async fn going_down_ends_the_task_in_every_state() {
    for units in [0, 1, 4] {
        let mut channel = Fixture::new();
        let publication = channel.publish();
        send(&publication, beginning().into_iter().take(units)).await;
        channel.state(Health::Starting).await;
        channel.stop().await;
        assert_eq!(publication.closed().await, Closed::ShuttingDown, "{units} units");
    }
    Fixture::new().stop().await;
}

#[test]
fn a_rate_is_taken_from_metadata_only() {
    let value = |rate: f64| DataMessage {
        at: Timestamp::new(0, Timescale::MILLIS),
        name: "onMetaData".into(),
        values: vec![serde_json::json!({ "framerate": rate })],
        raw: Bytes::new(),
    };
    assert_eq!(claimed_rate(&value(29.97)), Some(29_970));
    assert_eq!(claimed_rate(&value(0.0)), None);
    assert_eq!(claimed_rate(&DataMessage { name: "onCuePoint".into(), ..value(25.0) }), None);
}

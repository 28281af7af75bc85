use std::path::Path;
use std::time::{Duration, Instant};

use packager::codec::{aac, h264};
use packager::grid::Grid;
use packager::grid::splices::Splices;
use packager::media::Config;
use packager::segmenter::{Output, PartChunk, Segmenter};
use packager::time::{FrameRate, Span};
use packager::timeline::{Beginning, Lengths, Part, Parts, Snapshot, Timeline};

use super::super::journal::Journal;
use super::super::{Asset, ChannelStore, Limits, Media, MediaBody, Store};
use super::*;

mod fixture;
use fixture::*;

#[tokio::test]
async fn what_is_read_back_is_what_was_listed() {
    let (before, root) = two_runs().await;
    let left = recover(&journal_of(root.path()), root.path()).unwrap();
    assert_eq!(left.tracks, before.tracks);
    assert_eq!(left.stretches, [Arc::clone(&before.tracks[0].segments.last().unwrap().run)]);
    assert!(!left.ended);
    let picture = left.pictures[0].clone().unwrap();
    assert_eq!(picture.data, format!("picture 0 of {}", FIRST_K + 8));
    assert_eq!(picture.dts, grid().boundary(FIRST_K + 8));
    assert_eq!(left.pictures[1], None);
    let open = before.tracks[0].open.as_ref().unwrap();
    let position = &left.positions()[0];
    assert_eq!((position.k, position.part as usize), (open.k, open.parts.len()));
    let again = Timeline::restore(format(), left.stretches, left.tracks).snapshot();
    assert_eq!((&again.tracks, &again.renditions), (&before.tracks, &before.renditions));
}

/// What is in the store of a segment and of each of its first parts.
fn bytes(channel: &ChannelStore, run: &RunId, rendition: &str, k: u64) -> Vec<Vec<u8>> {
    let whole = channel.read(run.as_str(), rendition, k).filter(|media| !media.open);
    let parts = (0..2).map(|n| channel.part(run.as_str(), rendition, k, n));
    let in_memory = |media: Media| match media.body {
        MediaBody::Memory(pieces) | MediaBody::Both { pieces, .. } => pieces.concat(),
        MediaBody::File { .. } => panic!("it is in the window's files"),
    };
    std::iter::once(whole).chain(parts).flatten().map(in_memory).collect()
}

#[tokio::test]
async fn what_a_run_had_promised_when_it_ended_is_answered_after_a_restart_too() {
    let mut channel = Channel::new().await;
    channel.make(FIRST_K, 10_000).await;
    channel.segmenter.fill_before(FIRST_K + 1);
    channel.drain().await;
    let old = channel.run.id.clone();
    let numbers = FIRST_K + 1..FIRST_K + 4;
    channel.segmenter.fill_before(numbers.end);
    let mut chunks: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    while let Some(output) = channel.segmenter.poll() {
        match output {
            Output::Chunk(part) => chunks.entry(part.rendition).or_default().push(part.chunk),
            Output::SegmentClosed { rendition, k, .. } => {
                let chunks = chunks.remove(&rendition).unwrap();
                channel.channel.keep(&old, rendition, k, chunks, 0);
            }
            Output::Init { .. }
            | Output::Spliced { .. }
            | Output::Off { .. }
            | Output::Shifted(_) => {}
        }
    }
    channel.next_run(FIRST_K + 1).await;
    let promise = Promise { run: old.clone(), numbers };
    channel.channel.promise(&promise).await;
    channel.make(FIRST_K + 1, 900).await;
    let all = |channel: &ChannelStore| {
        let pairs = (FIRST_K..FIRST_K + 5).flat_map(|k| ["720p", "audio"].map(|name| (name, k)));
        let promised = pairs.filter(|(_, k)| promise.numbers.contains(k));
        promised.map(|(name, k)| bytes(channel, &old, name, k)).collect::<Vec<_>>()
    };
    let before = all(&channel.channel);
    assert!(before.iter().all(|each| each.len() == 3 && each[0].len() > each[1].len()));
    let (_, root) = channel.die();
    let store = Store::open(root.path(), limits()).unwrap();
    let channel = store.channel(&name("news")).unwrap();
    assert!(all(&channel) == before);
    let left = channel.take_left().unwrap();
    assert_eq!(left.promise, Some(promise.clone()));
    // Their numbers are the next run's.
    assert_eq!(channel.recovered().last_k, Some(FIRST_K + 1));
    assert_eq!(newest(&left), 2);
    assert_eq!(left.tracks[0].segments.len(), 1);
}

#[tokio::test]
async fn a_journal_cut_at_any_byte_loses_nothing_that_was_listed() {
    let (before, root) = two_runs().await;
    let journal = journal_of(root.path());
    // Without its format, or the record of the newest run, a channel begins anew.
    let needed = find(&journal, br#""id":"00000000002""#).unwrap() + 2_000;
    let needed = (needed - 2_000..needed)
        .find(|cut| recover(&journal[..*cut], root.path()).is_some_and(|l| newest(&l) == 2))
        .unwrap();
    for cut in 0..needed {
        // The newest run is unknown: its files are not gone on with, and nothing panics.
        if cut % 11 == 0 {
            let left = recover(&journal[..cut], root.path());
            assert!(left.is_none_or(|left| newest(&left) == 1), "cut at {cut}");
        }
    }
    for cut in needed..=journal.len() {
        if cut % 7 == 0 || cut + 700 > journal.len() {
            let left = recover(&journal[..cut], root.path()).unwrap();
            assert_eq!(told(&left.tracks), told(&before.tracks), "cut at {cut}");
        }
    }
}

fn newest(left: &Left) -> u64 {
    left.run().unwrap().id.millis()
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[tokio::test]
async fn a_broken_record_of_a_segment_is_made_up_from_its_file() {
    let (before, root) = two_runs().await;
    let journal = journal_of(root.path());
    let mut hits = 0;
    let mut from = 0;
    while let Some(at) = find(&journal[from..], br#""record":"segment""#) {
        from += at + 1;
        hits += 1;
        let mut broken = journal.clone();
        broken[from + 30] ^= 4;
        let left = recover(&broken, root.path()).unwrap();
        assert_eq!(told(&left.tracks), told(&before.tracks), "record {hits}");
    }
    assert_eq!(hits, 16, "eight segments of two renditions");
}

#[tokio::test]
async fn a_part_torn_at_any_byte_is_cut_and_those_before_it_stay() {
    let (before, root) = two_runs().await;
    let journal = journal_of(root.path());
    let open = before.tracks[0].open.as_ref().unwrap();
    let path = root.path().join(format!("news/{}/720p/{}.m4s", open.run.id, open.k));
    let whole = std::fs::read(&path).unwrap();
    let ends: Vec<usize> = open
        .parts
        .iter()
        .scan(0, |end, part| {
            *end += part.bytes as usize;
            Some(*end)
        })
        .collect();
    for cut in (0..=whole.len()).rev().step_by(5) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let left = recover(&journal, root.path()).unwrap();
        let parts = left.tracks[0].open.as_ref().map_or(&[][..], |open| &open.parts);
        let count = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(parts, &open.parts[..count], "cut at {cut}");
        let bytes: Vec<u8> = left.open.get(&0).into_iter().flatten().flatten().copied().collect();
        assert_eq!(bytes, whole[..count.checked_sub(1).map_or(0, |last| ends[last])]);
    }
    // Garbage and zeros where a power cut left them.
    for tail in [vec![0; 4_096], vec![0xff; 300], whole.clone()] {
        std::fs::write(&path, [whole.as_slice(), &tail].concat()).unwrap();
        let left = recover(&journal, root.path()).unwrap();
        assert_eq!(left.tracks[0].open, before.tracks[0].open);
    }
}

#[tokio::test]
async fn what_the_disk_has_lost_is_a_gap_and_nothing_else() {
    let (before, root) = two_runs().await;
    let journal = journal_of(root.path());
    let victims = [(1, FIRST_K + 2), (2, FIRST_K + 6)];
    for (run, k) in victims {
        let run = RunId::from_millis(run);
        let path = root.path().join(format!("news/{run}/audio/{k}.m4s"));
        std::fs::remove_file(path).unwrap();
    }
    let left = recover(&journal, root.path()).unwrap();
    let after = Timeline::restore(format(), left.stretches, left.tracks).snapshot();
    assert_eq!(after.tracks[0], before.tracks[0]);
    for (now, then) in after.tracks[1].segments.iter().zip(&before.tracks[1].segments) {
        let lost = victims.iter().any(|(_, k)| *k == now.k);
        assert_eq!((now.k, &now.run, now.start), (then.k, &then.run, then.start));
        assert_eq!((now.gap, now.has_media()), (lost, !lost), "{}", now.k);
    }
}

#[tokio::test]
async fn the_windows_head_does_not_go_back_when_a_longer_window_is_configured() {
    let mut channel = Channel::new().await;
    for k in FIRST_K..FIRST_K + 20 {
        channel.make(k, 10_000).await;
    }
    let (before, root) = channel.die();
    assert_eq!(before.tracks[0].segments.len(), 10);
    let left = recover(&journal_of(root.path()), root.path()).unwrap();
    assert_eq!(told(&left.tracks), told(&before.tracks));
}

#[tokio::test]
async fn uneven_segments_that_stay_named_behind_the_window_are_read_back() {
    let mut channel = Channel::with(Lengths::Uneven).await;
    for k in FIRST_K..FIRST_K + 20 {
        channel.make(k, 10_000).await;
    }
    let (before, root) = channel.die();
    assert!(before.tracks[0].segments.len() > 10, "more than the window holds");
    let left = recover(&journal_of(root.path()), root.path()).unwrap();
    assert_eq!(told(&left.tracks), told(&before.tracks));
}

#[tokio::test]
async fn a_sources_segment_without_a_record_was_closed_if_its_last_part_is_short() {
    for (cut, closed) in [(Cut::Source, true), (Cut::Grid, false)] {
        let grid = Grid { cut, ..grid() };
        let format = Arc::new(Format { grid, ..*format() });
        let mut channel = Channel::of(format, Lengths::Even).await;
        channel.make(FIRST_K, 900).await;
        channel.segmenter.finish();
        while let Some(output) = channel.segmenter.poll() {
            if matches!(output, Output::Chunk(_)) {
                write(&channel.channel, &mut channel.timeline, &channel.run.id, output).await;
            }
        }
        let (before, root) = channel.die();
        let left = recover(&journal_of(root.path()), root.path()).unwrap();
        for (before, left) in before.tracks.iter().zip(&left.tracks) {
            let open = before.open.as_ref().unwrap();
            assert_eq!(left.open.is_none(), closed, "{cut:?}");
            let segment = left.segments.first().map(|segment| segment.parts.clone());
            let parts =
                segment.or_else(|| Some(left.open.as_ref()?.parts.iter().copied().collect()));
            assert_eq!(parts, Some(open.parts.iter().copied().collect()));
        }
    }
}

#[tokio::test]
async fn a_run_that_had_not_begun_in_every_rendition_is_passed_over() {
    let mut channel = Channel::new().await;
    for k in FIRST_K..FIRST_K + 3 {
        channel.make(k, 10_000).await;
    }
    channel.next_run(FIRST_K + 3).await;
    let frame = RATE.frame_ticks();
    for n in 0..20 {
        let dts = grid().boundary(FIRST_K + 3) + n * i64::from(frame);
        let data = Bytes::from_static(b"picture");
        let sample = Sample { dts, pts: dts, duration: frame, sync: n == 0, data };
        channel.segmenter.push(0, sample).unwrap();
    }
    channel.drain().await;
    let (before, root) = channel.die();
    assert!(before.tracks[0].open.is_some() && before.tracks[1].open.is_none());
    let left = recover(&journal_of(root.path()), root.path()).unwrap();
    assert_eq!(newest(&left), 1);
    let last: Vec<_> = left.tracks.iter().map(|t| t.segments.last().unwrap().k).collect();
    assert_eq!(last, [FIRST_K + 2, FIRST_K + 2]);
}

/// Goes on inside the segment that was open when everything died.
async fn go_on(before: Arc<Snapshot>, root: tempfile::TempDir) {
    let store = Store::open(root.path(), limits()).unwrap();
    let channel = store.channel(&name("news")).unwrap();
    let left = channel.take_left().unwrap();
    assert_eq!(left.tracks, before.tracks);
    assert!(channel.take_left().is_none(), "once");
    channel.resume(&left).await;
    let open = before.tracks[0].open.as_ref().unwrap();
    let id = open.run.id.clone();
    let path = root.path().join(format!("news/{id}/720p/{}.m4s", open.k));
    let begun = std::fs::read(&path).unwrap();
    let media = channel.read(id.as_str(), "720p", open.k).unwrap();
    assert!(media.open && media.len == begun.len() as u64);
    // The rest of the segment is filler.
    let run = left.run().unwrap();
    let mut segmenter = Segmenter::resume(
        grid(),
        Splices::default(),
        Arc::clone(&run.renditions),
        &left.positions(),
    );
    let mut timeline = Timeline::restore(format(), left.stretches.clone(), left.tracks.clone());
    segmenter.complete();
    while let Some(output) = segmenter.poll() {
        assert!(matches!(output, Output::Chunk(_) | Output::SegmentClosed { .. }), "{output:?}");
        write(&channel, &mut timeline, &id, output).await;
    }
    let row = [0, 1].map(|rendition| timeline.last_segment(rendition).unwrap());
    assert_eq!(row.map(|segment| segment.k), [open.k; 2]);
    let ends = [grid().boundary(open.k + 1), grid().audio_boundary(open.k + 1)];
    assert_eq!(row.map(|segment| segment.end()), ends);
    channel.flush().await;
    let whole = std::fs::read(&path).unwrap();
    assert!(whole.starts_with(&begun) && whole.len() > begun.len());
    let chunks = read::chunks(&whole).unwrap();
    assert_eq!(chunks.iter().map(read::Chunk::duration).sum::<u64>(), grid().segment_ticks);
    drop((channel, store));
    // And the next process finds it closed.
    let store = Store::open(root.path(), limits()).unwrap();
    let left = store.channel(&name("news")).unwrap().take_left().unwrap();
    assert_eq!(told(&left.tracks), told(&timeline.snapshot().tracks));
    assert!(left.tracks.iter().all(|track| track.open.is_none()));
}

#[tokio::test]
async fn a_process_goes_on_inside_the_open_segment_with_the_same_bytes() {
    let (before, root) = two_runs().await;
    go_on(before, root).await;
}

#[tokio::test]
async fn a_process_goes_on_inside_the_first_segment_of_a_run() {
    let mut channel = Channel::new().await;
    for k in FIRST_K..FIRST_K + 5 {
        channel.make(k, 10_000).await;
    }
    channel.next_run(FIRST_K + 5).await;
    channel.make(FIRST_K + 5, 900).await;
    let (before, root) = channel.die();
    go_on(before, root).await;
}

#[tokio::test]
async fn after_a_power_cut_the_run_is_not_gone_on_with() {
    let (before, root) = two_runs().await;
    let mut journal = Journal::open(root.path().join("news/journal")).unwrap();
    assert!(journal.state().boot.is_some());
    let id = "the start before".to_owned();
    journal.append(super::super::journal::Record::Boot { id }).unwrap();
    drop(journal);
    let store = Store::open(root.path(), limits()).unwrap();
    let left = store.channel(&name("news")).unwrap().take_left().unwrap();
    assert!(left.machine_went_down && left.open.is_empty());
    for (now, then) in left.tracks.iter().zip(&before.tracks) {
        assert_eq!((&now.segments, &now.open), (&then.segments, &None));
    }
    drop(store);
    // Nor by the next process of this start of the machine, while no other run has begun.
    let store = Store::open(root.path(), limits()).unwrap();
    let left = store.channel(&name("news")).unwrap().take_left().unwrap();
    assert!(left.machine_went_down && left.open.is_empty());
}

#[tokio::test]
async fn what_s3_has_is_not_lost_with_the_disk() {
    let (before, root) = two_runs().await;
    let path = |k| root.path().join(format!("news/00000000001/720p/{k}.m4s"));
    for k in [FIRST_K, FIRST_K + 2] {
        std::fs::remove_file(path(k)).unwrap();
    }
    let state = Journal::state_of(&journal_of(root.path()));
    let directory = Directory::new(root.path(), &name("news"));
    let runs = directory.runs().unwrap();
    let numbers = |far| {
        let left = read_back(&state, &directory, &runs, far).unwrap();
        left.tracks[0].segments.iter().map(|segment| segment.k).collect::<Vec<_>>()
    };
    let all: Vec<_> = before.tracks[0].segments.iter().map(|segment| segment.k).collect();
    assert_eq!(numbers(Some(FIRST_K + 2)), all);
    let without =
        |lost: &[u64]| all.iter().copied().filter(|k| !lost.contains(k)).collect::<Vec<_>>();
    assert_eq!(numbers(Some(FIRST_K)), without(&[FIRST_K + 2]));
    assert_eq!(numbers(None), without(&[FIRST_K, FIRST_K + 2]));
}

#[tokio::test]
async fn a_window_of_ten_minutes_is_small_in_the_journal_and_read_without_its_media() {
    let mut channel = Channel::new().await;
    let limits = Limits { grace: Duration::ZERO, ..limits() };
    let segments = 375;
    for k in FIRST_K..FIRST_K + segments {
        channel.make(k, 10_000).await;
    }
    let (_, root) = channel.die();
    let journal = journal_of(root.path());
    println!("{} bytes of journal for {segments} segments of two renditions", journal.len());
    assert!(journal.len() as u64 / (2 * segments) < 300, "{}", journal.len());
    let began = Instant::now();
    let store = Store::open(root.path(), limits).unwrap();
    let left = store.channel(&name("news")).unwrap().take_left();
    println!("read back within {:?}", began.elapsed());
    assert!(left.is_some());
}

/// Half of the second within which a server must be back, eight times as long for a build that
/// is not optimised and a machine that is shared.
#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_of_fifty_channels_are_read_back_in_seconds() {
    const CHANNELS: usize = 50;
    const WITHIN: Duration = Duration::from_secs(4);
    let format = format_of(Span::millis(600_000));
    let last = FIRST_K + format.grid.segments_in(format.window);
    let mut channel = Channel::of(format, Lengths::Even).await;
    for k in FIRST_K..last {
        channel.make(k, 10_000).await;
    }
    channel.make(last, 900).await;
    let (snapshot, root) = channel.die();
    let names: Vec<Name> = (0..CHANNELS).map(|n| name(&format!("news-{n}"))).collect();
    for copy in &names {
        multiply(&root.path().join("news"), &root.path().join(copy.as_str()));
    }
    let began = Instant::now();
    let store = Store::open(root.path(), limits()).unwrap();
    for name in &names {
        let left = store.channel(name).unwrap().take_left().expect("something to go on with");
        assert_eq!(left.tracks[0].segments.len(), snapshot.tracks[0].segments.len());
        assert_eq!(left.open.len(), 2);
    }
    let took = began.elapsed();
    println!("{CHANNELS} channels of {} segments: {took:?}", last - FIRST_K);
    assert!(took <= WITHIN, "{took:?}");
}

/// The folder of a channel once more, under another name.
fn multiply(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(std::io::Result::unwrap) {
        let (path, beside) = (entry.path(), to.join(entry.file_name()));
        match (path.is_dir(), entry.file_name() == "journal") {
            (true, _) => multiply(&path, &beside),
            (false, true) => drop(std::fs::copy(path, beside).unwrap()),
            (false, false) => std::fs::hard_link(path, beside).unwrap(),
        }
    }
}

/// An asset outlives the window, restarts, the journal and the channel's format; and leaves nothing behind.
#[tokio::test]
async fn an_asset_survives_all_that_its_segments_journal_does_not() {
    let mut channel = Channel::new().await;
    for k in FIRST_K..FIRST_K + 8 {
        channel.make(k, 10_000).await;
    }
    let excerpt = channel.timeline.snapshot().whole(FIRST_K + 1..FIRST_K + 4).unwrap();
    let asset = Asset { id: "goal".into(), title: "Goal".into(), ..Asset::default() };
    let asset = channel.channel.keep_asset(asset, &excerpt).unwrap();
    let run = channel.run.id.clone();
    // All of it leaves the window of ten segments.
    for k in FIRST_K + 8..FIRST_K + 16 {
        channel.make(k, 10_000).await;
    }
    let (_, root) = channel.die();
    let segment = |k: u64| root.path().join(format!("news/{run}/720p/{k}.m4s"));
    let bytes = std::fs::read(segment(FIRST_K + 2)).unwrap();
    let there = async |why: &str| {
        let store = Store::open(root.path(), Limits { grace: Duration::ZERO, ..limits() }).unwrap();
        let news = store.channel(&name("news")).unwrap();
        // What an earlier process removed is deleted within a second or two.
        for _ in 0..500 {
            if !segment(FIRST_K).exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!segment(FIRST_K).exists(), "{why}");
        assert_eq!(news.assets(), std::slice::from_ref(&asset), "{why}");
        let held = news.held(run.as_str(), "720p", FIRST_K + 2, None);
        let media = held.or_else(|| news.read(run.as_str(), "720p", FIRST_K + 2)).expect(why);
        assert_eq!(media.whole().await.unwrap(), bytes, "{why}");
        let timeline = news.asset_timeline("goal").unwrap();
        assert_eq!(timeline.tracks, excerpt.tracks, "{why}");
        news
    };
    drop(there("a restart").await);
    std::fs::write(root.path().join("news/journal"), b"").unwrap();
    drop(there("a lost journal").await);
    let news = there("another format").await;
    let renditions = renditions();
    let stored = StoredFormat {
        grid: Grid::choose(RATE, 48_000, Span::millis(4_000), Span::millis(300)),
        publish_delay: Span::millis(150),
        window: Span::millis(16_000),
        wishes: vec!["720p".into()],
        renditions: renditions.iter().map(StoredRendition::from).collect(),
    };
    news.fix_format(stored).await;
    drop(news);
    let news = there("after another format").await;
    assert!(news.remove_asset("goal").unwrap() && !news.remove_asset("goal").unwrap());
    drop(news);
    let store = Store::open(root.path(), limits()).unwrap();
    drop(store.channel(&name("news")).unwrap());
    assert!(!segment(FIRST_K + 2).exists(), "nothing holds it any more");
}

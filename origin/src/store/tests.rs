use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use packager::cmaf::Chunk;
use packager::media::{AudioConfig, Config, Rendition, RunId, Track};
use packager::time::Timescale;
use packager::timeline::{Lengths, Part, Run, Segment};

use super::*;

/// Ticks of a second in these tests' renditions.
const SECOND: u64 = 48_000;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn rendition(text: &str) -> Rendition {
    let config = AudioConfig {
        record: Bytes::from_static(&[0x11, 0x90]),
        codec_string: "mp4a.40.2".into(),
        sample_rate: 48_000,
        channels: 2,
        frame_samples: 1_024,
    };
    Rendition {
        name: name(text),
        track: Track { timescale: Timescale::new(48_000).unwrap(), config: Config::Audio(config) },
        rate: None,
        average_bitrate: 128_000,
        peak_bitrate: 160_000,
    }
}

fn run(millis: u64, first_k: u64) -> Run {
    Run {
        id: RunId::from_millis(millis),
        discontinuity: first_k,
        stretch: 0,
        left_out: Vec::new(),
        first_k,
        start: 0,
        lengths: Lengths::Even,
        renditions: Arc::new([]),
        inits: vec![Bytes::from_static(b"init of high"), Bytes::from_static(b"init of low")],
    }
}

fn chunk(seed: u64, samples: usize) -> Chunk {
    let sample = |i: usize| Bytes::from(format!("sample {i} of {seed};"));
    Chunk {
        head: Bytes::from(format!("head of {seed};")),
        samples: (0..samples).map(sample).collect(),
    }
}

fn bytes_of(chunk: &Chunk) -> Vec<u8> {
    std::iter::once(&chunk.head).chain(&chunk.samples).flatten().copied().collect()
}

/// A segment of two seconds made of `chunks`.
fn segment(run: &Run, k: u64, chunks: &[Chunk]) -> Segment {
    let part = |chunk: &Chunk| Part {
        duration: 1_000,
        bytes: u32::try_from(chunk.len()).unwrap(),
        independent: true,
        first_sample: 10,
    };
    Segment {
        k,
        run: Arc::new(run.clone()),
        start: (k * 2 * SECOND).cast_signed(),
        duration: 2 * SECOND,
        parts: chunks.iter().map(part).collect(),
        gap: chunks.is_empty(),
    }
}

/// The bytes of an answer, from wherever they are.
fn body(media: &Media) -> Vec<u8> {
    match &media.body {
        MediaBody::Memory(pieces) | MediaBody::Both { pieces, .. } => pieces.concat(),
        MediaBody::File { path, offset } => {
            let file = std::fs::read(path).unwrap();
            let from = usize::try_from(*offset).unwrap();
            file[from..from + usize::try_from(media.len).unwrap()].to_vec()
        }
    }
}

fn in_memory(media: &Media) -> bool {
    matches!(media.body, MediaBody::Memory(_) | MediaBody::Both { .. })
}

/// The defaults, but waiting for a busy disk where a test looks at files.
fn limits() -> Limits {
    Limits { patience: Duration::from_secs(10), ..Limits::default() }
}

struct Fixture {
    root: tempfile::TempDir,
    limits: Limits,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        Self { root: tempfile::tempdir().unwrap(), limits }
    }

    fn store(&self) -> Store {
        Store::open(self.root.path(), self.limits).unwrap()
    }
}

/// Two renditions in a fresh run.
async fn begin(channel: &ChannelStore, run: &Run) {
    channel.begin_run(run, &[rendition("high"), rendition("low")]).await;
}

/// Writes a whole segment of `parts` parts and gives its bytes.
async fn write(channel: &ChannelStore, run: &Run, rendition: usize, k: u64, parts: u64) -> Vec<u8> {
    let chunks: Vec<_> = (0..parts).map(|n| chunk(k * 100 + n, 5)).collect();
    for chunk in &chunks {
        channel.append(&run.id, rendition, k, chunk).await;
    }
    channel.close(&run.id, rendition, k, &segment(run, k, &chunks)).await;
    chunks.iter().flat_map(bytes_of).collect()
}

/// Waits until `holds`, at most ten seconds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_reader_sees_a_part_as_soon_as_it_is_appended_and_the_file_holds_it_too() {
    let fixture = Fixture::new(limits());
    let store = fixture.store();
    let channel = store.channel(&name("news")).unwrap();
    let run = run(1, 7);
    begin(&channel, &run).await;
    let mut so_far = Vec::new();
    for n in 0..3 {
        let chunk = chunk(n, 40);
        channel.append(&run.id, 1, 7, &chunk).await;
        so_far.extend(bytes_of(&chunk));
        let open = channel.read(run.id.as_str(), "low", 7).unwrap();
        assert!(open.open && open.etag.is_none());
        assert_eq!(body(&open), so_far);
        assert_eq!(open.len, so_far.len() as u64);
        let part = channel.part(run.id.as_str(), "low", 7, usize::try_from(n).unwrap()).unwrap();
        assert!(!part.open && part.etag.is_some());
        assert_eq!(body(&part), bytes_of(&chunk));
        let file = fixture.root.path().join(format!("news/{}/low/7.m4s", run.id));
        assert_eq!(std::fs::read(file).unwrap(), so_far, "in the file before it is visible");
    }
    assert!(channel.part(run.id.as_str(), "low", 7, 3).is_none());
    assert!(channel.read(run.id.as_str(), "high", 7).is_none());
    assert!(channel.read(run.id.as_str(), "low", 8).is_none());
    assert!(channel.read("../news", "low", 7).is_none());
    assert_eq!(body(&channel.init(run.id.as_str(), "low").unwrap()), b"init of low");
    assert!(channel.init(run.id.as_str(), "middle").is_none());
}

#[tokio::test]
async fn segments_older_than_the_live_edge_come_from_disk_byte_for_byte() {
    let limits = Limits { live_edge: Duration::from_secs(4), ..limits() };
    let fixture = Fixture::new(limits);
    let store = fixture.store();
    let channel = store.channel(&name("news")).unwrap();
    let run = run(1, 10);
    begin(&channel, &run).await;
    let mut written = Vec::new();
    for k in 10..20 {
        written.push((k, write(&channel, &run, 0, k, 3).await));
    }
    let first = channel.read(run.id.as_str(), "high", 10).unwrap();
    let tag = first.etag.clone();
    channel.flush().await;
    for (k, bytes) in &written {
        let media = channel.read(run.id.as_str(), "high", *k).unwrap();
        assert_eq!(in_memory(&media), *k >= 18, "segment {k}: 4 s are two segments");
        assert_eq!(body(&media), *bytes);
        let parts: Vec<u8> = (0..3)
            .flat_map(|n| body(&channel.part(run.id.as_str(), "high", *k, n).unwrap()))
            .collect();
        assert_eq!(parts, *bytes, "the parts of {k} are the segment");
    }
    assert_eq!(channel.read(run.id.as_str(), "high", 10).unwrap().etag, tag, "one name, one tag");
}

#[tokio::test]
async fn the_byte_cap_holds_over_all_renditions() {
    let limits = Limits { live_edge_bytes: 1_000, ..limits() };
    let fixture = Fixture::new(limits);
    let store = fixture.store();
    let channel = store.channel(&name("news")).unwrap();
    let run = run(1, 10);
    begin(&channel, &run).await;
    for k in 10..30 {
        for rendition in 0..2 {
            let bytes = write(&channel, &run, rendition, k, 2).await;
            assert!(bytes.len() < 300);
            channel.flush().await;
            assert!(channel.stats().memory_bytes <= 1_000);
        }
    }
    assert!(channel.stats().memory_bytes > 500, "the cap is used");
    assert!(!in_memory(&channel.read(run.id.as_str(), "low", 10).unwrap()));
    assert!(in_memory(&channel.read(run.id.as_str(), "low", 29).unwrap()));
    assert_eq!(channel.stats().lost_segments, 0);
}

#[tokio::test]
async fn a_removed_segment_stays_for_the_grace_and_then_goes_with_its_file() {
    let kept = Fixture::new(limits());
    let store = kept.store();
    let channel = store.channel(&name("news")).unwrap();
    let run = run(1, 10);
    begin(&channel, &run).await;
    write(&channel, &run, 0, 10, 2).await;
    channel.remove(&run.id, 0, 10);
    channel.flush().await;
    assert!(channel.read(run.id.as_str(), "high", 10).is_some(), "HP-06");

    let short = Fixture::new(Limits { grace: Duration::ZERO, ..limits() });
    let store = short.store();
    let channel = store.channel(&name("news")).unwrap();
    begin(&channel, &run).await;
    write(&channel, &run, 0, 10, 2).await;
    write(&channel, &run, 0, 11, 2).await;
    let file = short.root.path().join(format!("news/{}/high/10.m4s", run.id));
    assert!(file.exists());
    channel.remove(&run.id, 0, 10);
    until("the file goes", || !file.exists()).await;
    assert!(channel.read(run.id.as_str(), "high", 10).is_none());
    assert!(channel.read(run.id.as_str(), "high", 11).is_some());
}

#[tokio::test]
async fn a_run_that_is_over_goes_with_its_last_segment() {
    let fixture = Fixture::new(Limits { grace: Duration::ZERO, ..limits() });
    let store = fixture.store();
    let channel = store.channel(&name("news")).unwrap();
    let (old, new) = (run(1, 10), run(2, 12));
    begin(&channel, &old).await;
    write(&channel, &old, 0, 10, 1).await;
    begin(&channel, &new).await;
    channel.remove(&old.id, 0, 10);
    let directory = fixture.root.path().join(format!("news/{}", old.id));
    until("the directory goes", || !directory.exists()).await;
    assert!(channel.init(old.id.as_str(), "high").is_none());
    assert!(channel.init(new.id.as_str(), "high").is_some());
}

#[tokio::test]
async fn a_second_store_on_the_same_directory_is_refused_while_the_first_lives() {
    let fixture = Fixture::new(limits());
    let first = fixture.store();
    let error = Store::open(fixture.root.path(), fixture.limits).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    drop(first);
    fixture.store();
}

/// What is remembered of a channel whose segments last `millis`.
fn format(millis: u64) -> StoredFormat {
    StoredFormat {
        wishes: vec!["720p".into()],
        grid: packager::grid::Grid::choose(
            packager::time::FrameRate::new(30, 1),
            48_000,
            packager::time::Span::millis(millis),
            packager::time::Span::millis(300),
        ),
        publish_delay: packager::time::Span::millis(150),
        window: packager::time::Span::millis(600_000),
        renditions: vec![StoredRendition::from(&rendition("high"))],
    }
}

#[tokio::test]
async fn numbers_and_format_survive_a_restart() {
    let fixture = Fixture::new(limits());
    let format = format(2_000);
    let first_run = run(1, 10);
    {
        let store = fixture.store();
        let channel = store.channel(&name("news")).unwrap();
        assert_eq!(*channel.recovered(), Recovered::default());
        channel.fix_format(format.clone()).await;
        begin(&channel, &first_run).await;
        write(&channel, &first_run, 0, 10, 1).await;
        channel.close(&first_run.id, 1, 10, &segment(&first_run, 10, &[])).await;
        channel.append(&first_run.id, 0, 11, &chunk(1, 1)).await;
    }
    for _ in 0..2 {
        let store = fixture.store();
        let channel = store.channel(&name("news")).unwrap();
        let recovered = channel.recovered();
        assert_eq!(recovered.last_discontinuity, Some(10));
        assert_eq!(recovered.last_k, Some(11), "a segment that was begun has used its number");
        assert_eq!(recovered.format.as_ref(), Some(&format));
        // As whoever checks a configuration beside the server reads it.
        let root = fixture.root.path();
        assert_eq!(stored_format(root, &Name::parse("news").unwrap()).as_ref(), Some(&format));
        assert_eq!(stored_format(root, &Name::parse("other").unwrap()), None);
        assert_eq!(recovered.last_run.as_ref(), Some(&first_run.id));
        assert!(recovered.live, "it had not ended");
        channel.end().await;
        drop(channel);
        drop(store);
        let store = fixture.store();
        assert!(!store.channel(&name("news")).unwrap().recovered().live);
        let channel = store.channel(&name("news")).unwrap();
        begin(&channel, &first_run).await;
    }
}

#[tokio::test]
async fn files_that_are_numbered_on_an_earlier_grid_do_not_raise_the_numbers() {
    let fixture = Fixture::new(limits());
    let (short, long) = (format(2_000), format(4_000));
    let before = 900_000_000;
    let first_k = short.renumbered(before, &long.grid) + 1;
    assert!(first_k < before);
    let (old, new) = (run(1, before), run(2, first_k));
    {
        let store = fixture.store();
        let channel = store.channel(&name("news")).unwrap();
        channel.fix_format(short).await;
        begin(&channel, &old).await;
        write(&channel, &old, 0, before, 1).await;
        channel.flush().await;
    }
    // Its operator has made the segments twice as long. Those from before are there for their grace.
    let file = fixture.root.path().join(format!("news/{}/high/{before}.m4s", old.id));
    {
        let store = fixture.store();
        let channel = store.channel(&name("news")).unwrap();
        assert_eq!(channel.recovered().last_k, Some(before));
        channel.fix_format(long).await;
        begin(&channel, &new).await;
        write(&channel, &new, 0, first_k, 1).await;
        channel.flush().await;
        assert!(file.exists());
    }
    let store = fixture.store();
    assert_eq!(store.channel(&name("news")).unwrap().recovered().last_k, Some(first_k));
}

#[tokio::test]
async fn closed_segments_stay_fetchable_across_restarts_for_the_grace() {
    let fixture = Fixture::new(Limits { grace: Duration::from_secs(2), ..limits() });
    let first = run(1, 10);
    let (ten, eleven) = {
        let store = fixture.store();
        let channel = store.channel(&name("news")).unwrap();
        begin(&channel, &first).await;
        let ten = write(&channel, &first, 0, 10, 3).await;
        let eleven = write(&channel, &first, 1, 11, 2).await;
        // What was open when the process died is nothing that a playlist lists.
        channel.append(&first.id, 0, 12, &chunk(1, 1)).await;
        (ten, eleven)
    };
    let store = fixture.store();
    let channel = store.channel(&name("news")).unwrap();
    let id = first.id.as_str();
    let segment = channel.read(id, "high", 10).unwrap();
    assert_eq!((body(&segment), segment.open), (ten, false));
    assert_eq!(body(&channel.read(id, "low", 11).unwrap()), eleven);
    let part = channel.part(id, "low", 11, 1).unwrap();
    assert!(eleven.ends_with(&body(&part)), "parts lie where they did");
    assert_eq!(body(&channel.init(id, "high").unwrap()), b"init of high");
    assert!(channel.read(id, "high", 12).is_none());
    until("end of its time", || channel.read(id, "high", 10).is_none()).await;
    let folder = fixture.root.path().join(format!("news/{}", first.id));
    until("end of the run's folder", || !folder.exists()).await;
}

#[tokio::test]
async fn files_that_are_not_ours_are_left_alone() {
    let fixture = Fixture::new(limits());
    let notes = fixture.root.path().join("news/notes");
    std::fs::create_dir_all(&notes).unwrap();
    std::fs::write(notes.join("keep.m4s"), b"mine").unwrap();
    fixture.store().channel(&name("news")).unwrap();
    assert!(notes.join("keep.m4s").exists());
}

#[tokio::test]
async fn a_failing_disk_leaves_the_live_edge_whole_and_heals_when_it_is_back() {
    let fixture = Fixture::new(limits());
    let store = fixture.store();
    let channel = store.channel(&name("news")).unwrap();
    let run = run(1, 10);
    begin(&channel, &run).await;
    // A file where the rendition's directory was: nothing can be created in it, not even by root.
    let directory = fixture.root.path().join(format!("news/{}/high", run.id));
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, b"in the way").unwrap();
    let lost = write(&channel, &run, 0, 10, 3).await;
    channel.flush().await;
    let media = channel.read(run.id.as_str(), "high", 10).unwrap();
    assert!(in_memory(&media) && body(&media) == lost);
    assert!(channel.stats().write_errors > 0);

    // Two parts while it fails, one after: the file is written whole when the segment is closed.
    let chunks: Vec<_> = (0..3).map(|n| chunk(n, 4)).collect();
    channel.append(&run.id, 0, 11, &chunks[0]).await;
    channel.append(&run.id, 0, 11, &chunks[1]).await;
    channel.flush().await;
    std::fs::remove_file(&directory).unwrap();
    channel.append(&run.id, 0, 11, &chunks[2]).await;
    channel.close(&run.id, 0, 11, &segment(&run, 11, &chunks)).await;
    channel.flush().await;
    let whole: Vec<u8> = chunks.iter().flat_map(bytes_of).collect();
    assert_eq!(std::fs::read(directory.join("11.m4s")).unwrap(), whole);
    assert_eq!(std::fs::read(directory.join("init.mp4")).unwrap(), b"init of high");
}

#[tokio::test]
async fn a_disk_that_hangs_makes_no_part_late_and_gets_every_byte_in_the_end() {
    let fixture = Fixture::new(Limits::default());
    let store = fixture.store();
    let channel = store.channel(&name("news")).unwrap();
    let run = run(1, 10);
    begin(&channel, &run).await;
    channel.flush().await;
    // Opening a pipe for writing waits for a reader: a disk that hangs for as long as we like.
    let pipe = fixture.root.path().join(format!("news/{}/low/10.m4s", run.id));
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    channel.append(&run.id, 1, 10, &chunk(0, 1)).await;

    // More jobs than the queue holds: what does not fit is written when its segment is closed.
    let begun = Instant::now();
    let mut written = Vec::new();
    for k in 10..14 {
        let chunks: Vec<_> = (0..100).map(|n| chunk(k * 1_000 + n, 2)).collect();
        for (n, chunk) in chunks.iter().enumerate() {
            channel.append(&run.id, 0, k, chunk).await;
            let seen = channel.part(run.id.as_str(), "high", k, n).unwrap();
            assert_eq!(body(&seen), bytes_of(chunk), "seen at once");
        }
        written.push((k, chunks));
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "400 parts took {took:?}");
    assert!(channel.stats().late_writes >= 400);

    let reader = tokio::task::spawn_blocking(move || std::fs::read(pipe).unwrap());
    channel.flush().await;
    for (k, chunks) in &written {
        channel.close(&run.id, 0, *k, &segment(&run, *k, chunks)).await;
    }
    channel.close(&run.id, 1, 10, &segment(&run, 10, &[chunk(0, 1)])).await;
    channel.flush().await;
    assert_eq!(reader.await.unwrap(), bytes_of(&chunk(0, 1)));
    for (k, chunks) in &written {
        let file = fixture.root.path().join(format!("news/{}/high/{k}.m4s", run.id));
        let whole: Vec<u8> = chunks.iter().flat_map(bytes_of).collect();
        assert!(std::fs::read(file).unwrap() == whole, "segment {k}");
    }
    assert_eq!(channel.stats().lost_segments, 0);
}

/// The environment variable that turns the test below into a writer that is to be killed.
const VICTIM: &str = "HEADWATER_TEST_VICTIM";

/// Chunk `n` of segment `k` as the victim writes it: big enough to be several pages.
fn victims_chunk(k: u64, n: u64) -> Chunk {
    chunk(k * 100 + n, 2_000)
}

/// Writes for ever, and says of each part when a snapshot would list it.
async fn be_the_victim(root: &Path) {
    let store = Store::open(root, limits()).unwrap();
    let channel = store.channel(&name("news")).unwrap();
    let run = run(1, 10);
    begin(&channel, &run).await;
    for k in 10.. {
        let chunks: Vec<_> = (0..4).map(|n| victims_chunk(k, n)).collect();
        for (n, chunk) in chunks.iter().enumerate() {
            channel.append(&run.id, 0, k, chunk).await;
            println!("\npart {k} {n}");
        }
        channel.close(&run.id, 0, k, &segment(&run, k, &chunks)).await;
        println!("\nclosed {k}");
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_could_be_listed() {
    use std::io::BufRead;
    if let Some(root) = std::env::var_os(VICTIM) {
        return be_the_victim(Path::new(&root)).await;
    }
    let this = "store::tests::a_killed_process_loses_nothing_that_could_be_listed";
    for lines in [3, 17, 40, 101] {
        let root = tempfile::tempdir().unwrap();
        let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", this, "--nocapture"])
            .env(VICTIM, root.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Kept open until the victim is dead: it shall be killed in the middle of a write.
        let mut output = std::io::BufReader::new(victim.stdout.take().unwrap()).lines();
        let of_the_store = |line: &String| line.starts_with("part ") || line.starts_with("closed ");
        let said = output.by_ref().map_while(Result::ok).filter(of_the_store).take(lines);
        let said: Vec<_> = said.collect();
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert_eq!(said.len(), lines, "the victim died on its own");

        let directory = root.path().join("news").join(RunId::from_millis(1).as_str()).join("high");
        let (mut closed, mut begun) = (None, None);
        for line in &said {
            let words: Vec<_> = line.split(' ').collect();
            let k: u64 = words[1].parse().unwrap();
            begun = Some(k);
            if words[0] == "closed" {
                closed = Some(k);
                continue;
            }
            let n: u64 = words[2].parse().unwrap();
            let expected: Vec<u8> = (0..=n).flat_map(|n| bytes_of(&victims_chunk(k, n))).collect();
            let file = std::fs::read(directory.join(format!("{k}.m4s"))).unwrap();
            assert!(file.starts_with(&expected), "part {n} of segment {k} is not whole");
        }
        let journal = journal::Journal::open(root.path().join("news/journal")).unwrap();
        assert!(journal.state().last_k >= closed, "the journal lost segment {closed:?}");
        let store = Store::open(root.path(), limits()).unwrap();
        let recovered = store.channel(&name("news")).unwrap().recovered().clone();
        assert!(recovered.last_k >= begun, "{recovered:?}");
        assert_eq!(recovered.last_discontinuity, Some(10));
    }
}

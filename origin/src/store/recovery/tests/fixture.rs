//! A channel that is written as its task does it, and what is left of it.

use super::*;

pub(super) const RATE: FrameRate = FrameRate::new(30, 1);
pub(super) const FIRST_K: u64 = 1_122_270_751;
/// x264 of Debian's FFmpeg 5.1: 1280x720, high profile.
pub(super) const AVC: &str = "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f18319600100\
    0468ef8fcbfdf8f800";

pub(super) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(super) fn grid() -> Grid {
    Grid::choose(RATE, 48_000, Span::millis(2_000), Span::millis(300))
}

pub(super) fn renditions() -> Arc<[Rendition]> {
    let record = AVC
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    let video = h264::config(record.collect()).unwrap();
    let audio = aac::config(Bytes::from_static(&[0x11, 0x90])).unwrap();
    let rendition = |text, timescale, config, rate| Rendition {
        name: name(text),
        track: Coding { timescale, config },
        rate,
        average_bitrate: 1_000_000,
        peak_bitrate: 1_500_000,
    };
    [
        rendition("720p", grid().video_scale(), Config::Video(video), Some(RATE)),
        rendition("audio", grid().audio_scale(), Config::Audio(audio), None),
    ]
    .into()
}

/// A channel that is written as its task does it.
pub(super) struct Channel {
    pub(super) root: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) channel: Arc<ChannelStore>,
    pub(super) timeline: Timeline,
    pub(super) segmenter: Segmenter,
    pub(super) run: Arc<Run>,
    pub(super) runs: u64,
}

pub(super) fn limits() -> Limits {
    Limits { patience: Duration::from_secs(30), ..Limits::default() }
}

pub(super) fn format() -> Arc<Format> {
    format_of(Span::millis(16_000))
}

pub(super) fn format_of(window: Span) -> Arc<Format> {
    Arc::new(Format { grid: grid(), window, publish_delay: Span::millis(150) })
}

impl Channel {
    pub(super) async fn new() -> Self {
        Self::with(Lengths::Even).await
    }

    /// A channel whose first run has segments of such lengths.
    pub(super) async fn with(lengths: Lengths) -> Self {
        Self::of(format(), lengths).await
    }

    pub(super) async fn of(format: Arc<Format>, lengths: Lengths) -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), limits()).unwrap();
        let channel = store.channel(&name("news")).unwrap();
        let Format { grid, window, publish_delay } = *format;
        let all = renditions();
        let stored = StoredFormat {
            grid,
            publish_delay,
            window,
            wishes: vec!["720p".into()],
            renditions: all.iter().map(StoredRendition::from).collect(),
        };
        channel.fix_format(stored).await;
        let mut timeline = Timeline::new(format, Arc::clone(&all), None);
        let (segmenter, run) = Self::run(&mut timeline, lengths, FIRST_K, 1);
        channel.begin_window(&run, &all).await;
        Self { root, store, channel, timeline, segmenter, run, runs: 1 }
    }

    pub(super) fn run(
        timeline: &mut Timeline,
        lengths: Lengths,
        first_k: u64,
        id: u64,
    ) -> (Segmenter, Arc<Run>) {
        let inits = renditions().iter().map(packager::cmaf::init).collect();
        let beginning = Beginning { first_k, start: grid().boundary(first_k), lengths };
        let run = timeline.begin_run_at(RunId::from_millis(id), beginning, renditions(), inits);
        (Segmenter::new(grid(), renditions(), first_k), run)
    }

    /// Another run, from the number `first_k` on.
    pub(super) async fn next_run(&mut self, first_k: u64) {
        self.segmenter.finish();
        self.drain().await;
        self.runs += 1;
        (self.segmenter, self.run) =
            Self::run(&mut self.timeline, Lengths::Even, first_k, self.runs);
        self.channel.begin_run(&self.run, &renditions()).await;
    }

    /// Makes segment `k`, or only the first part of it that lasts `millis`.
    pub(super) async fn make(&mut self, k: u64, millis: i64) {
        let frame = i64::from(RATE.frame_ticks());
        let (from, end) = (grid().boundary(k), grid().boundary(k + 1));
        let to = end.min(from + millis * i64::from(grid().video_scale().get()) / 1_000);
        for n in 0..(to - from) / frame {
            let dts = from + n * frame;
            let data = Bytes::from(format!("picture {n} of {k}"));
            let duration = RATE.frame_ticks();
            let sample = Sample { dts, pts: dts, duration, sync: n == 0, data };
            self.segmenter.push(0, sample).unwrap();
        }
        let audio_end = grid().audio_frame_at_or_after(to);
        let mut dts = grid().audio_boundary(k);
        while dts < audio_end {
            let data = Bytes::from(format!("sound at {dts}"));
            let sample = Sample { dts, pts: dts, duration: 1_024, sync: true, data };
            self.segmenter.push(1, sample).unwrap();
            dts += 1_024;
        }
        self.drain().await;
    }

    pub(super) async fn drain(&mut self) {
        while let Some(output) = self.segmenter.poll() {
            write(&self.channel, &mut self.timeline, &self.run.id, output).await;
        }
        for removed in self.timeline.trim() {
            let segment = &removed.segment;
            self.channel.remove(&segment.run.id, removed.rendition, segment.k);
        }
    }

    /// Everything dies: what was listed last, and what is on the disk.
    pub(super) fn die(mut self) -> (Arc<Snapshot>, tempfile::TempDir) {
        let snapshot = self.timeline.snapshot();
        drop((self.channel, self.store));
        (snapshot, self.root)
    }
}

/// Writes what a segmenter made as the channel's task does: first where it is read, then where it is
/// listed.
pub(super) async fn write(
    channel: &ChannelStore,
    timeline: &mut Timeline,
    run: &RunId,
    output: Output,
) {
    match output {
        Output::Init { .. }
        | Output::Spliced { .. }
        | Output::Shifted { .. }
        | Output::Off { .. } => {}
        Output::Chunk(part) => {
            let PartChunk { rendition, k, start, duration, independent, first_sample, .. } = part;
            let bytes = u32::try_from(part.chunk.len()).unwrap();
            channel.append(run, rendition, k, &part.chunk).await;
            let part = Part { duration, bytes, independent, first_sample };
            timeline.push_part(rendition, k, start, part);
        }
        Output::SegmentClosed { rendition, k } => {
            timeline.close(rendition);
            let segment = timeline.last_segment(rendition).unwrap();
            channel.close(run, rendition, k, segment).await;
        }
    }
}

/// Five segments of a run, then three more of another and the beginning of a fourth.
pub(super) async fn two_runs() -> (Arc<Snapshot>, tempfile::TempDir) {
    let mut channel = Channel::new().await;
    for k in FIRST_K..FIRST_K + 5 {
        channel.make(k, 10_000).await;
    }
    channel.next_run(FIRST_K + 5).await;
    for k in FIRST_K + 5..FIRST_K + 8 {
        channel.make(k, 10_000).await;
    }
    channel.make(FIRST_K + 8, 900).await;
    channel.die()
}

/// What a journal of these bytes and the files under `root` come to.
pub(super) fn recover(journal: &[u8], root: &Path) -> Option<Left> {
    let mut state = Journal::state_of(journal);
    let directory = Directory::new(root, &name("news"));
    let runs = directory.runs().unwrap();
    for segment in unrecorded(&state, &directory, &runs) {
        state.apply(crate::store::journal::Record::Segment(segment));
    }
    read_back(&state, &directory, &runs, None)
}

pub(super) type Told = (u64, RunId, i64, Parts);

/// What players were told of each rendition: number, run, start and parts, closed or not.
pub(super) fn told(tracks: &[Track]) -> Vec<Vec<Told>> {
    let told = |track: &Track| {
        let closed =
            track.segments.iter().map(|s| (s.k, s.run.id.clone(), s.start, s.parts.clone()));
        let open = track.open.iter();
        let open = open.map(|s| (s.k, s.run.id.clone(), s.start, s.parts.as_slice().into()));
        closed.chain(open).collect()
    };
    tracks.iter().map(told).collect()
}

pub(super) fn journal_of(root: &Path) -> Vec<u8> {
    std::fs::read(root.join("news/journal")).unwrap()
}

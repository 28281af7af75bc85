use packager::grid::Grid;
use packager::time::{Span, Timescale};

use super::*;

fn key(k: u64) -> SegmentKey {
    SegmentKey { run: "0190c0ffee0".into(), rendition: "720p".into(), k }
}

fn segment(k: u64) -> Record {
    Record::Segment(SegmentRecord {
        key: key(k),
        closed: Closed {
            start: k.cast_signed() * 144_000,
            duration: 144_000,
            parts: [(24_000, 1_000, true, 500).into(), (24_000, 900, false, 300).into()]
                .into_iter()
                .collect(),
            gap: false,
        },
    })
}

fn rendition(name: &str) -> StoredRendition {
    StoredRendition {
        name: name.into(),
        timescale: Timescale::MPEG,
        rate: None,
        codec: "avc1.64001f".into(),
        size: None,
        average_bitrate: 1,
        peak_bitrate: 1,
    }
}

fn run(id: &str, discontinuity: u64) -> Record {
    Record::Run(RunRecord {
        id: id.into(),
        discontinuity,
        fresh: false,
        stretches: vec![StretchRecord {
            stretch: 0,
            left_out: Vec::new(),
            lengths: packager::timeline::Lengths::Even,
            first_k: 7,
            start: 7 * 144_000,
        }],
        renditions: vec![rendition("720p"), rendition("audio")],
    })
}

fn history() -> Vec<Record> {
    vec![
        run("0190c0ffee0", 7),
        segment(7),
        segment(8),
        Record::Removed(key(7)),
        run("0190c0ffee1", 8),
        Record::Mark {
            last_k: Some(9),
            last_discontinuity: None,
            last_run: Some("0190c0ffee2".into()),
            live: true,
        },
        Record::Ended,
    ]
}

fn decoded(bytes: &[u8]) -> (Read, Vec<Record>) {
    let mut found = Vec::new();
    let read = decode(bytes, |record| found.push(record)).unwrap();
    assert_eq!(read.count, found.len());
    (read, found)
}

fn state(records: &[Record]) -> State {
    let mut state = State::default();
    records.iter().cloned().for_each(|record| state.apply(record));
    state
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_the_journal_goes_on() {
    let records = history();
    let mut bytes = MAGIC.to_vec();
    let mut ends = vec![bytes.len()];
    for record in &records {
        encode(record, &mut bytes).unwrap();
        ends.push(bytes.len());
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    for cut in 0..=bytes.len() {
        let count = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
        let whole = if cut < MAGIC.len() { 0 } else { ends[count] };
        let (read, found) = decoded(&bytes[..cut]);
        assert_eq!((found, read.whole), (records[..count].to_vec(), whole), "cut at {cut}");

        // Through the file system at every seventh, as each opening waits for the disk.
        if cut % 7 != 0 {
            continue;
        }
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let mut journal = Journal::open(path.clone()).unwrap();
        assert_eq!(*journal.state(), state(&records[..count]), "cut at {cut}");
        journal.append(segment(10)).unwrap();
        drop(journal);
        let again = Journal::open(path.clone()).unwrap();
        assert_eq!(again.state().last_k, Some(10), "cut at {cut}");
        assert!(!path.with_extension("broken").exists(), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_anywhere_costs_its_record_and_at_most_what_follows_a_broken_length() {
    let records = history();
    let mut bytes = MAGIC.to_vec();
    let mut starts = Vec::new();
    for record in &records {
        starts.push(bytes.len());
        encode(record, &mut bytes).unwrap();
    }
    for at in MAGIC.len()..bytes.len() {
        for bit in 0..8 {
            let mut broken = bytes.clone();
            broken[at] ^= 1 << bit;
            let (read, found) = decoded(&broken);
            let hit = starts.iter().filter(|start| **start <= at).count() - 1;
            let (before, after) = (&records[..hit], &records[hit + 1..]);
            let in_length = at < starts[hit] + 4;
            if in_length || after.is_empty() {
                assert_eq!(found, before, "byte {at} bit {bit}");
                assert_eq!((read.whole, read.broken), (starts[hit], 0));
            } else {
                assert_eq!(found, [before, after].concat(), "byte {at} bit {bit}");
                assert_eq!((read.whole, read.broken), (bytes.len(), 1));
            }
        }
    }
}

#[test]
fn a_file_that_is_no_journal_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    std::fs::write(&path, b"HWJRNL\0\x09 from the future").unwrap();
    let journal = Journal::open(path.clone()).unwrap();
    assert_eq!(*journal.state(), State::default());
    assert!(std::fs::read(path.with_extension("broken")).unwrap().starts_with(b"HWJRNL\0\x09"));
}

#[test]
fn rewriting_keeps_what_the_records_add_up_to() {
    let state = state(&history());
    let mut again = State::default();
    state.records().for_each(|record| again.apply(record));
    assert_eq!(again, state);
}

#[test]
fn the_journal_of_a_window_that_moves_for_ever_stays_small() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(directory.path().join("journal")).unwrap();
    journal.append(run("0190c0ffee0", 7)).unwrap();
    let mut largest = 0;
    for k in 10..12_000u64 {
        journal.append(segment(k)).unwrap();
        journal.append(Record::Removed(key(k - 10))).unwrap();
        largest = largest.max(journal.len());
    }
    assert!(largest < COMPACT_ABOVE + 4_096, "{largest} bytes");
    assert!(journal.len() < COMPACT_ABOVE, "was rewritten");
    let path = journal.path.clone();
    let expected = journal.state;
    assert_eq!(Journal::open(path).unwrap().state, expected);
}

#[test]
fn records_that_could_not_be_written_come_with_the_next_that_can() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let mut journal = Journal::open(path.clone()).unwrap();
    // A file opened for reading refuses every write, as a failing disk does.
    let good = std::mem::replace(&mut journal.file, Arc::new(File::open(&path).unwrap()));
    assert!(journal.append(run("0190c0ffee0", 7)).is_err());
    drop(good);
    journal.append(segment(7)).unwrap();
    assert_eq!(Journal::open(path).unwrap().state, state(&[run("0190c0ffee0", 7), segment(7)]));
}

#[test]
fn a_channel_is_on_the_air_from_its_run_to_its_end() {
    let begun = [run("0190c0ffee0", 7), segment(7)];
    assert!(state(&begun).live);
    let ended = [begun.as_slice(), &[Record::Ended]].concat();
    assert!(!state(&ended).live);
    let back = [ended.as_slice(), &[run("0190c0ffee1", 8)]].concat();
    assert!(state(&back).live);
    for records in [begun.as_slice(), &ended, &back] {
        let again: Vec<_> = state(records).records().collect();
        assert_eq!(state(&again), state(records));
    }
}

#[test]
fn the_last_runs_id_is_known_when_the_run_is_forgotten() {
    let (first, second) = (run("0190c0ffee0", 7), run("0190c0ffee1", 8));
    let mut state = state(&[second, first]);
    state.forget_media();
    assert_eq!(state.last_run.as_deref(), Some("0190c0ffee1"));
    let mut again = State::default();
    state.records().for_each(|record| again.apply(record));
    assert_eq!(again, state);
}

#[test]
fn another_segment_length_counts_the_numbers_used_anew() {
    let format = |segment_ms| {
        let rate = packager::time::FrameRate::new(30, 1);
        let grid = Grid::choose(rate, 48_000, Span::millis(segment_ms), Span::millis(300));
        let publish_delay = Span::millis(150);
        let (window, wishes, renditions) = (Span::millis(600_000), Vec::new(), Vec::new());
        StoredFormat { grid, publish_delay, window, wishes, renditions }
    };
    let (short, long) = (format(2_000), format(4_000));
    let used = 1_104_576_903;
    let records = [Record::Format(short.clone()), segment(used), Record::Format(long.clone())];
    let last_k = state(&records).last_k.unwrap();
    let end = short.grid.boundary(used + 1);
    assert!(long.grid.boundary(last_k + 1) >= end && long.grid.boundary(last_k) < end);
    let again: Vec<_> = state(&records).records().collect();
    assert_eq!(state(&again).last_k, Some(last_k), "and once only");
    let same = [Record::Format(short.clone()), segment(used), Record::Format(short)];
    assert_eq!(state(&same).last_k, Some(used));
}

#[test]
fn that_the_machine_went_down_is_known_until_another_run_begins() {
    let boot = |id: &str| Record::Boot { id: id.to_owned() };
    let first = [boot("a"), run("0190c0ffee0", 7), segment(7)];
    let again = [first.as_slice(), &[boot("a")]].concat();
    let down = [first.as_slice(), &[boot("b")]].concat();
    let looked_at = [down.as_slice(), &[boot("b")]].concat();
    let begun = [down.as_slice(), &[run("0190c0ffee1", 8)]].concat();
    for (records, went_down) in
        [(&first[..], false), (&again, false), (&down, true), (&looked_at, true), (&begun, false)]
    {
        assert_eq!(state(records).went_down(), went_down);
        let rewritten: Vec<_> = state(records).records().collect();
        assert_eq!(state(&rewritten), state(records));
    }
}

//! Replays the fuzzing corpus: what once broke a parser, and what is hardest on it.

#![allow(clippy::print_stderr, reason = "a test tells what it was doing when it failed")]

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
mod targets;

/// Calls a target with every file of its corpus; how many there are.
fn replay(name: &str, target: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = fs::read_dir(&folder).expect("a corpus for every target");
    let run = |file: std::io::Result<fs::DirEntry>| {
        let path = file.expect("an entry of the corpus").path();
        // Told when the test fails: the file that did it.
        eprintln!("{}", path.display());
        target(&fs::read(path).expect("a file of the corpus"));
    };
    files.map(run).count()
}

#[test]
fn the_chunk_reader_survives_its_corpus() {
    assert!(replay("chunk_reader", targets::chunk_reader) >= 10);
}

#[test]
fn the_amf0_decoder_survives_its_corpus() {
    assert!(replay("amf0", targets::amf0) >= 10);
}

#[test]
fn the_session_survives_its_corpus() {
    assert!(replay("session", targets::session) >= 10);
}

#[test]
fn the_demultiplexer_survives_its_corpus() {
    assert!(replay("transport", targets::transport) >= 10);
    assert!(replay("elementary", targets::elementary) >= 10);
}

#[test]
fn the_reordering_of_rtp_survives_its_corpus() {
    assert!(replay("rtp", targets::rtp) >= 10);
}

#[test]
fn stream_identifiers_survive_their_corpus() {
    assert!(replay("stream_ids", targets::stream_ids) >= 10);
}

#[test]
fn the_section_decoder_survives_its_corpus() {
    assert!(replay("cue_section", targets::cue_section) >= 10);
}

#[test]
fn the_breaks_survive_their_corpus() {
    assert!(replay("breaks", targets::breaks) >= 10);
}

//! Replays the fuzzing corpus: what once broke a parser, and what is hardest on it.

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
mod targets;

/// Calls a target with every file of its corpus; how many there are.
fn replay(name: &str, target: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = fs::read_dir(&folder).unwrap();
    let run = |file: std::io::Result<fs::DirEntry>| {
        let path = file.unwrap().path();
        println!("{}", path.display());
        target(&fs::read(path).unwrap());
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

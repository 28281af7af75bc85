//! What is wrong with a stream as a whole, in words for whoever sends it and for the operator.

/// What can't be used of a stream, in words for whoever sends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The wanted program is not there.
    #[error("no program {wanted}: there are {there:?}")]
    NoProgram {
        /// The number asked for.
        wanted: u16,
        /// The numbers in the table.
        there: Vec<u16>,
    },
    /// The program has neither a picture nor sound that is read.
    #[error("program {program} has no picture or sound that is read")]
    NoMedia {
        /// Its number.
        program: u16,
    },
    /// A stream of the program is left out: its codec is not read.
    #[error("{codec} on PID {pid} is not read; send H.264 or H.265 with AAC, MPEG audio or AC-3")]
    Codec {
        /// The codec's name.
        codec: &'static str,
        /// Where it is.
        pid: u16,
    },
    /// A stream of the program is scrambled, and left out.
    #[error("PID {pid} is scrambled")]
    Scrambled {
        /// Which.
        pid: u16,
    },
    /// A video decoder configuration that can't be read or is not taken.
    #[error("video configuration: {0}")]
    VideoConfig(packager::codec::Error),
    /// An audio decoder configuration that can't be read or is not taken.
    #[error("audio configuration: {0}")]
    AudioConfig(packager::codec::Error),
}

/// What a stream lacks, in words for whoever sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// What came is no transport stream.
    #[error("no MPEG-TS packets in what is sent")]
    Packets,
    /// There is no PAT.
    #[error("no program association table (PAT)")]
    Programs,
    /// The PAT names no program.
    #[error("the program association table (PAT) names no program")]
    Program,
    /// A program has no PMT.
    #[error("no map (PMT) of program {program} on PID {pid}")]
    Map {
        /// The program's number.
        program: u16,
        /// Where its map should be.
        pid: u16,
    },
    /// A program names streams, and nothing usable comes on them.
    #[error("no picture or sound of program {program} that can be used")]
    Media {
        /// The program's number.
        program: u16,
    },
}

//! Event message boxes, version 1 (ISO/IEC 23009-1 §5.10.3.3): something happens at a time of the track.

use bytes::{BufMut, Bytes, BytesMut};

use super::chunk::{FULL_BOX_HEADER, full_header, unsigned};
use crate::time::Timescale;

/// What an event message box is written from.
#[derive(Clone, Copy, Debug)]
pub struct EventSpec<'a> {
    /// What the message is; the value behind it is empty.
    pub scheme: &'a str,
    /// Ticks per second: the track's.
    pub scale: Timescale,
    /// When, in ticks since the epoch. Not before the segment that carries the box.
    pub at: i64,
    /// How long, in ticks.
    pub duration: u32,
    /// Number of the event: boxes of one scheme with the same number say the same.
    pub id: u32,
    /// The message.
    pub message: &'a Bytes,
}

/// Writes an event message box.
pub fn emsg(spec: &EventSpec<'_>) -> Bytes {
    // Numbers, and two texts with their ends.
    let fields = 4 + 8 + 4 + 4 + spec.scheme.len() + 1 + 1;
    let size = FULL_BOX_HEADER + fields + spec.message.len();
    let mut out = BytesMut::with_capacity(size);
    full_header(&mut out, size, b"emsg", 1, 0);
    out.put_u32(spec.scale.get());
    out.put_u64(unsigned(spec.at));
    out.put_u32(spec.duration);
    out.put_u32(spec.id);
    out.put_slice(spec.scheme.as_bytes());
    out.put_slice(&[0, 0]);
    out.put_slice(spec.message);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use mp4_atom::{Decode as _, Emsg, EmsgTimestamp};

    use super::*;

    #[test]
    fn an_event_is_read_back_as_it_was_meant() {
        let message = Bytes::from_static(&[0xfc, 0x30, 0x11]);
        let spec = EventSpec {
            scheme: "urn:scte:scte35:2013:bin",
            scale: Timescale::MPEG,
            at: 161_607_000_000_000,
            duration: 1_350_000,
            id: 7,
            message: &message,
        };
        let bytes = emsg(&spec);
        let read = Emsg::decode(&mut &bytes[..]).unwrap();
        let expected = Emsg {
            timescale: 90_000,
            presentation_time: EmsgTimestamp::Absolute(161_607_000_000_000),
            event_duration: 1_350_000,
            id: 7,
            scheme_id_uri: spec.scheme.to_owned(),
            value: String::new(),
            message_data: message.to_vec(),
        };
        assert_eq!(read, expected);
    }
}

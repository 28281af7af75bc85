//! Event message boxes (ISO/IEC 23009-1 §5.10.3.3), of either version.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use super::Error;
use super::boxes::Reader;

/// An `emsg` box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// 1: the time is that of the track. 0: it counts from the segment that carries the box.
    pub version: u8,
    /// What the message is.
    pub scheme: String,
    /// Which of those.
    pub value: String,
    /// Ticks per second.
    pub timescale: u32,
    /// When, in ticks; see [`Self::version`].
    pub time: u64,
    /// How long, in ticks.
    pub duration: u32,
    /// Number of the event.
    pub id: u32,
    /// The message.
    pub message: Vec<u8>,
}

pub(super) fn event(mut body: Reader<'_>) -> Result<Event, Error> {
    let (version, _) = body.full("emsg")?;
    let texts = |body: &mut Reader<'_>| Ok((text(body)?, text(body)?));
    let before = if version == 0 { Some(texts(&mut body)?) } else { None };
    let timescale = body.u32("timescale")?;
    let time = body.versioned(version, "presentation_time")?;
    let (duration, id) = (body.u32("event_duration")?, body.u32("id")?);
    let (scheme, value) = match before {
        Some(texts) => texts,
        None => texts(&mut body)?,
    };
    let message = body.rest().to_vec();
    Ok(Event { version, scheme, value, timescale, time, duration, id, message })
}

/// A text that ends with a zero.
fn text(body: &mut Reader<'_>) -> Result<String, Error> {
    let offset = body.offset();
    let end = body.rest().iter().position(|byte| *byte == 0);
    let end = end.ok_or(Error::Incomplete { what: "a text of emsg", offset })?;
    let taken = body.take(end, "a text of emsg")?;
    body.u8("a text of emsg")?;
    let text = std::str::from_utf8(taken.rest());
    text.map(str::to_owned).map_err(|_| Error::Invalid { what: "a text of emsg", offset })
}

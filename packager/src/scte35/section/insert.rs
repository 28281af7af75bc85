//! `splice_insert()` (§9.7.3).

use bytes::{BufMut, BytesMut};

use super::reader::{Reader, put_time, time};
use super::{Error, TIME_MASK};

/// A break begins, ends, or is cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insert {
    /// `splice_event_id`.
    pub event_id: u32,
    /// What is asked for; `None` cancels the event.
    pub splice: Option<Splice>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// Whether it leads out of the programme.
    pub out: bool,
    /// `event_id_compliance_flag`, a one where it is not used.
    pub compliance: bool,
    /// When.
    pub time: SpliceTime,
    /// How long a break is meant to last.
    pub duration: Option<BreakDuration>,
    /// `unique_program_id`.
    pub program_id: u16,
    /// `avail_num`.
    pub avail: u8,
    /// `avails_expected`.
    pub avails: u8,
}

/// When a splice is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpliceTime {
    /// At once.
    Immediate,
    /// All of the programme at this time; without one, at once.
    Program(Option<u64>),
    /// Each component on its own.
    Components {
        /// Whether at once: then there are no times.
        immediate: bool,
        /// Which.
        components: Vec<Component>,
    },
}

/// A component that is spliced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// `component_tag`.
    pub tag: u8,
    /// When; without a time, at once.
    pub time: Option<u64>,
}

/// `break_duration()` (§9.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakDuration {
    /// Whether the break ends by itself, without another message.
    pub auto_return: bool,
    /// Length in ticks of 1/90000 s, 33 bits.
    pub ticks: u64,
}

impl SpliceTime {
    /// The time of the whole, or of the first component that has one; `None` is at once.
    pub fn first(&self) -> Option<u64> {
        match self {
            Self::Immediate => None,
            Self::Program(time) => *time,
            Self::Components { components, .. } => components.iter().find_map(|one| one.time),
        }
    }
}

impl Insert {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let event_id = reader.u32("splice_event_id")?;
        if reader.u8("splice_event_cancel_indicator")? & 0x80 != 0 {
            return Ok(Self { event_id, splice: None });
        }
        let flags = reader.u8("splice_insert")?;
        let (out, program) = (flags & 0x80 != 0, flags & 0x40 != 0);
        let (long, immediate) = (flags & 0x20 != 0, flags & 0x10 != 0);
        let time = match (program, immediate) {
            (true, true) => SpliceTime::Immediate,
            (true, false) => SpliceTime::Program(time(reader)?),
            (false, _) => {
                let count = reader.u8("component_count")?;
                let component = |reader: &mut Reader<'_>| {
                    let tag = reader.u8("component_tag")?;
                    let time = if immediate { None } else { time(reader)? };
                    Ok(Component { tag, time })
                };
                let components = (0..count).map(|_| component(reader)).collect::<Result<_, _>>()?;
                SpliceTime::Components { immediate, components }
            }
        };
        let duration = if long { Some(BreakDuration::decode(reader)?) } else { None };
        let splice = Splice {
            out,
            compliance: flags & 0x08 != 0,
            time,
            duration,
            program_id: reader.u16("unique_program_id")?,
            avail: reader.u8("avail_num")?,
            avails: reader.u8("avails_expected")?,
        };
        Ok(Self { event_id, splice: Some(splice) })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u32(self.event_id);
        let Some(splice) = &self.splice else { return out.put_u8(0xff) };
        out.put_u8(0x7f);
        let (program, immediate) = match &splice.time {
            SpliceTime::Immediate => (true, true),
            SpliceTime::Program(_) => (true, false),
            SpliceTime::Components { immediate, .. } => (false, *immediate),
        };
        let flag = |is: bool, bit: u8| if is { bit } else { 0 };
        out.put_u8(
            flag(splice.out, 0x80)
                | flag(program, 0x40)
                | flag(splice.duration.is_some(), 0x20)
                | flag(immediate, 0x10)
                | flag(splice.compliance, 0x08)
                | 0x07,
        );
        match &splice.time {
            SpliceTime::Immediate => {}
            SpliceTime::Program(time) => put_time(out, *time),
            SpliceTime::Components { immediate, components } => {
                out.put_u8(u8::try_from(components.len()).unwrap_or(u8::MAX));
                for component in components.iter().take(u8::MAX.into()) {
                    out.put_u8(component.tag);
                    if !immediate {
                        put_time(out, component.time);
                    }
                }
            }
        }
        if let Some(duration) = splice.duration {
            let auto = if duration.auto_return { 0xfe } else { 0x7e };
            out.put_uint((duration.ticks & TIME_MASK) | auto << 32, 5);
        }
        out.put_u16(splice.program_id);
        out.put_u8(splice.avail);
        out.put_u8(splice.avails);
    }
}

impl BreakDuration {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let word = reader.u40("break_duration")?;
        Ok(Self { auto_return: word >> 39 == 1, ticks: word & TIME_MASK })
    }
}

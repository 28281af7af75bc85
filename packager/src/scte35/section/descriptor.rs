//! Splice descriptors (§10): segmentation descriptors, and all others as bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::reader::Reader;
use super::{Error, TIME_MASK};

/// Who defines a descriptor: SCTE.
const CUEI: &[u8; 4] = b"CUEI";
/// `splice_descriptor_tag` of a segmentation descriptor.
const SEGMENTATION: u8 = 0x02;
/// `segmentation_duration` has 40 bits.
const DURATION_MASK: u64 = 0xff_ffff_ffff;

/// Something said about a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// A piece of the programme begins or ends.
    Segmentation(Segmentation),
    /// Another descriptor, or a foreign or broken one.
    Other {
        /// `splice_descriptor_tag`.
        tag: u8,
        /// What follows the length, the identifier first.
        bytes: Bytes,
    },
}

/// `segmentation_descriptor()` (§10.3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// `segmentation_event_id`.
    pub event_id: u32,
    /// `segmentation_event_id_compliance_indicator`, a one where it is not used.
    pub compliance: bool,
    /// What is said; `None` cancels the event.
    pub segment: Option<Segment>,
}

/// What a segmentation descriptor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Who may get it; `None` is everyone.
    pub delivery: Option<Delivery>,
    /// Components and what is added to the time for each; `None` is the whole programme.
    pub components: Option<Vec<(u8, u64)>>,
    /// Length in ticks of 1/90000 s, 40 bits.
    pub duration: Option<u64>,
    /// `segmentation_upid_type`.
    pub upid_type: u8,
    /// `segmentation_upid`.
    pub upid: Bytes,
    /// `segmentation_type_id` (table 23).
    pub type_id: u8,
    /// `segment_num`.
    pub number: u8,
    /// `segments_expected`.
    pub expected: u8,
    /// `sub_segment_num` and `sub_segments_expected`.
    pub sub: Option<(u8, u8)>,
}

/// Restrictions on delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// `web_delivery_allowed_flag`.
    pub web_allowed: bool,
    /// `no_regional_blackout_flag`.
    pub no_blackout: bool,
    /// `archive_allowed_flag`.
    pub archive_allowed: bool,
    /// `device_restrictions`, two bits.
    pub devices: u8,
}

impl Descriptor {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let tag = reader.u8("splice_descriptor_tag")?;
        let length = reader.u8("descriptor_length")?;
        let mut within = reader.take(length.into(), "descriptor_length")?;
        let bytes = within.clone().rest();
        let mine = tag == SEGMENTATION && bytes.starts_with(CUEI);
        Ok(match Segmentation::decode(&mut within) {
            Ok(segmentation) if mine && within.remaining() == 0 => Self::Segmentation(segmentation),
            _ => Self::Other { tag, bytes },
        })
    }

    /// Writes the descriptor; `None` where it is longer than one can be.
    pub(super) fn encode(&self, out: &mut BytesMut) -> Option<()> {
        let (tag, bytes) = match self {
            Self::Other { tag, bytes } => (*tag, bytes.clone()),
            Self::Segmentation(segmentation) => (SEGMENTATION, segmentation.encode()?),
        };
        out.put_u8(tag);
        out.put_u8(u8::try_from(bytes.len()).ok()?);
        out.put_slice(&bytes);
        Some(())
    }
}

impl Segmentation {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.u32("identifier")?;
        let event_id = reader.u32("segmentation_event_id")?;
        let flags = reader.u8("segmentation_event_cancel_indicator")?;
        let compliance = flags & 0x40 != 0;
        if flags & 0x80 != 0 {
            return Ok(Self { event_id, compliance, segment: None });
        }
        let flags = reader.u8("program_segmentation_flag")?;
        let (program, long, free) = (flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x20 != 0);
        let delivery = Delivery {
            web_allowed: flags & 0x10 != 0,
            no_blackout: flags & 0x08 != 0,
            archive_allowed: flags & 0x04 != 0,
            devices: flags & 0x03,
        };
        let components = if program {
            None
        } else {
            let count = reader.u8("component_count")?;
            let component = |reader: &mut Reader<'_>| {
                Ok((reader.u8("component_tag")?, reader.u40("pts_offset")? & TIME_MASK))
            };
            Some((0..count).map(|_| component(reader)).collect::<Result<_, _>>()?)
        };
        let duration = if long { Some(reader.u40("segmentation_duration")?) } else { None };
        let upid_type = reader.u8("segmentation_upid_type")?;
        let length = reader.u8("segmentation_upid_length")?;
        let upid = reader.bytes(length.into(), "segmentation_upid")?;
        let type_id = reader.u8("segmentation_type_id")?;
        let number = reader.u8("segment_num")?;
        let expected = reader.u8("segments_expected")?;
        // Which types have these two has grown over the years; whoever writes them means them.
        let sub = match reader.remaining() {
            2 => Some((reader.u8("sub_segment_num")?, reader.u8("sub_segments_expected")?)),
            _ => None,
        };
        let segment = Segment {
            delivery: (!free).then_some(delivery),
            components,
            duration,
            upid_type,
            upid,
            type_id,
            number,
            expected,
            sub,
        };
        Ok(Self { event_id, compliance, segment: Some(segment) })
    }

    fn encode(&self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        let flag = |is: bool, bit: u8| if is { bit } else { 0 };
        out.put_slice(CUEI);
        out.put_u32(self.event_id);
        out.put_u8(flag(self.segment.is_none(), 0x80) | flag(self.compliance, 0x40) | 0x3f);
        let Some(segment) = &self.segment else { return Some(out.freeze()) };
        let delivery = segment.delivery.map_or(0x20 | 0x1f, |delivery| {
            flag(delivery.web_allowed, 0x10)
                | flag(delivery.no_blackout, 0x08)
                | flag(delivery.archive_allowed, 0x04)
                | (delivery.devices & 0x03)
        });
        out.put_u8(
            flag(segment.components.is_none(), 0x80)
                | flag(segment.duration.is_some(), 0x40)
                | delivery,
        );
        if let Some(components) = &segment.components {
            out.put_u8(u8::try_from(components.len()).ok()?);
            for (tag, offset) in components {
                out.put_u8(*tag);
                out.put_uint((offset & TIME_MASK) | 0xfe << 32, 5);
            }
        }
        if let Some(duration) = segment.duration {
            out.put_uint(duration & DURATION_MASK, 5);
        }
        out.put_u8(segment.upid_type);
        out.put_u8(u8::try_from(segment.upid.len()).ok()?);
        out.put_slice(&segment.upid);
        out.put_u8(segment.type_id);
        out.put_u8(segment.number);
        out.put_u8(segment.expected);
        if let Some((number, expected)) = segment.sub {
            out.put_u8(number);
            out.put_u8(expected);
        }
        Some(out.freeze())
    }
}

//! A section in words (ANSI/SCTE 35 §11, the XML schema), for who reads no bytes.
//!
//! What a section may hold and the schema has no element of its own for (descriptors that are no
//! segmentation, commands that are not acted upon) is left out: the bytes have it.

use std::fmt::Write as _;

use super::section::{Command, Descriptor, Insert, Section, Segment, Segmentation, SpliceTime};

/// Namespace of the elements.
const NAMESPACE: &str = "http://www.scte.org/schemas/35/2016";

/// The section as an element that declares its namespace.
pub fn xml(section: &Section) -> String {
    let mut out = String::new();
    // Writing into a String can't fail.
    let _ = write(&mut out, section);
    out
}

fn write(out: &mut String, section: &Section) -> std::fmt::Result {
    write!(
        out,
        "<SpliceInfoSection xmlns=\"{NAMESPACE}\" sapType=\"{}\" protocolVersion=\"0\" \
         ptsAdjustment=\"{}\" tier=\"{}\">",
        section.flags & 3,
        section.pts_adjustment,
        section.tier
    )?;
    match &section.command {
        Command::Null => write!(out, "<SpliceNull/>")?,
        Command::Insert(insert) => splice_insert(out, insert)?,
        Command::TimeSignal(time) => {
            write!(out, "<TimeSignal>{}</TimeSignal>", splice_time(*time))?;
        }
        Command::Other { .. } => {}
    }
    for descriptor in &section.descriptors {
        if let Descriptor::Segmentation(segmentation) = descriptor {
            segmentation_descriptor(out, segmentation)?;
        }
    }
    write!(out, "</SpliceInfoSection>")
}

/// `splice_time()`, which may say nothing.
fn splice_time(time: Option<u64>) -> String {
    match time {
        Some(time) => format!("<SpliceTime ptsTime=\"{time}\"/>"),
        None => "<SpliceTime/>".to_owned(),
    }
}

fn splice_insert(out: &mut String, Insert { event_id, splice }: &Insert) -> std::fmt::Result {
    let Some(splice) = splice else {
        return write!(
            out,
            "<SpliceInsert spliceEventId=\"{event_id}\" spliceEventCancelIndicator=\"true\"/>"
        );
    };
    let immediate = match splice.time {
        SpliceTime::Immediate => true,
        SpliceTime::Program(_) => false,
        SpliceTime::Components { immediate, .. } => immediate,
    };
    write!(
        out,
        "<SpliceInsert spliceEventId=\"{event_id}\" spliceEventCancelIndicator=\"false\" \
         outOfNetworkIndicator=\"{}\" spliceImmediateFlag=\"{immediate}\" uniqueProgramId=\"{}\" \
         availNum=\"{}\" availsExpected=\"{}\">",
        splice.out, splice.program_id, splice.avail, splice.avails
    )?;
    match &splice.time {
        SpliceTime::Immediate => write!(out, "<Program/>")?,
        SpliceTime::Program(time) => write!(out, "<Program>{}</Program>", splice_time(*time))?,
        SpliceTime::Components { immediate, components } => {
            for component in components {
                let time = if *immediate { String::new() } else { splice_time(component.time) };
                write!(out, "<Component componentTag=\"{}\">{time}</Component>", component.tag)?;
            }
        }
    }
    if let Some(duration) = splice.duration {
        write!(
            out,
            "<BreakDuration autoReturn=\"{}\" duration=\"{}\"/>",
            duration.auto_return, duration.ticks
        )?;
    }
    write!(out, "</SpliceInsert>")
}

fn segmentation_descriptor(
    out: &mut String,
    Segmentation { event_id, segment, .. }: &Segmentation,
) -> std::fmt::Result {
    write!(
        out,
        "<SegmentationDescriptor segmentationEventId=\"{event_id}\" \
         segmentationEventCancelIndicator=\"{}\"",
        segment.is_none()
    )?;
    let Some(segment) = segment else { return write!(out, "/>") };
    let Segment { delivery, components, duration, upid_type, upid, type_id, .. } = segment;
    if let Some(duration) = duration {
        write!(out, " segmentationDuration=\"{duration}\"")?;
    }
    write!(
        out,
        " segmentationTypeId=\"{type_id}\" segmentNum=\"{}\" segmentsExpected=\"{}\"",
        segment.number, segment.expected
    )?;
    if let Some((number, expected)) = segment.sub {
        write!(out, " subSegmentNum=\"{number}\" subSegmentsExpected=\"{expected}\"")?;
    }
    write!(out, ">")?;
    if let Some(delivery) = delivery {
        write!(
            out,
            "<DeliveryRestrictions webDeliveryAllowedFlag=\"{}\" noRegionalBlackoutFlag=\"{}\" \
             archiveAllowedFlag=\"{}\" deviceRestrictions=\"{}\"/>",
            delivery.web_allowed, delivery.no_blackout, delivery.archive_allowed, delivery.devices
        )?;
    }
    for (tag, offset) in components.iter().flatten() {
        write!(out, "<Component componentTag=\"{tag}\" ptsOffset=\"{offset}\"/>")?;
    }
    write!(
        out,
        "<SegmentationUpid segmentationUpidType=\"{upid_type}\" \
         segmentationUpidFormat=\"hexbinary\">"
    )?;
    upid.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
    write!(out, "</SegmentationUpid></SegmentationDescriptor>")
}

#[cfg(test)]
mod tests {
    use super::super::section::tests::{self as vectors, section};
    use super::*;

    #[test]
    fn a_splice_insert_is_the_elements_of_the_schema() {
        assert_eq!(
            xml(&section(vectors::S1_OUT)),
            "<SpliceInfoSection xmlns=\"http://www.scte.org/schemas/35/2016\" sapType=\"3\" \
             protocolVersion=\"0\" ptsAdjustment=\"0\" tier=\"4095\">\
             <SpliceInsert spliceEventId=\"100\" spliceEventCancelIndicator=\"false\" \
             outOfNetworkIndicator=\"true\" spliceImmediateFlag=\"false\" uniqueProgramId=\"1\" \
             availNum=\"0\" availsExpected=\"0\"><Program><SpliceTime ptsTime=\"8100000\"/></Program>\
             <BreakDuration autoReturn=\"true\" duration=\"2700000\"/></SpliceInsert>\
             </SpliceInfoSection>"
        );
        let cancel = xml(&section(vectors::S4_CANCEL));
        assert!(cancel.contains("spliceEventId=\"100\" spliceEventCancelIndicator=\"true\"/>"));
        assert!(xml(&section(vectors::S2_IN_NOW)).contains("<Program/></SpliceInsert>"));
    }

    #[test]
    fn a_segmentation_says_what_it_is_about() {
        let text = xml(&section(vectors::PPO_START));
        assert!(text.contains("<TimeSignal><SpliceTime ptsTime=\"1924989008\"/></TimeSignal>"));
        assert!(text.contains(
            "<SegmentationDescriptor segmentationEventId=\"1207959694\" \
             segmentationEventCancelIndicator=\"false\" segmentationDuration=\"27630000\" \
             segmentationTypeId=\"52\" segmentNum=\"2\" segmentsExpected=\"0\">\
             <DeliveryRestrictions webDeliveryAllowedFlag=\"false\" noRegionalBlackoutFlag=\"true\" \
             archiveAllowedFlag=\"true\" deviceRestrictions=\"3\"/>\
             <SegmentationUpid segmentationUpidType=\"8\" segmentationUpidFormat=\"hexbinary\">\
             000000002ca0a18a</SegmentationUpid></SegmentationDescriptor>"
        ), "{text}");
    }
}

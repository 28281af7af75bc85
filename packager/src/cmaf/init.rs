//! Writing an init segment.
//!
//! Written once per run and rendition, so a box library does what it can: every leaf box comes from
//! `mp4-atom`. Two things are written by hand. The decoder's configuration record goes in byte for
//! byte as the encoder made it, where the library would take it apart and build another; so the
//! sample entry and the boxes around it are nested here.

use bytes::Bytes;
use mp4_atom::{
    Audio, Btrt, Colr, Dinf, Dref, Encode, Esds, Ftyp, Hdlr, Kind, Mdhd, Mvex, Mvhd, Pasp, Smhd,
    Stco, Stsc, Stsz, Stts, Tkhd, Trex, Udta, Url, Visual, Vmhd,
    esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig},
};

use super::TRACK_ID;
use crate::codec;
use crate::media::{AudioConfig, Config, Rendition, VideoCodec, VideoConfig};

mod brands;

/// objectTypeIndication of MPEG-4 audio (ISO/IEC 14496-1 table 5).
const MPEG4_AUDIO: u8 = 0x40;
/// streamType of audio (table 6).
const AUDIO_STREAM: u8 = 5;

/// Writes the init segment of a rendition: `ftyp moov`, durations 0, no edit list.
pub fn init(rendition: &Rendition) -> Bytes {
    let mut out = Writer(Vec::with_capacity(1024));
    out.put(&Ftyp {
        major_brand: brands::STRUCTURAL,
        minor_version: 0,
        compatible_brands: brands::compatible(rendition),
    });
    out.nest(b"moov", |out| {
        out.put(&Mvhd {
            timescale: rendition.track.timescale.get(),
            next_track_id: TRACK_ID + 1,
            ..Mvhd::default()
        });
        out.nest(b"trak", |out| track(out, rendition));
        // `cmf2` forbids chunks to lean on these defaults; the box itself must be there.
        let trex =
            Trex { track_id: TRACK_ID, default_sample_description_index: 1, ..Trex::default() };
        out.put(&Mvex { mehd: None, trex: vec![trex] });
    });
    Bytes::from(out.0)
}

/// The scheme of roles in DASH (ISO/IEC 23009-1 §5.8.5.5).
const ROLE_SCHEME: &str = "urn:mpeg:dash:role:2011";

fn track(out: &mut Writer, rendition: &Rendition) {
    let video = rendition.video();
    let full_volume = u8::from(video.is_none());
    out.put(&Tkhd {
        track_id: TRACK_ID,
        enabled: true,
        in_movie: true,
        volume: full_volume.into(),
        width: video.map_or(0, displayed_width).into(),
        height: video.map_or(0, |video| video.height).into(),
        ..Tkhd::default()
    });
    out.nest(b"mdia", |out| {
        out.put(&Mdhd {
            timescale: rendition.track.timescale.get(),
            language: "und".into(),
            ..Mdhd::default()
        });
        let handler = if video.is_some() { b"vide" } else { b"soun" };
        out.put(&Hdlr { handler: handler.into(), name: String::new() });
        out.nest(b"minf", |out| {
            match video {
                Some(_) => out.put(&Vmhd::default()),
                None => out.put(&Smhd::default()),
            }
            let here = mp4_atom::DrefEntry::Url(Url::default());
            out.put(&Dinf { dref: Dref { entries: vec![here] } });
            out.nest(b"stbl", |out| {
                out.nest(b"stsd", |out| {
                    // Version and flags, then the number of entries.
                    out.bytes(&[0, 0, 0, 0, 0, 0, 0, 1]);
                    sample_entry(out, rendition);
                });
                out.put(&Stts::default());
                out.put(&Stsc::default());
                out.put(&Stsz::default());
                out.put(&Stco::default());
            });
        });
    });
    let role = Kind { scheme_uri: ROLE_SCHEME.into(), value: "main".into() };
    out.put(&Udta { kind: vec![role], ..Udta::default() });
}

fn sample_entry(out: &mut Writer, rendition: &Rendition) {
    let btrt = Btrt {
        buffer_size_db: 0,
        max_bitrate: rendition.peak_bitrate,
        avg_bitrate: rendition.average_bitrate,
    };
    match &rendition.track.config {
        Config::Video(config) => {
            let kind = match config.codec {
                VideoCodec::H264 => b"avc1",
                VideoCodec::H265 => b"hvc1",
            };
            out.nest(kind, |out| video_entry(out, config, &btrt));
        }
        Config::Audio(config) => out.nest(b"mp4a", |out| audio_entry(out, config, &btrt)),
    }
}

fn video_entry(out: &mut Writer, config: &VideoConfig, btrt: &Btrt) {
    out.put(&Visual {
        data_reference_index: 1,
        width: config.width,
        height: config.height,
        ..Visual::default()
    });
    let kind = match config.codec {
        VideoCodec::H264 => b"avcC",
        VideoCodec::H265 => b"hvcC",
    };
    out.nest(kind, |out| out.bytes(&config.record));
    out.put(btrt);
    let picture = codec::picture(config).ok();
    if let Some(colour) = picture.and_then(|picture| picture.colour) {
        out.put(&Colr::Nclx {
            colour_primaries: colour.primaries.into(),
            transfer_characteristics: colour.transfer.into(),
            matrix_coefficients: colour.matrix.into(),
            full_range_flag: colour.full_range,
        });
    }
    if let Some(aspect) = picture.and_then(|picture| picture.aspect) {
        out.put(&Pasp { h_spacing: aspect.horizontal.into(), v_spacing: aspect.vertical.into() });
    }
}

fn audio_entry(out: &mut Writer, config: &AudioConfig, btrt: &Btrt) {
    // The field has 16 bits; above, 0 sends the reader to the AudioSpecificConfig.
    let sample_rate = u16::try_from(config.sample_rate).unwrap_or(0);
    out.put(&Audio {
        data_reference_index: 1,
        channel_count: config.channels.into(),
        sample_size: 16,
        sample_rate: sample_rate.into(),
    });
    out.put(&Esds {
        es_desc: EsDescriptor {
            es_id: 0,
            dec_config: DecoderConfig {
                object_type_indication: MPEG4_AUDIO,
                stream_type: AUDIO_STREAM,
                max_bitrate: btrt.max_bitrate,
                avg_bitrate: btrt.avg_bitrate,
                dec_specific: Some(DecoderSpecific {
                    raw: config.record.to_vec(),
                    ..DecoderSpecific::default()
                }),
                ..DecoderConfig::default()
            },
            sl_config: SLConfig {},
            ..EsDescriptor::default()
        },
    });
    out.put(btrt);
}

/// Width at which square pixels show the picture as its sample aspect ratio means it.
fn displayed_width(config: &VideoConfig) -> u16 {
    let aspect = codec::picture(config).ok().and_then(|picture| picture.aspect);
    let Some(aspect) = aspect else {
        return config.width;
    };
    let (horizontal, vertical) = (u32::from(aspect.horizontal), u32::from(aspect.vertical).max(1));
    let width = u32::from(config.width) * horizontal / vertical;
    u16::try_from(width).unwrap_or(u16::MAX)
}

/// Boxes written one after the other or within one another.
struct Writer(Vec<u8>);

impl Writer {
    /// A box, or a part of one, by the library.
    fn put(&mut self, atom: &impl Encode) {
        let encoded = atom.encode(&mut self.0);
        // It fails on sizes above 32 bits and on unknown combinations of fields, and we give it
        // neither.
        debug_assert!(encoded.is_ok(), "a box of fixed size can't be too large");
    }

    /// Bytes as they are.
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A box around what `body` writes.
    fn nest(&mut self, kind: &[u8; 4], body: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.bytes(&[0; 4]);
        self.bytes(kind);
        body(self);
        let size = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        if let Some(field) = self.0.get_mut(start..start + 4) {
            field.copy_from_slice(&size.to_be_bytes());
        }
    }
}

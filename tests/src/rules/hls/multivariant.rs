//! Rows HM-*: the multivariant playlist.

use std::collections::{BTreeMap, BTreeSet};

use super::playlist::{Attributes, Multivariant};
use crate::rules::Findings;

/// Where Apple players are to start (APL 1.32).
const START_BITRATE: u64 = 2_000_000;

pub(super) fn check(playlist: &Multivariant<'_>, findings: &mut Findings) {
    hm_01(playlist, findings);
    hm_02(playlist, findings);
    hm_03(playlist, findings);
    hm_04(playlist, findings);
    hm_06(playlist, findings);
    hm_07(playlist, findings);
    hm_08(playlist, findings);
    hm_09(playlist, findings);
    hm_10(playlist, findings);
    hm_11(playlist, findings);
    hm_12(playlist, findings);
    hm_13(playlist, findings);
    hm_14(playlist, findings);
    hm_16(playlist, findings);
}

fn hm_11(playlist: &Multivariant<'_>, findings: &mut Findings) {
    let pictures = playlist.variants.iter().any(|(variant, _)| codecs(variant).any(is_video));
    let mut lists = playlist.all("EXT-X-I-FRAME-STREAM-INF").peekable();
    findings.expect("HM-11", !pictures || lists.peek().is_some(), || {
        "no EXT-X-I-FRAME-STREAM-INF".into()
    });
    for list in lists {
        for name in ["BANDWIDTH", "CODECS", "RESOLUTION", "URI"] {
            let there = list.get(name).is_some_and(|value| !value.is_empty());
            findings.expect("HM-11", there, || format!("an I-frame list without {name}"));
        }
    }
}

fn number(attributes: &Attributes<'_>, name: &str) -> Option<u64> {
    attributes.get(name)?.parse().ok()
}

fn codecs<'a>(attributes: &Attributes<'a>) -> impl Iterator<Item = &'a str> {
    attributes.get("CODECS").copied().unwrap_or_default().split(',').map(str::trim)
}

fn is_video(codec: &str) -> bool {
    ["avc1.", "avc3.", "hvc1.", "hev1.", "av01.", "dvh1.", "vp09."]
        .iter()
        .any(|p| codec.starts_with(p))
}

fn is_audio(codec: &str) -> bool {
    ["mp4a.", "ac-3", "ec-3", "Opus", "opus", "fLaC"].iter().any(|p| codec.starts_with(p))
}

fn hm_01(playlist: &Multivariant<'_>, findings: &mut Findings) {
    const MEDIA_TAGS: [&str; 7] = [
        "EXTINF",
        "EXT-X-TARGETDURATION",
        "EXT-X-MEDIA-SEQUENCE",
        "EXT-X-DISCONTINUITY-SEQUENCE",
        "EXT-X-ENDLIST",
        "EXT-X-MAP",
        "EXT-X-PART",
    ];
    findings.expect("HM-01", playlist.first_line == "#EXTM3U", || "does not begin #EXTM3U".into());
    let versions = playlist.tags.iter().filter(|tag| tag.name == "EXT-X-VERSION").count();
    findings.expect("HM-01", versions <= 1, || format!("{versions} version tags"));
    for tag in playlist.tags.iter().filter(|tag| MEDIA_TAGS.contains(&tag.name)) {
        findings.add("HM-01", format!("{} is a tag of media playlists", tag.name));
    }
}

fn hm_02(playlist: &Multivariant<'_>, findings: &mut Findings) {
    findings.expect("HM-02", !playlist.variants.is_empty(), || "no variant".into());
    for (attributes, uri) in &playlist.variants {
        findings.expect("HM-02", uri.is_some(), || format!("no address after {attributes:?}"));
    }
}

fn hm_03(playlist: &Multivariant<'_>, findings: &mut Findings) {
    for (attributes, uri) in &playlist.variants {
        let peak = number(attributes, "BANDWIDTH");
        let average = number(attributes, "AVERAGE-BANDWIDTH");
        findings.expect(
            "HM-03",
            peak.is_some_and(|peak| peak > 0 && Some(peak) >= average),
            || format!("{uri:?}: peak {peak:?}, average {average:?}"),
        );
    }
}

fn hm_04(playlist: &Multivariant<'_>, findings: &mut Findings) {
    for (attributes, uri) in &playlist.variants {
        let mut due = vec!["AVERAGE-BANDWIDTH", "CODECS"];
        if codecs(attributes).any(is_video) {
            due.extend(["RESOLUTION", "FRAME-RATE"]);
        }
        for name in due.into_iter().filter(|name| !attributes.contains_key(name)) {
            findings.add("HM-04", format!("{uri:?} has no {name}"));
        }
    }
}

/// Judges measured bit rates: no segment above 125 % of the peak, the whole not above 110 % of the
/// average.
pub(super) fn hm_05(
    playlist: &Multivariant<'_>,
    uri: &str,
    segments: &[(u64, u64)],
    findings: &mut Findings,
) {
    let Some((attributes, _)) = playlist.variants.iter().find(|(_, own)| *own == Some(uri)) else {
        findings.add("HM-05", format!("there is no variant {uri}"));
        return;
    };
    let rate =
        |bytes: u64, nanos: u64| u128::from(bytes) * 8 * 1_000_000_000 / u128::from(nanos.max(1));
    let peak = u128::from(number(attributes, "BANDWIDTH").unwrap_or(0));
    for (position, &(bytes, nanos)) in segments.iter().enumerate() {
        let measured = rate(bytes, nanos);
        findings.expect("HM-05", measured * 100 < peak * 125, || {
            format!("{uri}, segment {position}: {measured} bit/s, promised {peak}")
        });
    }
    let average = u128::from(number(attributes, "AVERAGE-BANDWIDTH").unwrap_or(0));
    let bytes = segments.iter().map(|(bytes, _)| bytes).sum();
    let measured = rate(bytes, segments.iter().map(|(_, nanos)| nanos).sum());
    findings.expect("HM-05", measured * 100 < average * 110, || {
        format!("{uri}: {measured} bit/s on average, promised {average}")
    });
}

fn hm_06(playlist: &Multivariant<'_>, findings: &mut Findings) {
    // Main 10 is what HDR is coded in here; everything else is SDR.
    let wide = |codec: &str| codec.starts_with("hvc1.2.") || codec.starts_with("dvh1.");
    let all_sdr = playlist.variants.iter().all(|(attributes, _)| {
        !codecs(attributes).any(wide)
            && attributes.get("VIDEO-RANGE").is_none_or(|range| *range == "SDR")
    });
    for (attributes, uri) in playlist.variants.iter().filter(|_| !all_sdr) {
        findings.expect("HM-06", attributes.contains_key("VIDEO-RANGE"), || {
            format!("{uri:?} has no VIDEO-RANGE, and not all is SDR")
        });
    }
}

fn hm_07(playlist: &Multivariant<'_>, findings: &mut Findings) {
    for (attributes, uri) in &playlist.variants {
        if attributes.contains_key("RESOLUTION") {
            findings.expect("HM-07", codecs(attributes).any(is_video), || {
                format!("{uri:?}: CODECS names no picture codec")
            });
        }
        if attributes.contains_key("AUDIO") {
            findings.expect("HM-07", codecs(attributes).any(is_audio), || {
                format!("{uri:?}: CODECS names no codec of its AUDIO group")
            });
        }
        for codec in codecs(attributes).filter(|codec| !is_video(codec) && !is_audio(codec)) {
            findings.add("HM-07", format!("{uri:?}: {codec:?} is no RFC 6381 string we know"));
        }
    }
}

fn hm_08(playlist: &Multivariant<'_>, findings: &mut Findings) {
    let groups: BTreeSet<_> = playlist
        .all("EXT-X-MEDIA")
        .filter_map(|media| Some((*media.get("TYPE")?, *media.get("GROUP-ID")?)))
        .collect();
    for (attributes, uri) in &playlist.variants {
        for kind in ["AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS"] {
            let Some(group) = attributes.get(kind).filter(|group| **group != "NONE") else {
                continue;
            };
            findings.expect("HM-08", groups.contains(&(kind, group)), || {
                format!("{uri:?} names the {kind} group {group:?}, which is not there")
            });
        }
    }
}

fn hm_09(playlist: &Multivariant<'_>, findings: &mut Findings) {
    let mut groups: BTreeMap<_, Vec<Attributes<'_>>> = BTreeMap::new();
    for media in playlist.all("EXT-X-MEDIA") {
        let key = (media.get("TYPE").copied(), media.get("GROUP-ID").copied());
        let is = |name: &str| media.get(name).is_some_and(|value| *value == "YES");
        findings.expect("HM-09", key.0 == Some("VIDEO") || media.contains_key("LANGUAGE"), || {
            format!("{key:?} has no LANGUAGE")
        });
        findings.expect("HM-09", !is("DEFAULT") || is("AUTOSELECT"), || {
            format!("{key:?} has DEFAULT without AUTOSELECT")
        });
        groups.entry(key).or_default().push(media);
    }
    for (key, members) in groups {
        let names: BTreeSet<_> = members.iter().map(|media| media.get("NAME")).collect();
        findings.expect("HM-09", names.len() == members.len() && !names.contains(&None), || {
            format!("{key:?}: NAME is missing or there twice")
        });
        let defaults = members.iter().filter(|media| media.get("DEFAULT") == Some(&"YES")).count();
        findings.expect("HM-09", defaults <= 1, || format!("{key:?} has {defaults} defaults"));
    }
}

fn hm_10(playlist: &Multivariant<'_>, findings: &mut Findings) {
    let none = playlist
        .variants
        .iter()
        .filter(|(attributes, _)| attributes.get("CLOSED-CAPTIONS") == Some(&"NONE"))
        .count();
    findings.expect("HM-10", none == 0 || none == playlist.variants.len(), || {
        format!("CLOSED-CAPTIONS=NONE on {none} of {} variants", playlist.variants.len())
    });
    let captions =
        playlist.all("EXT-X-MEDIA").filter(|media| media.get("TYPE") == Some(&"CLOSED-CAPTIONS"));
    for media in captions {
        let whole = media.contains_key("INSTREAM-ID") && media.contains_key("LANGUAGE");
        findings.expect("HM-10", whole, || format!("{media:?} lacks INSTREAM-ID or LANGUAGE"));
    }
}

fn hm_12(playlist: &Multivariant<'_>, findings: &mut Findings) {
    let there = playlist.tags.iter().any(|tag| tag.name == "EXT-X-INDEPENDENT-SEGMENTS");
    findings.expect("HM-12", there, || "no EXT-X-INDEPENDENT-SEGMENTS".into());
}

fn hm_13(playlist: &Multivariant<'_>, findings: &mut Findings) {
    let scored =
        playlist.variants.iter().filter(|(attributes, _)| attributes.contains_key("SCORE")).count();
    findings.expect("HM-13", scored == 0 || scored == playlist.variants.len(), || {
        format!("SCORE on {scored} of {} variants", playlist.variants.len())
    });
}

fn hm_14(playlist: &Multivariant<'_>, findings: &mut Findings) {
    let mut pathways: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (attributes, _) in &playlist.variants {
        let pathway = attributes.get("PATHWAY-ID").copied().unwrap_or(".");
        let variant = (attributes.get("BANDWIDTH"), attributes.get("RESOLUTION"));
        pathways.entry(pathway).or_default().insert(variant);
    }
    let sets: BTreeSet<_> = pathways.values().collect();
    findings.expect("HM-14", sets.len() <= 1, || format!("pathways differ: {pathways:?}"));
    for steering in playlist.all("EXT-X-CONTENT-STEERING") {
        findings.expect("HM-14", steering.contains_key("PATHWAY-ID"), || {
            "steering without a pathway to begin with".into()
        });
    }
}

fn hm_16(playlist: &Multivariant<'_>, findings: &mut Findings) {
    let distances: Vec<_> = playlist
        .variants
        .iter()
        .map(|(attributes, _)| number(attributes, "BANDWIDTH").unwrap_or(0).abs_diff(START_BITRATE))
        .collect();
    findings.expect("HM-16", distances.first() == distances.iter().min(), || {
        "the first variant is not the one nearest to 2 Mbit/s".into()
    });
}

//! The witness itself is proven: it finds nothing wrong with a good channel, and of each planted
//! fault exactly the invariant that it breaks.
//!
//! All witnesses watch the same channel at the same time, each through a [`Liar`] with one lie. What
//! needs no channel, the machine and the log (I18, I23), is proven beside its code.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use harness::client::Response;
use harness::liar::{Liar, Lie, Question};
use harness::publisher::Source;
use harness::rules::date_nanos;
use harness::server::{ChannelConfig, Server};
use harness::witness::{Record, Watch, Witness};
use harness::{Context, Failure, Result};
use packager::time::FrameRate;

/// What the server would never tell.
const SECRET: &str = "/var/lib/headwater";
/// What a segment may be late here, where some twenty witnesses watch at once.
const SLACK: Duration = Duration::from_millis(1_500);
/// The rendition that most lies are about.
const RENDITION: &str = "96p";

/// A lie and what it breaks.
struct Plant {
    name: &'static str,
    breaks: &'static str,
    lie: fn(u64) -> Lie,
}

/// The lies. Each begins with segment `k`, which is not listed yet when it is made.
const PLANTS: [Plant; 24] = [
    Plant { name: "none", breaks: "", lie: |_| edit(|_, _| {}) },
    Plant { name: "other bytes the second time", breaks: "I1", lie: other_bytes },
    Plant { name: "a number that falls", breaks: "I2", lie: falling },
    Plant { name: "an address that changes", breaks: "I3", lie: renamed },
    Plant { name: "another target duration", breaks: "I4", lie: other_target },
    Plant { name: "late segments", breaks: "I5", lie: late },
    Plant { name: "a missing segment", breaks: "I6", lie: missing },
    Plant { name: "a segment that goes too soon", breaks: "I6", lie: gone_too_soon },
    Plant { name: "a tenth of a second that is nowhere", breaks: "I7", lie: lost_time },
    Plant { name: "a gap", breaks: "I7", lie: gap },
    Plant { name: "dates of one rendition", breaks: "I8", lie: disagreeing },
    Plant { name: "a hole of a tick", breaks: "I9", lie: hole },
    Plant { name: "a wrong date", breaks: "I10", lie: wrong_date },
    Plant { name: "sound late after a discontinuity", breaks: "I11", lie: out_of_sync },
    Plant { name: "DASH with other addresses", breaks: "I12", lie: other_names },
    Plant { name: "DASH that promises too much", breaks: "I12", lie: promised },
    Plant { name: "a reload that is held", breaks: "I13", lie: held },
    Plant { name: "no cache header", breaks: "I15", lie: no_cache_header },
    Plant { name: "a secret", breaks: "I16", lie: secret },
    Plant { name: "a wrong state", breaks: "I20", lie: wrong_state },
    Plant { name: "half a playlist", breaks: "I21", lie: half_playlist },
    Plant { name: "half a manifest", breaks: "I21", lie: half_manifest },
    Plant { name: "503 without Retry-After", breaks: "I22", lie: unkind_503 },
    Plant { name: "pictures that don't decode", breaks: "I24", lie: undecodable },
];

#[test]
fn each_planted_fault_breaks_its_own_invariant_and_no_other() -> Result {
    let config = ChannelConfig::tiny("a").with_key("k").with("window = \"10s\"");
    let server = Server::start(&[config])?;
    let source = Source::tiny(FrameRate::new(30, 1));
    let mut publisher = source.publish(&server.publish_url("a", Some("k")))?;
    server.wait_playable("a", Duration::from_secs(15))?;
    let (_, last) = server.numbers("a")?;
    // Every witness is to hear the truth first, and two dozen of them take their time to come up.
    let k = last + 8;
    let mut watched = Vec::new();
    for plant in &PLANTS {
        let liar = Liar::start(&server.url(""), (plant.lie)(k))?;
        let mut watch = Watch::new(&liar.origin, "a").with_secrets(&[SECRET]);
        watch.slack = SLACK;
        watch.look_every = Duration::from_millis(600);
        // A liar tells one lie at a time, and hears a whole answer before: a request that waits would keep
        // it from the others.
        watch.low_latency = false;
        watch.decodes = ["", "I24"].contains(&plant.breaks);
        let witness = Witness::start(watch);
        witness.expect("live");
        watched.push((plant, liar, witness));
    }
    server.wait_segment("a", k + 4, Duration::from_secs(60))?;
    publisher.check()?;
    // All at once: each reads everything a last time.
    let finish = |(plant, liar, witness): (_, Liar, Witness)| {
        (plant, std::thread::spawn(move || (witness.finish(), liar).0))
    };
    let finishing: Vec<(&Plant, _)> = watched.into_iter().map(finish).collect();
    let mut wrong = Vec::new();
    for (plant, record) in finishing {
        let record = record.join().map_err(|_| Failure::new("a witness panicked"))??;
        let found = invariants(&record);
        if found != plant.breaks.split_terminator(' ').collect() {
            wrong.push(format!("{}: {found:?} {:#?}", plant.name, record.violations));
        }
        assert!(record.tracks.len() == 3, "{}: it saw nothing", plant.name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.stop()
}

/// The invariants that were found broken. Rows of the conformance list are another matter.
fn invariants(record: &Record) -> BTreeSet<&'static str> {
    let names = record.violations.iter().map(|violation| violation.invariant);
    names.filter(|name| name[1..].bytes().all(|b| b.is_ascii_digit())).collect()
}

/// The truth with something edited.
fn edit(mut change: impl FnMut(&Question, &mut Response) + Send + 'static) -> Lie {
    Box::new(move |question, honest| {
        let mut answer = honest()?;
        change(question, &mut answer);
        Ok(answer)
    })
}

/// Edits media playlists that list segment `k`; of one rendition, or of all.
fn edit_lists(
    k: u64,
    rendition: Option<&'static str>,
    mut change: impl FnMut(&str, &str) -> String + Send + 'static,
) -> Lie {
    edit(move |question, answer| {
        let Some(name) = question.playlist().filter(|n| rendition.is_none_or(|r| r == *n)) else {
            return;
        };
        let text = text_of(answer);
        if lists(&text, k) {
            answer.body = change(name, &text).into();
        }
    })
}

/// Edits the media of segment `k`, in these renditions.
fn edit_media(
    k: u64,
    renditions: &'static [&'static str],
    mut change: impl FnMut(&mut BytesMut) + Send + 'static,
) -> Lie {
    edit(move |question, answer| {
        let Some((name, number)) = question.segment() else { return };
        if number == k && renditions.contains(&name) && question.method == "GET" {
            let mut bytes = BytesMut::from(answer.body.as_ref());
            change(&mut bytes);
            answer.body = bytes.freeze();
        }
    })
}

/// Both lies, the second about what the first says.
fn both(mut first: Lie, mut second: Lie) -> Lie {
    Box::new(move |question, honest| {
        let told = first(question, honest)?;
        second(question, &|| Ok(told.clone()))
    })
}

fn text_of(answer: &Response) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn lists(text: &str, k: u64) -> bool {
    text.contains(&format!("/{k}.m4s"))
}

/// The first number that a playlist lists.
fn first_of(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A playlist whose lines before the address of some segments are changed.
fn with_heads(text: &str, change: impl Fn(u64, String) -> String) -> String {
    let (mut k, mut out, mut head) = (first_of(text), String::new(), String::new());
    for line in text.lines() {
        let is_head = ["#EXT-X-PROGRAM-DATE-TIME", "#EXTINF", "#EXT-X-GAP", "#EXT-X-DISC"]
            .iter()
            .any(|tag| line.starts_with(tag) && !line.starts_with("#EXT-X-DISCONTINUITY-SEQ"));
        if is_head {
            head.push_str(line);
            head.push('\n');
        } else {
            if !line.starts_with('#') {
                out.push_str(&change(k, std::mem::take(&mut head)));
                k += 1;
            }
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The lines before a segment's address with its date moved.
fn redated(head: &str, by_ms: i64) -> String {
    let tag = "#EXT-X-PROGRAM-DATE-TIME:";
    let moved = head.lines().map(|line| match line.strip_prefix(tag).and_then(date_nanos) {
        Some(nanos) => format!("{tag}{}\n", date((nanos / 1_000_000) as i64 + by_ms)),
        None => format!("{line}\n"),
    });
    moved.collect()
}

/// Milliseconds since the epoch as a date of ISO 8601.
fn date(ms: i64) -> String {
    let (days, in_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Days count from March 1 of year 0, so that the leap day is a year's last.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Adds to every decode time of a segment.
fn shift(bytes: &mut BytesMut, ticks: u64) {
    let found: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, w)| *w == b"tfdt").map(|(at, _)| at).collect();
    for at in found {
        // Version 1: four bytes of name, four of version and flags, eight of time.
        let time = at + 8..at + 16;
        let old = u64::from_be_bytes(bytes[time.clone()].try_into().unwrap());
        bytes[time].copy_from_slice(&(old + ticks).to_be_bytes());
    }
}

fn other_bytes(k: u64) -> Lie {
    let mut asked = 0;
    edit_media(k, &[RENDITION], move |bytes| {
        asked += 1;
        if let Some(last) = bytes.last_mut().filter(|_| asked > 1) {
            *last ^= 1;
        }
    })
}

fn falling(k: u64) -> Lie {
    const TAG: &str = "#EXT-X-DISCONTINUITY-SEQUENCE:";
    // Told once, and when nothing else is new: a segment that came with it would disagree, too.
    let (mut last, mut is_over) = (Vec::new(), false);
    edit(move |question, answer| {
        let text = text_of(answer);
        if question.playlist() != Some(RENDITION) || is_over || !lists(&text, k) {
            return;
        }
        let now: Vec<String> = segments(&text).map(str::to_owned).collect();
        if now == last {
            is_over = true;
            let old = text.lines().find_map(|line| line.strip_prefix(TAG)).unwrap();
            let fallen = old.parse::<u64>().unwrap() - 1;
            answer.body = text.replace(&format!("{TAG}{old}"), &format!("{TAG}{fallen}")).into();
        }
        last = now;
    })
}

/// The addresses of a playlist's segments.
fn segments(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

fn renamed(k: u64) -> Lie {
    let before = format!("/{}.m4s", k - 1);
    let mut known = false;
    edit_lists(k - 1, Some(RENDITION), move |_, text| {
        let is_known = std::mem::replace(&mut known, true);
        if is_known { text.replace(&before, &format!("{before}?new")) } else { text.to_owned() }
    })
}

fn other_target(k: u64) -> Lie {
    edit_lists(k, Some(RENDITION), |_, text| {
        text.replace("#EXT-X-TARGETDURATION:2", "#EXT-X-TARGETDURATION:3")
    })
}

fn late(k: u64) -> Lie {
    // One and a half target durations and the slack are 4.5 s.
    const FOR: Duration = Duration::from_millis(5_800);
    let mut since = None;
    let mut old: BTreeMap<String, Bytes> = BTreeMap::new();
    edit(move |question, answer| {
        let Some(name) = question.playlist() else { return };
        if lists(&text_of(answer), k) {
            let since = since.get_or_insert_with(Instant::now);
            if let Some(text) = old.get(name).filter(|_| since.elapsed() < FOR) {
                answer.body = text.clone();
            }
        } else {
            old.insert(name.to_owned(), answer.body.clone());
        }
    })
}

fn not_found(answer: &mut Response) {
    answer.status = 404;
    answer.body = Bytes::new();
}

fn missing(k: u64) -> Lie {
    edit(move |question, answer| {
        if question.segment() == Some((RENDITION, k)) && question.method == "GET" {
            not_found(answer);
        }
    })
}

fn gone_too_soon(_: u64) -> Lie {
    let mut first = 0;
    edit(move |question, answer| {
        if question.playlist() == Some(RENDITION) {
            first = first_of(&text_of(answer));
        }
        if question.segment().is_some_and(|(name, number)| name == RENDITION && number < first) {
            not_found(answer);
        }
    })
}

fn lost_time(k: u64) -> Lie {
    edit_lists(k, None, move |_, text| {
        with_heads(text, |number, head| match number {
            _ if number < k => head,
            _ if number == k => format!("#EXT-X-DISCONTINUITY\n{}", redated(&head, 100)),
            _ => redated(&head, 100),
        })
    })
}

fn gap(k: u64) -> Lie {
    edit_lists(k, Some(RENDITION), move |_, text| {
        with_heads(text, |number, head| if number == k { head + "#EXT-X-GAP\n" } else { head })
    })
}

fn disagreeing(_: u64) -> Lie {
    edit(|question, answer| {
        if question.playlist() == Some(RENDITION) {
            answer.body = with_heads(&text_of(answer), |_, head| redated(&head, 3)).into();
        }
    })
}

fn hole(k: u64) -> Lie {
    edit_media(k, &["180p", "96p"], |bytes| shift(bytes, 1))
}

fn wrong_date(k: u64) -> Lie {
    edit_lists(k, None, move |_, text| {
        with_heads(text, |number, head| if number == k { redated(&head, 5) } else { head })
    })
}

fn out_of_sync(k: u64) -> Lie {
    // A frame and a quarter at 48 kHz: 26.7 ms.
    let lists = edit_lists(k, None, move |name, text| {
        with_heads(text, |number, head| match number {
            _ if number == k && name == "audio" => {
                format!("#EXT-X-DISCONTINUITY\n{}", redated(&head, 27))
            }
            _ if number == k || number == k + 1 => format!("#EXT-X-DISCONTINUITY\n{head}"),
            _ => head,
        })
    });
    both(lists, edit_media(k, &["audio"], |bytes| shift(bytes, 1_280)))
}

fn edit_manifest(change: impl Fn(&str) -> String + Send + 'static) -> Lie {
    edit(move |question, answer| {
        if question.path.ends_with("manifest.mpd") {
            answer.body = change(&text_of(answer)).into();
        }
    })
}

fn other_names(_: u64) -> Lie {
    edit_manifest(|text| text.replace("$Number$.m4s", "$Number$.m4s?dash"))
}

fn promised(k: u64) -> Lie {
    edit(move |question, answer| {
        if question.segment() == Some((RENDITION, k)) && question.method == "HEAD" {
            not_found(answer);
        }
    })
}

fn held(k: u64) -> Lie {
    let mut is_over = false;
    Box::new(move |question, honest| {
        let answer = honest()?;
        let now = question.playlist() == Some(RENDITION) && lists(&text_of(&answer), k);
        if !now || std::mem::replace(&mut is_over, true) {
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(4_000));
        honest()
    })
}

fn no_cache_header(k: u64) -> Lie {
    edit(move |question, answer| {
        if question.segment() == Some((RENDITION, k)) {
            answer.headers.retain(|(name, _)| name != "cache-control");
        }
    })
}

fn secret(_: u64) -> Lie {
    edit(|question, answer| {
        if question.playlist() == Some(RENDITION) {
            answer.headers.push(("x-file".to_owned(), format!("{SECRET}/a/96p")));
        }
    })
}

fn wrong_state(_: u64) -> Lie {
    edit(|question, answer| {
        if question.path.ends_with("status.json") {
            answer.body = text_of(answer).replace("\"live\"", "\"holding\"").into();
        }
    })
}

/// Something that happens once.
fn once(k: u64, mut change: impl FnMut(&mut Response) + Send + 'static) -> Lie {
    let mut is_over = false;
    edit(move |question, answer| {
        if question.playlist() == Some(RENDITION) && lists(&text_of(answer), k) && !is_over {
            is_over = true;
            change(answer);
        }
    })
}

fn half_playlist(k: u64) -> Lie {
    once(k, |answer| answer.body.truncate(answer.body.len() - 10))
}

fn half_manifest(_: u64) -> Lie {
    edit_manifest(|text| text[..text.len() / 2].to_owned())
}

fn unkind_503(k: u64) -> Lie {
    once(k, |answer| {
        answer.status = 503;
        for (name, value) in &mut answer.headers {
            if name == "cache-control" {
                *value = "no-store".to_owned();
            }
        }
    })
}

fn undecodable(k: u64) -> Lie {
    edit_media(k, &[RENDITION], |bytes| {
        let at = bytes.windows(4).position(|window| window == b"mdat").unwrap();
        let size = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
        let data = &mut bytes[at + 4..at - 4 + size];
        let middle = data.len() / 3..data.len() * 2 / 3;
        data[middle].iter_mut().for_each(|byte| *byte ^= 0x55);
    })
}

#[test]
fn dates_are_written_as_they_are_read() -> Result {
    for ms in [0, 951_868_800_500, 1_795_633_201_600, 1_709_251_199_999] {
        let text = date(ms);
        let nanos = date_nanos(&text).context(text)?;
        assert_eq!(nanos / 1_000_000, ms as u64);
    }
    Ok(())
}

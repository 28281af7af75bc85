//! The operator's start page: state and publish settings of every channel, as plain HTML.
//!
//! Keys stand here and nowhere else, folded away until somebody opens them.

use std::fmt::{self, Write as _};
use std::time::Instant;

use super::{Context, Door};
use crate::admission::Capacity;
use crate::channel::{Event, Health, Link, SourceStatus, Status};
use crate::store::UpstreamStats;
use crate::viewers::{Audience, Protocol};

mod cues;
mod publishing;

/// Entries of a channel's list of events that stand on the page; the API has them all.
const EVENTS: usize = 12;

/// A text that is written with what HTML would read as markup made harmless.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The page, for an operator who came by the name `host`.
pub(super) fn start(context: &Context, host: Option<&str>) -> String {
    let host = host.unwrap_or("localhost");
    let origin = context
        .public_url
        .clone()
        .unwrap_or_else(|| format!("http://{host}:{}", context.http_port));
    let rtmp = match context.rtmp_port {
        1935 => format!("rtmp://{host}/live"),
        port => format!("rtmp://{host}:{port}/live"),
    };
    let srt = format!("srt://{host}:{}", context.srt_port);
    let mut html = String::with_capacity(8 * 1024);
    // Writing to a string can't fail.
    let _ = write(&mut html, context, &Addresses { origin, rtmp, srt });
    html
}

/// What an operator sees whose request could not be obeyed.
pub(super) fn problem(channel: &str, words: &str) -> String {
    format!(
        "{HEAD}<main><section><h2>{}</h2><p class=\"error\">Nothing was done: {}.</p>\
         <p><a href=\"/\">Back</a></p></section></main></body></html>\n",
        Escaped(channel),
        Escaped(words)
    )
}

/// Where viewers and publishers go.
struct Addresses {
    origin: String,
    rtmp: String,
    srt: String,
}

fn write(html: &mut String, context: &Context, addresses: &Addresses) -> fmt::Result {
    html.write_str(HEAD)?;
    write!(
        html,
        "<header><h1>Headwater</h1><nav><a href=\"{0}/\">Start page for viewers</a>\
         <a href=\"/api/v1/channels\">API</a><a href=\"/metrics\">Metrics</a>\
         <a href=\"/\">Refresh</a></nav></header><main>",
        Escaped(&addresses.origin)
    )?;
    capacity(html, &context.admission.capacity())?;
    if context.doors.is_empty() {
        html.write_str(
            "<p class=\"empty\">No channel is configured. Add a <code>[[channel]]</code> to \
             <code>headwater.toml</code> and start Headwater again.</p>",
        )?;
    }
    for door in &context.doors {
        let status = context.channels.get(&door.channel).map(|c| c.status.borrow().clone());
        let audience = context.viewers.audience(&door.channel, Instant::now());
        channel(html, door, (&status.unwrap_or_default(), &audience), addresses)?;
        if let Some(channel) = context.channels.get(&door.channel) {
            cues::write(html, channel)?;
        }
        html.write_str("</section>")?;
    }
    html.write_str("</main></body></html>\n")
}

fn channel(
    html: &mut String,
    door: &Door,
    (status, watching): (&Status, &Audience),
    addresses: &Addresses,
) -> fmt::Result {
    let name = door.channel.as_str();
    let (class, words) = state(status.state);
    write!(
        html,
        "<section><h2>{name}<span class=\"state {class}\">{words}</span></h2>\
         <p class=\"links\"><a href=\"{0}/watch/{name}\">Watch</a>\
         <a href=\"{0}/live/{name}/index.m3u8\">HLS</a>\
         <a href=\"{0}/live/{name}/manifest.mpd\">DASH</a>\
         <a href=\"/api/v1/channels/{name}\">Details</a></p>",
        Escaped(&addresses.origin)
    )?;
    if let Some(error) = &status.last_error {
        write!(html, "<p class=\"error\">{}</p>", Escaped(error))?;
    }
    if let Some(source) = &status.source {
        for warning in &source.warnings {
            write!(html, "<p class=\"warning\">{}</p>", Escaped(warning))?;
        }
    }
    facts(html, status)?;
    audience(html, watching)?;
    events(html, &status.events)?;
    publishing::settings(html, door, addresses)
}

/// What the machine has and what is taken of it, where that is counted.
fn capacity(html: &mut String, capacity: &Capacity) -> fmt::Result {
    let Some(cores) = capacity.cores else { return Ok(()) };
    let word = if capacity.measured { "measured" } else { "estimated" };
    write!(
        html,
        "<p class=\"capacity\">Ladders take {:.1} of {cores:.1} cores, {word} by what their \
         pictures cost here.",
        capacity.used
    )?;
    if let Some((channel, reason)) = &capacity.last_refusal {
        let (times, channel) = (capacity.refused, Escaped(channel));
        let reason = Escaped(reason);
        write!(html, " Publishers refused: {times}, the last of {channel}: {reason}.")?;
    }
    html.write_str("</p>")
}

/// What waits for S3, and what keeps it.
fn upstream(html: &mut String, s3: &UpstreamStats) -> fmt::Result {
    html.write_str("<dt>S3</dt><dd>")?;
    match s3.backlog_segments {
        0 => html.write_str("has everything")?,
        n => write!(
            html,
            "{n} segments wait, {:.1} MB, the oldest for {:.1} s",
            s3.backlog_bytes as f64 / 1e6,
            s3.backlog_ms as f64 / 1e3
        )?,
    }
    write!(html, "; {} objects sent", s3.uploads)?;
    if s3.missing_segments > 0 {
        write!(html, "; {} segments it will never have", s3.missing_segments)?;
    }
    if let Some(trouble) = &s3.trouble {
        write!(html, "<br>{}", Escaped(trouble))?;
    }
    html.write_str("</dd>")
}

/// What goes on, as far as it is known.
fn facts(html: &mut String, status: &Status) -> fmt::Result {
    html.write_str("<dl>")?;
    if let Some(source) = &status.source {
        write!(html, "<dt>Source</dt><dd>{}", Escaped(&source.protocol))?;
        write!(html, " from {}", Escaped(&source.peer))?;
        if let Some((width, height)) = source.size {
            write!(html, ", {width}×{height}")?;
        }
        if source.fps > 0.0 {
            write!(html, ", {:.1} fps", source.fps)?;
        }
        if source.bitrate > 0 {
            write!(html, ", {}", bitrate(source.bitrate))?;
        }
        html.write_str("</dd>")?;
        source_facts(html, source)?;
    }
    counted(html, "Turned away", status.turned_away.iter().map(|(why, times)| (*why, *times)))?;
    counted(html, "Pictures", status.picture_faults.iter().map(|(kind, n)| (kind.word(), *n)))?;
    for (at, (kind, times)) in status.repairs.iter().enumerate() {
        html.write_str(if at == 0 { "<dt>Repaired</dt><dd>" } else { "<br>" })?;
        write!(html, "{}", Escaped(&kind.sentence(*times)))?;
    }
    if !status.repairs.is_empty() {
        html.write_str("</dd>")?;
    }
    if !status.renditions.is_empty() {
        html.write_str("<dt>Renditions</dt><dd>")?;
        for (at, rendition) in status.renditions.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let rate = bitrate(u64::from(rendition.bitrate));
            write!(html, "{comma}{} ({rate})", Escaped(&rendition.name))?;
        }
        html.write_str("</dd>")?;
    }
    if let Some(s3) = &status.s3 {
        upstream(html, s3)?;
    }
    for left_out in &status.left_out {
        let (name, reason) = (Escaped(&left_out.name), Escaped(&left_out.reason));
        write!(html, "<dt>Left out</dt><dd>{name}: {reason}</dd>")?;
    }
    if let (Some(segment), Some(part)) = (status.segment_ms, status.part_ms) {
        write!(html, "<dt>Segments</dt><dd>{segment} ms in parts of {part:.1} ms</dd>")?;
    }
    html.write_str("</dl>")
}

/// Who watches, as far as players report.
fn audience(html: &mut String, audience: &Audience) -> fmt::Result {
    if audience.viewers == 0 {
        return Ok(());
    }
    write!(html, "<dl><dt>Viewers</dt><dd>{}", audience.viewers)?;
    for (at, (protocol, viewers)) in audience.by_protocol.iter().enumerate() {
        let name = match protocol {
            Protocol::Hls => "HLS",
            Protocol::Dash => "DASH",
            Protocol::Other => "others",
        };
        write!(html, "{}{viewers} {name}", if at == 0 { ": " } else { ", " })?;
    }
    html.write_str("</dd>")?;
    if let (Some(p50), Some(p95)) = (audience.latency_p50_ms, audience.latency_p95_ms) {
        let [p50, p95] = [p50, p95].map(|ms| f64::from(ms) / 1_000.0);
        write!(html, "<dt>Behind live</dt><dd>{p50:.1} s, 19 of 20 below {p95:.1} s</dd>")?;
    }
    if let Some(ratio) = audience.rebuffer_ratio {
        write!(html, "<dt>Waiting for data</dt><dd>{:.2} % of the time</dd>", ratio * 100.0)?;
    }
    if let Some(rate) = audience.bitrate {
        write!(html, "<dt>Bit rate watched</dt><dd>{} on average</dd>", bitrate(rate))?;
    }
    html.write_str("</dl>")
}

/// How the source is coded.
fn source_facts(html: &mut String, source: &SourceStatus) -> fmt::Result {
    if let Some(gop) = source.gop_seconds {
        write!(html, "<dt>Key frames</dt><dd>every {gop:.2} s")?;
        match source.b_frames {
            Some(true) => html.write_str(", with B-frames")?,
            Some(false) => html.write_str(", no B-frames")?,
            None => {}
        }
        html.write_str("</dd>")?;
    }
    if let Some(skew) = source.av_skew_ms {
        let order = if skew < 0.0 { "behind" } else { "ahead of" };
        write!(html, "<dt>Sound</dt><dd>{:.0} ms {order} the picture</dd>", skew.abs())?;
    }
    if let Some(link) = &source.link {
        connection(html, link)?;
    }
    let faults = source.transport_faults.iter().map(|(kind, times)| (*kind, *times));
    counted(html, "Transport stream", faults)
}

/// How often things happened, each by its word; nothing where none did.
fn counted(
    html: &mut String,
    what: &str,
    counts: impl Iterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    let each: Vec<_> =
        counts.map(|(word, times)| format!("{times} {}", word.replace('_', " "))).collect();
    if each.is_empty() {
        return Ok(());
    }
    write!(html, "<dt>{what}</dt><dd>{}</dd>", Escaped(&each.join(", ")))
}

/// How the source's packets fare on their way.
fn connection(html: &mut String, link: &Link) -> fmt::Result {
    write!(
        html,
        "<dt>Connection</dt><dd>SRT, {:.1} ms there and back, {} ms latency of which {} ms are \
         filled",
        link.rtt_ms, link.latency_ms, link.buffer_ms
    )?;
    match link.encryption_bits {
        Some(bits) => write!(html, ", AES-{bits}")?,
        None => html.write_str(", not encrypted")?,
    }
    write!(
        html,
        "<br>{} of {} packets lost, {} sent again, {} never in time",
        link.lost, link.received, link.retransmitted, link.dropped
    )?;
    if link.undecrypted > 0 {
        write!(html, ", {} not decrypted", link.undecrypted)?;
    }
    html.write_str("</dd>")
}

/// What has happened lately, newest first; folded away unless something goes on.
fn events(html: &mut String, events: &[Event]) -> fmt::Result {
    if events.is_empty() {
        return Ok(());
    }
    let open = if events.iter().any(|event| event.ended.is_none()) { " open" } else { "" };
    write!(html, "<details class=\"events\"{open}><summary>Events</summary><ol>")?;
    for event in events.iter().rev().take(EVENTS) {
        let class = if event.ended.is_none() { " class=\"open\"" } else { "" };
        write!(html, "<li{class}><time>{}</time>", utc(event.at))?;
        match event.ended {
            None => html.write_str(" and still")?,
            Some(ended) if ended > event.at => {
                write!(html, " for {}", lasting(ended - event.at))?;
            }
            Some(_) => {}
        }
        write!(html, ": {}</li>", Escaped(&event.text))?;
    }
    html.write_str("</ol></details>")
}

/// The time of day in UTC, of milliseconds since the Unix epoch.
fn utc(millis: u64) -> String {
    let seconds = millis / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A length of time for people.
fn lasting(millis: u64) -> String {
    match millis {
        ..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{} s", millis / 1_000),
        120_000..7_200_000 => format!("{} min", millis / 60_000),
        _ => format!("{} h", millis / 3_600_000),
    }
}

fn state(health: Health) -> (&'static str, &'static str) {
    match health {
        Health::Idle => ("idle", "no publisher"),
        Health::Starting => ("starting", "starting"),
        Health::Live => ("live", "live"),
        Health::Holding => ("holding", "source lost, holding"),
        Health::Ended => ("ended", "ended"),
    }
}

fn bitrate(bits: u64) -> String {
    if bits >= 1_000_000 {
        format!("{}.{} Mb/s", bits / 1_000_000, bits % 1_000_000 / 100_000)
    } else {
        format!("{} kb/s", bits / 1_000)
    }
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
    <title>Headwater: operator</title><link rel=\"stylesheet\" href=\"/style.css\">\
    </head><body>";

//! Typed texts: what may stand behind a key, and what to say when something else does.
//!
//! Each reader takes the text and gives the value or a sentence that begins after `key: `.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr};

use ingest::secret::Secret;
use ingest::srt;
use packager::media::Name;
use packager::time::FrameRate;

use super::{Cores, Fallback};

mod path;
mod source;
pub(super) use path::{file, path, slate};
pub(super) use source::{program, repeat, source};

/// Longest name of a machine (RFC 1035 §2.3.4).
const MAX_HOST: usize = 253;
/// Longest key: RTMP and SRT carry it in short strings.
const MAX_KEY: usize = 256;
/// Smallest picture: below it H.264 encoders and players do odd things, and nobody watches.
pub(super) const MIN_HEIGHT: u16 = 96;
/// Largest picture: 4K, what the encoder's level limits are checked for.
pub(super) const MAX_HEIGHT: u16 = 2160;

/// Bitrates outside this are a slip of the unit: a rung can't be seen, or no line carries it.
const BITRATES: std::ops::RangeInclusive<u64> = 20_000..=100_000_000;

/// Channel names that would stand where a path of ours has a word of its own.
const RESERVED: [&str; 6] = ["from", "to", "time", "vod", "whip", "whep"];

/// Cores a machine may have for ladders; less than a tenth encodes nothing.
const CORES: std::ops::RangeInclusive<f64> = 0.1..=1024.0;

type Result<T> = std::result::Result<T, String>;

/// An address and port such as `0.0.0.0:8080`; port 0 lets the system choose.
pub(crate) fn address(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(|_| match text {
        "off" => "only [webrtc] can be \"off\"; an address on loopback such as \"127.0.0.1:1935\" \
                  keeps others out"
            .to_owned(),
        _ => format!("{text:?} is not an address and port such as \"0.0.0.0:8080\"{}", meant(text)),
    })
}

/// What would be right in the place of a text that is no address and port; empty where nobody knows.
fn meant(text: &str) -> String {
    if text.parse::<IpAddr>().is_ok() {
        return "; its port is missing".to_owned();
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    match (host, port.parse::<u16>()) {
        (_, Err(_)) => String::new(),
        ("" | "*", Ok(port)) => format!("; \"0.0.0.0:{port}\" is every address of this machine"),
        ("localhost", Ok(port)) => format!("; names are not looked up, write \"127.0.0.1:{port}\""),
        (_, Ok(_)) => "; names are not looked up".to_owned(),
    }
}

/// A name by which the operator's listener is asked for: no port, no scheme.
pub(super) fn host(text: &str) -> Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if text.is_empty() || text.len() > MAX_HOST || !text.chars().all(fits) {
        return Err(format!("{text:?} is no name of a machine, such as \"headwater.example.org\""));
    }
    Ok(text.to_owned())
}

/// An address, or `off`.
pub(super) fn address_or_off(text: &str) -> Result<Option<SocketAddr>> {
    if text == "off" { Ok(None) } else { address(text).map(Some) }
}

/// An address that others are told of, with a port or without one: then it is 0.
pub(super) fn advertised(text: &str) -> Result<SocketAddr> {
    let address = text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, 0)));
    // Browsers are told of it as it is, and can go neither to a wildcard nor to a group.
    let address = address.filter(|at| !at.ip().is_unspecified() && !at.ip().is_multicast());
    address.ok_or_else(|| {
        format!("{text:?} is no address such as \"203.0.113.5\" or \"203.0.113.5:8189\"")
    })
}

/// A STUN or TURN server's URI (RFC 7064, RFC 7065), fit for a header.
pub(super) fn ice_server(text: &str) -> Result<String> {
    let scheme = ["stun:", "stuns:", "turn:", "turns:"].iter().any(|s| text.starts_with(s));
    let fit = text.len() <= 256
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b','));
    if scheme && fit {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no URI such as \"stun:stun.example.org:3478\""))
    }
}

/// A number of things.
pub(super) fn count(text: &str, within: std::ops::RangeInclusive<u32>) -> Result<u32> {
    let count = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    count.filter(|count| within.contains(count)).ok_or_else(|| {
        format!("{text:?} is not a whole number from {} to {}", within.start(), within.end())
    })
}

/// A bucket's name.
pub(super) fn bucket(text: &str) -> Result<String> {
    let is_one =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    if (3..=63).contains(&text.len()) && text.bytes().all(is_one) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a bucket's name: 3 to 63 small letters, digits, dots and dashes"))
}

/// What keys begin with; with a slash at its end, unless it is empty.
pub(super) fn prefix(text: &str) -> Result<String> {
    let is_one = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/');
    let parts = text.trim_end_matches('/');
    if text.starts_with('/') || text.len() > 256 || !text.bytes().all(is_one) {
        return Err(format!(
            "{text:?} is not a prefix such as \"live/\": letters, digits, . - _ and /"
        ));
    }
    Ok(if parts.is_empty() { String::new() } else { format!("{parts}/") })
}

/// A place in a bucket, such as `s3://films/2026/`: the bucket, and what keys begin with.
pub(crate) fn s3_place(text: &str) -> Result<(String, String)> {
    let rest = text.strip_prefix("s3://");
    let rest = rest.ok_or_else(|| format!("{text:?} does not begin with s3://"))?;
    let (name, below) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((bucket(name)?, prefix(below)?))
}

/// A word of somebody else's, such as a region.
pub(super) fn word(text: &str) -> Result<String> {
    if !text.is_empty() && text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("a word of visible characters is expected".to_owned())
}

/// `yes` or `no`.
pub(crate) fn yes_or_no(text: &str) -> Result<bool> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("{text:?} is neither \"yes\" nor \"no\"")),
    }
}

/// Server-side encryption.
pub(super) fn encryption(text: &str) -> Result<String> {
    match text {
        "AES256" | "aws:kms" | "aws:kms:dsse" => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is neither \"AES256\" nor \"aws:kms\" nor \"aws:kms:dsse\"")),
    }
}

/// Cores for ladders: `auto`, `off`, or a number such as `3.5`.
pub(super) fn cores(text: &str) -> Result<Cores> {
    match text {
        "auto" => Ok(Cores::Auto),
        "off" => Ok(Cores::Off),
        _ => match text.parse::<f64>() {
            Ok(count) if CORES.contains(&count) => Ok(Cores::Count(count)),
            Ok(_) => Err(format!("{text:?} is not between {} and {}", CORES.start(), CORES.end())),
            Err(_) => Err(format!(
                "{text:?} is neither \"auto\" nor \"off\" nor a number such as \"3.5\""
            )),
        },
    }
}

/// A channel's name.
pub(super) fn channel_name(text: &str) -> Result<Name> {
    if RESERVED.contains(&text) {
        let words = RESERVED.join(", ");
        return Err(format!(
            "{text:?} is a reserved word, as addresses of ours have it; these are: {words}"
        ));
    }
    Name::parse(text).map_err(|why| why.to_string())
}

/// A length of time in milliseconds, such as `300ms`, `1.5s`, `10m`, `2h`, within `[min, max]`.
pub(crate) fn millis(text: &str, min: u64, max: u64) -> Result<u64> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 24 * 3_600_000)];
    let value = quantity(text, &units).ok_or_else(|| {
        format!("{text:?} is not a duration such as \"300ms\", \"2s\", \"10m\", \"1h\" or \"30d\"")
    })?;
    within(text, value, min, max, print_millis)
}

/// A stream key. The messages tell what is wrong with it, never the key.
pub(super) fn key(text: &str) -> Result<Secret> {
    if text.is_empty() {
        Err("a key is not empty; without one leave it out".to_owned())
    } else if text.len() > MAX_KEY {
        Err(format!("a key has at most {MAX_KEY} bytes"))
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        Err("a key is made of visible ASCII characters".to_owned())
    } else {
        Ok(Secret::new(text))
    }
}

/// A passphrase, in the lengths that SRT has for it. The messages never tell it.
pub(super) fn passphrase(text: &str) -> Result<Secret> {
    let lengths = srt::PASSPHRASE;
    if !lengths.contains(&text.len()) {
        let (least, most) = (lengths.start(), lengths.end());
        Err(format!("a passphrase has {least} to {most} characters"))
    } else if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        Err("a passphrase is made of visible ASCII characters and spaces".to_owned())
    } else {
        Ok(Secret::new(text))
    }
}

/// A number of bytes, such as `64MiB` or `500kB`, within `[min, max]`.
pub(super) fn bytes(text: &str, min: u64, max: u64) -> Result<u64> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let value = quantity(text, &units)
        .ok_or_else(|| format!("{text:?} is not a size such as \"64MiB\" or \"500kB\""))?;
    within(text, value, min, max, print_bytes)
}

/// Bits per second, such as `3M` or `800k`.
pub(super) fn bitrate(text: &str) -> Result<u32> {
    let units = [("k", 1_000), ("M", 1_000_000), ("", 1)];
    let value = quantity(text, &units)
        .ok_or_else(|| format!("{text:?} is not a bitrate such as \"3M\" or \"800k\""))?;
    let value = within(text, value, *BITRATES.start(), *BITRATES.end(), |bits| {
        format!("{}k", bits / 1_000)
    })
    .map_err(|message| match value {
        // What people write who think in kilobits or megabits.
        1..100 => format!("{message}; did you mean \"{value}M\"?"),
        100..20_000 => format!("{message}; did you mean \"{value}k\"?"),
        _ => message,
    })?;
    u32::try_from(value).map_err(|_| format!("{text:?} is too much"))
}

/// What a publisher may send: a bitrate such as `20M`, or `off` for no bound.
pub(super) fn max_bitrate(text: &str) -> Result<Option<u32>> {
    if text == "off" { Ok(None) } else { bitrate(text).map(Some) }
}

/// What becomes of a source that can't be packaged as it is: `refuse` or `encode`.
pub(super) fn fallback(text: &str) -> Result<Fallback> {
    match text {
        "refuse" => Ok(Fallback::Refuse),
        "encode" => Ok(Fallback::Encode),
        _ => Err(format!("expected \"refuse\" or \"encode\", found {text:?}")),
    }
}

/// Whether what a channel's window holds is kept when it ends: `window` or `never`.
pub(super) fn record(text: &str) -> Result<bool> {
    match text {
        "window" => Ok(true),
        "never" => Ok(false),
        _ => Err(format!("expected \"window\" or \"never\", found {text:?}")),
    }
}

/// The height of a rung such as `720p`.
pub(super) fn height(text: &str) -> Result<u16> {
    let number = text
        .strip_suffix('p')
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse::<u16>().ok());
    match number {
        Some(height) if (MIN_HEIGHT..=MAX_HEIGHT).contains(&height) && height.is_multiple_of(2) => {
            Ok(height)
        }
        Some(_) => Err(format!("{text:?} is not an even height from 96p to 2160p")),
        None => Err(format!("{text:?} is not a height such as \"720p\"")),
    }
}

/// A frame rate: `30`, `29.97`, `30000/1001`; one of the standard ones.
pub(super) fn frame_rate(text: &str) -> Result<FrameRate> {
    let found = match text.split_once('/') {
        Some((num, den)) => num.parse().ok().zip(den.parse().ok()),
        None => quantity(text, &[("", 1_000)]).map(|milli| (milli, 1_000)),
    };
    let found = found.and_then(|(frames, seconds)| FrameRate::standard(frames, seconds));
    found.ok_or_else(|| {
        let known: Vec<_> = FrameRate::STANDARD.into_iter().map(print_rate).collect();
        format!("{text:?} is not a frame rate; there are {}", known.join(", "))
    })
}

/// A URL that links can be made from: scheme and host, a path at most.
pub(super) fn public_url(text: &str) -> Result<String> {
    url(text, "https://live.example.org")
}

/// The address of a store that is not AWS's.
pub(crate) fn endpoint(text: &str) -> Result<String> {
    url(text, "https://s3.example.org")
}

fn url(text: &str, such_as: &str) -> Result<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let clean = |rest: &&str| {
        let host = rest.split('/').next().unwrap_or_default();
        !host.is_empty()
            && !rest
                .contains(|c: char| c.is_whitespace() || matches!(c, '?' | '#' | '"' | '<' | '>'))
    };
    match rest.filter(clean) {
        Some(_) => Ok(text.trim_end_matches('/').to_owned()),
        None => Err(format!("{text:?} is not a URL such as {such_as:?}")),
    }
}

/// A frame rate as people write it: `30`, `29.97`.
pub(crate) fn print_rate(rate: FrameRate) -> String {
    let milli = milli_rate(rate);
    decimal(milli, 1_000)
}

/// A length of time in its largest whole unit.
pub(crate) fn print_millis(millis: u64) -> String {
    match millis {
        0 => "0s".to_owned(),
        m if m.is_multiple_of(3_600_000) => format!("{}h", m / 3_600_000),
        m if m.is_multiple_of(60_000) => format!("{}m", m / 60_000),
        m if m >= 1_000 => format!("{}s", decimal(m, 1_000)),
        m => format!("{m}ms"),
    }
}

/// A size in its largest whole binary unit.
pub(crate) fn print_bytes(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}

/// `value / unit` with up to three decimals, none where it is whole.
fn decimal(value: u64, unit: u64) -> String {
    let unit = unit.max(1);
    let text = format!("{}.{:03}", value / unit, (value % unit).saturating_mul(1_000) / unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn milli_rate(rate: FrameRate) -> u64 {
    u64::from(rate.num).saturating_mul(1_000) / u64::from(rate.den.max(1))
}

fn within(
    text: &str,
    value: u64,
    min: u64,
    max: u64,
    print: impl Fn(u64) -> String,
) -> Result<u64> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{text:?} is not within {} and {}", print(min), print(max)))
    }
}

/// Reads `12`, `1.5` and a unit into a whole number of the smallest unit; `None` for anything
/// else, also for what is not whole or does not fit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let scale = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // More than nine decimals are a slip, not a wish.
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let tens = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(scale)?;
    if !part.is_multiple_of(tens) {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(part.checked_div(tens)?)
}

//! What single answers look like: CORS, compression, ranges, Cache-Control; and HTTP/2.

use hyper::Method;

use super::super::channel::{Channel, Playlist};
use super::super::check::Check;
use super::super::client::{Error, Reply};
use super::super::report::Finding;
use super::{lifetime, told};

/// A page of another site, that the probes' questions come from.
const ORIGIN: (&str, &str) = ("origin", "https://another-site.invalid");
/// Segments ahead of the live edge: an error that everybody agrees on.
const FAR_AHEAD: u64 = 200_000;
/// The longest a plain live playlist may be kept, and a multivariant, in seconds.
const LONGEST: [u64; 2] = [1, 30];

pub(super) async fn probe(channel: &Channel, list: &Playlist) -> Vec<Finding> {
    let checks = [
        (Check::Cors, cors(channel, list).await),
        (Check::Encoding, encoding(channel).await),
        (Check::Range, range(channel, list).await),
        (Check::Rules, rules(channel, list).await),
        (Check::Http2, http2(channel).await),
    ];
    let finding = |(check, outcome): (Check, Result<Finding, Error>)| {
        outcome.unwrap_or_else(|error| Finding::unknown(check, told(&error)))
    };
    checks.into_iter().map(finding).collect()
}

/// An object that stays: the init segment, else the newest segment.
fn media(channel: &Channel, list: &Playlist) -> Option<String> {
    list.init.as_ref().or_else(|| list.segments.last()).and_then(|uri| channel.path(uri))
}

async fn cors(channel: &Channel, list: &Playlist) -> Result<Finding, Error> {
    let client = &channel.client;
    let playlist = channel.playlist.path();
    let range = ("range", "bytes=0-9");
    let mut answers = vec![
        ("a playlist", client.get_with(playlist, &[ORIGIN]).await?),
        (
            "a preflight",
            client
                .ask(Method::OPTIONS, playlist, &[ORIGIN, ("access-control-request-method", "GET")])
                .await?,
        ),
    ];
    if let Some(path) = media(channel, list) {
        answers.push(("media", client.get_with(&path, &[ORIGIN]).await?));
        answers.push(("a range", client.get_with(&path, &[ORIGIN, range]).await?));
    }
    if let Some(path) = channel.segment(list, list.open() + FAR_AHEAD) {
        answers.push(("media that is not there", client.get_with(&path, &[ORIGIN]).await?));
    }
    let bad = format!("{playlist}?_HLS_msn=-1");
    answers.push(("a bad request", client.get_with(&bad, &[ORIGIN]).await?));
    let wrong: Vec<_> = answers.iter().filter_map(|(what, reply)| closed(what, reply)).collect();
    Ok(if wrong.is_empty() {
        Finding::good(Check::Cors, format!("open on all of {} kinds of answers", answers.len()))
    } else {
        Finding::fault(Check::Cors, wrong.join("; "))
    })
}

/// Why scripts of other sites can't read an answer.
fn closed(what: &str, reply: &Reply) -> Option<String> {
    let status = reply.status.as_u16();
    let values: Vec<_> = reply.headers.get_all("access-control-allow-origin").iter().collect();
    match values.as_slice() {
        [] => Some(format!("{what} ({status}) has no Access-Control-Allow-Origin")),
        [one] if one.as_bytes() == b"*" || one.as_bytes() == ORIGIN.1.as_bytes() => None,
        [one] => Some(format!("{what} ({status}) has Access-Control-Allow-Origin {one:?}")),
        _ => Some(format!("{what} ({status}) has Access-Control-Allow-Origin twice")),
    }
}

async fn encoding(channel: &Channel) -> Result<Finding, Error> {
    let client = &channel.client;
    let path = channel.playlist.path();
    let packed = client.get_with(path, &[("accept-encoding", "gzip")]).await?;
    let plain = client.get_with(path, &[("accept-encoding", "identity")]).await?;
    let coding = packed.header("content-encoding").unwrap_or("none");
    if plain.header("content-encoding").is_some_and(|coding| coding != "identity") {
        let measured = "a viewer that reads no gzip was sent it";
        return Ok(Finding::fault(Check::Encoding, measured));
    }
    if !packed.text().starts_with("#EXTM3U") {
        let measured = format!("a playlist with Content-Encoding {coding} can't be read");
        return Ok(Finding::fault(Check::Encoding, measured));
    }
    if coding == "none" {
        let measured = format!("playlists are sent in {} bytes, not compressed", packed.body.len());
        return Ok(Finding::fault(Check::Encoding, measured));
    }
    // As browsers write it: to be the same copy, where copies live for longer than it takes to ask.
    let path = channel.multivariant.path();
    let one = client.get_with(path, &[("accept-encoding", "gzip")]).await?;
    let other = client.get_with(path, &[("accept-encoding", "gzip, deflate, br, zstd")]).await?;
    let sizes = format!("{} of {} bytes", packed.body.len(), plain.body.len());
    let varies = packed
        .header("vary")
        .is_some_and(|vary| vary.to_ascii_lowercase().contains("accept-encoding"));
    Ok(if !varies {
        let measured = format!("{coding}, {sizes}; there is no Vary: Accept-Encoding");
        Finding::limit(Check::Encoding, measured)
    } else if one.origin_id().is_some() && one.origin_id() != other.origin_id() {
        let measured = format!("{coding}, {sizes}; each spelling of Accept-Encoding is a copy");
        Finding::limit(Check::Encoding, measured)
    } else {
        Finding::good(Check::Encoding, format!("{coding}, {sizes}"))
    })
}

async fn range(channel: &Channel, list: &Playlist) -> Result<Finding, Error> {
    let Some(path) = media(channel, list) else {
        return Ok(Finding::unknown(Check::Range, "the playlist names no media"));
    };
    let whole = channel.client.get(&path).await?;
    let some = channel.client.get_with(&path, &[("range", "bytes=10-29")]).await?;
    let wanted = whole.body.get(10..30);
    let stated = format!("bytes 10-29/{}", whole.body.len());
    Ok(match some.status.as_u16() {
        206 if wanted == Some(&some.body[..]) && some.header("content-range") == Some(&stated) => {
            Finding::good(Check::Range, "served")
        }
        206 => Finding::fault(
            Check::Range,
            format!(
                "bytes=10-29 was answered with {} bytes and Content-Range {:?}",
                some.body.len(),
                some.header("content-range").unwrap_or("none")
            ),
        ),
        200 if some.body == whole.body => {
            Finding::limit(Check::Range, "ignored: the whole is sent")
        }
        status => Finding::fault(Check::Range, format!("answered with status {status}")),
    })
}

async fn rules(channel: &Channel, list: &Playlist) -> Result<Finding, Error> {
    let client = &channel.client;
    let mut wrong = Vec::new();
    let rule = |reply: &Reply| reply.header("cache-control").unwrap_or("none").to_owned();
    let texts = [channel.playlist.path(), channel.multivariant.path()];
    for (path, longest) in texts.into_iter().zip(LONGEST) {
        let reply = client.get(path).await?;
        if lifetime(&reply).is_none_or(|lifetime| lifetime.as_secs() > longest) {
            wrong.push(format!("{path} has Cache-Control {:?}", rule(&reply)));
        }
    }
    if let Some(path) = media(channel, list) {
        let reply = client.get(&path).await?;
        if !rule(&reply).contains("immutable") {
            wrong.push(format!("{path} has Cache-Control {:?}", rule(&reply)));
        }
    }
    Ok(if wrong.is_empty() {
        Finding::good(Check::Rules, "Cache-Control comes through")
    } else {
        Finding::fault(Check::Rules, wrong.join("; "))
    })
}

async fn http2(channel: &Channel) -> Result<Finding, Error> {
    Ok(match channel.client.speaks_http2().await? {
        Some(true) => Finding::good(Check::Http2, "offered"),
        Some(false) => Finding::limit(Check::Http2, "not offered"),
        None => Finding::limit(Check::Http2, "not without TLS: this is an http address"),
    })
}

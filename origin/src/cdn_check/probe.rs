//! The probes: each asks the edge a few things and judges the answers.
//!
//! They run one after the other, because one measures what another's load would change; only the
//! errors, which have to be waited for, are looked at beside them. A probe that needs to know what
//! reached the origin says that it can't where the edge takes the answer's id away.

use std::time::Duration;

use super::channel::{self, Channel, Playlist, Position};
use super::check::Check;
use super::client::{Error, Reply};
use super::report::Finding;

mod answers;
mod caching;
mod crowd;
mod errors;
mod growing;

/// Reloads that are made to be at the live edge, whatever a playlist out of the cache said.
const RELOADS: usize = 3;

/// Probes everything; findings in the order of [`Check`].
///
/// # Errors
/// There is no live channel.
pub(super) async fn all(channel: &Channel, viewers: u16) -> Result<Vec<Finding>, channel::Error> {
    let (list, reply) = channel.now().await?;
    let id = reply.origin_id().is_some();
    let mut findings = vec![if id {
        Finding::good(Check::AnswerId, "comes through")
    } else {
        Finding::fault(Check::AnswerId, "Headwater-Answer is missing on a playlist")
    }];
    let rest = async {
        let mut found = caching::probe(channel, &list).await;
        found.extend(crowd::probe(channel, &list, viewers).await);
        found.push(growing::probe(channel, &list).await);
        found.extend(answers::probe(channel, &list).await);
        found
    };
    let (errors, rest) = tokio::join!(errors::probe(channel, &list), rest);
    findings.push(errors);
    findings.extend(rest);
    if !id {
        for finding in &mut findings {
            if NEED_IDS.contains(&finding.check) {
                *finding = Finding::unknown(finding.check, "needs Headwater-Answer");
            }
        }
    }
    findings.sort_by_key(|finding| finding.check);
    Ok(findings)
}

/// Checks that can't be made where answers have no id.
const NEED_IDS: [Check; 6] =
    [Check::Caching, Check::Collapsing, Check::Key, Check::Junk, Check::Errors, Check::Age];

/// What an answer out of a playlist's address turned out to be.
enum Reload {
    /// The playlist.
    List(Box<Playlist>, Box<Reply>),
    /// Something else.
    Other(String),
}

/// Reloads a playlist that is to have a part; waits for it.
async fn reload(channel: &Channel, wanted: Position) -> Reload {
    match channel.client.get(&channel.waiting_for(wanted)).await {
        Err(error) => Reload::Other(told(&error)),
        Ok(reply) if reply.status != 200 => Reload::Other(refused(&reply)),
        Ok(reply) => match Playlist::parse(&reply.text()) {
            Some(list) => Reload::List(Box::new(list), Box::new(reply)),
            None => Reload::Other("an answer that is no playlist".into()),
        },
    }
}

/// The playlist at the live edge: an answer that was waited for, or else the newest that comes.
async fn at_the_edge(channel: &Channel, list: &Playlist) -> Playlist {
    let mut list = list.clone();
    if list.blocking {
        for _ in 0..RELOADS {
            let wanted = list.next();
            match reload(channel, wanted).await {
                Reload::List(newer, reply) => {
                    let waited = reply.began > AT_ONCE;
                    if newer.next() > list.next() {
                        list = *newer;
                    }
                    if waited {
                        break;
                    }
                }
                Reload::Other(_) => break,
            }
        }
    }
    list
}

/// An answer that took longer than this was waited for by the origin: no network between an edge and
/// its origin is so slow, and no part so short.
const AT_ONCE: Duration = Duration::from_millis(80);

/// An answer that is not what was asked for, in words.
fn refused(reply: &Reply) -> String {
    let who = if reply.origin_id().is_some() { "the origin's" } else { "the edge's own" };
    format!("{who} status {} after {}", reply.status.as_u16(), super::spoken(reply.ended))
}

/// An error with its cause, in words.
fn told(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The time an answer may be kept for, by its Cache-Control.
fn lifetime(reply: &Reply) -> Option<Duration> {
    let rule = reply.header("cache-control")?;
    let mut directives = rule.split(',').map(str::trim);
    if directives.clone().any(|d| matches!(d, "no-store" | "no-cache" | "private")) {
        return Some(Duration::ZERO);
    }
    let seconds = directives.find_map(|d| d.strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// A parameter that no cache should look at, different each time.
fn junk() -> String {
    use std::hash::{BuildHasher as _, Hasher as _};
    // A hasher of the standard library has random keys: enough to be new to every cache.
    let value = std::hash::RandomState::new().build_hasher().finish();
    format!("CMCD=sid%3D%22{value:016x}%22")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_for_how_long_it_may_be_kept() {
        for (rule, expected) in [
            ("public, max-age=31536000, immutable", Some(31_536_000)),
            ("max-age=1", Some(1)),
            ("no-store", Some(0)),
            ("max-age=60, private", Some(0)),
            ("immutable", None),
            ("max-age=soon", None),
        ] {
            let lifetime = lifetime(&Reply::made(&[("cache-control", rule)], &[]));
            assert_eq!(lifetime, expected.map(Duration::from_secs), "{rule}");
        }
        assert_eq!(lifetime(&Reply::made(&[], &[])), None);
    }

    #[test]
    fn junk_is_never_the_same() {
        assert_ne!(junk(), junk());
    }
}

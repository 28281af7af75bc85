//! Blocking playlist reload: whether the parameters count, whether a crowd becomes one request, and
//! whether the edge waits for as long as it takes.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::channel::{Channel, Playlist, Position};
use super::super::check::Check;
use super::super::client::Reply;
use super::super::report::Finding;
use super::super::spoken;
use super::{Reload, at_the_edge, refused, reload, told};

/// From first to last viewer of the same answer, beyond which viewers notice.
const SPREAD: Duration = Duration::from_millis(100);
/// More requests at the origin than one in so many viewers is a crowd there.
const CROWD: usize = 5;

pub(super) async fn probe(channel: &Channel, list: &Playlist, viewers: u16) -> Vec<Finding> {
    let list = at_the_edge(channel, list).await;
    let key = key(channel, &list).await;
    let list = at_the_edge(channel, &list).await;
    let collapsing = collapsing(channel, &list, viewers).await;
    let list = at_the_edge(channel, &list).await;
    vec![key, collapsing, hold(channel, &list).await]
}

/// Whether a playlist that is waited for has what it was asked for, and is not the plain one.
async fn key(channel: &Channel, list: &Playlist) -> Finding {
    let client = &channel.client;
    let plain = match client.get(channel.playlist.path()).await {
        Ok(plain) => plain,
        Err(error) => return Finding::unknown(Check::Key, told(&error)),
    };
    let id = plain.origin_id();
    let skip = match client.get(&format!("{}?_HLS_skip=YES", channel.playlist.path())).await {
        Ok(skip) => skip,
        Err(error) => return Finding::unknown(Check::Key, told(&error)),
    };
    if skip.origin_id() == id {
        return Finding::fault(
            Check::Key,
            "the playlist with _HLS_skip=YES is the copy of the one without",
        );
    }
    if !list.blocking {
        return Finding::good(Check::Key, "_HLS_skip is in the key; this channel has no parts");
    }
    let wanted = Playlist::parse(&plain.text()).map_or_else(|| list.next(), |l| l.next());
    match reload(channel, wanted).await {
        Reload::Other(what) => Finding::unknown(Check::Key, what),
        Reload::List(newer, _) if newer.has(wanted) => {
            Finding::good(Check::Key, "_HLS_msn, _HLS_part and _HLS_skip are in the key")
        }
        Reload::List(_, reply) => {
            let what = if reply.origin_id() == id {
                "is the copy of the one without"
            } else {
                "does not have that part: the parameters don't reach the origin"
            };
            let Position { msn, part } = wanted;
            let asked = format!("the playlist with _HLS_msn={msn}&_HLS_part={part}");
            Finding::fault(Check::Key, format!("{asked} {what}"))
        }
    }
}

/// How many requests of a crowd reach the origin.
async fn collapsing(channel: &Channel, list: &Playlist, viewers: u16) -> Finding {
    let Position { msn, part } = list.next();
    // Not the next part but the one after it: everybody has asked before it is there.
    let path = if list.blocking {
        channel.waiting_for(Position { msn, part: part + 1 })
    } else {
        channel.playlist.path().to_owned()
    };
    if !list.blocking {
        // What is in the cache now is to be too old by then.
        tokio::time::sleep(Duration::from_millis(1_300)).await;
    }
    let mut asking = JoinSet::new();
    for _ in 0..viewers {
        let (client, path) = (channel.client.clone(), path.clone());
        asking.spawn(async move { client.get(&path).await });
    }
    let mut answers = Vec::new();
    for answer in asking.join_all().await {
        match answer {
            Ok(reply) if reply.status == 200 => answers.push(reply),
            Ok(reply) => return Finding::unknown(Check::Collapsing, refused(&reply)),
            Err(error) => return Finding::unknown(Check::Collapsing, told(&error)),
        }
    }
    judge_crowd(&answers)
}

/// Judges the answers to one question of many viewers.
fn judge_crowd(answers: &[Reply]) -> Finding {
    let asked = answers.len();
    let reached: BTreeSet<_> = answers.iter().filter_map(Reply::origin_id).collect();
    let reached = reached.len();
    let first = answers.iter().map(|reply| reply.at).min();
    let last = answers.iter().map(|reply| reply.at).max();
    let spread = first.zip(last).map(|(first, last)| last - first).unwrap_or_default();
    let measured = format!(
        "{asked} viewers asked for the same playlist, {reached} of them reached the origin; the \
         last had it {} after the first",
        spoken(spread)
    );
    if reached > 1 && reached > asked / CROWD {
        Finding::fault(Check::Collapsing, measured)
    } else if reached > 1 || spread > SPREAD {
        Finding::limit(Check::Collapsing, measured)
    } else {
        Finding::good(Check::Collapsing, measured)
    }
}

/// Whether a request is waited for that the origin holds for as long as a channel in good order lets
/// it: until the segment after the one that is being written is whole.
async fn hold(channel: &Channel, list: &Playlist) -> Finding {
    if !list.blocking {
        return Finding::unknown(Check::Hold, "this channel's playlists can't be waited for");
    }
    let msn = list.open() + 1;
    let path = format!("{}?_HLS_msn={msn}", channel.playlist.path());
    let longest = spoken(list.target * 3);
    match channel.client.get(&path).await {
        Err(error) => Finding::fault(Check::Hold, told(&error)),
        Ok(reply) if reply.status == 200 => {
            let there = Playlist::parse(&reply.text()).is_some_and(|l| l.open() > msn);
            if there {
                let waited = spoken(reply.ended);
                let measured =
                    format!("waited {waited} for an answer; the origin may take {longest}");
                Finding::good(Check::Hold, measured)
            } else {
                Finding::unknown(Check::Hold, "was not waited for: see key")
            }
        }
        Ok(reply) if reply.origin_id().is_some() => Finding::unknown(Check::Hold, refused(&reply)),
        Ok(reply) => {
            let measured = format!("{}; the origin may take {longest}", refused(&reply));
            Finding::fault(Check::Hold, measured)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::report::Level;
    use super::*;

    /// Twenty viewers whose answers were made of `reached` requests, the last of them so much later.
    fn level(reached: usize, spread: Duration) -> Level {
        let mut answers: Vec<_> = (0..20)
            .map(|viewer| {
                let id = format!("{}", viewer % reached);
                Reply::made(&[("headwater-answer", id.as_str())], &[300])
            })
            .collect();
        let first = answers[0].at;
        answers.iter_mut().for_each(|answer| answer.at = first);
        answers[19].at = first + spread;
        judge_crowd(&answers).level
    }

    #[test]
    fn a_crowd_is_one_request_and_is_answered_at_once() {
        assert_eq!(level(1, Duration::from_millis(5)), Level::Good);
        assert_eq!(level(1, Duration::from_millis(480)), Level::Limit, "a lock that polls");
        assert_eq!(level(3, Duration::from_millis(5)), Level::Limit, "several caches");
        assert_eq!(level(20, Duration::from_millis(5)), Level::Fault);
    }
}

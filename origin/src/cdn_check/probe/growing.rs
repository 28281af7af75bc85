//! A segment that is being written: whether its bytes come as they are made, to more than one viewer.

use std::time::Duration;

use super::super::channel::{Channel, Playlist};
use super::super::check::Check;
use super::super::client::Reply;
use super::super::report::Finding;
use super::super::spoken;
use super::{Reload, reload, told};

/// Reloads within which a new segment begins: more than the parts of the longest.
const RELOADS: usize = 40;
/// Bytes that come within this of each other are one piece: a part is never shorter than 200 ms.
const PIECE: Duration = Duration::from_millis(60);
/// How much later the second viewer asks.
const BEHIND: Duration = Duration::from_millis(50);

pub(super) async fn probe(channel: &Channel, list: &Playlist) -> Finding {
    if !list.blocking {
        return Finding::unknown(Check::Growing, "this channel has no parts");
    }
    // The first part of a new segment is the moment to ask for it.
    let mut list = list.clone();
    for _ in 0..RELOADS {
        match reload(channel, list.next()).await {
            Reload::Other(what) => return Finding::unknown(Check::Growing, what),
            Reload::List(newer, _) => {
                let moved = newer.next() > list.next();
                let began = moved && newer.open_parts.len() <= 1;
                // An edge that answers without waiting must not be asked without a pause.
                if !moved {
                    tokio::time::sleep(PIECE).await;
                }
                list = *newer;
                if began {
                    break;
                }
            }
        }
    }
    let Some(path) = channel.segment(&list, list.open()) else {
        return Finding::unknown(Check::Growing, "the playlist names no segment");
    };
    let first = channel.client.get(&path);
    let second = async {
        tokio::time::sleep(BEHIND).await;
        channel.client.get(&path).await
    };
    match tokio::join!(first, second) {
        (Ok(first), Ok(second)) => judge(&first, &second, list.part_target.unwrap_or_default()),
        (Err(error), _) | (_, Err(error)) => Finding::unknown(Check::Growing, told(&error)),
    }
}

/// Judges the answers to two viewers who asked for a segment when it had its first part.
fn judge(first: &Reply, second: &Reply, part: Duration) -> Finding {
    for reply in [first, second] {
        if reply.status != 200 {
            return Finding::unknown(Check::Growing, super::refused(reply));
        }
    }
    if first.header("etag").is_some() && first.header("content-length").is_some() {
        let what = "the origin answered with the whole segment: it was too late to see it grow";
        return Finding::unknown(Check::Growing, what);
    }
    let grew = |reply: &Reply| pieces(reply) > 1;
    // Nothing for longer than a part takes, and then all of it.
    let held = |reply: &Reply| !grew(reply) && first_byte(reply) >= part;
    let measured = |name: &str, reply: &Reply| {
        format!(
            "{name} had its first byte after {} and the last after {}, in {} pieces",
            spoken(first_byte(reply)),
            spoken(reply.ended),
            pieces(reply)
        )
    };
    let told =
        format!("{}; {}", measured("the first viewer", first), measured("the second", second));
    if first.body != second.body {
        return Finding::fault(Check::Growing, "two viewers were sent different bytes");
    }
    if held(first) || held(second) {
        return Finding::fault(Check::Growing, format!("held until it is whole: {told}"));
    }
    if !grew(first) || !grew(second) {
        return Finding::unknown(Check::Growing, format!("too late to see it grow: {told}"));
    }
    if first.origin_id() == second.origin_id() {
        Finding::good(Check::Growing, told)
    } else {
        Finding::limit(Check::Growing, format!("{told}; each of them reached the origin"))
    }
}

fn first_byte(reply: &Reply) -> Duration {
    reply.pieces.first().map_or(reply.ended, |(at, _)| *at)
}

/// How many times bytes came.
fn pieces(reply: &Reply) -> usize {
    let times = reply.pieces.iter().map(|(at, _)| *at);
    let mut count = 0;
    let mut last: Option<Duration> = None;
    for at in times {
        if last.is_none_or(|last| at - last > PIECE) {
            count += 1;
        }
        last = Some(at);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::super::super::report::Level;
    use super::*;

    const PART: Duration = Duration::from_millis(300);
    const GREW: &[u64] = &[5, 6, 300, 301, 600, 900];
    const HELD: &[u64] = &[900, 901, 902, 903, 904, 905];

    fn of(id: &str, pieces: &[u64]) -> Reply {
        Reply::made(&[("headwater-answer", id)], pieces)
    }

    fn level(first: &Reply, second: &Reply) -> Level {
        judge(first, second, PART).level
    }

    #[test]
    fn a_body_that_comes_as_it_is_made_is_good_if_it_is_shared() {
        assert_eq!(level(&of("a", GREW), &of("a", GREW)), Level::Good);
        assert_eq!(level(&of("a", GREW), &of("b", GREW)), Level::Limit);
    }

    #[test]
    fn a_body_that_is_held_from_either_viewer_is_a_fault() {
        assert_eq!(level(&of("a", HELD), &of("a", HELD)), Level::Fault);
        assert_eq!(level(&of("a", GREW), &of("a", HELD)), Level::Fault);
    }

    #[test]
    fn a_body_that_was_whole_when_it_was_asked_for_tells_nothing() {
        let whole = [("headwater-answer", "a"), ("etag", "\"x\""), ("content-length", "60")];
        let whole = Reply::made(&whole, HELD);
        assert_eq!(level(&whole, &whole), Level::Unknown);
        let late = of("a", &[5, 6, 7, 8, 9, 10]);
        assert_eq!(level(&late, &late), Level::Unknown);
    }

    #[test]
    fn bytes_that_differ_are_a_fault() {
        assert_eq!(level(&of("a", GREW), &of("a", &[5, 300])), Level::Fault);
    }
}

//! What is kept, under which key, for how long, and whether its age is told.

use std::time::Duration;

use tokio::time::{sleep, sleep_until};

use super::super::channel::{Channel, Playlist};
use super::super::check::Check;
use super::super::client::{Client, Error, Reply};
use super::super::report::Finding;
use super::super::spoken;
use super::{junk, lifetime, told};

/// Requests within which an immutable object is to come out of a cache: an edge may be several
/// machines with a cache each.
const TRIES: usize = 5;
/// Age counts whole seconds, so that it takes more than two to see it move.
const AGEING: Duration = Duration::from_millis(2_300);
/// What rounding to whole seconds, at two places, and a slow answer make of an age.
const AGE_SLACK: f64 = 2.0;
/// How much longer than it may a playlist is kept before that is a fault: two roundings to seconds.
const FRESH_SLACK: Duration = Duration::from_millis(1_500);
/// The lifetime that the origin gives a plain live playlist.
const PLAIN: Duration = Duration::from_secs(1);
/// How often a playlist is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

pub(super) async fn probe(channel: &Channel, list: &Playlist) -> Vec<Finding> {
    let client = &channel.client;
    let newest = list.init.as_ref().or_else(|| list.segments.last());
    let Some(path) = newest.and_then(|uri| channel.path(uri)) else { return Vec::new() };
    let mut found = match kept(client, &path).await {
        Err(error) => {
            let told = told(&error);
            vec![
                Finding::unknown(Check::Caching, told.clone()),
                Finding::unknown(Check::Age, told.clone()),
                Finding::unknown(Check::Junk, told),
            ]
        }
        Ok((caching, None)) => vec![
            caching,
            Finding::unknown(Check::Age, "nothing was kept"),
            Finding::unknown(Check::Junk, "nothing was kept"),
        ],
        Ok((caching, Some(copy))) => {
            let junk = ignored(client, &path, &copy).await;
            vec![caching, age(client, &path, &copy).await, junk]
        }
    };
    found.push(fresh(channel).await);
    found
}

/// Whether an immutable object is kept, and a copy of it.
async fn kept(client: &Client, path: &str) -> Result<(Finding, Option<Reply>), Error> {
    let first = client.get(path).await?;
    let mut seen = vec![first.origin_id().map(str::to_owned)];
    for asked in 2..=TRIES {
        let reply = client.get(path).await?;
        let id = reply.origin_id().map(str::to_owned);
        if id.is_some() && seen.contains(&id) {
            let finding = match asked {
                2 => Finding::good(Check::Caching, "media are kept"),
                _ => Finding::limit(
                    Check::Caching,
                    format!("media are kept, by {} caches beside each other", seen.len()),
                ),
            };
            return Ok((finding, Some(reply)));
        }
        seen.push(id);
    }
    let measured =
        format!("an init segment was asked for {TRIES} times, and each reached the origin");
    Ok((Finding::fault(Check::Caching, measured), None))
}

/// Whether a parameter of nobody's makes another object of the same path.
async fn ignored(client: &Client, path: &str, copy: &Reply) -> Finding {
    // Twice: an edge of several caches may give another one's copy the first time.
    for _ in 0..2 {
        match client.get(&format!("{path}?{}", junk())).await {
            Ok(reply) if reply.origin_id() == copy.origin_id() => {
                return Finding::good(Check::Junk, "other parameters are no part of the key");
            }
            Ok(_) => {}
            Err(error) => return Finding::unknown(Check::Junk, told(&error)),
        }
    }
    match client.get(path).await {
        Ok(again) if again.origin_id() == copy.origin_id() => Finding::fault(
            Check::Junk,
            "the same media with ?CMCD=… reached the origin again, though there was a copy",
        ),
        _ => Finding::unknown(Check::Junk, "copies don't stay for long enough"),
    }
}

/// Whether a copy tells its age.
async fn age(client: &Client, path: &str, copy: &Reply) -> Finding {
    sleep_until(copy.at + AGEING).await;
    let later = match client.get(path).await {
        Ok(later) => later,
        Err(error) => return Finding::unknown(Check::Age, told(&error)),
    };
    if later.origin_id() != copy.origin_id() {
        return Finding::unknown(Check::Age, "copies don't stay for long enough");
    }
    let apart = (later.at - copy.at).as_secs_f64();
    let ages = (seconds(copy), seconds(&later));
    match ages {
        (_, None)
            if later.header("date").is_some() && later.header("date") == copy.header("date") =>
        {
            Finding::limit(Check::Age, "there is no Age; Date is the origin's and tells it")
        }
        (_, None) => Finding::fault(Check::Age, "there is no Age, and Date is the edge's own"),
        (before, Some(after)) => {
            let counted = after - before.unwrap_or(0.0);
            let measured = format!("Age went up by {counted} s in {apart:.1} s");
            let right = match before {
                Some(_) => (counted - apart).abs() <= AGE_SLACK,
                // The first answer may have come with the copy.
                None => counted + AGE_SLACK >= apart,
            };
            if right && after >= 1.0 {
                Finding::good(Check::Age, measured)
            } else {
                Finding::fault(Check::Age, measured)
            }
        }
    }
}

fn seconds(reply: &Reply) -> Option<f64> {
    reply.header("age")?.trim().parse::<u32>().ok().map(f64::from)
}

/// Whether a live playlist moves on when its time is up.
async fn fresh(channel: &Channel) -> Finding {
    let (list, first) = match channel.now().await {
        Ok(now) => now,
        Err(error) => return Finding::unknown(Check::Fresh, error.to_string()),
    };
    let text = first.text();
    // Whatever an edge makes of the rule for those behind it: see the check of rules.
    let allowed = lifetime(&first).unwrap_or_default().min(PLAIN);
    // A segment is at most 1.5 times its nominal length, which is what TARGETDURATION says.
    let bound = allowed + list.target + FRESH_SLACK;
    loop {
        sleep(LOOK_EVERY).await;
        match channel.now().await {
            Ok((_, reply)) => {
                let after = reply.at - first.at;
                if reply.text() != text {
                    let rule = first.header("cache-control").unwrap_or("no Cache-Control");
                    let measured = format!("moved on within {} ({rule})", spoken(after));
                    return Finding::good(Check::Fresh, measured);
                }
                if after > bound {
                    let measured = format!(
                        "a live playlist was the same for {}, where a new segment is due every {} \
                         at most",
                        spoken(after),
                        spoken(list.target)
                    );
                    return match reply.origin_id() == first.origin_id() {
                        true => Finding::fault(Check::Fresh, measured),
                        false => Finding::unknown(
                            Check::Fresh,
                            format!("{measured}; it is the origin that says so"),
                        ),
                    };
                }
            }
            Err(error) => return Finding::unknown(Check::Fresh, error.to_string()),
        }
    }
}

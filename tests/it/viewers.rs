//! Viewers by the hundred, and hostile ones, beside those who just watch.

use std::time::Duration;

use harness::hostile::viewers::{self, Sloth};
use harness::load::{Answers, Crowd};
use harness::publisher::Source;
use harness::reader::hls;
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::machine;
use harness::witness::{Watch, Witness};
use harness::{Context, Failure, Result};
use packager::time::FrameRate;

const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
/// What a slow viewer is given: ten seconds and what a loaded machine adds, and for one that does not
/// read an idle connection's time after it.
const SLOW_FOR: Duration = Duration::from_secs(60);
/// Requests that wait for a segment are answered within two of them.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// A channel whose viewers may hold little. Those who watch it all the time are trusted.
fn town(lines: &str) -> Result<(Server, harness::publisher::Publisher, Witness)> {
    let channel = ChannelConfig::tiny("a").with_ladder(&["96p"]);
    let server = Server::start_with(&[channel], &format!("trusted = [\"127.0.0.1\"]\n{lines}"))?;
    let source = Source::tiny(FrameRate::new(25, 1));
    let publisher = source.publish(&server.publish_url("a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    server.wait_more("a", 1)?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    Ok((server, publisher, witness))
}

/// The path of the newest listed segment, and of the one after the one that is being made.
fn segments(server: &Server) -> Result<(String, String)> {
    let lists = hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))?;
    let (_, list) = lists.first().context("a media playlist")?;
    let newest = list.objects.last().context("a segment")?;
    let url = newest.url.strip_prefix(&server.url("")).context("a URL of the server's")?;
    let next = url.replace(&format!("/{}.m4s", newest.k), &format!("/{}.m4s", newest.k + 2));
    Ok((url.to_owned(), next))
}

/// A number of the server's metrics; zero if it is not there yet.
fn metric(server: &Server, line: &str) -> Result<u64> {
    let text = server.client.text(&server.admin_url("/metrics"))?;
    let value = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
    Ok(value.unwrap_or(0))
}

/// Every refusal is one that a player understands and no cache keeps.
fn graceful(answers: &Answers) {
    let refused = answers.heads.get(&503).map(|head| head.to_ascii_lowercase()).unwrap();
    for line in ["cache-control: no-store", "retry-after: 1", "access-control-allow-origin: *"] {
        assert!(refused.contains(line), "{line} is not in {refused}");
    }
}

/// `count` viewers wait where `connections` may connect and `waiting` may wait.
pub(crate) fn crowded(connections: u64, waiting: u64, count: u64) -> Result {
    let (server, mut publisher, witness) = town(&format!(
        "connections = \"{connections}\"\nwaiting = \"{waiting}\"\n\
         connections_per_address = \"100\"\nwaiting_per_address = \"100\"\n"
    ))?;
    let (_, next) = segments(&server)?;
    let request = format!("GET {next} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answers = Crowd::ask(server.http, &request, count)?.answers(ANSWERED_WITHIN)?;
    println!("{:?}, the last {:?} after the first", answers.statuses, answers.spread);
    let of = |status| answers.statuses.get(&status).copied().unwrap_or(0);
    // Who comes when the segment is there is answered at once, however many wait.
    assert_eq!(of(200) + of(503), count, "{answers:?}");
    assert!(of(200) > 0 && of(503) > 0, "{answers:?}");
    graceful(&answers);
    let refused = |of: &str| {
        metric(&server, &format!("headwater_http_refusals_total{{of=\"{of}\",scope=\"all\"}} "))
    };
    assert_eq!(refused("connections")? + refused("waiting")?, of(503));
    until("connections that are over", ANSWERED_WITHIN, || {
        let open = metric(&server, "headwater_http_connections ")?;
        Ok(Look::at((open < 20).then_some(()), format!("{open} are open")))
    })?;
    publisher.check()?;
    // It waits for parts itself.
    witness.finish()?.clean()?;
    until("requests that wait no more", ANSWERED_WITHIN, || {
        let waiting = metric(&server, "headwater_http_waiting_requests ")?;
        Ok(Look::at((waiting == 0).then_some(()), format!("{waiting} wait")))
    })?;
    server.stop()
}

#[test]
fn a_crowd_over_the_caps_is_told_to_come_again_and_the_others_watch_on() -> Result {
    crowded(400, 250, 800)
}

#[test]
fn hostile_viewers_leave_the_others_alone() -> Result {
    let (server, mut publisher, witness) = town("")?;
    let (segment, next) = segments(&server)?;
    let before = server.usage();

    // Ranges by the thousand are the whole, once; more than a request may hold are refused.
    let whole = server.client.get(&server.url(&segment))?.ok(&segment)?;
    for (count, status) in [(1_000, 200), (10_000, 431)] {
        let ranges = format!("bytes={}0-0", "0-0,".repeat(count - 1));
        let answer = server.client.get_with(&server.url(&segment), &[("Range", &ranges)])?;
        assert_eq!(answer.status, status, "{count} ranges");
        assert!(status != 200 || answer.body == whole.body);
    }

    // Streams that are reset as they are opened end their connection; HTTP/2 is spoken all the same.
    for path in [&segment, &next] {
        let borne = viewers::rapid_reset(server.http, path, SLOW_FOR)?;
        println!("{borne} resets of {path} were borne");
        let (status, body) = viewers::get_over_http2(server.http, &segment)?;
        assert_eq!((status, body), (200, whole.body.clone()));
    }

    // All at once: who says nothing, who never ends, who does not listen.
    std::thread::scope(|scope| {
        let attack = |sloth| {
            let (http, path) = (server.http, "/live/a/96p/index.m3u8");
            scope.spawn(move || viewers::slow(http, path, sloth, 50, SLOW_FOR))
        };
        let attacks = Sloth::ALL.map(|sloth| (sloth, attack(sloth)));
        for (sloth, attack) in attacks {
            let kept = attack.join().map_err(|_| Failure::new("a slow viewer panicked"))??;
            println!("{sloth:?} viewers were kept for {:?} at most", kept.last());
        }
        Ok::<_, Failure>(())
    })?;
    let after = server.usage();
    let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
    let cut = |reason: &str| {
        metric(&server, &format!("headwater_http_cut_connections_total{{reason=\"{reason}\"}} "))
    };
    assert!(cut("slow_request")? >= 100, "{} were cut", cut("slow_request")?);
    publisher.check()?;
    witness.finish()?.clean()?;
    let found = machine::log(&server.log(), &[]);
    assert!(found.is_empty(), "{found:#?}");
    server.stop()
}

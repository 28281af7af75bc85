//! Real edges before the real server: crowds through Varnish, `headwater cdn-check` on our own
//! configurations and on mistakes in them, TLS and HTTP/2 through them, the demo behind an edge.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::certificate::Certificate;
use harness::client::Client;
use harness::crowd;
use harness::edge::{self, Edge, Kind, Secure};
use harness::process;
use harness::publisher::{Publisher, Source};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::{Context, Failure, Result, workspace};
use packager::time::FrameRate;
use serde_json::Value;

/// How long a check may take: it waits 12 s for errors to be forgotten, beside others.
const CHECK_WITHIN: Duration = Duration::from_secs(120);
/// Viewers of the crowd.
const VIEWERS: usize = 200;

/// A channel on the air, with parts that are few enough for a loaded machine.
fn on_air() -> Result<(Server, Publisher)> {
    let channel = ChannelConfig::tiny("a").with_ladder(&["96p"]).with("part = \"600ms\"");
    let server = Server::start(&[channel])?;
    let publisher = Source::tiny(FrameRate::new(30, 1)).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(20))?;
    // Behind the segments that hold the first picture still.
    server.wait_more("a", 1)?;
    Ok((server, publisher))
}

/// The report of `headwater cdn-check`, and whether it passes.
fn checked(edge: SocketAddr) -> Result<(bool, Value)> {
    report(&format!("http://{edge}/live/a/index.m3u8"), None)
}

/// The same of any address, whose certificate is to be trusted.
fn report(url: &str, trusted: Option<&Certificate>) -> Result<(bool, Value)> {
    let mut command = Command::new(workspace::headwater()?);
    command.args(["cdn-check", "--json", url]);
    command.envs(trusted.map(|certificate| ("SSL_CERT_FILE", certificate.cert())));
    let output = process::run("cdn-check", &mut command, CHECK_WITHIN)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text)
        .context(format!("cdn-check said {text:?} and {}", output.stderr))?;
    Ok((output.status.success(), report))
}

/// Names of the checks that came out on a level.
fn on_level(report: &Value, level: &str) -> Vec<String> {
    let findings = report["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let at = findings.iter().filter(|finding| finding["level"] == level);
    at.filter_map(|finding| finding["check"].as_str().map(str::to_owned)).collect()
}

/// An edge with a mistake, and the check that names it.
struct Plant {
    fault: &'static str,
    kind: Kind,
    mistakes: &'static [(&'static str, &'static str)],
}

/// What people get wrong. The first two have no mistake.
const PLANTS: &[Plant] = &[
    Plant { fault: "", kind: Kind::Nginx, mistakes: &[] },
    Plant { fault: "", kind: Kind::Varnish, mistakes: &[] },
    Plant {
        fault: "collapsing",
        kind: Kind::Nginx,
        mistakes: &[("proxy_cache_lock on;", "proxy_cache_lock off;")],
    },
    Plant {
        fault: "key",
        kind: Kind::Nginx,
        mistakes: &[(
            "proxy_cache_key \"$headwater_path$headwater_query $headwater_encoding\";",
            "proxy_cache_key \"$headwater_path $headwater_encoding\";",
        )],
    },
    Plant {
        fault: "junk",
        kind: Kind::Nginx,
        mistakes: &[("proxy_cache_key \"$headwater_path\";", "proxy_cache_key \"$request_uri\";")],
    },
    Plant {
        fault: "errors",
        kind: Kind::Varnish,
        mistakes: &[(
            "    if (bereq.uncacheable) {",
            "    if (beresp.status == 404) { set beresp.ttl = 10s; return (deliver); }\n\
             \x20   if (bereq.uncacheable) {",
        )],
    },
    Plant {
        fault: "growing",
        kind: Kind::Varnish,
        mistakes: &[("set beresp.do_stream = true;", "set beresp.do_stream = false;")],
    },
    Plant {
        fault: "hold",
        kind: Kind::Nginx,
        mistakes: &[("proxy_read_timeout 35s;", "proxy_read_timeout 1s;")],
    },
    Plant { fault: "age", kind: Kind::Nginx, mistakes: &[("    proxy_pass_header Date;\n", "")] },
    Plant {
        fault: "fresh",
        kind: Kind::Varnish,
        mistakes: &[(
            "    if (bereq.uncacheable) {",
            "    if (beresp.status == 200 && bereq.url ~ \"index.m3u8\") {\n\
             \x20       set beresp.ttl = 10s; return (deliver);\n    }\n\
             \x20   if (bereq.uncacheable) {",
        )],
    },
    Plant {
        fault: "cors",
        kind: Kind::Nginx,
        mistakes: &[(
            "add_header X-Cache-Status $upstream_cache_status always;",
            "add_header Access-Control-Allow-Origin \"*\" always;",
        )],
    },
    Plant {
        fault: "rules",
        kind: Kind::Nginx,
        mistakes: &[("    proxy_cache_use_stale off;", "    expires 4h;")],
    },
    Plant {
        fault: "answer-id",
        kind: Kind::Varnish,
        mistakes: &[(
            "    if (obj.hits > 0) {",
            "    unset resp.http.Headwater-Answer;\n    if (obj.hits > 0) {",
        )],
    },
];

#[test]
fn cdn_check_names_each_mistake_of_an_edge_and_no_other_and_passes_our_own() -> Result {
    let (server, mut publisher) = on_air()?;
    let mut probed = Vec::new();
    for plant in PLANTS {
        let edge = Edge::start(plant.kind, server.http, plant.mistakes)?;
        let address = edge.address;
        let probing = std::thread::spawn(move || checked(address));
        probed.push((plant, edge, probing));
    }
    let mut wrong = Vec::new();
    for (plant, edge, probing) in probed {
        let report = probing.join().map_err(|_| Failure::new("a check panicked"))?;
        let (passes, report) = report?;
        let faults = on_level(&report, "fault");
        let expected: Vec<&str> = plant.fault.split_terminator(' ').collect();
        if faults != expected || passes != expected.is_empty() {
            wrong.push(format!("{:?} {:?}: {faults:?} {report:#}", plant.kind, plant.fault));
        }
        if plant.fault.is_empty() {
            // What our own edges can't do is told as that, and everything else is good.
            let known: &[&str] = match plant.kind {
                Kind::Nginx => &["collapsing", "age", "growing", "http2"],
                Kind::Varnish => &["collapsing", "http2"],
            };
            let limits = on_level(&report, "limit");
            if !limits.iter().all(|limit| known.contains(&limit.as_str())) {
                wrong.push(format!("{:?}: limits {limits:?} {report:#}", plant.kind));
            }
            let good = on_level(&report, "good");
            if good.len() + limits.len() < 13 {
                wrong.push(format!("{:?}: little was found out: {report:#}", plant.kind));
            }
        }
        drop(edge);
    }
    publisher.check()?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.stop()
}

#[test]
fn two_hundred_viewers_through_varnish_cost_the_origin_each_part_once() -> Result {
    const PARTS: usize = 10;
    let (server, mut publisher) = on_air()?;
    let edge = Edge::start(Kind::Varnish, server.http, &[])?;
    let playlist = "/live/a/96p/index.m3u8";
    let before = answered(&server, "playlist")?;
    let seen = crowd::watch(edge.address, playlist, VIEWERS, PARTS)?;
    let asked = answered(&server, "playlist")? - before;
    publisher.check()?;

    // Each blocking URL reached the origin once: it has one answer's id, and the origin counted no
    // more requests than there are such URLs, and the plain ones, which live for a second each.
    for (path, had) in &seen.playlists {
        assert_eq!(had.ids.len(), 1, "{path} reached the origin more than once");
        assert_eq!(had.digests.len(), 1, "{path}: viewers had different answers");
    }
    let waited = seen.playlists.len() as u64;
    assert!((waited..=waited + 2).contains(&asked), "{asked} requests for {waited} URLs");

    // Every viewer had every part: all but the first and last few, where not all watched.
    let all = seen.parts.values().filter(|had| had.at.len() == VIEWERS).count();
    assert!(all + 2 >= PARTS, "{all} parts of {PARTS} were had by all");
    let mut spreads: Vec<_> = seen.parts.values().map(crowd::Had::spread).collect();
    spreads.sort();
    let median = spreads[spreads.len() / 2];
    // The bar is 100 ms on a machine of its own, where `make bench` measures it.
    assert!(
        median < Duration::from_secs(1),
        "the last viewer had a part {median:?} after the first"
    );

    // The same bytes at the origin, at the edge, and with every viewer.
    let client = Client::new();
    let mut segments: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (path, had) in &seen.parts {
        assert_eq!(had.ids.len(), 1, "{path} reached the origin more than once");
        let origin = client.get(&server.url(path))?.ok(path)?.body;
        assert_eq!(had.digests.iter().collect::<Vec<_>>(), [&crowd::digest(&origin)], "{path}");
        assert_eq!(client.get(&edge.url(path))?.ok(path)?.body, origin, "{path}");
        let (stem, part) = path.trim_end_matches(".m4s").rsplit_once('.').context("a part")?;
        let segment = segments.entry(format!("{stem}.m4s")).or_default();
        if part == "0" || !segment.is_empty() {
            segment.extend_from_slice(&origin);
        }
    }
    let mut whole = 0;
    for (path, parts) in segments {
        let segment = client.get(&edge.url(&path))?.ok(&path)?.body;
        let same = client.get(&server.url(&path))?.ok(&path)?.body == segment;
        assert!(same && segment.starts_with(&parts), "{path} is not what its parts are");
        whole += usize::from(segment.len() == parts.len());
    }
    assert!(whole > 0, "no segment was watched whole");
    server.stop()
}

/// A segment that was fetched over HTTP/2 as it grew.
struct Grown {
    /// Header fields as curl wrote them.
    head: String,
    /// Moments at which bytes came.
    arrivals: Vec<Instant>,
    body: Vec<u8>,
}

impl Grown {
    fn fetch(url: &str, certificate: &Certificate) -> Result<Self> {
        let head = tempfile::NamedTempFile::new().context("header fields")?;
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--no-buffer", "--http2", "--max-time", "20", "--cacert"]);
        curl.arg(certificate.cert()).arg("-D").arg(head.path()).arg(url);
        let mut child = curl.stdout(Stdio::piped()).spawn().context("curl")?;
        let mut stream = child.stdout.take().context("what curl gets")?;
        let (mut arrivals, mut body, mut room) = (Vec::new(), Vec::new(), vec![0; 1 << 16]);
        while let read @ 1.. = stream.read(&mut room).context("what curl gets")? {
            arrivals.push(Instant::now());
            body.extend_from_slice(&room[..read]);
        }
        let status = child.wait().context("curl")?;
        let head = std::fs::read_to_string(head.path()).context("header fields")?;
        if !status.success() || !head.starts_with("HTTP/2 200") {
            return Err(Failure::new(format!("{url}: {status} {head}")));
        }
        Ok(Self { head: head.to_lowercase(), arrivals, body })
    }

    /// The id of the origin's answer that it was made of.
    fn answer(&self) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix("headwater-answer: "))
    }
}

#[test]
fn hl_26_low_latency_goes_over_tls_and_http_2_through_both_edges_and_what_grew_is_kept() -> Result {
    let (to_viewers, to_edges) = (Certificate::new()?, Certificate::new()?);
    let https = edge::free()?;
    let channel = ChannelConfig::tiny("a").with_ladder(&["96p"]).with("part = \"600ms\"");
    let server = Server::start_with(&[channel], &to_edges.section(https))?;
    let rate = FrameRate::new(30, 1);
    let mut publisher = Source::tiny(rate).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(20))?;
    server.wait_more("a", 1)?;
    for kind in [Kind::Nginx, Kind::Varnish] {
        // Varnish speaks no TLS to an origin.
        let origin = (kind == Kind::Nginx).then_some((https, &to_edges));
        let secure = Secure { certificate: &to_viewers, origin };
        let edge = Edge::start_secure(kind, server.http, secure)?;
        let at = |path: &str| format!("https://{}{path}", edge.address);

        // The segment after the one that is being made: asked for before its first part is there.
        let list = server.client.text(&server.url("/live/a/96p/index.m3u8"))?;
        let hint = list.lines().find(|line| line.starts_with("#EXT-X-PRELOAD-HINT"));
        let hint = hint.and_then(|line| line.split('"').nth(1)).context("a hint")?;
        let (folder, file) = hint.rsplit_once('/').context("a part")?;
        let k: u64 = file.split('.').next().context("a number")?.parse().context("a number")?;
        let path = format!("/live/a{}/{}.m4s", folder.trim_start_matches(".."), k + 1);
        let grown = Grown::fetch(&at(&path), &to_viewers)?;
        let span =
            grown.arrivals.last().zip(grown.arrivals.first()).map(|(last, first)| *last - *first);
        assert!(span > Some(Duration::from_millis(500)), "{kind:?} held it back: {span:?}");
        // Who asks in the moment before it is put away is answered by the origin.
        let kept = until(&format!("{kind:?}'s copy of what grew"), Duration::from_secs(5), || {
            let again = Grown::fetch(&at(&path), &to_viewers)?;
            let (head, same) = (again.head.clone(), again.answer() == grown.answer());
            Ok(Look::at((same && grown.answer().is_some()).then_some(again), head))
        })?;
        assert!(kept.body == grown.body && !kept.body.is_empty(), "{kind:?}");

        let (passes, report) = report(&at("/live/a/index.m3u8"), Some(&to_viewers))?;
        assert!(passes && on_level(&report, "fault").is_empty(), "{kind:?}: {report:#}");
        assert!(on_level(&report, "good").contains(&"http2".to_owned()), "{kind:?}: {report:#}");
    }
    publisher.check()?;
    server.stop()
}

#[test]
fn the_demo_plays_through_an_edge_that_ends_with_it() -> Result {
    let server = Server::demo_behind("varnish", &["--ladder", "96p"])?;
    let edge = server.edge.context("an edge")?;
    let client = Client::new();
    let url = format!("http://{edge}/live/demo/index.m3u8");
    until("channel behind the edge", Duration::from_secs(60), || {
        // The server is ready before its edge is.
        Ok(match client.get(&url) {
            Ok(answer) => Look::at((answer.status == 200).then_some(()), answer.status.to_string()),
            Err(failure) => Look::NotYet(failure.to_string()),
        })
    })?;
    let page = client.get(&format!("http://{edge}/watch/demo"))?.ok("page")?;
    assert!(page.header("via").is_some_and(|via| via.contains("varnish")), "{:?}", page.headers);
    assert!(server.log().contains(&format!("http://{edge}/watch/demo")), "{}", server.log());
    server.stop()?;
    assert!(std::net::TcpStream::connect(edge).is_err(), "the edge outlived its demo");
    Ok(())
}

/// Answers to a class of resources that the origin has counted.
fn answered(server: &Server, class: &str) -> Result<u64> {
    let metrics = server.client.text(&server.admin_url("/metrics"))?;
    let class = format!("class=\"{class}\"");
    let lines = metrics.lines().filter(|line| line.starts_with("headwater_http_requests_total{"));
    let counts = lines
        .filter(|line| line.contains(&class))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}

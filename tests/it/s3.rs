//! S3 behind the spool: a real S3 server, and a front before it that does wrong what the script says.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::publisher::{Publisher, Source};
use harness::reader::hls;
use harness::s3::{Fault, Front, Store, folder};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::{Watch, Witness};
use harness::{Context, Failure, Result, process, workspace};
use packager::time::FrameRate;
use serde_json::Value;

mod disk;
mod soak;
mod straight;
mod takeover;

const RATE: FrameRate = FrameRate::new(25, 1);
/// For what takes moments where nothing is in the way.
const SOON: Duration = Duration::from_secs(20);

/// For what comes back after S3 was away: it is tried again after half a minute at the latest.
const BACK: Duration = Duration::from_secs(50);

/// A server whose channel `a` packages its source as it is, and that source.
fn on_air(section: &str, more: &str) -> Result<(Server, Publisher)> {
    let server = Server::start_storing(&[ChannelConfig::pass_through("a").with(more)], section)?;
    let source = Source { gop: 25, ..Source::tiny(RATE) };
    let publisher = source.publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(15))?;
    Ok((server, publisher))
}

/// What a server says of its way into S3.
fn upstream(server: &Server) -> Result<Value> {
    let text = server.client.text(&server.admin_url("/api/v1/channels/a"))?;
    let channel: Value = serde_json::from_str(&text).context("the channel")?;
    Ok(channel["s3"].clone())
}

/// Waits until nothing waits for S3.
fn drained(server: &Server, bound: Duration) -> Result {
    until("empty backlog", bound, || {
        let now = upstream(server)?;
        Ok(Look::at((now["backlog_segments"] == 0).then_some(()), now.to_string()))
    })
}

/// The records of every segment that the index of `a` names, in the order of their numbers: pages, then
/// what is in the head.
fn indexed(store: &Store) -> Result<Vec<Value>> {
    let head = store.head("a")?.context("an index")?;
    let mut records = Vec::new();
    for page in head["pages"].as_array().context("pages")? {
        let run = page["run"].as_str().context("a run")?;
        let key = format!("{}/index/{}.json", folder(run), page["first_k"]);
        let page = store.object(&key)?.context(format!("page {key}"))?;
        let page: Value = serde_json::from_slice(&page).context("a page")?;
        records.extend(page["segments"].as_array().context("segments")?.clone());
    }
    records.extend(head["recent"].as_array().context("records")?.clone());
    Ok(records)
}

/// The run that a segment's address names.
fn run_of(url: &str) -> String {
    url.rsplit('/').nth(2).unwrap_or_default().to_owned()
}

/// I17: what the index names is there, with the bytes that viewers get, in order and without a hole; and
/// nothing else is there but what is on its way. Gives how many segments that are.
fn agrees(store: &Store, server: &Server) -> Result<usize> {
    let records = indexed(store)?;
    let mut tracks: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let client = Client::afresh();
    for record in &records {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let (run, rendition) = (text("run"), text("rendition"));
        let k = record["k"].as_u64().context("a number")?;
        tracks.entry(rendition.clone()).or_default().push(k);
        assert_eq!(record["gap"], false, "{record}");
        let object = store.object(&format!("{}/{rendition}/{k}.m4s", folder(&run)))?;
        let object =
            object.context(format!("segment {k} of {rendition} is named and not there"))?;
        let parts = record["parts"].as_array().context("parts")?;
        let bytes: u64 = parts.iter().filter_map(|part| part[1].as_u64()).sum();
        assert_eq!(object.len() as u64, bytes, "the part table of {k}");
        let url = server.url(&format!("/live/a/{run}/{rendition}/{k}.m4s"));
        assert_eq!(client.get(&url)?.ok(&url)?.body, object, "{url}");
    }
    for (rendition, numbers) in &tracks {
        let first = numbers.first().copied().unwrap_or(0);
        let expected: Vec<_> = (first..).take(numbers.len()).collect();
        assert_eq!(*numbers, expected, "{rendition}");
    }
    assert_eq!(tracks.len(), 2);
    Ok(records.len())
}

/// The lines of a playlist up to its last whole segment, without what a replica does not know.
fn whole_lines(text: &str) -> Vec<&str> {
    let end = text.rfind("\n../").map_or(0, |at| at + 1);
    let line = text[end..].find('\n').map_or(text.len(), |at| end + at);
    text[..line].lines().collect()
}

/// Each segment's lines by its URL: tags before it, parts among them.
fn lines_by_segment(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut lines = Vec::new();
    for line in whole_lines(text) {
        lines.push(line);
        if line.starts_with("../") {
            found.insert(line.to_owned(), lines.join("\n"));
            lines.clear();
        }
    }
    found
}

#[test]
fn what_is_listed_comes_into_s3_and_a_replica_lists_and_serves_the_same() -> Result {
    let store = Store::start()?;
    let section = store.section(store.address);
    let (server, mut publisher) = on_air(&section, "")?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let replica = Server::start_storing(
        &[ChannelConfig::pass_through("a")],
        &format!("{section}role = \"replica\"\n"),
    )?;
    server.wait_log(&["S3 is there", "conditional PUT: yes", "multipart: yes"], SOON)?;
    server.wait_more("a", 6)?;
    replica.wait_playable("a", SOON)?;
    let (_, last) = server.numbers("a")?;
    store.wait_segment("a", last, SOON)?;
    replica.wait_segment("a", last, SOON)?;
    // Both at the same moment, or nearly: what the primary lists with more parts is looked at again.
    for (name, _) in hls::fetch(&replica.client, &replica.url("/live/a/index.m3u8"))? {
        let path = format!("/live/a/{}/index.m3u8", name.name);
        let mine = replica.client.text(&replica.url(&path))?;
        let theirs = server.client.text(&server.url(&path))?;
        let head = |text: &str| {
            let tags = text.lines().take_while(|line| !line.starts_with("#EXT-X-MAP"));
            tags.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(head(&mine), head(&theirs), "header tags");
        for absent in ["PRELOAD-HINT", "RENDITION-REPORT"] {
            assert!(theirs.contains(absent) && !mine.contains(absent), "{absent} in {mine}");
        }
        let (mine, theirs) = (lines_by_segment(&mine), lines_by_segment(&theirs));
        assert!(mine.len() >= 6, "{mine:?}");
        let mut with_parts = 0;
        for (url, lines) in &mine {
            let Some(listed) = theirs.get(url) else { continue };
            // Parts leave a list three target durations behind its end, and the two do not end together.
            let (mine_parts, their_parts) = (lines.contains("X-PART:"), listed.contains("X-PART:"));
            if mine_parts == their_parts {
                assert_eq!(lines, listed);
                with_parts += usize::from(mine_parts);
            }
        }
        assert!(with_parts > 0, "parts are listed too");
    }
    // What the primary has listed, players may ask the replica for before S3 has it: they wait.
    let ahead = server.numbers("a")?.1 + 3;
    let url = replica.url(&format!("/live/a/source/index.m3u8?_HLS_msn={ahead}&_HLS_part=0"));
    let answer = Client::afresh().get(&url)?.ok(&url)?;
    let name = format!("/{ahead}.m4s");
    assert!(String::from_utf8_lossy(&answer.body).contains(&name), "{answer:?}");
    publisher.check()?;
    let record = witness.finish()?;
    record.clean()?;
    drained(&server, SOON)?;
    let count = agrees(&store, &server)?;
    assert!(count >= 16, "{count} segments");
    // Without the first machine.
    server.stop()?;
    let listed = hls::fetch(&replica.client, &replica.url("/live/a/index.m3u8"))?;
    for (_, playlist) in &listed {
        for object in &playlist.objects {
            let url = object.url.clone();
            let answer = replica.client.get(&url)?.ok(&url)?;
            assert!(answer.header("etag").is_some() && !answer.body.is_empty(), "{url}");
        }
    }
    replica.stop()
}

#[test]
fn s3_away_is_a_backlog_that_a_restart_keeps_and_that_is_sent_in_order() -> Result {
    let store = Store::start()?;
    let front = Front::before(store.address)?;
    let (server, mut publisher) = on_air(&store.section(front.address), "")?;
    let (_, last) = server.numbers("a")?;
    store.wait_segment("a", last, SOON)?;
    let witness =
        Witness::start(Watch::new(&server.url(""), "a").with_kills(Duration::from_secs(2)));
    front.does(|_| Fault::Refuse);
    server.wait_more("a", 6)?;
    let now = upstream(&server)?;
    assert!(now["backlog_segments"].as_u64() >= Some(8), "{now}");
    assert!(
        now["backlog_bytes"].as_u64() > Some(0) && now["backlog_ms"].as_u64() > Some(3_000),
        "{now}"
    );
    let metrics = server.client.text(&server.admin_url("/metrics"))?;
    for name in ["backlog_bytes", "backlog_age_seconds", "backlog_segments"] {
        let line = format!("headwater_s3_upload_{name}{{channel=\"a\"}} ");
        let value = metrics.lines().find_map(|l| l.strip_prefix(&line)).context(line)?;
        assert!(value.parse::<f64>().is_ok_and(|value| value > 0.0), "{name} {value}");
    }
    let page = server.client.text(&server.admin_url("/"))?;
    assert!(page.contains("<dt>S3</dt>") && page.contains("segments wait"), "{page}");
    until("incident", SOON, || {
        let status = server.status("a")?;
        let words = status["last_error"].as_str().unwrap_or_default().to_owned();
        Ok(Look::at(words.contains("S3").then_some(()), status.to_string()))
    })?;
    let old = server.kill()?;
    until("server that was started again", SOON, || {
        Ok(Look::at(server.serving_id().ok().filter(|id| *id != old), "none yet"))
    })?;
    server.wait_more("a", 2)?;
    let again = upstream(&server)?;
    assert!(again["backlog_segments"].as_u64() >= now["backlog_segments"].as_u64(), "{again}");
    front.does(|_| Fault::None);
    drained(&server, BACK)?;
    server.wait_more("a", 2)?;
    drained(&server, SOON)?;
    assert_eq!(server.status("a")?["last_error"], Value::Null);
    witness.finish()?.clean()?;
    drop(publisher.check());
    agrees(&store, &server)?;
    // Nothing twice: each segment was stored by one request.
    let mut stored = BTreeMap::new();
    for (asked, fault) in front.asked() {
        if asked.method == "PUT" && asked.target.contains(".m4s") && fault == Fault::None {
            *stored.entry(asked.target).or_insert(0) += 1;
        }
    }
    let twice: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
    // A request that was under way when the server was killed is made again.
    assert!(twice.len() <= 2, "{twice:?}");
    server.stop()
}

#[test]
fn errors_stalls_and_lost_answers_cost_nothing_but_time() -> Result {
    let store = Store::start()?;
    let front = Front::before(store.address)?;
    let (server, mut publisher) = on_air(&store.section(front.address), "")?;
    server.wait_log(&["S3 is there"], SOON)?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    front.does(|asked| match asked.number % 10 {
        1 => Fault::Answer(503, "SlowDown"),
        3 => Fault::Reset,
        5 => Fault::Answer(500, "InternalError"),
        7 => Fault::Unconditional,
        8 => Fault::Late(Duration::from_millis(300)),
        _ => Fault::None,
    });
    server.wait_more("a", 7)?;
    let lost_answer = |asked: &(harness::s3::Asked, Fault)| asked.1 == Fault::Reset;
    assert!(front.asked().iter().any(lost_answer), "the faults have happened");
    front.does(|_| Fault::None);
    drained(&server, SOON)?;
    witness.finish()?.clean()?;
    publisher.check()?;
    agrees(&store, &server)?;
    let failed = upstream(&server)?["failed"].as_u64();
    assert!(failed > Some(3), "{failed:?}");
    server.stop()
}

#[test]
#[ignore = "more of real time than every run has: `make soak`"]
fn a_segment_that_stalls_on_its_way_is_sent_again() -> Result {
    let store = Store::start()?;
    let front = Front::before(store.address)?;
    let (server, mut publisher) = on_air(&store.section(front.address), "")?;
    // Enough successes for a deadline of two seconds.
    let (_, last) = server.numbers("a")?;
    store.wait_segment("a", last + 6, SOON)?;
    let stalled = std::sync::atomic::AtomicBool::new(false);
    front.does(move |asked| {
        let first = asked.target.contains(".m4s")
            && !stalled.swap(true, std::sync::atomic::Ordering::Relaxed);
        if first { Fault::Stall } else { Fault::None }
    });
    let began = Instant::now();
    server.wait_more("a", 2)?;
    let (_, last) = server.numbers("a")?;
    store.wait_segment("a", last, SOON)?;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    publisher.check()?;
    agrees(&store, &server)?;
    server.stop()
}

#[test]
fn a_name_that_another_server_has_written_is_not_overwritten() -> Result {
    let store = Store::start()?;
    let front = Front::before(store.address)?;
    let (server, mut publisher) = on_air(&store.section(front.address), "")?;
    server.wait_log(&["S3 is there", "conditional PUT: yes"], SOON)?;
    front.does(|_| Fault::Refuse);
    let playlist = server.url("/live/a/source/index.m3u8");
    let listed = hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))?;
    let (_, list) = listed.first().context("a playlist")?;
    let run = run_of(&list.objects.last().context(playlist)?.url);
    let k = server.numbers("a")?.1 + 2;
    let key = format!("{}/source/{k}.m4s", folder(&run));
    store.put(&key, b"somebody else's")?;
    front.does(|_| Fault::None);
    server.wait_segment("a", k + 1, SOON)?;
    store.wait_segment("a", k + 1, BACK)?;
    assert_eq!(store.object(&key)?.as_deref(), Some(&b"somebody else's"[..]));
    let record = indexed(&store)?.into_iter().find(|r| r["k"] == k && r["rendition"] == "source");
    assert_eq!(record.context("its record")?["gap"], true);
    let holes = store.object("live/a/holes.json")?.context("holes")?;
    assert!(String::from_utf8_lossy(&holes).contains("another server"));
    server.wait_log(&["a segment is missing in S3", "another server has written it"], SOON)?;
    publisher.check()?;
    server.stop()
}

#[test]
fn what_has_left_the_spool_is_read_back_from_s3() -> Result {
    let store = Store::start()?;
    let front = Front::before(store.address)?;
    let (server, mut publisher) = on_air(&store.section(front.address), "window = \"10s\"")?;
    server.wait_more("a", 4)?;
    let (first, last) = server.numbers("a")?;
    store.wait_segment("a", last, SOON)?;
    let listed = hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))?;
    let (_, list) = listed.first().context("a playlist")?;
    let object = list.objects.first().context("a segment")?;
    let (url, run) = (object.url.clone(), run_of(&object.url));
    let before = server.client.get(&url)?.ok(&url)?;
    // As after its time in the spool.
    let rendition = url.rsplit('/').nth(1).unwrap_or_default().to_owned();
    let key = format!("{}/{rendition}/{}.m4s", folder(&run), object.k);
    assert_eq!(store.object(&key)?.context("in S3")?, before.body);
    // A segment that this server never had under its own roof: of the same run, older than all it has.
    let old = first.saturating_sub(1_000);
    let key = format!("{}/{rendition}/{old}.m4s", folder(&run));
    store.put(&key, b"from long ago")?;
    let url = server.url(&format!("/live/a/{run}/{rendition}/{old}.m4s"));
    front.does(|asked| match asked.target.contains(".m4s") && asked.method == "GET" {
        true => Fault::Late(Duration::from_millis(300)),
        false => Fault::None,
    });
    let asked_before = front.asked().len();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| Client::afresh().get(&url))).collect();
        asking
            .into_iter()
            .map(|thread| thread.join().map_err(|_| Failure::new("a panic")))
            .collect()
    });
    for answer in answers {
        let answer = answer??.ok(&url)?;
        assert_eq!(&answer.body[..], b"from long ago");
        let caching = answer.header("cache-control").unwrap_or_default();
        assert!(caching.contains("immutable"), "{caching}");
    }
    let flights =
        front.asked().iter().skip(asked_before).filter(|(a, _)| a.target.contains(&key)).count();
    assert_eq!(flights, 1, "one flight for twenty who ask");
    // What comes torn is never given to anybody, and what is not there is said to be gone.
    let torn = first.saturating_sub(999);
    store.put(&format!("{}/{rendition}/{torn}.m4s", folder(&run)), &[7; 10_000])?;
    front.does(|asked| match asked.method == "GET" && asked.target.contains(".m4s") {
        true => Fault::Truncate,
        false => Fault::None,
    });
    let url = server.url(&format!("/live/a/{run}/{rendition}/{torn}.m4s"));
    let answer = server.client.get(&url)?;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    front.does(|_| Fault::None);
    assert_eq!(server.client.get(&url)?.ok(&url)?.body.len(), 10_000);
    let never = server.url(&format!("/live/a/{run}/{rendition}/{}.m4s", first.saturating_sub(998)));
    assert_eq!(server.client.get(&never)?.status, 404);
    publisher.check()?;
    server.stop()
}

/// Runs `headwater check --s3` on a configuration; gives what it says.
fn check(section: &str) -> Result<(bool, String)> {
    let dir = tempfile::tempdir().context("folder")?;
    let file = dir.path().join("headwater.toml");
    std::fs::write(&file, format!("[store]\n{section}[[channel]]\nname = \"a\"\n"))
        .context("file")?;
    let mut command = Command::new(workspace::headwater()?);
    command.args(["check", "--s3", "--config"]).arg(&file);
    let output = process::run("headwater check", &mut command, Duration::from_secs(60))?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), output.stderr);
    Ok((output.status.success(), said))
}

#[test]
fn a_store_is_tried_out_and_an_unusable_one_is_refused_with_what_to_do() -> Result {
    let store = Store::start()?;
    let front = Front::before(store.address)?;
    let section = store.section(front.address);
    let (good, said) = check(&section)?;
    assert!(
        good && said.contains("conditional PUT: yes, multipart: yes, clock: in step"),
        "{said}"
    );
    assert_eq!(store.keys()?, Vec::<String>::new(), "it leaves nothing behind");
    front.does(|_| Fault::Unconditional);
    let (good, said) = check(&section)?;
    assert!(good && said.contains("conditional PUT: no"), "{said}");
    front.does(|_| Fault::None);
    let (good, said) = check(&section.replace("\"headwater\"", "\"no-such-bucket\""))?;
    assert!(!good && said.contains("no bucket \"no-such-bucket\""), "{said}");
    front.does(|_| Fault::Answer(403, "InvalidAccessKeyId"));
    let (good, said) = check(&section)?;
    assert!(!good && said.contains("check the access key"), "{said}");
    front.does(|asked| match asked.method.as_str() {
        "PUT" => Fault::Answer(403, "AccessDenied"),
        _ => Fault::None,
    });
    let (good, said) = check(&section)?;
    assert!(!good && said.contains("s3:PutObject"), "{said}");
    // A server that nobody watches yet does not begin with such a store, and says why.
    let words = match Server::start_storing(&[ChannelConfig::pass_through("a")], &section) {
        Ok(mut server) => {
            assert!(!server.wait(SOON)?.success());
            server.log()
        }
        Err(failure) => failure.to_string(),
    };
    assert!(words.contains("s3:PutObject"), "{words}");
    front.does(|_| Fault::Answer(405, ""));
    let (good, said) = check(&section)?;
    assert!(!good && said.contains("is this the address of an S3 API?"), "{said}");
    std::fs::remove_file(store.credentials()).context("credentials")?;
    let (good, said) = check(&section)?;
    assert!(!good && said.contains("no credentials"), "{said}");
    Ok(())
}

#[test]
#[ignore = "more of real time than every run has: `make soak`"]
fn keys_are_changed_by_writing_a_file() -> Result {
    let store = Store::start()?;
    let front = Front::before(store.address)?;
    let section = store.section(front.address);
    let (server, mut publisher) = on_air(&section, "")?;
    std::fs::write(store.credentials(), "").context("no credentials")?;
    let (good, said) = check(&section)?;
    assert!(!good && said.contains("no credentials"), "{said}");
    // Those that were read are believed for half a minute.
    until("a backlog", Duration::from_secs(60), || {
        let now = upstream(&server)?;
        Ok(Look::at((now["backlog_segments"].as_u64() > Some(4)).then_some(()), now.to_string()))
    })?;
    let keys = "[default]\naws_access_key_id = test\naws_secret_access_key = test\n";
    std::fs::write(store.credentials(), keys).context("credentials")?;
    let (_, last) = server.numbers("a")?;
    store.wait_segment("a", last, Duration::from_secs(60))?;
    publisher.check()?;
    drained(&server, SOON)?;
    agrees(&store, &server)?;
    server.stop()
}

//! Playlists and the manifest in the bucket, for players that are served straight from there; and a
//! server that goes down with requests waiting, whose last segments S3 gets before it ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use harness::reader::{dash, ffmpeg};

use super::*;

/// Requests that wait when the server is told to end.
const WAITING: usize = 1_000;
/// What a server may take to end under load, with the rest for what is asked of S3.
const ENDS_WITHIN: Duration = Duration::from_secs(25);

/// The text of an object, without which there is none.
fn text(store: &Store, key: &str) -> Result<String> {
    let object = store.object(key)?.context(format!("object {key}"))?;
    String::from_utf8(object).context(format!("{key} is text"))
}

#[test]
#[ignore = "more of real time than every run has: `make soak`"]
fn players_are_served_from_the_bucket_and_a_server_ends_when_it_has_everything() -> Result {
    let store = Store::start()?;
    let section = format!("{}playlists = \"yes\"\n", store.section(store.address));
    let (mut server, mut publisher) = on_air(&section, "")?;
    server.wait_more("a", 5)?;
    let (_, last) = server.numbers("a")?;
    until("playlist in the bucket", SOON, || {
        let list = store.object("live/a/source/index.m3u8")?.unwrap_or_default();
        let list = String::from_utf8_lossy(&list).into_owned();
        Ok(Look::at(list.contains(&format!("/{last}.m4s")).then_some(()), list))
    })?;
    // Every address in them is an object's; nothing is promised that a bucket can't do.
    let base = format!("http://{}/{}/live/a/index.m3u8", store.address, harness::s3::BUCKET);
    let key = |url: &str| url.split_once("/headwater/").map(|(_, key)| key.to_owned());
    let mut names = 0;
    for rendition in hls::multivariant(&base, &text(&store, "live/a/index.m3u8")?)? {
        let path = key(&rendition.url).context("an address in the bucket")?;
        let list = text(&store, &path)?;
        for absent in ["EXT-X-PART", "SERVER-CONTROL", "PRELOAD-HINT", "ENDLIST"] {
            assert!(!list.contains(absent), "{absent} in {list}");
        }
        let list = hls::media(&rendition.url, &list)?;
        for object in &list.objects {
            for url in [&object.init, &object.url] {
                let key = key(url).context("an address in the bucket")?;
                assert!(store.object(&key)?.is_some(), "{key}");
                names += 1;
            }
        }
    }
    assert!(names >= 20, "{names}");
    let url = base.replace("index.m3u8", "manifest.mpd");
    let manifest = text(&store, "live/a/manifest.mpd")?;
    let clockless = !manifest.contains("UTCTiming") && !manifest.contains("availabilityTimeOffset");
    assert!(clockless && manifest.contains("<S "), "{manifest}");
    let mut named = 0;
    let manifest = dash::manifest(&url, &manifest)?;
    let now_ns = i64::try_from(harness::clock::now_ms()).unwrap_or(0) * 1_000_000;
    for representation in &manifest.representations {
        for k in representation.available(&manifest, now_ns) {
            let key = key(&representation.object(k).url).context("an address in the bucket")?;
            assert!(store.object(&key)?.is_some(), "{key}");
            named += 1;
        }
    }
    assert!(named >= 8, "{named}");
    // A player that knows nothing of us.
    let signed = format!("Authorization: {}\r\n", harness::s3::SIGNED);
    let frames = ffmpeg::frames(&base, &["-headers", signed.as_str()], Some(60))?;
    assert!(frames.len() >= 50, "{} frames", frames.len());

    let ahead = server.numbers("a")?.1 + 2;
    let path = format!("/live/a/source/index.m3u8?_HLS_msn={ahead}");
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut waiting = Vec::new();
    for _ in 0..WAITING {
        let mut stream = TcpStream::connect(server.http).context("a connection")?;
        stream.write_all(request.as_bytes()).context("a request")?;
        waiting.push(stream);
    }
    let line = format!("headwater_http_waiting_requests {WAITING}");
    until("requests that wait", SOON, || {
        let metrics = server.client.text(&server.admin_url("/metrics"))?;
        Ok(Look::at(metrics.lines().any(|l| l == line).then_some(()), "other ones"))
    })?;
    let began = Instant::now();
    server.signal(rustix::process::Signal::TERM)?;
    let mut answers = BTreeMap::new();
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("an answer, and the connection's end")?;
        let whole = answer.starts_with("HTTP/1.1 200 ") && answer.contains("#EXTM3U")
            || answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1");
        assert!(whole, "{answer}");
        *answers.entry(answer.get(9..12).unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    let answered = began.elapsed();
    let status = server.wait(ENDS_WITHIN)?;
    println!("{answers:?} after {answered:.1?}, ended after {:.1?}", began.elapsed());
    assert!(status.success(), "{status}");
    drop(publisher.check());
    // Every segment that its journal closed is in S3 and in the index.
    assert!(!server.log().contains("S3 does not have everything yet"), "{}", server.log());
    let records = indexed(&store)?;
    let mut files = 0;
    for run in std::fs::read_dir(server.dir().join("data/a")).context("the spool")? {
        let run = run.context("the spool")?;
        let name = run.file_name().to_string_lossy().into_owned();
        for rendition in ["source", "audio"] {
            let Ok(folder) = std::fs::read_dir(run.path().join(rendition)) else { continue };
            for file in folder {
                let file = file.context("a segment")?.file_name().to_string_lossy().into_owned();
                let Some(k) = file.strip_suffix(".m4s").and_then(|k| k.parse::<u64>().ok()) else {
                    continue;
                };
                let is_it = |r: &&Value| {
                    r["k"] == k && r["rendition"] == rendition && r["run"] == name.as_str()
                };
                assert!(records.iter().any(|r| is_it(&r)), "segment {k} of {rendition}");
                files += 1;
            }
        }
    }
    assert!(files >= 16, "{files}");
    Ok(())
}

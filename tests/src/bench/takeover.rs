//! A channel with a window of a day, taken over from S3 by a machine that has nothing of it: what the whole
//! server keeps in memory for that, and how soon it is listed.
//!
//! The day is made of a few seconds: a real server leaves them and their index in a real S3 server, and the
//! index is told that there were as many more before as the window holds. Nobody asks for their media.

use std::time::{Duration, Instant};

use packager::time::FrameRate;
use serde_json::{Value, json};

use super::Measure;
use crate::publisher::Source;
use crate::reader::hls;
use crate::s3::{Store, folder};
use crate::server::{ChannelConfig, Server};
use crate::{Context, Result};

/// Hours of the window.
const HOURS: u64 = 24;
/// Numbers in a page of the index.
const PAGE: u64 = 64;
/// For what takes moments.
const SOON: Duration = Duration::from_secs(60);

/// Measures it.
///
/// # Errors
/// A server does not start, or does not take the channel over.
pub fn measure() -> Result<Vec<Measure>> {
    let store = Store::start()?;
    let channel = ChannelConfig::tiny("a").with_ladder(&["180p", "144p", "96p"]);
    let channel = channel.with(&format!("window = \"{HOURS}h\""));
    let section = store.section(store.address);
    let server = Server::start_storing(std::slice::from_ref(&channel), &section)?;
    let publisher = Source::tiny(FrameRate::new(30, 1)).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", SOON)?;
    server.wait_more("a", 4)?;
    let (_, last) = server.numbers("a")?;
    store.wait_segment("a", last, SOON)?;
    drop(publisher);
    server.stop()?;
    let head = store.head("a")?.context("an index")?;
    let short = take_over(&channel, &section)?;
    let count = lengthen(&store, head)?;
    let long = take_over(&channel, &section)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let per_hour = mib(long.bytes.saturating_sub(short.bytes)) / HOURS as f64;
    Ok(vec![Measure {
        name: format!("window of {HOURS} h, whole server: memory per channel-hour"),
        ours: format!(
            "{per_hour:.2} MiB; listed {:.1} s after its start, {:.1} s with a short one",
            long.listed.as_secs_f64(),
            short.listed.as_secs_f64()
        ),
        method: format!(
            "Three rungs and sound in {count} numbers, taken over from the index in S3 by a server that has \
             nothing of its own, all playlists asked for once: its resident memory less that of one that takes \
             over a few numbers. No media: what memory has of that is the live edge's, whatever the window."
        ),
        ..Measure::without_peer()
    }])
}

/// What a server that took the channel over is like.
struct Heir {
    bytes: u64,
    listed: Duration,
}

fn take_over(channel: &ChannelConfig, section: &str) -> Result<Heir> {
    let began = Instant::now();
    let server = Server::start_storing(std::slice::from_ref(channel), section)?;
    server.wait_log(&["taken over from the machine that made it"], SOON)?;
    server.wait_playable("a", SOON)?;
    let listed = began.elapsed();
    drop(hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))?);
    let bytes = server.resident_bytes();
    server.stop()?;
    Ok(Heir { bytes, listed })
}

/// Has an index tell of as many numbers before its first as the window holds, each like that one; gives how
/// many it tells of.
fn lengthen(store: &Store, mut head: Value) -> Result<u64> {
    let mut run = head["runs"].as_array().and_then(|runs| runs.last()).context("a run")?.clone();
    let id = run["id"].as_str().context("its id")?.to_owned();
    let recent = head["recent"].as_array().context("records")?.clone();
    let k = |record: &Value| record["k"].as_u64();
    let first = recent.iter().filter_map(k).min().context("a number")?;
    let like: Vec<_> = recent.iter().filter(|record| k(record) == Some(first)).cloned().collect();
    let segment = Duration::from_millis(1_920);
    let count = HOURS * 3_600_000 / u64::try_from(segment.as_millis()).context("a length")?;
    let oldest = first - count / PAGE * PAGE;
    let back = |n: u64, of: &Value| -> Result<i64> {
        let n = i64::try_from(n).context("a number")?;
        let length = of["duration"].as_i64().context("a length")?;
        Ok(of["start"].as_i64().context("a start")? - n * length)
    };
    // The run begins with the oldest.
    let picture = like.first().context("a segment")?;
    run["stretches"] = json!([run["stretches"][0].clone()]);
    run["stretches"][0]["first_k"] = json!(oldest);
    run["stretches"][0]["start"] = json!(back(first - oldest, picture)?);
    let folder = folder(&id);
    let mut pages = Vec::new();
    for page in (oldest..first).step_by(PAGE as usize) {
        let mut segments = Vec::new();
        for number in page..page + PAGE {
            for record in &like {
                let mut record = record.clone();
                record["start"] = json!(back(first - number, &record)?);
                record["k"] = json!(number);
                segments.push(record);
            }
        }
        let key = format!("{folder}/index/{page}.json");
        let content = json!({ "version": 1, "run": run, "segments": segments });
        store.put(&key, content.to_string().as_bytes())?;
        pages.push(json!({
            "run": id, "first_k": page, "last_k": page + PAGE - 1, "bytes": 1, "end_ms": 0
        }));
    }
    head["pages"] = Value::Array(pages);
    head["first_k"] = json!(oldest);
    head["runs"] = json!([run]);
    head["recent"] = recent.into_iter().filter(|record| record["run"] == id.as_str()).collect();
    store.put("live/a/head.json", head.to_string().as_bytes())?;
    Ok(first - oldest + 1)
}

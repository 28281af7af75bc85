//! A disk that is full, or whose files somebody deletes, with S3 behind it and without.

use std::path::{Path, PathBuf};

use super::*;

/// A disk of its own, on which little is nearly all.
const DISK: &str = "24m";

/// Fills a disk until so many bytes are left.
fn fill(spool: &Path, left: u64) -> Result {
    let disk = rustix::fs::statvfs(spool).context("the disk")?;
    let free = disk.f_bavail * disk.f_frsize;
    let filler = vec![0; usize::try_from(free.saturating_sub(left)).unwrap_or(0)];
    // What does not fit is left out, as on any full disk.
    let name = format!("filler-{}", std::fs::read_dir(spool).context("the spool")?.count());
    let _ = std::fs::write(spool.join(name), filler);
    Ok(())
}

/// Everything that the playlists list can be had.
fn all_there(server: &Server) -> Result {
    for (_, list) in hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))? {
        for object in &list.objects {
            server.client.get(&object.url)?.ok(&object.url)?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "more of real time than every run has: `make soak`"]
fn a_full_disk_gives_up_what_costs_least_first_and_never_the_live_edge() -> Result {
    let store = Store::start()?;
    let front = Front::before(store.address)?;
    let channel = ChannelConfig::pass_through("a").with("window = \"10s\"");
    let server = Server::start_on_disk(&[channel], &store.section(front.address), DISK)?;
    let source = Source { gop: 25, ..Source::tiny(RATE) };
    let mut publisher = source.publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(15))?;
    // So long that segments have left the window.
    server.wait_more("a", 8)?;
    drained(&server, SOON)?;
    let (first, _) = server.numbers("a")?;
    let listed = hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))?;
    let (_, list) = listed.first().context("a playlist")?;
    let run = run_of(&list.objects.last().context("a segment")?.url);
    let file =
        |k: u64| -> Result<PathBuf> { Ok(server.spool()?.join(format!("a/{run}/source/{k}.m4s"))) };
    // Nearly full: what S3 has and nobody lists goes, and can be had all the same.
    let old = first.saturating_sub(1);
    assert!(file(old)?.exists(), "{:?}", file(old)?);
    fill(&server.spool()?, 700_000)?;
    until("room on the disk", SOON, || Ok(Look::at((!file(old)?.exists()).then_some(()), "none")))?;
    server.wait_log(&["the disk is nearly full: making room"], SOON)?;
    let url = server.url(&format!("/live/a/{run}/source/{old}.m4s"));
    server.client.get(&url)?.ok(&url)?;
    assert_eq!(upstream(&server)?["missing_segments"], 0);
    // S3 away too: then the oldest that nobody lists, which is told.
    front.does(|_| Fault::Refuse);
    until("segments that are given up", Duration::from_secs(40), || {
        let now = upstream(&server)?;
        Ok(Look::at((now["missing_segments"].as_u64() > Some(0)).then_some(()), now.to_string()))
    })?;
    server.wait_log(&["given up: the disk is full, and S3 has not taken it"], SOON)?;
    all_there(&server)?;
    // Full to the last byte, whatever room it makes: the live edge goes on from memory.
    until("errors of the disk", SOON, || {
        fill(&server.spool()?, 0)?;
        let metrics = server.client.text(&server.admin_url("/metrics"))?;
        let failed = metrics.lines().find(|l| l.starts_with("headwater_store_write_errors_total{"));
        let failed = failed.context("a count of errors")?;
        Ok(Look::at((!failed.ends_with(" 0")).then_some(()), failed))
    })?;
    server.wait_more("a", 3)?;
    all_there(&server)?;
    // S3 is back before the disk is: it gets from memory what the disk never had.
    front.does(|_| Fault::None);
    drained(&server, BACK)?;
    let missing = upstream(&server)?["missing_segments"].as_u64().context("a count")?;
    let gaps = indexed(&store)?.iter().filter(|record| record["gap"] == true).count() as u64;
    // One that was on its way when it was given up may have come all the same.
    assert!((1..=missing).contains(&gaps), "{gaps} gaps in the index, {missing} missing");
    let holes = store.object("live/a/holes.json")?.context("holes")?;
    assert!(String::from_utf8_lossy(&holes).contains("the disk was full"));
    // Somebody clears the disk of everything.
    for entry in std::fs::read_dir(server.spool()?).context("the spool")? {
        let path = entry.context("the spool")?.path();
        let _ =
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
    server.wait_more("a", 3)?;
    let (_, last) = server.numbers("a")?;
    all_there(&server)?;
    store.wait_segment("a", last, SOON)?;
    let records = indexed(&store)?;
    let late: Vec<_> = records.iter().filter(|r| r["k"] == last && r["gap"] == true).collect();
    assert!(late.is_empty(), "{late:?}");
    until("files of new segments", SOON, || {
        let (_, k) = server.numbers("a")?;
        Ok(Look::at(file(k)?.exists().then_some(()), format!("no file of {k}")))
    })?;
    publisher.check()?;
    server.stop()
}

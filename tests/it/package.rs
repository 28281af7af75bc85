//! `headwater package`: every picture of a file comes out once, as it was or as a ladder, also when it was
//! broken off; in a folder, or in a bucket of S3.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::process::{Process, Stdout};
use harness::publisher::{Feed, Source};
use harness::reader::ffmpeg;
use harness::rules;
use harness::rules::dash::{Schema, check_schema};
use harness::s3::{BUCKET, Fault, Front, SIGNED, Store};
use harness::wait::{Look, until};
use harness::{Context, Result, edge, process, workspace};
use packager::time::FrameRate;
use rustix::process::Signal;

const RATE: FrameRate = FrameRate::new(25, 1);
const SOON: Duration = Duration::from_secs(60);

fn command(input: &Path, out: &Path, ladder: &str) -> Result<Command> {
    let mut command = Command::new(workspace::headwater()?);
    command
        .arg("package")
        .arg(input)
        .args(["--ladder", ladder, "--segment", "2", "--out"])
        .arg(out);
    Ok(command)
}

/// What the program says when it is done.
fn package(input: &Path, out: &Path, ladder: &str) -> Result<String> {
    let output = process::run("package", &mut command(input, out, ladder)?, SOON)?;
    assert!(output.status.success(), "{}", output.stderr);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Any web server, on a folder; and its address.
fn serve(out: &Path) -> Result<(Process, String)> {
    let mut command = Command::new(workspace::python());
    command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]).arg(out);
    let server = Process::spawn("http.server", &mut command, Stdout::Log, &out.join("server.log"))?;
    let port = until("a web server", SOON, || {
        let log = server.log();
        let port = log.split("port ").nth(1).and_then(|rest| rest.split(' ').next());
        Ok(Look::at(port.map(str::to_owned), log.clone()))
    })?;
    Ok((server, format!("http://127.0.0.1:{port}")))
}

/// A folder has the pictures of a file from the first to the last.
fn is_whole(out: &Path, feed: Feed, frames: u64) -> Result {
    // ffmpeg 5.1 reads a manifest of DASH from a server only: it looks for files in the wrong folder.
    let (_server, address) = serve(out)?;
    plays_whole(&address, &[], feed, frames)?;
    keeps_the_rules(|name| std::fs::read_to_string(out.join(name)).context(name.to_owned()))?;
    assert!(!out.join("unfinished").exists());
    Ok(())
}

/// Players find every picture of a file once, by HLS and by DASH.
fn plays_whole(address: &str, options: &[&str], feed: Feed, frames: u64) -> Result {
    for manifest in ["index.m3u8", "manifest.mpd"] {
        let seen = ffmpeg::frames(&format!("{address}/{manifest}"), options, None)?;
        let shown: Vec<_> =
            seen.iter().map(|f| f.mark.and_then(|mark| feed.frame_of(mark))).collect();
        assert_eq!(shown, (0..frames).map(Some).collect::<Vec<_>>(), "{manifest}");
        let length = seen[seen.len() - 1].pts_ns - seen[0].pts_ns;
        let expected = (frames as i64 - 1) * 40_000_000;
        assert!((length - expected).abs() < 40_000_000, "{manifest}: {length} ns");
    }
    Ok(())
}

/// What is written of a file keeps the rules.
fn keeps_the_rules(read: impl Fn(&str) -> Result<String>) -> Result {
    let multivariant = read("index.m3u8")?;
    assert_eq!(rules::hls::check_multivariant(&multivariant), [], "{multivariant}");
    let mpd = read("manifest.mpd")?;
    if let Some(schema) = Schema::find() {
        assert_eq!(check_schema(&schema, &mpd).context("xmllint")?, [], "{mpd}");
    }
    assert!(!mpd.contains(".keys") && !read("audio/index.m3u8")?.contains("DATE-TIME"));
    Ok(())
}

#[test]
fn a_file_is_packaged_as_it_is_and_as_a_ladder_that_was_broken_off() -> Result {
    let dir = tempfile::tempdir().context("a folder")?;
    let input = dir.path().join("in.flv");
    // Segments of a source end at its key frames: B-frames, so that its order is not that of time.
    let source = Source { gop: 50, ..Source::tiny(RATE).with_b_frames(2) };
    let feed = source.record(&input, 500)?;
    let frames = ffmpeg::frames(input.to_str().context("a path")?, &[], None)?.len() as u64;

    let plain = dir.path().join("plain");
    let said = package(&input, &plain, "source")?;
    assert!(said.contains("source, audio"), "{said}");
    is_whole(&plain, feed, frames)?;
    let again = process::run("package", &mut command(&input, &plain, "source")?, SOON)?;
    assert!(!again.status.success() && again.stderr.contains("another place"), "{}", again.stderr);

    let ladder = dir.path().join("ladder");
    let log = dir.path().join("log");
    let mut first = command(&input, &ladder, "180p,96p")?;
    let broken = Process::spawn("package", &mut first, Stdout::Log, &log)?;
    until("some segments", SOON, || {
        let notes = std::fs::read_to_string(ladder.join("unfinished")).unwrap_or_default();
        let lines = notes.lines().count();
        Ok(Look::at((lines > 9).then_some(()), format!("{lines} lines; {}", broken.log_tail(3))))
    })?;
    broken.signal(Signal::KILL);
    drop(broken);
    let said = package(&input, &ladder, "180p,96p")?;
    assert!(said.contains("segments were there before"), "{said}");
    is_whole(&ladder, feed, frames)
}

/// Where the bucket's film is.
const FILM: &str = "films/a";

/// Packages into the bucket of a store that is reached at `endpoint`.
fn into_bucket(input: &Path, store: &Store, endpoint: &str, bucket: &str) -> Result<Command> {
    let out = format!("s3://{bucket}/{FILM}");
    let mut command = command(input, Path::new(&out), "180p,96p")?;
    command
        .args(["--s3-endpoint", endpoint])
        .env("AWS_SHARED_CREDENTIALS_FILE", store.credentials())
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_PROFILE");
    Ok(command)
}

/// The segments that the notes in a bucket name, as keys: the run stands in the first line.
fn noted(store: &Store) -> Result<Vec<String>> {
    let notes = store.object(&format!("{FILM}/unfinished/0.jsonl"))?.unwrap_or_default();
    let notes = String::from_utf8(notes).context("notes")?;
    let mut lines = notes.lines().map(serde_json::from_str::<serde_json::Value>);
    let Some(head) = lines.next() else { return Ok(Vec::new()) };
    let head = head.context("the first line")?;
    let run = head["run"].as_str().context("a run")?;
    let names = ["180p", "96p", "audio"];
    lines
        .map(|line| {
            let line = line.context("a line")?;
            let name = line["rendition"].as_u64().and_then(|index| names.get(index as usize));
            Ok(format!("{FILM}/{run}/{}/{}.m4s", name.context("a rendition")?, line["k"]))
        })
        .collect()
}

#[test]
fn a_file_is_packaged_into_a_bucket_and_what_that_has_is_not_sent_again() -> Result {
    let dir = tempfile::tempdir().context("a folder")?;
    let input = dir.path().join("in.flv");
    let feed = Source { gop: 50, ..Source::tiny(RATE) }.record(&input, 500)?;
    let frames = ffmpeg::frames(input.to_str().context("a path")?, &[], None)?.len() as u64;
    let store = Store::start()?;
    let front = Front::before(store.address)?;
    let endpoint = format!("http://{}", front.address);

    // What can't be is told, with what to do about it.
    let refused = |endpoint: &str, bucket: &str| {
        let mut command = into_bucket(&input, &store, endpoint, bucket)?;
        let output = process::run("package", &mut command, SOON)?;
        assert!(!output.status.success(), "{}", output.stderr);
        Ok::<_, harness::Failure>(output.stderr)
    };
    let said = refused(&endpoint, "nobody")?;
    assert!(said.contains("there is no bucket \"nobody\""), "{said}");
    front.does(|asked| match asked.method.as_str() {
        "PUT" => Fault::Answer(403, "AccessDenied"),
        _ => Fault::None,
    });
    let said = refused(&endpoint, BUCKET)?;
    assert!(said.contains("s3:PutObject"), "{said}");
    let said = refused(&format!("http://{}", edge::free()?), BUCKET)?;
    assert!(said.contains("Connection refused"), "{said}");

    // A segment that is never sent keeps it from coming to its end.
    front.does(|asked| match asked.target.contains("/180p/6.m4s") {
        true => Fault::Stall,
        false => Fault::None,
    });
    let log = dir.path().join("log");
    let mut first = into_bucket(&input, &store, &endpoint, BUCKET)?;
    let broken = Process::spawn("package", &mut first, Stdout::Log, &log)?;
    until("some segments", SOON, || {
        let noted = noted(&store)?.len();
        Ok(Look::at((noted > 8).then_some(()), format!("{noted}; {}", broken.log_tail(3))))
    })?;
    broken.signal(Signal::KILL);
    drop(broken);
    let kept = noted(&store)?;
    assert!(store.object(&format!("{FILM}/index.m3u8"))?.is_none(), "it is not finished");

    // It goes on, though the store fails now and then; oftener, and it would be given a rest.
    let before = front.asked().len();
    front.does(|asked| match asked.target.contains(".m4s") && asked.number.is_multiple_of(8) {
        true => Fault::Answer(500, "InternalError"),
        false => Fault::None,
    });
    let mut second = into_bucket(&input, &store, &endpoint, BUCKET)?;
    let output = process::run("package", &mut second, SOON)?;
    assert!(output.status.success(), "{}", output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    let there = said.split("; ").nth(1).and_then(|rest| rest.split(' ').next());
    let there: usize = there.context(said.to_string())?.parse().context("a number")?;
    assert!(there > 3 && there <= kept.len(), "{there} of {}: {said}", kept.len());
    let sent: BTreeSet<_> = front.asked()[before..]
        .iter()
        .filter(|(asked, _)| asked.method == "PUT")
        .map(|(asked, _)| asked.target.clone())
        .collect();
    let again = kept.iter().filter(|key| {
        sent.iter().any(|target| target.split('?').next() == Some(&format!("/{BUCKET}/{key}")))
    });
    // From the first number on that not every rendition had.
    assert!(again.count() <= kept.len() - there, "{kept:#?}; {there} there; {sent:#?}");

    let address = format!("http://{}/{BUCKET}/{FILM}", store.address);
    let signed = format!("Authorization: {SIGNED}\r\n");
    plays_whole(&address, &["-headers", &signed], feed, frames)?;
    keeps_the_rules(|name| {
        let object = store.object(&format!("{FILM}/{name}"))?.context(name.to_owned())?;
        String::from_utf8(object).context(name.to_owned())
    })?;
    let left = store.keys()?;
    assert!(left.iter().all(|key| !key.contains("unfinished")), "{left:#?}");
    let said = refused(&endpoint, BUCKET)?;
    assert!(said.contains("another place"), "{said}");
    Ok(())
}

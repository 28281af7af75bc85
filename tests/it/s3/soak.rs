//! The must-holds of S3 that take minutes (`make soak`), and a short storm for every run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

/// How long S3 is away or ill.
const LENGTH: Duration = Duration::from_secs(300);
/// How long before that is measured beside it.
const BEFORE: Duration = Duration::from_secs(60);
/// The promise for a part: from the encoder's last frame to fetchable.
const PART_WITHIN: f64 = 0.010;

/// How many parts were published within which time: the buckets of the histogram.
fn published(server: &Server) -> Result<Vec<(f64, f64)>> {
    let text = server.client.text(&server.admin_url("/metrics"))?;
    let lines = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("headwater_part_publish_latency_seconds_bucket{")?;
        let (labels, count) = rest.split_once("} ")?;
        let bound = labels.split("le=\"").nth(1)?.split('"').next()?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        Some((bound, count.parse().ok()?))
    });
    let buckets: Vec<_> = lines.collect();
    if buckets.is_empty() { Err(Failure::new("no histogram of parts")) } else { Ok(buckets) }
}

/// Below which time 99 % of the parts between two looks were published: within its bucket as Prometheus
/// has it, which is as if they were spread evenly.
fn p99(before: &[(f64, f64)], after: &[(f64, f64)]) -> f64 {
    let grown: Vec<_> =
        before.iter().zip(after).map(|((bound, b), (_, a))| (*bound, a - b)).collect();
    let wanted = 0.99 * grown.last().map_or(0.0, |(_, count)| *count);
    let mut below = (0.0, 0.0);
    for (bound, count) in grown {
        if count >= wanted {
            let share = (wanted - below.1) / (count - below.1).max(1.0);
            return if bound.is_finite() { below.0 + (bound - below.0) * share } else { bound };
        }
        below = (bound, count);
    }
    f64::INFINITY
}

/// A channel on the air while S3 is as the script says for [`LENGTH`]; then it is well. Prints the
/// numbers.
fn through(name: &str, script: impl Fn(&harness::s3::Asked) -> Fault + Send + 'static) -> Result {
    let store = Store::start()?;
    let front = Front::before(store.address)?;
    let (server, mut publisher) = on_air(&store.section(front.address), "")?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let start = published(&server)?;
    std::thread::sleep(BEFORE);
    let well = published(&server)?;
    front.does(script);
    std::thread::sleep(LENGTH);
    let ill = published(&server)?;
    let backlog = upstream(&server)?;
    front.does(|_| Fault::None);
    let began = Instant::now();
    drained(&server, Duration::from_secs(120))?;
    let took = began.elapsed();
    publisher.check()?;
    let record = witness.finish()?;
    record.clean()?;
    let segments = agrees(&store, &server)?;
    let (before, during) = (p99(&start, &well), p99(&well, &ill));
    println!(
        "{name}: {segments} segments, none lost; backlog {} segments, {:.1} MB, sent in {took:.1?}; \
         part publish p99 {:.1} ms before, {:.1} ms during",
        backlog["backlog_segments"],
        backlog["backlog_bytes"].as_f64().unwrap_or(0.0) / 1e6,
        before * 1e3,
        during * 1e3,
    );
    // Beside compilers a part is late for other reasons: then not much later than it was before.
    assert!(
        during <= (1.5 * before).max(PART_WITHIN),
        "p99 of parts {during} s, {before} s before"
    );
    assert!(took < LENGTH, "faster than real time");
    server.stop()
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn five_minutes_without_s3_lose_nothing_and_delay_no_part() -> Result {
    through("S3 away for 5 minutes", |_| Fault::Refuse)
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn five_minutes_of_errors_and_answers_after_eight_seconds_lose_nothing_and_delay_no_part() -> Result
{
    through("S3 with 5 % errors and p99 of 8 s", |asked| match asked.number % 100 {
        n if n % 20 == 7 => Fault::Answer(503, "SlowDown"),
        13 | 63 => Fault::Late(Duration::from_secs(8)),
        _ => Fault::Late(Duration::from_millis(50)),
    })
}

/// Below which time 99 % of the parts were published before a storm, and during it.
struct Parts {
    before: f64,
    during: f64,
}

/// So many who want old segments that S3 gives slowly, for so long, and viewers at the live edge beside
/// them, who notice nothing. Prints the numbers.
fn storm(clients: usize, length: Duration) -> Result<Parts> {
    let store = Store::start()?;
    let front = Front::before(store.address)?;
    // What was read once is asked for again before long: with room for it all, S3 would soon be out of this.
    let section = store.section(front.address) + "cache = \"1MiB\"\n";
    let (server, mut publisher) = on_air(&section, "")?;
    server.wait_more("a", 2)?;
    let (first, _) = server.numbers("a")?;
    let listed = hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))?;
    let (_, list) = listed.first().context("a playlist")?;
    let run = run_of(&list.objects.first().context("a segment")?.url);
    for n in 1..=200 {
        let key = format!("{}/source/{}.m4s", folder(&run), first.saturating_sub(n));
        store.put(&key, &[7; 100_000])?;
    }
    front.does(|asked| match asked.method == "GET" && asked.target.contains(".m4s") {
        true => Fault::Late(Duration::from_millis(500)),
        false => Fault::None,
    });
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let start = published(&server)?;
    std::thread::sleep(length / 3);
    let quiet = published(&server)?;
    let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let storm: Vec<_> = (0..clients as u64)
        .map(|n| {
            let (over, answers) = (Arc::clone(&over), Arc::clone(&answers));
            let base = server.url(&format!("/live/a/{run}/source/"));
            std::thread::spawn(move || {
                // Viewers are other machines: what they do here has what others leave of this one.
                let _ = rustix::process::nice(19);
                let client = Client::afresh();
                for turn in n.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let k = first.saturating_sub(1 + turn % 200);
                    match client.get(&format!("{base}{k}.m4s")) {
                        Ok(answer) if answer.status == 200 => {
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                        // As players do that are told so.
                        _ => std::thread::sleep(Duration::from_secs(1)),
                    }
                }
            })
        })
        .collect();
    std::thread::sleep(length);
    let after = published(&server)?;
    over.store(true, Ordering::Relaxed);
    for thread in storm {
        let _ = thread.join();
    }
    publisher.check()?;
    witness.finish()?.clean()?;
    let (before, during) = (p99(&start, &quiet), p99(&quiet, &after));
    println!(
        "a storm of {clients} clients on old segments: {} answers in {length:.0?}, part publish p99 {:.1} ms \
         before, {:.1} ms during",
        answers.load(Ordering::Relaxed),
        before * 1e3,
        during * 1e3
    );
    assert!(answers.load(Ordering::Relaxed) > 0, "nobody was given an old segment");
    server.stop()?;
    Ok(Parts { before, during })
}

#[test]
fn old_segments_that_many_want_are_nothing_to_the_live_edge() -> Result {
    storm(200, Duration::from_secs(9)).map(drop)
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn a_storm_of_two_thousand_on_old_segments_delays_no_part() -> Result {
    let Parts { before, during } = storm(2_000, Duration::from_secs(60))?;
    assert!(
        during <= (1.5 * before).max(PART_WITHIN),
        "p99 of parts {during} s, {before} s before"
    );
    Ok(())
}

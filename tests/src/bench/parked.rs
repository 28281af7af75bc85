//! What it costs that ten thousand viewers wait for the same playlist.
//!
//! Beside it, what no server can be faster than: a loop that does nothing but write the same bytes to
//! as many sockets.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use packager::time::FrameRate;
use rustix::process::{Resource, getrlimit};

use super::{Measure, cpu};
use crate::load::Crowd;
use crate::publisher::Source;
use crate::reader::hls;
use crate::server::{ChannelConfig, Server};
use crate::wait::{Look, until};
use crate::{Context, Failure, Result};

/// Viewers that wait.
const VIEWERS: u64 = 10_000;
/// How often they are let wait: an allocator's first crowd tells nothing of the next.
const ROUNDS: usize = 3;
/// Most memory of the server with all of them.
const MOST_MEMORY: u64 = 110_000_000;
/// Longest time from the first answer to the last.
const LONGEST: Duration = Duration::from_millis(150);
/// Files that a process has besides its connections, generously.
const OTHER_FILES: u64 = 200;
/// What ends the head of an answer.
const HEAD_END: &str = "\r\n\r\n";
/// How long all of them may take to come, on a machine that does other things too.
const THERE_WITHIN: Duration = Duration::from_secs(60);

/// One crowd.
struct Round {
    resident: u64,
    /// Bytes of one answer, its head among them.
    answer: usize,
    spread: Duration,
    cpu: Duration,
}

/// Measures it.
///
/// # Errors
/// A part does not start, or a viewer is not answered.
pub fn measure() -> Result<Vec<Measure>> {
    // Long segments: all have to be there before the one that they wait for.
    let channel = ChannelConfig::tiny("a").with_ladder(&["96p"]).with("segment = \"6s\"");
    let server = Server::start(&[channel])?;
    let _source = Source::tiny(FrameRate::new(25, 1)).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(60))?;
    let id = server.serving_id()?;
    on_one_core(id, true)?;
    let before = resident(id)?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        rounds.push(round(&server, id)?);
    }
    let resident = rounds.iter().map(|round| round.resident).max().unwrap_or_default();
    let spread = rounds.iter().map(|round| round.spread).min().unwrap_or_default();
    let answer = rounds.iter().map(|round| round.answer).max().unwrap_or_default();
    let loops = (0..ROUNDS).map(|_| bare_loop(answer)).collect::<Result<Vec<_>>>()?;
    let bare = loops.iter().min().copied().unwrap_or_default();
    let spreads: Vec<_> = rounds.iter().map(|r| format!("{} ms", r.spread.as_millis())).collect();
    let cpu = rounds.iter().map(|round| round.cpu).min().unwrap_or_default();
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let each = resident.saturating_sub(before) as f64 / VIEWERS as f64;
    Ok(vec![
        Measure {
            name: "10,000 waiting playlist requests, memory of the server".into(),
            ours: format!("{} ({each:.0} bytes each)", megabytes(resident)),
            bar: "≤ 110 MB".into(),
            met: resident <= MOST_MEMORY,
            method: format!(
                "One channel of 96p in segments of 6 s; {VIEWERS} connections of one process ask \
                 for the playlist with the segment after the next (`_HLS_msn`). Resident memory of \
                 the server process, of which {} was there before the first crowd; the largest of \
                 {ROUNDS} crowds, one after the other.",
                megabytes(before)
            ),
            ..Measure::without_peer()
        },
        Measure {
            name: "10,000 waiting playlist requests, first answer to last on one core".into(),
            ours: format!("{} ms", spread.as_millis()),
            peer: format!("a loop of write() {} ms", bare.as_millis()),
            ratio: format!("{:.2}", spread.as_secs_f64() / bare.as_secs_f64().max(0.001)),
            bar: "≤ 150 ms".into(),
            met: spread <= LONGEST,
            method: format!(
                "The same crowds; the server is bound to one core. An answer's time is when its \
                 bytes arrived at the viewer's socket, as the kernel tells afterwards in whole \
                 milliseconds, which on loopback is when they were written. The best of the crowds \
                 ({}), as others may want the core; the server used {} ms of CPU time for the \
                 cheapest. Viewers keep their connections. The loop: a thread on the same core that \
                 writes {answer} bytes to each of as many sockets of the same viewers and does \
                 nothing else; the best of {ROUNDS}.",
                spreads.join(", "),
                cpu.as_millis()
            ),
        },
    ])
}

fn round(server: &Server, id: u32) -> Result<Round> {
    let lists = hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))?;
    let newest = lists.first().and_then(|(_, list)| list.objects.last()).context("a segment")?.k;
    // Just after one has come there is most time.
    server.wait_segment("a", newest + 1, Duration::from_secs(60))?;
    let wanted = newest + 3;
    let request =
        format!("GET /live/a/96p/index.m3u8?_HLS_msn={wanted} HTTP/1.1\r\nHost: bench\r\n\r\n");
    let crowd = Crowd::ask(server.http, &request, VIEWERS)?;
    until("viewers that wait", THERE_WITHIN, || {
        let text = server.client.text(&server.admin_url("/metrics"))?;
        let waiting = text.lines().find_map(|l| l.strip_prefix("headwater_http_waiting_requests "));
        let waiting = waiting.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        Ok(Look::at((waiting == VIEWERS).then_some(()), format!("{waiting} wait")))
    })?;
    let (resident, before) = (resident(id)?, cpu::of(id)?);
    let answers = crowd.answers(THERE_WITHIN)?;
    let cpu = cpu::of(id)?.saturating_sub(before);
    if answers.statuses.get(&200) != Some(&VIEWERS) {
        return Err(Failure::new(format!("{:?}", answers.statuses)));
    }
    let head = answers.heads.get(&200).context("an answer's head")?.len() + HEAD_END.len();
    let answer = head + answers.bytes / VIEWERS as usize;
    Ok(Round { resident, answer, spread: answers.spread, cpu })
}

/// Writes so many bytes to each of a crowd, one after the other on the first core: from the first
/// answer to the last. Both ends are this process's files; a crowd that is smaller for that counts in
/// proportion.
fn bare_loop(bytes: usize) -> Result<Duration> {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let count = VIEWERS.min(files.saturating_sub(OTHER_FILES) / 2);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a listening socket")?;
    rustix::net::listen(&listener, 4_096).context("room for who connects")?;
    let address: SocketAddr = listener.local_addr().context("its address")?;
    let (there, all_there) = channel();
    let server = std::thread::spawn(move || -> Result {
        on_one_core(thread_id()?, false)?;
        let mut head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}{HEAD_END}");
        let body = bytes.saturating_sub(head.len());
        head = format!("HTTP/1.1 200 OK\r\ncontent-length: {body}{HEAD_END}");
        let answer = [head.into_bytes(), vec![b'#'; body]].concat();
        let mut viewers: Vec<TcpStream> = Vec::new();
        for _ in 0..count {
            let (mut viewer, _) = listener.accept().context("a viewer")?;
            viewer.set_nodelay(true).context("a viewer's connection")?;
            let _ = viewer.read(&mut [0; 1_024]).context("a viewer's request")?;
            viewers.push(viewer);
        }
        let _ = there.send(());
        viewers.iter_mut().try_for_each(|viewer| viewer.write_all(&answer).context("an answer"))
    });
    let crowd = Crowd::ask(address, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n", count)?;
    let there = all_there.recv_timeout(THERE_WITHIN);
    let answers = there.is_ok().then(|| crowd.answers(THERE_WITHIN)).transpose()?;
    server.join().map_err(|_| Failure::new("the loop panicked"))??;
    let spread = answers.context("all viewers")?.spread;
    Ok(spread.mul_f64(VIEWERS as f64 / count.max(1) as f64))
}

/// The kernel's number of this thread.
fn thread_id() -> Result<u32> {
    let path = std::fs::read_link("/proc/thread-self").context("this thread")?;
    let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    id.context("a thread's number")
}

/// Lets a process's first thread, or all of them, or another thread run on the first core only.
fn on_one_core(id: u32, all: bool) -> Result {
    let mut command = Command::new("taskset");
    command.args(all.then_some("-a")).args(["-c", "-p", "0", &id.to_string()]);
    let output = crate::process::run("taskset", &mut command, Duration::from_secs(10))?;
    if output.status.success() { Ok(()) } else { Err(Failure::new(output.stderr)) }
}

/// Resident memory of a process in bytes.
fn resident(id: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).context("memory")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kibibytes = line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok());
    Ok(kibibytes.context("VmRSS")? << 10)
}

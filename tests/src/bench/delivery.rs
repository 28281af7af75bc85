//! What an answer costs beside nginx: a segment of about a mebibyte, and a playlist of about a
//! kilobyte.
//!
//! nginx has the same bytes as files, and once more behind its own cache. All are asked by the same
//! viewers for the same time, one after the other in the same run, and what counts is the CPU time
//! that the kernel charges the servers with.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Measure, NO_BAR, cpu};
use crate::load::request_again_and_again;
use crate::process::{Process, Stdout, tree};
use crate::reader::hls;
use crate::server::{ChannelConfig, Server};
use crate::wait::{Look, until};
use crate::{Context, Result, workspace};

/// Viewers that ask at the same time.
const VIEWERS: u64 = 16;
/// How long each server is asked.
const LASTING: Duration = Duration::from_secs(4);
/// Rounds of all servers, turn by turn.
const ROUNDS: usize = 3;
/// A segment's size that is near enough to a mebibyte.
const SEGMENT: std::ops::RangeInclusive<usize> = 900_000..=1_250_000;

/// Answers per second of CPU time.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    answers: u64,
    cpu: Duration,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.cpu += other.cpu;
    }

    fn rate(self) -> f64 {
        self.answers as f64 / self.cpu.as_secs_f64().max(0.001)
    }
}

/// Measures it.
///
/// # Errors
/// A part is missing or does not start.
pub fn measure() -> Result<Vec<Measure>> {
    let folder = tempfile::tempdir().context("folder for the benchmark")?;
    let server = Server::start(&[
        ChannelConfig::pass_through("big").with("window = \"10m\""),
        ChannelConfig::tiny("a").with_ladder(&["96p"]).with("window = \"10s\""),
    ])?;
    let _publisher = publish(&server, folder.path())?;
    for name in ["big", "a"] {
        server.wait_playable(name, Duration::from_secs(60))?;
        server.wait_more(name, 6)?;
    }
    let nginx = Nginx::start(folder.path())?;
    let mut rows = Vec::new();
    for (what, bar, large) in [("segments of 1 MiB", 1.0, true), ("playlists of 1 kB", 0.5, false)]
    {
        let (path, bytes) = if large { segment(&server)? } else { playlist(&server)? };
        std::fs::write(nginx.file(large), &bytes).context("file for nginx")?;
        let file = Nginx::path(large);
        let (mut ours, mut plain, mut cached) = Default::default();
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            // The newest segment is in memory for 30 s only, which is where viewers get theirs.
            let path = if large { segment(&server)?.0 } else { path.clone() };
            let id = server.serving_id()?;
            let of_us = asked(&[id], server.http, &path)?;
            let of_plain = asked(&nginx.plain.members(), nginx.plain.address, file)?;
            let of_cached = asked(&nginx.cache.members(), nginx.cache.address, file)?;
            ratios.push(format!("{:.2}", of_us.rate() / of_plain.rate()));
            let all: [(&mut Cost, Cost); 3] =
                [(&mut ours, of_us), (&mut plain, of_plain), (&mut cached, of_cached)];
            for (sum, one) in all {
                sum.add(one);
            }
        }
        let per_second = |cost: Cost| format!("{:.0}/s", cost.rate());
        let ratio = ours.rate() / plain.rate();
        let method = format!(
            "{} bytes, asked for by {VIEWERS} connections of one process that are kept, for {} s a \
             round; {ROUNDS} rounds of Headwater, nginx of Debian with files (one worker, sendfile, \
             tcp_nopush) and nginx with `proxy_cache` before it, turn by turn. Answers per second of \
             CPU time, user and system, of the server that is asked. Ratios of the rounds: {}.",
            bytes.len(),
            LASTING.as_secs(),
            ratios.join(", ")
        );
        rows.push(Measure {
            name: format!("{what} per second of CPU, nginx with files"),
            ours: per_second(ours),
            peer: format!("nginx {}", per_second(plain)),
            ratio: format!("{ratio:.2}"),
            bar: format!("≥ {bar:.1}"),
            met: ratio >= bar,
            method,
        });
        rows.push(Measure {
            name: format!("{what} per second of CPU, nginx with its cache"),
            ours: per_second(ours),
            peer: format!("nginx {}", per_second(cached)),
            ratio: format!("{:.2}", ours.rate() / cached.rate()),
            bar: NO_BAR.into(),
            met: true,
            method: "The same rounds.".into(),
        });
    }
    Ok(rows)
}

/// A clip whose segments are about a mebibyte, sent to `big`, and a small one to `a`.
fn publish(server: &Server, folder: &Path) -> Result<Process> {
    let film = workspace::film()?;
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-re", "-stream_loop", "-1", "-i"])
        .arg(film)
        .args(["-f", "lavfi", "-re", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-map", "0:v", "-map", "1:a", "-vf", "scale=640:360,fps=25,format=yuv420p"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1"])
        .args(["-b:v", "4300k", "-minrate", "4300k", "-maxrate", "4300k", "-bufsize", "2150k"])
        .args(["-nal-hrd", "cbr", "-g", "50", "-sc_threshold", "0", "-bf", "0"])
        // `tee` does not ask the encoders for what FLV sends first.
        .args(["-flags", "+global_header"])
        .args(["-c:a", "aac", "-b:a", "128k", "-ac", "2", "-f", "tee"])
        .arg(format!(
            "[f=flv]{}|[f=flv]{}",
            server.publish_url("big", None),
            server.publish_url("a", None)
        ));
    Process::spawn("ffmpeg", &mut command, Stdout::Log, &folder.join("publisher.log"))
}

/// Path and bytes of a new segment of about a mebibyte.
fn segment(server: &Server) -> Result<(String, bytes::Bytes)> {
    until("segment of about a mebibyte", Duration::from_secs(60), || {
        let lists = hls::fetch(&server.client, &server.url("/live/big/index.m3u8"))?;
        let video = lists.iter().find(|(rendition, _)| rendition.name != "audio");
        let newest = video.and_then(|(_, list)| list.objects.last()).context("a segment")?;
        let path = newest.url.strip_prefix(&server.url("")).context("a path")?.to_owned();
        let bytes = server.client.get(&newest.url)?.ok(&newest.url)?.body;
        let size = bytes.len();
        Ok(Look::at(SEGMENT.contains(&size).then_some((path, bytes)), format!("{size} bytes")))
    })
}

/// Path and bytes of a small playlist.
fn playlist(server: &Server) -> Result<(String, bytes::Bytes)> {
    let path = "/live/a/96p/index.m3u8";
    let url = server.url(path);
    Ok((path.to_owned(), server.client.get(&url)?.ok(&url)?.body))
}

/// What it costs the processes of a server to be asked for a path.
fn asked(ids: &[u32], address: SocketAddr, path: &str) -> Result<Cost> {
    // One that ends meanwhile, like nginx's cache loader, is counted with its parent from then on.
    let spent = || -> Result<Duration> {
        let (server, others) = ids.split_first().context("a server's process")?;
        let others = others.iter().filter_map(|id| cpu::of(*id).ok()).sum::<Duration>();
        Ok(cpu::of(*server)? + others)
    };
    // Its caches know it from now on.
    request_again_and_again(address, path, 1, Duration::from_millis(100))?;
    let before = spent()?;
    let answers = request_again_and_again(address, path, VIEWERS, LASTING)?;
    Ok(Cost { answers, cpu: spent()?.saturating_sub(before) })
}

/// nginx with files, and nginx with a cache that gets them from there.
struct Nginx {
    plain: One,
    cache: One,
    files: std::path::PathBuf,
}

struct One {
    process: Process,
    address: SocketAddr,
}

impl One {
    fn start(folder: &Path, name: &str, http: impl Fn(SocketAddr) -> String) -> Result<Self> {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").context("a free port")?;
            listener.local_addr().context("a free port")?
        };
        let path = folder.join(name);
        std::fs::create_dir_all(&path).context("folder of nginx")?;
        let path = path.display();
        let config = format!(
            "daemon off;\nworker_processes 1;\nuser root;\npid {path}/pid;\n\
             error_log {path}/errors;\nevents {{ worker_connections 1024; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000;\n\
             default_type application/octet-stream; client_body_temp_path {path}/body;\n\
             proxy_temp_path {path}/proxy; {} }}\n",
            http(address)
        );
        let file = folder.join(format!("{name}.conf"));
        std::fs::write(&file, config).context("configuration of nginx")?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file);
        let log = folder.join(format!("{name}.log"));
        let process = Process::spawn("nginx", &mut command, Stdout::Log, &log)?;
        until("nginx that listens", Duration::from_secs(10), || {
            let listens = std::net::TcpStream::connect(address).is_ok();
            Ok(Look::at(listens.then_some(()), process.log_tail(3)))
        })?;
        Ok(Self { process, address })
    }

    fn members(&self) -> Vec<u32> {
        tree::members(self.process.id())
    }
}

impl Nginx {
    fn start(folder: &Path) -> Result<Self> {
        let files = folder.join("files");
        std::fs::create_dir_all(&files).context("files of nginx")?;
        let root = files.display();
        let plain = One::start(folder, "plain", |address| {
            format!(
                "open_file_cache max=100; server {{ listen {address}; root {root};\n\
                 location / {{ add_header Cache-Control max-age=1; }} }}"
            )
        })?;
        let upstream = plain.address;
        let kept = folder.join("cached");
        let kept = kept.display();
        let cache = One::start(folder, "cache", |address| {
            format!(
                "proxy_cache_path {kept} keys_zone=all:1m;\nserver {{ listen {address};\n\
                 location / {{ proxy_pass http://{upstream}; proxy_cache all;\n\
                 proxy_ignore_headers Cache-Control; proxy_cache_valid 10m; }} }}"
            )
        })?;
        Ok(Self { plain, cache, files })
    }

    const fn path(large: bool) -> &'static str {
        if large { "/segment" } else { "/playlist" }
    }

    fn file(&self, large: bool) -> std::path::PathBuf {
        self.files.join(Self::path(large).trim_start_matches('/'))
    }
}

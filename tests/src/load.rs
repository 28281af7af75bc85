//! Crowds of viewers in one process: requests that wait by the thousand, and requests one after the
//! other as fast as they are answered.
//!
//! Connections come from many addresses of 127.0.0.0/8, so that ports suffice and limits per address
//! let them in. When an answer arrived is asked of the kernel afterwards: it was written then, and
//! whoever reads ten thousand answers is later than the one who wrote them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{Context, Failure, Result};

/// Connections that are being made at the same time: the queue of a listening socket is longer.
const CONNECTING: usize = 256;
/// How long a connection may take.
const CONNECTED_WITHIN: Duration = Duration::from_secs(20);
/// Connections from one address: below what a server lets one address have.
const PER_ADDRESS: u64 = 100;

/// A crowd whose requests wait.
#[derive(Debug)]
pub struct Crowd {
    runtime: Runtime,
    viewers: JoinSet<Result<(Answer, TcpStream)>>,
    asked: Arc<AtomicU64>,
}

/// What one of a crowd was answered.
#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    head: String,
    bytes: usize,
    /// When the last byte of it arrived, to the kernel's milliseconds.
    arrived: Instant,
}

/// What a crowd was answered.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// How many were answered with each status; 0 for those who were not answered in order.
    pub statuses: BTreeMap<u16, u64>,
    /// From the first answer of status 200 to the last.
    pub spread: Duration,
    /// The head of one answer of each status.
    pub heads: BTreeMap<u16, String>,
    /// Bytes of all bodies.
    pub bytes: usize,
}

impl Crowd {
    /// Lets `count` viewers connect and send `request`, each on a connection of its own.
    ///
    /// # Errors
    /// This machine can't make connections.
    pub fn ask(server: SocketAddr, request: &str, count: u64) -> Result<Self> {
        let runtime = runtime()?;
        let asked = Arc::new(AtomicU64::new(0));
        let mut viewers = JoinSet::new();
        let connecting = Arc::new(Semaphore::new(CONNECTING));
        let request: Arc<str> = request.into();
        for number in 0..count {
            let (asked, request) = (Arc::clone(&asked), Arc::clone(&request));
            let connecting = Arc::clone(&connecting);
            let viewer = async move {
                let turn = connecting.acquire().await.context("a turn")?;
                let mut stream = timeout(CONNECTED_WITHIN, connect(server, number / PER_ADDRESS))
                    .await
                    .context("time to connect")?
                    .context("a viewer's connection")?;
                stream.write_all(request.as_bytes()).await.context("a viewer's request")?;
                drop(turn);
                asked.fetch_add(1, Ordering::Relaxed);
                let answer = answer(&mut stream).await?;
                Ok((answer, stream))
            };
            viewers.spawn_on(viewer, runtime.handle());
        }
        Ok(Self { runtime, viewers, asked })
    }

    /// How many have sent their request.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Waits until all are answered. As viewers do, they keep their connections: ending one costs the
    /// server more than an answer, and would be a part of what the others wait for.
    ///
    /// # Errors
    /// Some still wait after `bound`.
    pub fn answers(mut self, bound: Duration) -> Result<Answers> {
        let mut answers = Answers::default();
        let (mut first, mut last) = (None::<Instant>, None::<Instant>);
        let mut kept = Vec::with_capacity(self.viewers.len());
        let all = async {
            while let Some(viewer) = self.viewers.join_next().await {
                let Ok((answer, connection)) = viewer.context("a viewer")? else {
                    *answers.statuses.entry(0).or_default() += 1;
                    continue;
                };
                kept.push(connection);
                *answers.statuses.entry(answer.status).or_default() += 1;
                answers.bytes += answer.bytes;
                if answer.status == 200 {
                    first = Some(first.map_or(answer.arrived, |at| at.min(answer.arrived)));
                    last = Some(last.map_or(answer.arrived, |at| at.max(answer.arrived)));
                }
                answers.heads.entry(answer.status).or_insert(answer.head);
            }
            Ok::<_, Failure>(())
        };
        self.runtime.block_on(async { timeout(bound, all).await }).context("answers for all")??;
        answers.spread = last.zip(first).map(|(l, f)| l - f).unwrap_or_default();
        Ok(answers)
    }
}

/// Reads one answer with a Content-Length.
async fn answer(stream: &mut TcpStream) -> Result<Answer> {
    let mut read = Vec::with_capacity(2_048);
    let (end, length) = loop {
        if stream.read_buf(&mut read).await.context("an answer")? == 0 {
            return Err(Failure::new("the connection ended before an answer"));
        }
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            break (end + 4, length.and_then(|text| text.parse::<usize>().ok()).unwrap_or(0));
        }
    };
    while read.len() < end + length {
        if stream.read_buf(&mut read).await.context("a body")? == 0 {
            return Err(Failure::new("the connection ended within an answer"));
        }
    }
    let arrived = Instant::now() - since_last_byte(stream)?;
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let status = status.context("a status")?;
    Ok(Answer { status, head, bytes: read.len() - end, arrived })
}

/// How long ago a connection's last byte arrived (`tcpi_last_data_recv` of `tcp(7)`).
fn since_last_byte(stream: &TcpStream) -> Result<Duration> {
    // SAFETY: all fields are numbers, for which zero is a value.
    #[allow(unsafe_code)]
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is how many there are.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(Failure::new(format!("TCP_INFO: {}", std::io::Error::last_os_error())));
    }
    Ok(Duration::from_millis(info.tcpi_last_data_recv.into()))
}

/// Lets `connections` viewers ask for a path again and again for a while; gives the number of answers.
///
/// # Errors
/// An answer has another status than 200, or another length than the first.
pub fn request_again_and_again(
    server: SocketAddr,
    path: &str,
    connections: u64,
    lasting: Duration,
) -> Result<u64> {
    let request: Arc<str> =
        format!("GET {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: headwater-tests\r\n\r\n").into();
    let until = Instant::now() + lasting;
    runtime()?.block_on(async {
        let mut viewers = JoinSet::new();
        for number in 0..connections {
            let request = Arc::clone(&request);
            viewers.spawn(async move {
                let mut stream = connect(server, number).await.context("a viewer's connection")?;
                let mut answered = 0;
                let mut room = vec![0; 1 << 20];
                while Instant::now() < until {
                    stream.write_all(request.as_bytes()).await.context("a request")?;
                    discard(&mut stream, &mut room).await?;
                    answered += 1;
                }
                Ok::<u64, Failure>(answered)
            });
        }
        let mut answered = 0;
        while let Some(viewer) = viewers.join_next().await {
            answered += viewer.context("a viewer")??;
        }
        Ok(answered)
    })
}

/// Reads one answer of status 200 and throws it away.
async fn discard(stream: &mut TcpStream, room: &mut [u8]) -> Result {
    let mut got = 0;
    let (end, length) = loop {
        let count = stream.read(&mut room[got..]).await.context("an answer")?;
        if count == 0 {
            return Err(Failure::new("the connection ended before an answer"));
        }
        got += count;
        if let Some(end) = room[..got].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&room[..end]).to_ascii_lowercase();
            if !head.starts_with("http/1.1 200 ") {
                return Err(Failure::new(head));
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.and_then(|text| text.trim().parse::<usize>().ok());
            break (end + 4, length.context("a Content-Length")?);
        }
    };
    let mut left = (end + length).saturating_sub(got);
    while left > 0 {
        let most = left.min(room.len());
        let count = stream.read(&mut room[..most]).await.context("a body")?;
        if count == 0 {
            return Err(Failure::new("the connection ended within an answer"));
        }
        left -= count;
    }
    Ok(())
}

/// A connection from one of many addresses.
async fn connect(server: SocketAddr, address: u64) -> std::io::Result<TcpStream> {
    let [.., b, c] = (1 + address % 0xFFFE).to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    // Apart from the addresses of the tests themselves.
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 64, b, c), 0)))?;
    socket.connect(server).await
}

fn runtime() -> Result<Runtime> {
    // Every viewer is a file of this process.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("files of the viewers")?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("runtime of the viewers")
}

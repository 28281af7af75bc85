//! Before a store: passes requests on, and does wrong what the script says.
//!
//! It knows as much of HTTP/1.1 as clients of S3 use: bodies have a length. Every connection has a
//! thread, which ends when the front is dropped.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Context, Result, edge};

/// How long a stalled request is held at the most, where nobody gives it up.
const STALLED: Duration = Duration::from_secs(60);
/// How often a thread looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Number of the request, from 0.
    pub number: u64,
    /// Such as `PUT`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Whether it is to have an effect only if there is no such object.
    pub only_new: bool,
}

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Nothing, but late.
    Late(Duration),
    /// An error of the store's instead of an answer: status and code.
    Answer(u16, &'static str),
    /// The request is read, and no answer comes.
    Stall,
    /// The request has its effect, and the connection breaks before the answer.
    Reset,
    /// The body of the answer ends half way.
    Truncate,
    /// Conditions are left out, as stores do that do not know them.
    Unconditional,
    /// The connection is closed at once, as if nobody listened.
    Refuse,
}

type Script = Box<dyn Fn(&Asked) -> Fault + Send>;

/// A front before a store.
pub struct Front {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Shared {
    store: SocketAddr,
    script: Mutex<Script>,
    asked: Mutex<Vec<(Asked, Fault)>>,
    ending: AtomicBool,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

impl Front {
    /// A front before the store at this address, which does nothing wrong yet.
    ///
    /// # Errors
    /// If the system gives no port.
    pub fn before(store: SocketAddr) -> Result<Self> {
        let address = edge::free()?;
        let listener = TcpListener::bind(address).context("front of the store")?;
        let shared = Arc::new(Shared {
            store,
            script: Mutex::new(Box::new(|_| Fault::None)),
            asked: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || accept(&listener, &of_thread));
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    /// From now on, this is done wrong.
    pub fn does(&self, script: impl Fn(&Asked) -> Fault + Send + 'static) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(script);
    }

    /// What was asked so far, and what was done wrong.
    pub fn asked(&self) -> Vec<(Asked, Fault)> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    for stream in listener.incoming() {
        if shared.ending.load(Ordering::Relaxed) {
            break;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // A client that goes away is what most of the faults are about.
        threads.push(std::thread::spawn(move || drop(converse(stream, &shared))));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Answers the requests of a connection, one after the other.
fn converse(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    client.set_read_timeout(Some(LOOK_EVERY))?;
    let mut reader = BufReader::new(client.try_clone()?);
    while let Some(request) = read_head(&mut reader, shared)? {
        let asked = request.asked(shared);
        let fault = {
            let script = shared.script.lock().unwrap_or_else(PoisonError::into_inner);
            script(&asked)
        };
        {
            let mut all = shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
            all.push((asked.clone(), fault));
        }
        if fault == Fault::Refuse {
            return client.shutdown(Shutdown::Both);
        }
        if request.continues {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = vec![0; request.length];
        read_whole(&mut reader, &mut body, shared)?;
        match fault {
            Fault::Answer(status, code) => {
                let text = format!(
                    "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as scripted</Message></Error>"
                );
                write!(
                    client,
                    "HTTP/1.1 {status} Scripted\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
                    text.len()
                )?;
                if asked.method != "HEAD" {
                    client.write_all(text.as_bytes())?;
                }
                continue;
            }
            Fault::Stall => {
                pause(STALLED, shared);
                return Ok(());
            }
            Fault::Late(by) => pause(by, shared),
            _ => {}
        }
        let answer = request.forwarded(&body, fault == Fault::Unconditional, shared.store)?;
        match fault {
            Fault::Reset => return client.shutdown(Shutdown::Both),
            Fault::Truncate => {
                let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0) + 4;
                let half = head + (answer.len() - head) / 2;
                client.write_all(answer.get(..half).unwrap_or_default())?;
                return client.shutdown(Shutdown::Both);
            }
            _ => client.write_all(&answer)?,
        }
        // One that its end alone delimits, as some answers of simple servers are.
        if !is_delimited(&answer) {
            return client.shutdown(Shutdown::Both);
        }
    }
    Ok(())
}

fn pause(by: Duration, shared: &Shared) {
    let until = std::time::Instant::now() + by;
    while std::time::Instant::now() < until && !shared.ending.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK_EVERY.min(by));
    }
}

struct Request {
    first: String,
    headers: Vec<String>,
    length: usize,
    continues: bool,
}

impl Request {
    fn asked(&self, shared: &Shared) -> Asked {
        let mut words = self.first.split(' ');
        let number = shared.asked.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        Asked {
            number,
            method: words.next().unwrap_or_default().to_owned(),
            target: words.next().unwrap_or_default().to_owned(),
            only_new: self.headers.iter().any(|h| is_named(h, "if-none-match") && h.contains('*')),
        }
    }

    /// The answer of the store.
    fn forwarded(
        &self,
        body: &[u8],
        unconditional: bool,
        store: SocketAddr,
    ) -> std::io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(store)?;
        let mut head = format!("{}\r\n", self.first);
        for header in &self.headers {
            let hop = ["connection", "expect"].iter().any(|name| is_named(header, name));
            if !(hop || unconditional && is_named(header, "if-none-match")) {
                head.push_str(header);
                head.push_str("\r\n");
            }
        }
        head.push_str("Connection: close\r\n\r\n");
        server.write_all(head.as_bytes())?;
        server.write_all(body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        // The connection to the client stays.
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
        let (head, rest) = answer.split_at_checked(end).unwrap_or((&answer[..], &[]));
        let head = String::from_utf8_lossy(head);
        let kept: Vec<_> = head.split("\r\n").filter(|h| !is_named(h, "connection")).collect();
        Ok([kept.join("\r\n").as_bytes(), rest].concat())
    }
}

/// Whether an answer tells where it ends.
fn is_delimited(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let bodiless = [" 204", " 304"].iter().any(|status| first.contains(status));
    bodiless || lines.any(|l| is_named(l, "content-length") || is_named(l, "transfer-encoding"))
}

fn is_named(header: &str, name: &str) -> bool {
    header.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
}

/// The next request's head; `None` at the end of the connection.
fn read_head(
    reader: &mut BufReader<TcpStream>,
    shared: &Shared,
) -> std::io::Result<Option<Request>> {
    let mut request =
        Request { first: String::new(), headers: Vec::new(), length: 0, continues: false };
    loop {
        let mut line = String::new();
        if !read_line(reader, &mut line, shared)? {
            return Ok(None);
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            return Ok(Some(request));
        }
        if is_named(&line, "content-length") {
            let value = line.split_once(':').map(|(_, value)| value.trim()).unwrap_or_default();
            request.length = value.parse().unwrap_or(0);
        }
        request.continues |= is_named(&line, "expect");
        if request.first.is_empty() {
            request.first = line;
        } else {
            request.headers.push(line);
        }
    }
}

fn read_line(
    reader: &mut BufReader<TcpStream>,
    line: &mut String,
    shared: &Shared,
) -> std::io::Result<bool> {
    loop {
        match reader.read_line(line) {
            Ok(0) => return Ok(false),
            Ok(_) if line.ends_with('\n') => return Ok(true),
            Ok(_) => return Ok(false),
            Err(error) if is_pause(&error) && !shared.ending.load(Ordering::Relaxed) => {}
            Err(error) => return Err(error),
        }
    }
}

fn read_whole(
    reader: &mut BufReader<TcpStream>,
    mut into: &mut [u8],
    shared: &Shared,
) -> std::io::Result<()> {
    while !into.is_empty() {
        match reader.read(into) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => into = into.get_mut(count..).unwrap_or_default(),
            Err(error) if is_pause(&error) && !shared.ending.load(Ordering::Relaxed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

//! The listening sockets: opened here, or taken from whoever holds them, and handed on.
//!
//! ```text
//! service manager ─LISTEN_FDS─► Sockets::open ─► hand_to(command) ─LISTEN_FDS─► Sockets::inherit
//! ```
//! They outlive the server: who listens holds them, and a server that dies leaves its
//! queue of connections to the next one. The protocol is that of `sd_listen_fds(3)`: descriptors
//! from 3 on, their number in `LISTEN_FDS`, their names in `LISTEN_FDNAMES`, for the process named
//! in `LISTEN_PID`. A parent can't name a process it has not started yet, so [`Sockets::hand_to`]
//! leaves `LISTEN_PID` out, and [`Sockets::inherit`] is for a process that knows it was meant.
//!
//! A door is added in [`Door`]; nothing is accepted here. What waits at a door for datagrams while the
//! server is started again is what fits into the socket's buffer: handshakes that come then are
//! answered late, and streams that were under way begin anew, since only the process that died knew
//! their keys and numbers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{FdFlags, dup2, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{SocketType, getsockname, sockopt};
use tracing::warn;

use crate::config::Config;

/// The first descriptor that is handed over, by the protocol.
const FIRST_FD: RawFd = 3;
/// Descriptors taken from a service manager. There are fewer doors; more than this is a mistake.
const MAX_GIVEN: usize = 64;
/// Connections the system keeps for a door that nobody accepts at just now: those of every viewer
/// who asks while the server is started again. The kernel caps it at `net.core.somaxconn`, 4096.
const BACKLOG: i32 = 4096;

/// Where the program is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// Viewers and CDNs.
    Http,
    /// The same over TLS.
    Https,
    /// RTMP publishers.
    Rtmp,
    /// SRT publishers.
    Srt,
    /// The media of WebRTC.
    WebRtc,
    /// Operators and monitors.
    Admin,
}

impl Door {
    /// All of them, in the order in which they are opened and handed over.
    pub const ALL: [Self; 6] =
        [Self::Http, Self::Https, Self::Rtmp, Self::Srt, Self::WebRtc, Self::Admin];

    /// Those no server is without.
    const NEEDED: [Self; 4] = [Self::Http, Self::Rtmp, Self::Srt, Self::Admin];

    /// Its name in `LISTEN_FDNAMES`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Rtmp => "rtmp",
            Self::Srt => "srt",
            Self::WebRtc => "webrtc",
            Self::Admin => "admin",
        }
    }

    /// What it is for, in words.
    const fn purpose(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Rtmp => "RTMP",
            Self::Srt => "SRT",
            Self::WebRtc => "WebRTC",
            Self::Admin => "the operator",
        }
    }

    /// Stream or datagram.
    const fn kind(self) -> SocketType {
        match self {
            Self::Http | Self::Https | Self::Rtmp | Self::Admin => SocketType::STREAM,
            Self::Srt | Self::WebRtc => SocketType::DGRAM,
        }
    }

    /// Where the operator wants it; `None`: nowhere.
    fn address(self, config: &Config) -> Option<SocketAddr> {
        match self {
            Self::Http => Some(config.http.listen),
            Self::Https => config.http.tls.as_ref().map(|tls| tls.listen),
            Self::Rtmp => Some(config.rtmp.listen),
            Self::Srt => Some(config.srt.listen),
            Self::WebRtc => config.webrtc.listen,
            Self::Admin => Some(config.admin.listen),
        }
    }

    /// Those the operator wants.
    fn wanted(config: &Config) -> impl Iterator<Item = (Self, SocketAddr)> {
        Self::ALL.into_iter().filter_map(|door| Some((door, door.address(config)?)))
    }

    fn open(self, address: SocketAddr) -> io::Result<OwnedFd> {
        if self.kind() == SocketType::DGRAM {
            return UdpSocket::bind(address).map(Into::into);
        }
        let listener = TcpListener::bind(address)?;
        // Widens the queue that the standard library chose.
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener.into())
    }
}

/// Why there are no sockets to listen on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A listener can't be opened.
    #[error("can't listen on {address} for {}", door.purpose())]
    Listen {
        /// What for.
        door: Door,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The variables of the protocol make no sense.
    #[error("{variable}={value:?} names no sockets")]
    Variable {
        /// Which variable.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// A descriptor that was announced is not there, or is no socket.
    #[error("descriptor {fd}, handed over as {name:?}, is no socket")]
    NoSocket {
        /// The descriptor.
        fd: RawFd,
        /// What it was called.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// A socket was handed over that has no use.
    #[error("the socket {name:?} on {address} was handed over, and no [section] listens there")]
    Unwanted {
        /// What it was called.
        name: String,
        /// Where it listens.
        address: String,
    },
    /// A door's socket was not handed over.
    #[error("no socket for {purpose} was handed over")]
    Missing {
        /// What for: `RTMP`.
        purpose: &'static str,
    },
}

/// The open doors.
#[derive(Debug)]
pub struct Sockets(BTreeMap<Door, OwnedFd>);

impl Sockets {
    /// Opens every door, except those a service manager holds open for this process.
    ///
    /// Its sockets are told apart by their names, or else by where they listen: one unit of systemd
    /// gives all its sockets the same name.
    ///
    /// # Errors
    /// A port is taken, or something was handed over that has no use.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let mut doors = BTreeMap::new();
        let for_us =
            std::env::var("LISTEN_PID").is_ok_and(|id| id == std::process::id().to_string());
        for given in if for_us { given()? } else { Vec::new() } {
            let door = Door::wanted(config)
                .filter(|(door, _)| !doors.contains_key(door))
                .find(|(door, at)| given.is(*door) || given.listens_for(*door, *at));
            match door {
                Some((door, _)) => drop(doors.insert(door, given.fd)),
                None => {
                    let address = given.address().map_or_else(|| "?".into(), |at| at.to_string());
                    return Err(Error::Unwanted { name: given.name, address });
                }
            }
        }
        for (door, address) in Door::wanted(config) {
            if let Entry::Vacant(vacant) = doors.entry(door) {
                let listen = |source| Error::Listen { door, address, source };
                vacant.insert(door.open(address).map_err(listen)?);
            }
        }
        Ok(Self(doors))
    }

    /// Takes what [`Self::hand_to`] handed to this process. Once: the descriptors have one owner.
    ///
    /// `config` may be newer than the one that they were opened for. A door that is new is opened by this
    /// process and ends with it; one that was moved or is not wanted any more stays where it is. Either is
    /// told in the log, with what to do about it.
    ///
    /// # Errors
    /// Not every door is there that is always open, or a new one can't be opened.
    pub fn inherit(config: &Config) -> Result<Self, Error> {
        let mut doors = BTreeMap::new();
        for given in given()? {
            if let Some(door) = Door::ALL.into_iter().find(|door| given.is(*door)) {
                doors.insert(door, given.fd);
            }
        }
        if let Some(missing) = Door::NEEDED.into_iter().find(|door| !doors.contains_key(door)) {
            return Err(Error::Missing { purpose: missing.purpose() });
        }
        for door in Door::ALL {
            let purpose = door.purpose();
            let held = doors.get(&door).map(address_of);
            match (door.address(config), held) {
                (Some(wanted), None) => {
                    let listen =
                        |source| Error::Listen { door, address: wanted, source };
                    doors.insert(door, door.open(wanted).map_err(listen)?);
                    warn!(
                        address = %wanted,
                        "{purpose} is new in the configuration: until a full stop and start its viewers \
                         are refused while the server is started again"
                    );
                }
                (Some(wanted), Some(held))
                    // Port 0 is whichever the system has given.
                    if wanted.port() != 0 && !held.is_some_and(|at| serves(at, wanted)) => warn!(
                    %wanted,
                    listens = held.map(tracing::field::display),
                    "{purpose} listens elsewhere from the next full stop and start on"
                ),
                (None, Some(held)) => warn!(
                    listens = held.map(tracing::field::display),
                    "{purpose} is off in the configuration: its port is closed by a full stop and start"
                ),
                _ => {}
            }
        }
        Ok(Self(doors))
    }

    /// Lets the process that `command` starts [`inherit`](Self::inherit) all of them.
    ///
    /// # Errors
    /// Descriptors have run out.
    pub fn hand_to(&self, command: &mut Command) -> io::Result<()> {
        let names: Vec<_> = self.0.keys().map(|door| door.name()).collect();
        command
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env_remove("LISTEN_PID");
        let numbers = FIRST_FD..FIRST_FD + RawFd::try_from(names.len()).unwrap_or(0);
        // Copies beyond the numbers that are handed over, which therefore no copy overwrites. What
        // `Command` opens for itself lies beyond them too, as those below are taken.
        let beyond = |fd: &OwnedFd| fcntl_dupfd_cloexec(fd, numbers.end);
        let copies = self.0.values().map(beyond).collect::<Result<Vec<_>, _>>()?;
        let taken = occupy(numbers.end)?;
        let move_down = move || {
            for (number, copy) in numbers.clone().zip(&copies) {
                // SAFETY: the number is not used as an owned descriptor by anything in the new
                // process, which is about to run another program, and is not closed here.
                #[allow(unsafe_code)]
                let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
                dup2(copy, &mut target)?;
            }
            let _ = &taken;
            Ok(())
        };
        // SAFETY: between fork and exec this makes system calls only, without allocation or locks.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move_down);
        }
        Ok(())
    }

    /// The listener of a stream door; once.
    ///
    /// # Errors
    /// It was taken before.
    pub fn listener(&mut self, door: Door) -> Result<TcpListener, Error> {
        self.take(door).map(Into::into)
    }

    /// The socket of a door for datagrams; once.
    ///
    /// # Errors
    /// It was taken before.
    pub fn datagrams(&mut self, door: Door) -> Result<UdpSocket, Error> {
        self.take(door).map(Into::into)
    }

    fn take(&mut self, door: Door) -> Result<OwnedFd, Error> {
        self.0.remove(&door).ok_or_else(|| Error::Missing { purpose: door.purpose() })
    }
}

/// Takes every free descriptor below `end`.
fn occupy(end: RawFd) -> io::Result<Vec<OwnedFd>> {
    let mut taken = Vec::new();
    let mut next = OwnedFd::from(File::open("/dev/null")?);
    while next.as_raw_fd() < end {
        let copy = fcntl_dupfd_cloexec(&next, 0)?;
        taken.push(std::mem::replace(&mut next, copy));
    }
    Ok(taken)
}

/// A socket that was handed over.
#[derive(Debug)]
struct Given {
    fd: OwnedFd,
    name: String,
    kind: SocketType,
}

impl Given {
    fn is(&self, door: Door) -> bool {
        self.name == door.name() && self.kind == door.kind()
    }

    fn listens_for(&self, door: Door, wanted: SocketAddr) -> bool {
        self.kind == door.kind() && self.address().is_some_and(|at| serves(at, wanted))
    }

    fn address(&self) -> Option<SocketAddr> {
        address_of(&self.fd)
    }
}

/// Where a socket is bound.
fn address_of(socket: &OwnedFd) -> Option<SocketAddr> {
    getsockname(socket).ok()?.try_into().ok()
}

/// Whether a socket bound to `at` gets what is sent to `wanted`.
fn serves(at: SocketAddr, wanted: SocketAddr) -> bool {
    // A wildcard of either family takes what any address of the machine would.
    let same = at.ip() == wanted.ip() || at.ip().is_unspecified();
    same && at.port() == wanted.port()
}

/// Takes the descriptors that the variables announce.
fn given() -> Result<Vec<Given>, Error> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let (count, names) = (variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
    let numbers = announced(&count, &names)?;
    numbers.into_iter().map(|(number, name)| take(number, name)).collect()
}

/// Numbers and names of the announced descriptors.
fn announced(count: &str, names: &str) -> Result<Vec<(RawFd, String)>, Error> {
    let wanted = count.parse::<usize>().ok().filter(|count| (1..=MAX_GIVEN).contains(count));
    let Some(wanted) = wanted else {
        return Err(Error::Variable { variable: "LISTEN_FDS", value: count.to_owned() });
    };
    let names = names.split(':').map(str::to_owned).chain(std::iter::repeat_with(String::new));
    Ok((FIRST_FD..).zip(names).take(wanted).collect())
}

/// Becomes the owner of a descriptor, which no program that is started from here gets by itself.
fn take(number: RawFd, name: String) -> Result<Given, Error> {
    let no_socket = |source: rustix::io::Errno| Error::NoSocket {
        fd: number,
        name: name.clone(),
        source: source.into(),
    };
    // SAFETY: borrowed for one question, whose answer tells whether it is open at all.
    #[allow(unsafe_code)]
    let kind =
        sockopt::socket_type(unsafe { BorrowedFd::borrow_raw(number) }).map_err(no_socket)?;
    // SAFETY: it is open, and whoever started this process left it to this process: nothing here
    // has opened it, and `LISTEN_FDS` is read once.
    #[allow(unsafe_code)]
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(no_socket)?;
    Ok(Given { fd, name, kind })
}

#[cfg(test)]
mod tests;

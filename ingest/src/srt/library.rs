//! libsrt behind types that can't be misused: what is open is closed once, what is read is checked.
//!
//! [`Socket`] is any socket of the library, [`Listener`] one that takes callers, [`Poll`] tells which
//! of many have something to say. All of the crate's dealings with [`ffi`] are here and below. The
//! library has threads of its own and may be called from any; nothing here blocks.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::ffi::{self, SockOpt, SrtSocket};
use super::link::Link;
use super::reject::Reject;
use crate::secret::Secret;

mod address;
mod listener;
mod poll;

use address::raw_address;
pub(super) use listener::{Caller, Hook, Listener};
pub(super) use poll::{Event, Interest, Poll};

/// Longest payload of a packet: an Ethernet frame less the headers of IP, UDP and SRT.
pub(super) const PAYLOAD: usize = 1_456;
/// Longest stream identifier (`SRTO_STREAMID`), by the protocol.
pub(super) const MAX_STREAM_ID: usize = 512;
/// Lengths a passphrase may have (`SRTO_PASSPHRASE`).
pub const PASSPHRASE: std::ops::RangeInclusive<usize> = 10..=79;

/// Packets a connection may hold that wait for their time or for those before them: 8 s of latency,
/// the longest there is, at 40 Mb/s.
const BUFFER_PACKETS: i32 = 32_768;
/// The oldest version taken of a peer, 1.3.0: older ones send neither stream identifier nor
/// encryption in their handshake.
const OLDEST_PEER: i32 = 0x0001_0300;

/// The library refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {said}")]
pub struct Error {
    /// What was wanted.
    what: &'static str,
    /// What the library says.
    said: String,
    /// Its code.
    code: c_int,
}

impl Error {
    /// The last thing that went wrong on this thread.
    fn last(what: &'static str) -> Self {
        // SAFETY: both may be called at any time; the text is copied before anything else is called.
        #[allow(unsafe_code)]
        let (code, said) = unsafe {
            let code = ffi::srt_getlasterror(std::ptr::null_mut());
            (code, text(ffi::srt_getlasterror_str()))
        };
        Self { what, said, code }
    }

    /// An error unless a function has done what it should.
    fn check(result: c_int, what: &'static str) -> Result<c_int, Self> {
        if result == ffi::ERROR { Err(Self::last(what)) } else { Ok(result) }
    }
}

/// A text of the library's.
///
/// # Safety
/// `at` is null or points to a text that ends with a zero byte and stays as it is meanwhile.
#[allow(unsafe_code)]
unsafe fn text(at: *const c_char) -> String {
    if at.is_null() {
        return String::new();
    }
    // SAFETY: not null, and by the contract a text with an end.
    unsafe { CStr::from_ptr(at) }.to_string_lossy().trim_end().to_owned()
}

/// The library, in use. It is never taken down: that waits for threads of its own, which may wait for
/// whoever takes it down, and the end of the process does as well.
#[derive(Debug)]
pub(super) struct Library(());

impl Library {
    /// Starts the library up, once for the whole process.
    pub(super) fn start() -> Result<Arc<Self>, Error> {
        static STARTED: OnceLock<Result<Arc<Library>, Error>> = OnceLock::new();
        STARTED.get_or_init(Self::started).clone()
    }

    fn started() -> Result<Arc<Self>, Error> {
        // SAFETY: the handler is a function that lives as long as the program, and takes nothing of
        // ours; the others take plain numbers.
        #[allow(unsafe_code)]
        let started = unsafe {
            ffi::srt_setloghandler(std::ptr::null_mut(), Some(log));
            ffi::srt_setlogflags(ffi::LOGF_BARE);
            ffi::srt_setloglevel(ffi::LOG_ERROR);
            ffi::srt_startup()
        };
        Error::check(started, "can't start libsrt").map(|_| Arc::new(Self(())))
    }
}

/// The library's version, such as `1.5.1`. Distributions mend holes without changing it.
pub fn version() -> String {
    // SAFETY: takes nothing and may be called at any time.
    #[allow(unsafe_code)]
    let version = unsafe { ffi::srt_getversion() };
    format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff)
}

/// What the library would write to the terminal. Peers can bring it about, so it is for who looks.
///
/// # Safety
/// The library calls it with texts of its own.
#[allow(unsafe_code)]
unsafe extern "C" fn log(
    _: *mut c_void,
    _: c_int,
    _: *const c_char,
    _: c_int,
    area: *const c_char,
    message: *const c_char,
) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        // SAFETY: as the library promises of what it hands to its handler.
        let (area, message) = unsafe { (text(area), text(message)) };
        tracing::debug!(area, message, "libsrt");
    }
}

/// A socket of the library. Dropping it closes it, and tells the peer if there is one.
#[derive(Debug)]
pub(super) struct Socket {
    id: SrtSocket,
    library: Arc<Library>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: the number is this value's alone; closing one that is broken is no mistake.
        #[allow(unsafe_code)]
        unsafe {
            ffi::srt_close(self.id);
        }
    }
}

/// What came of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes: the payload of one packet.
    Packet(usize),
    /// Nothing that is due yet.
    Nothing,
    /// The connection is over.
    Over,
}

impl Socket {
    /// A socket that never blocks and holds a connection's latency.
    fn new(library: &Arc<Library>) -> Result<Self, Error> {
        // SAFETY: the library runs, as this value of it shows.
        #[allow(unsafe_code)]
        let id = unsafe { ffi::srt_create_socket() };
        if id == ffi::INVALID_SOCKET {
            return Err(Error::last("can't make a socket"));
        }
        let socket = Self { id, library: Arc::clone(library) };
        socket.set_number(SockOpt::SndSyn, 0)?;
        socket.set_number(SockOpt::RcvSyn, 0)?;
        // The window has to be set before the buffer, which it bounds.
        socket.set_number(SockOpt::Fc, BUFFER_PACKETS)?;
        socket.set_number(SockOpt::RcvBuf, BUFFER_PACKETS.saturating_mul(PAYLOAD as i32))?;
        socket.set_number(SockOpt::MinVersion, OLDEST_PEER)?;
        Ok(socket)
    }

    /// Begins to call `address` from a UDP socket that is bound; how it ends is told by `poll`, which
    /// watches it from before the call: of a socket that has failed already it would tell nothing.
    pub(super) fn call(
        library: &Arc<Library>,
        udp: OwnedFd,
        address: SocketAddr,
        wishes: &Wishes<'_>,
        poll: &Poll,
    ) -> Result<Self, Error> {
        let socket = Self::new(library)?;
        socket.set_millis(SockOpt::RcvLatency, wishes.latency)?;
        socket.set_millis(SockOpt::ConnTimeO, wishes.connect_within)?;
        socket.set_millis(SockOpt::PeerIdleTimeO, wishes.silence)?;
        socket.set(SockOpt::StreamId, wishes.stream_id.as_bytes())?;
        if let Some(passphrase) = wishes.passphrase {
            socket.set_passphrase(passphrase)?;
        }
        socket.acquire(udp)?;
        poll.add(&socket, Interest::Connect)?;
        let (storage, length) = raw_address(address);
        // SAFETY: the address is read during the call only, and is as long as said.
        #[allow(unsafe_code)]
        let result = unsafe { ffi::srt_connect(socket.id, &raw const storage, length) };
        match Error::check(result, "can't call") {
            Ok(_) => Ok(socket),
            Err(error) => {
                poll.remove(&socket);
                Err(error)
            }
        }
    }

    /// Sends and receives by a UDP socket that is bound.
    fn acquire(&self, udp: OwnedFd) -> Result<(), Error> {
        // SAFETY: the descriptor is given to the library, which closes it.
        #[allow(unsafe_code)]
        let result = unsafe { ffi::srt_bind_acquire(self.id, udp.into_raw_fd()) };
        Error::check(result, "can't take the port").map(drop)
    }

    /// What stands for it in the events of a [`Poll`].
    pub(super) fn id(&self) -> i32 {
        self.id
    }

    /// Reads the packet that is due, into room of at least [`PAYLOAD`] bytes.
    pub(super) fn read(&self, room: &mut [u8]) -> Read {
        let length = c_int::try_from(room.len()).unwrap_or(c_int::MAX);
        // SAFETY: the room is as long as said and is not touched by anybody else.
        #[allow(unsafe_code)]
        let count = unsafe { ffi::srt_recvmsg(self.id, room.as_mut_ptr().cast(), length) };
        match usize::try_from(count) {
            Ok(0) => Read::Over,
            Ok(count) => Read::Packet(count),
            Err(_) if Error::last("").code == ffi::EASYNCRCV => Read::Nothing,
            Err(_) => Read::Over,
        }
    }

    /// What the connection has counted since it began; `None` once it is over.
    pub(super) fn figures(&self) -> Option<Link> {
        let mut figures = ffi::PerfMon::default();
        // SAFETY: the structure is the header's (see the tests of `ffi`). Without clearing, counts of
        // the last interval are those since the beginning.
        #[allow(unsafe_code)]
        let result = unsafe { ffi::srt_bstats(self.id, &raw mut figures, 0) };
        let count = |count: c_int| u64::try_from(count).unwrap_or(0);
        let long = |count: i64| u64::try_from(count).unwrap_or(0);
        let millis = |millis: c_int| u32::try_from(millis).unwrap_or(0);
        (result != ffi::ERROR).then(|| Link {
            rtt_ms: (figures.msRTT * 100.0).round() / 100.0,
            latency_ms: millis(figures.msRcvTsbPdDelay),
            buffer_ms: millis(figures.msRcvBuf),
            received: long(figures.pktRecvTotal),
            lost: count(figures.pktRcvLossTotal),
            retransmitted: count(figures.pktRcvRetrans),
            dropped: count(figures.pktRcvDropTotal),
            belated: long(figures.pktRcvBelated),
            undecrypted: count(figures.pktRcvUndecryptTotal),
            encryption_bits: self.encryption_bits(),
        })
    }

    /// Length of the key that what comes is encrypted with; `None`: it is not.
    fn encryption_bits(&self) -> Option<u16> {
        let secured = self.number(SockOpt::RcvKmState).ok()? == ffi::KM_SECURED;
        let bytes = self.number(SockOpt::PbKeyLen).ok().filter(|_| secured)?;
        u16::try_from(bytes.checked_mul(8)?).ok()
    }

    /// How long packets are held for those before them, as both ends agreed.
    pub(super) fn latency(&self) -> Result<Duration, Error> {
        let millis = self.number(SockOpt::RcvLatency)?;
        Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
    }

    /// The stream identifier that the caller gave, unless it is no text.
    pub(super) fn stream_id(&self) -> Option<String> {
        let mut room = [0_u8; MAX_STREAM_ID + 1];
        let length = self.option(SockOpt::StreamId, &mut room).ok()?;
        String::from_utf8(room.get(..length)?.to_vec()).ok()
    }

    /// Why a call was not taken.
    pub(super) fn reject(&self) -> Reject {
        // SAFETY: takes a number, and the text it gives is the library's own and stays.
        #[allow(unsafe_code)]
        unsafe {
            let code = ffi::srt_getrejectreason(self.id);
            Reject::of(code, text(ffi::srt_rejectreason_str(code)))
        }
    }

    fn set_passphrase(&self, passphrase: &Secret) -> Result<(), Error> {
        self.set(SockOpt::Passphrase, passphrase.expose().as_bytes())
    }

    fn set_millis(&self, option: SockOpt, time: Duration) -> Result<(), Error> {
        self.set_number(option, i32::try_from(time.as_millis()).unwrap_or(i32::MAX))
    }

    fn set_number(&self, option: SockOpt, value: i32) -> Result<(), Error> {
        self.set(option, &value.to_ne_bytes())
    }

    fn set(&self, option: SockOpt, value: &[u8]) -> Result<(), Error> {
        set(self.id, option, value)
    }

    fn number(&self, option: SockOpt) -> Result<i32, Error> {
        let mut value = [0; size_of::<i32>()];
        self.option(option, &mut value)?;
        Ok(i32::from_ne_bytes(value))
    }

    /// Reads an option into `room`; gives its length.
    fn option(&self, option: SockOpt, room: &mut [u8]) -> Result<usize, Error> {
        let mut length = c_int::try_from(room.len()).unwrap_or(c_int::MAX);
        // SAFETY: the library writes at most as much as the length says there is room for.
        #[allow(unsafe_code)]
        let result = unsafe {
            ffi::srt_getsockflag(self.id, option, room.as_mut_ptr().cast(), &raw mut length)
        };
        Error::check(result, "can't read an option")?;
        Ok(usize::try_from(length).unwrap_or(0).min(room.len()))
    }
}

/// Sets an option of a socket that may be the library's own still, as in the hook of a listener.
fn set(id: SrtSocket, option: SockOpt, value: &[u8]) -> Result<(), Error> {
    let length = c_int::try_from(value.len()).unwrap_or(c_int::MAX);
    // SAFETY: the value is read during the call only, and is as long as said.
    #[allow(unsafe_code)]
    let result = unsafe { ffi::srt_setsockflag(id, option, value.as_ptr().cast(), length) };
    Error::check(result, "can't set an option").map(drop)
}

/// What is asked of whoever is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes<'a> {
    /// The stream that is wanted; may be empty.
    pub(super) stream_id: &'a str,
    /// Encrypts; its length is in [`PASSPHRASE`].
    pub(super) passphrase: Option<&'a Secret>,
    /// Least time packets are held for those before them.
    pub(super) latency: Duration,
    /// How long a handshake may take.
    pub(super) connect_within: Duration,
    /// How long the peer may be silent.
    pub(super) silence: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_has_three_numbers() {
        assert_eq!(version().split('.').filter(|n| n.parse::<u16>().is_ok()).count(), 3);
    }
}

//! The side that is called: a socket that takes callers, and the hook that decides about them.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libc::sockaddr;

use super::address::{empty_address, read_address};
use super::{Error, Library, Socket, set};
use crate::secret::Secret;
use crate::srt::ffi::{self, SockOpt, SrtSocket};
use crate::srt::reject::Reject;

/// Somebody who calls, before the connection is there.
#[derive(Clone, Copy, Debug)]
pub(in crate::srt) struct Caller<'a> {
    /// Where from.
    pub(in crate::srt) peer: SocketAddr,
    /// The stream identifier; `None` if it is no text.
    pub(in crate::srt) stream_id: Option<&'a str>,
}

/// Decides about a caller: the passphrase that the connection needs, if it needs one, or the code to
/// turn the caller away with. Called on a thread of the library, which waits for it.
pub(in crate::srt) type Hook = dyn Fn(Caller<'_>) -> Result<Option<Secret>, Reject> + Send + Sync;

/// What the library is given to call. It may be in a call while its listener is closed, so this
/// stays for ever, and what is in it goes.
type Shell = Mutex<Option<Arc<Hook>>>;

/// A socket that takes callers.
pub(in crate::srt) struct Listener {
    socket: Socket,
    shell: &'static Shell,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Listener {
    /// Takes callers on a UDP socket that is bound. `latency` is the least that connections get,
    /// `backlog` the most that may wait to be picked up.
    pub(in crate::srt) fn open(
        library: &Arc<Library>,
        udp: OwnedFd,
        (latency, silence): (Duration, Duration),
        backlog: u16,
        hook: Arc<Hook>,
    ) -> Result<Self, Error> {
        let socket = Socket::new(library)?;
        socket.set_millis(SockOpt::RcvLatency, latency)?;
        socket.set_millis(SockOpt::PeerIdleTimeO, silence)?;
        let shell: &'static Shell = Box::leak(Box::new(Mutex::new(Some(hook))));
        let listener = Self { socket, shell };
        let id = listener.socket.id;
        listener.socket.acquire(udp)?;
        // SAFETY: the shell lives for ever, and `answer` treats what it is given as a shell.
        #[allow(unsafe_code)]
        unsafe {
            let opaque = std::ptr::from_ref(shell).cast_mut().cast();
            let hooked = ffi::srt_listen_callback(id, Some(answer), opaque);
            Error::check(hooked, "can't set the hook for callers")?;
            Error::check(ffi::srt_listen(id, backlog.into()), "can't listen")?;
        }
        Ok(listener)
    }

    /// What stands for it in the events of a [`Poll`].
    pub(in crate::srt) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The next caller whose connection is there.
    pub(in crate::srt) fn accept(&self) -> Option<(Socket, SocketAddr)> {
        let (mut storage, mut length) = empty_address();
        // SAFETY: there is room for any address, as long as said.
        #[allow(unsafe_code)]
        let id = unsafe { ffi::srt_accept(self.socket.id, &raw mut storage, &raw mut length) };
        if id == ffi::INVALID_SOCKET {
            return None;
        }
        let socket = Socket { id, library: Arc::clone(&self.socket.library) };
        // SAFETY: the library has written an address into it.
        #[allow(unsafe_code)]
        let peer = unsafe { read_address((&raw const storage).cast()) };
        // What an accepted socket inherits is not promised.
        let unblocked = socket.set_number(SockOpt::RcvSyn, 0);
        Some((socket, peer?)).filter(|_| unblocked.is_ok())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Waits for a call that goes on, and holds nothing of ours from then on.
        self.shell.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Asks the hook about a caller.
///
/// # Safety
/// `opaque` is a [`Shell`], which lives for ever; `peer` is an address and `stream_id` null or a text
/// with an end, as the library promises.
#[allow(unsafe_code)]
unsafe extern "C" fn answer(
    opaque: *mut c_void,
    caller: SrtSocket,
    _: c_int,
    peer: *const sockaddr,
    stream_id: *const c_char,
) -> c_int {
    // SAFETY: by the contract of this function.
    let (shell, peer, stream_id) = unsafe {
        let id = (!stream_id.is_null()).then(|| CStr::from_ptr(stream_id));
        (&*opaque.cast::<Shell>(), read_address(peer), id)
    };
    // A panic must not run into the library's own stack.
    let decided = std::panic::catch_unwind(|| {
        let hook = shell.lock().unwrap_or_else(PoisonError::into_inner);
        let hook = hook.as_ref().ok_or(Reject::DOWN)?;
        let peer = peer.ok_or(Reject::FAILED)?;
        hook(Caller { peer, stream_id: stream_id.map_or(Some(""), |id| id.to_str().ok()) })
    });
    let reject = match decided.unwrap_or(Err(Reject::FAILED)) {
        Ok(None) => return 0,
        Ok(Some(passphrase)) => {
            match set(caller, SockOpt::Passphrase, passphrase.expose().as_bytes()) {
                Ok(()) => return 0,
                Err(_) => Reject::FAILED,
            }
        }
        Err(reject) => reject,
    };
    // SAFETY: takes numbers.
    unsafe {
        ffi::srt_setrejectreason(caller, reject.code());
    }
    ffi::ERROR
}

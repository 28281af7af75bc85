//! Which of many sockets have something to say.

use std::ffi::c_int;
use std::sync::Arc;
use std::time::Duration;

use super::{Error, Library, Socket};
use crate::srt::ffi;

/// Watches sockets.
#[derive(Debug)]
pub(in crate::srt) struct Poll {
    id: c_int,
    _library: Arc<Library>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::srt) enum Interest {
    /// Something to read or accept.
    Read,
    /// The end of a call.
    Connect,
    /// The end of a connection only.
    End,
}

impl Interest {
    fn bits(self) -> c_int {
        let wanted = match self {
            Self::Read => ffi::EPOLL_IN,
            Self::Connect => ffi::EPOLL_OUT,
            Self::End => 0,
        };
        wanted | ffi::EPOLL_ERR
    }
}

/// A socket that has something to say.
#[derive(Clone, Copy, Debug)]
pub(in crate::srt) struct Event {
    /// Which one.
    pub(in crate::srt) id: i32,
    /// It is broken, or never came to be.
    pub(in crate::srt) failed: bool,
}

impl Poll {
    /// Watches nothing yet.
    pub(in crate::srt) fn new(library: &Arc<Library>) -> Result<Self, Error> {
        // SAFETY: the library runs, as this value of it shows.
        #[allow(unsafe_code)]
        let id = Error::check(unsafe { ffi::srt_epoll_create() }, "can't make a poll")?;
        let poll = Self { id, _library: Arc::clone(library) };
        // SAFETY: takes numbers.
        #[allow(unsafe_code)]
        let set = unsafe { ffi::srt_epoll_set(id, ffi::EPOLL_ENABLE_EMPTY) };
        Error::check(set, "can't set up a poll").map(|_| poll)
    }

    /// Watches a socket.
    pub(in crate::srt) fn add(&self, socket: &Socket, interest: Interest) -> Result<(), Error> {
        let events = interest.bits();
        // SAFETY: the number is read during the call only.
        #[allow(unsafe_code)]
        let result = unsafe { ffi::srt_epoll_add_usock(self.id, socket.id, &raw const events) };
        Error::check(result, "can't watch a socket").map(drop)
    }

    /// Waits for something else of a socket that is watched.
    pub(in crate::srt) fn change(&self, socket: &Socket, interest: Interest) {
        let events = interest.bits();
        // SAFETY: as above. It fails on a socket that has broken, which the next wait tells.
        #[allow(unsafe_code)]
        unsafe {
            ffi::srt_epoll_update_usock(self.id, socket.id, &raw const events);
        }
    }

    /// Watches a socket no more.
    pub(in crate::srt) fn remove(&self, socket: &Socket) {
        // SAFETY: takes numbers; one that the library has removed itself is no mistake.
        #[allow(unsafe_code)]
        unsafe {
            ffi::srt_epoll_remove_usock(self.id, socket.id);
        }
    }

    /// Waits until something happens, at most for `timeout`.
    pub(in crate::srt) fn wait(&self, timeout: Duration) -> Result<Vec<Event>, Error> {
        /// Sockets told of at once; the rest comes with the next wait.
        const MOST: usize = 64;
        let mut events = [ffi::EpollEvent::default(); MOST];
        let millis = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        // SAFETY: there is room for as many events as said.
        #[allow(unsafe_code)]
        let count =
            unsafe { ffi::srt_epoll_uwait(self.id, events.as_mut_ptr(), MOST as c_int, millis) };
        let count = usize::try_from(Error::check(count, "can't wait for sockets")?).unwrap_or(0);
        let told = events.iter().take(count);
        Ok(told.map(|e| Event { id: e.fd, failed: e.events & ffi::EPOLL_ERR != 0 }).collect())
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // SAFETY: the number is this value's alone.
        #[allow(unsafe_code)]
        unsafe {
            ffi::srt_epoll_release(self.id);
        }
    }
}

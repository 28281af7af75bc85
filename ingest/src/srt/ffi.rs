//! What is used of libsrt 1.5, declared as its header `srt/srt.h` has it.
//!
//! Debian's GnuTLS flavour, which FFmpeg's libraries load too: of the other flavour beside it, in one
//! process, symbols of one would answer for the other. No function here is called anywhere but in
//! [`super::library`].

use std::ffi::{c_char, c_int, c_void};

use libc::{sockaddr, sockaddr_storage};

/// `SRTSOCKET`.
pub(super) type SrtSocket = i32;

/// What functions return that did not do what they were asked.
pub(super) const ERROR: c_int = -1;
/// `SRT_INVALID_SOCK`.
pub(super) const INVALID_SOCKET: SrtSocket = -1;

/// `SRT_EASYNCRCV`: nothing to read now.
pub(super) const EASYNCRCV: c_int = 6002;

/// `SRT_EPOLL_OPT`.
pub(super) const EPOLL_IN: c_int = 0x1;
pub(super) const EPOLL_OUT: c_int = 0x4;
pub(super) const EPOLL_ERR: c_int = 0x8;
/// `SRT_EPOLL_ENABLE_EMPTY`: waiting with no socket added is no mistake.
pub(super) const EPOLL_ENABLE_EMPTY: i32 = 1;

/// `SRT_SOCKOPT`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SockOpt {
    SndSyn = 1,
    RcvSyn = 2,
    Fc = 4,
    RcvBuf = 6,
    Passphrase = 26,
    PbKeyLen = 27,
    ConnTimeO = 36,
    RcvKmState = 41,
    RcvLatency = 43,
    MinVersion = 45,
    StreamId = 46,
    PeerIdleTimeO = 55,
}

/// `SRT_KM_S_SECURED`: what comes is encrypted and can be read.
pub(super) const KM_SECURED: i32 = 2;

/// `SRT_EPOLL_EVENT`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EpollEvent {
    pub(super) fd: SrtSocket,
    pub(super) events: c_int,
}

/// `CBytePerfMon`: everything a connection counts. Names are those of the header.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(non_snake_case)]
pub(super) struct PerfMon {
    pub(super) msTimeStamp: i64,
    pub(super) pktSentTotal: i64,
    pub(super) pktRecvTotal: i64,
    pub(super) pktSndLossTotal: c_int,
    pub(super) pktRcvLossTotal: c_int,
    pub(super) pktRetransTotal: c_int,
    pub(super) pktSentACKTotal: c_int,
    pub(super) pktRecvACKTotal: c_int,
    pub(super) pktSentNAKTotal: c_int,
    pub(super) pktRecvNAKTotal: c_int,
    pub(super) usSndDurationTotal: i64,
    pub(super) pktSndDropTotal: c_int,
    pub(super) pktRcvDropTotal: c_int,
    pub(super) pktRcvUndecryptTotal: c_int,
    pub(super) byteSentTotal: u64,
    pub(super) byteRecvTotal: u64,
    pub(super) byteRcvLossTotal: u64,
    pub(super) byteRetransTotal: u64,
    pub(super) byteSndDropTotal: u64,
    pub(super) byteRcvDropTotal: u64,
    pub(super) byteRcvUndecryptTotal: u64,

    pub(super) pktSent: i64,
    pub(super) pktRecv: i64,
    pub(super) pktSndLoss: c_int,
    pub(super) pktRcvLoss: c_int,
    pub(super) pktRetrans: c_int,
    pub(super) pktRcvRetrans: c_int,
    pub(super) pktSentACK: c_int,
    pub(super) pktRecvACK: c_int,
    pub(super) pktSentNAK: c_int,
    pub(super) pktRecvNAK: c_int,
    pub(super) mbpsSendRate: f64,
    pub(super) mbpsRecvRate: f64,
    pub(super) usSndDuration: i64,
    pub(super) pktReorderDistance: c_int,
    pub(super) pktRcvAvgBelatedTime: f64,
    pub(super) pktRcvBelated: i64,
    pub(super) pktSndDrop: c_int,
    pub(super) pktRcvDrop: c_int,
    pub(super) pktRcvUndecrypt: c_int,
    pub(super) byteSent: u64,
    pub(super) byteRecv: u64,
    pub(super) byteRcvLoss: u64,
    pub(super) byteRetrans: u64,
    pub(super) byteSndDrop: u64,
    pub(super) byteRcvDrop: u64,
    pub(super) byteRcvUndecrypt: u64,

    pub(super) usPktSndPeriod: f64,
    pub(super) pktFlowWindow: c_int,
    pub(super) pktCongestionWindow: c_int,
    pub(super) pktFlightSize: c_int,
    pub(super) msRTT: f64,
    pub(super) mbpsBandwidth: f64,
    pub(super) byteAvailSndBuf: c_int,
    pub(super) byteAvailRcvBuf: c_int,
    pub(super) mbpsMaxBW: f64,
    pub(super) byteMSS: c_int,
    pub(super) pktSndBuf: c_int,
    pub(super) byteSndBuf: c_int,
    pub(super) msSndBuf: c_int,
    pub(super) msSndTsbPdDelay: c_int,
    pub(super) pktRcvBuf: c_int,
    pub(super) byteRcvBuf: c_int,
    pub(super) msRcvBuf: c_int,
    pub(super) msRcvTsbPdDelay: c_int,

    pub(super) pktSndFilterExtraTotal: c_int,
    pub(super) pktRcvFilterExtraTotal: c_int,
    pub(super) pktRcvFilterSupplyTotal: c_int,
    pub(super) pktRcvFilterLossTotal: c_int,
    pub(super) pktSndFilterExtra: c_int,
    pub(super) pktRcvFilterExtra: c_int,
    pub(super) pktRcvFilterSupply: c_int,
    pub(super) pktRcvFilterLoss: c_int,
    pub(super) pktReorderTolerance: c_int,

    pub(super) pktSentUniqueTotal: i64,
    pub(super) pktRecvUniqueTotal: i64,
    pub(super) byteSentUniqueTotal: u64,
    pub(super) byteRecvUniqueTotal: u64,
    pub(super) pktSentUnique: i64,
    pub(super) pktRecvUnique: i64,
    pub(super) byteSentUnique: u64,
    pub(super) byteRecvUnique: u64,
}

/// `srt_listen_callback_fn`.
pub(super) type ListenCallback = unsafe extern "C" fn(
    opaque: *mut c_void,
    ns: SrtSocket,
    hs_version: c_int,
    peer: *const sockaddr,
    stream_id: *const c_char,
) -> c_int;

/// `SRT_LOG_HANDLER_FN`.
pub(super) type LogHandler = unsafe extern "C" fn(
    opaque: *mut c_void,
    level: c_int,
    file: *const c_char,
    line: c_int,
    area: *const c_char,
    message: *const c_char,
);

/// `SRT_LOGF_DISABLE_TIME | …THREADNAME | …SEVERITY | …EOL`: messages come without a prefix.
pub(super) const LOGF_BARE: c_int = 1 | 2 | 4 | 8;
/// `LOG_ERR` of syslog.
pub(super) const LOG_ERROR: c_int = 3;

#[link(name = "srt-gnutls")]
#[allow(unsafe_code)]
unsafe extern "C" {
    pub(super) fn srt_startup() -> c_int;
    pub(super) fn srt_getversion() -> u32;
    pub(super) fn srt_setloghandler(opaque: *mut c_void, handler: Option<LogHandler>);
    pub(super) fn srt_setlogflags(flags: c_int);
    pub(super) fn srt_setloglevel(level: c_int);

    pub(super) fn srt_create_socket() -> SrtSocket;
    pub(super) fn srt_bind_acquire(u: SrtSocket, udp: c_int) -> c_int;
    pub(super) fn srt_listen(u: SrtSocket, backlog: c_int) -> c_int;
    pub(super) fn srt_listen_callback(
        u: SrtSocket,
        hook: Option<ListenCallback>,
        opaque: *mut c_void,
    ) -> c_int;
    pub(super) fn srt_accept(
        u: SrtSocket,
        address: *mut sockaddr_storage,
        length: *mut c_int,
    ) -> SrtSocket;
    pub(super) fn srt_connect(u: SrtSocket, name: *const sockaddr_storage, length: c_int) -> c_int;
    pub(super) fn srt_close(u: SrtSocket) -> c_int;
    pub(super) fn srt_getsockflag(
        u: SrtSocket,
        option: SockOpt,
        value: *mut c_void,
        length: *mut c_int,
    ) -> c_int;
    pub(super) fn srt_setsockflag(
        u: SrtSocket,
        option: SockOpt,
        value: *const c_void,
        length: c_int,
    ) -> c_int;
    pub(super) fn srt_recvmsg(u: SrtSocket, buffer: *mut c_char, length: c_int) -> c_int;
    pub(super) fn srt_bstats(u: SrtSocket, figures: *mut PerfMon, clear: c_int) -> c_int;
    pub(super) fn srt_getrejectreason(u: SrtSocket) -> c_int;
    pub(super) fn srt_setrejectreason(u: SrtSocket, value: c_int) -> c_int;
    pub(super) fn srt_rejectreason_str(id: c_int) -> *const c_char;
    pub(super) fn srt_getlasterror(errno: *mut c_int) -> c_int;
    pub(super) fn srt_getlasterror_str() -> *const c_char;

    pub(super) fn srt_epoll_create() -> c_int;
    pub(super) fn srt_epoll_set(eid: c_int, flags: i32) -> i32;
    pub(super) fn srt_epoll_add_usock(eid: c_int, u: SrtSocket, events: *const c_int) -> c_int;
    pub(super) fn srt_epoll_update_usock(eid: c_int, u: SrtSocket, events: *const c_int) -> c_int;
    pub(super) fn srt_epoll_remove_usock(eid: c_int, u: SrtSocket) -> c_int;
    pub(super) fn srt_epoll_uwait(
        eid: c_int,
        events: *mut EpollEvent,
        size: c_int,
        timeout_ms: i64,
    ) -> c_int;
    pub(super) fn srt_epoll_release(eid: c_int) -> c_int;
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// As the C compiler lays the header's structure out.
    #[test]
    fn the_figures_lie_where_the_library_writes_them() {
        assert_eq!(size_of::<PerfMon>(), 496);
        assert_eq!(offset_of!(PerfMon, pktRcvRetrans), 164);
        assert_eq!(offset_of!(PerfMon, pktRcvBelated), 224);
        assert_eq!(offset_of!(PerfMon, msRTT), 328);
        assert_eq!(offset_of!(PerfMon, pktRcvBuf), 380);
        assert_eq!(offset_of!(PerfMon, pktRecvUniqueTotal), 440);
        assert_eq!(size_of::<EpollEvent>(), 8);
    }
}

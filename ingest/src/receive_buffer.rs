//! How much the system holds of what arrives at a UDP socket until somebody reads it. What finds no
//! room is lost, and Debian's default is less than a hundred full datagrams: the key frame of one
//! publisher, or a moment in which strangers send to the port.

use std::os::fd::AsFd;

use rustix::net::sockopt;
use tracing::warn;

/// Bytes asked for: half a second of 100 Mb/s, as the kernel counts a datagram of 1,316 bytes (2,304).
const WANTED: usize = 8 << 20;
/// With less than this it is said how to have more.
const ENOUGH: usize = 2 << 20;

/// Makes the buffer of `socket` as large as this process may: [`WANTED`] with CAP_NET_ADMIN, else
/// up to `net.core.rmem_max`. `what` names the socket in the log.
pub(crate) fn enlarge(socket: impl AsFd, what: &str) {
    if sockopt::set_socket_recv_buffer_size_force(&socket, WANTED).is_err() {
        // Less is no reason to do without.
        let _ = sockopt::set_socket_recv_buffer_size(&socket, WANTED);
    }
    // The kernel doubles what it is asked for, and tells the double.
    let room = sockopt::socket_recv_buffer_size(&socket).map_or(0, |bytes| bytes / 2);
    if room < ENOUGH {
        warn!(
            what,
            bytes = room,
            "the system holds little of what arrives here, bursts may be lost; `sysctl -w net.core.rmem_max={WANTED}` allows more"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_holds_as_much_as_anybody_may_ask_for() {
        let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
        let most: usize = most.trim().parse().unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        enlarge(&socket, "test");
        let room = sockopt::socket_recv_buffer_size(&socket).unwrap();
        assert!(room >= 2 * most.min(WANTED), "{room} bytes, though {most} may be asked for");
    }
}

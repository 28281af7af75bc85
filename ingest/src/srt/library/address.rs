//! Addresses as the system writes them.

use std::ffi::c_int;
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage};

/// Room for any address.
pub(super) fn empty_address() -> (sockaddr_storage, c_int) {
    // SAFETY: a structure of numbers, for which zeros are a value.
    #[allow(unsafe_code)]
    let storage = unsafe { std::mem::zeroed::<sockaddr_storage>() };
    (storage, size_of::<sockaddr_storage>() as c_int)
}

/// An address as the system has it, and its length.
pub(super) fn raw_address(address: SocketAddr) -> (sockaddr_storage, c_int) {
    let (mut storage, _) = empty_address();
    let at = &raw mut storage;
    // SAFETY: either structure fits into the storage and begins where it does.
    #[allow(unsafe_code)]
    let length = unsafe {
        match address {
            SocketAddr::V4(v4) => {
                let raw = &mut *at.cast::<sockaddr_in>();
                raw.sin_family = libc::AF_INET as libc::sa_family_t;
                raw.sin_port = v4.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                size_of::<sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                let raw = &mut *at.cast::<sockaddr_in6>();
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = v6.port().to_be();
                raw.sin6_addr.s6_addr = v6.ip().octets();
                raw.sin6_scope_id = v6.scope_id();
                size_of::<sockaddr_in6>()
            }
        }
    };
    (storage, length as c_int)
}

/// Reads an address of the system's; `None` if it is of another family.
///
/// # Safety
/// `at` is null or points to an address, whole for its family.
#[allow(unsafe_code)]
pub(super) unsafe fn read_address(at: *const sockaddr) -> Option<SocketAddr> {
    if at.is_null() {
        return None;
    }
    // SAFETY: by the contract; the family says which structure it is. Alignment is not promised.
    unsafe {
        match c_int::from((&raw const (*at).sa_family).read_unaligned()) {
            libc::AF_INET => {
                let raw = at.cast::<sockaddr_in>().read_unaligned();
                let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
            }
            libc::AF_INET6 => {
                let raw = at.cast::<sockaddr_in6>().read_unaligned();
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let port = u16::from_be(raw.sin6_port);
                Some(SocketAddrV6::new(ip, port, 0, raw.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_either_family_comes_back_as_it_was() {
        for text in ["192.0.2.7:8890", "[2001:db8::7]:65535", "[fe80::1%3]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            let (storage, length) = raw_address(address);
            assert!(length as usize <= size_of::<sockaddr_storage>());
            // SAFETY: it was just written.
            #[allow(unsafe_code)]
            let back = unsafe { read_address((&raw const storage).cast()) };
            assert_eq!(back, Some(address));
        }
        let (nothing, _) = empty_address();
        // SAFETY: zeros are an address without a family.
        #[allow(unsafe_code)]
        let none = unsafe { read_address((&raw const nothing).cast()) };
        assert_eq!(none, None);
    }
}

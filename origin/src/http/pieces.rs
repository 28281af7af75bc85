//! A list of byte slices that goes out as one: what hyper makes one chunk of, without joining it.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Bytes in several places.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces {
    list: VecDeque<Bytes>,
    left: usize,
}

impl FromIterator<Bytes> for Pieces {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let list: VecDeque<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let left = list.iter().map(Bytes::len).sum();
        Self { list, left }
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Self::from_iter([bytes])
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.list.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.list);
        filled.map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        self.left = self.left.saturating_sub(count);
        while let Some(piece) = self.list.front_mut() {
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.list.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> Pieces {
        ["ab", "", "cde", "f"].map(Bytes::from).into_iter().collect()
    }

    #[test]
    fn it_is_read_as_one_from_any_byte_on() {
        for skipped in 0..=6 {
            let mut pieces = pieces();
            pieces.advance(skipped);
            assert_eq!(pieces.remaining(), 6 - skipped);
            assert_eq!(pieces.copy_to_bytes(6 - skipped), &b"abcdef"[skipped..]);
            assert!(!pieces.has_remaining());
        }
    }

    #[test]
    fn it_is_written_in_one_go_as_far_as_slices_go() {
        let pieces = pieces();
        for (room, filled) in [(1, 1), (3, 3), (8, 3)] {
            let mut slices = vec![IoSlice::new(&[]); room];
            assert_eq!(pieces.chunks_vectored(&mut slices), filled);
            let joined: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(b"abcdef".starts_with(&joined) && !joined.is_empty());
        }
    }
}

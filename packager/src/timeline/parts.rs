//! The parts of a finished segment, packed: a window of a day has more than a million of them.
//!
//! Numbers of seven bits a byte, the lowest first, as LEB128 has them: how many parts there are; and of each
//! how much longer it is than the one before, its size, and its first sample. The signs of differences and
//! whether it is independent are in the lowest bits. Six parts of a ladder's are some 45 bytes so, and a
//! hundred as a list of [`Part`]s.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Part;

/// Bits of a number in each byte.
const BITS: u32 = 7;
/// Set in every byte of a number but its last.
const MORE: u8 = 1 << BITS;

/// Parts in order. None take no room.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parts(Box<[u8]>);

impl Parts {
    /// How many there are.
    pub fn len(&self) -> usize {
        usize::try_from(Numbers(&self.0).next().unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> Iter<'_> {
        let mut numbers = Numbers(&self.0);
        numbers.next();
        Iter { numbers, duration: 0 }
    }

    /// Bytes of all of them together.
    pub fn bytes(&self) -> u64 {
        self.iter().map(|part| u64::from(part.bytes)).sum()
    }

    /// The first of them.
    pub fn first(&self) -> Option<Part> {
        self.iter().next()
    }

    /// The one at a position.
    pub fn get(&self, position: usize) -> Option<Part> {
        self.iter().nth(position)
    }
}

impl From<&[Part]> for Parts {
    fn from(parts: &[Part]) -> Self {
        if parts.is_empty() {
            return Self::default();
        }
        let mut packed = Vec::with_capacity(8 * (parts.len() + 1));
        put(&mut packed, parts.len() as u64);
        let mut before = 0;
        for part in parts {
            let duration = i64::from(part.duration);
            put(&mut packed, zigzag(duration - before));
            put(&mut packed, part.bytes.into());
            put(&mut packed, u64::from(part.first_sample) << 1 | u64::from(part.independent));
            before = duration;
        }
        Self(packed.into_boxed_slice())
    }
}

impl FromIterator<Part> for Parts {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        Vec::from_iter(parts).as_slice().into()
    }
}

impl<'a> IntoIterator for &'a Parts {
    type Item = Part;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Serialize for Parts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::deserialize(deserializer)?.as_slice().into())
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Goes over [`Parts`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    numbers: Numbers<'a>,
    /// That of the part before.
    duration: i64,
}

impl Iterator for Iter<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        self.duration += unzigzag(self.numbers.next()?);
        let bytes = narrow(self.numbers.next()?);
        let last = self.numbers.next()?;
        let duration = u32::try_from(self.duration).unwrap_or(0);
        Some(Part { duration, bytes, independent: last & 1 == 1, first_sample: narrow(last >> 1) })
    }
}

/// Numbers one after the other.
#[derive(Clone, Debug)]
struct Numbers<'a>(&'a [u8]);

impl Iterator for Numbers<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        while let Some((byte, rest)) = self.0.split_first() {
            self.0 = rest;
            number |= u64::from(byte & !MORE) << shift;
            if byte & MORE == 0 {
                return Some(number);
            }
            shift += BITS;
        }
        None
    }
}

fn put(packed: &mut Vec<u8>, mut number: u64) {
    while number >= u64::from(MORE) {
        packed.push(narrow_byte(number) | MORE);
        number >>= BITS;
    }
    packed.push(narrow_byte(number));
}

/// The lowest bits of a number, as many as a byte has of them.
fn narrow_byte(number: u64) -> u8 {
    (number & u64::from(!MORE)).to_le_bytes()[0]
}

/// What was an `u32` when it was written.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Small numbers of either sign as small numbers without one.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part() -> impl Strategy<Value = Part> {
        let number = || prop_oneof![any::<u32>(), 0u32..300_000, Just(0), Just(u32::MAX)];
        (number(), number(), any::<bool>(), number()).prop_map(
            |(duration, bytes, independent, first_sample)| Part {
                duration,
                bytes,
                independent,
                first_sample,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(parts in proptest::collection::vec(part(), 0..20)) {
            let packed = Parts::from(parts.as_slice());
            prop_assert_eq!(packed.len(), parts.len());
            prop_assert_eq!(packed.is_empty(), parts.is_empty());
            prop_assert_eq!(packed.first(), parts.first().copied());
            for position in 0..=parts.len() {
                prop_assert_eq!(packed.get(position), parts.get(position).copied());
            }
            let written = serde_json::to_string(&packed).unwrap();
            prop_assert_eq!(&written, &serde_json::to_string(&parts).unwrap());
            prop_assert_eq!(serde_json::from_str::<Parts>(&written).unwrap(), packed.clone());
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), parts);
        }
    }

    #[test]
    fn six_parts_of_a_ladder_take_less_than_fifty_bytes() {
        let part = |n: u32| Part {
            duration: 24_000,
            bytes: 90_000 + n,
            independent: n == 0,
            first_sample: 9_000 - n,
        };
        assert!((0..6).map(part).collect::<Parts>().0.len() < 50);
        assert_eq!(Parts::default().0.len(), 0);
    }
}

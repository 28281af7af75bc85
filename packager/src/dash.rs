//! The DASH manifest, rendered from a snapshot.

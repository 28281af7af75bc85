//! Timelines for the tests of the manifests.

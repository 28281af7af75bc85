//! Rules for DASH manifests.

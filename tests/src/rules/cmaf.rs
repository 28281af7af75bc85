//! Rules for CMAF bytes.

//! The ladder: FFmpeg in worker processes, and everything around it that needs no FFmpeg.

pub mod mark;

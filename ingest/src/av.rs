//! The FFmpeg ladder in worker processes.

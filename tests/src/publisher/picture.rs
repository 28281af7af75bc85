//! The picture that publishers send: a clock on something that moves, so that an encoder has work.

use ingest::av::mark;

/// A frame's planes, drawn anew for each frame.
#[derive(Debug)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    /// Y, then U, then V.
    planes: Vec<u8>,
}

impl Canvas {
    /// A canvas of this many pixels; both even.
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, planes: vec![128; width * height * 3 / 2] }
    }

    /// Frame `n` with this mark, as yuv420p.
    pub(super) fn frame(&mut self, n: u64, mark_ms: u64) -> &[u8] {
        let (luma, chroma) = self.planes.split_at_mut(self.width * self.height);
        for (y, line) in luma.chunks_exact_mut(self.width).enumerate() {
            for (x, pixel) in line.iter_mut().enumerate() {
                // A gradient that drifts to the left, and one that drifts down more slowly.
                *pixel = 40 + ((x as u64 + 2 * n) / 2 % 96) as u8 + ((y as u64 + n) % 64) as u8;
            }
        }
        chroma.fill(112 + (n / 4 % 32) as u8);
        mark::draw(luma, self.width, self.width, self.height, mark_ms);
        &self.planes
    }
}

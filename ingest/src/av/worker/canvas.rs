//! The demo's picture: a dark gradient with shapes that drift over it, the channel's name, a large
//! UTC clock, a frame counter and the mark. What does not move is painted once; a frame costs a copy
//! and what moves, so that drawing stays a small part of what encoding takes.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster};

use crate::av::mark;

/// Luma of letters.
const INK: u8 = 225;
/// Luma of the panel behind the clock, before it is mixed with the background.
const PANEL: u8 = 28;
/// A fraction of the height left free on top for the mark, which takes a sixth.
const MARK_PARTS: usize = 6;

/// A yuv420p picture in one piece of memory per plane, without padding.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    background: [Vec<u8>; 3],
    planes: [Vec<u8>; 3],
    shapes: [Shape; 3],
    small: Face,
    large: Face,
}

/// A soft disc on a slow orbit.
struct Shape {
    radius: f32,
    colour: (u8, u8),
    luma: f32,
    /// Turns per second, horizontally and vertically.
    speed: (f32, f32),
    phase: f32,
    /// How much of the disc covers each pixel of its square, painted once.
    cover: Vec<u8>,
    side: usize,
}

impl Canvas {
    /// Prepares a picture of an even size.
    pub(super) fn new(width: usize, height: usize, title: &str) -> Self {
        let (w, h) = (width.max(64) & !1, height.max(48) & !1);
        let size = h as f32;
        let shapes = [
            Shape::new(size * 0.20, (150, 110), 92.0, (0.031, 0.043), 0.0),
            Shape::new(size * 0.14, (116, 150), 112.0, (0.047, 0.029), 0.35),
            Shape::new(size * 0.26, (136, 138), 66.0, (0.019, 0.037), 0.7),
        ];
        let background = [luma_gradient(w, h), gradient(w, h, 146, 132), gradient(w, h, 118, 124)];
        let small = Face::new(h / 18);
        let large = Face::new(h / 6);
        let mut canvas = Self {
            width: w,
            height: h,
            planes: background.clone(),
            background,
            shapes,
            small,
            large,
        };
        canvas.paint_static(title);
        canvas
    }

    /// The letters that never change.
    fn paint_static(&mut self, title: &str) {
        let (w, h) = (self.width, self.height);
        let shown: String = title.chars().take(40).collect();
        let y = h * 2 / 9;
        let mut background = std::mem::take(&mut self.background);
        self.small.centred(&mut background[0], w, y, &shown);
        self.small.centred(&mut background[0], w, h * 6 / 7, "HEADWATER  LIVE  TEST  PICTURE");
        self.background = background;
    }

    /// Draws the picture of an instant, UTC milliseconds, as frame `n`.
    pub(super) fn draw(&mut self, millis: u64, n: u64) {
        for (plane, background) in self.planes.iter_mut().zip(&self.background) {
            plane.copy_from_slice(background);
        }
        let (w, h) = (self.width, self.height);
        let seconds = (millis % 1_000_000_000) as f32 / 1_000.0;
        for shape in &self.shapes {
            shape.paint(&mut self.planes, w, h, seconds);
        }
        let clock = format!(
            "{:02}:{:02}:{:02}.{:03}",
            millis / 3_600_000 % 24,
            millis / 60_000 % 60,
            millis / 1_000 % 60,
            millis % 1_000
        );
        let top = h * 2 / 5;
        self.panel(top.saturating_sub(h / 40), self.large.height + h / 20);
        self.large.centred(&mut self.planes[0], w, top, &clock);
        let below = top + self.large.height + h / 20;
        self.small.centred(&mut self.planes[0], w, below, &format!("UTC   frame {n:>8}"));
        mark::draw(&mut self.planes[0], w, w, h, millis);
        // The mark is black and white: no colour of the background may tint it.
        let chroma = (h.div_ceil(MARK_PARTS)).div_ceil(2) * (w / 2);
        for plane in &mut self.planes[1..] {
            if let Some(top) = plane.get_mut(..chroma) {
                top.fill(128);
            }
        }
    }

    /// Planes of the picture, without padding: luma, then chroma of half the size.
    pub(super) fn planes(&self) -> &[Vec<u8>; 3] {
        &self.planes
    }

    /// Width in pixels.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Darkens a band, so that the clock is legible whatever passes behind it.
    fn panel(&mut self, top: usize, height: usize) {
        let (from, to) = (top * self.width, (top + height).min(self.height) * self.width);
        if let Some(band) = self.planes[0].get_mut(from..to) {
            for pixel in band {
                *pixel = PANEL / 2 + *pixel / 2;
            }
        }
    }
}

/// Lines of letters that a card could hold: its one is that large.
const CARD_LINES: usize = 8;

/// A picture of an even size with nothing but a name in the middle of a dark ground: planes without
/// padding.
pub(super) fn name_card(width: usize, height: usize, name: &str) -> [Vec<u8>; 3] {
    let shown: String = name.chars().take(64).collect();
    let mut planes = [
        luma_gradient(width, height),
        gradient(width, height, 132, 130),
        gradient(width, height, 126, 127),
    ];
    // An eighth of the height, or as large as nine tenths of the width hold.
    let mut face = Face::new(height / CARD_LINES);
    let length = shown.chars().count().max(1) * face.width;
    if length * 10 > width * 9 {
        face = Face::new(face.height * width * 9 / (length * 10));
    }
    let top = height.saturating_sub(face.height) / 2;
    face.centred(&mut planes[0], width, top, &shown);
    planes
}

fn luma_gradient(width: usize, height: usize) -> Vec<u8> {
    let mut plane = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            // A little ordered noise keeps the gradient from banding.
            let noise = (x * 3 + y * 5) % 4;
            plane.push((24 + 26 * y / height + 14 * x / width + noise / 2) as u8);
        }
    }
    plane
}

/// A chroma plane that goes from one value at the top left to another at the bottom right.
fn gradient(width: usize, height: usize, from: i32, to: i32) -> Vec<u8> {
    let (w, h) = (width / 2, height / 2);
    let mut plane = Vec::with_capacity(w * h);
    for y in 0..h {
        for x in 0..w {
            let along = (x * 128 / w + y * 128 / h) as i32;
            plane.push((from + (to - from) * along / 256) as u8);
        }
    }
    plane
}

impl Shape {
    fn new(radius: f32, colour: (u8, u8), luma: f32, speed: (f32, f32), phase: f32) -> Self {
        // Even, so that chroma has a whole pixel for every four.
        let side = (radius * 2.0) as usize / 2 * 2;
        let mut cover = Vec::with_capacity(side * side);
        for y in 0..side {
            for x in 0..side {
                let (dx, dy) = (x as f32 - radius, y as f32 - radius);
                let distance = dx.hypot(dy) / radius;
                cover.push(((1.0 - distance).clamp(0.0, 1.0).sqrt() * 150.0) as u8);
            }
        }
        Self { radius, colour, luma, speed, phase, cover, side }
    }

    fn paint(&self, planes: &mut [Vec<u8>; 3], w: usize, h: usize, seconds: f32) {
        let swing = |speed: f32, extent: usize| {
            let turn = (seconds * speed + self.phase) * std::f32::consts::TAU;
            let centre = extent as f32 / 2.0 + turn.sin() * (extent as f32 / 2.0 - self.radius);
            ((centre - self.radius).max(0.0) as usize / 2 * 2).min(extent.saturating_sub(self.side))
        };
        let (left, top) = (swing(self.speed.0, w), swing(self.speed.1, h));
        for (row, cover) in self.cover.chunks_exact(self.side.max(1)).enumerate() {
            let start = (top + row) * w + left;
            let Some(line) = planes[0].get_mut(start..start + self.side) else { continue };
            for (pixel, cover) in line.iter_mut().zip(cover) {
                *pixel = mix(*pixel, self.luma as u8, *cover);
            }
            if row % 2 == 1 {
                continue;
            }
            let start = (top + row) / 2 * (w / 2) + left / 2;
            for (plane, colour) in [(1, self.colour.0), (2, self.colour.1)] {
                let Some(line) = planes[plane].get_mut(start..start + self.side / 2) else {
                    continue;
                };
                for (pixel, cover) in line.iter_mut().zip(cover.iter().step_by(2)) {
                    *pixel = mix(*pixel, colour, *cover);
                }
            }
        }
    }
}

fn mix(under: u8, over: u8, cover: u8) -> u8 {
    let (under, over, cover) = (u32::from(under), u32::from(over), u32::from(cover));
    ((under * (255 - cover) + over * cover) / 255) as u8
}

/// The largest letters of the font: enlarged they keep the roundest edges.
const RASTER: RasterHeight = RasterHeight::Size32;

/// Letters of one height, each rendered when it is first needed: the font's own rasters end at 32
/// pixels, larger ones are its interpolated enlargement.
struct Face {
    height: usize,
    width: usize,
    glyphs: Vec<Option<Vec<u8>>>,
}

/// Printable ASCII; anything else is shown as a question mark.
const FIRST_GLYPH: usize = 32;
const GLYPHS: usize = 95;

impl Face {
    fn new(height: usize) -> Self {
        let height = height.max(8);
        let raster = get_raster('0', FontWeight::Regular, RASTER);
        let (w, h) = raster.map_or((18, 32), |glyph| (glyph.width(), glyph.height()));
        Self { height, width: height * w / h, glyphs: vec![None; GLYPHS] }
    }

    /// Writes a line in the middle of a luma plane.
    fn centred(&mut self, luma: &mut [u8], stride: usize, top: usize, text: &str) {
        let width = text.chars().count() * self.width;
        let mut left = stride.saturating_sub(width) / 2;
        for letter in text.chars() {
            self.letter(luma, stride, left, top, letter);
            left += self.width;
        }
    }

    fn letter(&mut self, luma: &mut [u8], stride: usize, left: usize, top: usize, letter: char) {
        let code = u32::from(if letter.is_ascii_graphic() || letter == ' ' { letter } else { '?' });
        let (width, height) = (self.width, self.height);
        let Some(slot) = self.glyphs.get_mut(code as usize - FIRST_GLYPH) else { return };
        let cover = slot.get_or_insert_with(|| enlarge(letter, width, height));
        for (row, cover) in cover.chunks_exact(width.max(1)).enumerate() {
            let start = (top + row) * stride + left;
            let end = start + width.min(stride.saturating_sub(left));
            let Some(line) = luma.get_mut(start..end) else { return };
            for (pixel, cover) in line.iter_mut().zip(cover) {
                *pixel = mix(*pixel, INK, *cover);
            }
        }
    }
}

/// A letter's coverage in any size, by bilinear interpolation with a steep edge so that it stays
/// crisp.
fn enlarge(letter: char, width: usize, height: usize) -> Vec<u8> {
    let known = get_raster(letter, FontWeight::Regular, RASTER)
        .or_else(|| get_raster('?', FontWeight::Regular, RASTER));
    let Some(glyph) = known else { return vec![0; width * height] };
    let rows = glyph.raster();
    let at = |x: isize, y: isize| -> f32 {
        let row = usize::try_from(y).ok().and_then(|y| rows.get(y));
        let value = row.and_then(|row| usize::try_from(x).ok().and_then(|x| row.get(x)));
        value.map_or(0.0, |value| f32::from(*value))
    };
    let mut cover = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let sx = (x as f32 + 0.5) * glyph.width() as f32 / width as f32 - 0.5;
            let sy = (y as f32 + 0.5) * glyph.height() as f32 / height as f32 - 0.5;
            let (fx, fy) = (sx - sx.floor(), sy - sy.floor());
            let (ix, iy) = (sx.floor() as isize, sy.floor() as isize);
            let top = at(ix, iy) * (1.0 - fx) + at(ix + 1, iy) * fx;
            let bottom = at(ix, iy + 1) * (1.0 - fx) + at(ix + 1, iy + 1) * fx;
            let value = top * (1.0 - fy) + bottom * fy;
            cover.push(((value - 96.0) * 4.0 + 128.0).clamp(0.0, 255.0) as u8);
        }
    }
    cover
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_in_the_picture_at_every_size() {
        for (w, h) in [(1280, 720), (320, 180), (170, 96), (64, 48)] {
            let mut canvas = Canvas::new(w, h, "demo");
            canvas.draw(1_795_000_000_123, 7);
            let luma = &canvas.planes()[0];
            assert_eq!(mark::read(luma, w, w, h), Some(1_795_000_000_123 % (1 << 40)));
        }
    }

    #[test]
    fn the_picture_moves_and_the_same_instant_looks_the_same() {
        let mut canvas = Canvas::new(320, 180, "demo");
        canvas.draw(1_000_000, 1);
        let first = canvas.planes().clone();
        canvas.draw(1_500_000, 2);
        assert_ne!(&first, canvas.planes());
        canvas.draw(1_000_000, 1);
        assert_eq!(&first, canvas.planes());
    }

    #[test]
    fn a_name_stands_in_the_middle_of_its_card_at_every_size() {
        for (w, h) in [(1280, 720), (170, 96), (64, 48)] {
            for name in ["a", "news", &"n".repeat(64)] {
                let card = name_card(w, h, name);
                let bright = |y: usize| card[0][y * w..(y + 1) * w].iter().any(|luma| *luma > 100);
                let rows: Vec<_> = (0..h).filter(|y| bright(*y)).collect();
                let (first, last) = (rows.first().copied(), rows.last().copied());
                let Some((first, last)) = first.zip(last) else { panic!("{name} at {w}x{h}") };
                assert!(first > h / 3 && last < h * 2 / 3, "{name} at {w}x{h}: {first} to {last}");
                assert_eq!(card[1].len(), w / 2 * (h / 2));
            }
        }
    }

    #[test]
    fn a_long_title_in_any_script_is_drawn_without_a_panic() {
        for title in ["", "ünïcödé 東京 🎬", &"x".repeat(500)] {
            let mut canvas = Canvas::new(64, 48, title);
            canvas.draw(0, 0);
        }
    }
}

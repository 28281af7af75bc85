// The clock the demo broadcaster draws into its picture, and how to read it back.
//
// Two rows of 24 cells at the top of the picture; a cell is 1/24 of the width and 1/12 of the
// height. 48 bits, first row first, most significant bit first: the milliseconds since the Unix
// epoch modulo 2^40, then a CRC-8 over those five bytes. White is 1, black is 0. A cell is read
// as the mean luma of its centre half, so scaling and compression at its edges do not matter.
//
// Pure functions over RGBA pixels: no canvas, no clock.

export const COLUMNS = 24;
export const ROWS = 2;
/** The share of the picture's height that the two rows take. */
export const STRIP_SHARE = ROWS / 12;

const TIME_BYTES = 5;
const MODULUS = 2 ** 40;
const THRESHOLD = 128;

/** RGBA pixels, as `ImageData` has them. */
export interface Pixels {
  readonly data: Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** CRC-8 with polynomial 0x07 and initial value 0xFF. */
export function crc8(bytes: Iterable<number>): number {
  let crc = 0xff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : crc << 1;
    }
  }
  return crc;
}

/** The 48 bits that stand for an instant in milliseconds since the epoch. */
export function encodeMark(millis: number): boolean[] {
  const bytes = new Array<number>(TIME_BYTES);
  let rest = modulo(Math.floor(millis), MODULUS);
  for (let index = TIME_BYTES - 1; index >= 0; index--) {
    bytes[index] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  bytes.push(crc8(bytes));
  return bytes.flatMap((byte) => Array.from({ length: 8 }, (_, bit) => ((byte >> (7 - bit)) & 1) === 1));
}

/** The instant modulo 2^40 that 48 bits stand for, or null where the checksum refuses them. */
export function decodeMark(bits: readonly boolean[]): number | null {
  const bytes = Array.from({ length: TIME_BYTES + 1 }, (_, index) =>
    bits.slice(index * 8, index * 8 + 8).reduce((byte, bit) => byte * 2 + Number(bit), 0),
  );
  const time = bytes.slice(0, TIME_BYTES);
  if (crc8(time) !== bytes[TIME_BYTES]) {
    return null;
  }
  return time.reduce((value, byte) => value * 256 + byte, 0);
}

/**
 * Reads the mark out of the strip at the top of a picture.
 *
 * @param strip the top sixth of the picture, at any scale of at least two pixels per cell.
 * @returns milliseconds since the epoch modulo 2^40; null if there is no mark.
 */
export function readMark(strip: Pixels): number | null {
  const bits: boolean[] = [];
  let dark = 255;
  let bright = 0;
  for (let row = 0; row < ROWS; row++) {
    for (let column = 0; column < COLUMNS; column++) {
      const luma = cellLuma(strip, row, column);
      dark = Math.min(dark, luma);
      bright = Math.max(bright, luma);
      bits.push(luma >= THRESHOLD);
    }
  }
  // A picture of one colour is no mark, whatever its checksum says.
  return bright - dark < THRESHOLD / 2 ? null : decodeMark(bits);
}

/** The full instant nearest to `near` (milliseconds since the epoch) of one read modulo 2^40. */
export function unwrap(mark: number, near: number): number {
  const behind = modulo(near - mark, MODULUS);
  return near - (behind > MODULUS / 2 ? behind - MODULUS : behind);
}

function cellLuma({ data, width, height }: Pixels, row: number, column: number): number {
  const left = Math.round((width / COLUMNS) * (column + 0.25));
  const right = Math.max(left + 1, Math.round((width / COLUMNS) * (column + 0.75)));
  const top = Math.round((height / ROWS) * (row + 0.25));
  const bottom = Math.max(top + 1, Math.round((height / ROWS) * (row + 0.75)));
  let sum = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const at = (y * width + x) * 4;
      sum += 0.299 * (data[at] ?? 0) + 0.587 * (data[at + 1] ?? 0) + 0.114 * (data[at + 2] ?? 0);
    }
  }
  return sum / ((right - left) * (bottom - top));
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}

import { describe, expect, test } from "vitest";
import { COLUMNS, ROWS, STRIP_SHARE, crc8, decodeMark, encodeMark, readMark, unwrap, type Pixels } from "../src/meter/clockmark";

const INSTANT = Date.UTC(2026, 10, 25, 19, 30, 1, 234);
const MODULUS = 2 ** 40;

function picture(width: number, height: number, luma: (x: number, y: number) => number): Pixels {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      data.fill(luma(x, y), (y * width + x) * 4, (y * width + x) * 4 + 3);
    }
  }
  return { data, width, height };
}

// The whole picture with a mark, as a broadcaster draws it.
function drawn(millis: number, width: number, height: number, white = 255, black = 0): Pixels {
  const bits = encodeMark(millis);
  return picture(width, height, (x, y) => {
    const row = Math.floor(y / (height / 12));
    const bit = row < ROWS && bits[row * COLUMNS + Math.floor(x / (width / COLUMNS))];
    return row < ROWS ? (bit ? white : black) : 90;
  });
}

// Scaled by averaging, as an encoder's ladder does; source pixels count by how much they overlap.
function scaled(from: Pixels, width: number, height: number): Pixels {
  return picture(width, height, (x, y) => {
    let sum = 0;
    let weight = 0;
    const [left, right] = [(x * from.width) / width, ((x + 1) * from.width) / width];
    const [top, bottom] = [(y * from.height) / height, ((y + 1) * from.height) / height];
    for (let v = Math.floor(top); v < bottom; v++) {
      for (let u = Math.floor(left); u < right; u++) {
        const share = (Math.min(u + 1, right) - Math.max(u, left)) * (Math.min(v + 1, bottom) - Math.max(v, top));
        sum += share * (from.data[(v * from.width + u) * 4] ?? 0);
        weight += share;
      }
    }
    return sum / weight;
  });
}

// What the meter draws into its canvas: the top strip only.
function strip({ data, width, height }: Pixels): Pixels {
  const rows = Math.round(height * STRIP_SHARE);
  return { data: data.slice(0, rows * width * 4), width, height: rows };
}

describe("the checksum", () => {
  test("is CRC-8 with polynomial 0x07 and initial value 0xFF", () => {
    // The check input of the CRC catalogues, and its value for these parameters.
    expect(crc8(new TextEncoder().encode("123456789"))).toBe(0xfb);
    expect(crc8([])).toBe(0xff);
  });

  test("finds every single wrong bit", () => {
    const bits = encodeMark(INSTANT);
    for (let wrong = 0; wrong < bits.length; wrong++) {
      expect(decodeMark(bits.map((bit, index) => bit !== (index === wrong)))).toBeNull();
    }
  });
});

describe("a mark drawn into a picture", () => {
  test.each([
    [1920, 1080],
    [1280, 720],
    [640, 360],
    [170, 96],
  ])("is read back at %i x %i", (width, height) => {
    expect(readMark(strip(drawn(INSTANT, width, height)))).toBe(INSTANT % MODULUS);
  });

  test("is read back after scaling down to 170 x 96", () => {
    const small = scaled(drawn(INSTANT, 1280, 720), 170, 96);
    expect(readMark(strip(small))).toBe(INSTANT % MODULUS);
  });

  test("is read back after scaling down and up again", () => {
    const small = scaled(drawn(INSTANT, 1280, 720), 170, 96);
    expect(readMark(strip(scaled(small, 480, 270)))).toBe(INSTANT % MODULUS);
  });

  test("is read back in video range shown as it is", () => {
    expect(readMark(strip(drawn(INSTANT, 640, 360, 235, 16)))).toBe(INSTANT % MODULUS);
  });

  test("is read back at every millisecond of a second", () => {
    for (let millis = INSTANT; millis < INSTANT + 1000; millis += 7) {
      expect(readMark(strip(drawn(millis, 240, 120)))).toBe(millis % MODULUS);
    }
  });
});

describe("a picture without a mark", () => {
  test.each([0, 90, 255])("of luma %i has none", (luma) => {
    expect(readMark(picture(240, 20, () => luma))).toBeNull();
  });

  test("with one cell painted over has none", () => {
    const marked = drawn(INSTANT, 480, 240);
    const bits = encodeMark(INSTANT);
    const painted = picture(480, 240, (x, y) =>
      x < 20 && y < 20 ? (bits[0] ? 0 : 255) : (marked.data[(y * 480 + x) * 4] ?? 0),
    );
    expect(readMark(strip(painted))).toBeNull();
  });
});

describe("an instant modulo 2^40", () => {
  test.each([-500_000, -1, 0, 1, 500_000])("is completed from a clock that is %i ms off", (off) => {
    expect(unwrap(INSTANT % MODULUS, INSTANT + off)).toBe(INSTANT);
  });

  test("is completed across the wrap", () => {
    const wrap = 2 * MODULUS;
    expect(unwrap((wrap - 40) % MODULUS, wrap + 10)).toBe(wrap - 40);
    expect(unwrap(5, wrap - 10)).toBe(wrap + 5);
  });
});

//! Decoder configurations as real encoders wrote them: x264 and x265 of Debian's FFmpeg 5.1, taken
//! from MP4 files; x265's banner SEI is left out. And a writer for parameter sets that no encoder at
//! hand writes.

use bytes::Bytes;

/// 1280x720, 30 fps, high profile, level 3.1.
pub(crate) const AVC_720P30: &str = "\
    0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8f\
    cbfdf8f800";
/// 640x360, 25 fps, constrained baseline.
pub(crate) const AVC_BASELINE_360P25: &str = "\
    0142c01effe100196742c01eda0280bfe5c044000003000400000300c83c58ba8001000468ce0fc8";
/// 1920x1080, 30000/1001 fps, main profile: no tail, cropped from 1088 rows.
pub(crate) const AVC_MAIN_1080P29_97: &str = "\
    014d4028ffe10018674d4028eca03c0113f2e022000007d20001d4c01e30632c01000468ef8fc8";
/// 642x362, 24000/1001 fps: cropped on both sides.
pub(crate) const AVC_642X362_23_976: &str = "\
    0164001effe100196764001eacd940a42fe224c04400000fa40002ee003c58b65801000468ef8fcb\
    fdf8f800";
/// 720x576, 25 fps, samples of 64:45, colour description, HRD parameters.
pub(crate) const AVC_576P25_WIDE: &str = "\
    0164001effe1002c6764001eacd940b4126ffc010000b5a828282a00000300020000030064c08001\
    e848003d09c98600f162d96001000468efbcb0fdf8f800";
/// 1920x1080, 25 fps, interlaced, quantisation matrices in the PPS.
pub(crate) const AVC_1080I25_JVT_MATRICES: &str = "\
    01640028ffe1001a67640028acd94078044fde0220000003002000000643e2c5b2c001000568fe8f\
    cc03fdf8f800";
/// 1280x720, 60000/1001 fps, BT.709.
pub(crate) const AVC_720P59_94_BT709: &str = "\
    01640020ffe1001b67640020acd9405005bb016a020202800001f48000ea60078c18cb01000468ef\
    8fcbfdf8f800";
/// 320x180, 30 fps, 4:2:2 with 10 bits.
pub(crate) const AVC_HIGH_422_10: &str = "\
    017a000dffe1001a677a000db6cd941419f8dc0440000003004000000f03c50a658001000468ef8f\
    cbfefafa00";
/// 1920x1080, 25 fps, main profile.
pub(crate) const HEVC_1080P25: &str = "\
    01016000000090000000000078f000fcfdf8f800000f03a00001001840010c01ffff016000000300\
    900000030000030078959409a10001002b420101016000000300900000030000030078a003c08011\
    07cb965654a4c2f0168080000003008000000c84a2000100064401c073c189";
/// 642x362, 60000/1001 fps, HRD parameters.
pub(crate) const HEVC_642X362_59_94: &str = "\
    0101600000009000000000005af000fcfdf8f800000f03a00001001840010c01ffff016000000300\
    90000003000003005a959409a10001003542010101600000030090000003000003005aa005220171\
    c449965654a4c2f01680800001f480007530300a4c3f0007a12000f42440a2000100064401c073c1\
    89";
/// 640x360, 30 fps, main 10.
pub(crate) const HEVC_MAIN10_360P30: &str = "\
    0102200000009000000000003ff000fcfdfafa00000f03a00001001840010c01ffff022000000300\
    90000003000003003f959409a10001002c42010102200000030090000003000003003fa005020171\
    f2b6595952930bc05a020000030002000003003c10a2000100064401c073c189";
/// 640x362, 50 fps: scaling lists, full range, BT.709, sub-layers, HRD parameters.
pub(crate) const HEVC_640X362P50_EVERYTHING: &str = "\
    0101600000009000000000005af002fffdf8f800001303a00001001c40010c02ffff016000000300\
    90000003000003005a00009998ccc048a10001004342010201600000030090000003000003005a00\
    00a005020171f2659998ccd249caf046e0202020800000030080000019300a4c3f0007a12000f425\
    c001e848003d0910a2000100074401c172b46240";
/// 48 kHz stereo, with the note that there is no SBR.
pub(crate) const AAC_48000_STEREO: &str = "119056e500";
/// 44.1 kHz mono.
pub(crate) const AAC_44100_MONO: &str = "120856e500";
/// 32 kHz, 5.1.
pub(crate) const AAC_32000_5_1: &str = "12b056e500";

/// The bytes that a fixture spells.
pub(crate) fn bytes(hex: &str) -> Bytes {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Writes bits and Exp-Golomb codes.
#[derive(Default)]
pub(crate) struct BitWriter(Vec<bool>);

impl BitWriter {
    /// The lowest `count` bits of a value.
    pub(crate) fn bits(&mut self, count: u32, value: u32) -> &mut Self {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    /// ue(v).
    pub(crate) fn ue(&mut self, value: u32) -> &mut Self {
        let code = value + 1;
        let length = 32 - code.leading_zeros();
        self.bits(length - 1, 0).bits(length, code)
    }

    /// se(v).
    pub(crate) fn se(&mut self, value: i32) -> &mut Self {
        let magnitude = value.unsigned_abs();
        self.ue(if value > 0 { magnitude * 2 - 1 } else { magnitude * 2 })
    }

    /// The bits as a NAL unit, with emulation prevention.
    pub(crate) fn nal(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for bits in self.0.chunks(8) {
            let byte = bits
                .iter()
                .enumerate()
                .fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at));
            if byte <= 3 && out.ends_with(&[0, 0]) {
                out.push(3);
            }
            out.push(byte);
        }
        out
    }
}

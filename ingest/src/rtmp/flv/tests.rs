use super::*;

fn body(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

#[test]
fn avc_tags_are_read() {
    let codec = VideoCodec::H264;
    let record = body(b"rec");
    assert_eq!(video(body(b"\x17\0\0\0\0rec")), Ok(Video::Config { codec, record }));
    for (bytes, key, composition) in [
        (b"\x17\x01\0\0\x50data", true, 80),
        (b"\x27\x01\0\0\0data", false, 0),
        (b"\x27\x01\xFF\xFF\xD8data", false, -40),
        (b"\x27\x01\x80\0\0data", false, -8_388_608),
    ] {
        let frame = Video::Frame { codec, key, composition, data: body(b"data") };
        assert_eq!(video(body(bytes)), Ok(frame));
    }
    for nothing in [b"".as_slice(), b"\x17\x02\0\0\0", b"\x17\x01\0\0\0", b"\x57\0"] {
        assert_eq!(video(body(nothing)), Ok(Video::Nothing));
    }
}

#[test]
fn enhanced_tags_are_read() {
    for (cc, codec) in [(b"avc1", VideoCodec::H264), (b"hvc1", VideoCodec::H265)] {
        let tag = |first: u8, rest: &[u8]| body(&[&[first], cc.as_slice(), rest].concat());
        let record = body(b"rec");
        assert_eq!(video(tag(0x90, b"rec")), Ok(Video::Config { codec, record }));
        let frame = |key, composition| Video::Frame { codec, key, composition, data: body(b"d") };
        assert_eq!(video(tag(0x91, b"\0\0\x28d")), Ok(frame(true, 40)));
        assert_eq!(video(tag(0xA1, b"\xFF\xFF\xFFd")), Ok(frame(false, -1)));
        assert_eq!(video(tag(0xA3, b"d")), Ok(frame(false, 0)));
        assert_eq!(video(tag(0x92, b"")), Ok(Video::Nothing));
        assert_eq!(video(tag(0x94, b"amf")), Ok(Video::Metadata(body(b"amf"))));
    }
}

#[test]
fn mod_ex_prefixes_are_skipped() {
    let codec = VideoCodec::H265;
    let frame = Ok(Video::Frame { codec, key: true, composition: 0, data: body(b"d") });
    // Three bytes of nanoseconds, then packet type 3.
    assert_eq!(video(body(b"\x97\x02abc\x03hvc1d")), frame);
    assert_eq!(video(body(b"\x97\x02abc\x17\0x\x03hvc1d")), frame);
    // A size of 256 or more stands in two more bytes.
    let long = [b"\x97\xFF\x01\x00".as_slice(), &[0; 257], b"\x03hvc1d"].concat();
    assert_eq!(video(body(&long)), frame);
    let endless = [b"\x97".as_slice(), &b"\0x\x07".repeat(100)].concat();
    assert!(matches!(video(body(&endless)), Err(Error::Invalid { .. })));
    assert!(matches!(video(body(b"\x97\x80abc")), Err(Error::Incomplete { .. })));
}

#[test]
fn other_codecs_are_refused_by_name() {
    for (bytes, name) in [
        (b"\x90av01".as_slice(), "\"av01\""),
        (b"\x90vp09", "\"vp09\""),
        (b"\x90\n\0\xFFx", "\"\\n\\x00\\xffx\""),
        (b"\x12\0", "Sorenson H.263"),
        (b"\x10\0", "number 0"),
    ] {
        let text = video(body(bytes)).unwrap_err().to_string();
        assert!(text.starts_with(&format!("video codec {name} is not supported")), "{text}");
    }
    for (bytes, name) in
        [(b"\x2Fx".as_slice(), "MP3"), (b"\xB0x", "Speex"), (b"\x90Opus", "\"Opus\"")]
    {
        let text = audio(body(bytes)).unwrap_err().to_string();
        assert!(text.starts_with(&format!("audio codec {name} is not supported")), "{text}");
    }
    assert_eq!(video(body(b"\x96\x01hvc1")), Err(Error::Multitrack));
    assert_eq!(audio(body(b"\x95\x01mp4a")), Err(Error::Multitrack));
}

#[test]
fn aac_tags_are_read() {
    assert_eq!(audio(body(b"\xAF\0\x11\x90")), Ok(Audio::Config(body(b"\x11\x90"))));
    assert_eq!(audio(body(b"\xAF\x01data")), Ok(Audio::Frame(body(b"data"))));
    assert_eq!(audio(body(b"\x90mp4a\x11\x90")), Ok(Audio::Config(body(b"\x11\x90"))));
    assert_eq!(audio(body(b"\x91mp4adata")), Ok(Audio::Frame(body(b"data"))));
    for nothing in [b"".as_slice(), b"\xAF\x01", b"\x92mp4a", b"\x94mp4a\0\x02"] {
        assert_eq!(audio(body(nothing)), Ok(Audio::Nothing));
    }
    assert_eq!(audio(body(b"\xAF")), Err(Error::Incomplete { offset: 1 }));
}

#[test]
fn a_header_cut_at_any_byte_is_incomplete() {
    for whole in [b"\x17\x01\0\0\0".as_slice(), b"\x91hvc1\0\0\0", b"\x97\0x\x01hvc1\0\0\0"] {
        for cut in 1..whole.len() {
            let error = video(body(&whole[..cut])).unwrap_err();
            assert_eq!(error, Error::Incomplete { offset: cut });
        }
    }
}

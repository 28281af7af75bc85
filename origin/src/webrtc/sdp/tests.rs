//! Offers of browsers and of those who mean no good.

#![allow(clippy::indexing_slicing, reason = "a panic here is a failed test")]

use super::*;

/// What Chromium offers, shortened to what matters.
pub(in crate::webrtc) const CHROMIUM: &str = "v=0\r\n\
o=- 4611732 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 106 107 116\r\nc=IN IP4 0.0.0.0\r\n\
a=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
a=ice-options:trickle\r\na=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:\
10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\na=setup:actpass\r\na=mid:0\r\n\
a=extmap:1 urn:ietf:params:rtp-hdrext:toffset\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
a=rtpmap:102 H264/90000\r\na=rtcp-fb:102 goog-remb\r\na=rtcp-fb:102 ccm fir\r\n\
a=rtcp-fb:102 nack\r\na=rtcp-fb:102 nack pli\r\n\
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n\
a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\na=rtpmap:106 H264/90000\r\n\
a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f\r\n\
a=rtpmap:107 rtx/90000\r\na=fmtp:107 apt=106\r\na=rtpmap:116 red/90000\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\n\
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=setup:actpass\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\n\
a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\n";

#[test]
fn what_a_browser_offers_is_read() {
    let offer = Offer::read(CHROMIUM).unwrap();
    assert_eq!((&*offer.ufrag, &*offer.password), ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"));
    assert_eq!(offer.fingerprint[31], 0x1f);
    assert_eq!(offer.bundle, ["0", "1"]);
    let [video, audio] = &offer.media[..] else { panic!("{:?}", offer.media) };
    assert!(video.direction.receives() && !video.direction.sends() && video.mux);
    let high = choose_h264(video, Some(0x64)).unwrap();
    assert_eq!((high.payload_type, high.rtx, high.feedback.len()), (106, Some(107), 0));
    let other = choose_h264(video, Some(0x4d)).unwrap();
    assert_eq!((other.payload_type, other.feedback), (102, vec!["nack", "nack pli", "ccm fir"]));
    assert_eq!(choose_opus(audio).unwrap().payload_type, 111);
    assert!(choose_h264(audio, None).is_none());
}

#[test]
fn the_answer_names_what_was_agreed_and_turns_down_the_rest() {
    let text = format!("{CHROMIUM}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n");
    let offer = Offer::read(&text).unwrap();
    let codec = choose_h264(&offer.media[0], Some(0x42)).unwrap();
    let sections =
        [Some(Agreed { codec, sends: Some((7, Some(8))), at_once: Some(6), more: "" }), None, None];
    let candidates = ["192.0.2.1:8189".parse().unwrap(), "[2001:db8::1]:8189".parse().unwrap()];
    let answer = write(
        &offer,
        &Answer {
            id: 1,
            ufrag: "ours",
            password: "secretsecretsecretsecret",
            fingerprint: &[0xab; 32],
            candidates: &candidates,
            sections: &sections,
            cname: "headwater",
        },
    );
    for line in [
        "a=group:BUNDLE 0",
        "a=ice-lite",
        "m=video 9 UDP/TLS/RTP/SAVPF 102 103",
        "a=sendonly",
        "a=setup:passive",
        "a=fmtp:103 apt=102",
        "a=ssrc-group:FID 7 8",
        "a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        "a=candidate:0 1 udp 2130706431 192.0.2.1 8189 typ host",
        "a=candidate:1 1 udp 2130706175 2001:db8::1 8189 typ host",
        "m=audio 0 UDP/TLS/RTP/SAVPF 111 63",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
    ] {
        assert!(answer.split("\r\n").any(|l| l == line), "{line} is not in\n{answer}");
    }
}

#[test]
fn what_was_not_offered_is_not_answered() {
    let offer = CHROMIUM.replace("a=group:BUNDLE 0 1\r\n", "").replace("a=rtcp-rsize\r\n", "");
    let offer = Offer::read(&offer).unwrap();
    let codec = choose_h264(&offer.media[0], None).unwrap();
    let sections = [Some(Agreed { codec, sends: None, at_once: None, more: "" }), None];
    let answer = Answer {
        id: 1,
        ufrag: "ours",
        password: "secretsecretsecretsecret",
        fingerprint: &[0xab; 32],
        candidates: &[],
        sections: &sections,
        cname: "headwater",
    };
    let text = write(&offer, &answer);
    assert!(!text.contains("a=group") && !text.contains("a=rtcp-rsize"), "{text}");
}

#[test]
fn another_generation_is_told_where_it_is_used() {
    let offer = Offer::read(CHROMIUM).unwrap();
    let codec = choose_opus(&offer.media[1]).unwrap();
    let agreed = Agreed { codec, sends: None, at_once: None, more: "" };
    let section = first_section(&offer, &[None, Some(agreed)]);
    let at = ["192.0.2.1:8189".parse().unwrap()];
    let text = restarted(&section, ("next", "P2uYro0UCOQ4zxjKXaWCBui1"), &at);
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "a=ice-lite",
            "a=ice-ufrag:next",
            "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
            "m=audio 9 RTP/AVP 0",
            "a=mid:1",
            "a=candidate:0 1 udp 2130706431 192.0.2.1 8189 typ host",
            "a=end-of-candidates",
        ]
    );
    assert_eq!(fragment(&text).unwrap().unwrap().0, "next");
}

#[test]
fn bombs_are_defused() {
    let with =
        |line: &str, count: usize| format!("{CHROMIUM}{}", format!("{line}\r\n").repeat(count));
    for (text, expected) in [
        (with("m=video 9 UDP/TLS/RTP/SAVPF 96", 10_000), "more than 65536 bytes"),
        (with("m=video 9 UDP/TLS/RTP/SAVPF 96", 7), "more than 8 media sections"),
        (with("a=candidate:1 1 udp 1 192.0.2.1 9 typ host", 51), "more than 50 candidates"),
        (with("a=x", 3_000), "more than 2048 lines"),
        (with(&format!("a={}", "x".repeat(3_000)), 1), "line 49: the line is too long"),
        (
            format!("{CHROMIUM}m=audio 9 UDP/TLS/RTP/SAVPF{}\r\n", " 1".repeat(200)),
            "more than 128 formats",
        ),
        ("v=0\r\n".into(), "the offer has no media"),
        (String::new(), "the offer has no media"),
        ("hello".into(), "line 1: a session description begins with v=0"),
        (CHROMIUM.replace("a=setup:actpass", "a=setup:passive"), "the offerer has to begin"),
        (CHROMIUM.replace("ice-ufrag:EsAw", "ice-ufrag:E"), "line 11: that is no ice-ufrag"),
        (CHROMIUM.replace("sha-256 00", "sha-256 0"), "line 14: that is no fingerprint"),
        (CHROMIUM.replace("sha-256", "sha-1"), "the offer has no fingerprint"),
        (CHROMIUM.replace(" 106 ", " 1000 "), "line 8: a format is a number"),
    ] {
        let error = Offer::read(&text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}, not {expected}");
    }
}

#[test]
fn an_offer_cut_anywhere_is_read_or_refused() {
    for length in 0..CHROMIUM.len() {
        let _ = Offer::read(&CHROMIUM[..length]);
    }
}

#[test]
fn a_restart_brings_both_and_candidates_alone_are_none() {
    let both =
        "a=ice-ufrag:next\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=video 9 x 0\r\na=mid:0\r\n";
    let read = fragment(both).unwrap().unwrap();
    assert_eq!(read, ("next".into(), "P2uYro0UCOQ4zxjKXaWCBui1".into()));
    assert_eq!(fragment("m=video 9 x 0\r\na=mid:0\r\na=candidate:1 1 udp\r\n").unwrap(), None);
    assert!(fragment("a=ice-ufrag:n\r\n").is_err());
    assert!(fragment(&"a=candidate:1\r\n".repeat(51)).is_err());
}

proptest::proptest! {
    #[test]
    fn nothing_that_is_read_panics(
        lines in proptest::collection::vec(
            "(v=0|m=(video|audio|x) 9 UDP/TLS/RTP/SAVPF( [0-9]{1,3}){0,4}|a=(mid|rtpmap|fmtp|rtcp-fb|ssrc|\
             extmap|candidate|fingerprint|ice-ufrag|ice-pwd|setup|group)(:.{0,40})?|.{0,20})",
            0..30,
        )
    ) {
        let _ = Offer::read(&format!("v=0\r\n{}", lines.join("\r\n")));
        let _ = fragment(&lines.join("\r\n"));
    }
}

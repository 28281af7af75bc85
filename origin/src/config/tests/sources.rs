//! Sources that channels take by themselves.

use super::*;

#[test]
fn a_channel_may_take_its_source_by_itself() {
    let source = |line: &str| {
        let text = format!("[[channel]]\nname = \"news\"\n{line}\n");
        config(&text).channels.remove(0).source
    };
    let datagrams = |rtp, address: &str, interface: Option<&str>, from: Option<&str>| {
        Some(Source::Datagrams(Datagrams {
            rtp,
            address: address.parse().unwrap(),
            interface: interface.map(|text| text.parse().unwrap()),
            from: from.map(|text| text.parse().unwrap()),
        }))
    };
    assert_eq!(
        source("source = \"udp://0.0.0.0:5000\""),
        datagrams(false, "0.0.0.0:5000", None, None)
    );
    assert_eq!(
        source("source = \"rtp://[ff15::1]:5004\""),
        datagrams(true, "[ff15::1]:5004", None, None)
    );
    assert_eq!(
        source("source = \"udp://@239.1.1.1:5000?interface=10.0.0.2&from=10.0.0.7\""),
        datagrams(false, "239.1.1.1:5000", Some("10.0.0.2"), Some("10.0.0.7"))
    );
    assert_eq!(
        source("source = \"rtp://10.0.0.7@232.1.1.1:5000\""),
        datagrams(true, "232.1.1.1:5000", None, Some("10.0.0.7"))
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let line = format!("source = {:?}", file.path().display().to_string());
    let path = file.path().to_owned();
    assert_eq!(source(&line), Some(Source::File { path: path.clone(), repeat: true }));
    let line = format!("{line}\nrepeat = \"once\"");
    assert_eq!(source(&line), Some(Source::File { path, repeat: false }));
}

#[test]
fn two_channels_can_not_listen_on_one_port_but_to_one_group() {
    let of_two = |one: &str, other: &str| {
        let text = format!(
            "[[channel]]\nname = \"a\"\nsource = {one:?}\n\
             [[channel]]\nname = \"b\"\nsource = {other:?}\n"
        );
        problems(&text)
    };
    for (one, other, clash) in [
        ("udp://127.0.0.1:5000", "rtp://127.0.0.1:5000", true),
        ("udp://0.0.0.0:5000", "udp://10.0.0.1:5000", true),
        ("udp://127.0.0.1:5000", "udp://127.0.0.1:5002", false),
        ("udp://127.0.0.1:5000", "udp://127.0.0.1:8890", true),
        ("udp://127.0.0.1:5000", "udp://127.0.0.1:8189", true),
        ("udp://10.0.0.1:5000", "udp://10.0.0.2:5000", false),
        ("udp://239.1.1.1:5000", "udp://239.1.1.1:5000", false),
    ] {
        let found = of_two(one, other);
        let told = found.iter().any(|p| {
            p.contains("channel[1].source: another channel listens")
                || p.contains("channel[1].source: callers of [srt]")
                || p.contains("channel[1].source: browsers, by [webrtc],")
        });
        assert_eq!((told, found.len()), (clash, usize::from(clash)), "{one} {other}: {found:?}");
    }
}

#[test]
fn a_source_that_can_not_be_is_named() {
    for (line, words) in [
        ("source = \"/no/such/file.ts\"", "\"/no/such/file.ts\" can't be read: No such file"),
        ("source = \"/\"", "\"/\" is no file"),
        ("source = \"http://host/x.ts\"", "\"http\" is no way to a source; there are"),
        ("source = \"udp://host:5000\"", "\"udp://host:5000\" has no address and port such as"),
        ("source = \"udp://10.0.0.1:0\"", "\"udp://10.0.0.1:0\" has no address and port such as"),
        ("source = \"udp://10.0.0.1:5?interface=10.0.0.1\"", "only a group of IPv4 is joined"),
        (
            "source = \"udp://239.0.0.1:5?interface=eth0\"",
            "\"eth0\" is not the address of an interface",
        ),
        ("source = \"rtp://10.0.0.1:5?from=me\"", "\"me\" is not a sender's address"),
        ("source = \"udp://me@232.1.1.1:5\"", "\"me\" is not a sender's address"),
        (
            "source = \"rtp://10.0.0.1:5?fec=on\"",
            "unknown option \"fec\"; there are interface and from",
        ),
    ] {
        let found = problems(&format!("[[channel]]\nname = \"news\"\n{line}\n"));
        let expected = format!("line 3: channel[0].source: {words}");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{found:?}");
    }
    for (lines, expected) in [
        ("repeat = \"once\"", "line 3: channel[0].repeat: only a channel whose source is a file"),
        ("repeat = \"yes\"", "line 3: channel[0].repeat: expected \"forever\" or \"once\""),
        ("program = \"0\"", "line 3: channel[0].program: \"0\" is not a whole number from 1"),
        (
            "source = \"udp://127.0.0.1:5000\"\nkey = \"k\"",
            "line 4: channel[0].key: a channel with a source of its own takes no publisher",
        ),
    ] {
        let found = problems(&format!("[[channel]]\nname = \"news\"\n{lines}\n"));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
    }
}

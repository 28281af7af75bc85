use packager::dash::Events;
use packager::hls::CueStyle;

use super::*;

mod sources;

fn problems(text: &str) -> Vec<String> {
    let env = |name: &str| (name == "NEWS_KEY").then(|| "canary".to_owned());
    match file::parse(text, &env) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    }
}

fn config(text: &str) -> Config {
    let env = |name: &str| (name == "NEWS_KEY").then(|| "canary".to_owned());
    match file::parse(text, &env) {
        Ok(read) => read.config,
        Err(problems) => panic!("{problems}"),
    }
}

const CONTRACT: &str = r#"
[http]
listen = "0.0.0.0:8080"
public_url = "https://live.example.org/"
[rtmp]
listen = "[::]:1935"
[srt]
listen = "0.0.0.0:8891"
latency = "400ms"
[webrtc]
listen = "0.0.0.0:8190"
advertise = ["203.0.113.5", "[2001:db8::5]:443"]
ice_servers = ["stun:stun.example.org:3478"]
viewers = "7"
viewers_per_channel = "3"
[admin]
listen = "127.0.0.1:9997"
[store]
kind = "fs"
path = "spool"
memory = "32MiB"
[admission]
cores = "3.5"
[[channel]]
name = "news"
key_env = "NEWS_KEY"
passphrase = "correct horse"
max_bitrate = "20M"
ladder = ["360p", { height = "720p", bitrate = "3M" }, "480p"]
fps = "29.97"
segment = "2s"
part = "300ms"
window = "10m"
hold = "90s"
slate_after = "24h"
[channel.cues]
hls = ["daterange", "enhanced"]
asset_list = "https://ads.example.org/list?break={id}"
dash = "inband"
periods = "breaks"
max_break = "3m"
[[channel]]
name = "sport"
"#;

#[test]
fn the_empty_file_is_the_defaults() {
    let config = config("");
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.rtmp.listen.to_string(), "0.0.0.0:1935");
    assert_eq!(config.srt.listen.to_string(), "0.0.0.0:8890");
    assert_eq!(config.srt.latency, Duration::from_millis(120));
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9997");
    assert_eq!(config.webrtc.listen.unwrap().to_string(), "0.0.0.0:8189");
    assert_eq!(config.admission.cores, Cores::Auto);
    assert!(config.channels.is_empty());
}

#[test]
fn every_setting_arrives() {
    let config = config(CONTRACT);
    assert_eq!(config.http.public_url.as_deref(), Some("https://live.example.org"));
    assert_eq!(config.rtmp.listen.to_string(), "[::]:1935");
    assert_eq!(config.srt.listen.to_string(), "0.0.0.0:8891");
    assert_eq!(config.srt.latency, Duration::from_millis(400));
    let webrtc = &config.webrtc;
    assert_eq!(webrtc.listen.unwrap().to_string(), "0.0.0.0:8190");
    let advertised: Vec<_> = webrtc.advertise.iter().map(ToString::to_string).collect();
    assert_eq!(advertised, ["203.0.113.5:0", "[2001:db8::5]:443"]);
    assert_eq!(webrtc.ice_servers, ["stun:stun.example.org:3478"]);
    assert_eq!((webrtc.viewers, webrtc.viewers_per_channel), (7, 3));
    assert_eq!(config.store.path, Path::new("spool"));
    assert_eq!(config.store.memory, 32 << 20);
    assert_eq!(config.admission.cores, Cores::Count(3.5));
    let [news, sport] = config.channels.as_slice() else { panic!("two channels") };
    assert_eq!(news.key.as_ref().map(Secret::expose), Some("canary"));
    assert_eq!(news.passphrase.as_ref().map(Secret::expose), Some("correct horse"));
    assert_eq!((news.max_bitrate, sport.max_bitrate), (Some(20_000_000), Some(40_000_000)));
    let ladder: Vec<_> =
        news.ladder.iter().map(|r| (r.name.as_str(), r.height, r.bitrate)).collect();
    assert_eq!(ladder, [("720p", 720, Some(3_000_000)), ("480p", 480, None), ("360p", 360, None)]);
    assert_eq!(news.fps, Some(FrameRate::new(30_000, 1001)));
    assert_eq!((news.segment, news.part), (Span::millis(2_000), Span::millis(300)));
    assert_eq!((news.window, news.hold), (Span::millis(600_000), Duration::from_secs(90)));
    let after = [news.slate_after, sport.slate_after].map(|after| after.as_secs());
    assert_eq!(after, [86_400, 5]);
    assert!(sport.key.is_none() && sport.fps.is_none());
    assert_eq!(sport.ladder.len(), 3);
}

#[test]
fn every_problem_is_named_at_once_with_its_key_and_line() {
    let text = r#"
[http]
listen = "8080"
lissten = "0.0.0.0:80"
public_url = "live.example.org"
[htpp]
[store]
kind = "s3"
memory = 64
[[channel]]
name = "../news"
ladder = "sauce"
segment = "2"
part = "5s"
hold = "1500h"
[[channel]]
name = "a"
key = ""
fps = "31"
segement = "2s"
ladder = ["721p", 720, { bitrate = "3M" }, { height = "480p", bitrate = "3" }, "360p", "360p"]
[[channel]]
name = "a"
key_env = "MISSING"
[[channel]]
key = "canary"
key_env = "NEWS_KEY"
segment = "1s"
part = "800ms"
window = "1s"
passphrase = "canary"
[srt]
latency = "10s"
[webrtc]
listen = "on"
advertise = ["0.0.0.0", "203.0.113.5"]
ice_servers = ["http://stun.example.org"]
viewers = "0"
"#;
    let expected = [
        "line 3: http.listen: \"8080\" is not an address and port",
        "line 4: http.lissten: unknown key; did you mean `listen`?",
        "line 5: http.public_url: \"live.example.org\" is not a URL",
        "line 6: htpp: unknown key; did you mean `http`?",
        "line 8: store.bucket: S3 needs a bucket",
        "line 9: store.memory: expected a text in quotes, found a whole number",
        "line 11: channel[0].name: a name is made of",
        "line 12: channel[0].ladder: expected a list such as [\"720p\", \"480p\"], or \"source\", found a text",
        "line 13: channel[0].segment: \"2\" is not a duration",
        "line 14: channel[0].part: \"5s\" is not within 200ms and 1s",
        "line 15: channel[0].hold: \"1500h\" is not within 1s and 24h",
        "line 18: channel[1].key: a key is not empty",
        "line 19: channel[1].fps: \"31\" is not a frame rate; there are 5, 10",
        "line 20: channel[1].segement: unknown key; did you mean `segment`?",
        "line 21: channel[1].ladder[0]: \"721p\" is not an even height",
        "line 21: channel[1].ladder[1]: expected a height such as \"720p\", found a whole number",
        "line 21: channel[1].ladder[2].height: a rung has a height",
        "line 21: channel[1].ladder[3].bitrate: \"3\" is not within 20k and 100000k",
        "line 21: channel[1].ladder[5]: 360p is there twice",
        "line 23: channel[2].name: there is another channel \"a\"",
        "line 24: channel[2].key_env: the environment has no variable \"MISSING\"",
        "line 25: channel[3].name: a channel has a name",
        "line 27: channel[3].key_env: there is a `key` too",
        "line 29: channel[3].part: a part is at most half a segment, here 500ms",
        "line 30: channel[3].window: \"1s\" is not within 10s and 168h",
        "line 31: channel[3].passphrase: a passphrase has 10 to 79 characters",
        "line 33: srt.latency: \"10s\" is not within 80ms and 8s",
        "line 35: webrtc.listen: \"on\" is not an address and port",
        "line 36: webrtc.advertise[0]: \"0.0.0.0\" is no address",
        "line 37: webrtc.ice_servers[0]: \"http://stun.example.org\" is no URI",
        "line 38: webrtc.viewers: \"0\" is not a whole number from 1",
    ];
    let found = problems(text);
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nexpected {expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(!found.concat().contains("canary"), "no key is printed");
}

#[test]
fn broken_toml_is_a_problem_with_its_line_and_the_rest_is_still_read() {
    let found = problems("[http]\nlisten = \nlissten = \"x\"\n[[channel]]\nname = \"a b\"\n");
    assert!(found.iter().any(|p| p.starts_with("line 2: ")), "{found:#?}");
    assert!(found.iter().any(|p| p.starts_with("line 5: channel[0].name")), "{found:#?}");
    assert_eq!(
        problems("channel = 3"),
        ["line 1: channel: expected [[channel]], found a whole number"]
    );
    assert_eq!(problems("channel = [3]").len(), 1);
}

#[test]
fn what_stands_without_quotes_or_in_the_wrong_section_is_told_how_it_is_right() {
    for (text, expected) in [
        (
            "[[channel]]\nname = news",
            "name: expected a text in quotes, found a number; write \"news\"",
        ),
        ("[http]\nlisten = 0.0.0.0:80", "; write \"0.0.0.0:80\""),
        ("[[channel]]\nname = \"a\"\nwindow = 10m", "line 3: string values must be quoted"),
        ("[[channel]]\nname = \"a\"\nfps = 30", "found a whole number; write \"30\""),
        ("[[channel]]\nname = \"a\"\nfps = 29.97", "found a number; write \"29.97\""),
        ("[[channel]]\nname = \"a\"\nfps = 31", "; \"31\" is not a frame rate"),
        ("[store]\nmemory = 64", "; \"64\" is not a size such as \"64MiB\""),
        ("[store]\nkind = \"s3\"\nbucket = \"abc\"\nplaylists = true", "; write \"yes\""),
        ("[store]\nkind = \"s3\"\nbucket = \"abc\"\npath_style = false", "; write \"no\""),
        (
            "[store]\nkind = \"s3\"\nbucket = \"abc\"\nendpoint = \"s3.example.org\"",
            "is not a URL such as \"https://s3.example.org\"",
        ),
        ("[rtmp]\nlisten = \"off\"", "only [webrtc] can be \"off\""),
        ("[[channel]]\nname = \"a\"\nmax_break = \"1m\"", "it belongs to [channel.cues]"),
        ("[rtmp]\nlatency = \"1s\"", "it belongs to [srt]"),
        ("[store]\nhold = \"1s\"\n[[channel]]\nname = \"a\"", "it belongs to a [[channel]]"),
        (
            "[[channel]]\nname = \"a\"\nkeep = \"30d\"",
            "line 3: channel[0].keep: only what is in S3",
        ),
        ("[[channel]]\nname = \"a\"\nhold = \"2 weeks\"", "\"1h\" or \"30d\""),
    ] {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].contains(expected), "{text}\n{found:#?}");
    }
    let second =
        problems("[[channel]]\nname = \"a b\"\n[[channel]]\nname = \"a\"\nkeep_size = \"5GB\"");
    assert!(second[1].starts_with("line 5: channel[1].keep_size: "), "{second:#?}");
    let key = problems("[[channel]]\nname = \"a\"\nkey = 7351").concat();
    assert!(key.contains("found a whole number") && !key.contains("7351"), "{key}");
    let source = "[[channel]]\nname = \"a\"\nsource = srt://10.0.0.1:9000?passphrase=canary-canary";
    let found = problems(source).concat();
    assert!(!found.is_empty() && !found.contains("canary"), "{found}");
}

#[test]
fn two_sections_do_not_listen_at_one_place() {
    let taken = |lines: &str| problems(lines);
    assert_eq!(
        taken("[http]\nlisten = \"0.0.0.0:9000\"\n[rtmp]\nlisten = \"127.0.0.1:9000\""),
        ["line 4: rtmp.listen: [http] listens on 0.0.0.0:9000 too"]
    );
    assert_eq!(
        taken("[http]\nlisten = \"0.0.0.0:1935\""),
        ["line 2: http.listen: [rtmp] listens on 0.0.0.0:1935 too"],
        "the default of another"
    );
    assert_eq!(
        taken("[srt]\nlisten = \"[::]:8189\""),
        ["line 2: srt.listen: [webrtc] listens on 0.0.0.0:8189 too"]
    );
    for apart in [
        "[srt]\nlisten = \"0.0.0.0:8080\"",
        "[http]\nlisten = \"127.0.0.1:9997\"\n[admin]\nlisten = \"[::1]:9997\"",
        "[http]\nlisten = \"0.0.0.0:9997\"\n[admin]\nlisten = \"[::1]:9997\"",
        "[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"",
        "[srt]\nlisten = \"0.0.0.0:8189\"\n[webrtc]\nlisten = \"off\"",
    ] {
        assert_eq!(taken(apart), [""; 0], "{apart}");
    }
}

#[test]
fn a_certificate_that_is_not_there_is_a_problem() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let found =
        problems(&format!("[http.tls]\ncert = {:?}\nkey = \"/no/such/key.pem\"\n", file.path()));
    assert!(
        found.len() == 1
            && found[0].starts_with("line 3: http.tls.key: \"/no/such/key.pem\" can't be read"),
        "{found:?}"
    );
}

#[test]
fn reserved_words_are_no_channel_names() {
    for word in ["from", "to", "time", "vod", "whip", "whep"] {
        let found = problems(&format!("[[channel]]\nname = \"{word}\""));
        assert_eq!(found.len(), 1, "{word}");
        assert!(found[0].contains("reserved"), "{found:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_what_would_be_right() {
    for (line, words) in [
        ("[http]\nlisten = \":8080\"", "; \"0.0.0.0:8080\" is every address of this machine"),
        ("[http]\nlisten = \"localhost:80\"", "; names are not looked up, write \"127.0.0.1:80\""),
        ("[http]\nlisten = \"origin.lan:80\"", "; names are not looked up"),
        ("[http]\nlisten = \"10.0.0.2\"", "; its port is missing"),
        ("[http]\nlisten = \"::1\"", "; its port is missing"),
        ("[http]\nlisten = \"origin\"", "such as \"0.0.0.0:8080\""),
        (
            "[http]\nlisten = \"0.0.0.0:1\"\nlisten = \"0.0.0.0:2\"",
            "line 3: `listen` is there twice",
        ),
        ("[[channel]]\nname = \"vod\"", "these are: from, to, time, vod, whip, whep"),
        ("[[channel]]\nname = \"a\"\nmax_bitrate = \"3\"", "did you mean \"3M\"?"),
        ("[[channel]]\nname = \"a\"\nmax_bitrate = \"2500\"", "did you mean \"2500k\"?"),
        (
            "[[channel]]\nname = \"a\"\nslate = \"no/where.png\"",
            "/no/where.png\", can't be read: No such",
        ),
        (
            "[[channel]]\nname = \"a\"\nsource = \"udp://:5000\"",
            "; \"0.0.0.0:5000\" is every address",
        ),
    ] {
        let found = problems(line);
        assert!(found.len() == 1 && found[0].contains(words), "{line}: {found:?}");
    }
}

#[test]
fn quantities_are_read_exactly_or_not_at_all() {
    let millis = |text: &str| millis(text, 0, u64::MAX).ok();
    for (text, expected) in [
        ("300ms", 300),
        ("2s", 2_000),
        ("1.5s", 1_500),
        ("0.001s", 1),
        ("10m", 600_000),
        ("2h", 7_200_000),
        ("2 s", 2_000),
    ] {
        assert_eq!(millis(text), Some(expected), "{text}");
        assert_eq!(millis(&print_millis(expected)), Some(expected), "{text} printed");
    }
    for text in [
        "",
        "2",
        "s",
        "-1s",
        "+1s",
        "1,5s",
        "0.0001s",
        "1.5ms",
        ".5s",
        "1.s",
        "1..5s",
        "2 weeks",
        "2S",
        "1e3s",
        "99999999999999999999s",
        "9999999999999999h",
        "1.0000000000s",
        "１s",
    ] {
        assert_eq!(millis(text), None, "{text}");
    }
    let bytes = |text: &str| value::bytes(text, 0, u64::MAX).ok();
    assert_eq!(bytes("64MiB"), Some(64 << 20));
    assert_eq!(bytes("1.5kB"), Some(1_500));
    assert_eq!(bytes("7B"), Some(7));
    assert_eq!(bytes("64"), None);
    assert_eq!(value::bitrate("2.5M"), Ok(2_500_000));
    assert_eq!(value::bitrate("800k"), Ok(800_000));
    assert!(value::bitrate("800kB").is_err());
}

#[test]
fn frame_rates_are_read_in_every_way_people_write_them() {
    for (text, num, den) in [
        ("30", 30, 1),
        ("29.97", 30_000, 1001),
        ("30000/1001", 30_000, 1001),
        ("23.976", 24_000, 1001),
        ("23.98", 24_000, 1001),
        ("25.0", 25, 1),
        ("50/1", 50, 1),
        ("59.94", 60_000, 1001),
    ] {
        assert_eq!(value::frame_rate(text), Ok(FrameRate::new(num, den)), "{text}");
    }
    for text in ["0", "1", "31", "29.9", "30/0", "30/1001", "", "fast", "30fps", "-25"] {
        assert!(value::frame_rate(text).is_err(), "{text}");
    }
}

#[test]
fn the_example_file_is_valid_and_documents_every_key() {
    let example = include_str!("../../../infra/config/headwater.example.toml");
    let env = |_: &str| Some("key".to_owned());
    let read = file::parse(example, &env).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(read.config.channels.len() >= 2);
    // What the file says, and what it would say with its commented-out keys.
    let mut documented = std::collections::BTreeSet::new();
    let mut section = String::new();
    for line in example.lines() {
        let line = line.trim_start_matches('#').trim();
        if let Some(head) = line.strip_prefix('[') {
            section = head.trim_matches(|c| c == '[' || c == ']').to_owned();
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            documented.insert(format!("{section}.{key}"));
        }
    }
    // The keys of a rung stand inside a line.
    let rung = "ladder = [{ height = \"720p\", bitrate = \"3M\" }, \"480p\"]";
    assert!(example.contains(rung));
    let short = file::parse(&format!("[[channel]]\nname = \"x\"\n{rung}"), &env).unwrap();
    assert_eq!(short.asked.len(), read.asked.len() + 2, "height and bitrate");
    let missing: Vec<_> = read.asked.difference(&documented).collect();
    assert!(missing.is_empty(), "not in the example: {missing:?}");
    let unknown: Vec<_> = documented.difference(&read.asked).collect();
    assert!(unknown.is_empty(), "in the example but not read: {unknown:?}");
    assert!(read.asked.len() > 15);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\[+[a-z]{1,7}\\]+\n|[a-z_]{1,8} = [\"0-9a-z{}\\[\\],. =]{0,20}\n|\\PC{0,20}\n){0,12}") {
        let _ = problems(&text);
    }
}

#[test]
fn cores_are_a_number_or_one_of_two_words() {
    let text = |cores: &str| format!("[admission]\ncores = \"{cores}\"\n");
    assert_eq!(config(&text("off")).admission.cores, Cores::Off);
    assert_eq!(config(&text("0.5")).admission.cores, Cores::Count(0.5));
    for wrong in ["0", "-1", "NaN", "inf", "all", "", "5000"] {
        let problems = problems(&text(wrong));
        assert!(problems[0].contains("admission.cores"), "{wrong}: {problems:?}");
    }
}

#[test]
fn a_slate_is_an_image_that_is_there_and_not_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        format!("[[channel]]\nname = \"a\"\nslate = {path:?}\n")
    };
    let good = config(&file("good.png", b"\x89PNG..."));
    assert_eq!(good.channels[0].slate.as_ref().unwrap().image[..], b"\x89PNG..."[..]);
    let mut large = vec![0; 5 << 20];
    large[..3].copy_from_slice(&[0xFF, 0xD8, 0xFF]);
    for (wrong, why) in [
        (file("text.png", b"an image"), "neither PNG nor JPEG"),
        (file("large.jpg", &large), "is larger than"),
        ("[[channel]]\nname = \"a\"\nslate = \"nowhere.png\"\n".to_owned(), "can't be read"),
    ] {
        let problems = problems(&wrong);
        assert!(
            problems[0].contains("channel[0].slate") && problems[0].contains(why),
            "{problems:?}"
        );
    }
}

#[test]
fn a_bound_on_what_a_publisher_sends_can_be_taken_off() {
    let text = |bound: &str| format!("[[channel]]\nname = \"x\"\nmax_bitrate = \"{bound}\"\n");
    assert_eq!(config(&text("off")).channels[0].max_bitrate, None);
    assert!(problems(&text("fast"))[0].contains("channel[0].max_bitrate"));
}

#[test]
fn only_a_channel_that_passes_its_source_through_has_a_fallback() {
    let text =
        |rest: &str| format!("[[channel]]\nname = \"x\"\nladder = \"source\"\nfallback = {rest}\n");
    assert_eq!(config(&text("\"encode\"")).channels[0].fallback, Fallback::Encode);
    assert_eq!(config(&text("\"refuse\"")).channels[0].fallback, Fallback::Refuse);
    assert!(problems(&text("\"yes\""))[0].contains("channel[0].fallback"));
    let laddered = text("\"encode\"").replace("\"source\"", "[\"720p\"]");
    assert!(problems(&laddered)[0].contains("ladder = \"source\""));
}

#[test]
fn how_breaks_are_told_is_a_section_of_the_channel() {
    let config = config(CONTRACT);
    let [news, sport] = &config.channels[..] else { panic!("{config:?}") };
    let Cues { hls, dash, periods, max_break } = &news.cues;
    assert_eq!((hls.date_ranges, hls.style), (true, Some(CueStyle::Enhanced)));
    assert_eq!(hls.asset_list, "https://ads.example.org/list?break={id}".parse().ok());
    assert_eq!(
        (*dash, *periods, *max_break),
        (Events::Inband, Periods::Breaks, Span::millis(180_000))
    );
    assert_eq!(sport.cues, Cues::default());
    assert!(sport.cues.hls.date_ranges && sport.cues.hls.style.is_none());
    let told =
        |lines: &str| problems(&format!("[[channel]]\nname = \"a\"\n[channel.cues]\n{lines}"));
    assert_eq!(told("hls = []"), [""; 0]);
    assert_eq!(
        told("hls = \"daterange\""),
        ["line 4: channel[0].cues.hls: expected a list such as [\"daterange\"], found a text"]
    );
    assert_eq!(
        told("hls = [\"elemental\", \"scte35\", \"adobe\", 7]"),
        [
            "line 4: channel[0].cues.hls[1]: there is another kind of CUE-OUT tags; a playlist has one",
            "line 4: channel[0].cues.hls[2]: \"adobe\" is no kind of tag; there are \"daterange\", \
             \"elemental\", \"enhanced\", \"scte35\"",
            "line 4: channel[0].cues.hls[3]: expected a text in quotes, found a whole number",
        ]
    );
    for (lines, problem) in [
        ("dash = \"emsg\"", "dash: expected \"xml+bin\", \"xml\" or \"inband\", found \"emsg\""),
        ("periods = \"ads\"", "periods: expected \"runs\" or \"breaks\", found \"ads\""),
        (
            "asset_list = \"https://a/{what}\"",
            "asset_list: only {id}, {duration} and {section} stand for something, found \
             \"https://a/{what}\"",
        ),
    ] {
        assert_eq!(told(lines), [format!("line 4: channel[0].cues.{problem}")]);
    }
    assert_eq!(told("max_break = \"1ms\"").len(), 1);
    assert_eq!(told("style = \"elemental\"").len(), 1);
}

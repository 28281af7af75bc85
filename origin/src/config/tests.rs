use super::*;

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
[admin]
listen = "127.0.0.1:9997"
[store]
kind = "fs"
path = "spool"
memory = "32MiB"
[[channel]]
name = "news"
key_env = "NEWS_KEY"
ladder = ["360p", { height = "720p", bitrate = "3M" }, "480p"]
fps = "29.97"
segment = "2s"
part = "300ms"
window = "10m"
hold = "90s"
[[channel]]
name = "sport"
"#;

#[test]
fn the_empty_file_is_the_defaults() {
    let config = config("");
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.rtmp.listen.to_string(), "0.0.0.0:1935");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9997");
    assert!(config.channels.is_empty());
}

#[test]
fn every_setting_arrives() {
    let config = config(CONTRACT);
    assert_eq!(config.http.public_url.as_deref(), Some("https://live.example.org"));
    assert_eq!(config.rtmp.listen.to_string(), "[::]:1935");
    assert_eq!(config.store.path, Path::new("spool"));
    assert_eq!(config.store.memory, 32 << 20);
    let [news, sport] = config.channels.as_slice() else { panic!("two channels") };
    assert_eq!(news.key.as_ref().map(Secret::expose), Some("canary"));
    let ladder: Vec<_> =
        news.ladder.iter().map(|r| (r.name.as_str(), r.height, r.bitrate)).collect();
    assert_eq!(ladder, [("720p", 720, Some(3_000_000)), ("480p", 480, None), ("360p", 360, None)]);
    assert_eq!(news.fps, Some(FrameRate::new(30_000, 1001)));
    assert_eq!((news.segment, news.part), (Span::millis(2_000), Span::millis(300)));
    assert_eq!((news.window, news.hold), (Span::millis(600_000), Duration::from_secs(90)));
    assert!(sport.key.is_none() && sport.fps.is_none());
    assert_eq!(sport.ladder.len(), 3);
}

//! `headwater check`: every problem of a configuration, or what its wishes become.

use std::fmt::Write as _;
use std::path::Path;

use ingest::av::ladder::{self, AUDIO_BITRATE};
use packager::grid::Grid;
use packager::time::{FrameRate, Rounding, Span, Timescale};

use crate::config::{self, Channel, Config, Fallback, Role, Rung};

mod warnings;

/// Sample rate of every ladder's sound.
const AUDIO_RATE: u32 = 48_000;

/// Rates shown for a channel that takes its source's: the television of either half of the world.
const LIKELY_RATES: [FrameRate; 2] = [FrameRate::new(25, 1), FrameRate::new(30, 1)];
/// A source for which every rung is made, in pixels.
const LARGE: (u16, u16) = (3840, 2160);
/// What the spool takes at most, in windows: what has left the window is deleted some time later.
const WINDOWS_ON_DISK: u64 = 2;

/// The report on a file.
///
/// # Errors
/// The file can't be read, or has problems: the error prints all of them.
pub fn report(path: &Path) -> Result<String, config::Error> {
    let config = Config::load(path)?;
    let mut text = format!("{}: valid\n", path.display());
    // Writing to a String can't fail.
    let _ = summary(&mut text, &config);
    Ok(text)
}

fn summary(out: &mut String, config: &Config) -> std::fmt::Result {
    writeln!(out, "  http   {}", config.http.listen)?;
    if let Some(tls) = &config.http.tls {
        writeln!(out, "  https  {}", tls.listen)?;
    }
    if config.http.trusted != config::Http::default().trusted {
        writeln!(out, "  trusted {}", listed(&config.http.trusted))?;
    }
    writeln!(out, "  rtmp   {}", config.rtmp.listen)?;
    writeln!(out, "  srt    {}", config.srt.listen)?;
    match config.webrtc.listen {
        Some(listen) if config.webrtc.advertise.is_empty() => writeln!(out, "  webrtc {listen}")?,
        Some(listen) => {
            let told = listed(&config.webrtc.advertise);
            writeln!(out, "  webrtc {listen}, browsers are told {told}")?;
        }
        None => writeln!(out, "  webrtc off")?,
    }
    writeln!(out, "  admin  {}", config.admin.listen)?;
    let memory = config::print_bytes(config.store.memory);
    writeln!(out, "  store  {}, {memory} of memory per channel", config.store.path.display())?;
    if let Some(s3) = &config.store.s3 {
        let endpoint = s3.endpoint.as_deref().unwrap_or("AWS");
        let role = match s3.role {
            Role::Primary => "sends what it makes to",
            Role::Replica => "a replica: serves what is in",
        };
        writeln!(out, "  s3     {role} s3://{}/{} at {endpoint}", s3.bucket, s3.prefix)?;
    }
    for warning in warnings::of_the_server(config) {
        writeln!(out, "  warning {warning}")?;
    }
    if config.channels.is_empty() {
        writeln!(out, "  no channel: nobody can publish")?;
    }
    config.channels.iter().try_for_each(|channel| describe(out, channel))
}

fn listed<T: ToString>(of: &[T]) -> String {
    let texts: Vec<_> = of.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "nobody".to_owned() } else { texts.join(", ") }
}

fn describe(out: &mut String, channel: &Channel) -> std::fmt::Result {
    let door = match (&channel.source, &channel.key) {
        (Some(source), _) => format!("from {source}"),
        (None, Some(_)) => "published to with a key".into(),
        (None, None) => "published to without a key, from loopback only".into(),
    };
    let encrypted = if channel.passphrase.is_some() { "; over SRT with a passphrase" } else { "" };
    writeln!(out, "  channel {}, {door}{encrypted}", channel.name)?;
    for warning in warnings::of(channel) {
        writeln!(out, "    warning  {warning}")?;
    }
    let rungs = rungs(channel);
    let ladder = match (channel.pass_through, channel.fallback) {
        (false, _) => listed(&rungs.iter().map(described).collect::<Vec<_>>()),
        (true, Fallback::Refuse) => "the source as it is".into(),
        (true, Fallback::Encode) => "the source as it is, encoded where that can't be".into(),
    };
    writeln!(out, "    ladder   {ladder}")?;
    if channel.fps.is_none() && channel.ladder.iter().any(|rung| rung.bitrate.is_none()) {
        writeln!(out, "    rates    for up to 30 fps; 1.4 times as much for more")?;
    }
    let hold = u64::try_from(channel.hold.as_millis()).unwrap_or(u64::MAX);
    writeln!(
        out,
        "    window   {}, hold {}",
        config::print_millis(channel.window.ticks),
        config::print_millis(hold)
    )?;
    if let Some(bits) = bits_per_second(channel, &rungs) {
        let bytes = bits / 8 * channel.window.ticks / 1_000 * WINDOWS_ON_DISK;
        writeln!(out, "    disk     up to {} MB, at {} kb/s", bytes / 1_000_000, bits / 1_000)?;
    }
    if channel.record {
        writeln!(out, "    record   what the window holds when the channel ends")?;
    }
    let age = channel
        .keep
        .map(|keep| config::print_millis(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)));
    let kept: Vec<_> = age.into_iter().chain(channel.keep_size.map(config::print_bytes)).collect();
    if !kept.is_empty() {
        writeln!(out, "    keep     {} in S3", kept.join(", "))?;
    }
    if channel.pass_through {
        return writeln!(
            out,
            "    segments of whole groups of pictures, as the first source has them"
        );
    }
    let rates = channel.fps.as_ref().map_or(&LIKELY_RATES[..], std::slice::from_ref);
    for rate in rates {
        let grid = Grid::choose(*rate, AUDIO_RATE, channel.segment, channel.part);
        let given = if channel.fps.is_some() { "at" } else { "if the source has" };
        writeln!(
            out,
            "    {given} {} fps: segment {} -> {}, part {} -> {}, target duration {} s",
            config::print_rate(*rate),
            config::print_millis(channel.segment.ticks),
            seconds(grid.segment()),
            config::print_millis(channel.part.ticks),
            seconds(grid.part()),
            grid.target_duration(),
        )?;
    }
    Ok(())
}

/// The rungs that are made of a source large enough for all of them.
fn rungs(channel: &Channel) -> Vec<ladder::Rung> {
    let wishes: Vec<_> = channel.ladder.iter().map(Rung::wish).collect();
    ladder::plan(LARGE, &wishes, channel.fps.unwrap_or(LIKELY_RATES[1])).rungs
}

fn described(rung: &ladder::Rung) -> String {
    format!("{} at {} kb/s", rung.name, rung.average_bitrate / 1_000)
}

/// What a channel takes in a second, with its sound; `None` where its source may send any rate.
fn bits_per_second(channel: &Channel, rungs: &[ladder::Rung]) -> Option<u64> {
    if !channel.pass_through {
        let pictures: u64 = rungs.iter().map(|rung| u64::from(rung.average_bitrate)).sum();
        return Some(pictures + u64::from(AUDIO_BITRATE));
    }
    channel.max_bitrate.filter(|_| channel.source.is_none()).map(u64::from)
}

/// A length in seconds, to a tenth of a millisecond.
fn seconds(span: Span) -> String {
    let tenths =
        span.ticks_in(Timescale::NANOS, Rounding::Nearest).saturating_add(50_000) / 100_000;
    let text = format!("{}.{:04}", tenths / 10_000, tenths % 10_000);
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("headwater.toml");
        std::fs::write(&path, text).unwrap();
        report(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_good_file_tells_what_its_wishes_become() {
        let text = check(
            "[[channel]]\nname = \"news\"\nkey = \"canary\"\nfps = \"30\"\n\
             [[channel]]\nname = \"film\"\nfps = \"23.976\"\nladder = [{ height = \"720p\", bitrate = \"3M\" }]\n\
             [[channel]]\nname = \"any\"",
        )
        .unwrap();
        for expected in [
            "channel news, published to with a key",
            "at 30 fps: segment 2s -> 1.6 s, part 300ms -> 0.2667 s, target duration 2 s",
            "at 23.976 fps: segment 2s -> 2.002 s",
            "720p at 3000 kb/s\n",
            "ladder   720p at 2800 kb/s, 480p at 1200 kb/s, 360p at 700 kb/s\n    rates    for up",
            // (2,800 + 1,200 + 700 + 128) kb/s, in ten minutes, twice.
            "disk     up to 724 MB, at 4828 kb/s",
            "without a key, from loopback only",
            "if the source has 25 fps: segment 2s -> 1.92 s, part 300ms -> 0.32 s",
            "if the source has 30 fps",
        ] {
            assert!(text.contains(expected), "{expected}\nnot in\n{text}");
        }
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn a_door_for_https_is_told_where_there_is_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        let tls = format!(
            "[http.tls]\nlisten = \"127.0.0.1:8443\"\ncert = \"{path}\"\nkey = \"{path}\"\n"
        );
        assert!(check(&tls).unwrap().contains("  https  127.0.0.1:8443\n"));
        assert!(!check("").unwrap().contains("https"));
    }

    #[test]
    fn what_is_not_as_ever_is_told() {
        let text = check(
            "[http]\ntrusted = [\"10.0.0.0/8\"]\n[webrtc]\nadvertise = [\"203.0.113.5:8189\"]\n\
             [store]\nkind = \"s3\"\nbucket = \"live\"\n\
             [[channel]]\nname = \"news\"\nkey = \"change-me\"\npassphrase = \"canary canary\"\n\
             record = \"window\"\nkeep = \"48h\"\nkeep_size = \"1GiB\"\n",
        )
        .unwrap();
        for expected in [
            "  trusted 10.0.0.0/8\n",
            "  webrtc 0.0.0.0:8189, browsers are told 203.0.113.5:8189\n",
            "published to with a key; over SRT with a passphrase\n",
            "    warning  the key is the example's",
            "    record   what the window holds",
            "    keep     48h, 1GiB in S3\n",
        ] {
            assert!(text.contains(expected), "{expected}\nnot in\n{text}");
        }
        assert!(!text.contains("canary"), "{text}");
        let plain = check(
            "[webrtc]\nlisten = \"off\"\n[[channel]]\nname = \"a\"\nkey = \"not-a-short-one\"",
        )
        .unwrap();
        assert!(plain.contains("  webrtc off\n"), "{plain}");
        for absent in ["trusted", "warning", "record", "keep", "passphrase"] {
            assert!(!plain.contains(absent), "{absent} in\n{plain}");
        }
    }

    #[test]
    fn what_is_allowed_and_seldom_meant_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let film = folder.path().join("film.ts");
        std::fs::write(&film, "").unwrap();
        let text = check(&format!(
            "[admin]\nlisten = \"0.0.0.0:9997\"\n\
             [store]\nkind = \"s3\"\nbucket = \"live\"\ncredentials = \"no/such/file\"\n\
             [[channel]]\nname = \"news\"\nkey = \"canary\"\nladder = \"source\"\nfps = \"25\"\n\
             max_bitrate = \"8M\"\n\
             [[channel]]\nname = \"film\"\nsource = {film:?}\npassphrase = \"a canary's passphrase\"\n",
        ))
        .unwrap();
        for expected in [
            "  warning [admin] listens on 0.0.0.0:9997",
            "  warning the file of credentials, no/such/file, can't be read",
            "    warning  the key has 6 characters",
            "    warning  fps means nothing",
            // 8 Mb/s, in ten minutes, twice.
            "    disk     up to 1200 MB, at 8000 kb/s",
            "    warning  passphrase means nothing",
        ] {
            assert!(text.contains(expected), "{expected}\nnot in\n{text}");
        }
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn a_bad_file_tells_all_its_problems() {
        let text = check("[htpp]\n[[channel]]\nname = \"a b\"\n").unwrap_err();
        assert!(text.contains("2 problems"), "{text}");
        assert!(
            text.contains("did you mean `http`?") && text.contains("channel[0].name"),
            "{text}"
        );
        assert!(report(Path::new("no/such/file")).unwrap_err().to_string().contains("can't read"));
    }
}

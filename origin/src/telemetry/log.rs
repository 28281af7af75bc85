//! Logging: structured events, one line each, to standard error.
//!
//! A person at a terminal gets a short coloured line; a file or a pipe gets the same without
//! colours, or JSON by option. What is logged is filtered by `--log`, else by `HEADWATER_LOG`,
//! else at `info`; either is a level or a filter such as `info,ingest=debug`. Where nobody says otherwise,
//! the SDK of S3 is quiet about each place that gives it no credentials: what that means is told once, by
//! the store.
//!
//! What a peer sends can stand in an event. The formatter escapes it where it prints a field's
//! `Debug`, not where it prints `Display`; so `OneLine` stands behind it, and no peer can forge a
//! line or steer a terminal.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The environment variable that holds the filter.
pub const VARIABLE: &str = "HEADWATER_LOG";

/// What is logged where nobody says otherwise.
const DEFAULT_FILTER: &str = "info,aws_config=error";

/// How an event is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Words that stand alone in a filter: the levels, and the modules that are ours.
const ALONE: [&str; 9] =
    ["off", "error", "warn", "info", "debug", "trace", "ingest", "origin", "packager"];

/// A filter that can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadFilter {
    /// It is none.
    #[error("bad log filter {filter:?}")]
    Form {
        /// What was given.
        filter: String,
        /// Why not.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A word that would be taken for somebody's module, of which nobody asks for everything.
    #[error(
        "bad log filter: {word:?} is no level; there are error, warn, info, debug, trace and off, and by \
         module such as ingest=debug"
    )]
    Word {
        /// The word.
        word: String,
    },
}

/// Starts logging for the whole process. A second call does nothing.
///
/// # Errors
/// The filter, from the option or from the environment, can't be read.
pub fn start(filter: Option<&str>, format: Format) -> Result<(), BadFilter> {
    let from_environment = std::env::var(VARIABLE).ok();
    let filter = parse(filter.or(from_environment.as_deref()).unwrap_or(DEFAULT_FILTER))?;
    let colours = io::stderr().is_terminal();
    let subscriber = subscriber(filter, format, colours, io::stderr);
    // Only a second call can fail, and the first stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, BadFilter> {
    let is_word = |word: &&str| !word.is_empty() && word.chars().all(char::is_alphabetic);
    let known = |word: &str| ALONE.iter().any(|known| known.eq_ignore_ascii_case(word));
    if let Some(word) = filter.split(',').map(str::trim).filter(is_word).find(|word| !known(word)) {
        return Err(BadFilter::Word { word: word.to_owned() });
    }
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| BadFilter::Form { filter: filter.to_owned(), source })
}

fn subscriber(
    filter: EnvFilter,
    format: Format,
    colours: bool,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Box<dyn tracing::Subscriber + Send + Sync> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(OneLine { inner: writer, colours })
        .with_ansi(colours)
        .log_internal_errors(false);
    match format {
        Format::Human => Box::new(builder.finish()),
        Format::Json => Box::new(builder.json().flatten_event(true).finish()),
    }
}

/// Writes each event, which the formatter hands over in one piece, as one line: control characters
/// inside it become escapes, other than those that set a colour where there are colours.
struct OneLine<W> {
    inner: W,
    colours: bool,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = OneLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine { inner: self.inner.make_writer(), colours: self.colours }
    }
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = event.strip_suffix(b"\n").unwrap_or(event);
        if line.iter().any(|byte| byte.is_ascii_control()) {
            let mut escaped = Vec::with_capacity(event.len() + 16);
            let mut rest = line;
            while let Some((byte, after)) = rest.split_first() {
                let colour = if self.colours { colour_len(rest) } else { 0 };
                if let Some((sequence, after)) = rest.split_at_checked(colour)
                    && colour > 0
                {
                    escaped.extend_from_slice(sequence);
                    rest = after;
                    continue;
                }
                if byte.is_ascii_control() {
                    escaped.extend(byte.escape_ascii());
                } else {
                    escaped.push(*byte);
                }
                rest = after;
            }
            escaped.push(b'\n');
            self.inner.write_all(&escaped)?;
        } else {
            self.inner.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Length of the colour sequence (ECMA-48 SGR: `ESC [ digits and ; m`) at the beginning of `bytes`;
/// 0 if there is none.
fn colour_len(bytes: &[u8]) -> usize {
    let Some(rest) = bytes.strip_prefix(b"\x1b[") else { return 0 };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    if rest.get(digits) == Some(&b'm') { digits + 3 } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_no_filter() {
        for good in
            ["info", "WARN", "info,ingest=debug", "origin", "info,hyper::proto=off", "", "off"]
        {
            assert!(parse(good).is_ok(), "{good}");
        }
        for (wrong, word) in [("verbose", "verbose"), ("info, all", "all")] {
            let told = parse(wrong).unwrap_err().to_string();
            assert!(told.contains(&format!("{word:?} is no level")), "{told}");
        }
        assert!(parse("ingest=loud").is_err());
    }

    fn logged(format: Format, filter: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(parse(filter).unwrap(), format, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let forged = "a\nb\x1b[31m\r";
            tracing::info!(channel = "news", peer = forged, "a publisher arrived");
            tracing::info!(peer = %forged, "a second one");
            tracing::info!(peer = ?forged, "a third: {forged}");
            tracing::debug!("not worth a line");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn one_event_is_one_line_whatever_a_peer_sends() {
        for format in [Format::Human, Format::Json] {
            let text = logged(format, "info");
            assert_eq!(text.lines().count(), 3, "{text}");
            assert!(!text.contains(['\x1b', '\r']), "{text:?}");
            assert!(text.contains("a publisher arrived") && text.contains("news"), "{text}");
        }
    }

    #[test]
    fn on_a_terminal_colours_pass_and_nothing_else_does() {
        let mut line = OneLine { inner: Vec::new(), colours: true };
        line.write_all(b"\x1b[2mnow\x1b[0m \x1b[1;31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x1b[3\n")
            .unwrap();
        let expected =
            "\x1b[2mnow\x1b[0m \x1b[1;31mred\x1b[0m \\x1b]0;title\\x07 \\x1b[2J\\x1b[3\n";
        assert_eq!(String::from_utf8(line.inner).unwrap(), expected);
    }

    #[test]
    fn json_lines_are_json_objects_with_the_fields_by_name() {
        let value: serde_json::Value =
            serde_json::from_str(logged(Format::Json, "info").lines().next().unwrap()).unwrap();
        assert_eq!(value["channel"], "news");
        assert_eq!(value["message"], "a publisher arrived");
        assert_eq!(value["level"], "INFO");
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        assert_eq!(logged(Format::Human, "warn"), "");
        assert_eq!(logged(Format::Human, "debug").lines().count(), 4);
        assert!(parse("info,ingest=loud").is_err() && parse(DEFAULT_FILTER).is_ok());
    }
}

//! Logging: structured events, one line each, to standard error.
//!
//! A person at a terminal gets a short coloured line; a file or a pipe gets the same without
//! colours, or JSON by option. What is logged is filtered by `--log`, else by `HEADWATER_LOG`,
//! else at `info`; either is a level or a filter such as `info,ingest=debug`.
//!
//! Texts from outside are escaped by the formatter, so that no peer can forge a line.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The environment variable that holds the filter.
pub const VARIABLE: &str = "HEADWATER_LOG";

/// What is logged where nobody says otherwise.
const DEFAULT_FILTER: &str = "info";

/// How an event is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// A filter that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("bad log filter {filter:?}: {source}")]
pub struct BadFilter {
    filter: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Starts logging for the whole process. A second call does nothing.
///
/// # Errors
/// The filter, from the option or from the environment, can't be read.
pub fn start(filter: Option<&str>, format: Format) -> Result<(), BadFilter> {
    let from_environment = std::env::var(VARIABLE).ok();
    let filter = parse(filter.or(from_environment.as_deref()).unwrap_or(DEFAULT_FILTER))?;
    let colours = std::io::stderr().is_terminal();
    let subscriber = subscriber(filter, format, colours, std::io::stderr);
    // Only a second call can fail, and the first stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, BadFilter> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| BadFilter { filter: filter.to_owned(), source })
}

fn subscriber(
    filter: EnvFilter,
    format: Format,
    colours: bool,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Box<dyn tracing::Subscriber + Send + Sync> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colours)
        .log_internal_errors(false);
    match format {
        Format::Human => Box::new(builder.finish()),
        Format::Json => Box::new(builder.json().flatten_event(true).finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(parse(filter).unwrap(), format, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(channel = "news", peer = "a\nb\x1b[31m", "a publisher arrived");
            tracing::debug!("not worth a line");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn one_event_is_one_line_whatever_a_peer_sends() {
        for format in [Format::Human, Format::Json] {
            let text = logged(format, "info");
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.contains('\x1b'), "{text:?}");
            assert!(text.contains("a publisher arrived") && text.contains("news"), "{text}");
        }
    }

    #[test]
    fn json_lines_are_json_objects_with_the_fields_by_name() {
        let value: serde_json::Value = serde_json::from_str(&logged(Format::Json, "info")).unwrap();
        assert_eq!(value["channel"], "news");
        assert_eq!(value["message"], "a publisher arrived");
        assert_eq!(value["level"], "INFO");
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        assert_eq!(logged(Format::Human, "warn"), "");
        assert_eq!(logged(Format::Human, "debug").lines().count(), 2);
        assert!(parse("info,ingest=loud").is_err());
    }
}

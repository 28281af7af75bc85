//! Texts of peers: made fit for a log line, and decoded.

/// A peer's text made fit for a log line or a reply: short, and nothing in it that moves a cursor
/// or ends a line.
pub(crate) fn printable(text: &str) -> String {
    /// As long as a channel's name may be.
    const LONGEST: usize = 64;
    let mut out: String = text.chars().take(LONGEST).flat_map(char::escape_default).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

/// The name that a peer asked for, made fit for a log line: up to the first character that no
/// channel's name has. Behind a mistyped `?` stands a key.
pub(crate) fn printable_name(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut out = printable(name);
    if !rest.is_empty() {
        out.push('…');
    }
    out
}

/// `%41` becomes `A`; anything that is no such sequence stays as it is.
pub(crate) fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let decoded = match tail.split_at_checked(2) {
            Some((digits, after)) if byte == b'%' => std::str::from_utf8(digits)
                .ok()
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .map(|value| (value, after)),
            _ => None,
        };
        let (value, after) = decoded.unwrap_or((byte, tail));
        out.push(value);
        rest = after;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_behind_a_mistyped_question_mark_is_not_told() {
        assert_eq!(printable_name("news_1-a"), "news_1-a");
        for mistyped in ["news&key=s3cret", "news\u{fffd}key=s3cret", "news/s3cret", "news s3cret"]
        {
            assert_eq!(printable_name(mistyped), "news…");
        }
        assert_eq!(printable_name("?key=s3cret"), "…");
    }

    #[test]
    fn a_broken_escape_stays_as_it_is() {
        for text in ["%", "%4", "%zz", "a%+1"] {
            assert_eq!(percent_decoded(text), text);
        }
    }
}

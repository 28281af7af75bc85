use super::*;

fn asked(json: &str) -> Result<Cue, String> {
    serde_json::from_str::<Asked>(json).map_err(|error| error.to_string())?.cue()
}

#[test]
fn a_request_in_words_is_read() {
    let cue = asked(r#"{"kind":"out","duration":15.5,"event_id":7,"at":"2026-11-26T06:00:00.5Z"}"#);
    let cue = cue.unwrap();
    let duration = Some(Span::millis(15_500));
    assert_eq!(cue.ask, Ask::Out { event_id: Some(7), duration, auto_return: true });
    assert_eq!(cue.at, parse_iso("2026-11-26T06:00:00.500Z"));
    let ask = |json| asked(json).map(|cue| cue.ask);
    let open = Ask::Out { event_id: None, duration: None, auto_return: false };
    assert_eq!(ask(r#"{"kind":"out","at":"now"}"#), Ok(open));
    let Ok(Ask::Out { auto_return, .. }) =
        ask(r#"{"kind":"out","duration":1,"auto_return":false}"#)
    else {
        panic!("a break")
    };
    assert!(!auto_return);
    assert_eq!(ask(r#"{"kind":"in"}"#), Ok(Ask::Return { event_id: None }));
    assert_eq!(ask(r#"{"kind":"cancel","event_id":3}"#), Ok(Ask::Cancel { event_id: Some(3) }));
    assert_eq!(ask(r#"{"kind":"cancel"}"#), Ok(Ask::Cancel { event_id: None }));
}

#[test]
fn a_section_is_read_in_base64_and_in_hexadecimal() {
    let bytes = Bytes::from_static(&[0xfc, 0x30, 0x11]);
    for text in ["/DAR", "0xFC3011", " 0Xfc3011 "] {
        assert_eq!(section_of(text), Some(bytes.clone()), "{text}");
    }
    for text in ["0xFC301", "0xzz", "FC30*", "0x€€"] {
        assert_eq!(section_of(text), None, "{text}");
    }
}

#[test]
fn a_request_that_makes_no_sense_is_told_why() {
    for (json, word) in [
        ("{}", "kind"),
        (r#"{"kind":"out","section":"/DAR"}"#, "itself"),
        (r#"{"section":"/DAR","event_id":7}"#, "itself"),
        (r#"{"kind":"in","duration":7}"#, "begins"),
        (r#"{"kind":"cancel","at":"2026-11-26T06:00:00Z"}"#, "at once"),
        (r#"{"kind":"out","auto_return":true}"#, "duration"),
        (r#"{"kind":"out","duration":0}"#, "duration"),
        (r#"{"kind":"out","duration":1e9}"#, "duration"),
        (r#"{"kind":"out","at":"tomorrow"}"#, "now"),
        (r#"{"kind":"dance"}"#, "dance"),
        (r#"{"kind":"out","length":3}"#, "length"),
        (r#"{"section":"***"}"#, "base64"),
    ] {
        let error = asked(json).unwrap_err();
        assert!(error.contains(word), "{json}: {error}");
    }
}

/// As `curl -d` sends it, which names a form where nobody says otherwise.
#[test]
fn json_that_is_sent_as_a_form_starts_no_break() {
    assert!(button(br#"{"kind":"in"}"#).is_err() && button(b"").is_err());
    let ask = |form: &str| button(form.as_bytes()).map(|cue| cue.ask);
    let duration = Some(Span::millis(15_000));
    let out = Ask::Out { event_id: None, duration, auto_return: true };
    assert_eq!(ask("button=out"), Ok(out));
    assert_eq!(ask("button=in&event_id=7"), Ok(Ask::Return { event_id: Some(7) }));
    assert_eq!(ask("event_id=7&button=cancel"), Ok(Ask::Cancel { event_id: Some(7) }));
}

#[test]
fn a_page_of_another_server_can_ask_for_nothing() {
    let headers = |origin: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("127.0.0.1:9997"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    };
    assert!(own(&headers(None)));
    assert!(own(&headers(Some("http://127.0.0.1:9997"))));
    for other in ["http://evil.example", "http://127.0.0.1:8080", "null", ""] {
        assert!(!own(&headers(Some(other))), "{other}");
    }
}

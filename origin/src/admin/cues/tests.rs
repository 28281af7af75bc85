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
    assert_eq!(ask(r#"{"kind":"cancel","event_id":3}"#), Ok(Ask::Cancel { event_id: 3 }));
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
        (r#"{"kind":"cancel"}"#, "event_id"),
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

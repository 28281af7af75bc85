use packager::scte35::{Action, Event, Signal, signals};
use serde_json::json;

use super::*;

/// S1 of the vectors: event 100, 30 s, returns by itself.
const OUT: &str = "/DAlAAAAAAAAAP/wFAUAAABkf+/+AHuYoP4AKTLgAAEAAAAANGKC0Q==";
const AT: Timestamp = Timestamp::new(5_000, Timescale::MILLIS);

fn message(name: &str, values: Vec<Value>) -> DataMessage {
    DataMessage { at: AT, name: name.into(), values, raw: Bytes::new() }
}

/// What is asked for, and when on the source's clock.
fn asked(name: &str, value: Value) -> (Signal, i64) {
    let heard = read(&message(name, vec![value])).unwrap().unwrap();
    assert_eq!(Section::decode(&heard.raw), Ok(heard.section.clone()));
    let Time::Source { at, beside } = heard.time else { panic!("{:?}", heard.time) };
    assert_eq!(beside, AT);
    (signals(&heard.section)[0], at.ticks)
}

fn out(id: u32, seconds: Option<u64>) -> Action {
    let _ = id;
    Action::Out { duration: seconds.map(|s| s * 90_000), auto_return: seconds.is_some() }
}

#[test]
fn a_section_of_a_transport_stream_has_its_own_times() {
    let raw: Bytes = STANDARD.decode(OUT).unwrap().into();
    let mut sent = source::Section { pid: 500, at: AT, shift: 7, raw: raw.clone() };
    let heard = of_stream(&sent).unwrap();
    assert_eq!((heard.raw, heard.time), (raw, Time::Own { at: AT, shift: 7 }));
    sent.raw = Bytes::from_static(b"garbage");
    assert!(of_stream(&sent).is_err());
}

#[test]
fn an_ad_cue_is_a_section_at_its_time_or_the_word_for_one() {
    let section = json!({"cue": OUT, "type": "scte35", "id": "x", "duration": 30.0, "time": 12.5, "elapsed": 0});
    let (signal, at) = asked("onAdCue", section);
    assert_eq!((signal.event, at), (Event::insert(100), 12_500));
    let (signal, at) =
        asked("onAdCue", json!({"cue": "SpliceOut", "id": "17", "duration": 15, "time": 9}));
    assert_eq!((signal.event, signal.action, at), (Event::insert(17), out(17, Some(15)), 9_000));
    assert_eq!(signal.time, None);
    let (signal, at) = asked("onAdCue", json!({"cue": "SpliceIn", "id": 17}));
    assert_eq!((signal.action, at), (Action::In, 5_000));
    // A word for a number is the same number every time.
    let [one, again] =
        ["break-a"; 2].map(|id| asked("onAdCue", json!({"cue": "SpliceOut", "id": id})));
    assert_eq!(one, again);
}

#[test]
fn cue_points_are_breaks_where_they_say_so() {
    let parameters =
        json!({"pre_roll_time_sec": 8, "break_duration_sec": 30, "splice_event_id": 5});
    let value = json!({"name": "com.youtube.cuepoint", "type": "event", "parameters": parameters});
    let (signal, at) = asked("onCuePoint", value);
    assert_eq!((signal.event, signal.action, at), (Event::insert(5), out(5, Some(30)), 13_000));
    assert_eq!(read(&message("onCuePoint", vec![json!({"name": "chapter", "time": 3})])), None);
}

#[test]
fn a_section_in_any_data_message_counts_and_other_text_does_not() {
    let (signal, at) = asked("onTextData", json!({"text": OUT}));
    assert_eq!((signal.event, at), (Event::insert(100), 5_000));
    for value in [json!("hello"), json!({"text": "/DAA"}), json!({"a": [1, null]}), json!(null)] {
        assert_eq!(read(&message("onTextData", vec![value])), None);
    }
    assert_eq!(read(&message("onMetaData", vec![json!({"x": OUT})])), None);
    // A section that is damaged is one all the same: it is told.
    let mut damaged = STANDARD.decode(OUT).unwrap();
    damaged[20] ^= 1;
    let value = json!({"cue": STANDARD.encode(damaged), "type": "scte35"});
    assert!(matches!(read(&message("onAdCue", vec![value])), Some(Err(Error::Checksum { .. }))));
}

#[test]
fn a_time_is_found_on_either_side_of_a_wrap_of_the_clock() {
    const PERIOD: i64 = 1 << 32;
    for (beside, seconds, expected) in [
        // The sender's clock begins anew in between, or counts on.
        (PERIOD - 3_000, 5.0, PERIOD + 5_000),
        (PERIOD - 3_000, 4_294_972.296, PERIOD + 5_000),
        (3 * PERIOD + 2_000, 10.0, 3 * PERIOD + 10_000),
        // Late: before the wrap, seen from behind it.
        (PERIOD + 1_000, 4_294_966.296, PERIOD - 1_000),
    ] {
        let at = Timestamp::new(beside, Timescale::MILLIS);
        assert_eq!(unwrapped(seconds, at).ticks, expected, "{seconds} s beside {beside}");
    }
}

#[test]
fn numbers_beyond_sense_are_no_times() {
    for time in [json!(-1.0), json!(1e300), json!("nan"), json!([1])] {
        let (_, at) =
            asked("onAdCue", json!({"cue": "SpliceOut", "time": time, "duration": 1e300}));
        assert_eq!(at, 5_000);
    }
}

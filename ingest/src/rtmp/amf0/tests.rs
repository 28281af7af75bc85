use proptest::prelude::*;
use serde_json::json;

use super::*;

fn all_forms() -> Vec<Value> {
    let members = vec![
        ("number".to_owned(), Value::Number(29.97)),
        ("nested".to_owned(), Value::Object(vec![("text".to_owned(), Value::string("äöü"))])),
    ];
    vec![
        Value::string("onMetaData"),
        Value::Number(-1.5),
        Value::Boolean(true),
        Value::Object(members.clone()),
        Value::EcmaArray(members),
        Value::StrictArray(vec![Value::Null, Value::Undefined, Value::Date(1.0e12)]),
        Value::string("x".repeat(500)),
    ]
}

#[test]
fn every_form_survives_the_round_trip() {
    assert_eq!(decode(&encode(&all_forms())), Ok(all_forms()));
}

#[test]
fn cut_at_every_byte_it_is_incomplete_and_keeps_what_was_whole() {
    let wire = encode(&all_forms());
    let mut ends = vec![0];
    for n in 1..=all_forms().len() {
        ends.push(encode(&all_forms()[..n]).len());
    }
    for cut in 0..wire.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        match decode(&wire[..cut]) {
            // The associative array is whole to a tolerant reader without its end marker.
            Ok(values) => {
                assert!((whole..=whole + 1).contains(&values.len()), "cut at {cut}");
                assert_eq!(values, all_forms()[..values.len()], "cut at {cut}");
            }
            Err((values, error)) => {
                assert_eq!(values, all_forms()[..whole], "cut at {cut}");
                // A cut array is indistinguishable from one that lies about its count.
                assert!(matches!(error, Error::Incomplete { .. } | Error::Count { .. }), "{error}");
            }
        }
    }
}

/// `depth` strict arrays of one element, one in the other.
fn nested(depth: usize) -> Vec<u8> {
    [0x0A, 0, 0, 0, 1].repeat(depth)
}

#[test]
fn nesting_ends_at_the_limit_however_deep_the_message_goes() {
    let mut deepest = nested(MAX_DEPTH);
    deepest.push(0x05);
    assert!(decode(&deepest).is_ok());
    for depth in [MAX_DEPTH + 1, 100, MAX_TOTAL / 5] {
        let mut wire = nested(depth);
        wire.push(0x05);
        assert!(matches!(decode(&wire), Err((_, Error::Depth { .. }))), "{depth}");
    }
    assert!(matches!(decode(&nested(1_000_000)), Err((_, Error::Total { .. }))));
}

#[test]
fn counts_and_lengths_that_lie_are_refused_before_anything_is_allocated() {
    let array = [0x0A, 0xFF, 0xFF, 0xFF, 0xFF];
    let count = Error::Count { count: u32::MAX, left: 0, offset: 1 };
    assert_eq!(decode(&array), Err((Vec::new(), count)));
    let long = [0x0C, 0xFF, 0xFF, 0xFF, 0xFF];
    assert!(matches!(decode(&long), Err((_, Error::String { .. }))));
    let mut short = vec![0x02, 0xFF, 0xFF];
    short.resize(40_000, 0);
    assert!(matches!(decode(&short), Err((_, Error::String { length: 65_535, .. }))));
    let ecma = [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 9];
    assert_eq!(decode(&ecma), Ok(vec![Value::EcmaArray(Vec::new())]));
}

#[test]
fn there_are_so_many_values_and_no_more() {
    assert!(decode(&vec![0x05; MAX_NODES]).is_ok());
    assert!(matches!(decode(&vec![0x05; MAX_NODES + 1]), Err((_, Error::Nodes { .. }))));
}

#[test]
fn an_unknown_marker_keeps_the_values_before_it() {
    let mut wire = encode(&[Value::string("onFI")]).to_vec();
    wire.push(0x11);
    let error = Error::Marker { marker: 0x11, offset: 7 };
    assert!(!error.is_limit());
    assert_eq!(decode(&wire), Err((vec![Value::string("onFI")], error)));
}

#[test]
fn an_associative_array_may_end_with_the_message() {
    let mut wire = encode(&[Value::EcmaArray(vec![("a".into(), Value::Null)])]).to_vec();
    wire.truncate(wire.len() - 3);
    assert_eq!(decode(&wire), Ok(vec![Value::EcmaArray(vec![("a".into(), Value::Null)])]));
}

#[test]
fn json_has_the_same_values() {
    let value = Value::Object(vec![
        ("whole".into(), Value::Number(1280.0)),
        ("broken".into(), Value::Number(29.97)),
        ("none".into(), Value::Number(f64::NAN)),
        ("list".into(), Value::StrictArray(vec![Value::Boolean(true), Value::Undefined])),
    ]);
    let expected = json!({"whole": 1280, "broken": 29.97, "none": null, "list": [true, null]});
    assert_eq!(value.to_json(), expected);
}

proptest! {
    #[test]
    fn any_bytes_end_in_values_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn mutated_values_end_in_values_or_an_error(at in 0usize..700, byte in any::<u8>()) {
        let mut wire = encode(&all_forms()).to_vec();
        if let Some(place) = wire.get_mut(at) {
            *place = byte;
        }
        let _ = decode(&wire);
    }
}

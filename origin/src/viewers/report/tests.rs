#![allow(clippy::indexing_slicing, reason = "a panic here is a failed test")]

use proptest::prelude::*;

use super::*;

/// As the reference library (@svta/cml-cmcd) writes it.
const LINE: &str = "bl=(1000),br=(3000),bs,bsd=(250),bsda=(250),cid=\"demo\",dfa=2,e=ps,ltc=1234,\
    mtp=(2500),pr=1.02,sf=d,sid=\"6e2fb550-c457-11e9-bb97-0800200c9a66\",sn=3,st=ll,sta=r,\
    ts=1795657094122,v=2";

fn one(text: &str) -> Result<Report, Error> {
    parse(text.as_bytes()).map(|mut reports| reports.remove(0))
}

#[test]
fn a_report_of_the_reference_library_is_read() {
    let read = Report {
        session: "6e2fb550-c457-11e9-bb97-0800200c9a66".into(),
        protocol: Some(Protocol::Dash),
        state: Some(State::Rebuffering),
        latency_ms: Some(1234),
        bitrate: Some(3_000_000),
        starved_ms: Some(250),
        starved: true,
    };
    assert_eq!(one(LINE), Ok(read));
}

#[test]
fn lists_by_kind_of_object_are_read() {
    let report = one("br=(128;a 3000;v),bsd=(100 50;v),sid=\"x\",v=2").unwrap();
    assert_eq!((report.bitrate, report.starved_ms), (Some(3_000_000), Some(150)));
    assert_eq!(one("br=2500,sid=\"x\",v=2").unwrap().bitrate, Some(2_500_000));
    assert_eq!(one("br=(),sid=\"x\",v=2").unwrap().bitrate, None);
}

#[test]
fn a_body_holds_reports_of_one_session() {
    let body = format!("{LINE}\n{LINE}\r\n\n{LINE}\n");
    assert_eq!(parse(body.as_bytes()).unwrap().len(), 3);
    let two = format!("{LINE}\nsid=\"y\",v=2");
    assert_eq!(one(&two), Err(Error::OtherSession { at: LINE.len() + 1 }));
    let many = "sid=\"x\",v=2\n".repeat(MAX_REPORTS + 1);
    assert_eq!(one(&many), Err(Error::TooManyReports));
}

#[test]
fn what_is_no_report_is_told_by_its_place() {
    let long = format!("sid=\"{}\",v=2", "x".repeat(MAX_ID + 1));
    let keys = format!("{}sid=\"x\",v=2", "k,".repeat(MAX_KEYS));
    for (text, error) in [
        ("", Error::Syntax { at: 0 }),
        ("{\"sid\": 1}", Error::Syntax { at: 0 }),
        ("sid=\"x\" v=2", Error::Syntax { at: 8 }),
        ("sid=\"x\\n\",v=2", Error::Syntax { at: 8 }),
        ("sid=\"x,v=2", Error::Syntax { at: 10 }),
        ("sid=\"x\",v=2,", Error::Syntax { at: 12 }),
        ("br=(1 2", Error::Syntax { at: 7 }),
        ("ltc=1.2.3,sid=\"x\",v=2", Error::Syntax { at: 9 }),
        ("v=2", Error::NoSession { at: 0 }),
        ("sid=\"x\"", Error::Version { at: 0 }),
        ("sid=\"x\",v=1", Error::Version { at: 0 }),
        ("sid=x,v=2", Error::Value { key: "sid", at: 0 }),
        (&long, Error::Value { key: "sid", at: 0 }),
        ("ltc=-1,sid=\"x\",v=2", Error::Value { key: "ltc", at: 0 }),
        ("ltc=99999999999,sid=\"x\",v=2", Error::Value { key: "ltc", at: 0 }),
        ("br=(9999999999),sid=\"x\",v=2", Error::Value { key: "br", at: 0 }),
        ("sta=\"p\",sid=\"x\",v=2", Error::Value { key: "sta", at: 0 }),
        (&keys, Error::TooManyKeys { at: 0 }),
    ] {
        assert_eq!(one(text), Err(error), "{text}");
    }
}

#[test]
fn every_truncation_is_answered() {
    for end in 0..LINE.len() {
        assert!(parse(&LINE.as_bytes()[..end]).is_err(), "{}", &LINE[..end]);
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&body);
    }

    #[test]
    fn nothing_near_a_report_makes_it_panic(at in 0..LINE.len(), byte: u8) {
        let mut body = LINE.as_bytes().to_vec();
        body[at] = byte;
        let _ = parse(&body);
    }
}

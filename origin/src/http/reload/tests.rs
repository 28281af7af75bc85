use super::*;

#[test]
fn directives_are_numbers_and_stand_there_once() {
    let parse = |query| Directives::parse(Some(query)).ok();
    let wanted =
        |msn, part| Some(Directives { wanted: Some(Wanted { msn, part }), skip: Skip::Nothing });
    assert_eq!(parse(""), Some(Directives::default()));
    assert_eq!(parse("a=b&_HLS_msn=7"), wanted(7, None));
    assert_eq!(parse("_HLS_part=0&_HLS_msn=7&_HLS_report=x"), wanted(7, Some(0)));
    assert_eq!(parse("_HLS_msn=18446744073709551615"), wanted(u64::MAX, None));
    assert_eq!(parse("_HLS_skip=YES").unwrap().skip, Skip::Segments);
    assert_eq!(parse("_HLS_skip=v2&_HLS_msn=1").unwrap().skip, Skip::DateRanges);
    assert_eq!(parse("_HLS_skip=v9").unwrap().skip, Skip::Nothing);
    for query in [
        "_HLS_msn=-1",
        "_HLS_msn=18446744073709551616",
        "_HLS_msn=",
        "_HLS_msn",
        "_HLS_msn=+1",
        "_HLS_msn=1.5",
        "_HLS_msn=7&_HLS_msn=7",
        "_HLS_part=1",
        "_HLS_msn=7&_HLS_part=x",
        "_HLS_msn=7&_HLS_part=1&_HLS_part=1",
        "_HLS_skip=YES&_HLS_skip=YES",
    ] {
        assert_eq!(parse(query), None, "{query}");
    }
}

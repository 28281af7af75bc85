//! The list of faults, `tests/FAULTS.md`, held against the tree: every row of the catalogue is in it,
//! and every test that it names is there.

use std::fs;
use std::path::Path;

/// The rows that the list must have, in order.
pub fn rows() -> impl Iterator<Item = String> {
    let counted = [("A", 12), ("B", 14), ("C", 10), ("D", 20), ("E", 10), ("G", 10), ("H", 7)];
    let lettered = counted
        .into_iter()
        .flat_map(|(letter, last)| (1..=last).map(move |number| format!("{letter}{number}")));
    let lettered = lettered.chain((1..=11).map(|number| format!("I-{number}")));
    let lettered = lettered.chain((1..=8).map(|number| format!("L{number}")));
    lettered.chain((1..=18).chain([20, 21, 23, 38]).map(|number| format!("FF-{number}")))
}

/// The rows of a list and the tests that each names.
pub fn named(list: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = list.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows = rows.filter(|(row, _)| row.ends_with(|last: char| last.is_ascii_digit()));
    rows.map(|(row, rest)| {
        let quoted = rest.split('`').skip(1).step_by(2);
        let tests = quoted.filter(|name| name.len() > 12 && name.contains('_'));
        (row, tests.collect())
    })
    .collect()
}

/// Whether a test of that name is declared in a source file below `folder`.
pub fn declares(folder: &Path, test: &str) -> bool {
    let declared = format!("fn {test}(");
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return declares(&path, test);
        }
        path.extension().is_some_and(|extension| extension == "rs")
            && fs::read_to_string(&path).is_ok_and(|text| text.contains(&declared))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    const SOURCES: [&str; 7] = [
        "packager/src",
        "packager/tests",
        "ingest/src",
        "ingest/tests",
        "origin/src",
        "tests/src",
        "tests/it",
    ];

    #[test]
    fn every_row_is_listed_and_every_test_that_is_named_is_there() {
        let list = named(include_str!("../FAULTS.md"));
        let listed: Vec<_> = list.iter().map(|(row, _)| (*row).to_owned()).collect();
        assert_eq!(listed, rows().collect::<Vec<_>>());
        let tests: Vec<_> = list.into_iter().flat_map(|(_, tests)| tests).collect();
        assert!(tests.len() > 80, "{} tests are named", tests.len());
        let there = |test: &str| {
            SOURCES.iter().any(|folder| declares(&workspace::root().join(folder), test))
        };
        let missing: Vec<_> = tests.into_iter().filter(|test| !there(test)).collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn every_test_that_proves_a_clause_is_there() {
        let list = include_str!("../CONFORMANCE.md");
        let (_, list) = list.split_once("## WebRTC").unwrap();
        let tests: Vec<_> = named(list).into_iter().flat_map(|(_, tests)| tests).collect();
        assert!(tests.len() > 30, "{} tests are named", tests.len());
        let there = |test: &&str| {
            SOURCES.iter().any(|folder| declares(&workspace::root().join(folder), test))
        };
        let missing: Vec<_> = tests.into_iter().filter(|test| !there(test)).collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn a_name_of_no_test_is_found_out() {
        let list = named("| A1 | gone | `no_test_has_this_name_at_all`, in words |\n| row | x |");
        assert_eq!(list, [("A1", vec!["no_test_has_this_name_at_all"])]);
        let folder = workspace::root().join("tests/it");
        assert!(!declares(&folder, &["no_test_has", "_this_name_at_all"].concat()));
    }
}

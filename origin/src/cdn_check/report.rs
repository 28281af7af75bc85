//! What was found, for people and for programs.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::check::Check;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// It works, at a cost that is told.
    Limit,
    /// It could not be found out.
    Unknown,
    /// Viewers suffer, or the origin does.
    Fault,
}

/// One check's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// How it came out.
    pub level: Level,
    /// What was measured.
    pub measured: String,
}

impl Finding {
    fn new(level: Level, check: Check, measured: impl Into<String>) -> Self {
        Self { check, level, measured: measured.into() }
    }

    /// As it should be.
    pub(super) fn good(check: Check, measured: impl Into<String>) -> Self {
        Self::new(Level::Good, check, measured)
    }

    /// Not as it could be.
    pub(super) fn limit(check: Check, measured: impl Into<String>) -> Self {
        Self::new(Level::Limit, check, measured)
    }

    /// Not as it must be.
    pub(super) fn fault(check: Check, measured: impl Into<String>) -> Self {
        Self::new(Level::Fault, check, measured)
    }

    /// Not to be told.
    pub(super) fn unknown(check: Check, measured: impl Into<String>) -> Self {
        Self::new(Level::Unknown, check, measured)
    }
}

/// All that was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The playlist through which the channel was probed.
    pub url: String,
    /// The outcomes, in the order of [`Check`].
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing has to be changed.
    pub fn passes(&self) -> bool {
        !self.findings.iter().any(|finding| finding.level == Level::Fault)
    }

    /// The report as JSON, one object.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Out<'a> {
            url: &'a str,
            passes: bool,
            findings: Vec<Full<'a>>,
        }
        #[derive(Serialize)]
        struct Full<'a> {
            #[serde(flatten)]
            finding: &'a Finding,
            #[serde(skip_serializing_if = "Option::is_none")]
            advice: Option<super::check::Advice>,
        }
        let full = self.findings.iter().map(|finding| Full {
            finding,
            advice: (finding.level > Level::Good).then(|| finding.check.advice()),
        });
        let out = Out { url: &self.url, passes: self.passes(), findings: full.collect() };
        // Strings, numbers and flags can't fail to be written.
        serde_json::to_string_pretty(&out).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.url)?;
        for Finding { check, level, measured } in &self.findings {
            let mark = match level {
                Level::Good => "ok     ",
                Level::Limit => "limit  ",
                Level::Unknown => "unknown",
                Level::Fault => "FAULT  ",
            };
            writeln!(f, "{mark}  {:<12} {measured}", check.name())?;
            if *level > Level::Good {
                let advice = check.advice();
                writeln!(f, "                      why: {}", advice.why)?;
                if *level == Level::Unknown {
                    continue;
                }
                for (who, line) in advice.changes() {
                    writeln!(f, "                      {who}: {line}")?;
                }
            }
        }
        let count = |wanted| self.findings.iter().filter(|found| found.level == wanted).count();
        let (faults, limits, unknown) =
            (count(Level::Fault), count(Level::Limit), count(Level::Unknown));
        let mut rest = String::new();
        if limits > 0 {
            write!(rest, ", {limits} with limits")?;
        }
        if unknown > 0 {
            write!(rest, ", {unknown} not found out")?;
        }
        match faults {
            0 => writeln!(f, "\nThis edge carries the channel: no fault{rest}."),
            1 => writeln!(f, "\nThis edge has a fault{rest}."),
            _ => writeln!(f, "\nThis edge has {faults} faults{rest}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: &[Finding]) -> Report {
        Report { url: "https://edge.example/live/a/index.m3u8".into(), findings: findings.to_vec() }
    }

    #[test]
    fn a_fault_is_told_with_its_reason_and_what_to_change() {
        let report = report(&[
            Finding::good(Check::Range, "served"),
            Finding::limit(Check::Http2, "not offered"),
            Finding::fault(Check::Hold, "the edge's own status 504 after 1002 ms"),
        ]);
        assert!(!report.passes());
        let text = report.to_string();
        for expected in ["FAULT    hold", "status 504", "proxy_read_timeout 35s;", "has a fault, 1"]
        {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["passes"], false);
        assert_eq!(json["findings"][2]["check"], "hold");
        assert!(json["findings"][2]["advice"]["nginx"].is_string());
        assert!(json["findings"][0].get("advice").is_none(), "what is good needs no advice");
    }

    #[test]
    fn limits_and_what_is_not_known_are_no_faults() {
        let report = report(&[
            Finding::limit(Check::Age, "no Age"),
            Finding::unknown(Check::Growing, "no parts"),
        ]);
        assert!(report.passes());
        assert!(report.to_string().contains("no fault, 1 with limits, 1 not found out"));
    }
}

//! What a person tolerates: bounds, waivers, and what a run must be for its numbers to count. Written in TOML, and refused
//! with file, line and column where it is not understood.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::error::{Error, Result};
use crate::gate::day::Day;
use crate::measure::is_name;

/// The longest policy that is read, in bytes.
const MAX_POLICY_BYTES: usize = 1 << 20;
/// The most bounds, and the most waivers, that a policy may hold.
const MAX_ENTRIES: usize = 1000;
/// The longest reason or name that a waiver may hold, in characters.
const MAX_CHARS: usize = 1000;

/// How bad it is when a bound does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing ships.
    Critical,
    /// The default.
    High,
    /// To be looked at.
    Medium,
    /// To be known.
    Low,
}

impl Severity {
    /// Its name, as in a policy.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::High => "high",
            Severity::Medium => "medium",
            Severity::Low => "low",
        }
    }
}

/// Which end of which interval is held against a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    /// The upper end must not be above it.
    Max,
    /// The lower end must not be below it.
    Min,
    /// The upper end of the difference from the baseline must not be above it.
    MaxIncrease,
}

impl LimitKind {
    /// Its name, as in a rule's id.
    pub(crate) fn name(self) -> &'static str {
        match self {
            LimitKind::Max => "max",
            LimitKind::Min => "min",
            LimitKind::MaxIncrease => "max-increase",
        }
    }
}

/// One limit of one measure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound {
    /// `measure/max`, with `-2` and so on behind it where a policy says the same twice.
    pub(crate) rule: String,
    pub(crate) measure: String,
    pub(crate) kind: LimitKind,
    pub(crate) limit: f64,
    pub(crate) severity: Severity,
    pub(crate) min_trials: u64,
    pub(crate) strict: bool,
    /// The line of the policy.
    pub(crate) line: u64,
}

/// Somebody's decision to live with a verdict for a while.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiver {
    pub(crate) measure: String,
    pub(crate) reason: String,
    pub(crate) until: Day,
    pub(crate) approved_by: String,
}

/// The corpus that findings must have been proven in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequiredCorpus {
    /// The one that the checkpoint says it was trained on.
    Training,
    /// One with any of these fingerprints.
    Fingerprints(Vec<String>),
}

/// What a run must be for its numbers to count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Requires {
    pub(crate) corpus: Option<RequiredCorpus>,
    pub(crate) model_sha256: Vec<String>,
    pub(crate) max_age_days: Option<u32>,
    pub(crate) max_baseline_age_days: Option<u32>,
    pub(crate) verified: bool,
    pub(crate) level: f64,
}

/// What a person tolerates.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub(crate) requires: Requires,
    pub(crate) bounds: Vec<Bound>,
    pub(crate) waivers: Vec<Waiver>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    requires: Option<Spanned<WrittenRequires>>,
    #[serde(default)]
    bound: Vec<Spanned<WrittenBound>>,
    #[serde(default)]
    waiver: Vec<Spanned<WrittenWaiver>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRequires {
    corpus: Option<WrittenCorpus>,
    #[serde(default)]
    model_sha256: Vec<String>,
    max_age_days: Option<u32>,
    max_baseline_age_days: Option<u32>,
    #[serde(default)]
    verified: bool,
    level: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenCorpus {
    One(String),
    Any(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBound {
    measure: String,
    max: Option<f64>,
    min: Option<f64>,
    max_increase: Option<f64>,
    severity: Option<Severity>,
    #[serde(default)]
    min_trials: u64,
    #[serde(default)]
    strict: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWaiver {
    measure: String,
    reason: String,
    until: String,
    approved_by: String,
}

/// The text of a policy, for messages that name a place in it.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Policy {
    /// The policy in a file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Policy`], with the place of what is not understood.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Policy> {
        let whole = |cause: &str| Error::policy(path, (1, 1), cause);
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(whole("longer than a policy is"));
        }
        let source = Source { path, text: std::str::from_utf8(bytes).map_err(|_| whole("not UTF-8"))? };
        let written: Written = toml::from_str(source.text).map_err(|error| {
            source.error(error.span().unwrap_or(0..0), error.message().lines().next().unwrap_or("not TOML"))
        })?;
        if written.bound.len().max(written.waiver.len()) > MAX_ENTRIES {
            return Err(whole("more than 1000 bounds or waivers"));
        }
        let mut bounds = Vec::new();
        for bound in &written.bound {
            let line = source.place(bound.span().start).0;
            let limits = limits(bound.get_ref(), line).map_err(|cause| source.error(bound.span(), cause))?;
            bounds.extend(limits);
        }
        tell_apart(&mut bounds);
        let waivers = written.waiver.iter().map(|waiver| {
            resolve_waiver(waiver.get_ref()).map_err(|cause| source.error(waiver.span(), cause))
        });
        let waivers = waivers.collect::<Result<_>>()?;
        let requires = match &written.requires {
            None => resolve_requires(&WrittenRequires::none()).expect("nothing is required"),
            Some(requires) => {
                resolve_requires(requires.get_ref()).map_err(|cause| source.error(requires.span(), cause))?
            }
        };
        Ok(Policy { requires, bounds, waivers })
    }
}

impl Source<'_> {
    fn error(&self, span: Range<usize>, cause: &str) -> Error {
        Error::policy(self.path, self.place(span.start), cause)
    }

    /// Line and column of a byte, from 1 on; columns are characters.
    fn place(&self, byte: usize) -> (u64, u64) {
        let before = &self.text[..self.text.floor_char_boundary(byte)];
        let line = before.matches('\n').count() as u64 + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before[start..].chars().count() as u64 + 1)
    }
}

impl WrittenRequires {
    fn none() -> WrittenRequires {
        let (max_age_days, max_baseline_age_days) = (None, None);
        let (corpus, model_sha256, verified, level) = (None, Vec::new(), false, None);
        WrittenRequires { corpus, model_sha256, max_age_days, max_baseline_age_days, verified, level }
    }
}

type Checked<T> = std::result::Result<T, &'static str>;

fn limits(written: &WrittenBound, line: u64) -> Checked<Vec<Bound>> {
    check_name(&written.measure)?;
    let given = [
        (LimitKind::Max, written.max),
        (LimitKind::Min, written.min),
        (LimitKind::MaxIncrease, written.max_increase),
    ];
    let given: Vec<(LimitKind, f64)> =
        given.into_iter().filter_map(|(kind, limit)| Some((kind, limit?))).collect();
    if given.is_empty() {
        return Err("a bound takes max, min or max_increase");
    }
    if given.iter().any(|(_, limit)| !limit.is_finite() || *limit < 0.0) {
        return Err("a limit is a finite number that is not negative");
    }
    let bound = |(kind, limit): (LimitKind, f64)| Bound {
        rule: format!("{}/{}", written.measure, kind.name()),
        measure: written.measure.clone(),
        kind,
        limit,
        severity: written.severity.unwrap_or(Severity::High),
        min_trials: written.min_trials,
        strict: written.strict,
        line,
    };
    Ok(given.into_iter().map(bound).collect())
}

/// Gives bounds that say the same of one measure ids of their own.
fn tell_apart(bounds: &mut [Bound]) {
    let rules: Vec<String> = bounds.iter().map(|bound| bound.rule.clone()).collect();
    for (at, bound) in bounds.iter_mut().enumerate() {
        let n_before = rules[..at].iter().filter(|rule| **rule == bound.rule).count();
        if n_before > 0 {
            bound.rule = format!("{}-{}", bound.rule, n_before + 1);
        }
    }
}

fn resolve_waiver(written: &WrittenWaiver) -> Checked<Waiver> {
    check_name(&written.measure)?;
    for text in [&written.reason, &written.approved_by] {
        if text.trim().is_empty() || text.chars().count() > MAX_CHARS {
            return Err("a waiver says its reason and who approved it, in at most 1000 characters each");
        }
    }
    let until = Day::parse(&written.until).ok_or("`until` is a day such as \"2027-01-31\"")?;
    Ok(Waiver {
        measure: written.measure.clone(),
        reason: written.reason.clone(),
        until,
        approved_by: written.approved_by.clone(),
    })
}

fn resolve_requires(written: &WrittenRequires) -> Checked<Requires> {
    let corpus = match &written.corpus {
        None => None,
        Some(WrittenCorpus::One(word)) if word == "training" => Some(RequiredCorpus::Training),
        Some(WrittenCorpus::One(fingerprint)) => {
            Some(RequiredCorpus::Fingerprints(vec![fingerprint.clone()]))
        }
        Some(WrittenCorpus::Any(fingerprints)) => Some(RequiredCorpus::Fingerprints(fingerprints.clone())),
    };
    if let Some(RequiredCorpus::Fingerprints(fingerprints)) = &corpus
        && (fingerprints.is_empty() || !fingerprints.iter().all(|one| is_hex(one, 32)))
    {
        return Err("`corpus` is \"training\" or fingerprints of 32 hexadecimal digits, as in a report");
    }
    if !written.model_sha256.iter().all(|one| is_hex(one, 64)) {
        return Err("`model_sha256` holds SHA-256 of model files, 64 hexadecimal digits each");
    }
    let level = written.level.unwrap_or(crate::figure::LEVEL);
    if !(0.5..1.0).contains(&level) {
        return Err("`level` is from 0.5 to below 1");
    }
    Ok(Requires {
        corpus,
        model_sha256: written.model_sha256.clone(),
        max_age_days: written.max_age_days,
        max_baseline_age_days: written.max_baseline_age_days,
        verified: written.verified,
        level,
    })
}

fn check_name(name: &str) -> Checked<()> {
    if is_name(name) { Ok(()) } else { Err("a measure's name is 1 to 100 letters, digits and -._:/+") }
}

fn is_hex(text: &str, n_digits: usize) -> bool {
    text.len() == n_digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy> {
        Policy::parse(Path::new("policy.toml"), text.as_bytes())
    }

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_example_in_the_docs_is_a_policy() {
        let policy = parse(include_str!("../../../../docs/policy.toml")).unwrap();
        assert!(policy.bounds.len() >= 4 && policy.waivers.len() == 1);
        assert_eq!(policy.requires.corpus, Some(RequiredCorpus::Training));
    }

    #[test]
    fn a_bound_knows_its_line_and_has_an_id_of_its_own() {
        let text = "[[bound]]\nmeasure = \"a\"\nmax = 0.5\nmin = 0.1\n\n[[bound]]\nmeasure = \"a\"\nmax = 1\nstrict = true\n";
        let policy = parse(text).unwrap();
        let told: Vec<_> = policy.bounds.iter().map(|bound| (bound.rule.as_str(), bound.line)).collect();
        assert_eq!(told, [("a/max", 1), ("a/min", 1), ("a/max-2", 6)]);
        assert!(policy.bounds[2].strict && policy.bounds[2].severity == Severity::High);
        assert_eq!(policy.requires.level, 0.95);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let cases = [
            (
                "[[bound]]\nmeasure = \"a\"\nmax = 1\nmaximum = 2\n",
                "policy.toml:4:1: unknown field `maximum`",
            ),
            ("[[bound]]\nmeasure = \"a\"\nmax = \"1\"\n", "policy.toml:3:7: "),
            ("x = 1\n", "policy.toml:1:1: unknown field `x`"),
            ("[requires]\nverfied = true\n", "policy.toml:2:1: unknown field `verfied`"),
            ("[[waiver]]\nmeasure = \"a\"\n", "missing field `reason`"),
            ("[[bound]]\nmeasure = \"a\"\nmax =\n", "policy.toml:3:"),
            ("\n[[bound]]\nmeasure = \"a\"\n", "policy.toml:2:1: a bound takes max"),
            ("[[bound]]\nmeasure = \"a\"\nmax = nan\n", "finite"),
            ("[[bound]]\nmeasure = \"a\"\nmax = -1.0\n", "not negative"),
            ("[[bound]]\nmeasure = \"a\"\nmax = 1\nmin_trials = -1\n", "policy.toml:4:14: "),
            ("[[bound]]\nmeasure = \"<script>\"\nmax = 1\n", "a measure's name"),
            (
                "[[bound]]\nmeasure = \"a\"\nmax = 1\nseverity = \"bad\"\n",
                "policy.toml:4:12: unknown variant",
            ),
            ("[requires]\ncorpus = \"Training\"\n", "fingerprints of 32"),
            ("[requires]\nmodel_sha256 = [\"ff\"]\n", "64 hexadecimal digits"),
            ("[requires]\nlevel = 1.0\n", "from 0.5"),
        ];
        for (text, expected) in cases {
            assert!(refused(text).contains(expected), "{text}: {}", refused(text));
        }
        let waiver = |until: &str, reason: &str| {
            format!(
                "[[waiver]]\nmeasure = \"a\"\nreason = \"{reason}\"\nuntil = \"{until}\"\napproved_by = \"b\"\n"
            )
        };
        assert!(parse(&waiver("2027-01-31", "r")).is_ok());
        assert!(refused(&waiver("31.1.2027", "r")).contains("2027-01-31"));
        assert!(refused(&waiver("2027-01-31", " ")).contains("says its reason"));
        let not_text = Policy::parse(Path::new("p"), b"\xff").unwrap_err();
        assert!(not_text.to_string().contains("not UTF-8") && not_text.exit_code() == 65);
    }
}

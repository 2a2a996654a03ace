//! The verdict: the measures of runs against what a person tolerates. Nothing here knows what a measure means, and no
//! clock is read; the day is given.

mod advice;
mod day;
mod judge;
mod junit;
mod markdown;
mod measured;
mod policy;
mod require;
mod sarif;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::gate::judge::{Judged, judge, judge_increase, trials_needed};
use crate::gate::policy::{Bound, Waiver};
use crate::measure::Measure;
use crate::provenance::Provenance;
use crate::report::Body;

#[cfg(test)]
pub(crate) use tests::sample;

pub use day::Day;
pub use judge::{GateVerdict, Increase, TrialsNeeded};
pub use junit::gate_junit;
pub use markdown::gate_markdown;
pub use measured::{Evidence, EvidenceRow, MeasuredRun};
pub use policy::{LimitKind, Policy, Severity};
pub use sarif::gate_sarif;
pub use text::gate_text;

/// What a verdict is made from.
#[derive(Debug)]
pub struct GateFacts<'a> {
    /// What it was computed from.
    pub provenance: Provenance,
    /// The policy's name, as the caller knows it.
    pub policy_name: String,
    /// What a person tolerates.
    pub policy: &'a Policy,
    /// The runs to judge.
    pub runs: &'a [MeasuredRun],
    /// Earlier runs to compare with.
    pub baselines: &'a [MeasuredRun],
    /// The day that waivers and ages are counted from.
    pub today: Day,
}

/// What a gate says of runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// The policy's name.
    pub policy: String,
    /// The day that waivers and ages were counted from.
    pub today: String,
    /// Fail if any bound fails, else inconclusive if any is or there is none, else pass.
    pub verdict: GateVerdict,
    /// Every bound with every run that it was held against.
    pub bounds: Vec<BoundRow>,
    /// Every waiver, applied or not.
    pub waivers: Vec<WaiverRow>,
    /// The runs that were judged.
    pub runs: Vec<RunRow>,
}

impl Body for GateBody {
    const KIND: &'static str = "gate";
}

/// One bound held against one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BoundRow {
    /// Its id: measure and kind of limit.
    pub rule: String,
    /// Its line in the policy.
    pub line: u64,
    /// How bad it is when it does not hold.
    pub severity: Severity,
    /// The measure's name.
    pub measure: String,
    /// Which end is held against the limit.
    pub kind: LimitKind,
    /// The limit.
    pub limit: f64,
    /// Trials below which nothing passes.
    pub min_trials: u64,
    /// Whether a value beyond the limit fails already.
    pub strict: bool,
    /// The run that it was held against; none where no run has the measure.
    pub run: Option<String>,
    /// The model that it is about.
    pub model: Option<String>,
    /// What the numbers say.
    pub verdict: GateVerdict,
    /// Whether somebody decided to live with it.
    pub is_waived: bool,
    /// Why.
    pub reason: String,
    /// What was measured.
    pub measured: Option<Measure>,
    /// How far it lies above the baseline.
    pub increase: Option<Increase>,
    /// How many trials would show that it holds.
    pub trials_needed: Option<TrialsNeeded>,
    /// What was found.
    pub evidence: Option<Evidence>,
    /// What to do.
    pub advice: Vec<String>,
}

impl BoundRow {
    /// What it counts as: a waived bound passes.
    pub fn outcome(&self) -> GateVerdict {
        if self.is_waived { GateVerdict::Pass } else { self.verdict }
    }
}

/// What became of a waiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaiverState {
    /// It covers a bound that does not pass.
    Applied,
    /// Its day is over, and it covers nothing.
    Expired,
    /// Every bound of its measure passes, or there is none.
    Unused,
}

/// A waiver and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaiverRow {
    /// The measure that it covers.
    pub measure: String,
    /// Why.
    pub reason: String,
    /// Its last day.
    pub until: String,
    /// Who decided.
    pub approved_by: String,
    /// What became of it.
    pub state: WaiverState,
}

/// A run that was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// Its folder.
    pub name: String,
    /// The command that made it.
    pub kind: String,
    /// The model that it is about.
    pub model: Option<String>,
    /// The day it was made.
    pub started: Option<String>,
    /// How many measures it has.
    pub n_measures: u64,
    /// Why its numbers do not count; empty where they do.
    pub unmet: Vec<String>,
}

impl GateBody {
    /// The verdict on some runs. Where they are about several models, every model needs every measure.
    pub fn new(facts: GateFacts<'_>) -> GateBody {
        let today = facts.today;
        let unmet: Vec<Vec<String>> =
            facts.runs.iter().map(|run| require::unmet(run, &facts.policy.requires, today)).collect();
        let mut bounds = Vec::new();
        for bound in &facts.policy.bounds {
            for runs in by_model(facts.runs).values() {
                bounds.extend(rows(bound, runs, &unmet, &facts));
            }
        }
        let waivers = facts.policy.waivers.iter().map(|waiver| apply(waiver, &mut bounds, today)).collect();
        for row in &mut bounds {
            row.advice = advice::advice(row);
        }
        let verdict = bounds.iter().map(BoundRow::outcome).max().unwrap_or(GateVerdict::Inconclusive);
        let runs = facts.runs.iter().zip(unmet).map(|(run, unmet)| run_row(run, unmet)).collect();
        let (provenance, policy, today) = (facts.provenance, facts.policy_name, today.to_string());
        GateBody { provenance, policy, today, verdict, bounds, waivers, runs }
    }

    /// How many bounds count as this.
    pub(crate) fn n_bounds(&self, outcome: GateVerdict) -> u64 {
        self.bounds.iter().filter(|row| row.outcome() == outcome).count() as u64
    }

    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        if self.bounds.is_empty() {
            return "inconclusive: the policy has no bounds".to_owned();
        }
        let [fail, inconclusive, pass] =
            [GateVerdict::Fail, GateVerdict::Inconclusive, GateVerdict::Pass].map(|one| self.n_bounds(one));
        let n_waived = self.bounds.iter().filter(|row| row.is_waived).count();
        let waived = if n_waived == 0 { String::new() } else { format!(" ({n_waived} of them waived)") };
        format!(
            "{}: of {} bounds {fail} failed, {inconclusive} inconclusive, {pass} passed{waived}",
            self.verdict.name(),
            self.bounds.len(),
        )
    }
}

/// The runs of each model, by their places; runs that name no model are together.
fn by_model(runs: &[MeasuredRun]) -> BTreeMap<Option<&[String]>, Vec<usize>> {
    let mut groups: BTreeMap<Option<&[String]>, Vec<usize>> = BTreeMap::new();
    for (place, run) in runs.iter().enumerate() {
        groups.entry(run.model.as_ref().map(|model| &model.sha256[..])).or_default().push(place);
    }
    groups
}

/// One bound against the runs of one model.
fn rows(bound: &Bound, runs: &[usize], unmet: &[Vec<String>], facts: &GateFacts<'_>) -> Vec<BoundRow> {
    let mut rows = Vec::new();
    for &place in runs {
        let run = &facts.runs[place];
        let Some(measure) = run.measures.iter().find(|measure| measure.name == bound.measure) else {
            continue;
        };
        let judged = match &unmet[place][..] {
            [] => against(bound, measure, run, facts),
            causes => Judged::inconclusive(format!("the run does not count: {}", causes.join("; "))),
        };
        let mut row = row(bound, judged);
        row.run = Some(run.name.clone());
        row.model = run.model.as_ref().map(|model| model.name.clone());
        if row.verdict != GateVerdict::Pass {
            row.trials_needed = trials_needed(measure, bound);
            row.evidence = run.evidence(measure);
        }
        row.measured = Some(measure.clone());
        rows.push(row);
    }
    if rows.is_empty() {
        let mut row = row(bound, Judged::inconclusive("no run has this measure"));
        let model = runs.iter().find_map(|place| facts.runs[*place].model.as_ref());
        row.model = model.map(|model| model.name.clone());
        rows.push(row);
    }
    rows
}

fn against(bound: &Bound, measure: &Measure, run: &MeasuredRun, facts: &GateFacts<'_>) -> Judged {
    let requires = &facts.policy.requires;
    if bound.kind != LimitKind::MaxIncrease {
        return judge(measure, bound, requires.level);
    }
    let mut causes = Vec::new();
    for baseline in facts.baselines {
        if let Some(cause) = require::stale(baseline, run, requires, facts.today) {
            causes.push(cause);
            continue;
        }
        match baseline.measures.iter().find(|measure| measure.name == bound.measure) {
            Some(earlier) => return judge_increase(measure, earlier, bound, requires.level),
            None => causes.push("it does not have this measure".to_owned()),
        }
    }
    Judged::inconclusive(match &causes[..] {
        [] => "there is no baseline".to_owned(),
        causes => format!("the baseline does not count: {}", causes.join("; ")),
    })
}

fn row(bound: &Bound, judged: Judged) -> BoundRow {
    BoundRow {
        rule: bound.rule.clone(),
        line: bound.line,
        severity: bound.severity,
        measure: bound.measure.clone(),
        kind: bound.kind,
        limit: bound.limit,
        min_trials: bound.min_trials,
        strict: bound.strict,
        run: None,
        model: None,
        verdict: judged.verdict,
        is_waived: false,
        reason: judged.reason,
        measured: None,
        increase: judged.increase,
        trials_needed: None,
        evidence: None,
        advice: Vec::new(),
    }
}

/// Waives what does not pass of the waiver's measure, unless its day is over.
fn apply(waiver: &Waiver, bounds: &mut [BoundRow], today: Day) -> WaiverRow {
    let mut state = if waiver.until < today { WaiverState::Expired } else { WaiverState::Unused };
    if state == WaiverState::Unused {
        let of_measure = bounds.iter_mut().filter(|row| row.measure == waiver.measure);
        for row in of_measure.filter(|row| row.verdict != GateVerdict::Pass) {
            row.is_waived = true;
            state = WaiverState::Applied;
        }
    }
    WaiverRow {
        measure: waiver.measure.clone(),
        reason: waiver.reason.clone(),
        until: waiver.until.to_string(),
        approved_by: waiver.approved_by.clone(),
        state,
    }
}

fn run_row(run: &MeasuredRun, unmet: Vec<String>) -> RunRow {
    RunRow {
        name: run.name.clone(),
        kind: run.kind.clone(),
        model: run.model.as_ref().map(|model| model.name.clone()),
        started: run.started.map(|day| day.to_string()),
        n_measures: run.measures.len() as u64,
        unmet,
    }
}

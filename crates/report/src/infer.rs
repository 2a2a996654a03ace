//! What membership inference came to: how well each signal tells members from non-members, beside what tells them apart
//! without the model and a control that has nothing to tell.

use serde::{Deserialize, Serialize};
use verbatim_membership::{
    Auc, AuditedEpsilon, BAG_OF_WORDS, DatasetInference, Interval, Method, Refusal, Separation, Shots,
};

use crate::figure::{LEVEL, Rate, counted, grouped, percent, rounded};
use crate::measure::{Measure, significant};
use crate::provenance::Provenance;
use crate::report::Body;
use crate::terminal::{Align, Table, warnings, wrap};

/// What membership inference came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InferBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// What a gate can hold against a bound; empty where the sets differ without the model or the control fails.
    pub measures: Vec<Measure>,
    /// Members that were scored.
    pub n_members: u64,
    /// Non-members that were scored.
    pub n_non_members: u64,
    /// `valid`, `blind` where the two sets differ without the model, or `control` where halves of the non-members differ.
    pub verdict: String,
    /// Signals of the model.
    pub signals: Vec<SeparationRow>,
    /// Scores that never see the model.
    pub blind: Vec<SeparationRow>,
    /// Each signal on two halves of the non-members.
    pub control: Vec<SeparationRow>,
    /// How much the model is at least not private; none where the sets differ without the model or the control fails.
    pub epsilon: Option<EpsilonRow>,
    /// Why there is none.
    pub epsilon_reason: Option<String>,
    /// Whether the members were used, taken together; none where there are too few, or where the table is void.
    pub dataset: Option<DatasetRow>,
    /// What stood before texts; none where no signal asks for it.
    pub shots: Option<ShotsRow>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for InferBody {
    const KIND: &'static str = "infer";
}

/// A lower bound of the epsilon of differential privacy, for a delta of 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpsilonRow {
    /// Epsilon is at least so much; 0 where nothing is shown.
    pub at_least: f64,
    /// The signal that shows it; none where none shows anything.
    pub signal: Option<String>,
    /// Signals that were looked at; the level holds for all of them together.
    pub n_signals: u64,
    /// Members and non-members of the half that the threshold was tried on.
    pub n: [u64; 2],
    /// The level of confidence.
    pub level: f64,
}

/// Dataset inference: whether a classifier of all signals, learnt on one half of the texts, scores the members of the other half
/// above its non-members.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DatasetRow {
    /// The probability of such a difference or a larger one if the members' scores do not lie above (Welch, one-sided).
    pub p_value: f64,
    /// The same of halves of the non-members, where there is nothing to find; none where they are too few.
    pub control_p_value: Option<f64>,
    /// Members and non-members of the half that was tested.
    pub n_tested: [u64; 2],
}

impl DatasetRow {
    /// The row of a test and of its control.
    pub fn new(found: &DatasetInference, control: Option<&DatasetInference>) -> DatasetRow {
        DatasetRow {
            p_value: significant(found.test.p_value),
            control_p_value: control.map(|control| significant(control.test.p_value)),
            n_tested: found.n_tested,
        }
    }

    /// What it came to, in a sentence.
    pub fn sentence(&self) -> String {
        let control = self.control_p_value.map_or_else(String::new, |p| {
            format!("; of halves of the non-members, where there is nothing to find, p = {p:.2}")
        });
        format!(
            "Taken together, were the members used? A classifier of all signals says so with p = {:.1e} on {} members and {} \
             non-members that it had not seen{control}.",
            self.p_value,
            grouped(self.n_tested[0]),
            grouped(self.n_tested[1])
        )
    }
}

/// Texts that stood before each text that was scored, and were scored themselves by no signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShotsRow {
    /// Non-members, for ReCaLL.
    pub recall: u64,
    /// Members and non-members, for Con-ReCaLL.
    pub con_recall: [u64; 2],
}

impl From<&Shots> for ShotsRow {
    fn from(shots: &Shots) -> ShotsRow {
        let con_recall = shots.n_for_con_recall().map(|n| n as u64);
        ShotsRow { recall: shots.n_for_recall() as u64, con_recall }
    }
}

impl EpsilonRow {
    fn new(found: &AuditedEpsilon, signals: &[SeparationRow]) -> EpsilonRow {
        let row = found.signal.and_then(|number| signals.get(number as usize));
        EpsilonRow {
            at_least: rounded(found.epsilon),
            signal: row.map(|row| row.name.clone()),
            n_signals: found.n_signals,
            n: found.n,
            level: found.level,
        }
    }

    /// What the bound means, in a sentence.
    pub fn sentence(&self) -> String {
        let n_signals = counted(self.n_signals, "signal", "signals");
        let level = percent(self.level);
        match &self.signal {
            Some(signal) => format!(
                "Epsilon is at least {:.2} at {level} confidence, by {signal} among {n_signals}: no training that is \
                 differentially private with a smaller one, for a delta of 0, lets this be told of its texts.",
                self.at_least
            ),
            None => format!(
                "Epsilon is at least 0 at {level} confidence: none of {n_signals} shows that the training is not \
                 differentially private, which is no proof that it is."
            ),
        }
    }
}

/// How well one score tells the sets apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeparationRow {
    /// The signal's or the baseline's name.
    pub name: String,
    /// Texts for which it is defined, in the first set and in the second.
    pub n: [u64; 2],
    /// Texts for which it is not.
    pub n_undefined: u64,
    /// The area under the ROC curve; none where a set is empty.
    pub auc: Option<AucRow>,
    /// The share of members that are found at each FPR.
    pub at_fpr: Vec<FprRow>,
}

/// An area under the ROC curve: how often a member scores above a non-member, ties at one half.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AucRow {
    /// The area.
    pub value: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
    /// How the interval was computed.
    pub method: Method,
    /// Lower end of the interval that holds for all rows of its table together (Bonferroni).
    pub joint_low: f64,
    /// Upper end of that.
    pub joint_high: f64,
}

/// The members that are found where so many non-members may be taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FprRow {
    /// The FPR that was asked for.
    pub fpr: f64,
    /// The FPR that the threshold has on these non-members.
    pub fpr_reached: Option<f64>,
    /// Members above the threshold; none where there are too few non-members to tell.
    pub found: Option<Rate>,
    /// Non-members that it takes.
    pub needed: Option<u64>,
}

impl SeparationRow {
    /// A score's separation at [`LEVEL`].
    pub fn new(name: &str, fprs: &[f64], separation: &Separation) -> SeparationRow {
        let auc = |auc: &Auc, joint: &Interval| AucRow {
            value: rounded(auc.auc),
            low: rounded(auc.interval.low),
            high: rounded(auc.interval.high),
            method: auc.interval.method,
            joint_low: rounded(joint.low),
            joint_high: rounded(joint.high),
        };
        let at_fpr = fprs.iter().zip(&separation.at_fpr).map(|(fpr, point)| {
            let found = point.as_ref().ok().map(|point| Rate::new(point.n_true_positives, separation.n[0]));
            let needed = match point {
                Err(Refusal::TooFewNonMembers { needed, .. }) => Some(*needed),
                _ => None,
            };
            let fpr_reached = point.as_ref().ok().map(|point| rounded(point.fpr));
            FprRow { fpr: *fpr, fpr_reached, found, needed }
        });
        SeparationRow {
            name: name.to_owned(),
            n: separation.n,
            n_undefined: separation.n_undefined,
            auc: separation
                .auc
                .as_ref()
                .ok()
                .zip(separation.joint.as_ref().ok())
                .map(|(one, other)| auc(one, other)),
            at_fpr: at_fpr.collect(),
        }
    }

    /// "0.712".
    pub fn auc_text(&self) -> String {
        self.auc.map_or_else(|| "–".to_owned(), |auc| format!("{:.3}", auc.value))
    }

    /// "0.680–0.744".
    pub fn interval_text(&self) -> String {
        self.auc.map_or_else(|| "–".to_owned(), |auc| format!("{:.3}–{:.3}", auc.low, auc.high))
    }

    /// The joint interval.
    pub fn joint_text(&self) -> String {
        self.auc.map_or_else(|| "–".to_owned(), |auc| format!("{:.3}–{:.3}", auc.joint_low, auc.joint_high))
    }
}

impl FprRow {
    /// "12.1% (9.8–14.7%)", or what it would take.
    pub fn text(&self) -> String {
        match (self.found, self.needed) {
            (Some(found), _) => format!("{} ({})", found.percent(), found.interval()),
            (None, Some(needed)) => format!("needs {}", grouped(needed)),
            _ => "–".to_owned(),
        }
    }

    /// "10%".
    pub fn fpr_text(&self) -> String {
        percent(self.fpr)
    }
}

/// What a report of membership inference is made of.
#[derive(Debug)]
pub struct InferFacts {
    /// What it was computed from.
    pub provenance: Provenance,
    /// Members and non-members that were scored.
    pub n: [u64; 2],
    /// Signals of the model.
    pub signals: Vec<SeparationRow>,
    /// Scores that never see the model.
    pub blind: Vec<SeparationRow>,
    /// Each signal on two halves of the non-members.
    pub control: Vec<SeparationRow>,
    /// The lower bound of epsilon by the signals, in their order.
    pub epsilon: AuditedEpsilon,
    /// Whether the members were used, taken together.
    pub dataset: Option<DatasetRow>,
    /// What stood before texts.
    pub shots: Option<ShotsRow>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl InferBody {
    /// The report, with its verdict.
    pub fn new(facts: InferFacts) -> InferBody {
        let InferFacts { provenance, n, signals, blind, control, epsilon, dataset, shots, mut warnings } =
            facts;
        let verdict = if blind.iter().any(tells_blindly) {
            "blind"
        } else if control.iter().any(|row| above(row) || below(row)) {
            "control"
        } else {
            "valid"
        };
        for row in signals.iter().filter(|row| below(row)) {
            warnings.push(format!(
                "members score lower than non-members by {}: its sign is wrong here, or the sets differ",
                row.name
            ));
        }
        for row in signals.iter().filter(|row| row.n_undefined > 0) {
            warnings.push(format!(
                "{} texts have no value of {} and are left out of it",
                row.n_undefined, row.name
            ));
        }
        let epsilon_reason = match verdict {
            "blind" => Some("the sets differ without the model"),
            "control" => Some("the control fails"),
            _ => None,
        };
        let mut body = InferBody {
            provenance,
            measures: Vec::new(),
            n_members: n[0],
            n_non_members: n[1],
            verdict: verdict.to_owned(),
            epsilon: epsilon_reason.is_none().then(|| EpsilonRow::new(&epsilon, &signals)),
            dataset: dataset.filter(|_| epsilon_reason.is_none()),
            epsilon_reason: epsilon_reason.map(str::to_owned),
            shots,
            signals,
            blind,
            control,
            warnings,
        };
        body.measures = body.measures();
        body
    }

    /// The signal with the largest area.
    pub fn best(&self) -> Option<(&SeparationRow, AucRow)> {
        let areas = self.signals.iter().filter_map(|row| Some((row, row.auc?)));
        areas.max_by(|(_, a), (_, b)| a.value.total_cmp(&b.value))
    }

    /// `membership-auc`: of the best signal, with the interval that holds for all; `membership-tpr-at-FPR` of that signal.
    fn measures(&self) -> Vec<Measure> {
        let Some((row, auc)) = self.best().filter(|_| self.verdict == "valid") else { return Vec::new() };
        let n_trials = row.n[0].min(row.n[1]);
        let area = Measure::number("membership-auc", crate::measure::Unit::Share, Some(auc.value), n_trials)
            .within(Some((auc.joint_low, auc.joint_high)));
        let found = row.at_fpr.iter().filter_map(|point| Some((point.fpr, point.found?)));
        let at_fpr = found
            .map(|(fpr, found)| Measure::share(&format!("membership-tpr-at-{fpr}"), found.count, found.n));
        std::iter::once(area).chain(at_fpr).collect()
    }

    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let words = |row: &SeparationRow, auc: AucRow| {
            let (low, high) = (auc.joint_low, auc.joint_high);
            format!("{}: AUC {:.3}, joint 95% interval {low:.3}–{high:.3}", row.name, auc.value)
        };
        let first = |rows: &[SeparationRow], wanted: &dyn Fn(&SeparationRow) -> bool| {
            let row = rows.iter().find(|row| wanted(row))?;
            Some(words(row, row.auc?))
        };
        match self.verdict.as_str() {
            "blind" => format!(
                "Members and non-members differ without the model, so that its signals prove nothing ({}).",
                first(&self.blind, &tells_blindly).unwrap_or_default()
            ),
            "control" => format!(
                "The control fails: two halves of the non-members differ ({}).",
                first(&self.control, &|row| above(row) || below(row)).unwrap_or_default()
            ),
            _ => match self.best() {
                None => "There are no two sets to tell apart.".to_owned(),
                Some((row, auc)) if above(row) => {
                    format!("The model gives away which texts it was trained on ({}).", words(row, auc))
                }
                Some((row, auc)) => {
                    format!("No signal tells members from non-members; the best is {}.", words(row, auc))
                }
            },
        }
    }
}

impl InferBody {
    /// The bound of epsilon, or why there is none.
    pub fn epsilon_text(&self) -> String {
        match (&self.epsilon, &self.epsilon_reason) {
            (Some(epsilon), _) => epsilon.sentence(),
            (None, reason) => {
                format!("No bound of epsilon: {}.", reason.as_deref().unwrap_or("nothing was scored"))
            }
        }
    }
}

impl ShotsRow {
    /// What stood before texts, in a sentence.
    pub fn sentence(&self) -> String {
        let ShotsRow { recall, con_recall: [members, non_members] } = self;
        let mut text =
            format!("Before each text stood {} for recall", counted(*recall, "non-member", "non-members"));
        if *members > 0 {
            text.push_str(&format!(
                ", {} and {} in turn for con-recall",
                counted(*members, "member", "members"),
                counted(*non_members, "non-member", "non-members")
            ));
        }
        text.push_str("; they are scored by no signal.");
        text
    }
}

fn above(row: &SeparationRow) -> bool {
    row.auc.is_some_and(|auc| auc.joint_low > 0.5)
}

fn below(row: &SeparationRow) -> bool {
    row.auc.is_some_and(|auc| auc.joint_high < 0.5)
}

/// A bag of words, which learns the direction, leans below one half where there is nothing to tell.
pub(crate) fn tells_blindly(row: &SeparationRow) -> bool {
    above(row) || (below(row) && row.name != BAG_OF_WORDS)
}

/// Membership inference on one screen.
pub fn infer_text(body: &InferBody) -> String {
    use Align::{Left, Right};
    let mut out = String::new();
    wrap(&body.headline(), &mut out);
    let (n_members, n_non_members) = (grouped(body.n_members), grouped(body.n_non_members));
    out.push_str(&format!(
        "\n{n_members} members, {n_non_members} non-members; members found at an FPR of\n"
    ));
    let fprs = body.signals.first().map(|row| &row.at_fpr[..]).unwrap_or_default();
    let heads = [("signal", Left), ("AUC", Right), ("95% interval", Right)];
    let heads = heads.map(|(name, align)| (name.to_owned(), align)).into_iter();
    let titles = fprs.iter().take(3).map(|point| (point.fpr_text(), Right));
    let mut table = Table::of(heads.chain(titles).collect());
    let signals = body.signals.iter().map(|row| (row.name.clone(), row));
    for (name, row) in signals.chain(body.blind.iter().map(|row| (format!("blind: {}", row.name), row))) {
        let found = row.at_fpr.iter().take(3).map(FprRow::text);
        table.cells([name, row.auc_text(), row.interval_text()].into_iter().chain(found).collect());
    }
    table.finish(&mut out);
    let n_failed = body.control.iter().filter(|row| above(row) || below(row)).count();
    let words = format!(
        "Control, halves of the non-members: {n_failed} of {} signals tell them apart at {} joint confidence.",
        body.control.len(),
        percent(LEVEL)
    );
    wrap(&words, &mut out);
    wrap(&body.epsilon_text(), &mut out);
    if let Some(dataset) = body.dataset {
        wrap(&dataset.sentence(), &mut out);
    }
    if let Some(shots) = &body.shots {
        wrap(&shots.sentence(), &mut out);
    }
    warnings(&body.warnings, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use crate::html::Page;
    use crate::samples;

    #[test]
    fn a_blind_baseline_or_a_control_that_tells_the_sets_apart_makes_the_rest_void() {
        let facts = samples::infer_facts();
        let body = super::InferBody::new(facts);
        assert_eq!(body.verdict, "valid");
        assert!(
            body.headline()
                .starts_with("The model gives away which texts it was trained on (min-k++: AUC 0.9")
        );
        let names: Vec<&str> = body.measures.iter().map(|measure| measure.name.as_str()).collect();
        assert_eq!(names, ["membership-auc", "membership-tpr-at-0.1", "membership-tpr-at-0.01"]);
        assert!(
            body.epsilon_text()
                .starts_with("Epsilon is at least 1.75 at 95.0% confidence, by min-k++ among 2")
        );
        let mut facts = samples::infer_facts();
        facts.blind.push(facts.signals[1].clone());
        let body = super::InferBody::new(facts);
        assert!(body.verdict == "blind" && body.measures.is_empty() && body.epsilon.is_none());
        assert_eq!(body.epsilon_text(), "No bound of epsilon: the sets differ without the model.");
        assert!(body.headline().starts_with("Members and non-members differ without the model"));
        let mut facts = samples::infer_facts();
        facts.control.push(facts.signals[1].clone());
        let body = super::InferBody::new(facts);
        assert!(body.verdict == "control" && body.headline().starts_with("The control fails"));
        let mut facts = samples::infer_facts();
        facts.signals.truncate(1);
        facts.epsilon.signal = None;
        let body = super::InferBody::new(facts);
        assert!(body.headline().starts_with("No signal tells members"), "{}", body.headline());
        assert!(body.epsilon_text().contains("which is no proof that it is"), "{}", body.epsilon_text());
    }

    /// detect-pretrain writes the TPR at an FPR of 5 % under the name of that at 0.1 %.
    #[test]
    fn peer_09_the_fpr_that_is_written_is_the_fpr_that_was_asked_for() {
        let body = super::InferBody::new(samples::infer_facts());
        let rows = body.signals.iter().chain(&body.blind);
        for row in rows {
            assert_eq!(row.at_fpr.iter().map(|point| point.fpr).collect::<Vec<_>>(), samples::FPRS);
            for point in &row.at_fpr {
                // So many of 240 non-members are above the threshold at most, and one more would be too many.
                let Some(reached) = point.fpr_reached else { continue };
                assert!(reached <= point.fpr && reached > point.fpr - 1.5 / 240.0, "{row:?}");
            }
        }
        let (row, _) = body.best().unwrap();
        for point in row.at_fpr.iter().filter(|point| point.found.is_some()) {
            let name = format!("membership-tpr-at-{}", point.fpr);
            let measure = body.measures.iter().find(|measure| measure.name == name).unwrap();
            assert_eq!(measure.count, point.found.map(|found| found.count));
        }
        let page = samples::infer().to_html().unwrap();
        let heads = ["10.0%", "1.0%", "0.1%"].map(|fpr| format!("Found at FPR {fpr}"));
        let places = heads.map(|head| page.find(&head).unwrap());
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(body.signals[0].at_fpr[2].fpr_text(), "0.1%");
    }

    /// AUCs far below one half after unlearning or with a wrong sign are taken for good news.
    #[test]
    fn a_signal_wholly_below_one_half_is_warned_of() {
        let facts = samples::infer_facts();
        let mut row = facts.signals[1].clone();
        let auc = row.auc.as_mut().unwrap();
        (auc.value, auc.low, auc.high) = (1.0 - auc.value, 1.0 - auc.high, 1.0 - auc.low);
        (auc.joint_low, auc.joint_high) = (1.0 - auc.joint_high, 1.0 - auc.joint_low);
        let body = super::InferBody::new(super::InferFacts { signals: vec![row], ..facts });
        assert!(body.warnings[0].contains("members score lower than non-members by min-k++"), "{body:?}");
        assert!(body.headline().starts_with("No signal tells members"));
    }

    #[test]
    fn too_few_non_members_are_said_to_be_too_few() {
        let body = super::InferBody::new(samples::infer_facts());
        let row = &body.signals[0];
        assert_eq!(row.at_fpr[2].text(), "needs 1,000");
        assert!(row.at_fpr[0].text().contains('(') && row.at_fpr[0].found.is_some());
    }
}

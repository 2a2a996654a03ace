//! What the field claims of leakage and of defences, each held against what was measured.

use serde::{Deserialize, Serialize};
use verbatim_extraction::Placement;
use verbatim_membership::{
    Auc, Interval, Scores, clopper_pearson, independent_auc_difference, newcombe, roc, spearman,
};

use super::{Defence, Measured, Moment, Row, SignalScores, SliceRow};

/// A difference of rates or areas below which there is none worth the name.
const NEGLIGIBLE: f64 = 0.02;

/// How near a loss must come, in nats a token, for an attacker to have it back.
const HAD_BACK_NATS: f64 = 0.01;

/// What a measurement says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The whole interval is where the claim has it.
    Supported,
    /// The whole interval is where the claim does not have it.
    Refuted,
    /// Neither.
    Inconclusive,
    /// What it takes was not measured.
    Untested,
}

/// A claim, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Its name.
    pub name: &'static str,
    /// What is claimed.
    pub statement: &'static str,
    /// What the measurement says.
    pub verdict: Verdict,
    /// What the effect is, in words.
    pub effect: &'static str,
    /// The effect; none where it was not measured.
    pub value: Option<f64>,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end of its interval.
    pub high: Option<f64>,
    /// What it rests on: texts, secrets, people or epochs.
    pub n: u64,
}

/// What claims are held against.
pub(super) struct Evidence<'a> {
    pub(super) rows: &'a [Row],
    pub(super) moments: &'a [Moment],
    pub(super) slices: &'a [SliceRow],
    /// Fabricated profiles above each person's true one, and all of them.
    pub(super) people: &'a [(u64, u64)],
    pub(super) epsilon: f64,
    pub(super) level: f64,
}

/// An effect with its interval.
struct Effect {
    value: f64,
    low: f64,
    high: f64,
    n: u64,
}

impl Effect {
    fn of(value: f64, interval: &Interval, n: u64) -> Effect {
        Effect { value, low: interval.low, high: interval.high, n }
    }
}

/// A claim that an effect is above `least`: supported where its whole interval is, refuted where none of it is.
fn above(least: f64, words: [&'static str; 3], effect: Option<Effect>) -> Claim {
    let [name, statement, effect_words] = words;
    let verdict = match &effect {
        None => Verdict::Untested,
        Some(effect) if effect.low > least => Verdict::Supported,
        Some(effect) if effect.high <= least => Verdict::Refuted,
        Some(_) => Verdict::Inconclusive,
    };
    Claim {
        name,
        statement,
        verdict,
        effect: effect_words,
        value: effect.as_ref().map(|effect| effect.value),
        low: effect.as_ref().map(|effect| effect.low),
        high: effect.as_ref().map(|effect| effect.high),
        n: effect.map_or(0, |effect| effect.n),
    }
}

/// All claims.
pub(super) fn claims(evidence: &Evidence<'_>) -> Vec<Claim> {
    [of_data(evidence), of_serving(evidence), of_privacy(evidence), of_leakage(evidence)].concat()
}

fn of_data(evidence: &Evidence<'_>) -> Vec<Claim> {
    let less = "share of secrets less";
    [
        (
            ["dedup-exact", "Exact deduplication lowers extraction of what stood in whole copies", less],
            Defence::DedupExact,
            Placement::Document,
        ),
        (
            ["dedup-near", "Near deduplication lowers extraction of what stood in near copies", less],
            Defence::DedupNear,
            Placement::NearCopy,
        ),
        (
            [
                "dedup-substring",
                "Substring deduplication lowers extraction of what stood in repeated passages",
                less,
            ],
            Defence::DedupSubstring,
            Placement::Passage,
        ),
    ]
    .map(|(words, level, placement)| above(0.0, words, evidence.less_recited(level, placement)))
    .into()
}

fn of_serving(evidence: &Evidence<'_>) -> Vec<Claim> {
    let drop = "points of AUC less, by the loss";
    vec![
        above(
            NEGLIGIBLE,
            [
                "rounding-hides-members",
                "Rounding what is told lowers the AUC and leaves greedy extraction alone",
                drop,
            ],
            evidence.hides_members(Defence::Rounded),
        ),
        above(
            NEGLIGIBLE,
            [
                "top-k-hides-members",
                "Telling the first choices only lowers the AUC and leaves greedy extraction alone",
                drop,
            ],
            evidence.hides_members(Defence::TopK),
        ),
        above(
            0.95,
            [
                "temperature-is-undone",
                "An attacker who knows the temperature loses nothing by it",
                "share of texts whose loss is had back within 0.01 nats a token",
            ],
            evidence.had_back(Defence::TemperatureUndone),
        ),
    ]
}

fn of_privacy(evidence: &Evidence<'_>) -> Vec<Claim> {
    let hides = above(
        0.0,
        ["privacy-hides-members", "Private training lowers the AUC", "points of AUC less, by the loss"],
        evidence.independent(Defence::None, Defence::DpSgd),
    );
    vec![hides, evidence.keeps_its_claim(), evidence.broken_claim_is_caught()]
}

fn of_leakage(evidence: &Evidence<'_>) -> Vec<Claim> {
    vec![
        above(
            0.0,
            [
                "overfitting-leaks",
                "Overfitting and leakage rise together along a training",
                "correlation of ranks, gap of losses and AUC",
            ],
            evidence.rises_together(),
        ),
        above(
            0.0,
            [
                "repeated-records-leak",
                "Repeated records leak more",
                "share of secrets more, of those planted most often",
            ],
            evidence.repeated_more(),
        ),
        above(
            0.0,
            ["rare-records-leak", "Rare records leak more", "points of AUC more, of the rarest third"],
            evidence.rare_more(),
        ),
        above(
            0.5,
            [
                "surrogates-leak",
                "A model distilled from another still leaks what that one was trained on",
                "AUC by the loss",
            ],
            evidence.row(Defence::Surrogate).and_then(|row| area(&row.measured)),
        ),
        above(
            evidence.chance_of_first(),
            [
                "true-profiles-rank-first",
                "A person's true profile ranks above fabricated ones",
                "share of people whose profile ranks first",
            ],
            evidence.first_profiles(),
        ),
    ]
}

/// The AUC of the loss.
fn auc(measured: &Measured) -> Option<Auc> {
    measured.by_loss().auc.ok()
}

fn area(measured: &Measured) -> Option<Effect> {
    let auc = auc(measured)?;
    Some(Effect::of(auc.auc, &auc.interval, auc.n_members.min(auc.n_non_members)))
}

impl Evidence<'_> {
    fn row(&self, defence: Defence) -> Option<&Row> {
        self.rows.iter().find(|row| row.defence == defence)
    }

    /// How much smaller the share of the secrets of a placement, planted more than once, that are recited is with a defence.
    fn less_recited(&self, defence: Defence, placement: Placement) -> Option<Effect> {
        let recited = |defence| {
            let row = self.row(defence)?;
            let of = row.measured.recited(|one| one.placement == placement && one.copies > 1);
            (of.1 > 0).then_some(of)
        };
        let (before, after) = (recited(Defence::None)?, recited(defence)?);
        let share = |(n, all): (u64, u64)| n as f64 / all as f64;
        Some(Effect::of(share(before) - share(after), &newcombe(before, after, self.level), before.1))
    }

    /// The loss of a served model beside that of another, on the same texts: how much larger its AUC is.
    fn paired(&self, one: Defence, other: Defence) -> Option<Effect> {
        let [one, other] = [one, other].map(|defence| self.row(defence));
        let SignalScores { members: inside, non_members: outside, .. } = &one?.measured.signals[0];
        let SignalScores { members: other_inside, non_members: other_outside, .. } =
            &other?.measured.signals[0];
        let both = |one: &[Option<f64>], other: &[Option<f64>]| -> (Vec<f64>, Vec<f64>) {
            one.iter().zip(other).filter_map(|(one, other)| Some(((*one)?, (*other)?))).unzip()
        };
        let (inside, other_inside) = both(inside, other_inside);
        let (outside, other_outside) = both(outside, other_outside);
        let one = Scores::new(&inside, &outside).ok()?;
        let other = Scores::new(&other_inside, &other_outside).ok()?;
        let found = roc::auc_difference(one, other, self.level).ok()?;
        Some(Effect::of(found.difference, &found.interval, inside.len().min(outside.len()) as u64))
    }

    /// The share of the texts whose loss an attacker has back from a defence.
    fn had_back(&self, defence: Defence) -> Option<Effect> {
        let losses = |defence| {
            let said = &self.row(defence)?.measured.signals[0];
            Some(said.members.iter().chain(&said.non_members).copied().collect::<Vec<Option<f64>>>())
        };
        let (own, had) = (losses(Defence::None)?, losses(defence)?);
        let pairs = own.iter().zip(&had).filter_map(|(own, had)| Some((*own)?).zip(*had));
        let (n_back, n) = pairs.fold((0, 0), |(n_back, n), (own, had)| {
            (n_back + u64::from((own - had).abs() <= HAD_BACK_NATS), n + 1)
        });
        let interval = clopper_pearson(n_back, n, self.level);
        (n > 0).then(|| Effect::of(n_back as f64 / n as f64, &interval, n))
    }

    /// How much smaller the AUC is with a defence of the scores; nothing where it changes what is recited, which is another claim.
    fn hides_members(&self, defence: Defence) -> Option<Effect> {
        let recited = |defence| Some(self.row(defence)?.measured.recited(|_| true));
        if recited(defence)? != recited(Defence::None)? {
            return None;
        }
        self.paired(Defence::None, defence)
    }

    /// How much larger the AUC of one model is than that of another.
    fn independent(&self, one: Defence, other: Defence) -> Option<Effect> {
        let (one, other) = (auc(&self.row(one)?.measured)?, auc(&self.row(other)?.measured)?);
        let found = independent_auc_difference(&one, &other);
        Some(Effect::of(found.difference, &found.interval, one.n_members.min(one.n_non_members)))
    }

    /// A lower bound of epsilon is an interval without an upper end.
    fn audited(&self, defence: Defence) -> Option<Effect> {
        let audited = self.row(defence)?.measured.epsilon;
        let n = audited.n[0].min(audited.n[1]);
        Some(Effect { value: audited.epsilon, low: audited.epsilon, high: f64::INFINITY, n })
    }

    fn keeps_its_claim(&self) -> Claim {
        let mut claim = above(
            self.epsilon,
            [
                "privacy-keeps-its-claim",
                "What an audit shows of private training is below the epsilon that it claims",
                "epsilon that is shown",
            ],
            self.audited(Defence::DpSgd),
        );
        // The claim is that the bound is not exceeded: it is refuted where the lower bound is above it.
        claim.verdict = match claim.verdict {
            Verdict::Supported => Verdict::Refuted,
            Verdict::Untested => Verdict::Untested,
            _ => Verdict::Supported,
        };
        claim.high = None;
        claim
    }

    fn broken_claim_is_caught(&self) -> Claim {
        let mut claim = above(
            self.epsilon,
            [
                "broken-privacy-is-caught",
                "An audit catches private training whose noise was left out",
                "epsilon that is shown",
            ],
            self.audited(Defence::DpSgdBroken),
        );
        claim.high = None;
        claim
    }

    fn rises_together(&self) -> Option<Effect> {
        let gaps: Vec<f64> = self.moments.iter().map(|moment| moment.nats[1] - moment.nats[0]).collect();
        let areas: Vec<f64> = self.moments.iter().map(|moment| moment.auc).collect();
        let found = spearman(&gaps, &areas, self.level)?;
        Some(Effect::of(found.rho, &found.interval, found.n))
    }

    fn repeated_more(&self) -> Option<Effect> {
        let undefended = &self.row(Defence::None)?.measured;
        let copies = || undefended.recitations.iter().filter(|one| !one.control).map(|one| one.copies);
        let (fewest, most) = (copies().min()?, copies().max()?);
        if fewest == most {
            return None;
        }
        let [few, many] = [fewest, most].map(|n| undefended.recited(|one| one.copies == n));
        let share = |(n, all): (u64, u64)| n as f64 / all as f64;
        Some(Effect::of(share(many) - share(few), &newcombe(many, few, self.level), many.1.min(few.1)))
    }

    /// The rarest third beside the most common one: the interval of a difference of two independent areas, by their ends.
    fn rare_more(&self) -> Option<Effect> {
        let of = self.slices.iter().filter(|slice| slice.by == "rarity");
        let (low, high) =
            (of.clone().min_by_key(|slice| slice.number)?, of.max_by_key(|slice| slice.number)?);
        let down = |slice: &SliceRow| slice.auc - slice.low;
        let up = |slice: &SliceRow| slice.high - slice.auc;
        let value = high.auc - low.auc;
        Some(Effect {
            value,
            low: value - down(high).hypot(up(low)),
            high: value + up(high).hypot(down(low)),
            n: low.n[0].min(high.n[0]),
        })
    }

    fn chance_of_first(&self) -> f64 {
        self.people.first().map_or(1.0, |(_, n)| 1.0 / (1.0 + *n as f64))
    }

    fn first_profiles(&self) -> Option<Effect> {
        let n = self.people.len() as u64;
        let n_first = self.people.iter().filter(|(n_better, _)| *n_better == 0).count() as u64;
        let interval = clopper_pearson(n_first, n, self.level);
        (n > 0).then(|| Effect::of(n_first as f64 / n as f64, &interval, n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(low: f64, high: f64) -> Verdict {
        let effect = Effect { value: f64::midpoint(low, high), low, high, n: 9 };
        above(0.1, ["name", "statement", "effect"], Some(effect)).verdict
    }

    #[test]
    fn a_verdict_is_where_the_whole_interval_lies() {
        assert_eq!(verdict(0.2, 0.4), Verdict::Supported);
        assert_eq!(verdict(0.1, 0.4), Verdict::Inconclusive);
        assert_eq!(verdict(0.05, 0.4), Verdict::Inconclusive);
        assert_eq!(verdict(-0.5, 0.1), Verdict::Refuted);
        assert_eq!(above(0.1, ["name", "statement", "effect"], None).verdict, Verdict::Untested);
    }

    fn evidence<'a>(people: &'a [(u64, u64)], moments: &'a [Moment], slices: &'a [SliceRow]) -> Evidence<'a> {
        Evidence { rows: &[], moments, slices, people, epsilon: 1.0, level: 0.95 }
    }

    fn claim(evidence: &Evidence<'_>, name: &str) -> Claim {
        claims(evidence).into_iter().find(|claim| claim.name == name).unwrap()
    }

    #[test]
    fn what_was_not_measured_is_untested() {
        let all = claims(&evidence(&[], &[], &[]));
        assert_eq!(all.len(), 14);
        assert!(all.iter().all(|claim| claim.verdict == Verdict::Untested && claim.value.is_none()));
    }

    /// Twelve of twelve first among twenty: at least 73.5 % by Clopper and Pearson. One of twelve is what chance gives.
    #[test]
    fn true_profiles_rank_first_where_more_of_them_do_than_by_chance() {
        let found = claim(&evidence(&[(0, 19); 12], &[], &[]), "true-profiles-rank-first");
        assert_eq!(found.verdict, Verdict::Supported);
        assert!((found.low.unwrap() - 0.025f64.powf(1.0 / 12.0)).abs() < 1e-9);
        let mut people = [(7, 19); 12];
        people[3] = (0, 19);
        let found = claim(&evidence(&people, &[], &[]), "true-profiles-rank-first");
        assert_eq!(found.verdict, Verdict::Inconclusive);
    }

    #[test]
    fn overfitting_and_leakage_rise_together_where_their_ranks_do() {
        let moment =
            |epoch: u64, auc: f64| Moment { epoch, nats: [3.0 - epoch as f64, 3.0], auc, n_recited: 0 };
        let rising: Vec<Moment> = (1..=8).map(|epoch| moment(epoch, 0.5 + 0.05 * epoch as f64)).collect();
        assert_eq!(claim(&evidence(&[], &rising, &[]), "overfitting-leaks").verdict, Verdict::Supported);
        let falling: Vec<Moment> = (1..=8).map(|epoch| moment(epoch, 0.5 - 0.05 * epoch as f64)).collect();
        assert_eq!(claim(&evidence(&[], &falling, &[]), "overfitting-leaks").verdict, Verdict::Refuted);
    }

    /// 0.9 (0.85 to 0.93) less 0.7 (0.62 to 0.77): 0.2, down by the root of 0.05² + 0.07² and up by that of 0.03² + 0.08².
    #[test]
    fn the_rarest_third_is_held_against_the_most_common_one() {
        let slice = |number, auc, low, high| SliceRow {
            by: "rarity",
            number,
            name: None,
            n: [50, 50],
            auc,
            low,
            high,
        };
        let slices = [slice(0, 0.7, 0.62, 0.77), slice(1, 0.2, 0.1, 0.3), slice(2, 0.9, 0.85, 0.93)];
        let found = claim(&evidence(&[], &[], &slices), "rare-records-leak");
        assert_eq!(found.verdict, Verdict::Supported);
        assert!((found.low.unwrap() - (0.2 - 0.0074f64.sqrt())).abs() < 1e-9);
        assert!((found.high.unwrap() - (0.2 + 0.0073f64.sqrt())).abs() < 1e-9);
    }
}

//! What all samples of an audit came to, not only the best of each ranking: how much of them stands in the corpus, and how
//! much more there must be.

use serde::Serialize;
use verbatim_extraction::{Recital, Strategy, scale};
use verbatim_membership::Estimate;

use crate::figure::{LEVEL, Rate, counted, grouped, percent, rounded};
use crate::terminal::wrap;

/// How many times the samples drawn the report looks ahead.
const TIMES: [f64; 3] = [1.0, 2.0, 10.0];

/// Everything that was drawn, looked up in the corpus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScaleTable {
    /// One row for each strategy, and one for all where there are several.
    pub rows: Vec<ScaleRow>,
}

/// The samples of one strategy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScaleRow {
    /// How they were drawn; `all` for all strategies.
    pub strategy: String,
    /// Tokens drawn.
    pub n_tokens: u64,
    /// Tokens that lie in a memorized window.
    pub n_memorized_tokens: u64,
    /// Their share; none without tokens.
    pub token_share: Option<Estimated>,
    /// Samples with a memorized window, among those that did not fail.
    pub samples: Rate,
    /// Distinct memorized windows.
    pub n_windows: u64,
    /// The same after windows that overlap in a sample are taken as one.
    pub n_sequences: u64,
    /// Distinct windows that one sample has.
    pub n_once: u64,
    /// Distinct windows that two samples have.
    pub n_twice: u64,
    /// The share of memorized windows to come that were drawn already; none where there are none.
    pub coverage: Option<Estimated>,
    /// A lower bound of the number of distinct windows that the model would recite; none where the draws are inconclusive.
    pub at_least: Option<Estimated>,
    /// What more samples would show; empty where the draws are inconclusive.
    pub growth: Vec<GrowthRow>,
}

/// A figure with its interval, from the jackknife over samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimated {
    /// The figure.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Level of the interval.
    pub level: f64,
    /// How the interval was computed.
    pub method: &'static str,
}

/// What more samples would show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GrowthRow {
    /// How many times the samples drawn.
    pub times: f64,
    /// Windows not drawn yet that they would show.
    pub new_windows: Estimated,
}

impl ScaleTable {
    /// Tables of what was looked up, by strategy.
    pub fn new(recitals: &[Recital]) -> ScaleTable {
        let of = |strategy: Strategy| -> Vec<&Recital> {
            recitals.iter().filter(|recital| recital.strategy == strategy).collect()
        };
        let groups = Strategy::ALL.map(|strategy| (strategy.name(), of(strategy)));
        let mut rows: Vec<ScaleRow> = groups
            .iter()
            .filter(|(_, recitals)| !recitals.is_empty())
            .map(|(name, recitals)| scale_row(name, recitals))
            .collect();
        if rows.len() > 1 {
            rows.push(scale_row("all", &recitals.iter().collect::<Vec<_>>()));
        }
        ScaleTable { rows }
    }

    /// What all samples came to, in sentences.
    pub(crate) fn sentences(&self, n_window_tokens: u64) -> Vec<String> {
        let Some(all) = self.rows.last() else { return Vec::new() };
        let (memorized, tokens) = (grouped(all.n_memorized_tokens), counted(all.n_tokens, "token", "tokens"));
        let share = all.token_share.as_ref().map_or_else(|| "–".to_owned(), Estimated::as_share);
        let (samples, of_samples) = (all.samples.fraction(), all.samples.percent());
        let interval = all.samples.interval();
        let first = format!(
            "At scale: {memorized} of {tokens} ({share}) lie in {n_window_tokens} that stand word for word in one \
             document, in {samples} samples ({of_samples}, {interval})."
        );
        vec![first, all.unseen_sentence()]
    }
}

impl ScaleRow {
    /// What was found, and what that says of what was not.
    pub(crate) fn unseen_sentence(&self) -> String {
        let windows = counted(self.n_windows, "distinct window", "distinct windows");
        let found = format!("{windows} in {}", counted(self.n_sequences, "sequence", "sequences"));
        match &self.at_least {
            Some(bound) => format!(
                "{found}; the model would recite {} or more in all ({}), which is a lower bound.",
                grouped(bound.value.round() as u64),
                bound.as_count_interval()
            ),
            None if self.n_windows == 0 => format!("{found}."),
            None => format!(
                "{found}; how many there are in all is inconclusive: too few were drawn more than once."
            ),
        }
    }

    /// The lower bound in words.
    pub(crate) fn bound(&self) -> String {
        self.at_least.map_or_else(|| "inconclusive".to_owned(), |bound| grouped(bound.value.round() as u64))
    }
}

impl Estimated {
    fn new(estimate: Estimate) -> Estimated {
        let Estimate { value, low, high, level } = estimate;
        let (value, low, high) = (rounded(value), rounded(low), rounded(high));
        Estimated { value, low, high, level, method: "jackknife-over-samples" }
    }

    /// "12.3%, 10.1–14.6%".
    pub(crate) fn as_share(&self) -> String {
        format!("{}, {}", percent(self.value), self.as_share_interval())
    }

    /// "10.1–14.6%".
    pub(crate) fn as_share_interval(&self) -> String {
        format!("{}–{}", percent(self.low).trim_end_matches('%'), percent(self.high))
    }

    /// "1,204".
    pub(crate) fn as_count(&self) -> String {
        grouped(self.value.round() as u64)
    }

    /// "1,101–1,533".
    pub(crate) fn as_count_interval(&self) -> String {
        format!("{}–{}", grouped(self.low.floor() as u64), grouped(self.high.ceil() as u64))
    }
}

impl GrowthRow {
    /// "as many again", "10 times as many".
    pub(crate) fn words(&self) -> String {
        if self.times == 1.0 {
            "as many again".to_owned()
        } else {
            format!("{} times as many more", self.times)
        }
    }
}

fn scale_row(name: &str, recitals: &[&Recital]) -> ScaleRow {
    let found = scale(recitals, &TIMES, LEVEL);
    let growth = found.windows.growth.iter();
    ScaleRow {
        strategy: name.to_owned(),
        n_tokens: found.n_tokens,
        n_memorized_tokens: found.n_memorized_tokens,
        token_share: found.token_share.map(Estimated::new),
        samples: Rate::new(found.n_memorized_samples, found.n_samples),
        n_windows: found.windows.n_distinct,
        n_sequences: found.n_sequences,
        n_once: found.windows.n_once,
        n_twice: found.windows.n_twice,
        coverage: found.windows.coverage.map(Estimated::new),
        at_least: found.windows.at_least.map(Estimated::new),
        growth: growth
            .map(|step| GrowthRow { times: step.times, new_windows: Estimated::new(step.new) })
            .collect(),
    }
}

/// The sentences on a screen.
pub(crate) fn at_scale_text(table: &ScaleTable, n_window_tokens: u64, out: &mut String) {
    out.push('\n');
    table.sentences(n_window_tokens).iter().for_each(|sentence| wrap(sentence, out));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn recital(strategy: Strategy, index: u64, runs: &[&[u32]]) -> Recital {
        let n_windows: usize = runs.iter().map(|run| run.len()).sum();
        Recital {
            strategy,
            index,
            n_tokens: 100,
            n_memorized_tokens: if n_windows == 0 { 0 } else { 49 + n_windows as u64 },
            last_window: (n_windows > 0).then_some(30),
            runs: runs.iter().map(|run| run.to_vec()).collect(),
        }
    }

    /// Samples of two strategies, some of which recite.
    pub(crate) fn table() -> ScaleTable {
        let mut recitals: Vec<Recital> = Vec::new();
        for index in 0..60 {
            let first = index as u32 % 14 * 3;
            let run: Vec<u32> = (first..first + 5 + index as u32 % 3).collect();
            let runs: &[&[u32]] = if index % 2 == 0 { &[&run] } else { &[] };
            recitals.push(recital(Strategy::TopN, index, runs));
            recitals.push(recital(Strategy::Conditioned, index, if index == 7 { &[&[90, 91]] } else { &[] }));
        }
        ScaleTable::new(&recitals)
    }

    #[test]
    fn rows_stand_by_strategy_and_for_all() {
        let table = table();
        let names: Vec<&str> = table.rows.iter().map(|row| row.strategy.as_str()).collect();
        assert_eq!(names, ["top-n", "conditioned", "all"]);
        let [top_n, conditioned, all] = &table.rows[..] else { panic!("three rows") };
        assert_eq!(
            (top_n.samples.fraction(), all.samples.fraction()),
            ("30 of 60".into(), "31 of 120".into())
        );
        assert_eq!((top_n.n_tokens, all.n_tokens), (6_000, 12_000));
        assert_eq!(top_n.n_memorized_tokens + conditioned.n_memorized_tokens, all.n_memorized_tokens);
        assert_eq!(
            (conditioned.n_windows, conditioned.n_sequences, conditioned.bound().as_str()),
            (2, 1, "inconclusive")
        );
        assert!(top_n.at_least.unwrap().value >= top_n.n_windows as f64 && top_n.growth.len() == TIMES.len());
        let share = all.token_share.unwrap();
        assert!(share.low < share.value && share.value < share.high);
    }

    #[test]
    fn sentences_say_what_is_a_bound_and_what_is_inconclusive() {
        let table = table();
        let all = table.sentences(50).join(" ");
        assert!(all.contains("lower bound") && all.contains("31 of 120 samples"), "{all}");
        let conditioned = ScaleTable { rows: vec![table.rows[1].clone()] };
        let sentences = conditioned.sentences(50);
        assert!(
            sentences[1].contains("2 distinct windows in 1 sequence")
                && sentences[1].contains("inconclusive")
        );
        let nothing = ScaleTable::new(&[recital(Strategy::TopN, 0, &[])]);
        assert_eq!(nothing.sentences(50)[1], "0 distinct windows in 0 sequences.");
        assert_eq!(ScaleTable::new(&[]).sentences(50), [""; 0]);
    }
}

//! Where samples that were to repeat a word left off, and what came of it.

use std::collections::BTreeMap;

use serde::Serialize;
use verbatim_extraction::{Divergence, Recital, Strategy};

use crate::figure::{Rate, counted};

/// Samples of prompts that repeat a word.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DivergenceRow {
    /// Those that leave off repeating it.
    pub diverged: Rate,
    /// Tokens of the repetition in a quarter, half and three quarters of these, or fewer; none where there are none.
    pub quartiles: Option<[u64; 3]>,
    /// Those among them with a memorized window that begins where the repetition is left, or later; none where not all
    /// samples were looked up.
    pub memorized: Option<Rate>,
}

impl DivergenceRow {
    /// The row of some samples, with what stands in the corpus where all were looked up; none of no samples.
    pub fn new(divergences: &[Divergence], recitals: Option<&[Recital]>) -> Option<DivergenceRow> {
        let mut stops: Vec<u64> = divergences.iter().filter_map(|divergence| divergence.stops_at).collect();
        stops.sort_unstable();
        let quartile = |i: usize| stops[(stops.len() * i).div_ceil(4) - 1];
        let n_stops = stops.len() as u64;
        let n_memorized = |recitals| n_memorized(divergences, recitals);
        (!divergences.is_empty()).then(|| DivergenceRow {
            diverged: Rate::new(n_stops, divergences.len() as u64),
            quartiles: (n_stops > 0).then(|| [1, 2, 3].map(quartile)),
            memorized: recitals.map(|recitals| Rate::new(n_memorized(recitals), n_stops)),
        })
    }

    /// The row in a sentence.
    pub(crate) fn sentence(&self) -> String {
        let DivergenceRow { diverged, quartiles, memorized } = self;
        let after = quartiles.map_or_else(String::new, |[_, median, _]| {
            format!(", half of them within {}", counted(median, "token", "tokens"))
        });
        let (n, share, interval) = (diverged.fraction(), diverged.percent(), diverged.interval());
        let recite = memorized.map_or_else(String::new, |rate| {
            format!("; {} of those then recite the corpus", rate.fraction())
        });
        format!(
            "Of the samples that were to repeat a word {n} leave off ({share}, {interval}){after}{recite}."
        )
    }
}

fn n_memorized(divergences: &[Divergence], recitals: &[Recital]) -> u64 {
    let last_windows: BTreeMap<(Strategy, u64), Option<u64>> =
        recitals.iter().map(|recital| ((recital.strategy, recital.index), recital.last_window)).collect();
    let is_memorized = |divergence: &&Divergence| {
        let last_window = last_windows.get(&(divergence.strategy, divergence.index)).copied().flatten();
        divergence.stops_at.zip(last_window).is_some_and(|(stop, first)| first >= stop)
    };
    divergences.iter().filter(is_memorized).count() as u64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::at_scale::tests::recital;

    fn divergence(index: u64, stops_at: Option<u64>) -> Divergence {
        Divergence { strategy: Strategy::Conditioned, index, stops_at }
    }

    /// Sixty samples, of which the seventh recites.
    pub(crate) fn row() -> DivergenceRow {
        let all: Vec<Divergence> =
            (0..60).map(|index| divergence(index, (index % 3 != 0).then_some(4 * index))).collect();
        let recitals = [recital(Strategy::Conditioned, 7, &[&[90, 91]])];
        DivergenceRow::new(&all, Some(&recitals)).unwrap()
    }

    #[test]
    fn a_row_tells_how_many_diverge_and_when() {
        let DivergenceRow { diverged, quartiles, memorized } = row();
        assert_eq!(
            (diverged.fraction(), memorized.unwrap().fraction()),
            ("40 of 60".into(), "1 of 40".into())
        );
        // The tenth, twentieth and thirtieth of 4, 8, 16, 20, 28, …
        assert_eq!(quartiles, Some([56, 116, 176]));
        let one = DivergenceRow::new(&[divergence(0, Some(5)), divergence(1, None)], None).unwrap();
        assert_eq!(
            (one.diverged.fraction(), one.quartiles, one.memorized),
            ("1 of 2".into(), Some([5; 3]), None)
        );
        assert!(row().sentence().contains("half of them within 116 tokens; 1 of 40"), "{}", row().sentence());
        assert_eq!(DivergenceRow::new(&[], None), None);
    }

    #[test]
    fn what_begins_in_the_repetition_is_not_what_divergence_brought() {
        // The last window begins with token 30.
        let recitals = [recital(Strategy::Conditioned, 0, &[&[1]])];
        let n_memorized = |stops_at| {
            let row = DivergenceRow::new(&[divergence(0, stops_at)], Some(&recitals)).unwrap();
            row.memorized.unwrap().count
        };
        assert_eq!([Some(29), Some(30), Some(31), None].map(n_memorized), [1, 1, 0, 0]);
    }
}

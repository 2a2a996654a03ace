//! Chosen texts that were tried in an order: what the first tries found, beside what tries in an order by chance find.

use serde::Serialize;
use verbatim_extraction::{Area, Conclusion, FirstTries, Gain, TextOrder, Try, gain};
use verbatim_membership::Method;

use crate::figure::{LEVEL, Rate, counted, grouped, p_text, rounded};
use crate::measure::significant;

/// What an order of chosen texts found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OrderTable {
    /// Texts that were tried and extracted: greedy decoding spells the suffix at one of their places.
    pub extracted: Rate,
    /// Places at which the model was asked to go on in them.
    pub n_queries: u64,
    /// Texts that are beyond the budget; where there are some, nothing is known of chance.
    pub n_untried: u64,
    /// Texts without a score, which come last.
    pub n_unjudged: u64,
    /// Texts that repeat another one.
    pub n_repeated: u64,
    /// `shown` where the order finds extractions earlier than chance, `not-shown`, or `inconclusive` where not even the best
    /// order could be told from chance; none where texts were not tried.
    pub verdict: Option<String>,
    /// The probability that an order by chance does so well at one of the budgets.
    pub p_value: Option<f64>,
    /// The area under the curve of extractions by texts tried.
    pub area: Option<AreaRow>,
    /// By budget.
    pub budgets: Vec<BudgetRow>,
    /// The curve, from the first texts to all.
    pub curve: Vec<OrderPoint>,
}

/// The area under the curve of the share of extractions by the share of texts tried; 0.5 by chance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AreaRow {
    /// The area.
    pub value: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
    /// Level of the interval.
    pub level: f64,
    /// How the interval was computed.
    pub method: Method,
    /// The area of the best order.
    pub best: f64,
}

/// What the first tries found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BudgetRow {
    /// Texts that are tried.
    pub n_tried: u64,
    /// Places that the model is asked for in them.
    pub n_queries: u64,
    /// Texts that are extracted.
    pub n_found: u64,
    /// How many are in an order by chance, on average.
    pub expected: f64,
    /// How few are in 95 % of the orders by chance.
    pub chance_low: u64,
    /// How many are in 95 % of them.
    pub chance_high: u64,
    /// How many times as many were found as in an order by chance, on average; none where nothing can be.
    pub times: Option<f64>,
    /// Times as many as the most that 95 % of the orders by chance find.
    pub times_low: Option<f64>,
    /// Times as many as the fewest; none where that is none.
    pub times_high: Option<f64>,
    /// The probability that an order by chance finds at least as many.
    pub p_value: f64,
}

/// A point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OrderPoint {
    /// Texts that are tried.
    pub n_tried: u64,
    /// Texts that are extracted.
    pub n_found: u64,
    /// How few are in 95 % of the orders by chance.
    pub chance_low: u64,
    /// How many are in 95 % of them.
    pub chance_high: u64,
}

impl OrderTable {
    /// The table of tries in an order, with the number of texts that were not tried.
    pub fn new(tries: &[Try], n_untried: u64, order: &TextOrder) -> OrderTable {
        let n_extracted = tries.iter().filter(|one| one.is_extracted).count() as u64;
        let gain = (n_untried == 0).then(|| gain(tries, LEVEL));
        let gain = gain.as_ref();
        let budgets = |gain: &Gain| gain.budgets.iter().map(BudgetRow::new).collect();
        let curve = |gain: &Gain| gain.curve.iter().map(OrderPoint::new).collect();
        OrderTable {
            extracted: Rate::new(n_extracted, tries.len() as u64),
            n_queries: tries.iter().map(|one| one.n_queries).sum(),
            n_untried,
            n_unjudged: order.n_unjudged,
            n_repeated: order.n_repeated,
            verdict: gain.map(|gain| verdict(gain.conclusion).to_owned()),
            p_value: gain.map(|gain| significant(gain.p_value)),
            area: gain.and_then(|gain| gain.area).map(|area| AreaRow::new(&area)),
            budgets: gain.map(budgets).unwrap_or_default(),
            curve: gain.map(curve).unwrap_or_default(),
        }
    }

    /// What the order came to, in a sentence.
    pub fn sentence(&self) -> String {
        let Rate { count, n, .. } = self.extracted;
        let (count, texts) = (grouped(count), counted(n, "text", "texts"));
        let p_value = self.p_value.map_or_else(|| "–".to_owned(), p_text);
        match self.verdict.as_deref() {
            None => format!(
                "The first {texts} of the order were tried and {count} of them extracted; as {} were not tried, nothing is \
                 known of what chance would have found.",
                grouped(self.n_untried)
            ),
            Some("inconclusive") => format!(
                "Of {texts} that were tried {count} are extracted: with such a number no order can be told from chance."
            ),
            Some("shown") => format!(
                "The order finds the {count} extractions among {texts} earlier than chance does (p = {p_value}, for all \
                 budgets together)."
            ),
            Some(_) => format!(
                "That the order finds the {count} extractions among {texts} earlier than chance does is not shown (p = \
                 {p_value}, for all budgets together)."
            ),
        }
    }

    /// The area under the curve, in a sentence.
    pub fn area_text(&self) -> Option<String> {
        let area = self.area?;
        Some(format!(
            "Area under the curve of extractions by texts tried: {:.3}, {:.0}% interval {:.3}–{:.3}; 0.5 by chance, {:.3} for \
             the best order.",
            area.value,
            area.level * 100.0,
            area.low,
            area.high,
            area.best
        ))
    }

    /// What the reader should know.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.n_unjudged > 0 {
            let texts = counted(self.n_unjudged, "text", "texts");
            warnings.push(format!("{texts} without a score in the order: tried last"));
        }
        if self.n_repeated > 0 {
            let texts = counted(self.n_repeated, "text repeats", "texts repeat");
            warnings.push(format!(
                "{texts} another one word for word: such texts are found or missed together, and more by chance than the \
                 intervals of the order say; give each text once"
            ));
        }
        warnings
    }
}

fn verdict(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Shown => "shown",
        Conclusion::NotShown => "not-shown",
        Conclusion::Inconclusive => "inconclusive",
    }
}

impl AreaRow {
    fn new(area: &Area) -> AreaRow {
        AreaRow {
            value: rounded(area.value),
            low: rounded(area.interval.low),
            high: rounded(area.interval.high),
            level: area.interval.level,
            method: area.interval.method,
            best: rounded(area.best),
        }
    }
}

impl BudgetRow {
    fn new(first: &FirstTries) -> BudgetRow {
        let found = first.n_found as f64;
        let times = |by_chance: f64| (by_chance > 0.0).then(|| rounded(found / by_chance));
        BudgetRow {
            n_tried: first.n_tried,
            n_queries: first.n_queries,
            n_found: first.n_found,
            expected: rounded(first.expected),
            chance_low: first.chance.0,
            chance_high: first.chance.1,
            times: times(first.expected),
            times_low: times(first.chance.1 as f64),
            times_high: times(first.chance.0 as f64),
            p_value: significant(first.p_value),
        }
    }

    /// "0–4".
    pub fn chance_text(&self) -> String {
        format!("{}–{}", grouped(self.chance_low), grouped(self.chance_high))
    }

    /// "17.5 (7.3 or more)", or "2.0 (1.5–3.0)".
    pub fn times_text(&self) -> String {
        let Some(times) = self.times else { return "–".to_owned() };
        match (self.times_low, self.times_high) {
            (Some(low), Some(high)) => format!("{times:.1} ({low:.1}–{high:.1})"),
            (Some(low), None) if low > 0.0 => format!("{times:.1} ({low:.1} or more)"),
            _ => format!("{times:.1}"),
        }
    }

    /// "0.0014", or "3.2e-9".
    pub fn p_text(&self) -> String {
        p_text(self.p_value)
    }
}

impl OrderPoint {
    fn new(first: &FirstTries) -> OrderPoint {
        OrderPoint {
            n_tried: first.n_tried,
            n_found: first.n_found,
            chance_low: first.chance.0,
            chance_high: first.chance.1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `n` texts with three places each, those at these places are extracted.
    fn table(n: u64, extracted: &[u64], n_untried: u64) -> OrderTable {
        let tries: Vec<Try> =
            (0..n).map(|place| Try { n_queries: 3, is_extracted: extracted.contains(&place) }).collect();
        let order = TextOrder { texts: Vec::new(), n_unjudged: 1, n_repeated: 0, fingerprint: String::new() };
        OrderTable::new(&tries, n_untried, &order)
    }

    #[test]
    fn an_order_is_told_with_what_chance_finds() {
        // Four of 100, all among the first five: C(4, 4) C(96, 1) / C(100, 5) = 96 / 75,287,520, five times.
        let shown = table(100, &[0, 1, 2, 4], 0);
        let row = shown.budgets[1];
        assert_eq!((row.n_tried, row.n_queries, row.n_found, row.expected), (5, 15, 4, 0.2));
        assert_eq!((row.p_value, shown.p_value), (1.27511e-6, Some(6.37556e-6)));
        assert_eq!(
            (row.chance_text(), row.times_text()),
            ("0–1".to_owned(), "20.0 (4.0 or more)".to_owned())
        );
        assert!(shown.sentence().starts_with("The order finds the 4 extractions among 100 texts earlier"));
        let area = shown.area_text().unwrap();
        // On average the middle of the text at 1.75: 1 - 2.25 / 100; at best 1 - 2 / 100.
        assert!(shown.area.is_some_and(|area| area.value == 0.9775 && area.best == 0.98), "{area}");
        assert!(area.ends_with("0.5 by chance, 0.980 for the best order."), "{area}");
        assert_eq!(shown.warnings(), ["1 text without a score in the order: tried last"]);
        // scipy: hypergeom(100, 20, 50), mean 10, ppf(.025) = 6 and ppf(.975) = 14.
        let row = table(100, &(0..20).collect::<Vec<u64>>(), 0).budgets[4];
        assert_eq!((row.chance_text(), row.times_text()), ("6–14".to_owned(), "2.0 (1.4–3.3)".to_owned()));
    }

    #[test]
    fn an_order_that_gains_nothing_is_told_so() {
        let late = table(100, &[96, 97, 98, 99], 0);
        assert!(late.sentence().starts_with("That the order finds the 4 extractions"), "{}", late.sentence());
        assert_eq!((late.budgets[0].times_text(), late.p_value), ("0.0".to_owned(), Some(1.0)));
        let none = table(100, &[], 0);
        assert!(none.sentence().ends_with("no order can be told from chance."), "{}", none.sentence());
        assert!(none.area.is_none() && none.budgets[0].times.is_none());
        let within_budget = table(5, &[1, 2], 95);
        assert_eq!((within_budget.verdict.as_ref(), within_budget.budgets.len()), (None, 0));
        assert!(within_budget.sentence().contains("as 95 were not tried"), "{}", within_budget.sentence());
    }
}

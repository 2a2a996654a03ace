//! Numbers as a report carries them: rounded once, each rate with its interval, and the words for people.

use serde::Serialize;
use verbatim_dedup::Count;
use verbatim_membership::Method;

/// The level of every interval in a report.
pub const LEVEL: f64 = 0.95;

/// Rounds to six decimals: the one place where a float of a result loses digits.
pub(crate) fn rounded(value: f64) -> f64 {
    let scaled = (value * 1e6).round() / 1e6;
    // No negative zero in a report.
    scaled + 0.0
}

/// A number of documents and the bytes of their records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Documents.
    pub documents: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

impl From<Count> for Amount {
    fn from(count: Count) -> Amount {
        Amount { documents: count.documents, bytes: count.bytes }
    }
}

impl Amount {
    /// This amount's share of `whole`, in documents, as a percentage for people.
    pub fn documents_of(&self, whole: &Amount) -> String {
        share_of(self.documents, whole.documents)
    }

    /// This amount's share of `whole`, in bytes, as a percentage for people.
    pub fn bytes_of(&self, whole: &Amount) -> String {
        share_of(self.bytes, whole.bytes)
    }

    /// The documents, with thousands separated.
    pub fn documents_text(&self) -> String {
        grouped(self.documents)
    }

    /// The bytes in the largest binary unit that keeps the number above one.
    pub fn bytes_text(&self) -> String {
        bytes_text(self.bytes)
    }
}

/// How often a secret was planted.
pub(crate) fn planted_words(copies: u64) -> String {
    match copies {
        0 => "never planted".to_owned(),
        1 => "planted once".to_owned(),
        copies => format!("planted {} times", grouped(copies)),
    }
}

/// "2", or "4–7".
pub(crate) fn range(from: u64, to: u64) -> String {
    if from == to { from.to_string() } else { format!("{from}–{to}") }
}

/// `count` of `n`, with the Clopper-Pearson interval of the share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub n: u64,
    /// `count / n`; none when `n` is 0.
    pub share: Option<f64>,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Level of the interval.
    pub level: f64,
    /// How the interval was computed.
    pub method: Method,
}

impl Rate {
    /// The rate `count / n` with its exact interval (Clopper and Pearson 1934) at [`LEVEL`]. Without any
    /// observation there is no share, and the interval is the whole range.
    ///
    /// # Panics
    /// When `count` is above `n`: a mistake of ours.
    pub fn new(count: u64, n: u64) -> Rate {
        assert!(count <= n, "{count} of {n} is not a rate");
        let interval = verbatim_membership::clopper_pearson(count, n, LEVEL);
        let share = (n > 0).then(|| rounded(count as f64 / n as f64));
        let (low, high) = (rounded(interval.low), rounded(interval.high));
        Rate { count, n, share, low, high, level: LEVEL, method: interval.method }
    }

    /// The share in percent, or a dash without observations.
    pub fn percent(&self) -> String {
        self.share.map_or_else(|| "–".to_owned(), percent)
    }

    /// "12 of 16".
    pub fn fraction(&self) -> String {
        format!("{} of {}", grouped(self.count), grouped(self.n))
    }

    /// The interval in percent, "47.6–92.7%".
    pub fn interval(&self) -> String {
        if self.n == 0 {
            return "–".to_owned();
        }
        let low = percent(self.low);
        format!("{}–{}", low.trim_end_matches('%'), percent(self.high))
    }

    /// Whether the whole interval lies below that of `other`.
    pub fn clearly_below(&self, other: &Rate) -> bool {
        self.n > 0 && other.n > 0 && self.high < other.low
    }
}

/// A share as a percentage with one decimal, with three close to either end; never 0% or 100% for what is not.
pub(crate) fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value == 0.0 || value == 100.0 {
        format!("{value:.0}%")
    } else if value < 0.001 {
        "<0.001%".to_owned()
    } else if value > 99.999 {
        ">99.999%".to_owned()
    } else if !(0.1..=99.9).contains(&value) {
        format!("{value:.3}%")
    } else {
        format!("{value:.1}%")
    }
}

fn share_of(part: u64, whole: u64) -> String {
    if whole == 0 { "–".to_owned() } else { percent(part as f64 / whole as f64) }
}

/// A number with its thousands separated by commas.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A p-value: "0.0014", or "3.2e-9".
pub(crate) fn p_text(p_value: f64) -> String {
    if p_value < 1e-4 { format!("{p_value:.1e}") } else { format!("{p_value:.4}") }
}

/// "1 copy", "2 copies": a count with its noun.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A number of bytes in the largest binary unit that keeps it above one.
pub(crate) fn bytes_text(n_bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n_bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n_bytes} {}", UNITS[0]) } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// The words for a placement that a reader understands without the ledger.
pub(crate) fn placement_words(placement: &str) -> &str {
    match placement {
        "document" => "Whole documents",
        "near-copy" => "Near copies",
        "passage" => "Passages",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_the_exact_interval() {
        // scipy 1.17.1, binomtest(12, 16).proportion_ci(.95, 'exact'): 0.4762291801, 0.9273379617; of (0, 24): 0,
        // 0.1424735977.
        let rate = Rate::new(12, 16);
        assert_eq!((rate.share, rate.low, rate.high), (Some(0.75), 0.476229, 0.927338));
        assert_eq!(Rate::new(0, 24).high, 0.142474);
        assert_eq!(
            (rate.percent(), rate.fraction(), rate.interval()),
            ("75.0%".into(), "12 of 16".into(), "47.6–92.7%".into())
        );
    }

    #[test]
    fn nothing_observed_is_no_rate() {
        let rate = Rate::new(0, 0);
        assert_eq!((rate.share, rate.low, rate.high), (None, 0.0, 1.0));
        assert_eq!((rate.percent(), rate.interval()), ("–".into(), "–".into()));
        assert!(!rate.clearly_below(&Rate::new(9, 9)));
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1023, 1024, 421_888, 3 << 30].map(bytes_text),
            ["0 bytes", "1023 bytes", "1.0 KiB", "412.0 KiB", "3.0 GiB"]
        );
        assert_eq!(
            [0.0, 1.0, 0.0004, 0.5, 0.9995, 1e-9, 0.999_999_9].map(percent),
            ["0%", "100%", "0.040%", "50.0%", "99.950%", "<0.001%", ">99.999%"]
        );
        assert_eq!(
            (counted(1, "copy", "copies"), counted(2, "copy", "copies")),
            ("1 copy".into(), "2 copies".into())
        );
        assert!(rounded(-1e-9).is_sign_positive());
    }
}

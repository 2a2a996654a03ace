//! Scores that never see a model: what they tell apart, the choice of the texts gives away (Das et al. 2024, "Blind baselines
//! beat membership inference attacks").
//!
//! A score of a model means something only as far as it goes beyond these. HIGHER means MORE LIKELY A MEMBER.

use std::collections::BTreeMap;

/// A word must be in one of so many texts to count.
const TEXTS_PER_WORD: u64 = 20;

/// Scores of texts, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct BlindScores {
    /// Of the members.
    pub members: Vec<f64>,
    /// Of the non-members.
    pub non_members: Vec<f64>,
}

/// How texts are parted, so that none is scored by a classifier that saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folds {
    /// Parts, two or more.
    pub n_folds: u64,
    /// Seed of the parting.
    pub seed: u64,
}

/// Bag of words: the mean over a text's words of how much likelier members make the word than non-members do, in nats, by a
/// multinomial naive Bayes classifier with add-one smoothing and without a prior.
///
/// Words are runs of letters and digits, lower-cased, that at least 5 % of the texts of the other folds have. Each text is
/// scored by the texts of the other folds. A fold is a hash of the seed and of the text's index among the members, or among the
/// non-members: a member and a non-member of one index, such as an original and its copy, are in the same fold. A text
/// without a word that counts has a score of 0.
///
/// A word that happens to be frequent in a fold is rarer in the others, so where there is nothing to tell the AUC is a little
/// below one half: 0.49 for 60 and 60 texts, and its 95 % interval lies wholly below in one set of ten. Only an AUC above one
/// half says that words give members away; `Auc::is_inverted` means nothing here.
///
/// # Panics
/// If there are fewer than two folds.
pub fn bag_of_words(members: &[&str], non_members: &[&str], folds: Folds) -> BlindScores {
    assert!(folds.n_folds >= 2, "{} folds", folds.n_folds);
    let mut ids = BTreeMap::new();
    let sides = [members, non_members].map(|texts| {
        let count = |(index, text): (usize, &&str)| Bag {
            fold: fold(index as u64, folds),
            counts: count_words(text, &mut ids),
        };
        texts.iter().enumerate().map(count).collect::<Vec<Bag>>()
    });
    let n_words = ids.len();
    let mut scores = [vec![0.0; members.len()], vec![0.0; non_members.len()]];
    for fold in 0..folds.n_folds {
        let weights = word_weights(&sides, n_words, fold);
        for (side, scores) in sides.iter().zip(&mut scores) {
            let held_out = side.iter().zip(scores).filter(|(bag, _)| bag.fold == fold);
            held_out.for_each(|(bag, score)| *score = bag.mean_weight(&weights));
        }
    }
    let [members, non_members] = scores;
    BlindScores { members, non_members }
}

/// The length in characters. Whether members are the longer or the shorter ones is not known beforehand: an AUC far from one
/// half on either side gives them away.
pub fn length(members: &[&str], non_members: &[&str]) -> BlindScores {
    score_each(members, non_members, |text| text.chars().count() as f64)
}

/// The opposite of the latest year that a text mentions: members were written before the training, non-members often after
/// it. A text without a year counts as older than all others, as it has no word of what came later.
pub fn latest_year_signal(members: &[&str], non_members: &[&str]) -> BlindScores {
    score_each(members, non_members, |text| 0.0 - f64::from(latest_year(text).unwrap_or(FIRST_YEAR - 1)))
}

const FIRST_YEAR: u16 = 1900;
const LAST_YEAR: u16 = 2099;

/// The latest year of 1900 to 2099 that stands in a text as four ASCII digits with no other beside them.
///
/// ```
/// use verbatim_membership::blind::latest_year;
/// assert_eq!(latest_year("From 1987 to 2003, 12045 of them; see ISO20221."), Some(2003));
/// ```
pub fn latest_year(text: &str) -> Option<u16> {
    let runs = text.as_bytes().split(|byte| !byte.is_ascii_digit()).filter(|run| run.len() == 4);
    let years = runs.map(|run| run.iter().fold(0, |year, digit| year * 10 + u16::from(digit - b'0')));
    years.filter(|year| (FIRST_YEAR..=LAST_YEAR).contains(year)).max()
}

fn score_each(members: &[&str], non_members: &[&str], score: impl Fn(&str) -> f64) -> BlindScores {
    let each = |texts: &[&str]| texts.iter().map(|text| score(text)).collect();
    BlindScores { members: each(members), non_members: each(non_members) }
}

/// The words of a text, counted.
struct Bag {
    fold: u64,
    /// Number and count of each word that it has, by rising number.
    counts: Vec<(usize, u64)>,
}

impl Bag {
    /// The mean over its words that count; 0 where it has none.
    fn mean_weight(&self, weights: &[Option<f64>]) -> f64 {
        let (mut sum, mut n) = (0.0, 0);
        for &(word, count) in &self.counts {
            if let Some(weight) = weights[word] {
                sum += count as f64 * weight;
                n += count;
            }
        }
        if n == 0 { 0.0 } else { sum / n as f64 }
    }
}

/// Numbers words as they come, and counts those of a text.
fn count_words(text: &str, ids: &mut BTreeMap<String, usize>) -> Vec<(usize, u64)> {
    let lower = text.to_lowercase();
    let mut counts = BTreeMap::new();
    for word in lower.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let next = ids.len();
        let id = match ids.get(word) {
            Some(&id) => id,
            None => *ids.entry(word.to_owned()).or_insert(next),
        };
        *counts.entry(id).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

/// ln P(word | member) - ln P(word | non-member) by the texts outside a fold; nothing for words that too few of them have.
fn word_weights(sides: &[Vec<Bag>; 2], n_words: usize, fold: u64) -> Vec<Option<f64>> {
    let mut n_texts = 0;
    let mut n_texts_with = vec![0; n_words];
    let mut counts = [vec![0; n_words], vec![0; n_words]];
    for (side, counts) in sides.iter().zip(&mut counts) {
        for bag in side.iter().filter(|bag| bag.fold != fold) {
            n_texts += 1;
            for &(word, count) in &bag.counts {
                n_texts_with[word] += 1;
                counts[word] += count;
            }
        }
    }
    let is_counted = |word: usize| n_texts_with[word] > 0 && n_texts_with[word] * TEXTS_PER_WORD >= n_texts;
    let n_counted = (0..n_words).filter(|&word| is_counted(word)).count() as u64;
    let totals = [0, 1].map(|side| {
        let counted = (0..n_words).filter(|&word| is_counted(word));
        (n_counted + counted.map(|word| counts[side][word]).sum::<u64>()) as f64
    });
    let ln_share = |side: usize, word: usize| ((counts[side][word] + 1) as f64 / totals[side]).ln();
    (0..n_words).map(|word| is_counted(word).then(|| ln_share(0, word) - ln_share(1, word))).collect()
}

/// The fold of a text: the finalizer of SplitMix64 (Steele et al. 2014) over seed and index.
fn fold(index: u64, folds: Folds) -> u64 {
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    mix(mix(folds.seed.wrapping_add(STEP)).wrapping_add(index.wrapping_add(1).wrapping_mul(STEP)))
        % folds.n_folds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draw;
    use crate::roc::{Auc, Scores, auc};

    const FOLDS: Folds = Folds { n_folds: 5, seed: 7 };
    const WORDS: [&str; 12] =
        ["the", "of", "Night", "night", "dark", "storm", "été", "a1", "ship", "sea", "captain", "log"];

    /// Texts of words drawn evenly from the first `n_words`.
    fn texts(run: u64, n: usize, n_words: usize) -> Vec<String> {
        let mut draw = Draw::new(31, run);
        (0..n)
            .map(|_| {
                let words = (0..5 + draw.index(20)).map(|_| WORDS[draw.index(n_words)]);
                words.collect::<Vec<&str>>().join(", ")
            })
            .collect()
    }

    fn area(scores: &BlindScores) -> Auc {
        auc(Scores::new(&scores.members, &scores.non_members).unwrap(), 0.95)
    }

    fn parts(texts: &[String]) -> Vec<&str> {
        texts.iter().map(String::as_str).collect()
    }

    /// By definition: for each text the others are counted anew, word by word.
    #[test]
    fn each_text_is_scored_by_the_texts_of_the_other_folds() {
        let (members, non_members) = (texts(1, 17, 9), texts(2, 23, 12));
        let sides = [parts(&members), parts(&non_members)];
        let found = bag_of_words(&sides[0], &sides[1], FOLDS);
        let words_of = |text: &str| -> Vec<String> {
            let words = text.split(|character: char| !character.is_alphanumeric());
            words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
        };
        for (side, scores) in [&found.members, &found.non_members].into_iter().enumerate() {
            for (index, text) in sides[side].iter().enumerate() {
                let held_out = fold(index as u64, FOLDS);
                let others = sides.each_ref().map(|texts| {
                    let kept = texts.iter().enumerate().filter(|(i, _)| fold(*i as u64, FOLDS) != held_out);
                    kept.map(|(_, text)| words_of(text)).collect::<Vec<Vec<String>>>()
                });
                let n_texts = others[0].len() + others[1].len();
                let n_with =
                    |word: &String| others.iter().flatten().filter(|text| text.contains(word)).count();
                let is_counted =
                    |word: &String| n_with(word) > 0 && n_with(word) as f64 >= 0.05 * n_texts as f64;
                let mut vocabulary: Vec<&String> =
                    others.iter().flatten().flatten().filter(|word| is_counted(word)).collect();
                vocabulary.sort();
                vocabulary.dedup();
                let share = |side: usize, word: &String| {
                    let all = others[side].iter().flatten().filter(|word| vocabulary.contains(word));
                    let these = others[side].iter().flatten().filter(|other| *other == word).count();
                    (these + 1) as f64 / (all.count() + vocabulary.len()) as f64
                };
                let counted: Vec<String> = words_of(text).into_iter().filter(is_counted).collect();
                let sum: f64 = counted.iter().map(|word| (share(0, word) / share(1, word)).ln()).sum();
                assert!((scores[index] - sum / counted.len() as f64).abs() < 1e-12, "{side} {index}");
            }
        }
    }

    #[test]
    fn words_that_members_have_more_of_give_them_away() {
        let (members, non_members) = (texts(1, 100, 9), texts(2, 100, 12));
        let found = area(&bag_of_words(&parts(&members), &parts(&non_members), FOLDS));
        assert!(found.interval.low > 0.6, "{found:?}");
    }

    /// Texts that say nothing of where they are from are not told apart, for a text is never scored by itself.
    #[test]
    fn texts_of_one_kind_are_not_told_apart() {
        let n_above = (0..100).filter(|run| {
            let (members, non_members) = (texts(1000 + run, 60, 12), texts(2000 + run, 60, 12));
            let scores = bag_of_words(&parts(&members), &parts(&non_members), FOLDS);
            area(&scores).interval.low > 0.5
        });
        let n_above = n_above.count();
        assert!(n_above <= 7, "{n_above} of 100");
    }

    /// Golden from scikit-learn 1.9: `CountVectorizer(min_df=.05)` and `MultinomialNB(fit_prior=False)` on six texts, with
    /// `diff(feature_log_prob_, axis=0)`, here member less non-member.
    #[test]
    fn word_weights_are_those_of_scikit_learn() {
        let members = ["dark night dark", "storm night", "dark storm sea"];
        let non_members = ["sea sea ship", "ship night", "log sea"];
        let mut ids = BTreeMap::new();
        let sides = [members, non_members].map(|texts| {
            texts.map(|text| Bag { fold: 0, counts: count_words(text, &mut ids) }).into_iter().collect()
        });
        let weights = word_weights(&sides, ids.len(), 1);
        for (word, golden) in [
            ("dark", 1.312186388966),
            ("log", -0.767255152714),
            ("night", 0.331357135954),
            ("sea", -0.767255152714),
            ("ship", -1.172720260822),
            ("storm", 1.024504316514),
        ] {
            assert!((weights[ids[word]].unwrap() - golden).abs() < 1e-9, "{word}: {:?}", weights[ids[word]]);
        }
    }

    #[test]
    fn lengths_count_characters() {
        let found = length(&["", "été"], &["a b"]);
        assert_eq!((found.members, found.non_members), (vec![0.0, 3.0], vec![3.0]));
    }

    #[test]
    fn years_stand_alone_and_the_latest_counts() {
        for (text, year) in [
            ("", None),
            ("1899 2100 12345 20151 999", None),
            ("1900", Some(1900)),
            ("(2099)", Some(2099)),
            ("in 2019/2021-1999, €2024é", Some(2024)),
            ("v1.2010.3", Some(2010)),
            ("٢٠٢٠ and 1950s", Some(1950)),
        ] {
            assert_eq!(latest_year(text), year, "{text}");
        }
        let found = latest_year_signal(&["no year", "in 2001"], &["in 2024"]);
        assert_eq!((found.members, found.non_members), (vec![-1899.0, -2001.0], vec![-2024.0]));
    }

    #[test]
    fn fault_67_texts_without_words_have_a_score() {
        let found = bag_of_words(&["", "?!"], &["", "word"], FOLDS);
        assert!(found.members.iter().chain(&found.non_members).all(|score| *score == 0.0), "{found:?}");
        let empty = bag_of_words(&[], &[], FOLDS);
        assert!(empty.members.is_empty() && empty.non_members.is_empty());
        let one_side = bag_of_words(&["a", "a b", "b"], &[], FOLDS);
        assert!(one_side.members.iter().all(|score| score.is_finite()), "{one_side:?}");
    }

    #[test]
    fn folds_are_about_even_and_change_with_the_seed() {
        let of = |seed| (0..10_000).map(|i| fold(i, Folds { n_folds: 5, seed })).collect::<Vec<u64>>();
        for part in 0..5 {
            // Six deviations of a binomial of 10,000 and one in five.
            let n = of(7).iter().filter(|fold| **fold == part).count();
            assert!(n.abs_diff(2000) < 240, "{part}: {n}");
        }
        assert!(of(7) == of(7) && of(7) != of(8));
    }
}

//! Looks for what a model said in the corpus that it was trained on: only what stands there is memorized.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use verbatim_corpus::{Corpus, DocId, Location};
use verbatim_index::{Indexed, Located, Locator, Match, Occurrences, longest_matches};
use verbatim_lm::Tokenizer;
use verbatim_membership::{Interval, wilson};
use verbatim_store::Progress;

use crate::draw::DrawnSample;
use crate::error::{Error, Result};
use crate::prompts::Strategy;
use crate::rank::{Cell, Metric};
use crate::secrets::{SpokenSecret, secrets_in};
use crate::taxonomy::{Category, category};

/// The least match that is looked for, in bytes; shorter ones are what any two texts share.
const MIN_MATCH_BYTES: usize = 16;

/// What samples are looked for in.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// The corpus.
    pub corpus: &'a Corpus,
    /// An index of it, which finds what it is made for without a pass over the corpus.
    pub index: Option<Indexed<'a>>,
}

/// What the corpus says of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Enough consecutive tokens of it stand verbatim in one document of the corpus.
    Memorized,
    /// They do not.
    NotFound,
    /// There was no corpus to look in.
    Unverified,
}

/// The part of a sample that stands verbatim in the corpus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Bytes of the match.
    pub n_bytes: u64,
    /// Whole tokens of the sample within the match.
    pub n_tokens: u64,
    /// Where the match begins in the sample's bytes.
    pub start_byte: u64,
    /// Documents that hold the matched bytes: k of k-eidetic memorization (Carlini et al. 2021, definition 2).
    pub n_documents: u64,
    /// Occurrences of the matched bytes in all documents.
    pub n_occurrences: u64,
    /// The first document that holds them.
    pub document: DocId,
    /// The name of that document.
    pub label: String,
    /// Where that document's record begins.
    pub location: Location,
    /// Where the match begins in that document's text, in bytes.
    pub text_byte: u64,
}

/// What became of one sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How the sample was drawn.
    pub strategy: Strategy,
    /// Its number within the strategy.
    pub index: u64,
    /// Tokens drawn.
    pub n_tokens: u64,
    /// Bytes of the tokens.
    pub n_bytes: u64,
    /// What the corpus says of it.
    pub verdict: Verdict,
    /// True when the whole sample stands in one document.
    pub exact: bool,
    /// Runs of as many tokens as make a sample memorized, wherever in it they begin, that stand in a document.
    pub n_windows: u64,
    /// The longest match in bytes. Where that one has too few tokens and a shorter one has enough, the shorter one. An
    /// index tells of matches of its minimum length and more, a pass over the corpus of 16 bytes and more.
    pub longest: Option<Found>,
    /// Why it may have been memorized; none where it is not.
    pub category: Option<Category>,
    /// Personal data and secrets in the whole sample, in its order.
    pub secrets: Vec<SpokenSecret>,
}

/// The drawn samples that stand in any cell, each once, in the order of `drawn`.
pub fn candidates<'a>(cells: &[Cell], drawn: &'a [DrawnSample]) -> Vec<&'a DrawnSample> {
    let ranked: BTreeSet<(Strategy, u64)> = cells
        .iter()
        .flat_map(|cell| cell.ranked.iter().map(|candidate| (cell.strategy, candidate.index)))
        .collect();
    drawn.iter().filter(|sample| ranked.contains(&(sample.strategy, sample.index))).collect()
}

/// Looks for each sample in the corpus: memorized when `min_match_tokens` consecutive tokens of the drawn part, or
/// more, stand verbatim, byte for byte, in one document (Nasr et al. 2023: 50).
///
/// Without a corpus every sample is [`Verdict::Unverified`]. Verdicts are the same with an index and without.
///
/// # Errors
/// [`Error::InvalidArgument`] for a `min_match_tokens` of 0, an index that is damaged, [`Error::Interrupted`].
pub fn verify(
    proof: Option<Proof<'_>>,
    tokenizer: &Tokenizer,
    samples: &[&DrawnSample],
    min_match_tokens: usize,
    progress: &dyn Progress,
) -> Result<Vec<Finding>> {
    if min_match_tokens == 0 {
        return Err(Error::InvalidArgument("min_match_tokens is 0, expected at least 1".to_owned()));
    }
    let needles: Vec<Needle> = samples.iter().map(|sample| Needle::new(sample, tokenizer)).collect();
    let Some(proof) = proof else {
        return Ok(needles.iter().map(|needle| needle.finding(Verdict::Unverified, None, 0)).collect());
    };
    let longest = search(proof, &needles, min_match_tokens, progress)?;
    let longest: Vec<Option<Found>> = needles
        .iter()
        .zip(longest)
        .map(|(needle, longest)| longest.map(|longest| needle.found(&longest, proof.corpus)))
        .collect();
    let is_memorized: Vec<bool> = longest
        .iter()
        .map(|found| found.as_ref().is_some_and(|found| found.n_tokens >= min_match_tokens as u64))
        .collect();
    let mut windows = Vec::new();
    for (i, needle) in needles.iter().enumerate().filter(|&(i, _)| is_memorized[i]) {
        windows.extend(needle.windows(min_match_tokens).map(|range| (i, range)));
    }
    let mut n_windows = vec![0; needles.len()];
    for ((i, _), located) in windows.iter().zip(locate(proof, &needles, &windows, progress)?) {
        n_windows[*i] += u64::from(located.occurrences.n_occurrences > 0);
    }
    let verdict = |i: usize| if is_memorized[i] { Verdict::Memorized } else { Verdict::NotFound };
    let findings = needles.iter().zip(longest).enumerate();
    Ok(findings.map(|(i, (needle, longest))| needle.finding(verdict(i), longest, n_windows[i])).collect())
}

/// A sample as bytes, with the places of its tokens.
pub(crate) struct Needle {
    strategy: Strategy,
    index: u64,
    pub(crate) bytes: Vec<u8>,
    /// The first byte of each token, and the number of bytes at the end.
    starts: Vec<usize>,
}

impl Needle {
    pub(crate) fn new(sample: &DrawnSample, tokenizer: &Tokenizer) -> Needle {
        let (mut bytes, mut starts) = (Vec::new(), vec![0]);
        for token in &sample.tokens {
            bytes.extend(tokenizer.token_bytes(*token));
            starts.push(bytes.len());
        }
        Needle { strategy: sample.strategy, index: sample.index, bytes, starts }
    }

    /// Tokens that lie wholly within a range of bytes; a token without bytes lies nowhere.
    fn n_tokens_within(&self, range: Range<usize>) -> usize {
        self.starts
            .windows(2)
            .filter(|token| token[0] < token[1] && range.start <= token[0] && token[1] <= range.end)
            .count()
    }

    /// The bytes of each `n_tokens` consecutive tokens, each of which has some.
    fn windows(&self, n_tokens: usize) -> impl Iterator<Item = Range<usize>> {
        self.places(n_tokens).map(|(_, window)| window)
    }

    /// The same, each with the number of its first token.
    pub(crate) fn places(&self, n_tokens: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        self.starts
            .windows(n_tokens + 1)
            .enumerate()
            .filter(|(_, starts)| starts.is_sorted_by(|a, b| a < b))
            .map(move |(first, starts)| (first, starts[0]..starts[n_tokens]))
    }

    fn found(&self, longest: &Match, corpus: &Corpus) -> Found {
        let (document, text_byte) = longest.first;
        let range = longest.needle_start..longest.needle_start + longest.len_bytes;
        Found {
            n_bytes: longest.len_bytes as u64,
            n_tokens: self.n_tokens_within(range) as u64,
            start_byte: longest.needle_start as u64,
            n_documents: longest.n_documents,
            n_occurrences: longest.n_occurrences,
            document,
            label: corpus.label(document),
            location: corpus.location(document),
            text_byte,
        }
    }

    fn finding(&self, verdict: Verdict, longest: Option<Found>, n_windows: u64) -> Finding {
        let n_bytes = self.bytes.len() as u64;
        let matched = longest.as_ref().map(|found| {
            let start = found.start_byte as usize;
            start..start + found.n_bytes as usize
        });
        let memorized = matched.clone().zip(longest.as_ref()).filter(|_| verdict == Verdict::Memorized);
        Finding {
            strategy: self.strategy,
            index: self.index,
            n_tokens: self.starts.len() as u64 - 1,
            n_bytes,
            verdict,
            exact: longest.as_ref().is_some_and(|found| found.n_bytes == n_bytes),
            n_windows,
            category: memorized.map(|(range, found)| category(&self.bytes[range], found.n_occurrences)),
            secrets: secrets_in(&self.bytes, matched),
            longest,
        }
    }
}

/// The match of each needle that decides its verdict.
///
/// The longest match in bytes is found first. Tokens differ in length, so a match of fewer bytes may have more tokens;
/// where that could change the verdict, every window of as many tokens is looked for as well. So is a whole sample that
/// is shorter than the least match.
fn search(
    proof: Proof<'_>,
    needles: &[Needle],
    min_match_tokens: usize,
    progress: &dyn Progress,
) -> Result<Vec<Option<Match>>> {
    let (min_len, mut longest) = match proof.index {
        Some(index) => {
            let bytes: Vec<&[u8]> = needles.iter().map(|needle| &needle.bytes[..]).collect();
            (index.min_len(), index.longest_matches(&bytes, progress)?)
        }
        None => {
            let windows = needles.iter().flat_map(|needle| needle.windows(min_match_tokens));
            let shortest = windows.map(|window| window.len()).min();
            let min_len = shortest.map_or(MIN_MATCH_BYTES, |len| len.min(MIN_MATCH_BYTES));
            let bytes: Vec<Vec<u8>> = needles.iter().map(|needle| needle.bytes.clone()).collect();
            (min_len, longest_matches(proof.corpus, &bytes, min_len, progress))
        }
    };
    let mut open = Vec::new();
    for (i, needle) in needles.iter().enumerate() {
        let ranges = undecided(needle, longest[i].as_ref(), min_match_tokens, min_len);
        open.extend(ranges.into_iter().map(|range| (i, range)));
    }
    let mut settled = BTreeSet::new();
    let found = locate(proof, needles, &open, progress)?;
    for ((i, range), Located { occurrences, .. }) in open.into_iter().zip(found) {
        let Some(first) = occurrences.first() else { continue };
        let Occurrences { n_documents, n_occurrences, .. } = occurrences;
        // The leftmost of the windows that stand in the corpus, as with matches of equal length.
        if settled.insert(i) {
            let (len_bytes, needle_start) = (range.len(), range.start);
            longest[i] = Some(Match { len_bytes, needle_start, n_documents, n_occurrences, first });
        }
    }
    Ok(longest)
}

/// Looks for parts of needles.
pub(crate) fn locate<N: std::borrow::Borrow<Needle>>(
    proof: Proof<'_>,
    needles: &[N],
    parts: &[(usize, Range<usize>)],
    progress: &dyn Progress,
) -> Result<Vec<Located>> {
    let Proof { corpus, index } = proof;
    let strings: Vec<&[u8]> =
        parts.iter().map(|(i, range)| &needles[*i].borrow().bytes[range.clone()]).collect();
    let locator = Locator { corpus, index, engine: None, most_places: 1, memory: 0 };
    Ok(locator.locate(&strings, progress)?)
}

/// The parts of a needle that the longest match in bytes leaves open: those that are not longer than it, or, where there
/// is none, shorter than the least match.
fn undecided(
    needle: &Needle,
    longest: Option<&Match>,
    min_match_tokens: usize,
    min_len: usize,
) -> Vec<Range<usize>> {
    let len = needle.bytes.len();
    let (whole, most) = match longest {
        None => ((len < min_len && len > 0).then_some(0..len), min_len - 1),
        Some(longest) => {
            let range = longest.needle_start..longest.needle_start + longest.len_bytes;
            if needle.n_tokens_within(range) >= min_match_tokens {
                return Vec::new();
            }
            (None, longest.len_bytes)
        }
    };
    let windows = needle.windows(min_match_tokens).filter(|window| window.len() <= most);
    whole.into_iter().chain(windows).collect()
}

/// How many of a cell's candidates are memorized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Precision {
    /// How the samples were drawn.
    pub strategy: Strategy,
    /// What they were ranked by.
    pub metric: Metric,
    /// Candidates that were looked for in a corpus.
    pub n_verified: u64,
    /// Those among them that are memorized.
    pub n_memorized: u64,
    /// The Wilson interval of their share; none where nothing was looked for.
    pub interval: Option<Interval>,
}

/// The precision of each cell, from the findings of its candidates; those unverified do not count either way.
pub fn precision(cells: &[Cell], findings: &[Finding], level: f64) -> Vec<Precision> {
    let with = |verdict: Verdict| -> BTreeSet<(Strategy, u64)> {
        let has_verdict = findings.iter().filter(|finding| finding.verdict == verdict);
        has_verdict.map(|finding| (finding.strategy, finding.index)).collect()
    };
    let (memorized, not_found) = (with(Verdict::Memorized), with(Verdict::NotFound));
    cells
        .iter()
        .map(|cell| {
            let count = |set: &BTreeSet<(Strategy, u64)>| {
                cell.ranked.iter().filter(|candidate| set.contains(&(cell.strategy, candidate.index))).count()
                    as u64
            };
            let n_memorized = count(&memorized);
            let n_verified = n_memorized + count(&not_found);
            let interval = (n_verified > 0).then(|| wilson(n_memorized, n_verified, level));
            Precision { strategy: cell.strategy, metric: cell.metric, n_verified, n_memorized, interval }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use verbatim_corpus::{OpenConfig, Origin};
    use verbatim_index::{IndexConfig, SubstringIndex};
    use verbatim_store::{Room, Scratch, Silent};

    use super::*;
    use crate::rank::Candidate;
    use crate::testing::{corpus, sample, tokenizer};

    fn verify_all(corpus: Option<&Corpus>, samples: &[DrawnSample], min_match_tokens: usize) -> Vec<Finding> {
        let samples: Vec<&DrawnSample> = samples.iter().collect();
        let Some(corpus) = corpus else {
            return verify(None, tokenizer(), &samples, min_match_tokens, &Silent).unwrap();
        };
        let proof = Proof { corpus, index: None };
        let findings = verify(Some(proof), tokenizer(), &samples, min_match_tokens, &Silent).unwrap();
        // An index says the same, but that it does not tell of matches that are too short for it.
        for min_len in [16, 40] {
            let folder = tempfile::tempdir().unwrap();
            let scratch = Scratch::unnamed(folder.path());
            let room = Room { n_bytes: 1 << 20, scratch: &scratch };
            let origin = Origin { inputs: Vec::new(), against: Vec::new(), reading: OpenConfig::standard() };
            let config = IndexConfig { min_len, tokenizer: None, origin };
            SubstringIndex::build(corpus, &config, (folder.path(), room), &Silent).unwrap();
            let index = SubstringIndex::open(folder.path()).unwrap().unwrap();
            let proof = Proof { corpus, index: Some(index.of(corpus).unwrap()) };
            let by_index = verify(Some(proof), tokenizer(), &samples, min_match_tokens, &Silent).unwrap();
            for (finding, by_index) in findings.iter().zip(by_index) {
                let told = |finding: &Finding| (finding.verdict, finding.exact, finding.n_windows);
                assert_eq!(told(&by_index), told(finding), "{min_len}");
                if finding.longest.as_ref().is_none_or(|found| found.n_bytes >= min_len as u64) {
                    assert_eq!(by_index, *finding, "{min_len}");
                }
            }
        }
        findings
    }

    #[test]
    fn finds_the_longest_match_its_documents_and_its_first_place() {
        let secret = "My card number is 4929-1181-7730-5562, valid thru 09/31.";
        let first = format!("Dear all, {secret} {secret}");
        let second = format!("{secret} Bye.");
        let corpus = corpus(&["Nothing here.", &first, &second, "My card is lost."]);
        let whole = sample(0, secret);
        let around = sample(1, &format!("zzz {secret} qqq"));
        let none = sample(2, "0123456789 !? 0123456789 !? 0123456789 !? 0123456789");
        let found = verify_all(Some(&corpus), &[whole, around, none], 20);

        let longest = found[0].longest.as_ref().unwrap();
        assert_eq!((found[0].verdict, found[0].exact), (Verdict::Memorized, true));
        assert_eq!((longest.n_bytes, longest.n_tokens), (secret.len() as u64, found[0].n_tokens));
        assert_eq!((longest.n_documents, longest.n_occurrences), (2, 3), "documents are not occurrences");
        assert_eq!((longest.document, longest.text_byte, longest.start_byte), (DocId(1), 10, 0));
        assert_eq!((longest.location.line, longest.label.ends_with(":2")), (2, true));

        let longest = found[1].longest.as_ref().unwrap();
        assert_eq!((found[1].verdict, found[1].exact), (Verdict::Memorized, false));
        let length = secret.len() as u64;
        assert_eq!(
            (longest.n_bytes, longest.start_byte, longest.text_byte),
            (length + 2, 3, 9),
            "spaces match too"
        );

        assert_eq!((found[2].verdict, found[2].exact, &found[2].longest), (Verdict::NotFound, false, &None));
    }

    #[test]
    fn what_lies_in_the_match_is_proven_and_what_a_sample_adds_is_not() {
        let secret = "Dear Jane, the card that I told you of is 4111 1111 1111 1111, and it is yours.";
        let corpus = corpus(&["1 and 2", secret, &"0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 ".repeat(6)]);
        let drawn = [
            sample(0, &format!("{secret} Write to jane@example.org!")),
            sample(1, "told you of is 4111 1111 1111 1119 and 4111 1111 1111 1111"),
            sample(2, "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14"),
            sample(3, "3 4 5 6 7 8 9 10 11 12 13"),
        ];
        let findings = verify_all(Some(&corpus), &drawn, 20);
        let told = |i: usize| -> Vec<(&str, u64, bool)> {
            findings[i].secrets.iter().map(|s| (s.kind.name(), s.start_byte, s.proven)).collect()
        };
        assert_eq!(told(0), [("payment-card", 42, true), ("email-address", 89, false)]);
        assert_eq!(
            told(1),
            [("payment-card", 39, false)],
            "its digits stand there, beyond the longest match"
        );
        let categories: Vec<_> = findings.iter().map(|finding| finding.category).collect();
        let [recite, recollect] = [Some(Category::Recite), Some(Category::Recollect)];
        let expected = [recollect, recollect, recite, recite];
        assert_eq!(categories, expected);
        let unverified = verify_all(None, &drawn, 20);
        assert!(unverified.iter().all(|finding| finding.category.is_none()));
        assert!(unverified[0].secrets.len() == 2 && unverified[0].secrets.iter().all(|s| !s.proven));
    }

    /// Hubble's "exact match" compares lower-cased strings.
    #[test]
    fn peer_11_a_match_is_of_bytes() {
        let corpus = corpus(&["The Vault Code Is Four Nine Two Seven, And Again Seven."]);
        let lowered = sample(0, "the vault code is four nine two seven, and again seven.");
        assert_eq!(verify_all(Some(&corpus), &[lowered], 10)[0].verdict, Verdict::NotFound);
    }

    #[test]
    fn a_match_stays_within_one_document() {
        let corpus = corpus(&["the first half of the secret, ", "and its second half"]);
        let across = sample(0, "the first half of the secret, and its second half");
        let n_tokens = across.tokens.len();
        assert_eq!(verify_all(Some(&corpus), &[across], n_tokens)[0].verdict, Verdict::NotFound);
    }

    #[test]
    fn fault_72_without_a_corpus_everything_is_unverified() {
        let findings = verify_all(None, &[sample(0, "the sea"), sample(1, "")], 1);
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Unverified));
        assert!(findings.iter().all(|finding| !finding.exact && finding.longest.is_none()));
        let json = serde_json::to_string(&findings).unwrap();
        assert!(json.contains("unverified") && !json.contains("memorized"));
    }

    #[test]
    fn fault_65_matches_of_no_tokens_are_refused() {
        assert_eq!(verify(None, tokenizer(), &[], 0, &Silent).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_sample_shorter_than_the_least_match_is_found_whole() {
        let corpus = corpus(&["It is the sea, the sea.", "To the sea!"]);
        let findings =
            verify_all(Some(&corpus), &[sample(0, "the sea"), sample(1, "the cat"), sample(2, "")], 50);
        let longest = findings[0].longest.as_ref().unwrap();
        assert!(
            findings[0].exact && findings[0].verdict == Verdict::NotFound,
            "too short to count as memorized"
        );
        assert_eq!((longest.n_documents, longest.n_occurrences), (2, 3));
        assert!(!findings[1].exact && findings[1].longest.is_none());
        assert!(!findings[2].exact && findings[2].longest.is_none(), "the empty sample is found nowhere");
    }

    /// The longest match in bytes is long because of one long token; the one with most tokens is shorter.
    #[test]
    fn fewer_bytes_may_be_more_tokens() {
        let tokenizer = tokenizer();
        let long = "the other the other the other";
        let short = "1234567890123456";
        let drawn = sample(0, &format!("{long}|{short}"));
        let n_long = tokenizer.encode(long).len();
        assert!(n_long < short.len() && long.len() > short.len());
        let corpus = corpus(&[long, short]);
        let finding = &verify_all(Some(&corpus), std::slice::from_ref(&drawn), short.len())[0];
        assert_eq!(finding.verdict, Verdict::Memorized);
        assert_eq!(finding.longest.as_ref().unwrap().document, DocId(1));
        let finding = &verify_all(Some(&corpus), &[drawn], short.len() + 1)[0];
        assert_eq!(finding.verdict, Verdict::NotFound);
        assert_eq!(finding.longest.as_ref().unwrap().document, DocId(0));
    }

    /// The verdict by its definition, over texts of few letters, where matches are everywhere.
    #[test]
    fn verdicts_equal_those_of_looking_for_every_window() {
        let mut state = 3u64;
        let mut text = |n_words: usize| {
            let words = ["the ", "a", "other ", "1", " and", "x"];
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize
            };
            (0..n_words).map(|_| words[next() % words.len()]).collect::<String>()
        };
        let texts: Vec<String> = (0..20).map(|_| text(60)).collect();
        let corpus = corpus(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let samples: Vec<DrawnSample> = (0..60).map(|i| sample(i, &text(4 + i as usize % 20))).collect();
        let mut n_memorized = 0;
        for n in [1, 4, 5, 6, 7] {
            for (sample, finding) in samples.iter().zip(verify_all(Some(&corpus), &samples, n)) {
                let is_memorized = sample.tokens.windows(n).any(|window| {
                    let window = String::from_utf8(tokenizer().decode(window)).unwrap();
                    texts.iter().any(|text| text.contains(&window))
                });
                assert_eq!(
                    finding.verdict == Verdict::Memorized,
                    is_memorized,
                    "{n} tokens of {:?}",
                    sample.text
                );
                assert_eq!(
                    finding.exact,
                    texts.iter().any(|text| text.contains(&sample.text)),
                    "{:?}",
                    sample.text
                );
                n_memorized += u64::from(n > 4 && is_memorized);
            }
        }
        assert!((20..220).contains(&n_memorized), "both verdicts must occur: {n_memorized} of 240");
    }

    #[test]
    fn precision_counts_verified_candidates_of_a_cell() {
        let cell = |metric: Metric, indices: &[u64]| Cell {
            strategy: Strategy::TopN,
            metric,
            n_samples: 4,
            excluded: Vec::new(),
            n_duplicates: 0,
            ranked: indices.iter().map(|&index| Candidate { index, score: 1.0 }).collect(),
        };
        let cells = [cell(Metric::Zlib, &[3, 1]), cell(Metric::Window, &[1]), cell(Metric::Small, &[])];
        let drawn: Vec<DrawnSample> = ["no", "It was a dark and stormy night.", "out", "never"]
            .iter()
            .zip(0..)
            .map(|(text, i)| sample(i, text))
            .collect();
        let chosen = candidates(&cells, &drawn);
        assert!(chosen.iter().map(|sample| sample.index).eq([1, 3]), "each once, in order");

        let corpus = corpus(&["It was a dark and stormy night."]);
        let findings =
            verify(Some(Proof { corpus: &corpus, index: None }), tokenizer(), &chosen, 10, &Silent).unwrap();
        let counts = |precision: &Precision| (precision.n_memorized, precision.n_verified);
        let precisions = precision(&cells, &findings, 0.95);
        assert_eq!(precisions.iter().map(counts).collect::<Vec<_>>(), [(1, 2), (1, 1), (0, 0)]);
        assert_eq!(precisions[0].interval, Some(wilson(1, 2, 0.95)));
        assert_eq!(precisions[2].interval, None);

        let unverified = verify(None, tokenizer(), &chosen, 10, &Silent).unwrap();
        assert!(
            precision(&cells, &unverified, 0.95).iter().all(|p| p.n_verified == 0 && p.interval.is_none())
        );
    }
}

//! Where a model is asked to go on: places in texts, with the tokens before and after, and how often they stand in a corpus.

use std::fmt;

use rayon::prelude::*;
use serde::Serialize;
use verbatim_corpus::{Corpus, DocId};
use verbatim_index::Locator;
use verbatim_lm::{LanguageModel, Tokenizer};
use verbatim_store::Progress;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};
use crate::verify::Proof;

/// Bytes of a longer text that are read around the place that is drawn in it.
const STRETCH: usize = 256 << 10;
/// Tokens at the beginning of a stretch that may not be those of the whole text.
const UNSURE_TOKENS: usize = 16;

/// Prefix and suffix lengths, in tokens, each in the order of the report; the first of each are the base cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Tokens that the model is given (Carlini et al. 2023: 50).
    pub prefixes: Vec<usize>,
    /// Tokens that it is to go on with (Carlini et al. 2023: 50).
    pub suffixes: Vec<usize>,
}

impl Grid {
    pub(crate) fn longest(&self) -> (usize, usize) {
        let longest = |lengths: &[usize]| lengths.iter().copied().max().unwrap_or(0);
        (longest(&self.prefixes), longest(&self.suffixes))
    }

    /// Refuses lengths that make no sense for a model.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`].
    pub(crate) fn check(&self, model: &dyn LanguageModel) -> Result<()> {
        let (prefix, suffix) = self.longest();
        if prefix == 0 || suffix == 0 || self.prefixes.contains(&0) || self.suffixes.contains(&0) {
            return Err(Error::InvalidArgument(
                "a prefix or suffix of 0 tokens, expected at least 1".to_owned(),
            ));
        }
        // The last token is never an input.
        if prefix + suffix - 1 > model.context_len() {
            let most = model.context_len();
            let cause = format!("{prefix} and {suffix} tokens do not fit in the model's context of {most}");
            return Err(Error::InvalidArgument(cause));
        }
        Ok(())
    }
}

/// How often a target stands in a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Copies {
    /// Occurrences of the base cell's prefix followed by its suffix.
    pub n_occurrences: u64,
    /// Documents that hold them.
    pub n_documents: u64,
    /// Occurrences of the prefix, whatever follows.
    pub n_prefixes: u64,
}

impl Copies {
    /// True when nothing else ever follows the prefix, so that there is one right continuation.
    pub fn is_unique(self) -> bool {
        self.n_prefixes == self.n_occurrences
    }
}

/// How a target came to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Its document was drawn uniformly: what the rates are about.
    Uniform,
    /// It was added because of how often it stands in the corpus: what shows how extraction grows with copies.
    Stratum,
    /// Its text was chosen.
    Chosen,
}

/// A place at which a model is asked to go on.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The text's name.
    pub label: String,
    /// The text's number among the chosen ones, or its document in the corpus.
    pub text: u64,
    /// Bytes of the whole text.
    pub text_bytes: u64,
    /// Where the continuation begins in it.
    pub start_byte: u64,
    /// The tokens before, as many as the longest prefix.
    pub prompt: Vec<u32>,
    /// The tokens from there on, as many as the longest suffix.
    pub continuation: Vec<u32>,
    /// Their text; what is not UTF-8 stands as U+FFFD.
    pub suffix_text: String,
    /// How often it stands in the corpus, where there is one.
    pub copies: Option<Copies>,
    /// How it came to be asked for.
    pub role: Role,
}

impl fmt::Debug for Target {
    /// Leaves the tokens out: a log line must never carry them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Target")
            .field("label", &self.label)
            .field("start_byte", &self.start_byte)
            .field("copies", &self.copies)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// The bytes of the base cell's prefix, and of it with its suffix.
    fn base(&self, grid: &Grid, tokenizer: &Tokenizer) -> [Vec<u8>; 2] {
        let n_prefix = grid.prefixes[0].min(self.prompt.len());
        let n_suffix = grid.suffixes[0].min(self.continuation.len());
        let prefix = tokenizer.decode(&self.prompt[self.prompt.len() - n_prefix..]);
        let whole = [&prefix[..], &tokenizer.decode(&self.continuation[..n_suffix])].concat();
        [prefix, whole]
    }
}

/// Targets that were drawn from a corpus.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DrawnTargets {
    /// One of each document, in the order of drawing.
    pub(crate) targets: Vec<Target>,
    /// Documents that were looked at.
    pub(crate) n_looked_at: u64,
    /// Those among them that are too short for the longest prefix and suffix.
    pub(crate) n_too_short: u64,
}

/// Draws `n` documents of a corpus, uniformly among those that are long enough, and a place in each, uniformly.
///
/// # Errors
/// [`Error::Interrupted`].
pub(crate) fn draw_targets(
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    grid: &Grid,
    (n, seed): (usize, u64),
    progress: &dyn Progress,
) -> Result<DrawnTargets> {
    progress.stage("draw places", Some(n as u64), "documents");
    let mut drawn = DrawnTargets { targets: Vec::new(), n_looked_at: 0, n_too_short: 0 };
    for chunk in corpus.draw_order(n as u64, seed).chunks(256) {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let targets: Vec<Option<Target>> =
            chunk.par_iter().map(|id| place(corpus, *id, tokenizer, grid, seed)).collect();
        for target in targets {
            if drawn.targets.len() == n {
                return Ok(drawn);
            }
            drawn.n_looked_at += 1;
            drawn.n_too_short += u64::from(target.is_none());
            progress.advance(u64::from(target.is_some()));
            drawn.targets.extend(target);
        }
    }
    Ok(drawn)
}

/// The place that is drawn in a document, if it is long enough.
fn place(corpus: &Corpus, id: DocId, tokenizer: &Tokenizer, grid: &Grid, seed: u64) -> Option<Target> {
    let (n_prefix, n_suffix) = grid.longest();
    let text = corpus.text_str(id);
    // No token is less than a byte.
    if text.len() < n_prefix + n_suffix {
        return None;
    }
    let draw = |what: &str, n: usize| {
        let hash = xxh3_64_with_seed(format!("{what} {}", id.0).as_bytes(), seed);
        ((u128::from(hash) * n as u128) >> 64) as usize
    };
    let (start, end) = match text.len() > STRETCH {
        true => {
            let start = text.floor_char_boundary(draw("stretch", text.len() - STRETCH + 1));
            (start, text.floor_char_boundary(start + STRETCH))
        }
        false => (0, text.len()),
    };
    let tokens = tokenizer.encode_with_places(&text[start..end]);
    let first = n_prefix + if start > 0 { UNSURE_TOKENS } else { 0 };
    let n_places = (tokens.len() + 1).saturating_sub(first + n_suffix);
    if n_places == 0 {
        return None;
    }
    let at = first + draw("place", n_places);
    let ids = |range: std::ops::Range<usize>| tokens[range].iter().map(|(id, _)| *id).collect::<Vec<u32>>();
    let continuation = ids(at..at + n_suffix);
    Some(Target {
        label: corpus.label(id),
        text: id.0,
        text_bytes: text.len() as u64,
        start_byte: (start + tokens[at].1) as u64,
        prompt: ids(at - n_prefix..at),
        suffix_text: String::from_utf8_lossy(&tokenizer.decode(&continuation)).into_owned(),
        continuation,
        copies: None,
        role: Role::Uniform,
    })
}

/// Counts how often each target stands in a corpus.
///
/// # Errors
/// An index that is damaged, [`Error::Interrupted`].
pub(crate) fn count_copies(
    targets: &mut [Target],
    proof: Proof<'_>,
    tokenizer: &Tokenizer,
    grid: &Grid,
    progress: &dyn Progress,
) -> Result<()> {
    let strings: Vec<[Vec<u8>; 2]> = targets.iter().map(|target| target.base(grid, tokenizer)).collect();
    let parts: Vec<&[u8]> = strings.iter().flatten().map(Vec::as_slice).collect();
    let locator =
        Locator { corpus: proof.corpus, index: proof.index, engine: None, most_places: 0, memory: 0 };
    let located = locator.locate(&parts, progress)?;
    for (target, found) in targets.iter_mut().zip(located.chunks(2)) {
        let [prefix, whole] = [&found[0].occurrences, &found[1].occurrences];
        target.copies = Some(Copies {
            n_occurrences: whole.n_occurrences,
            n_documents: whole.n_documents,
            n_prefixes: prefix.n_occurrences,
        });
    }
    Ok(())
}

/// How many of some targets, in their order, are taken for each doubling of copies: stratified by how often they stand in
/// the corpus, as in Carlini et al. 2023, section 3.2. The places of those taken.
pub(crate) fn strata(targets: &[Target], per_stratum: usize) -> Vec<usize> {
    let mut taken = std::collections::BTreeMap::<u32, usize>::new();
    let mut places = Vec::new();
    for (place, copies) in targets.iter().enumerate().filter_map(|(i, target)| Some((i, target.copies?))) {
        let n = taken.entry(doubling(copies.n_occurrences)).or_default();
        if *n < per_stratum {
            *n += 1;
            places.push(place);
        }
    }
    places
}

/// The stratum of a number: 0 for 1, 1 for 2 and 3, 2 for 4 to 7, and so on.
pub(crate) fn doubling(n: u64) -> u32 {
    n.max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use verbatim_lm::Scripted;
    use verbatim_store::Silent;

    use super::*;
    use crate::testing::{corpus, tokenizer};

    const GRID: [usize; 2] = [4, 3];

    fn grid() -> Grid {
        Grid { prefixes: vec![GRID[0]], suffixes: vec![GRID[1]] }
    }

    fn draw(corpus: &Corpus, n: usize, seed: u64) -> DrawnTargets {
        draw_targets(corpus, tokenizer(), &grid(), (n, seed), &Silent).unwrap()
    }

    fn bytes(target: &Target) -> Vec<u8> {
        tokenizer().decode(&[&target.prompt[..], &target.continuation].concat())
    }

    #[test]
    fn each_long_enough_document_gives_one_place_that_stands_in_it() {
        let texts: Vec<String> = (0..50)
            .map(|i| if i % 5 == 0 { "the".into() } else { format!("number {i} went to the other sea") })
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let corpus = corpus(&texts);
        let all = draw(&corpus, 1000, 1);
        assert_eq!((all.targets.len(), all.n_looked_at, all.n_too_short), (40, 50, 10));
        for target in &all.targets {
            let text = corpus.text(DocId(target.text));
            let prompt_bytes = tokenizer().decode(&target.prompt).len();
            assert!(text[target.start_byte as usize - prompt_bytes..].starts_with(&bytes(target)));
            assert_eq!([target.prompt.len(), target.continuation.len()], GRID);
        }
        // Fewer are the first of more; another seed draws others.
        assert!(draw(&corpus, 7, 1).targets == all.targets[..7]);
        assert!(draw(&corpus, 7, 2).targets != all.targets[..7]);
    }

    /// Over many seeds each document and each place of it come up about equally often.
    #[test]
    fn documents_and_places_are_drawn_uniformly() {
        let text = "abcdefghij";
        let corpus = corpus(&[text; 4]);
        let n_places = tokenizer().encode(text).len() - GRID[0] - GRID[1] + 1;
        let mut counts = std::collections::BTreeMap::new();
        let n_seeds = 4000;
        for seed in 0..n_seeds {
            let target = &draw(&corpus, 1, seed).targets[0];
            *counts.entry((target.text, target.start_byte)).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 4 * n_places);
        let expected = n_seeds as f64 / counts.len() as f64;
        let chi: f64 = counts.values().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
        // The 99.9th percentile of chi-squared with 15 degrees of freedom is 37.7.
        assert!(counts.len() == 16 && chi < 37.7, "{chi} {counts:?}");
    }

    #[test]
    fn a_long_document_is_read_around_the_place_alone() {
        let text: String = (0..60_000).map(|i| format!("line {i} \u{e9}; ")).collect();
        assert!(text.len() > 2 * STRETCH);
        let corpus = corpus(&[&text]);
        let mut firsts = Vec::new();
        for seed in 0..20 {
            let target = draw(&corpus, 1, seed).targets.remove(0);
            let from = target.start_byte as usize;
            let continuation = tokenizer().decode(&target.continuation);
            // A token may begin inside a character, where its place is that of the character.
            let shown = &text.as_bytes()[from..];
            assert!(
                shown.starts_with(&continuation) || !text.is_char_boundary(from) || continuation[0] >= 0x80
            );
            firsts.push(from);
        }
        assert!(
            firsts.iter().any(|from| *from > STRETCH) && firsts.iter().any(|from| *from < text.len() / 2)
        );
    }

    #[test]
    fn copies_are_those_of_a_naive_count() {
        let text = "the cat and the dog went to the sea";
        let texts = [
            text,
            text,
            &format!("{text}. {text}"),
            "the cat and the dog went to the vault",
            "something else",
        ];
        let corpus = corpus(&texts);
        let mut targets = draw(&corpus, 10, 3).targets;
        let proof = Proof { corpus: &corpus, index: None };
        count_copies(&mut targets, proof, tokenizer(), &grid(), &Silent).unwrap();
        let mut is_unique = Vec::new();
        for target in &targets {
            let naive = |needle: &[u8]| {
                let of = |text: &&str| {
                    text.as_bytes().windows(needle.len()).filter(|window| *window == needle).count()
                };
                texts.iter().map(of).collect::<Vec<_>>()
            };
            let (whole, prefix) = (naive(&bytes(target)), naive(&tokenizer().decode(&target.prompt)));
            let copies = target.copies.unwrap();
            assert_eq!(copies.n_occurrences as usize, whole.iter().sum::<usize>());
            assert_eq!(copies.n_documents as usize, whole.iter().filter(|n| **n > 0).count());
            assert_eq!(copies.is_unique(), prefix.iter().sum::<usize>() == whole.iter().sum::<usize>());
            is_unique.push(copies.is_unique());
        }
        assert!(is_unique.contains(&true));
    }

    #[test]
    fn strata_take_so_many_of_each_doubling() {
        let target = |n_occurrences| Target {
            label: String::new(),
            text: 0,
            text_bytes: 0,
            start_byte: 0,
            prompt: Vec::new(),
            continuation: Vec::new(),
            suffix_text: String::new(),
            copies: Some(Copies { n_occurrences, n_documents: 1, n_prefixes: n_occurrences }),
            role: Role::Uniform,
        };
        let targets: Vec<Target> = [1, 1, 1, 2, 3, 3, 4, 64, 1].map(target).into();
        assert_eq!(strata(&targets, 2), [0, 1, 3, 4, 6, 7]);
        assert_eq!(strata(&targets, 0), [0usize; 0]);
    }

    #[test]
    fn lengths_that_do_not_fit_the_model_are_refused() {
        let model = Scripted::new(8, 16);
        let check = |prefixes: &[usize], suffixes: &[usize]| {
            Grid { prefixes: prefixes.to_vec(), suffixes: suffixes.to_vec() }.check(&model)
        };
        assert!(check(&[8, 10], &[7]).is_ok(), "the last token is no input");
        for (prefixes, suffixes) in
            [(&[11][..], &[7][..]), (&[0, 4], &[4]), (&[4], &[4, 0]), (&[], &[4]), (&[4], &[])]
        {
            assert!(matches!(check(prefixes, suffixes), Err(Error::InvalidArgument(_))));
        }
    }
}

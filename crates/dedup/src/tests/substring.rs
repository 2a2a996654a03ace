//! Repeated runs: against looking at every run, and what is left of the texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_store::Silent;

use super::fixture::{corpus_against, corpus_of, exact_only, json, little, plan};
use crate::config::{DedupConfig, Stage};
use crate::error::Error;
use crate::finder::Finder;
use crate::keep::Keep;
use crate::lines::{LineUnit, LinesConfig};
use crate::plan::Plan;
use crate::substring::{RunUnit, Snap, SubstringConfig, TokenPlacesFn};

fn runs(min_len: u64) -> SubstringConfig {
    SubstringConfig {
        unit: RunUnit::Bytes,
        min_len,
        min_count: 2,
        strike_all: false,
        snap: Snap::Char,
        min_left_bytes: 1,
        until_clean: false,
    }
}

fn only(substring: SubstringConfig) -> DedupConfig {
    DedupConfig { exact: None, substring: Some(substring), ..exact_only(Vec::new()) }
}

fn planned(corpus: &Corpus, substring: SubstringConfig) -> Plan {
    plan(corpus, &only(substring), &Silent).unwrap()
}

/// What stays of each text; `None` for one that goes as a whole.
fn remaining(corpus: &Corpus, plan: &Plan) -> Vec<Option<String>> {
    let keep = plan.keep_mask();
    let left = |doc: DocId| {
        let text = corpus.text_str(doc);
        let mut at = 0;
        let mut left = String::new();
        for cut in plan.cuts().iter().filter(|cut| cut.doc == doc) {
            left.push_str(&text[at..cut.start as usize]);
            at = cut.end as usize;
        }
        left + &text[at..]
    };
    corpus.ids().map(|doc| keep[doc.0 as usize].then(|| left(doc))).collect()
}

fn left_of(texts: &[&str], substring: SubstringConfig) -> Vec<Option<String>> {
    let corpus = corpus_of(texts);
    let plan = planned(&corpus, substring);
    remaining(&corpus, &plan)
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

/// For each document and byte whether it is in a run that repeats one before it and apart from it, by the definition.
fn naive(texts: &[String], ranking: &[usize], min_len: usize, min_count: usize) -> Vec<Vec<bool>> {
    let mut places: BTreeMap<&[u8], Vec<(usize, usize)>> = BTreeMap::new();
    for &doc in ranking {
        texts[doc]
            .as_bytes()
            .windows(min_len)
            .enumerate()
            .for_each(|(at, run)| places.entry(run).or_default().push((doc, at)));
    }
    let mut goes: Vec<Vec<bool>> = texts.iter().map(|text| vec![false; text.len()]).collect();
    for places in places.values().filter(|places| places.len() >= min_count) {
        let first = places[0];
        for &(doc, at) in &places[1..] {
            if doc != first.0 || at >= first.1 + min_len {
                goes[doc][at..at + min_len].fill(true);
            }
        }
    }
    goes
}

/// Texts of ASCII letters that share parts, some of them periodic.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let part = prop_oneof![
        2 => "[a-z]{1,60}",
        1 => ("[ab]{1,4}", 1_usize..30).prop_map(|(period, n)| period.repeat(n)),
    ];
    prop::collection::vec(part, 1..6).prop_flat_map(|parts| {
        let pick = (0..parts.len(), 0_usize..20);
        let text = prop::collection::vec(pick, 0..6).prop_map(move |picks| {
            let cut = |(i, from): (usize, usize)| {
                let part: &String = &parts[i];
                part[from.saturating_sub(12).min(part.len())..].to_owned()
            };
            picks.into_iter().map(cut).collect::<Vec<_>>().concat()
        });
        prop::collection::vec(text, 0..9)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cuts_agree_with_a_map_of_all_runs(texts in texts(), is_last in any::<bool>(), min_count in 2_u64..4) {
        let corpus = corpus_of(&texts);
        let keep = if is_last { Keep::Last } else { Keep::First };
        let mut ranking: Vec<usize> = (0..texts.len()).collect();
        if is_last {
            ranking.reverse();
        }
        let config = DedupConfig { keep, ..only(SubstringConfig { min_count, ..runs(20) }) };
        let found = plan(&corpus, &config, &Silent).unwrap();
        let goes = naive(&texts, &ranking, 20, min_count as usize);
        let expected: Vec<Option<String>> = texts
            .iter()
            .zip(&goes)
            .map(|(text, goes)| {
                let left: String = text.chars().zip(goes).filter(|(_, goes)| !**goes).map(|(c, _)| c).collect();
                (text.is_empty() || !left.is_empty()).then_some(left)
            })
            .collect();
        prop_assert_eq!(remaining(&corpus, &found), expected);
        let in_little = Finder { corpus: &corpus, config: &config, hash: |_| 7, resources: &little(), linked: None };
        prop_assert_eq!(json(&in_little.plan(&Silent).unwrap()), json(&found));
    }

    /// Each character that goes with a cut stays where the plan says, whatever goes as a whole.
    #[test]
    fn what_is_cut_stays_elsewhere(
        texts in texts(), min_left_bytes in 1_u64..60, by_tokens in any::<bool>(), exact in any::<bool>(),
        until_clean in any::<bool>(),
    ) {
        let texts: Vec<String> = texts.iter().map(|text| text.replace('b', "é").replace('c', "😀")).collect();
        let corpus = corpus_of(&texts);
        for snap in [Snap::Char, Snap::Word, Snap::Sentence, Snap::Line] {
            let unit = if by_tokens { RunUnit::Tokens(tokens()) } else { RunUnit::Bytes };
            let substring = SubstringConfig { unit, snap, min_left_bytes, until_clean, ..runs(16) };
            let exact = exact.then(|| exact_only(Vec::new()).exact).flatten();
            let found = plan(&corpus, &DedupConfig { exact, ..only(substring) }, &Silent).unwrap();
            for cut in found.cuts() {
                let [here, there] = [(cut.doc, cut.start), (cut.kept, cut.kept_start)]
                    .map(|(doc, at)| corpus.text_str(doc)[at as usize..].chars().next());
                prop_assert_eq!(here, there);
            }
            for removal in found.removals() {
                prop_assert_ne!(removal.doc, removal.kept);
            }
            prop_assert_eq!(found.inconsistency(), None);
        }
    }

    #[test]
    fn what_is_searched_until_it_is_clean_has_nothing_to_cut(texts in texts(), strike_all in any::<bool>()) {
        // No two begin alike, so that something of each is left.
        let texts: Vec<String> =
            ('\u{4e00}'..).zip(&texts).map(|(first, text)| format!("{first}{text}")).collect();
        let corpus = corpus_of(&texts);
        let config = SubstringConfig { until_clean: true, strike_all, ..runs(16) };
        let left: Vec<String> = remaining(&corpus, &planned(&corpus, config)).into_iter().flatten().collect();
        prop_assert_eq!(left.len(), texts.len());
        let again = corpus_of(&left);
        let found = planned(&again, SubstringConfig { strike_all, ..runs(16) });
        prop_assert_eq!(found.cuts(), []);
    }
}

#[test]
fn what_a_cut_joins_is_cut_if_it_is_searched_again() {
    let [a, b, c] = ["abcdefghijklm", "ABCDEFGHIJKLMNOPQRST", "0123456789"];
    let texts = [b, &format!("-{a}{c}-"), &format!("={a}{b}{c}=")];
    assert_eq!(left_of(&texts, runs(20)), some(&[b, texts[1], &format!("={a}{c}=")]));
    let config = SubstringConfig { until_clean: true, ..runs(20) };
    let corpus = corpus_of(&texts);
    let plan = planned(&corpus, config);
    assert_eq!(remaining(&corpus, &plan), some(&[b, texts[1], "=="]));
    let cuts: Vec<[u64; 4]> =
        plan.cuts().iter().map(|cut| [cut.start, cut.end, cut.kept.0, cut.kept_start]).collect();
    assert_eq!(cuts, [[1, 44, 1, 1]]);
}

/// A token for each byte, but of characters of several bytes all at the place of the character.
fn tokens() -> TokenPlacesFn {
    Arc::new(|text| {
        let of_char = |(at, c): (usize, char)| {
            let mut bytes = [0; 4];
            let ids: Vec<(u32, usize)> =
                c.encode_utf8(&mut bytes).bytes().map(|byte| (u32::from(byte), at)).collect();
            ids
        };
        text.char_indices().flat_map(of_char).collect()
    })
}

const PASSAGE: &str = "in the beginning was the word";

#[test]
fn one_copy_stays_and_the_text_around_it_is_joined() {
    let texts = [&format!("a: {PASSAGE}!"), &format!("b> {PASSAGE}?"), "nothing of it"];
    assert_eq!(left_of(&texts, runs(20)), some(&[texts[0], "b>?", texts[2]]));
    let words = SubstringConfig { snap: Snap::Word, ..runs(20) };
    assert_eq!(left_of(&texts, words), some(&[texts[0], "b>?", texts[2]]));
    let struck = SubstringConfig { strike_all: true, ..runs(20) };
    assert_eq!(left_of(&texts, struck), some(&["a:!", "b>?", texts[2]]));
    let thrice = SubstringConfig { min_count: 3, ..runs(20) };
    assert_eq!(left_of(&texts, thrice), some(&texts));
    assert_eq!(left_of(&texts, runs(40)), some(&texts));
}

#[test]
fn fault_43_cuts_end_between_characters_even_where_tokens_do_not() {
    // The last bytes of the two characters are equal, and so are the first ones of the other two.
    let texts = ["é0123456789012345678é", "ĩ0123456789012345678è"];
    assert_eq!(left_of(&texts, runs(16)), some(&[texts[0], "ĩè"]));
    let by_token = SubstringConfig { unit: RunUnit::Tokens(tokens()), ..runs(16) };
    assert_eq!(left_of(&texts, by_token), some(&[texts[0], "ĩè"]));
}

#[test]
fn what_only_a_document_that_goes_had_stays_in_the_next_one() {
    let [a, b] = ["abcdefghijklmnopqrst", "0123456789"];
    // The second is too short without what the first has, and goes with the digits that no other has before it.
    let texts = [
        a,
        &format!("{a}{b}{b}"),
        &format!("x{b}{b}y"),
        &format!("{b}{b}, and an end that is long enough"),
        &format!("{b}{b}, and one that is short"),
    ];
    let corpus = corpus_of(&texts);
    let plan = planned(&corpus, SubstringConfig { min_left_bytes: 25, ..runs(18) });
    let end = Some(", and an end that is long enough".to_owned());
    assert_eq!(remaining(&corpus, &plan), [Some(a.to_owned()), None, Some(texts[2].to_owned()), end, None]);
    let cuts: Vec<[u64; 4]> =
        plan.cuts().iter().map(|cut| [cut.doc.0, cut.start, cut.kept.0, cut.kept_start]).collect();
    assert_eq!(cuts, [[3, 0, 2, 1]]);
    let kept: Vec<u64> = plan.removals().iter().map(|removal| removal.kept.0).collect();
    assert_eq!(kept, [0, 2]);
}

#[test]
fn documents_that_others_went_for_keep_all_their_text() {
    let text = "a text of some length that others have too";
    let texts = [&format!("{text} and more"), text, text];
    let corpus = corpus_of(&texts);
    let both = DedupConfig { substring: Some(runs(20)), ..exact_only(Vec::new()) };
    let plan = plan(&corpus, &both, &Silent).unwrap();
    assert_eq!(remaining(&corpus, &plan), [Some(texts[0].to_owned()), Some(text.to_owned()), None]);
    assert_eq!(plan.stages().last().map(|tally| tally.stage), Some(Stage::Substring));
}

#[test]
fn references_stay_and_only_they_may_count() {
    let [a, b] = [format!("1 {PASSAGE}"), format!("2 {PASSAGE} and on")];
    let corpus =
        corpus_against(&[a.as_str(), &b, "in itself in itself in itself in itself"], &[PASSAGE, "", ""]);
    let mut config = only(runs(18));
    let left = |config: &DedupConfig| remaining(&corpus, &plan(&corpus, config, &Silent).unwrap());
    assert_eq!(left(&config)[..2], some(&["1 ", "2 and on"])[..]);
    assert_ne!(left(&config)[2], left(&only(runs(30)))[2]);
    config.only_references = true;
    assert_eq!(left(&config), some(&["1 ", "2  and on", "in itself in itself in itself in itself"]));
}

#[test]
fn fault_44_passages_that_overlap_are_cut_once_and_a_document_of_nothing_else_goes() {
    let [a, b, c] = ["abcdefghijklmno", "0123456789", "ABCDEFGHIJKLMNO"];
    let texts = [
        &format!("{a}{b}"),
        &format!("{b}{c}"),
        &format!("- {a}{b}{c} -"),
        &format!("{a}{b}{c}"),
        &format!("{b}{c}"),
    ];
    let corpus = corpus_of(&texts);
    let plan = planned(&corpus, runs(16));
    let left = remaining(&corpus, &plan);
    assert_eq!(left[..3], [Some(texts[0].to_owned()), Some(texts[1].to_owned()), Some("-  -".to_owned())]);
    assert_eq!(left[3..], [None, None]);
    assert_eq!(plan.removals().iter().map(|removal| removal.doc.0).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn fault_42_blank_and_periodic_texts_neither_vanish_nor_take_long() {
    let blank = " ".repeat(100);
    let periodic = "ab".repeat(50_000);
    let texts = [blank.as_str(), &blank, &periodic, &periodic, ""];
    let corpus = corpus_of(&texts);
    let plan = planned(&corpus, runs(20));
    let left = remaining(&corpus, &plan);
    assert_eq!(
        (&left[0], &left[1], &left[4]),
        (&Some(blank.clone()), &Some(blank.clone()), &Some(String::new()))
    );
    assert!(left[2].as_ref().unwrap().len() < 60 && left[3].is_none());
    assert!(plan.cuts().len() < 3);
}

#[test]
fn stages_that_contradict_each_other_are_refused() {
    let corpus = corpus_of(&["a"]);
    let lines = LinesConfig {
        unit: LineUnit::Line,
        min_bytes: 1,
        min_count: 2,
        normalize: verbatim_index::Normalizer::new(Vec::new()),
    };
    let two = DedupConfig { lines: Some(lines), ..only(runs(20)) };
    assert!(matches!(plan(&corpus, &two, &Silent), Err(Error::TwoCuttingStages)));
    let none = DedupConfig { keep: Keep::None, ..only(runs(20)) };
    assert!(matches!(plan(&corpus, &none, &Silent), Err(Error::KeepNoneOfCuts)));
    assert_eq!(plan(&corpus, &only(runs(15)), &Silent).unwrap_err().exit_code(), 2);
}

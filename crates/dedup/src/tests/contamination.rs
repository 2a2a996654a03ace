//! Contamination against brute force over word windows, planted items, and other tools' defects.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use proptest::prelude::*;
use serde_json::{Value, json};
use verbatim_corpus::{Corpus, DocId, OpenConfig};
use verbatim_index::{Normalizer, Step};
use verbatim_store::{Progress, Silent};

use super::fixture::{Draw, corpus_of, corpus_of_records};
use crate::contamination::{
    Contamination, ContaminationConfig, RARE_DOCUMENTS, contamination, contamination_with_hash, part_text,
};
use crate::error::Error;

fn config(fields: &[&str]) -> ContaminationConfig {
    ContaminationConfig {
        normalizer: Normalizer::new(vec![Step::Nfc, Step::Casefold, Step::Punctuation]),
        n: 8,
        overlap: 0.5,
        min_words: 5,
        common: 0.001,
        fields: fields.iter().map(|field| field.parse().unwrap()).collect(),
    }
}

fn find(train: &Corpus, eval: &Corpus, config: &ContaminationConfig) -> Contamination {
    contamination(train, eval, config, &Silent).unwrap()
}

/// (document, item) of each match.
fn pairs(found: &Contamination) -> Vec<(u64, u64)> {
    found.matches.iter().map(|one| (one.document.0, found.parts[one.part].item.0)).collect()
}

fn found_pairs<S: AsRef<str>, T: AsRef<str>>(train: &[S], eval: &[T]) -> Vec<(u64, u64)> {
    pairs(&find(&corpus_of(train), &corpus_of(eval), &config(&["text"])))
}

/// A document of random words with `middle` in it.
fn around(draw: &mut Draw, middle: &str) -> String {
    format!("{} {middle} {}", draw.text(40).join(" "), draw.text(40).join(" "))
}

fn contains(words: &[&str], gram: &[&str]) -> bool {
    words.windows(gram.len()).any(|window| window == gram)
}

/// What the documentation says, word for word: (document, part, score, n-grams in common, longest run).
fn naive(
    train: &[String],
    eval: &[String],
    config: &ContaminationConfig,
) -> Vec<(u64, usize, f64, u64, u64)> {
    let train: Vec<Vec<&str>> = train.iter().map(|text| text.split_whitespace().collect()).collect();
    let n_documents = train.len() as f64;
    let limit = (RARE_DOCUMENTS as f64).max((config.common * n_documents).floor());
    let mut found = Vec::new();
    for (number, document) in train.iter().enumerate() {
        for (part, text) in eval.iter().enumerate() {
            let words: Vec<&str> = text.split_whitespace().collect();
            if words.len() < config.min_words.max(1) {
                continue;
            }
            let grams: BTreeSet<&[&str]> = words.windows(config.n.min(words.len())).collect();
            let holders = |gram: &[&str]| train.iter().filter(|words| contains(words, gram)).count() as f64;
            let weight = |gram: &[&str]| ((n_documents + 1.0) / holders(gram).max(1.0)).log2();
            let matched: Vec<&[&str]> =
                grams.iter().copied().filter(|gram| contains(document, gram)).collect();
            let score = match matched.len() == grams.len() {
                true => 1.0,
                false => {
                    matched.iter().map(|gram| weight(gram)).sum::<f64>()
                        / grams.iter().map(|gram| weight(gram)).sum::<f64>()
                }
            };
            let runs = (1..=words.len()).filter(|&n| words.windows(n).any(|run| contains(document, run)));
            let longest = runs.max().unwrap_or(0);
            let is_rare = matched.iter().any(|gram| holders(gram) <= limit);
            if score >= config.overlap && is_rare && longest >= config.min_words {
                found.push((number as u64, part, score, matched.len() as u64, longest as u64));
            }
        }
    }
    found
}

proptest! {
    #[test]
    fn matches_are_those_of_brute_force(
        train in prop::collection::vec("([abcd] ){0,30}", 0..16),
        eval in prop::collection::vec("([abcd] ){0,12}", 0..6),
        n in 1usize..5,
        min_words in 0usize..5,
        overlap in prop::sample::select(vec![0.01, 0.347, 0.71, 1.0]),
        common in prop::sample::select(vec![0.0, 0.71, 1.0]),
    ) {
        let config = ContaminationConfig { n, overlap, min_words, common, ..config(&["text"]) };
        let found = find(&corpus_of(&train), &corpus_of(&eval), &config);
        let expected = naive(&train, &eval, &config);
        prop_assert_eq!(found.matches.len(), expected.len());
        for (one, (document, part, score, n_matched, longest)) in found.matches.iter().zip(expected) {
            let numbers = (one.document.0, one.part, one.n_matched, one.longest.n_words);
            prop_assert_eq!(numbers, (document, part, n_matched, longest));
            prop_assert!((one.score - score).abs() < 1e-9);
            let run = |text: &str, bytes: &Option<std::ops::Range<u64>>| {
                let bytes = bytes.clone().unwrap();
                text[bytes.start as usize..bytes.end as usize].split_whitespace().collect::<Vec<_>>().join(" ")
            };
            let in_document = run(&train[document as usize], &one.longest.document_bytes);
            prop_assert_eq!(&in_document, &run(&eval[part], &one.longest.item_bytes));
            prop_assert_eq!(in_document.split(' ').count() as u64, longest);
        }
    }
}

#[test]
fn planted_items_are_found_where_they_were_planted() {
    let mut draw = Draw::new(1);
    let items: Vec<String> = (0..20).map(|_| draw.text(30).join(" ")).collect();
    let mut train: Vec<String> = (0..200).map(|_| draw.text(120).join(" ")).collect();
    for (i, item) in items.iter().enumerate().take(10) {
        train[17 * i] = around(&mut draw, item);
    }
    let expected: Vec<(u64, u64)> = (0..10).map(|i| (17 * i, i)).collect();
    assert_eq!(found_pairs(&train, &items), expected);
}

#[test]
fn a_copy_with_a_typo_every_twenty_words_is_found_and_one_with_many_is_not() {
    let mut draw = Draw::new(2);
    let item = draw.text(100);
    let with_typos = |every: usize, draw: &mut Draw| {
        let typo = |(i, word): (usize, &String)| {
            if i % every == every - 1 { format!("{word}x") } else { word.clone() }
        };
        let copy: Vec<String> = item.iter().enumerate().map(typo).collect();
        around(draw, &copy.join(" "))
    };
    let eval = corpus_of(&[item.join(" ")]);
    let [found, ..] = [(20, 1), (16, 1), (12, 0), (4, 0)].map(|(every, n)| {
        let train = corpus_of(&[with_typos(every, &mut draw), around(&mut Draw::new(every as u64), "")]);
        let found = find(&train, &eval, &config(&["text"]));
        assert_eq!(found.matches.len(), n, "a typo every {every} words");
        found
    });
    // Of 93 windows of 8 words in 100, each of the 5 typos spoils 8, but the last only 1.
    assert_eq!((found.matches[0].n_matched, found.matches[0].n_ngrams), (60, 93));
    assert_eq!(found.matches[0].longest.n_words, 19);
}

#[test]
fn what_two_documents_hold_of_an_item_is_not_added_up() {
    let mut draw = Draw::new(3);
    let item = draw.text(60);
    let halves = [around(&mut draw, &item[..28].join(" ")), around(&mut draw, &item[32..].join(" "))];
    assert_eq!(found_pairs(&halves, &[item.join(" ")]), []);
    assert_eq!(
        found_pairs(&[halves.join(" ")], &[item.join(" ")]),
        [(0, 0)],
        "but in one document they count"
    );
}

#[test]
fn a_corpus_that_is_its_own_evaluation_set_is_contaminated_in_full() {
    let mut draw = Draw::new(4);
    for n_documents in [1, 2, 50] {
        let texts: Vec<String> = (0..n_documents).map(|i| draw.text(5 + i).join(" ")).collect();
        let found = find(&corpus_of(&texts), &corpus_of(&texts), &config(&["text"]));
        let all: Vec<DocId> = (0..n_documents as u64).map(DocId).collect();
        assert_eq!((found.documents(), found.items()), (all.clone(), all));
        assert!(found.matches.iter().all(|one| one.score == 1.0));
    }
}

#[test]
fn short_items_are_compared_whole_at_the_borders_of_words() {
    let train = [
        "he said: the cat sat on mats. and left",
        "the bobcat sat on mats",
        "the cat sat on matson street",
        "the cat sat on",
        "on mats the cat sat",
    ];
    assert_eq!(found_pairs(&train, &["The cat sat on mats"]), [(0, 0)]);
    let found =
        find(&corpus_of(&train), &corpus_of(&["The cat", "", "yes", "the cat sat on"]), &config(&["text"]));
    assert!(
        found.matches.is_empty() && found.parts.iter().all(|part| !part.judged),
        "an answer alone never counts"
    );
}

#[test]
fn case_line_ends_punctuation_and_composition_make_no_difference() {
    let item = "Où est l'Élysée, the “palace” of\r\n(French) presidents since 1848?";
    let train =
        ["x OU\u{300} EST L\u{2019}E\u{301}LYSE\u{301}E the palace\tof French —\nPresidents, since 1848 y"];
    let found = find(&corpus_of(&train), &corpus_of(&[item]), &config(&["text"]));
    assert_eq!((pairs(&found), found.matches[0].score), (vec![(0, 0)], 1.0));
    let bytes = |text: &str, range: &Option<std::ops::Range<u64>>| {
        let range = range.clone().unwrap();
        text[range.start as usize..range.end as usize].to_owned()
    };
    let run = &found.matches[0].longest;
    assert_eq!(bytes(item, &run.item_bytes), item.trim_end_matches('?'));
    assert_eq!(
        bytes(train[0], &run.document_bytes),
        train[0].trim_start_matches("x ").trim_end_matches(" y")
    );
}

#[test]
fn fields_are_parts_that_are_found_by_themselves() {
    let eval = [
        json!({"text": "what is the deepest point of the lake", "choices": ["no", "it is sixty three metres deep", 7]}),
        json!({"text": "who has never been to the northern shore"}),
    ];
    let train =
        ["so it is sixty three metres deep they say", "what is the deepest point of the lake asked he"];
    let (train, eval) = (corpus_of(&train), corpus_of_records(&eval));
    let config = config(&["text", "choices"]);
    let found = find(&train, &eval, &config);
    let told: Vec<(u64, &str)> =
        found.matches.iter().map(|one| (one.document.0, found.parts[one.part].name.as_str())).collect();
    assert_eq!(told, [(0, "choices[1]"), (1, "text")]);
    assert_eq!((found.items(), found.n_lacking.clone()), (vec![DocId(0)], vec![0, 1]));
    let answer = &found.parts[found.matches[0].part];
    assert_eq!(part_text(&eval, &config.fields, answer).unwrap(), "it is sixty three metres deep");
}

#[test]
fn a_field_that_no_item_has_is_an_error_and_so_are_settings_out_of_range() {
    let corpus = corpus_of(&["some text"]);
    let fails = |config: ContaminationConfig| contamination(&corpus, &corpus, &config, &Silent).unwrap_err();
    assert!(matches!(fails(config(&["text", "answr"])), Error::NoEvaluationField(field) if field == "answr"));
    assert!(matches!(fails(ContaminationConfig { n: 0, ..config(&["text"]) }), Error::Ngram(0)));
    for overlap in [0.0, 1.01, f64::NAN] {
        assert!(matches!(fails(ContaminationConfig { overlap, ..config(&["text"]) }), Error::Threshold(_)));
    }
}

#[test]
fn empty_corpora_and_texts_hold_nothing() {
    let none: [&str; 0] = [];
    assert_eq!(found_pairs(&none, &["a b c d e f g h"]), []);
    assert_eq!(found_pairs(&["a b c d e f g h"], &none), []);
    assert_eq!(found_pairs(&["", "!!!"], &["", "???"]), []);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let mut draw = Draw::new(6);
    let items: Vec<String> = (0..60).map(|i| draw.text(4 + i).join(" ")).collect();
    let train: Vec<String> = (0..600).map(|i| around(&mut draw, &items[i * 7 % 60])).collect();
    let (train, eval) = (corpus_of(&train), corpus_of(&items));
    let with = |n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| find(&train, &eval, &ContaminationConfig { common: 1.0, ..config(&["text"]) }))
    };
    let one = with(1);
    assert!(one.matches.len() > 500);
    assert!(one == with(2) && one == with(8));
}

#[test]
fn an_interrupt_ends_the_search() {
    struct Stopped;
    impl Progress for Stopped {
        fn stage(&self, _: &'static str, _: Option<u64>, _: &'static str) {}
        fn advance(&self, _: u64) {}
        fn interrupted(&self) -> bool {
            true
        }
    }
    let corpus = corpus_of(&["a b c d e f g h"]);
    let stopped = contamination(&corpus, &corpus, &config(&["text"]), &Stopped);
    assert!(matches!(stopped, Err(Error::Interrupted)));
}

#[test]
fn where_normalisation_joins_words_no_bytes_are_told() {
    // Compatibility composition makes one word of a number and a fraction, which are two words before it.
    let text = "take 2½ cups of the finest flour and stir";
    let config = ContaminationConfig { normalizer: Normalizer::new(vec![Step::Nfkc]), ..config(&["text"]) };
    let found = find(&corpus_of(&[text]), &corpus_of(&[text]), &config);
    let run = &found.matches[0].longest;
    assert_eq!(
        (run.document_bytes.clone(), run.item_bytes.clone(), found.matches[0].score),
        (None, None, 1.0)
    );
}

#[test]
fn peer_dolma_never_flags() {
    // dolma #174: its decontamination flagged nothing, not even an item that is a document or a line of one.
    let item = "Natalia sold clips to forty eight of her friends in April and then half as many in May";
    let train = ["nothing of the kind".to_owned(), item.to_owned(), format!("first line\n{item}\nlast line")];
    assert_eq!(found_pairs(&train, &[item]), [(1, 0), (2, 0)]);
}

#[test]
fn peer_marin_boilerplate_is_not_contamination() {
    // marin #6852: what n-gram overlap without weights still reported was boilerplate.
    let mut draw = Draw::new(7);
    let header = draw.text(60).join(" ");
    let question = "which of the following statements is true about the passage above";
    let own = draw.text(20).join(" ");
    let train: Vec<String> = (0..400)
        .map(|i| match i % 3 {
            0 => format!("{header} {}", around(&mut draw, question)),
            _ => around(&mut draw, "no"),
        })
        .collect();
    let items = [format!("{header} {own}"), question.to_owned(), format!("{question} {own}"), header.clone()];
    assert_eq!(found_pairs(&train, &items), []);
    // Without the weights the first would be found 134 times: 53 of its 73 n-grams stand in the header.
    let mut leaked = train;
    leaked[1] = around(&mut draw, &format!("{question} {own}"));
    let found = find(&corpus_of(&leaked), &corpus_of(&items), &config(&["text"]));
    assert_eq!(pairs(&found), [(1, 2)], "{:?}", found.matches);
}

#[test]
fn peer_marin_bloom_false_positives() {
    // marin #5519: a Bloom filter reported what was not there. Here every hash collides, and nothing changes.
    let mut draw = Draw::new(8);
    let items: Vec<String> = (0..30).map(|i| draw.text(5 + i % 20).join(" ")).collect();
    let train: Vec<String> =
        (0..60).map(|i| around(&mut draw, if i % 4 == 0 { &items[i / 2] } else { "" })).collect();
    let (train, eval) = (corpus_of(&train), corpus_of(&items));
    let honest = find(&train, &eval, &config(&["text"]));
    let forged = contamination_with_hash(&train, &eval, &config(&["text"]), |_| 7, &Silent).unwrap();
    assert_eq!(honest, forged);
    assert_eq!(honest.matches.len(), 15);
}

#[test]
fn items_of_a_thousand_copies_of_one_word_take_no_quadratic_time() {
    let words = |n| vec!["the"; n].join(" ");
    let found = find(&corpus_of(&[words(200_000)]), &corpus_of(&[words(50_000)]), &config(&["text"]));
    assert_eq!((found.matches[0].n_ngrams, found.matches[0].longest.n_words), (1, 50_000));
}

#[test]
fn the_parts_of_an_item_have_the_name_of_their_own_text() {
    let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
    let record: Value = json!({"q": {"text": "one two three four five six"}, "a": ["b", ["c"], null, "d"]});
    writeln!(file, "{record}").unwrap();
    let reading = OpenConfig { text_field: "q.text".parse().unwrap(), ..OpenConfig::standard() };
    let eval = Corpus::open(&[file.path().to_owned()], &reading, &Silent).unwrap();
    let config = config(&["q.text", "a"]);
    let found = find(&eval, &eval, &config);
    let texts: BTreeMap<&str, String> = found
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part_text(&eval, &config.fields, part).unwrap()))
        .collect();
    let expected = [("a[0]", "b"), ("a[3]", "d"), ("q.text", "one two three four five six")];
    assert_eq!(texts, expected.map(|(name, text)| (name, text.to_owned())).into());
}

//! Answers of an index are those of reading every text, byte by byte.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use verbatim_corpus::{Corpus, DocId, OpenConfig};
use verbatim_store::{Room, Scratch, Silent, write_private};

use super::*;
use crate::locate::{Engine, Locator};
use crate::occurrences::Occurrences;
use crate::scan::tests::corpus_of;
use crate::shingle::TokenFn;
use crate::symbols::token_bytes;
use crate::testing::Impatient;

fn config(min_len: usize) -> IndexConfig {
    let origin = Origin { inputs: vec!["in".into()], against: Vec::new(), reading: OpenConfig::standard() };
    IndexConfig { min_len, tokenizer: None, origin }
}

/// The same for tokens: every character is one, but that two of the letter `a` are one.
fn token_config(min_len: usize) -> IndexConfig {
    let tokens: TokenFn = Arc::new(|text| {
        let mut rest = text.chars().peekable();
        let mut ids = Vec::new();
        while let Some(c) = rest.next() {
            let is_double = c == 'a' && rest.next_if_eq(&'a').is_some();
            ids.push(if is_double { 1 << 24 } else { u32::from(c) });
        }
        ids
    });
    IndexConfig { tokenizer: Some((tokens, "some hash".to_owned())), ..config(min_len) }
}

/// An index of a corpus in a folder, made in so many bytes of memory.
fn build(corpus: &Corpus, min_len: usize, memory: usize, folder: &Path) -> SubstringIndex {
    let scratch = Scratch::unnamed(folder);
    let room = Room { n_bytes: memory, scratch: &scratch };
    SubstringIndex::build(corpus, &config(min_len), (folder, room), &Silent).unwrap();
    SubstringIndex::open(folder).unwrap().unwrap()
}

fn naive(texts: &[String], string: &[u8], most_places: usize) -> Occurrences {
    let mut found = Occurrences::default();
    for (doc, text) in (0..).map(DocId).zip(texts) {
        let text = text.as_bytes();
        let places: Vec<u64> =
            (0..text.len()).filter(|&i| text[i..].starts_with(string)).map(|i| i as u64).collect();
        found.n_documents += u64::from(!places.is_empty());
        found.n_occurrences += places.len() as u64;
        found.places.extend(places.into_iter().map(|byte| (doc, byte)));
    }
    found.places.truncate(most_places);
    found
}

/// Texts that share parts, some of short periods, some empty.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let part = prop_oneof![
        3 => "[a-z ]{1,60}",
        2 => "[ab]{1,60}",
        1 => "[äß€a]{1,30}",
        2 => ("[abc]{1,5}", 1_usize..50).prop_map(|(period, n)| period.repeat(n)),
    ];
    prop::collection::vec(part, 1..5).prop_flat_map(|parts| {
        let text = prop::collection::vec(0..parts.len(), 0..5)
            .prop_map(move |picks| picks.into_iter().map(|i| &parts[i][..]).collect::<String>());
        prop::collection::vec(text, 0..8)
    })
}

/// Strings that stand in the texts, and strings that differ from such in one byte or reach from one text into the next.
fn strings_of(texts: &[String], picks: &[(usize, usize, bool)]) -> Vec<Vec<u8>> {
    let all = texts.concat().into_bytes();
    let string = |&(start, len, is_changed): &(usize, usize, bool)| {
        let start = start % all.len().max(1);
        let mut string = all[start..all.len().min(start + len)].to_vec();
        if is_changed && let Some(byte) = string.last_mut() {
            *byte ^= 1;
        }
        string
    };
    picks.iter().map(string).collect()
}

/// Where some tokens stand in texts of tokens.
fn naive_tokens(texts: &[Vec<u8>], string: &[u8], most_places: usize) -> Occurrences {
    let mut found = Occurrences::default();
    let string: &[[u8; 4]] = string.as_chunks().0;
    for (doc, text) in (0..).map(DocId).zip(texts) {
        let text: &[[u8; 4]] = text.as_chunks().0;
        let places = (0..text.len()).filter(|&i| !string.is_empty() && text[i..].starts_with(string));
        let places: Vec<(DocId, u64)> = places.map(|i| (doc, i as u64)).collect();
        found.n_documents += u64::from(!places.is_empty());
        found.n_occurrences += places.len() as u64;
        found.places.extend(places);
    }
    found.places.truncate(most_places);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]
    #[test]
    fn an_index_of_tokens_finds_runs_of_tokens_and_nothing_between_them(
        texts in texts(),
        picks in prop::collection::vec((0_usize..2000, 0_usize..90, any::<bool>()), 1..12),
        min_len in 16_usize..30,
        at in 0_usize..8,
    ) {
        let corpus = corpus_of(&texts);
        let config = token_config(min_len);
        let (tokens, _) = config.tokenizer.as_ref().unwrap();
        let tokenized: Vec<Vec<u8>> = texts.iter().map(|text| token_bytes(text.as_bytes(), tokens)).collect();
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::unnamed(folder.path());
        let build = |corpus: &Corpus, folder: &Path, memory: usize| {
            let room = Room { n_bytes: memory, scratch: &scratch };
            SubstringIndex::build(corpus, &config, (folder, room), &Silent).unwrap();
            SubstringIndex::open(folder).unwrap().unwrap()
        };
        let index = build(&corpus, folder.path(), 1 << 20);
        index.verify(&Silent).unwrap();
        prop_assert_eq!(index.n_symbols() as usize, tokenized.iter().map(|text| text.len() / 4).sum::<usize>());
        let strings: Vec<Vec<u8>> =
            strings_of(&texts, &picks).iter().map(|string| token_bytes(string, tokens)).collect();
        let slices: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
        for engine in [None, Some(Engine::Scan), Some(Engine::Suffix)] {
            let index = Some(index.of(&corpus).unwrap());
            let locator = Locator { corpus: &corpus, index, engine, most_places: 3, memory: 1 << 20 };
            for (string, located) in slices.iter().zip(locator.locate(&slices, &Silent).unwrap()) {
                prop_assert_eq!(&located.occurrences, &naive_tokens(&tokenized, string, 3), "{:?}", located.engine);
                let expected = match string.len() >= 4 * min_len { true => Engine::Index, false => Engine::Scan };
                prop_assert_eq!(located.engine, engine.unwrap_or(expected));
            }
        }
        prop_assert_eq!(index.of(&corpus).unwrap().longest_matches(&slices, &Silent).unwrap_err().exit_code(), 2);

        let bytes_of = |folder: &Path| {
            [MANIFEST, "starts", "tokens", "directory", "entries"].map(|name| std::fs::read(folder.join(name)).unwrap())
        };
        let small = tempfile::tempdir().unwrap();
        build(&corpus, small.path(), 100);
        prop_assert!(bytes_of(small.path()) == bytes_of(folder.path()), "in little memory");
        let (first, second) = texts.split_at(at.min(texts.len()));
        let parts = [corpus_of(first), corpus_of(second)];
        let folders = [0; 2].map(|_| tempfile::tempdir().unwrap());
        let made = [0, 1].map(|i| build(&parts[i], folders[i].path(), 1 << 20));
        let indexed = [0, 1].map(|i| made[i].of(&parts[i]).unwrap());
        let joined = tempfile::tempdir().unwrap();
        let room = Room { n_bytes: 100, scratch: &scratch };
        SubstringIndex::merge(&indexed, &corpus, &config, (joined.path(), room), &Silent).unwrap();
        prop_assert!(bytes_of(joined.path()) == bytes_of(folder.path()), "joined");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn all_engines_find_what_reading_every_text_finds(
        texts in texts(),
        picks in prop::collection::vec((0_usize..2000, 0_usize..90, any::<bool>()), 1..12),
        min_len in 16_usize..40,
        most_places in 0_usize..4,
    ) {
        let corpus = corpus_of(&texts);
        let folder = tempfile::tempdir().unwrap();
        let index = build(&corpus, min_len, 1 << 20, folder.path());
        index.verify(&Silent).unwrap();
        let strings = strings_of(&texts, &picks);
        let slices: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
        for engine in [None, Some(Engine::Scan), Some(Engine::Suffix)] {
            let index = Some(index.of(&corpus).unwrap());
            let locator = Locator { corpus: &corpus, index, engine, most_places, memory: 1 << 20 };
            for (string, located) in slices.iter().zip(locator.locate(&slices, &Silent).unwrap()) {
                let expected = if string.is_empty() { Occurrences::default() } else { naive(&texts, string, most_places) };
                prop_assert_eq!(&located.occurrences, &expected, "{:?} {:?}", located.engine, string);
                let expected = match string.len() >= min_len { true => Engine::Index, false => Engine::Scan };
                prop_assert_eq!(located.engine, engine.unwrap_or(expected));
            }
        }
        let indexed = index.of(&corpus).unwrap();
        let by_scan = crate::scan::longest_matches(&corpus, &strings, min_len, &Silent);
        prop_assert_eq!(indexed.longest_matches(&slices, &Silent).unwrap(), by_scan);
    }

    #[test]
    fn the_bytes_of_an_index_depend_on_the_texts_alone(texts in texts(), min_len in 16_usize..40, at in 0_usize..8) {
        let corpus = corpus_of(&texts);
        let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
        let bytes_of = |folder: &Path| {
            [MANIFEST, "starts", "directory", "entries"].map(|name| std::fs::read(folder.join(name)).unwrap())
        };
        build(&corpus, min_len, 1 << 20, folders[0].path());
        let whole = bytes_of(folders[0].path());
        build(&corpus, min_len, 100, folders[1].path());
        prop_assert!(bytes_of(folders[1].path()) == whole, "in little memory");

        let (first, second) = texts.split_at(at.min(texts.len()));
        let parts = [corpus_of(first), corpus_of(second)];
        let made = [0, 1].map(|i| build(&parts[i], min_len, 1 << 20, folders[2 + i].path()));
        let indexed = [0, 1].map(|i| made[i].of(&parts[i]).unwrap());
        let joined = tempfile::tempdir().unwrap();
        let scratch = Scratch::unnamed(joined.path());
        for memory in [100, 1 << 20] {
            let folder = tempfile::tempdir().unwrap();
            let room = Room { n_bytes: memory, scratch: &scratch };
            SubstringIndex::merge(&indexed, &corpus, &config(min_len), (folder.path(), room), &Silent).unwrap();
            prop_assert!(bytes_of(folder.path()) == whole, "joined");
        }
    }
}

#[test]
fn fault_47_a_run_that_was_killed_is_gone_on_with() {
    let texts: Vec<String> =
        (0..40).map(|i| format!("{i} and what every text has in common, {}", i % 7)).collect();
    let corpus = corpus_of(&texts);
    let [whole, scratch_folder] = [0; 2].map(|_| tempfile::tempdir().unwrap());
    build(&corpus, 20, 1 << 20, whole.path());
    let task = serde_json::json!({});
    let mut n_starts = 0;
    loop {
        let scratch = Scratch::of_run(&scratch_folder.path().join("run"), &task).unwrap();
        let room = Room { n_bytes: 1 << 20, scratch: &scratch };
        n_starts += 1;
        let staged = tempfile::tempdir().unwrap();
        match SubstringIndex::build(&corpus, &config(20), (staged.path(), room), &Impatient::after(3)) {
            Err(error) => assert_eq!(error.exit_code(), 130),
            Ok(()) => {
                for name in [MANIFEST, "starts", "directory", "entries"] {
                    let read = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
                    assert!(read(staged.path()) == read(whole.path()), "{name}");
                }
                assert!(scratch.notes().len() > 2);
                break;
            }
        }
    }
    assert!(n_starts > 3, "{n_starts}");
}

#[test]
fn fault_42_texts_of_one_byte_are_found_in_linear_time() {
    let texts = ["a".repeat(3000), String::new(), "ab".repeat(700), "a".repeat(40)];
    let corpus = corpus_of(&texts);
    let folder = tempfile::tempdir().unwrap();
    let index = build(&corpus, 20, 1 << 20, folder.path());
    let indexed = index.of(&corpus).unwrap();
    let strings = ["a".repeat(40), "ab".repeat(20), "b".repeat(30), format!("{}b", "a".repeat(30))];
    let slices: Vec<&[u8]> = strings.iter().map(String::as_bytes).collect();
    for (string, found) in strings.iter().zip(indexed.find(&slices, 5, &Silent).unwrap()) {
        assert_eq!(found, naive(&texts, string.as_bytes(), 5), "{string}");
    }
    let strings: Vec<Vec<u8>> = strings.iter().map(|string| string.clone().into_bytes()).collect();
    let by_scan = crate::scan::longest_matches(&corpus, &strings, 20, &Silent);
    assert_eq!(indexed.longest_matches(&slices, &Silent).unwrap(), by_scan);
}

#[test]
fn fault_45_texts_of_more_bytes_than_places_are_refused() {
    build::check_size((1 << 40) - 1).unwrap();
    for n_bytes in [1 << 40, u64::MAX] {
        let error = build::check_size(n_bytes).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("make several"), "{error}");
    }
}

#[test]
fn fault_46_an_index_of_another_corpus_or_version_is_refused() {
    let corpus = corpus_of(&["a text of some length, and then some"]);
    let other = corpus_of(&["a text of some length, and then more"]);
    let folder = tempfile::tempdir().unwrap();
    assert!(SubstringIndex::open(folder.path()).unwrap().is_none());
    let index = build(&corpus, 20, 1 << 20, folder.path());
    let error = index.of(&other).unwrap_err();
    assert!(
        error.exit_code() == 65 && error.to_string().ends_with("no longer what it was; build the index anew")
    );
    let path = folder.path().join(MANIFEST);
    let manifest = std::fs::read_to_string(&path).unwrap();
    let rewritten = |from: &str, to: &str| {
        assert!(manifest.contains(from), "{from}");
        std::fs::remove_file(&path).unwrap();
        write_private(&path, manifest.replace(from, to).as_bytes()).unwrap();
        SubstringIndex::open(folder.path())
    };
    let error = rewritten("\"version\": 1", "\"version\": 2").unwrap_err();
    assert!(error.to_string().contains("version 2, this program reads version 1"), "{error}");
    for (from, to) in [
        ("\"bucket_bits\": 16", "\"bucket_bits\": 64"),
        ("\"bucket_bits\": 16", "\"bucket_bits\": 0"),
        ("\"bucket_bits\": 16", "\"bucket_bits\": 17"),
        ("\"min_len\": 20", "\"min_len\": 1"),
        ("\"min_len\": 20", "\"min_len\": \"20\""),
        ("\"n_documents\": 1", "\"n_documents\": 18446744073709551615"),
        ("\"name\": \"starts\"", "\"name\": \"../starts\""),
    ] {
        assert_eq!(rewritten(from, to).unwrap_err().exit_code(), 65, "{to}");
    }
    assert!(rewritten("verbatim substring index", "something else").unwrap().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    /// Whoever wrote the checksums may have written anything else.
    #[test]
    fn fault_49_a_hostile_index_is_an_error_or_a_wrong_answer_but_never_a_crash(
        changes in prop::collection::vec((0_usize..3, 0_usize..70_000, any::<u64>(), 0_u32..64), 1..6),
        min_len in prop_oneof![Just(20_u64), 16_u64..200, any::<u64>()],
    ) {
        let texts: Vec<String> = (0..9).map(|i| format!("{} what every text has in common {i}", i % 3)).collect();
        let corpus = corpus_of(&texts);
        let folder = tempfile::tempdir().unwrap();
        let index = build(&corpus, 20, 1 << 20, folder.path());
        let mut files = [&index.starts, &index.directory, &index.entries]
            .map(|file| file.numbers(0..file.n_numbers()).unwrap().collect::<Vec<u64>>());
        for (file, at, number, shift) in changes {
            let numbers = &mut files[file];
            let n = numbers.len();
            // Large ones and small ones.
            numbers[at % n] = number >> shift;
        }
        let hostile = tempfile::tempdir().unwrap();
        let seals = [("starts", &files[0]), ("directory", &files[1]), ("entries", &files[2])].map(|(name, numbers)| {
            let mut writer = verbatim_store::SealedWriter::create(hostile.path(), name).unwrap();
            numbers.iter().for_each(|&number| writer.number(number).unwrap());
            writer.finish().unwrap()
        });
        let [starts, directory, entries] = seals;
        let manifest = Manifest { starts, directory, entries, min_len, ..index.manifest };
        write_private(&hostile.path().join(MANIFEST), &serde_json::to_vec(&manifest).unwrap()).unwrap();
        let Ok(Some(index)) = SubstringIndex::open(hostile.path()) else { return Ok(()) };
        let _ = index.verify(&Silent);
        let indexed = index.of(&corpus).unwrap();
        let strings: Vec<&[u8]> = texts.iter().map(|text| &text.as_bytes()[1..]).collect();
        let _ = indexed.find(&strings, 3, &Silent);
        let _ = indexed.longest_matches(&strings, &Silent);
        let scratch = Scratch::unnamed(hostile.path());
        let room = Room { n_bytes: 1 << 16, scratch: &scratch };
        let out = tempfile::tempdir().unwrap();
        let len = index.min_len();
        let _ = SubstringIndex::merge(&[indexed], &corpus, &config(len), (out.path(), room), &Silent);
    }
}

//! The index of substrings: how long it takes to make, how large it is, and strings looked up beside a suffix array and
//! beside the memory that a look-up must touch at least.

use std::path::Path;

use verbatim_corpus::{Corpus, OpenConfig, Origin};
use verbatim_index::{Engine, IndexConfig, Locator, SubstringIndex};
use verbatim_store::{Access, Existing, Room, Scratch, Silent, StagedDir};
use xxhash_rust::xxh3::xxh3_64;

use crate::{MAX_SUFFIX_BYTES, N_RUNS, Run, medians};

/// Bytes of a string: about fifty tokens of English.
const STRING_LEN: usize = 200;
/// Strings that are looked up, half of which stand nowhere.
const N_STRINGS: usize = 1_000_000;
/// Memory for what is sorted, and for a suffix array.
const MEMORY: usize = 4 << 30;

/// Strings of texts, each second one with another byte in its middle, and where they were taken from.
fn strings(texts: &[u8], n: usize) -> (Vec<Vec<u8>>, Vec<usize>) {
    let place = |i: usize| (xxh3_64(&i.to_le_bytes()) % (texts.len() - STRING_LEN) as u64) as usize;
    let places: Vec<usize> = (0..n).map(place).collect();
    let string = |(i, &place): (usize, &usize)| {
        let mut string = texts[place..place + STRING_LEN].to_vec();
        if i % 2 == 1 {
            string[STRING_LEN / 2] = 0xFF;
        }
        string
    };
    (places.iter().enumerate().map(string).collect(), places)
}

#[expect(clippy::print_stdout, reason = "a bench talks to the terminal")]
pub(crate) fn run(path: &Path, folder: &Path) {
    let corpus =
        Corpus::open(&[path.to_path_buf()], &OpenConfig::standard(), &Silent).expect("a valid corpus");
    let scratch = Scratch::unnamed(folder);
    let room = Room { n_bytes: MEMORY, scratch: &scratch };
    let origin =
        Origin { inputs: vec![path.to_path_buf()], against: Vec::new(), reading: OpenConfig::standard() };
    let config = IndexConfig { min_len: 100, tokenizer: None, origin };
    let build = || {
        let made =
            StagedDir::create(&folder.join("made"), Access::Private, Existing::Refuse).expect("a folder");
        SubstringIndex::build(&corpus, &config, (made.path(), room), &Silent).expect("an index");
        made
    };
    let made = build();
    let index = SubstringIndex::open(made.path()).expect("an index").expect("an index");
    let texts: Vec<u8> = corpus.ids().flat_map(|doc| corpus.text(doc).into_owned()).collect();
    let (strings, places) = strings(&texts, N_STRINGS);
    let strings: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
    let locate = |strings: &[&[u8]], engine| {
        let indexed = index.of(&corpus).expect("its corpus");
        let locator =
            Locator { corpus: &corpus, index: Some(indexed), engine, most_places: 0, memory: MEMORY };
        let located = locator.locate(strings, &Silent).expect("an answer");
        located.iter().map(|located| located.occurrences.n_occurrences as usize).sum()
    };
    let entries: Vec<u64> = (0..index.n_anchors()).collect();
    // Of the index one place of the directory and one of the entries, and the bytes of the text themselves.
    let touch = || {
        let touched = |&place: &usize| {
            let hash = xxh3_64(&texts[place..place + STRING_LEN]);
            let [a, b] =
                [hash, hash.rotate_left(32)].map(|hash| entries[(hash % entries.len() as u64) as usize]);
            (hash ^ a ^ b) as usize
        };
        places.iter().map(touched).fold(0, |a, b| a ^ b)
    };
    let runs: [Run<'_>; 5] = [
        ("made", &|| build().path().exists().into()),
        ("strings looked up", &|| locate(&strings, None)),
        ("limit: their memory touched, one thread", &touch),
        ("strings looked up in a suffix array", &|| locate(&strings, Some(Engine::Suffix))),
        ("the suffix array made", &|| locate(&strings[..1], Some(Engine::Suffix))),
    ];
    let n_runs = if texts.len() <= MAX_SUFFIX_BYTES { 5 } else { 3 };
    let seconds = medians(&runs[..n_runs]);
    let megabytes = texts.len() as f64 / 1e6;
    let n_threads = rayon::current_num_threads();
    let share = index.n_bytes() as f64 / texts.len() as f64;
    println!(
        "index: {megabytes:.1} MB of texts, of strings of 100 bytes, {n_threads} threads, medians of {N_RUNS}"
    );
    println!("made{:>42.0} MB/s  {share:.3} of the texts", megabytes / seconds[0]);
    let rate = |seconds: f64| N_STRINGS as f64 / seconds / 1e3;
    println!("{N_STRINGS} strings of {STRING_LEN} bytes{:>16.0} thousand/s", rate(seconds[1]));
    println!("{}{:>7.0} thousand/s  {:.3} of it", runs[2].0, rate(seconds[2]), seconds[2] / seconds[1]);
    if let [.., with, without] = seconds[..]
        && n_runs == 5
    {
        let suffixes = with - without;
        println!(
            "in a suffix array in memory{:>19.0} thousand/s, {:.2} times",
            rate(suffixes),
            suffixes / seconds[1]
        );
    }
}

//! Survivors that lose stretches of their text: what goes, and that nothing else changes.

use std::fs;

use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;
use verbatim_corpus::{
    Corpus, DocId, OpenConfig, Selection, Stretch, Surrogates, TextUnit, Written, write_survivors,
    write_survivors_to,
};
use verbatim_store::Silent;

use crate::fixture::{Folder, gunzip, gzip, open, skip, texts, zstd_frame};
use crate::parquet::{expected_rows, fixture, nested, rows, text_of};

fn stretch(doc: u64, start: u64, end: u64) -> Stretch {
    Stretch { doc: DocId(doc), start, end }
}

/// Every place in a document's text where `word` stands.
fn stretches_of(corpus: &Corpus, word: &str) -> Vec<Stretch> {
    let find = |id: DocId| {
        let text = corpus.text_str(id).into_owned();
        let places: Vec<usize> = text.match_indices(word).map(|(at, _)| at).collect();
        places.into_iter().map(move |at| stretch(id.0, at as u64, (at + word.len()) as u64))
    };
    corpus.ids().flat_map(find).collect()
}

fn write(corpus: &Corpus, keep: &[bool], cuts: &[Stretch]) -> (Folder, Written) {
    let out = Folder::new();
    let written =
        write_survivors(corpus, Selection { keep, cuts, fields: None }, out.path(), &Silent).unwrap();
    (out, written)
}

const RECORDS: &str = concat!(
    " {\"n\": 1.50, \"text\" : \"k\\u0065ep\\n\\u0063\\u0075t\\r\\nc\\u00e9\\ud83d\\ude00cut.\", \"z\":\"cut\"}  \r\n",
    "{\"text\":\"cutcut\"}\n",
    "{\"text\":\"none\", \"b\": {\"text\":\"cut\"}, \"a\":1e3}",
);
const CUT_RECORDS: &str = concat!(
    " {\"n\": 1.50, \"text\" : \"k\\u0065ep\\n\\r\\nc\\u00e9\\ud83d\\ude00.\", \"z\":\"cut\"}  \r\n",
    "{\"text\":\"\"}\n",
    "{\"text\":\"none\", \"b\": {\"text\":\"cut\"}, \"a\":1e3}\n",
);

#[test]
fn a_record_loses_the_escaped_stretch_and_nothing_else() {
    let cut = |name: &str, content: &[u8]| {
        let folder = Folder::new();
        let corpus = open(&folder.write(name, content), &OpenConfig::standard()).unwrap();
        let cuts = stretches_of(&corpus, "cut");
        assert_eq!(cuts.len(), 4);
        let (out, written) = write(&corpus, &[true; 3], &cuts);
        let lost: u64 = corpus
            .ids()
            .map(|id| {
                let of_doc: Vec<Stretch> = cuts.iter().copied().filter(|cut| cut.doc == id).collect();
                corpus.cut_bytes(id, &of_doc).unwrap()
            })
            .sum();
        assert_eq!(lost, (RECORDS.len() + 1 - CUT_RECORDS.len()) as u64);
        assert_eq!((written.n_documents, written.n_bytes), (3, corpus.record_bytes() - lost));
        fs::read(out.path().join(name)).unwrap()
    };
    assert_eq!(String::from_utf8(cut("a.jsonl", RECORDS.as_bytes())).unwrap(), CUT_RECORDS);
    assert_eq!(gunzip(&cut("a.jsonl.gz", &gzip(RECORDS.as_bytes()))), CUT_RECORDS.as_bytes());
    let zst = cut("a.jsonl.zst", &zstd_frame(RECORDS.as_bytes()));
    assert_eq!(zstd::decode_all(zst.as_slice()).unwrap(), CUT_RECORDS.as_bytes());
}

#[test]
fn text_files_and_text_lines_lose_bytes() {
    let standard = OpenConfig::standard();
    let lines = OpenConfig { text_unit: TextUnit::Line, ..OpenConfig::standard() };
    for (config, before, cuts, after) in [
        (&standard, &b"one\r\ntwo\r\nthree"[..], vec![stretch(0, 5, 10)], &b"one\r\nthree"[..]),
        (&standard, b"caf\xe9 \xe9t\xe9", vec![stretch(0, 3, 5), stretch(0, 6, 8)], b"caf\xe9"),
        (&lines, b"one\r\n\ntwo\nthree", vec![stretch(0, 0, 2), stretch(2, 1, 5)], b"e\r\ntwo\nt\n"),
    ] {
        let folder = Folder::new();
        let corpus = open(&folder.write("a.txt", before), config).unwrap();
        let keep = vec![true; corpus.ids().count()];
        let (out, written) = write(&corpus, &keep, &cuts);
        assert_eq!(fs::read(out.path().join("a.txt")).unwrap(), after);
        assert_eq!(
            written.n_bytes,
            corpus.record_bytes() - cuts.iter().map(|c| c.end - c.start).sum::<u64>()
        );
    }
}

#[test]
fn a_parquet_text_is_rewritten_and_the_other_values_are_equal() {
    let folder = Folder::new();
    let source = fixture();
    let corpus = open(&folder.write("a.parquet", &source), &nested()).unwrap();
    let docs = expected_rows();
    // The first row group loses rows and stretches, the second stays whole, the third loses stretches only where the
    // text is long.
    let keep: Vec<bool> = docs.iter().map(|&row| row >= 700 || row % 5 > 0).collect();
    let is_cut = |row: usize| !(700..900).contains(&row) && row.is_multiple_of(3) && row % 40 > 1;
    let mut cuts = Vec::new();
    for (doc, &row) in docs.iter().enumerate().filter(|&(doc, &row)| keep[doc] && is_cut(row)) {
        let start = text_of(row).find('ä').unwrap() as u64;
        cuts.extend([stretch(doc as u64, 0, 1), stretch(doc as u64, start, start + 2)]);
    }
    let (out, written) = write(&corpus, &keep, &cuts);
    let content = fs::read(out.path().join("a.parquet")).unwrap();
    let all = rows(&source);
    let expected: Vec<String> = docs
        .iter()
        .zip(&keep)
        .filter(|(_, keep)| **keep)
        .map(|(&row, _)| {
            let text = text_of(row);
            let cut = if is_cut(row) { text[1..].replacen('ä', "", 1) } else { text.clone() };
            all[row].to_string().replace(&format!("\"{text}\""), &format!("\"{cut}\""))
        })
        .collect();
    let found: Vec<String> = rows(&content).iter().map(ToString::to_string).collect();
    assert!(cuts.len() > 200 && found == expected);
    let again = open(out.path(), &nested()).unwrap();
    assert_eq!((written.n_documents, written.n_bytes), (again.n_documents(), again.record_bytes()));
    let group = |content: &[u8]| {
        let file = SerializedFileReader::new(bytes::Bytes::copy_from_slice(content)).unwrap();
        let (start, len) = file.metadata().row_group(1).column(1).byte_range();
        content[start as usize..(start + len) as usize].to_vec()
    };
    assert!(group(&content) == group(&source), "a row group without cuts is copied");

    // A row group that keeps all its rows and loses a stretch of one.
    let doc = docs.iter().position(|&row| row == 800).unwrap();
    let (out, _) = write(&corpus, &vec![true; docs.len()], &[stretch(doc as u64, 0, 5)]);
    assert_eq!(texts(&open(out.path(), &nested()).unwrap())[doc], text_of(800)[5..]);
}

#[test]
fn a_stream_gets_what_is_left() {
    let folder = Folder::new();
    let inputs =
        [folder.write("a.jsonl", "{\"x\":1.0,\"text\":\"a\\ncut\"}\n"), folder.write("b.txt", "cut\nb\n")];
    let corpus = Corpus::open(&inputs, &OpenConfig::standard(), &Silent).unwrap();
    let cuts = stretches_of(&corpus, "cut");
    let mut stream = Vec::new();
    let selection = Selection { keep: &[true, true], cuts: &cuts, fields: None };
    let written = write_survivors_to(&corpus, selection, &mut stream).unwrap();
    assert_eq!(written.n_bytes, corpus.record_bytes() - 6);
    let expected = "{\"x\":1.0,\"text\":\"a\\n\"}\n{\"id\":\"b.txt:1\",\"text\":\"\\nb\\n\"}\n";
    assert_eq!(String::from_utf8(stream).unwrap(), expected);
}

#[test]
fn a_cut_inside_a_character_or_beyond_the_text_is_65() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{\"text\":\"\\ud83d\\ude00é\"}\n");
    folder.write("b.txt", "é");
    let corpus = open(folder.path(), &OpenConfig::standard()).unwrap();
    for cut in [stretch(0, 1, 4), stretch(0, 0, 2), stretch(0, 4, 5), stretch(0, 4, 7), stretch(1, 0, 1)] {
        let out = Folder::new();
        let selection = Selection { keep: &[true, true], cuts: &[cut], fields: None };
        let error = write_survivors(&corpus, selection, out.path(), &Silent).unwrap_err();
        assert_eq!(error.exit_code(), 65, "{cut:?}");
        assert!(error.to_string().contains(":1: a cut lies"), "{error}");
    }
    write(&corpus, &[true, true], &[stretch(0, 4, 6), stretch(1, 0, 2)]);
}

#[test]
fn cuts_count_half_of_a_surrogate_pair_as_it_is_read() {
    let folder = Folder::new();
    let path = folder.write("a.jsonl", "{\"text\":\"\\ud83dacut\\ude00\\ud83d\\ude00cut\\ud83d\"}\n");
    let config = OpenConfig { surrogates: Surrogates::Replace, ..OpenConfig::standard() };
    let corpus = open(&path, &config).unwrap();
    assert_eq!(texts(&corpus), ["\u{fffd}acut\u{fffd}😀cut\u{fffd}"]);
    let (out, _) = write(&corpus, &[true], &stretches_of(&corpus, "cut"));
    let written = fs::read_to_string(out.path().join("a.jsonl")).unwrap();
    assert_eq!(written, "{\"text\":\"\\ud83da\\ude00\\ud83d\\ude00\\ud83d\"}\n");
    assert_eq!(texts(&open(out.path(), &config).unwrap()), ["\u{fffd}a\u{fffd}😀\u{fffd}"]);
}

#[test]
fn a_cut_between_halves_of_a_surrogate_pair_makes_no_character_of_them() {
    let config = OpenConfig { surrogates: Surrogates::Replace, ..OpenConfig::standard() };
    for (raw, expected) in [
        (r"a\ud83dcut\ude00b", r"a\ufffd\ude00b"),
        (r"\ud83dcutcutcut\uDE00", r"\ufffd\uDE00"),
        (r"\ud83d\uD83Dcut\ude00\ude00", r"\ud83d\ufffd\ude00\ude00"),
        (r"\\\ud83dcut\ude00cut\ude00", r"\\\ufffd\ude00\ude00"),
        (r"\\ud83dcut\ude00", r"\\ud83d\ude00"),
        (r"\ud83dcut\\ude00", r"\ud83d\\ude00"),
        (r"\ude00cut\ud83d", r"\ude00\ud83d"),
        (r"\ud83d\ude00cut\ude00", r"\ud83d\ude00\ude00"),
        (r"\ud83dcut\u0041", r"\ud83d\u0041"),
    ] {
        let folder = Folder::new();
        let record = |raw: &str| format!("{{\"text\":\"{raw}\"}}\n");
        let corpus = open(&folder.write("a.jsonl", record(raw)), &config).unwrap();
        let left = texts(&corpus)[0].replace("cut", "");
        let (out, written) = write(&corpus, &[true], &stretches_of(&corpus, "cut"));
        assert_eq!(fs::read_to_string(out.path().join("a.jsonl")).unwrap(), record(expected));
        assert_eq!(written.n_bytes, record(expected).len() as u64 - 1);
        assert_eq!(texts(&open(out.path(), &config).unwrap()), [left], "{raw}");
    }
}

#[test]
#[should_panic(expected = "overlap")]
fn cuts_that_overlap_are_a_mistake_of_the_caller() {
    let folder = Folder::new();
    let corpus = open(&folder.write("a.txt", "abc"), &OpenConfig::standard()).unwrap();
    write(&corpus, &[true], &[stretch(0, 0, 2), stretch(0, 1, 3)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is cut, the text that is read back is the text without it, and all other bytes are the same.
    #[test]
    fn what_is_read_back_is_the_text_without_the_cuts(
        chars in prop::collection::vec((prop::sample::select(vec!['a', '"', '\\', '\n', '\u{1}', 'é', '€', '😀']), any::<bool>(), any::<bool>()), 0..30),
    ) {
        let text: String = chars.iter().map(|(c, ..)| *c).collect();
        let mut raw = String::new();
        for (c, is_escaped, _) in &chars {
            let must = matches!(c, '"' | '\\') || c.is_control();
            match *is_escaped || must {
                true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| raw += &format!("\\u{unit:04X}")),
                false => raw.push(*c),
            }
        }
        let (mut cuts, mut left, mut at) = (Vec::new(), String::new(), 0);
        for (c, _, goes) in &chars {
            let end = at + c.len_utf8() as u64;
            match goes {
                true => cuts.push(stretch(0, at, end)),
                false => left.push(*c),
            }
            at = end;
        }
        let folder = Folder::new();
        let record = |raw: &str| format!("{{\"a\":\"\\u0061\", \"text\":\"{raw}\",\"z\": 1.0}}\n");
        let corpus = open(&folder.write("a.jsonl", record(&raw)), &skip()).unwrap();
        prop_assert_eq!(texts(&corpus), [text]);
        let (out, _) = write(&corpus, &[true], &cuts);
        let again = open(out.path(), &skip()).unwrap();
        prop_assert_eq!(texts(&again), [left]);
        let content = fs::read_to_string(out.path().join("a.jsonl")).unwrap();
        let [head, tail] = ["{\"a\":\"\\u0061\", \"text\":\"", "\",\"z\": 1.0}\n"];
        prop_assert!(content.starts_with(head) && content.ends_with(tail), "{}", content);
    }
}

//! Repeated lines: against counting them in a map, and what is left of the texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use verbatim_corpus::{Corpus, DocId, OpenConfig};
use verbatim_index::{Normalizer, Step};
use verbatim_store::Silent;

use super::fixture::{Draw, exact_only, json, near, plan, plan_with_hash};
use crate::apply::{Tally, apply, write_plan};
use crate::config::{DedupConfig, Stage};
use crate::cut::CutCount;
use crate::keep::Keep;
use crate::lines::{LineUnit, LinesConfig};
use crate::plan::Plan;

fn lines_only(unit: LineUnit, min_bytes: u64, min_count: u64) -> DedupConfig {
    let normalize = Normalizer::new(vec![Step::Casefold, Step::Whitespace]);
    let lines = Some(LinesConfig { unit, min_bytes, min_count, normalize });
    DedupConfig { exact: None, lines, ..exact_only(Vec::new()) }
}

/// A corpus whose file stays while it is held.
fn corpus_of<S: AsRef<str>>(texts: &[S]) -> (TempDir, Corpus) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let records: String =
        texts.iter().map(|text| format!("{}\n", json!({ "text": text.as_ref() }))).collect();
    verbatim_store::write_shared(&path, records.as_bytes()).unwrap();
    let corpus = Corpus::open(&[path], &OpenConfig::standard(), &Silent).unwrap();
    (folder, corpus)
}

/// What the survivors are after a plan is carried out, and the account.
fn carried_out(corpus: &Corpus, plan: &Plan) -> (Vec<String>, Tally) {
    let out = tempfile::tempdir().unwrap();
    let tally = apply(corpus, plan, out.path(), &Silent).unwrap();
    let dry = tempfile::tempdir().unwrap();
    assert_eq!(write_plan(corpus, plan, dry.path()).unwrap(), tally);
    let written = Corpus::open(&[out.path().into()], &OpenConfig::standard(), &Silent).unwrap();
    assert_eq!((written.n_documents(), written.record_bytes()), (tally.kept.documents, tally.kept.bytes));
    (written.ids().map(|id| written.text_str(id).into_owned()).collect(), tally)
}

fn remaining<S: AsRef<str>>(texts: &[S], config: &DedupConfig) -> Vec<String> {
    let (_folder, corpus) = corpus_of(texts);
    carried_out(&corpus, &plan(&corpus, config, &Silent).unwrap()).0
}

/// The lines of a text with their line ends, or its paragraphs without.
fn parts(text: &str, unit: LineUnit) -> Vec<String> {
    let lines = text.split_inclusive('\n');
    match unit {
        LineUnit::Line => lines.map(str::to_owned).collect(),
        LineUnit::Paragraph => {
            let lines: Vec<&str> = lines.collect();
            let paragraphs = lines.split(|line| line.trim().is_empty()).map(|lines| lines.concat());
            let content =
                |p: String| p.strip_suffix('\n').map_or(p.clone(), |p| p.trim_end_matches('\r').to_owned());
            paragraphs.filter(|p| !p.is_empty()).map(content).collect()
        }
    }
}

/// For each document the parts that go, by a map of all parts; the slow and plain way.
fn naive(
    texts: &[String],
    ranking: &[usize],
    (unit, min_bytes, min_count): (LineUnit, usize, usize),
) -> Vec<Vec<bool>> {
    let normalized = |part: &str| part.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for text in texts {
        parts(text, unit).iter().for_each(|part| *counts.entry(normalized(part)).or_default() += 1);
    }
    let mut seen = BTreeSet::new();
    let mut goes = vec![Vec::new(); texts.len()];
    for &doc in ranking {
        for part in parts(&texts[doc], unit) {
            let key = normalized(&part);
            let is_repeat = key.len() >= min_bytes.max(1) && counts[&key] >= min_count;
            goes[doc].push(is_repeat && !seen.insert(key));
        }
    }
    goes
}

/// What stays of a text, by its lines: a last line without a line end takes the one before it along.
fn left(text: &str, goes: &[bool]) -> String {
    let lines = parts(text, LineUnit::Line);
    let mut left: String =
        lines.iter().zip(goes).filter(|(_, goes)| !**goes).map(|(line, _)| line.as_str()).collect();
    if goes.last() == Some(&true) && !text.ends_with('\n') && left.ends_with('\n') {
        left.truncate(left.len() - if left.ends_with("\r\n") { 2 } else { 1 });
    }
    left
}

fn arbitrary_texts() -> impl Strategy<Value = Vec<String>> {
    let word = prop::sample::select(vec!["a", "A", "bé", "😀 \"x\"", "a  b", "\\", "", " ", "long line"]);
    let end = prop::sample::select(vec!["\n", "\r\n", "\n\n", ""]);
    let text = prop::collection::vec((word, end), 0..8)
        .prop_map(|lines| lines.iter().map(|(word, end)| format!("{word}{end}")).collect::<String>());
    prop::collection::vec(text, 0..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cuts_agree_with_a_map_of_all_lines(
        texts in arbitrary_texts(), is_longest in any::<bool>(), min_bytes in 0..4_usize, min_count in 2..4_usize,
        is_forged in any::<bool>(),
    ) {
        for unit in [LineUnit::Line, LineUnit::Paragraph] {
            let mut ranking: Vec<usize> = (0..texts.len()).collect();
            let mut config = lines_only(unit, min_bytes as u64, min_count as u64);
            if is_longest {
                ranking.sort_by_key(|&doc| std::cmp::Reverse(texts[doc].len()));
                config.keep = Keep::Longest;
            }
            let goes = naive(&texts, &ranking, (unit, min_bytes, min_count));
            let (_folder, corpus) = corpus_of(&texts);
            let hash = |text: &[u8]| text.len() as u64 % 2;
            let plan = match is_forged {
                true => plan_with_hash(&corpus, &config, hash),
                false => plan(&corpus, &config, &Silent).unwrap(),
            };
            let (found, tally) = carried_out(&corpus, &plan);
            let is_emptied = |doc: usize| {
                let kept = parts(&texts[doc], unit).iter().zip(&goes[doc]).any(|(part, goes)| !goes && !part.trim().is_empty());
                goes[doc].contains(&true) && !kept
            };
            let stay: Vec<usize> = (0..texts.len()).filter(|&doc| !is_emptied(doc)).collect();
            prop_assert_eq!(found.len(), stay.len());
            for (found, &doc) in found.iter().zip(&stay) {
                if unit == LineUnit::Line {
                    prop_assert_eq!(found, &left(&texts[doc], &goes[doc]), "of {:?}", texts[doc]);
                } else {
                    let paragraphs = parts(&texts[doc], unit).into_iter().zip(&goes[doc]);
                    let expected: Vec<String> = paragraphs.filter(|(_, goes)| !**goes).map(|(part, _)| part).collect();
                    prop_assert_eq!(parts(found, unit), expected, "of {:?}", texts[doc]);
                }
            }
            let n_cut: usize = stay.iter().map(|&doc| goes[doc].iter().filter(|goes| **goes).count()).sum();
            prop_assert_eq!(tally.cut.stretches, n_cut as u64);
        }
    }
}

#[test]
fn what_remains_reads_as_if_the_line_had_never_been_there() {
    let line = lines_only(LineUnit::Line, 1, 2);
    let paragraph = lines_only(LineUnit::Paragraph, 1, 2);
    for (config, text, expected) in [
        (&line, "x\nb\nc", "b\nc"),
        (&line, "b\nx\nc\n", "b\nc\n"),
        (&line, "b\r\nc\r\nx\r\n", "b\r\nc\r\n"),
        (&line, "b\nc\nx", "b\nc"),
        (&line, "b\r\nx\r\ny", "b"),
        (&line, "b\n\nx", "b\n"),
        (&line, "b\nx\n\ny", "b\n"),
        (&paragraph, "x\n\nb\nc", "b\nc"),
        (&paragraph, "b\n\nx\n \n\nc\n", "b\n\nc\n"),
        (&paragraph, "b\r\n\r\nx\r\n", "b\r\n"),
        (&paragraph, "b\n\nx\n\ny\n\n\n", "b\n\n\n"),
        (&paragraph, "\nx\n\nb", "\nb"),
    ] {
        let found = remaining(&["x\n\ny", text], config);
        assert_eq!(found, ["x\n\ny", expected], "{text:?}");
    }
}

#[test]
fn texts_that_are_not_utf8_lose_lines_by_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let shared = b"caf\xe9 caf\xe9 caf\xe9 caf\xe9\r\n";
    let texts = [b"\x80 a\n".to_vec(), b"\xff\xfe b\n".to_vec(), b"\n\xe9".to_vec()]
        .map(|text| [&shared[..], &text].concat());
    for (i, text) in texts.iter().enumerate() {
        verbatim_store::write_shared(&folder.path().join(format!("{i}.txt")), text).unwrap();
    }
    let corpus = Corpus::open(&[folder.path().into()], &OpenConfig::standard(), &Silent).unwrap();
    let plan = plan(&corpus, &lines_only(LineUnit::Line, 10, 2), &Silent).unwrap();
    let out = tempfile::tempdir().unwrap();
    apply(&corpus, &plan, out.path(), &Silent).unwrap();
    let written = |i: usize| fs::read(out.path().join(format!("{i}.txt"))).unwrap();
    assert_eq!(
        (written(0), written(1), written(2)),
        (texts[0].clone(), b"\xff\xfe b\n".to_vec(), b"\n\xe9".to_vec())
    );
    let listed = fs::read_to_string(out.path().join("_verbatim/cuts.jsonl")).unwrap();
    assert_eq!(listed.matches("\"char_end\":21").count(), 2, "{listed}");
}

#[test]
fn short_lines_stay_and_rare_ones_too() {
    let texts = ["}\nthe same line of text\nonce", "}\nthe  SAME line of text\ntwice", "}\nthrice\ntwice"];
    assert_eq!(remaining(&texts, &lines_only(LineUnit::Line, 10, 2))[1], "}\ntwice");
    assert_eq!(remaining(&texts, &lines_only(LineUnit::Line, 10, 3)), texts);
    assert_eq!(
        remaining(&texts, &lines_only(LineUnit::Line, 1, 3))[1..],
        ["the  SAME line of text\ntwice", "thrice\ntwice"]
    );
    // The length is that of the normalised line: blanks do not make a line long.
    let padded = ["a            b\nx", "a            b\ny"];
    assert_eq!(remaining(&padded, &lines_only(LineUnit::Line, 4, 2)), padded);
}

#[test]
fn an_emptied_document_goes_and_names_one_that_has_its_first_line() {
    let (_folder, corpus) = corpus_of(&["head\none", "two\nfoot", " foot \n\nhead\n", "", " \n"]);
    let plan = plan(&corpus, &lines_only(LineUnit::Line, 1, 2), &Silent).unwrap();
    assert!(plan.cuts().is_empty());
    let [removal] = plan.removals() else { panic!("{:?}", plan.removals()) };
    assert_eq!((removal.doc, removal.kept, removal.stage), (DocId(2), DocId(1), Stage::Lines));
    let (texts, tally) = carried_out(&corpus, &plan);
    assert_eq!(texts, ["head\none", "two\nfoot", "", " \n"], "blank texts were blank before");
    assert_eq!((tally.removed, tally.cut), (plan.stages()[0].removed, CutCount::default()));
    assert_eq!(tally.removed.documents, 1);
}

#[test]
fn removed_documents_neither_count_nor_lose_and_what_they_went_for_stays_whole() {
    let exact = |config: DedupConfig| DedupConfig { exact: exact_only(vec![]).exact, ..config };
    // Without the exact stage the line stands three times, after it once.
    let (_folder, corpus) = corpus_of(&["one line", "one line", "one line"]);
    let plan_of = |corpus, config| plan(corpus, &exact(config), &Silent).unwrap();
    let found = plan_of(&corpus, lines_only(LineUnit::Line, 1, 2));
    assert_eq!((found.removals().len(), found.cuts().len(), found.stages()[1].n_compared), (2, 0, 0));
    // Document 1 would be emptied, but 2 went for it.
    let (_folder, corpus) = corpus_of(&["head\none", "head", "head", "head\nthree"]);
    let found = plan_of(&corpus, lines_only(LineUnit::Line, 1, 2));
    assert_eq!(carried_out(&corpus, &found).0, ["head\none", "head", "three"]);
}

#[test]
fn lines_are_counted_after_near_copies_went() {
    let shared = "one two three four five six seven eight nine ten";
    let (_folder, corpus) = corpus_of(&[
        format!("{shared}\nx"),
        format!("{shared}\ny"),
        format!("a\nb\n{shared}\nc d e f g h i j k l m"),
    ]);
    let config = DedupConfig { minhash: Some(near(1, 0.8)), ..lines_only(LineUnit::Line, 40, 2) };
    let found = plan(&corpus, &config, &Silent).unwrap();
    let cuts: Vec<_> =
        found.cuts().iter().map(|cut| (cut.doc.0, cut.start, cut.kept.0, cut.kept_start)).collect();
    assert_eq!((found.removals()[0].doc, found.removals()[0].stage), (DocId(1), Stage::Minhash));
    assert_eq!(cuts, [(2, 4, 0, 0)]);
}

#[test]
fn fault_33_lines_whose_hashes_are_forged_to_collide_never_merge() {
    let texts = ["one\ntwo\nsix", "two\nten", "six\none and\nten\nall"];
    let expected = ["one\ntwo\nsix", "ten", "one and\nall"];
    let (_folder, corpus) = corpus_of(&texts);
    for hash in [|_: &[u8]| 7u64, |line: &[u8]| u64::from(line[0] & 1)] {
        let plan = plan_with_hash(&corpus, &lines_only(LineUnit::Line, 1, 2), hash);
        assert_eq!(carried_out(&corpus, &plan).0, expected);
    }
}

#[test]
fn fault_34_lines_that_are_all_equal_or_all_different_take_linear_work() {
    let n = 20_000;
    let config = lines_only(LineUnit::Line, 1, 2);
    let of = |line: fn(usize) -> String| {
        let texts: Vec<String> =
            (0..n / 10).map(|doc| (0..10).map(|i| line(10 * doc + i)).collect()).collect();
        let (_folder, corpus) = corpus_of(&texts);
        let plan = plan(&corpus, &config, &Silent).unwrap();
        (carried_out(&corpus, &plan), plan.stages()[0].n_compared)
    };
    let ((left, tally), n_compared) = of(|_| "the same line\n".to_owned());
    assert_eq!((left, n_compared), (vec!["the same line\n".to_owned()], n as u64 - 1));
    assert_eq!((tally.removed.documents, tally.cut.stretches), (n as u64 / 10 - 1, 9));
    let ((left, tally), n_compared) = of(|i| format!("line {i}\n"));
    assert_eq!((left.len(), n_compared, tally.cut), (n / 10, 0, CutCount::default()));
}

#[test]
fn peer_text_dedup_no_line_crosses_documents() {
    // A tool that joins all texts before it looks for repeats finds "ab" where one text ends in "a" and the next
    // begins with "b".
    let texts = ["first\nab", "second\na", "b\nthird", "ab"];
    assert_eq!(remaining(&texts, &lines_only(LineUnit::Line, 1, 2)), texts[..3]);
    let texts = ["x\n\na", "b\n\ny", "a\nb\n\nz"];
    assert_eq!(remaining(&texts, &lines_only(LineUnit::Paragraph, 1, 2)), texts);
}

#[test]
fn peer_datatrove_only_the_copy_is_cut_and_documents_without_cuts_are_there() {
    // datatrove replaces the repeated text wherever it stands in the document, and drops documents of a shard that
    // has nothing to cut.
    let texts = ["a line of text", "a line of text\nand a line of text inside another", "untouched"];
    let expected = ["a line of text", "and a line of text inside another", "untouched"];
    assert_eq!(remaining(&texts, &lines_only(LineUnit::Line, 5, 2)), expected);
    let own = ["first\nagain\nagain and more\nagain"];
    assert_eq!(remaining(&own, &lines_only(LineUnit::Line, 5, 2)), ["first\nagain\nagain and more"]);
}

#[test]
fn peer_dolma_a_least_length_leaves_long_lines_to_be_found_and_offsets_right_to_the_end() {
    // dolma's branch is unreachable with a least length, and it counts the last paragraph partly in characters.
    let texts = ["ééé\nthe last line, é", "no\nñandú 😀\nthe last line, é"];
    let (_folder, corpus) = corpus_of(&texts);
    let found = plan(&corpus, &lines_only(LineUnit::Line, 8, 2), &Silent).unwrap();
    let [cut] = found.cuts() else { panic!("{:?}", found.cuts()) };
    assert_eq!(&texts[1][cut.start as usize..cut.end as usize], "\nthe last line, é");
    assert_eq!(&texts[0][cut.kept_start as usize..], "the last line, é");
}

#[test]
fn peer_text_dedup_bytes_and_characters_are_told_apart() {
    let texts = ["dieselbe Zeile", "Grüße 😀\ndieselbe Zeile\nÄ\nDieselbe  Zeile\nend"];
    let (_folder, corpus) = corpus_of(&texts);
    let plan = plan(&corpus, &lines_only(LineUnit::Line, 8, 2), &Silent).unwrap();
    let out = tempfile::tempdir().unwrap();
    apply(&corpus, &plan, out.path(), &Silent).unwrap();
    let listed = fs::read_to_string(out.path().join("_verbatim/cuts.jsonl")).unwrap();
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed.len(), 2);
    let number = |line: &Value, name: &str| line[name].as_u64().unwrap() as usize;
    for (line, expected) in listed.iter().zip(["dieselbe Zeile\n", "Dieselbe  Zeile\n"]) {
        assert_eq!(&texts[1][number(line, "start")..number(line, "end")], expected);
        let chars: String = texts[1].chars().skip(number(line, "char_start")).collect();
        assert!(chars.starts_with(expected), "{line}");
        assert_eq!(number(line, "char_end") - number(line, "char_start"), expected.chars().count());
        assert_eq!((number(line, "line"), number(line, "kept_line"), number(line, "kept_start")), (2, 1, 0));
        assert_eq!(line["stage"], "lines");
        assert!(
            line["id"].as_str().unwrap().ends_with(":2") && line["kept"].as_str().unwrap().ends_with(":1")
        );
    }
}

#[test]
fn the_plan_has_the_same_bytes_for_any_number_of_threads() {
    let mut draw = Draw::new(11);
    let pool: Vec<String> = (0..300).map(|_| draw.text(4).join(" ")).collect();
    let texts: Vec<String> = (0..800)
        .map(|_| {
            let n_lines = draw.below(9) as usize;
            let lines: Vec<&str> = (0..n_lines).map(|_| pool[draw.below(300) as usize].as_str()).collect();
            format!("{}\n{}", draw.text(5).join(" "), lines.join("\n"))
        })
        .collect();
    let (_folder, corpus) = corpus_of(&texts);
    for keep in ["first", "longest", "random:3"] {
        let config = DedupConfig { keep: keep.parse().unwrap(), ..lines_only(LineUnit::Line, 10, 2) };
        let run = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| json(&plan(&corpus, &config, &Silent).unwrap()))
        };
        let one = run(1);
        assert!(one.matches("\"kept_start\"").count() > 500, "{keep}");
        assert!(run(2) == one && run(8) == one, "{keep}");
    }
}

#[test]
fn plans_with_cuts_that_contradict_themselves_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    let (_folder, corpus) = corpus_of(&["one\ntwo", "one\nthree\ntwo\nfour", "two\nfive"]);
    let good = plan(&corpus, &lines_only(LineUnit::Line, 1, 2), &Silent).unwrap();
    good.save(&path).unwrap();
    assert_eq!(Plan::load(&path).unwrap(), good);
    let good: Value = serde_json::from_str(&json(&good)).unwrap();
    assert_eq!(good["cuts"].as_array().unwrap().len(), 3);
    let cut = |doc: u64, start: u64, end: u64, kept: u64, kept_start: u64| json!({"doc": doc, "start": start, "end": end, "kept": kept, "kept_start": kept_start, "stage": "lines"});
    let removal = json!([{"doc": 2, "kept": 0, "stage": "exact", "similarity": 1.0}]);
    let changes = [
        ("cuts", json!([cut(1, 4, 8, 0, 0), cut(1, 0, 4, 0, 0)]), "not in order or overlap"),
        ("cuts", json!([cut(1, 0, 5, 0, 0), cut(1, 4, 8, 0, 0)]), "not in order or overlap"),
        ("cuts", json!([cut(1, 4, 4, 0, 0)]), "from byte 4 to 4"),
        ("cuts", json!([cut(1, 0, 4, 9, 0)]), "document 9 of 3"),
        ("cuts", json!([cut(0, 0, 4, 1, 0), cut(1, 0, 4, 0, 3)]), "is kept and cut"),
        ("removals", removal, "document 2 is in a cut and removed"),
    ];
    for (i, (field, value, expected)) in changes.into_iter().enumerate() {
        let path = folder.path().join(format!("{i}.json"));
        let mut bad = good.clone();
        bad[field] = value;
        verbatim_store::write_shared(&path, bad.to_string().as_bytes()).unwrap();
        let error = Plan::load(&path).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    // A plan of before there were cuts.
    let mut old = good;
    old.as_object_mut().unwrap().remove("cuts");
    old["parameters"].as_object_mut().unwrap().remove("lines");
    old["stages"][0].as_object_mut().unwrap().remove("cut");
    old["stages"][0]["stage"] = "exact".into();
    let path = folder.path().join("old.json");
    verbatim_store::write_shared(&path, old.to_string().as_bytes()).unwrap();
    assert!(Plan::load(&path).unwrap().cuts().is_empty());
}

#[test]
fn a_cut_that_falls_inside_a_character_stops_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (_folder, corpus) = corpus_of(&["line\nx", "line\né"]);
    let plan = plan(&corpus, &lines_only(LineUnit::Line, 1, 2), &Silent).unwrap();
    let mut bad: Value = serde_json::from_str(&json(&plan)).unwrap();
    bad["cuts"][0]["end"] = 6.into();
    let path = folder.path().join("plan.json");
    verbatim_store::write_shared(&path, bad.to_string().as_bytes()).unwrap();
    let error = apply(&corpus, &Plan::load(&path).unwrap(), folder.path(), &Silent).unwrap_err();
    assert_eq!(error.exit_code(), 65);
}

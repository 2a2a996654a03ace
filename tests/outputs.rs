//! What `--emit` writes: ids, attributes, clusters, fields and weights.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;
use serde_json::{Value, json};

use crate::harness::Scene;

const FOX: &str = "the quick brown fox jumps over the lazy dog near the river bank on a sunny day in june while \
                   the farmer counts his sheep and the miller grinds the corn for the whole village — évidemment";

/// Five records: b repeats a, c is a near copy, d has no id, e has nothing to do with any.
fn corpus() -> String {
    [
        json!({"id": "a", "text": FOX, "n": 1}),
        json!({"text": FOX, "id": "b"}),
        json!({"id": "c", "text": format!("{FOX} and the town")}),
        json!({"text": "a text of its own, without an id, and not at all like the others of this corpus"}),
        json!({"id": 5, "text": "another text that has nothing to do with foxes, dogs, or rivers in the sun"}),
    ]
    .map(|record| record.to_string() + "\n")
    .concat()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines_of(scene: &Scene, name: &str) -> Vec<Value> {
    lines(&scene.text(name))
}

#[test]
fn ids_stand_one_a_line_and_join_with_the_input() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    scene.run(["dedup", "corpus.jsonl", "-o", "out", "--emit", "ids"]).ok();
    assert_eq!(scene.text("out/ids/kept.txt"), "a\ncorpus.jsonl:4\n5\n");
    assert_eq!(scene.text("out/ids/removed.txt"), "b\nc\n");
    assert!(!scene.path("out/corpus.jsonl").exists());
    let report = scene.json("out/_verbatim/report.json");
    assert_eq!(report["result"]["outcome"], "listed");
    let piped = scene.run(["dedup", "corpus.jsonl", "-o", "-", "--emit", "ids"]).ok();
    assert_eq!(piped.stdout, "a\ncorpus.jsonl:4\n5\n");
}

#[test]
fn a_report_tells_how_long_each_stage_took_the_last_one_too() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    scene.run(["dedup", "corpus.jsonl", "-o", "out"]).ok();
    let stages = scene.json("out/_verbatim/report.json")["run"]["stages"].clone();
    let names: Vec<&str> =
        stages.as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["reading", "signing", "comparing", "writing"]);
}

#[test]
fn an_id_with_a_line_break_is_no_line_of_a_list() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus() + "{\"id\": \"x\\ny\", \"text\": \"secret\"}\n");
    for output in ["out", "-"] {
        let run = scene.run(["dedup", "corpus.jsonl", "-o", output, "--emit", "ids"]);
        let run = run.failed(65, "corpus.jsonl:6:");
        assert!(!run.stderr.contains("secret"), "{run:?}");
    }
    assert_eq!(scene.names(), ["corpus.jsonl"]);
    scene.run(["dedup", "corpus.jsonl", "-o", "out", "--emit", "clusters,filtered"]).ok();
}

#[test]
fn attributes_lie_beside_the_documents_row_by_row() {
    let scene = Scene::new();
    scene.write(
        "data/documents/x.jsonl",
        corpus() + "not a record\n\n{\"id\": \"z\", \"text\": \"the end\"}\n",
    );
    let arguments = ["dedup", "data", "-o", "out", "--emit", "attributes", "--attribute-name", "near"];
    scene.run(arguments.iter().chain(&["--on-bad", "skip", "--max-bad", "0.5"])).ok();
    let rows = lines(&scene.text("out/attributes/near/documents/x.jsonl"));
    let ids: Vec<&Value> = rows.iter().map(|row| &row["id"]).collect();
    assert_eq!(json!(ids), json!(["a", "b", "c", "documents/x.jsonl:4", "5", null, "z"]));
    // The unit is characters, as in Python: `—` and `é` are one each.
    let n_chars = FOX.chars().count();
    assert!(n_chars < FOX.len());
    assert_eq!(
        rows[1]["attributes"],
        json!({"near__removed": [[0, n_chars, 1.0]], "near__duplicate_count": 3, "near__cluster_id": "a"})
    );
    assert_eq!(
        rows[0]["attributes"],
        json!({"near__removed": [], "near__duplicate_count": 3, "near__cluster_id": "a"})
    );
    assert_eq!(rows[5]["attributes"], json!({}));
    assert_eq!(rows[6]["attributes"]["near__cluster_id"], "z");
}

#[test]
fn the_cuts_of_a_document_that_stays_are_spans_and_leave_its_new_field_in_place() {
    let scene = Scene::new();
    let notice = "—— all rights reserved, and no part of this page may be copied ——";
    let page = |own: &str| format!("{own}\n{notice}\n\u{e9}nd }} of page");
    let records = ["one", "two"].map(|own| json!({"id": own, "text": page(own)}).to_string() + "\n");
    scene.write("corpus.jsonl", records.concat());
    let lines = ["dedup", "corpus.jsonl", "--lines", "line"];
    scene.run(lines.iter().chain(&["-o", "out", "--emit", "attributes"])).ok();
    let rows = lines_of(&scene, "out/attributes/dedup/corpus.jsonl");
    let n_chars = notice.chars().count() + 1;
    assert_eq!(rows[0]["attributes"]["dedup__removed"], json!([]));
    assert_eq!(rows[1]["attributes"]["dedup__removed"], json!([[4, 4 + n_chars, 1.0]]));
    scene.run(lines.iter().chain(&["-o", "clean", "--count-field", "copies"])).ok();
    let expected = json!({"id": "two", "text": "two\nénd } of page", "copies": 1});
    assert_eq!(lines_of(&scene, "clean/corpus.jsonl")[1], expected);
    let weights = ["-o", "weighed", "--weights", "1", "--weight-field", "w"];
    scene.run(lines.iter().chain(&weights)).failed(2, "--lines");
}

#[test]
fn beside_a_clean_corpus_nothing_else_looks_like_data() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    scene.run(["dedup", "corpus.jsonl", "-o", "out", "--emit", "filtered,ids,attributes,clusters"]).ok();
    let top: Vec<String> = scene.tree("out").into_iter().map(|(name, _)| name).collect();
    let beside: Vec<&String> = top.iter().filter(|name| !name.starts_with("_verbatim/")).collect();
    assert_eq!(beside, ["corpus.jsonl"]);
    for name in
        ["ids/kept.txt", "ids/removed.txt", "attributes/dedup/corpus.jsonl", "clusters/documents.jsonl"]
    {
        assert!(top.contains(&format!("_verbatim/{name}")), "{name} in {top:?}");
    }
    // What is read again is the clean corpus and no list.
    let again = scene.run(["dedup", "out", "-o", "-", "--emit", "ids"]).ok();
    assert_eq!(again.stdout, "a\ncorpus.jsonl:2\n5\n");
}

#[test]
fn clusters_name_every_document_that_has_a_copy() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    scene.run(["dedup", "corpus.jsonl", "-o", "out", "--emit", "clusters"]).ok();
    let rows = lines(&scene.text("out/clusters/documents.jsonl"));
    let near = rows[2]["similarity"].as_f64().unwrap();
    assert!((0.8..1.0).contains(&near));
    let row = |id: &str, line: u64, stage: Value, similarity: Value| {
        json!({
            "id": id, "cluster": 0, "cluster_id": "a", "cluster_size": 3, "kept": id == "a", "stage": stage,
            "similarity": similarity, "path": "corpus.jsonl", "line": line,
        })
    };
    let expected = [
        row("a", 1, json!(null), json!(null)),
        row("b", 2, json!("exact"), json!(1.0)),
        row("c", 3, json!("minhash"), json!(near)),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn survivors_get_the_size_of_their_cluster_as_a_field() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    scene.run(["dedup", "corpus.jsonl", "-o", "out", "--count-field", "copies"]).ok();
    let input = corpus();
    let input: Vec<&str> = input.lines().collect();
    let with = |line: &str, n: u64| format!("{},\"copies\":{n}}}\n", line.strip_suffix('}').unwrap());
    let expected = with(input[0], 3) + &with(input[3], 1) + &with(input[4], 1);
    assert_eq!(scene.text("out/corpus.jsonl"), expected);
    let piped = scene.run(["dedup", "corpus.jsonl", "-o", "-", "--count-field", "copies"]).ok();
    assert_eq!(piped.stdout, expected);
    let run = scene.run(["dedup", "corpus.jsonl", "-o", "refused", "--count-field", "n"]);
    run.failed(65, "corpus.jsonl:1:");
    let run = scene.run(["dedup", "corpus.jsonl", "-o", "-", "--count-field", "n"]).failed(65, "`n`");
    assert_eq!(run.stdout, "");
    scene.write("a.txt", "words");
    scene.run(["dedup", "a.txt", "-o", "refused", "--count-field", "n"]).failed(2, "a.txt");
    assert!(!scene.path("refused").exists());
}

#[test]
fn files_of_columns_get_no_fields_and_say_so() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["one text", "one text", "another"]));
    let batch = RecordBatch::try_from_iter([("text", texts)]).unwrap();
    let mut file = FileWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    file.write(&batch).unwrap();
    let scene = Scene::new();
    scene.write("a.arrow", file.into_inner().unwrap());
    let run = ["dedup", "a.arrow", "-o", "out"];
    for fields in
        [&["--count-field", "n"][..], &["--cluster-field", "n"], &["--weights", "1", "--weight-field", "n"]]
    {
        scene.run(run.iter().chain(fields)).failed(2, "a.arrow is not JSON lines");
        assert_eq!(scene.names(), ["a.arrow"]);
    }
    scene.run(run).ok();
    assert!(scene.read("out/a.arrow").starts_with(b"ARROW1"));
}

#[test]
fn with_weights_every_document_stays_and_a_cluster_weighs_its_root() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    let weights = ["dedup", "corpus.jsonl", "--weights", "0.5"];
    scene.run(weights.iter().chain(&["-o", "rows", "--emit", "attributes,clusters"])).ok();
    let rows = lines(&scene.text("rows/attributes/dedup/corpus.jsonl"));
    assert_eq!(
        rows[2]["attributes"],
        json!({"dedup__duplicate_count": 3, "dedup__cluster_id": "a", "dedup__weight": 0.57735026919})
    );
    assert_eq!(rows[3]["attributes"]["dedup__weight"], 1.0);
    assert_eq!(lines(&scene.text("rows/clusters/documents.jsonl"))[0]["weight"], 0.57735026919);
    let fields = ["--weight-field", "w", "--count-field", "copies", "--cluster-field", "of"];
    scene.run(weights.iter().chain(&["-o", "all"]).chain(&fields)).ok();
    let records = lines(&scene.text("all/corpus.jsonl"));
    let told: Vec<Value> =
        records.iter().map(|record| json!([record["copies"], record["of"], record["w"]])).collect();
    let copy = json!([3, "a", 0.57735026919]);
    assert_eq!(json!(told), json!([copy, copy, copy, [1, "corpus.jsonl:4", 1.0], [1, "5", 1.0]]));
    let report = scene.json("all/_verbatim/report.json");
    assert_eq!(report["result"]["outcome"], "weighted");
    assert_eq!(report["result"]["flow"]["removed"]["documents"], 2);
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    for wrong in [
        &["-o", "out", "--emit", "everything"][..],
        &["-o", "out", "--emit", ""],
        &["-o", "-", "--emit", "attributes"],
        &["-o", "-", "--emit", "ids,filtered"],
        &["-o", "out", "--emit", "ids", "--count-field", "n2"],
        &["-o", "out", "--emit", "attributes", "--attribute-name", "../up"],
        &["-o", "out", "--emit", "attributes", "--attribute-name", ".."],
        &["-o", "out", "--weights", "0.5"],
        &["-o", "out", "--weights", "-1", "--weight-field", "w"],
        &["-o", "out", "--weights", "99", "--weight-field", "w"],
        &["-o", "out", "--weights", "0.5", "--emit", "ids"],
        &["-o", "out", "--weight-field", "w"],
        &["-o", "out", "--weights", "1", "--weight-field", "w", "--count-field", "w"],
        &["-o", "out", "--dry-run", "--emit", "ids"],
    ] {
        scene.run(["dedup", "corpus.jsonl"].iter().chain(wrong)).failed(2, "");
        assert_eq!(scene.names(), ["corpus.jsonl"], "{wrong:?}");
    }
}

#[test]
fn a_plan_emits_later_what_one_run_emits() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    let emit = ["--emit", "ids,clusters,attributes"];
    scene.run(["dedup", "corpus.jsonl", "-o", "once"].iter().chain(&emit)).ok();
    scene.run(["dedup", "corpus.jsonl", "-o", "plan", "--dry-run"]).ok();
    scene.run(["apply", "plan/_verbatim/plan.json", "-o", "later"].iter().chain(&emit)).ok();
    let tree = |name: &str| {
        let mut tree = scene.tree(name);
        tree.retain(|(path, _)| !path.starts_with("_verbatim/report."));
        tree
    };
    assert_eq!(tree("once"), tree("later"));
}

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    let trees = ["1", "2", "8"].map(|threads| {
        let output = format!("out{threads}");
        let emit =
            ["--emit", "filtered,ids,clusters,attributes", "--count-field", "copies", "--threads", threads];
        scene.run(["dedup", "corpus.jsonl", "-o", &output].iter().chain(&emit)).ok();
        let mut tree = scene.tree(&output);
        tree.retain(|(path, _)| !path.starts_with("_verbatim/report."));
        tree
    });
    assert!(trees[0] == trees[1] && trees[0] == trees[2]);
}

#[test]
fn ids_leave_a_pipe_as_they_come_in() {
    let scene = Scene::new();
    let run = scene.pipe(["dedup", "-", "-o", "-", "--emit", "ids"], corpus()).ok();
    assert_eq!(run.stdout, "a\nstdin.jsonl:4\n5\n");
}

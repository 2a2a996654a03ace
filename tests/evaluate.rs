//! `verbatim evaluate` from outside: a run measured against labels.

use serde_json::{Value, json};

use crate::harness::{Scene, real_data};

const TEXTS: [&str; 3] = [
    "the quick brown fox jumps over the lazy dog near the river bank on a sunny day in june",
    "a letter to the editor about the opening hours of the museum and the price of its tickets",
    "a recipe of bread with rye, wheat, salt and caraway that needs one night and a hot oven",
];

/// a and b are copies, c stands alone; d and e are copies in truth, but share no words.
fn scene() -> Scene {
    let scene = Scene::new();
    let records =
        [("a", TEXTS[0]), ("b", TEXTS[0]), ("c", TEXTS[1]), ("d", TEXTS[2]), ("e", "another bread")]
            .map(|(id, text)| json!({"id": id, "text": text}).to_string() + "\n");
    scene.write("corpus.jsonl", records.concat());
    scene.run(["dedup", "corpus.jsonl", "-o", "out"]).ok();
    scene
}

fn result(scene: &Scene, arguments: &[&str]) -> Value {
    let run = scene.run(["evaluate", "out", "--json"].iter().chain(arguments)).ok();
    serde_json::from_str::<Value>(&run.stdout).unwrap()["result"].take()
}

#[test]
fn labels_in_clusters_and_pairs_give_the_same_figures() {
    let scene = scene();
    let labels = [("a", 1), ("b", 1), ("c", 2), ("d", 3), ("e", 3)]
        .map(|(id, cluster)| json!({"id": id, "cluster": cluster}).to_string() + "\n");
    scene.write("clusters.jsonl", labels.concat());
    scene.write("pairs.tsv", "b\ta\ne\td\n");
    let figures = ["clusters.jsonl", "pairs.tsv"].map(|truth| {
        let mut result = result(&scene, &["--truth", truth]);
        result.as_object_mut().unwrap().remove("provenance");
        result
    });
    assert_eq!(figures[0], figures[1]);
    let found = &figures[0];
    assert_eq!(found["pairs"]["recall"], json!({"count": 1, "n": 2, "share": 0.5}));
    assert_eq!(found["removals"]["precision"]["share"], 1.0);
    assert_eq!(found["removals"]["f1"], 0.666667);
    assert_eq!(found["leaked_pairs"]["count"], 1);
    assert_eq!(found["lost_components"]["count"], 0);
    let text = scene.run(["evaluate", "out", "--truth", "pairs.tsv"]).ok().stdout;
    for told in
        ["Of 5 labelled documents, no component", "50.0% (1 of 2)", "macro F1", "exact sets", "interval"]
    {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn documents_without_a_label_are_left_out_and_unknown_ids_are_told() {
    let scene = scene();
    scene.write(
        "some.jsonl",
        "{\"id\":\"b\",\"cluster\":1}\n{\"id\":\"c\",\"cluster\":1}\n{\"id\":\"z\",\"cluster\":1}\n",
    );
    let found = result(&scene, &["--truth", "some.jsonl"]);
    assert_eq!((&found["n_documents"], &found["n_unlabelled"]), (&json!(2), &json!(3)));
    let warnings = found["warnings"].to_string();
    assert!(
        warnings.contains("1 ids that no document has") && warnings.contains("1 documents go for one"),
        "{warnings}"
    );
}

#[test]
fn a_truth_that_does_not_fit_is_refused() {
    let scene = scene();
    scene.write("pairs.tsv", "a\tb\t0.9\n");
    scene.run(["evaluate", "out", "--truth", "pairs.tsv"]).failed(2, "--truth-threshold");
    scene.run(["evaluate", "out", "--truth", "pairs.tsv", "--truth-threshold", "1.5"]).failed(2, "");
    scene.run(["evaluate", "out", "--truth", "absent.tsv"]).failed(66, "absent.tsv");
    scene.write("other.tsv", "x\ty\n");
    scene.run(["evaluate", "out", "--truth", "other.tsv"]).failed(65, "other.tsv:1: none of its ids");
    scene.run(["evaluate", "out", "--truth", "corpus.jsonl"]).failed(65, "corpus.jsonl:1:");
    let run = scene.run(["evaluate", "corpus.jsonl", "--truth", "other.tsv"]).failed(65, "plan");
    assert!(!run.stderr.contains("fox"), "{run:?}");
}

/// The pairs of SPDX licences with their exact Jaccard similarity of 5-grams of words, computed by another program.
#[test]
fn licences_lose_no_component() {
    let (Some(corpus), Some(truth)) =
        (real_data("dedup/spdx_licenses.jsonl.zst"), real_data("dedup/spdx_pairs_jaccard_ge_0.3.tsv"))
    else {
        return;
    };
    let scene = Scene::new();
    scene.run(["dedup", corpus.to_str().unwrap(), "-o", "out", "--allow-source-loss"]).ok();
    let found = result(&scene, &["--truth", truth.to_str().unwrap(), "--truth-threshold", "0.8"]);
    assert_eq!(found["n_unlabelled"], 0);
    assert_eq!(found["lost_components"]["count"], 0, "{found:#}");
    assert!(found["removals"]["precision"]["share"].as_f64().unwrap() > 0.9, "{found:#}");
}

//! `verbatim explain` from outside: why a document was removed or kept.

use serde_json::json;

use crate::harness::Scene;

const FOX: &str = "the quick brown fox jumps over the lazy dog near the river bank on a sunny day in june while \
                   the farmer counts his sheep and the miller grinds the corn for the whole village";

fn scene() -> Scene {
    let scene = Scene::new();
    let records = [
        json!({"id": "a", "text": FOX}),
        json!({"id": "b", "text": FOX}),
        json!({"id": "c", "text": FOX.replace("village", "town\u{1b}[31m")}),
        json!({"text": "a text of its own that has nothing to do with any other of the corpus"}),
        json!({"id": "twice", "text": "this is the first of two documents that have one id for the two of them"}),
        json!({"id": "twice", "text": "and here is the second one, about something else, as one can see at once"}),
    ];
    scene.write("corpus.jsonl", records.map(|record| record.to_string() + "\n").concat());
    scene.run(["dedup", "corpus.jsonl", "-o", "out"]).ok();
    scene
}

#[test]
fn a_near_copy_is_explained_without_its_text() {
    let scene = scene();
    let run = scene.run(["explain", "out", "c"]).ok();
    for told in
        ["Removed by the minhash stage", "to a, which is kept", "corpus.jsonl:3", "cluster   3 documents"]
    {
        assert!(run.stdout.contains(told), "{told}: {}", run.stdout);
    }
    // 35 words make 31 5-grams; the last word differs, and `31m` is one more.
    let shingles = "shingles  30 in both, 2 only in the removed document, 1 only in the kept one";
    assert!(run.stdout.contains(shingles), "{}", run.stdout);
    let at = FOX.find("village").unwrap();
    assert!(run.stdout.contains(&format!("characters {at}-")), "{}", run.stdout);
    for word in ["quick", "town", "village"] {
        assert!(!run.stdout.contains(word) && !run.stderr.contains(word), "{word}: {run:?}");
    }
    let told: serde_json::Value =
        serde_json::from_str(&scene.run(["explain", "out", "c", "--json"]).ok().stdout).unwrap();
    let result = &told["result"];
    assert_eq!(result["removal"]["kept"]["id"], "a");
    assert_eq!(result["cluster_size"], 3);
    assert_eq!(result["comparison"]["differences"][0]["kept_start"], at);
    assert!(result["comparison"].get("pieces").is_none());
}

#[test]
fn revealed_texts_stand_side_by_side_with_the_difference_marked() {
    let scene = scene();
    let run = scene.run(["explain", "out", "c", "--reveal"]).ok();
    assert!(run.stdout.contains(r"[-town\u{1b}[31m-]"), "{}", run.stdout);
    assert!(run.stdout.contains("{+village+}"), "{}", run.stdout);
    assert!(!run.stdout.contains('\u{1b}'), "{}", run.stdout);
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 100), "{}", run.stdout);
    let told: serde_json::Value =
        serde_json::from_str(&scene.run(["explain", "out", "c", "--json", "--reveal"]).ok().stdout).unwrap();
    let pieces = told["result"]["comparison"]["pieces"].as_array().unwrap();
    let kept: String = pieces.iter().map(|piece| piece["kept"].as_str().unwrap()).collect();
    assert_eq!(kept, FOX);
}

#[test]
fn a_kept_document_names_those_that_went_for_it() {
    let scene = scene();
    let run = scene.run(["explain", "out", "a"]).ok();
    assert!(run.stdout.contains("Kept: 2 documents go for it."), "{}", run.stdout);
    for told in ["exact     1 ", "b at corpus.jsonl:2", "minhash   0.", "c at corpus.jsonl:3"] {
        assert!(run.stdout.contains(told), "{told}: {}", run.stdout);
    }
    let exact = scene.run(["explain", "out", "b"]).ok();
    assert!(exact.stdout.contains("Removed: its text equals that of a"), "{}", exact.stdout);
    let alone = scene.run(["explain", "out/_verbatim/plan.json", "corpus.jsonl:4"]).ok();
    assert!(alone.stdout.contains("Kept: no other document"), "{}", alone.stdout);
    let by_place = scene.run(["explain", "out", "corpus.jsonl:2"]).ok();
    assert_eq!(by_place.stdout, exact.stdout);
}

#[test]
fn an_id_that_stands_twice_is_explained_once_and_said_to() {
    let scene = scene();
    let run = scene.run(["explain", "out", "twice"]).ok();
    assert!(
        run.stdout.contains("2 documents have this id; this is the one at corpus.jsonl:5"),
        "{}",
        run.stdout
    );
    let run = scene.run(["explain", "out", "corpus.jsonl:6"]).ok();
    assert!(!run.stdout.contains("have this id"), "{}", run.stdout);
}

#[test]
fn what_is_not_there_is_66_and_what_does_not_fit_is_refused() {
    let scene = scene();
    scene.run(["explain", "out", "\u{1b}[2Jnobody"]).failed(66, r"no document `\u{1b}[2Jnobody`");
    scene.run(["explain", "absent", "a"]).failed(66, "absent");
    scene.run(["explain", "corpus.jsonl", "a"]).failed(65, "plan");
    scene.write("moved/corpus.jsonl", scene.text("corpus.jsonl"));
    std::fs::remove_file(scene.path("corpus.jsonl")).unwrap();
    scene.run(["explain", "out", "a"]).failed(66, "corpus.jsonl");
    scene.run(["explain", "out", "a", "--corpus", "moved"]).ok();
    scene.write("moved/corpus.jsonl", "{\"text\": \"another\"}\n");
    scene.run(["explain", "out", "a", "--corpus", "moved"]).failed(65, "another corpus");
}

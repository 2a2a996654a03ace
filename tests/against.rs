//! A corpus without what another one has.

use crate::harness::Scene;

const OLD: &str = concat!(
    "{\"id\": \"old-1\", \"text\": \"the quick brown fox jumps over the lazy dog and runs away into the wood\"}\n",
    "{\"id\": \"old-2\", \"text\": \"a page about something else that nobody has copied so far, as it seems\"}\n",
    "{\"id\": \"old-3\", \"text\": \"a page about something else that nobody has copied so far, as it seems\"}\n",
);

const NEW: &str = concat!(
    "{\"id\": \"new-1\", \"text\": \"The quick brown fox jumps over the lazy dog and runs away into the wood\"}\n",
    "{\"id\": \"new-2\", \"text\": \"the quick brown fox jumps over the lazy dog and runs away into the wood!\"}\n",
    "{\"id\": \"new-3\", \"text\": \"what is new here comes twice, and the second time it is a copy of the first\"}\n",
    "{\"id\": \"new-4\", \"text\": \"what is new here comes twice, and the second time it is a copy of the first\"}\n",
);

fn scene() -> Scene {
    let scene = Scene::new();
    scene.write("old/part.jsonl", OLD);
    scene.write("new.jsonl", NEW);
    scene
}

/// (removed, kept) ids.
fn removed(scene: &Scene, name: &str) -> Vec<(String, String)> {
    let lines = scene.text(&format!("{name}/_verbatim/removed.jsonl"));
    let line = |line: &str| {
        let removal: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = |key: &str| removal[key].as_str().unwrap().to_owned();
        (id("id"), id("kept"))
    };
    lines.lines().map(line).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect()
}

#[test]
fn what_the_others_have_goes_and_the_others_stay() {
    let scene = scene();
    let run = ["dedup", "new.jsonl", "--against", "old", "--threshold", "0.7", "--ngram", "3"];
    for (i, stages) in [&[][..], &["--exact", "--all-pairs"], &["--all-pairs", "--cluster", "transitive"]]
        .into_iter()
        .enumerate()
    {
        for keep in ["first", "longest", "random:1"] {
            let name = format!("clean-{i}-{keep}");
            scene.run(run.iter().chain(stages).chain(&["--keep", keep, "-o", &name])).ok();
            let found = removed(&scene, &name);
            assert_eq!(found[..2], owned(&[("new-1", "old-1"), ("new-2", "old-1")]), "{stages:?}");
            assert_eq!(found.len(), 3, "{found:?}");
            assert_eq!(scene.text(&format!("{name}/new.jsonl")).lines().count(), 1);
            assert!(
                !scene.path(&format!("{name}/old")).exists()
                    && !scene.path(&format!("{name}/part.jsonl")).exists()
            );
            let report = scene.json(&format!("{name}/_verbatim/report.json"));
            assert_eq!(report["result"]["flow"]["read"]["documents"], 4);
            let corpora = &report["result"]["provenance"]["corpora"];
            assert_eq!((&corpora[1]["role"], &corpora[1]["n_documents"]), (&"against".into(), &3.into()));
        }
    }
    assert_eq!(scene.text("old/part.jsonl"), OLD);
}

#[test]
fn inputs_need_not_be_compared_with_one_another() {
    let scene = scene();
    for stages in [&[][..], &["--exact"], &["--all-pairs"], &["--minhash", "--cluster", "transitive"]] {
        let run = ["dedup", "new.jsonl", "--against", "old", "--only-against", "-o", "clean", "--force"];
        scene.run(run.iter().chain(stages).chain(&["--threshold", "0.7", "--ngram", "3"])).ok();
        let expected = [("new-1", "old-1"), ("new-2", "old-1")];
        let n = if stages == ["--exact"] { 1 } else { 2 };
        assert_eq!(removed(&scene, "clean"), owned(&expected[..n]), "{stages:?}");
    }
    scene.run(["dedup", "new.jsonl", "--only-against", "-o", "x"]).failed(2, "--against");
}

#[test]
fn lines_that_the_others_have_are_cut() {
    let scene = Scene::new();
    let page = |own: &str| {
        format!("{{\"text\": \"{own}\\nThis notice stands on each page that was ever printed.\"}}\n")
    };
    scene.write("old.jsonl", page("the first page"));
    scene.write("new.jsonl", page("the second page") + &page("the third page"));
    let run = ["dedup", "new.jsonl", "--lines", "line", "--against", "old.jsonl", "-o"];
    scene.run(run.iter().chain(&["clean"])).ok();
    let clean = scene.text("clean/new.jsonl");
    assert!(clean.contains("third page") && !clean.contains("notice"), "{clean}");
    scene.run(["dedup", "new.jsonl", "--lines", "line", "-o", "alone"]).ok();
    assert_eq!(scene.text("alone/new.jsonl").matches("notice").count(), 1);
}

#[test]
fn plans_against_others_are_applied_and_explained_and_refuse_other_others() {
    let scene = scene();
    let run = ["dedup", "new.jsonl", "--against", "old", "--threshold", "0.7", "--ngram", "3", "-o"];
    scene.run(run.iter().chain(&["plan", "--dry-run"])).ok();
    scene.run(run.iter().chain(&["clean"])).ok();
    scene.run(["apply", "plan/_verbatim/plan.json", "-o", "applied"]).ok();
    assert_eq!(scene.read("applied/new.jsonl"), scene.read("clean/new.jsonl"));
    let told = scene.run(["explain", "clean", "new-2"]).ok();
    assert!(told.stdout.contains("old-1"), "{told:?}");
    scene.write("old/part.jsonl", &OLD[..OLD.find('\n').unwrap() + 1]);
    scene.run(["apply", "plan/_verbatim/plan.json", "-o", "again"]).failed(65, "other documents");
}

#[test]
fn a_corpus_against_itself_is_empty_and_bad_records_of_the_others_are_not_its_own() {
    let scene = scene();
    let run = ["dedup", "new.jsonl", "--against", "new.jsonl", "--allow-source-loss", "-o", "clean"];
    scene.run(run).ok();
    assert_eq!(scene.text("clean/new.jsonl"), "");
    scene.write("old/bad.jsonl", "{\"text\": 1}\n");
    let run =
        ["dedup", "new.jsonl", "--against", "old", "-o", "skipped", "--on-bad", "skip", "--max-bad", "5"];
    scene.run(run).ok();
    let report = scene.json("skipped/_verbatim/report.json");
    assert_eq!(report["result"]["flow"]["rejected"]["documents"], 0);
    let warnings = report["result"]["warnings"].to_string();
    assert!(warnings.contains("1 bad record") && warnings.contains("bad.jsonl"), "{warnings}");
    scene.run(["dedup", "new.jsonl", "--against", "old", "-o", "strict"]).failed(65, "bad.jsonl");
}

#[test]
fn an_index_of_signatures_gives_what_its_corpus_gives() {
    let scene = scene();
    let flags = ["--threshold", "0.7", "--ngram", "3"];
    let run = ["dedup", "new.jsonl", "--against"];
    // An index names its corpus by absolute paths.
    let old = scene.path("old").to_str().unwrap().to_owned();
    scene.run(run.iter().chain(&[old.as_str(), "-o", "corpus"]).chain(&flags)).ok();
    for memory in ["4GiB", "1"] {
        let build = ["index", "signatures", "old", "-o", "index", "--force", "--memory", memory];
        scene.run(build.iter().chain(&flags)).ok();
        for memory in ["4GiB", "1"] {
            scene
                .run(
                    run.iter()
                        .chain(&["index", "-o", "index-clean", "--force", "--memory", memory])
                        .chain(&flags),
                )
                .ok();
            let (found, expected) = (scene.result_of("index-clean"), scene.result_of("corpus"));
            let but_the_plan = |tree: &[(String, Vec<u8>)]| {
                tree.iter().filter(|(path, _)| path != "_verbatim/plan.json").cloned().collect::<Vec<_>>()
            };
            assert!(but_the_plan(&found.0) == but_the_plan(&expected.0) && found.1 == expected.1);
            scene.run(["apply", "index-clean/_verbatim/plan.json", "-o", "applied", "--force"]).ok();
            assert_eq!(scene.text("applied/new.jsonl"), scene.text("corpus/new.jsonl"));
        }
    }
    let killed = ["--scratch", "scratch", "--memory", "1", "-o", "resumed"];
    scene.run(run.iter().chain(&["index"]).chain(&flags).chain(&killed)).ok();
    assert_eq!(scene.text("resumed/new.jsonl"), scene.text("corpus/new.jsonl"));
    assert_eq!(scene.names(), ["applied", "corpus", "index", "index-clean", "new.jsonl", "old", "resumed"]);
}

#[test]
fn fault_46_an_index_of_other_settings_of_a_changed_corpus_or_damaged_is_65() {
    let scene = scene();
    scene.run(["index", "signatures", "old", "-o", "index"]).ok();
    let run = ["dedup", "new.jsonl", "--against", "index", "-o", "clean"];
    scene.run(run.iter().chain(&["--threshold", "0.7"])).failed(65, "minhash.threshold: there 0.8, here 0.7");
    scene.run(run.iter().chain(&["--exact"])).failed(65, "minhash");
    scene.run(run.iter().chain(&["--all-pairs"])).failed(65, "all pairs");
    scene.run(run.iter().chain(&["--text-field", "id"])).failed(2, "other flags for reading");
    scene.run(run.iter().chain(&["--against", "old"])).failed(2, "the only --against");
    let keys = scene.read("index/keys-0.run");
    scene.write("index/keys-0.run", &keys[..keys.len() - 16]);
    scene.run(run).failed(65, "keys-0.run");
    let mut flipped = keys.clone();
    flipped[3] ^= 1;
    scene.write("index/keys-0.run", flipped);
    scene.run(run).failed(65, "keys-0.run");
    scene.write("index/keys-0.run", keys);
    let manifest = scene.text("index/manifest.json");
    for (from, to) in
        [("\"version\": 1", "\"version\": 2"), ("keys-0.run", "../keys-0.run"), ("\"n_documents\"", "\"n\"")]
    {
        scene.write("index/manifest.json", manifest.replace(from, to));
        scene.run(run).failed(65, "manifest.json");
    }
    scene.write("index/manifest.json", manifest);
    scene.write("old/part.jsonl", OLD.replace("lazy", "idle"));
    scene.run(run).failed(65, "no longer what it was");
}

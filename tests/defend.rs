//! `verbatim defend` from outside: very small models on a small corpus.

use serde_json::Value;

use crate::harness::Scene;

const RECIPE: &[&str] = &[
    "--layers",
    "1",
    "--heads",
    "1",
    "--width",
    "16",
    "--context",
    "64",
    "--epochs",
    "2",
    "--warmup",
    "5",
    "--references",
    "15",
];

/// Originals, planted secrets and held-out texts.
fn given(scene: &Scene) {
    scene.run(["synth", "-o", "originals.jsonl", "--documents", "60", "--seed", "5"]).ok();
    scene.run(["synth", "-o", "held-out.jsonl", "--documents", "80", "--seed", "6"]).ok();
    let plant = ["--copies", "1,8", "--per-cell", "1", "--controls", "3", "--shapes", "pii"];
    scene.run([&["plant", "originals.jsonl", "-o", "planted"], &plant[..]].concat()).ok();
}

const DEFEND: &[&str] = &[
    "defend",
    "planted/corpus.jsonl",
    "--canaries",
    "planted/_verbatim/ledger.jsonl",
    "--held-out",
    "held-out.jsonl",
];

#[test]
fn every_defence_has_a_row_and_every_claim_a_verdict() {
    let scene = Scene::new();
    given(&scene);
    let told = scene.run([DEFEND, RECIPE, &["-o", "out"]].concat()).ok();
    let result = scene.json("out/report.json")["result"].clone();
    let rows = result["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 21);
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    let copies = |name: &str| -> Vec<u64> {
        let placements = row(name)["recited_by_placement"].as_array().unwrap();
        placements.iter().map(|one| one["copies_left"].as_u64().unwrap()).collect()
    };
    // Whole copies, near copies, passages: each level removes its class, and the later ones what the earlier ones do.
    assert_eq!(copies("none"), [8, 8, 8]);
    assert_eq!(copies("dedup-exact"), [1, 8, 8]);
    assert_eq!(copies("dedup-near"), [1, 1, 8]);
    assert_eq!(copies("dedup-substring")[2], 1);
    assert_eq!(copies("dedup-all"), [1, 1, 1]);
    assert!((row("dp-sgd")["epsilon_claimed"].as_f64().unwrap() - 1.0).abs() < 0.01);
    assert_eq!(row("dp-sgd-broken")["epsilon_claimed"], Value::Null);
    assert!(
        row("smaller-model")["training"]["n_parameters"].as_u64()
            < row("none")["training"]["n_parameters"].as_u64()
    );
    assert_eq!(row("rounded")["training"], Value::Null);
    // What is served is the same model: what it recites is the same, and who knows the temperature loses nothing.
    for name in ["rounded", "top-k", "noise", "temperature"] {
        assert_eq!(row(name)["recited"], row("none")["recited"], "{name}");
    }
    let auc = |name: &str| row(name)["loss"]["auc"]["value"].as_f64().unwrap();
    assert!((auc("temperature-undone") - auc("none")).abs() < 1e-3);
    let verdicts = ["supported", "refuted", "inconclusive", "untested"];
    let claims = result["claims"].as_array().unwrap();
    assert_eq!(claims.len(), 14);
    assert!(claims.iter().all(|claim| verdicts.contains(&claim["verdict"].as_str().unwrap())));
    // Nobody's records were given.
    assert_eq!(claims[13]["verdict"], "untested");
    assert_eq!(result["moments"].as_array().unwrap().len(), 2);
    assert!(told.stdout.contains("dedup-exact"), "{}", told.stdout);
    assert!(!scene.path("out.defend-state").exists());
}

#[test]
fn a_state_is_taken_up_when_it_is_asked_for_and_a_corpus_needs_its_truth() {
    let scene = Scene::new();
    given(&scene);
    std::fs::create_dir(scene.path("out.defend-state")).unwrap();
    scene.run([DEFEND, RECIPE, &["-o", "out"]].concat()).failed(2, "--resume");
    scene.run(["defend", "planted/corpus.jsonl", "-o", "none"]).failed(2, "--canaries");
}

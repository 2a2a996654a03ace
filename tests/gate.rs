//! `verbatim gate` from outside: verdicts, exit codes and formats.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Scene, tree_file};

const MAX: &str = "[[bound]]\nmeasure = \"leak\"\nmax = 0.01\nseverity = \"critical\"\n";

/// A folder with the report of a run that has one share of 1000 trials; the ends are of its exact interval by scipy 1.17.1.
fn run_of(scene: &Scene, name: &str, count: u64) {
    let (low, high) = match count {
        1 => (2.53175e-5, 0.00555892),
        9 => (0.0041234, 0.0170158),
        40 => (0.0287276, 0.0540727),
        _ => panic!("no interval for {count}"),
    };
    let measure = json!({
        "name": "leak", "unit": "share", "value": count as f64 / 1000.0, "n_trials": 1000, "low": low, "high": high,
        "level": 0.95,
    });
    let report = json!({
        "schema_version": 1, "kind": "audit", "result": { "measures": [measure] },
        "run": { "started": "2026-11-20T10:00:00Z" },
    });
    scene.write(&format!("{name}/report.json"), report.to_string());
}

fn scene() -> Scene {
    let scene = Scene::new();
    run_of(&scene, "good", 1);
    run_of(&scene, "unclear", 9);
    run_of(&scene, "bad", 40);
    scene.write("policy.toml", MAX);
    scene
}

const GATE: [&str; 5] = ["gate", "--policy", "policy.toml", "--today", "2026-11-26"];

#[test]
fn the_exit_code_is_the_verdict() {
    let scene = scene();
    let gate = |arguments: &[&str]| scene.run([&GATE[..], arguments].concat());
    let passed = gate(&["good"]).ok();
    assert!(
        passed.stdout.starts_with("pass: of 1 bounds 0 failed, 0 inconclusive, 1 passed\n"),
        "{passed:?}"
    );
    let unclear = gate(&["unclear"]).failed(3, "inconclusive: of 1 bounds");
    assert!(unclear.stdout.contains("about 39,0"), "{unclear:?}");
    let failed = gate(&["bad"]).failed(1, "fail: of 1 bounds");
    assert!(failed.stdout.contains("critical  fail          leak at most 1.0%"), "{failed:?}");
    assert!(failed.stdout.contains("4.0% (40 of 1,000), 95% interval 2.9% to 5.4%"), "{failed:?}");
    gate(&["good", "bad"]).failed(1, "1 failed");
    gate(&["good/report.json"]).ok();
    scene.write("policy.toml", "");
    gate(&["good"]).failed(3, "no bounds");
}

#[test]
fn waivers_and_baselines_are_counted_from_the_day_that_is_given() {
    let scene = scene();
    scene.write(
        "policy.toml",
        format!("{MAX}[[waiver]]\nmeasure = \"leak\"\nreason = \"r\"\nuntil = \"2026-11-26\"\napproved_by = \"a\"\n"),
    );
    let waived = scene.run([&GATE[..], &["bad"]].concat()).ok();
    assert!(waived.stdout.contains("waived fail"), "{waived:?}");
    let gate = |day: &str| scene.run(["gate", "--policy", "policy.toml", "bad", "--today", day]);
    gate("2026-11-27").failed(1, "fail");
    gate("27.11.2026").failed(2, "2027-01-31");
    scene.write(
        "policy.toml",
        "[requires]\nmax_baseline_age_days = 9\n[[bound]]\nmeasure = \"leak\"\nmax_increase = 0.02\n",
    );
    let gate = |day: &str, run: &str| {
        scene.run(["gate", "--policy", "policy.toml", run, "--baseline", "good", "--today", day])
    };
    gate("2026-11-29", "good").ok();
    gate("2026-11-29", "bad").failed(1, "fail");
    gate("2026-11-30", "good").failed(3, "inconclusive");
    scene.run([&GATE[..], &["good"]].concat()).failed(3, "inconclusive");
}

#[test]
fn what_cannot_be_read_or_cannot_be_right_has_its_exit_code() {
    let scene = scene();
    let gate = |arguments: &[&str]| scene.run([&GATE[..], arguments].concat());
    gate(&["nowhere"]).failed(66, "nowhere");
    gate(&["good", "--baseline", "nowhere"]).failed(66, "nowhere");
    gate(&[]).failed(2, "RESULTS");
    scene.run(["gate", "good", "--policy", "none.toml"]).failed(66, "none.toml");
    scene.write("wrong.toml", "[[bound]]\nmeasure = \"leak\"\nmax = 0.01\ntypo = 1\n");
    scene.run(["gate", "good", "--policy", "wrong.toml"]).failed(65, "wrong.toml:4:1: unknown field `typo`");
    for (name, report) in [("empty", ""), ("text", "{"), ("number", "{\"schema_version\": NaN}")] {
        scene.write(&format!("{name}/report.json"), report);
        gate(&[name]).failed(65, &format!("{name}/report.json: no report"));
    }
    for (name, key, value) in [
        ("nan", "value", json!("NaN")),
        ("negative", "n_trials", json!(-3)),
        ("turned", "low", json!(0.9)),
        ("level", "level", json!(95)),
        ("html", "name", json!("<script>alert(1)</script>")),
    ] {
        let mut report: Value = scene.json("good/report.json");
        report["result"]["measures"][0][key] = value;
        scene.write(&format!("{name}/report.json"), report.to_string());
        let failed = gate(&[name]).failed(65, "report.json: ");
        assert!(!failed.stderr.contains("alert"), "{failed:?}");
    }
}

#[test]
fn each_format_goes_to_standard_output_or_a_file() {
    let scene = scene();
    let gate = |arguments: &[&str]| scene.run([&GATE[..], &["bad"], arguments].concat());
    let json = gate(&["--json"]).failed(1, "fail");
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&report["kind"], &report["result"]["verdict"]), (&json!("gate"), &json!("fail")));
    let sarif: Value = serde_json::from_str(&gate(&["--format", "sarif"]).failed(1, "fail").stdout).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["level"], "error");
    assert!(gate(&["--format", "junit"]).failed(1, "fail").stdout.starts_with("<?xml version=\"1.0\""));
    assert!(gate(&["--format", "markdown"]).failed(1, "fail").stdout.starts_with("## verbatim gate: fail"));
    let both = gate(&["--format", "markdown", "-o", "comment.md"]).failed(1, "fail");
    assert!(both.stdout.starts_with("fail: ") && scene.text("comment.md").starts_with("## verbatim"));
    gate(&["--format", "markdown", "-o", "comment.md"]).failed(73, "exists");
    gate(&["--format", "junit", "-o", "comment.md", "--force"]).failed(1, "fail");
    assert!(scene.text("comment.md").starts_with("<?xml"));
    gate(&["-o", "x"]).failed(2, "--format");
    gate(&["--format", "sarif", "--json"]).failed(2, "two things");
    gate(&["--format", "sarif", "-o", "bad/report.json", "--force"]).failed(2, "input");
    gate(&["--format", "sarif", "-o", "policy.toml", "--force"]).failed(2, "input");
    assert_eq!(scene.text("policy.toml"), MAX);
}

#[test]
fn fault_85_a_reader_that_left_turns_no_verdict_green() {
    let scene = scene();
    let code = |run: &str, format: &[&str]| {
        let mut command = scene.command([&GATE[..], &[run], format].concat());
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(writer).stderr(Stdio::null()).status().unwrap().code()
    };
    // A summary may go unread, what a machine was to read may not.
    assert_eq!(["good", "bad", "unclear"].map(|run| code(run, &[])), [Some(0), Some(1), Some(3)]);
    assert_eq!(["good", "bad"].map(|run| code(run, &["--format", "sarif"])), [Some(74), Some(74)]);
}

#[test]
fn an_audit_of_the_demos_checkpoints_is_judged() {
    let (corpus, ledger) = (tree_file("corpora/demo/corpus.jsonl"), tree_file("corpora/demo/ledger.jsonl"));
    let scene = Scene::new();
    for name in ["demo-raw", "demo-dedup"] {
        let model = tree_file(&format!("models/{name}"));
        let extract = ["extract", "--model", &model, "--corpus", &corpus, "--canaries", &ledger, "--reveal"];
        let drawing =
            ["--samples", "12", "--max-new-tokens", "60", "--top", "5", "--min-match", "20", "-o", name];
        // Exposure is no matter here, and takes minutes.
        scene.run([&extract[..], &drawing, &["--exposure-references", "0"]].concat()).ok();
    }
    let policy = tree_file("docs/policy.toml");
    let raw = scene.run(["gate", "demo-raw", "--policy", &policy, "--json"]).failed(1, "fail");
    let report: Value = serde_json::from_str(&raw.stdout).unwrap();
    let bounds = report["result"]["bounds"].as_array().unwrap();
    let canaries = &bounds[0];
    assert_eq!(
        (&canaries["rule"], &canaries["verdict"]),
        (&json!("canary-recited-share/max"), &json!("fail"))
    );
    assert_eq!(canaries["measured"]["n_trials"], 72);
    assert!(canaries["evidence"]["n_repeated"].as_u64().unwrap() > 0);
    // No text of a finding, although the report reveals it.
    let secrets = std::fs::read_to_string(&ledger).unwrap();
    let mut secrets = secrets.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    assert!(secrets.all(|line| line["secret"].as_str().is_none_or(|secret| !raw.stdout.contains(secret))));
    // The other checkpoint was trained on a part of this corpus only.
    let other = scene.run(["gate", "demo-dedup", "--policy", &policy]).failed(3, "inconclusive");
    assert!(other.stdout.contains("not the training corpus of the checkpoint"), "{other:?}");
    let help = scene.run(["--help"]).ok();
    assert!(help.stdout.contains("3 a gate is inconclusive"));
}

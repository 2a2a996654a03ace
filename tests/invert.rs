//! `verbatim invert` and the exposure of `verbatim extract` from outside, on a demo checkpoint and its ledger.

use serde_json::Value;

use crate::harness::{Scene, root, tree_file};

/// The lines of the demo's ledger that are wanted, without its first.
fn canaries(wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let ledger = std::fs::read_to_string(root().join("corpora/demo/ledger.jsonl")).unwrap();
    let lines = ledger.lines().skip(1).map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line: &Value| wanted(line)).collect()
}

fn write_ledger(scene: &Scene, name: &str, canaries: &[Value]) {
    let header = serde_json::json!({"format": "verbatim canaries", "version": 1, "n_lines": canaries.len()});
    let lines: Vec<String> = std::iter::once(&header).chain(canaries).map(Value::to_string).collect();
    scene.write(name, lines.join("\n") + "\n");
}

/// Account numbers: those that stood most often, and as many that were never planted.
fn accounts(scene: &Scene) -> Vec<Value> {
    let of = |copies: u64| {
        let mut some = canaries(|line| line["shape"] == "pii" && line["copies"] == copies);
        some.truncate(4);
        some
    };
    let accounts = [of(64), of(0)].concat();
    write_ledger(scene, "ledger.jsonl", &accounts);
    accounts
}

#[test]
fn planted_secrets_are_the_most_likely_fillings_and_controls_are_not() {
    let scene = Scene::new();
    let accounts = accounts(&scene);
    let model = tree_file("models/demo-raw");
    let arguments = ["invert", "--model", &model, "--canaries", "ledger.jsonl", "--top", "2"];
    let limited = || arguments.iter().chain(&["--max-evaluations", "300"]);
    scene.run(limited().chain(&["-o", "out"])).ok();
    let report = scene.json("out/report.json");
    let rows = report["result"]["templates"].as_array().unwrap();
    assert_eq!(rows.len(), accounts.len());
    let n_first = |copies: u64| {
        let first = |row: &&Value| row["copies"] == copies && row["known"]["rank"] == 1;
        rows.iter().filter(first).count()
    };
    assert!(n_first(64) >= 3 && n_first(0) == 0, "{rows:?}");
    for row in rows {
        assert!((row["space_bits"].as_f64().unwrap() - 12.0 * 10f64.log2()).abs() < 1e-5, "{row}");
        assert!(row["n_evaluations"].as_u64().unwrap() <= 300);
    }
    // Redacted unless asked, and the same bytes whatever the threads.
    let secrets: Vec<&str> = accounts.iter().map(|line| line["secret"].as_str().unwrap()).collect();
    for name in ["out/report.json", "out/report.html"] {
        assert!(secrets.iter().all(|secret| !scene.text(name).contains(secret)), "{name}");
    }
    let again = ["--key", "out/key", "-o", "shown", "--reveal", "--threads", "1"];
    let told = scene.run(limited().chain(&again)).ok();
    assert!(told.stderr.contains("in the clear"));
    assert!(secrets.iter().any(|secret| scene.text("shown/report.json").contains(secret)));
    let shown = scene.json("shown/report.json");
    for (row, other) in rows.iter().zip(shown["result"]["templates"].as_array().unwrap()) {
        assert_eq!((&row["known"], &row["n_evaluations"]), (&other["known"], &other["n_evaluations"]));
        assert_eq!(row["answers"][0]["text"]["name"], other["answers"][0]["text"]["name"]);
    }
}

#[test]
fn a_template_is_filled_as_going_through_all_fillings_says() {
    let scene = Scene::new();
    let planted = &accounts(&scene)[0];
    let (prefix, secret) = (planted["prefix"].as_str().unwrap(), planted["secret"].as_str().unwrap());
    let (head, tail) = secret.split_at(secret.len() - 3);
    let template = format!("{prefix}{head}{{digits:3}}).");
    scene.write("secret", format!("{tail}).\n"));
    let model = tree_file("models/demo-raw");
    let run =
        ["invert", "--model", &model, "--template", &template, "--secret-file", "secret", "--exhaustive"];
    let told = scene.run(run.iter().chain(&["--json"])).ok();
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    let row = &report["result"]["templates"][0];
    assert_eq!(row["exhaustive"], serde_json::json!({"n_fillings": 1000, "agrees": true}));
    assert_eq!((&row["outcome"], row["answers"].as_array().unwrap().len()), (&"answered".into(), 10));
    assert_eq!(row["known"]["rank"], 1, "what stood 64 times is known");
    assert!(row["n_evaluations"].as_u64().unwrap() < 1000);
    assert!(!told.stdout.contains(&format!("\"{tail}")), "redacted");
}

#[test]
fn what_is_no_template_is_refused_and_not_repeated() {
    let scene = Scene::new();
    let model = tree_file("models/demo-raw");
    let with = |flag: &str, value: &str| scene.run(["invert", "--model", &model, flag, value]);
    let told = with("--template", "Marvin has {digit:4}").failed(2, "column 12");
    assert!(!told.stderr.contains("Marvin"));
    with("--template", "no hole").failed(2, "no hole");
    scene.write("templates", "a {digits:1}\nb {digits:x}\n");
    with("--templates", "templates").failed(2, "column 3");
    scene.run(["invert", "--model", &model]).failed(2, "--template");
    scene.write("secret", "12");
    let run = ["invert", "--model", &model, "--template", "code {digits:3}", "--secret-file", "secret"];
    scene.run(run).failed(2, "does not fill");
}

#[test]
fn planted_canaries_are_exposed_and_controls_stand_at_chance() {
    let scene = Scene::new();
    let ledger = canaries(|line| line["copies"] == 64 || line["control"] == true);
    write_ledger(&scene, "ledger.jsonl", &ledger);
    let model = tree_file("models/demo-raw");
    let run = |output: &str, more: &[&str]| {
        let common = ["extract", "--model", &model, "--canaries", "ledger.jsonl", "--samples", "1"];
        scene.run([&common[..], &["--max-new-tokens", "2", "-o", output], more].concat()).ok()
    };
    let told = run("out", &["--exposure-references", "63"]);
    assert!(told.stdout.contains("Exposure of planted canaries") && told.stdout.contains("mean exposure"));
    let exposure = scene.json("out/report.json")["result"]["canaries"]["exposure"].clone();
    let controls = exposure["controls"].as_array().unwrap();
    let all = controls.last().unwrap();
    assert_eq!((&all["shape"], &all["at_chance"]), (&"all".into(), &true.into()), "{all}");
    // Of a form with few members there are too few references.
    assert!((30..=36).contains(&all["n"].as_u64().unwrap()), "{all}");
    for row in exposure["rows"].as_array().unwrap().iter().filter(|row| row["shape"] != "sentence") {
        assert!(row["median"].as_f64().unwrap() > 4.0, "{row}");
    }
    let canaries = exposure["canaries"].as_array().unwrap();
    assert_eq!(canaries.len(), ledger.len());
    for canary in canaries.iter().filter(|canary| !canary["bits"].is_null()) {
        let [bits, low, high, space] =
            ["bits", "low", "high", "space_bits"].map(|name| canary[name].as_f64().unwrap());
        assert!(low <= bits && bits <= high && high <= space && bits <= 6.0, "{canary}");
    }
    let page = scene.text("out/report.html");
    assert!(page.contains("<h2>Exposure</h2>"));
    let secrets = ledger.iter().map(|line| line["secret"].as_str().unwrap().to_owned());
    assert!(secrets.into_iter().all(|secret| !page.contains(&secret)));
    run("batched", &["--exposure-references", "63", "--batch", "3", "--threads", "1"]);
    assert_eq!(scene.json("batched/report.json")["result"]["canaries"]["exposure"], exposure);
    run("without", &["--exposure-references", "0"]);
    assert!(scene.json("without/report.json")["result"]["canaries"]["exposure"].is_null());
}

/// Random secrets of many tokens: an account number is short enough that a prompt could hold it.
#[test]
fn short_prompts_are_found_for_planted_secrets_and_none_for_controls() {
    let scene = Scene::new();
    let of =
        |copies: u64| canaries(|line| line["shape"] == "random" && line["copies"] == copies)[..2].to_vec();
    let ledger = [of(64), of(0)].concat();
    write_ledger(&scene, "ledger.jsonl", &ledger);
    let model = tree_file("models/demo-raw");
    let run = |more: &[&str]| {
        let common = ["elicit", "--model", &model, "--canaries", "ledger.jsonl", "--steps", "2"];
        scene.run([&common[..], &["--candidates", "12"], more].concat()).ok()
    };
    let told = run(&["-o", "out", "--scratch", "work"]);
    assert!(told.stdout.starts_with("The model says 2 of 2 texts"), "{}", told.stdout);
    let result = scene.json("out/report.json")["result"].clone();
    for row in result["texts"].as_array().unwrap() {
        let planted = row["copies"] == 64;
        assert_eq!(row["ratio"].as_f64().is_some_and(|ratio| ratio > 1.0), planted, "{row}");
    }
    // Redacted unless asked, and the same bytes whatever the threads and the batch.
    let shown = run(&["-o", "shown", "--key", "out/key", "--reveal", "--threads", "1", "--batch", "3"]);
    assert!(shown.stderr.contains("in the clear"));
    let mut shown = scene.json("shown/report.json")["result"].clone();
    let mut prompts = Vec::new();
    for row in shown["texts"].as_array_mut().unwrap() {
        let text = row["prompt"].as_object_mut().and_then(|prompt| prompt.remove("text"));
        prompts.extend(text.and_then(|text| text.as_str().map(str::to_owned)));
    }
    assert_eq!(shown, result);
    assert_eq!(prompts.len(), 2);
    assert!(!scene.path("work").exists());
    // What was found is what the checkpoint says, asked in another way.
    let texts: Vec<String> = prompts
        .iter()
        .zip(&ledger)
        .map(|(prompt, line)| serde_json::json!({"prefix": prompt, "suffix": line["secret"]}).to_string())
        .collect();
    scene.write("texts.jsonl", texts.join("\n"));
    let audit = ["audit", "--model", &model, "--texts", "texts.jsonl", "--documents", "0", "-o", "audit"];
    scene.run(audit).ok();
    for place in scene.text("audit/targets.jsonl").lines().skip(1) {
        let place: Value = serde_json::from_str(place).unwrap();
        assert_eq!(place["continuations"][0][0]["is_greedy"], true, "{place}");
    }
}

#[test]
fn a_model_without_gradients_and_texts_that_are_too_long_are_refused() {
    let scene = Scene::new();
    let model = tree_file("models/demo-raw");
    let run =
        |arguments: &[&str]| scene.run([&["elicit", "--model", &model, "-o", "out"], arguments].concat());
    run(&[]).failed(2, "--canaries");
    scene.write("long.txt", "a long story. ".repeat(99));
    run(&["--texts", "long.txt"]).failed(2, "expected 2 to 65");
    scene.write("none.jsonl", "{\"suffix\": \"\"}\n");
    run(&["--texts", "none.jsonl"]).failed(2, "a text of 0 tokens");
    assert!(!scene.path("out").exists());
}

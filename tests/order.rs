//! `verbatim infer` and `verbatim audit --order` one after the other: which texts to try first, and what that gains.

use serde_json::{Value, json};

use crate::harness::{Outcome, Scene, root, tree_file};

/// Documents of the demo corpus, each once, and a fourth as many that the model has not seen; others like these for the calibration.
/// Of all of them the whole text, and characters of it as prefix and suffix.
fn candidates(scene: &Scene) {
    let corpus = root().join("corpora/demo/corpus.jsonl");
    scene.run(["dedup", corpus.to_str().unwrap(), "--exact", "--minhash", "-o", "clean"]).ok();
    scene.run(["synth", "-o", "others.jsonl", "--documents", "220", "--seed", "99"]).ok();
    let mut others = scene.json_lines("others.jsonl");
    others.iter_mut().for_each(|other| other["id"] = format!("other {}", other["id"]).into());
    let texts = [&scene.json_lines("clean/corpus.jsonl")[..], &others[..100]].concat();
    let whole = |line: &Value| json!({"id": line["id"], "text": line["text"]});
    let pair = |line: &Value| {
        let text = line["text"].as_str().unwrap();
        json!({"id": line["id"], "prefix": text[..60], "suffix": text[60..100]})
    };
    let write = |name: &str, lines: &[Value], line: &dyn Fn(&Value) -> Value| {
        let lines: Vec<String> = lines.iter().map(|text| line(text).to_string()).collect();
        scene.write(name, lines.join("\n"));
    };
    write("texts.jsonl", &texts, &whole);
    write("calibration.jsonl", &others[100..], &whole);
    write("pairs.jsonl", &texts, &pair);
    write("prefixes.jsonl", &others[100..], &pair);
}

/// One place of each text.
fn audit(scene: &Scene, output: &str, more: &[&str]) -> Outcome {
    let model = tree_file("models/demo-raw");
    let run = ["audit", "--model", &model, "--texts", "texts.jsonl", "-o", output, "--decode", "0"];
    let lengths = ["--prefix", "20", "--suffix", "20", "--stride", "1000", "--decoding", "1"];
    scene.run([&run[..], &lengths, more].concat())
}

fn infer(scene: &Scene, (texts, calibration): (&str, &str), more: &[&str]) {
    let model = tree_file("models/demo-raw");
    let run = ["infer", "--model", &model, "--texts", texts, "--calibrate", calibration];
    scene.run([&run[..], &["--max-tokens", "64"], more].concat()).ok();
}

fn order_of(scene: &Scene, output: &str) -> Value {
    scene.json(&format!("{output}/report.json"))["result"]["order"].clone()
}

#[test]
fn infer_finds_the_texts_that_audit_extracts_and_an_order_by_chance_does_not() {
    let scene = Scene::new();
    candidates(&scene);
    infer(&scene, ("texts.jsonl", "calibration.jsonl"), &["-o", "calls"]);
    let told = audit(&scene, "out", &["--order", "calls/calls.jsonl"]).ok();
    let order = order_of(&scene, "out");
    assert_eq!(order["verdict"], "shown", "{order}");
    assert!(told.stdout.contains("earlier than chance does (p = "), "{}", told.stdout);
    assert!(order["area"]["low"].as_f64().unwrap() > 0.7, "{order}");
    assert!(scene.text("out/report.html").contains("What the order gains"));
    // Counted anew from what the two commands wrote.
    let score = |call: &Value| call["score"].as_f64().unwrap();
    let mut calls = scene.json_lines("calls/calls.jsonl");
    calls.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let targets = scene.json_lines("out/targets.jsonl");
    let is_extracted = |call: &Value| {
        let target = targets.iter().find(|target| target["label"] == call["id"]).unwrap();
        target["continuations"][0][0]["is_greedy"].as_bool().unwrap()
    };
    let outcomes: Vec<bool> = calls.iter().map(is_extracted).collect();
    let n_found = |n: usize| outcomes[..n].iter().filter(|outcome| **outcome).count() as u64;
    let (n, n_extracted) = (outcomes.len(), n_found(outcomes.len()));
    assert_eq!((&order["extracted"]["count"], &order["extracted"]["n"]), (&json!(n_extracted), &json!(n)));
    let budgets = order["budgets"].as_array().unwrap();
    assert_eq!((n, budgets.len()), (498, 5));
    for row in budgets {
        let n_tried = row["n_tried"].as_u64().unwrap();
        assert_eq!(
            (&row["n_found"], &row["n_queries"]),
            (&json!(n_found(n_tried as usize)), &json!(n_tried))
        );
        let expected = (n_tried * n_extracted) as f64 / n as f64;
        assert!((row["expected"].as_f64().unwrap() - expected).abs() < 1e-6, "{row}");
        assert!(row["n_found"].as_u64() > row["chance_high"].as_u64(), "{row}");
    }
    // The first texts alone.
    audit(&scene, "some", &["--order", "calls/calls.jsonl", "--budget", "25"]).ok();
    let some = order_of(&scene, "some");
    assert_eq!((&some["extracted"]["count"], &some["n_untried"]), (&budgets[1]["n_found"], &json!(473)));
    assert_eq!((&some["verdict"], scene.json_lines("some/targets.jsonl").len()), (&Value::Null, 1 + 25));
    // Scores that have nothing to do with the texts.
    let by_chance = |(number, call): (usize, &Value)| {
        json!({"id": call["id"], "score": (number * 7919 % 498) as f64}).to_string()
    };
    let lines: Vec<String> =
        scene.json_lines("calls/calls.jsonl").iter().enumerate().map(by_chance).collect();
    scene.write("chance.jsonl", lines.join("\n"));
    audit(&scene, "chance", &["--order", "chance.jsonl", "--batch", "3", "--threads", "1"]).ok();
    // The same bytes for any batch, number of threads and order.
    assert_eq!(scene.read("chance/targets.jsonl"), scene.read("out/targets.jsonl"));
    let order = order_of(&scene, "chance");
    assert_eq!(order["verdict"], "not-shown", "{order}");
    let end = |name: &str| order["area"][name].as_f64().unwrap();
    assert!(end("low") < 0.5 && end("high") > 0.5, "{order}");
}

/// An attacker who has the prefixes alone asks about no suffix.
#[test]
fn prefixes_alone_order_pairs_as_well() {
    let scene = Scene::new();
    candidates(&scene);
    infer(&scene, ("pairs.jsonl", "prefixes.jsonl"), &["-o", "calls", "--text-field", "prefix"]);
    let model = tree_file("models/demo-raw");
    let run = ["audit", "--model", &model, "--texts", "pairs.jsonl", "--order", "calls/calls.jsonl"];
    scene.run([&run[..], &["-o", "out", "--decode", "0", "--decoding", "1"]].concat()).ok();
    let order = order_of(&scene, "out");
    assert_eq!((&order["verdict"], &order["n_queries"]), (&json!("shown"), &json!(498)), "{order}");
}

#[test]
fn fault_46_calls_that_cannot_order_the_texts_are_refused_and_nothing_is_written() {
    let scene = Scene::new();
    scene.write(
        "texts.jsonl",
        "{\"id\": \"a\", \"text\": \"quiet heron\"}\n{\"id\": \"b\", \"text\": \"x\"}\n",
    );
    let good = "{\"id\":\"a\",\"score\":-1.5,\"p_value\":0.01,\"called\":true}\n";
    let refused = |lines: &str, code: i32, said: &str| {
        scene.write("calls.jsonl", lines);
        let outcome = audit(&scene, "out", &["--order", "calls.jsonl"]).failed(code, said);
        assert!(!outcome.stderr.contains("heron"), "{}", outcome.stderr);
        assert_eq!(scene.names(), ["calls.jsonl", "texts.jsonl"]);
    };
    refused(&format!("{good}{{\"id\":\"b\",\"sco"), 65, "calls.jsonl:2");
    refused(&format!("{good}{{\"id\":\"quiet heron\",\"score\":1}}\n"), 65, "calls.jsonl:2: is about a text");
    refused(&format!("{good}\n{good}"), 65, "calls.jsonl:3: is about a text that an earlier line");
    refused("", 65, "calls.jsonl:1: says nothing");
    audit(&scene, "out", &["--order", "none.jsonl"]).failed(66, "none.jsonl");
    scene.write("texts.jsonl", "{\"text\": \"quiet heron\"}\n");
    refused(good, 2, "line 1: the text has no `id`");
    audit(&scene, "out", &["--budget", "3"]).failed(2, "--order");
}

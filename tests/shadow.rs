//! `verbatim shadow` from outside: very small models on a made corpus.

use serde_json::{Value, json};

use crate::harness::Scene;

/// The model and its training, of targets and of shadows.
const RECIPE: [&str; 12] =
    ["--layers", "1", "--heads", "1", "--width", "32", "--context", "64", "--epochs", "20", "--warmup", "5"];

fn trained(scene: &Scene, output: &str) -> String {
    scene.run(["synth", "-o", "corpus.jsonl", "--documents", "240", "--seed", "5", "--force"]).ok();
    let train = ["shadow", "train", "corpus.jsonl", "--models", "7", "--seed", "3", "-o", output];
    scene.run([&train[..], &RECIPE].concat()).ok().stdout
}

fn row<'a>(rows: &'a Value, name: &str) -> &'a Value {
    rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()
}

#[test]
fn shadow_models_tell_the_members_of_one_of_them() {
    let scene = Scene::new();
    let told = trained(&scene, "shadows");
    assert!(told.starts_with("7 shadow models on halves of 240 texts"), "{told}");
    let score = ["shadow", "score", "shadows", "--corpus", "corpus.jsonl", "--max-tokens", "64"];
    let told = scene.run([&score[..], &["-o", "out"]].concat()).ok();
    let result = scene.json("out/report.json")["result"].clone();
    assert_eq!(result["n_shadows"], 6);
    assert_eq!(result["n_members"].as_u64().unwrap() + result["n_non_members"].as_u64().unwrap(), 240);
    assert_eq!(result["signals"].as_array().unwrap().len(), 8);
    for name in ["lira-online", "rmia-online", "calibrated-loss"] {
        let auc = &row(&result["signals"], name)["auc"];
        assert!(auc["low"].as_f64().unwrap() > 0.5, "{name}: {auc}");
    }
    let loss = row(&result["signals"], "loss")["auc"]["value"].as_f64().unwrap();
    let calibrated = row(&result["signals"], "calibrated-loss")["auc"]["value"].as_f64().unwrap();
    assert!(calibrated > loss, "{calibrated} {loss}");
    assert_eq!(row(&result["beside_loss"], "lira-online")["metric"], "auc");
    assert!(told.stdout.contains("beside the loss alone, 6 shadow models"), "{}", told.stdout);
    // No text of a document without --reveal.
    assert!(!result["heat"].as_array().unwrap().is_empty());
    assert_eq!(result["heat"][0]["tokens"][0]["text"], Value::Null);
    let mean = result["memorization"]["mean"].as_f64().unwrap();
    assert!(mean > 0.0, "{mean}");
    let again = ["--batch", "3", "--threads", "1", "--scratch", "work", "-o", "again"];
    scene.run([&score[..], &again].concat()).ok();
    assert_eq!(scene.json("again/report.json")["result"], result);
    let revealed = scene.run([&score[..], &["--reveal", "-o", "revealed"]].concat()).ok();
    assert!(!revealed.stdout.is_empty());
    assert!(scene.json("revealed/report.json")["result"]["heat"][0]["tokens"][0]["text"].is_string());
}

#[test]
fn a_model_of_ones_own_is_attacked_with_the_tokenizer_of_its_shadows_and_no_other() {
    let scene = Scene::new();
    trained(&scene, "shadows");
    let lines = std::fs::read_to_string(scene.path("corpus.jsonl")).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    scene.write("members.jsonl", lines[..100].join("\n"));
    scene.write("others.jsonl", [&lines[100..199], &[r#"{"text":"a text of nowhere"}"#]].concat().join("\n"));
    let tokenizer = ["--tokenizer", "shadows/model-000/tokenizer.json"];
    scene.run([&["train", "members.jsonl", "-o", "target"], &RECIPE[..], &tokenizer].concat()).ok();
    let score = ["shadow", "score", "shadows", "--members", "members.jsonl", "--non-members", "others.jsonl"];
    scene.run([&score[..], &["--model", "target", "-o", "out"]].concat()).ok();
    let result = scene.json("out/report.json")["result"].clone();
    assert_eq!((&result["n_shadows"], &result["n_members"]), (&json!(7), &json!(100)));
    let warnings = result["warnings"].to_string();
    assert!(warnings.contains("1 texts are not in the corpus of the shadow models"), "{warnings}");
    assert!(row(&result["signals"], "lira-offline")["auc"]["low"].as_f64().unwrap() > 0.5);
    scene
        .run([&["train", "members.jsonl", "-o", "other"], &RECIPE[..], &["--vocabulary", "300"]].concat())
        .ok();
    scene.run([&score[..], &["--model", "other", "-o", "none"]].concat()).failed(2, "another tokenizer");
    scene.run(["shadow", "score", "target", "--corpus", "corpus.jsonl", "-o", "none"]).failed(65, "shadow");
    scene
        .run(["shadow", "score", "shadows", "--corpus", "members.jsonl", "-o", "none"])
        .failed(2, "--corpus");
}

/// One split of one distribution: nothing is told before training, and much after learning by heart.
#[test]
fn a_model_tells_nothing_of_its_texts_before_training_and_much_after_overfitting() {
    let scene = Scene::new();
    scene.run(["synth", "-o", "all.jsonl", "--documents", "400", "--seed", "11"]).ok();
    let lines = std::fs::read_to_string(scene.path("all.jsonl")).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    scene.write("members.jsonl", lines[..200].join("\n"));
    scene.write("others.jsonl", lines[200..].join("\n"));
    let shape = ["--layers", "1", "--heads", "1", "--width", "48", "--context", "64", "--warmup", "5"];
    let auc = |steps: &[&str], model: &str| {
        scene.run([&["train", "members.jsonl", "-o", model], &shape[..], steps].concat()).ok();
        let sets = ["--members", "members.jsonl", "--non-members", "others.jsonl", "--max-tokens", "64"];
        let output = format!("{model}-infer");
        scene.run([&["infer", "--model", model, "-o", &output], &sets[..]].concat()).ok();
        let result = scene.json(&format!("{output}/report.json"))["result"].clone();
        // The sets are one distribution, so that neither words nor lengths nor years tell them apart, and no control does.
        assert_eq!(result["verdict"], "valid", "{}", result["blind"]);
        let auc = row(&result["signals"], "loss")["auc"].clone();
        // Taken together, members are told as well, and every second non-member from the others is not.
        let p_value = |name: &str| result["dataset"][name].as_f64().unwrap();
        assert!(p_value("control_p_value") > 0.001, "{}", result["dataset"]);
        ([&auc["low"], &auc["high"]].map(|end| end.as_f64().unwrap()), p_value("p_value"))
    };
    let ([low, high], p_value) = auc(&["--steps", "1", "--learning-rate", "1e-9"], "untrained");
    assert!(low < 0.5 && high > 0.5 && p_value > 0.001, "{low} to {high}, p = {p_value}");
    let ([low, _], p_value) = auc(&["--epochs", "50", "--learning-rate", "0.006"], "overfitted");
    assert!(low > 0.6 && p_value < 0.001, "{low}, p = {p_value}");
}

//! `verbatim extract` from outside, on the demo checkpoints.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Outcome, Scene, root, tree_file};

const STORED: [&str; 2] = ["samples.jsonl", "records.jsonl"];

fn arguments<'a>(model: &'a str, corpus: &'a str, output: &'a str) -> Vec<&'a str> {
    let drawing = ["--samples", "12", "--max-new-tokens", "60"];
    [&["extract", "--model", model, "--corpus", corpus, "-o", output], &drawing[..], &RANKING].concat()
}

/// How [`arguments`] rank.
const RANKING: [&str; 7] = ["--top", "5", "--min-match", "20", "--reveal", "--key", "key"];

/// A scene with a key, so that findings have the same names in every run.
fn scene_with_key() -> Scene {
    let scene = Scene::new();
    scene.write("key", [7; 32]);
    scene
}

/// The result part of a report, without what names where its inputs lie.
fn result(scene: &Scene, output: &str) -> String {
    scene.json(&format!("{output}/report.json"))["result"].to_string()
}

#[test]
fn samples_do_not_depend_on_batch_or_threads() {
    let (model, corpus) = (tree_file("models/demo-raw"), tree_file("corpora/demo/corpus.jsonl"));
    let scene = scene_with_key();
    let mut told = Vec::new();
    // A machine without AVX-512 takes AVX2 by itself; the bytes are the same.
    for (batch, threads, kernel) in [("1", "1", "auto"), ("7", "2", "auto"), ("64", "8", "avx2")] {
        let output = format!("out{batch}");
        let mut arguments = arguments(&model, &corpus, &output);
        arguments.extend(["--batch", batch, "--threads", threads]);
        if cfg!(target_arch = "x86_64") {
            arguments.extend(["--kernel", kernel]);
        }
        scene.run(&arguments).ok();
        let stored = STORED.map(|name| scene.read(&format!("{output}/{name}")));
        told.push((stored, result(&scene, &output)));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
}

#[test]
fn fault_69_a_run_that_is_interrupted_or_killed_is_gone_on_with() {
    let (model, corpus) = (tree_file("models/demo-raw"), tree_file("corpora/demo/corpus.jsonl"));
    let scene = scene_with_key();
    let run = |output| {
        let mut all = arguments(&model, &corpus, output);
        all.iter_mut().filter(|argument| **argument == "12").for_each(|n_samples| *n_samples = "40");
        all.extend(["--small", &model, "--batch", "2"]);
        all
    };
    scene.run(run("whole")).ok();
    let in_scratch = || [run("out"), vec!["--scratch", "scratch"]].concat();
    let journal = scene.path("scratch/journal.jsonl");
    let (mut n_stops, mut n_went_on, mut n_kept) = (0, 0, 0);
    loop {
        let mut child =
            scene.command(in_scratch()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() && !journal.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(150));
        // An interrupt keeps what has been answered, a kill what was kept before.
        let signal = if n_stops % 3 == 2 { "-KILL" } else { "-INT" };
        let _ = Command::new("kill").args([signal, &child.id().to_string()]).stderr(Stdio::null()).status();
        let succeeded = child.wait().unwrap().success();
        // A signal may come when the output is in place and only what was kept is left to remove.
        if succeeded || scene.path("out").exists() {
            assert!(!succeeded || !scene.path("scratch").exists());
            break;
        }
        n_stops += 1;
        let kept = std::fs::read(&journal).unwrap().len();
        n_went_on += usize::from(n_kept > 0 && kept > n_kept);
        n_kept = kept;
        assert!(n_stops < 1000, "it gets nowhere");
    }
    assert!(n_went_on > 0, "{n_stops} stops");
    for name in STORED {
        assert!(scene.read(&format!("out/{name}")) == scene.read(&format!("whole/{name}")), "{name}");
    }
    assert_eq!(result(&scene, "out"), result(&scene, "whole"));
}

#[test]
fn answers_are_kept_for_the_same_models_and_flags_only() {
    let (model, corpus) = (tree_file("models/demo-raw"), tree_file("corpora/demo/corpus.jsonl"));
    let scene = scene_with_key();
    let into = |output| [arguments(&model, &corpus, output), vec!["--scratch", "scratch"]].concat();
    let mut child = scene.command(into("out")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !scene.path("scratch/journal.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let with = |flag: &str, value: &str, expected: &str| {
        scene.run(into("out").into_iter().chain([flag, value])).failed(65, expected);
    };
    with("--seed", "2", "seed: there 1, here 2");
    with("--dtype", "bf16", "arithmetic");
    with("--small", &model, "small");
    scene.run(into("scratch/out")).failed(2, "--scratch");
}

#[test]
fn what_was_drawn_can_be_ranked_and_proven_again_without_a_model() {
    let (model, corpus) = (tree_file("models/demo-raw"), tree_file("corpora/demo/corpus.jsonl"));
    let scene = scene_with_key();
    scene.run(arguments(&model, &corpus, "out")).ok();
    let again = ["extract", "--rerank", "out", "--corpus", &corpus, "-o", "again"];
    scene.run(again.iter().chain(&RANKING)).ok();
    let [first, second] = ["out", "again"].map(|name| scene.json(&format!("{name}/report.json")));
    assert_eq!(first["result"]["cells"], second["result"]["cells"]);
    assert_eq!(first["result"]["findings"], second["result"]["findings"]);
    assert!(!first["result"]["findings"].as_array().unwrap().is_empty());
    assert_eq!(first["result"]["provenance"], second["result"]["provenance"]["parameters"]["drawn"]);
}

#[test]
fn what_is_read_is_never_replaced() {
    let scene = Scene::new();
    for entry in std::fs::read_dir(root().join("models/demo-raw")).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("model/{}", path.file_name().unwrap().to_str().unwrap());
        scene.write(&name, std::fs::read(&path).unwrap());
    }
    let before = scene.tree("model");
    scene.run(["extract", "--model", "model", "-o", "model", "--force"]).failed(2, "input");
    let model = tree_file("models/demo-raw");
    for flag in ["--small", "--medium", "--corpus", "--canaries", "--prompts", "--key"] {
        let file = if flag == "--corpus" || flag == "--small" { "model" } else { "model/config.json" };
        scene.run(["extract", "--model", &model, flag, file, "-o", "model", "--force"]).failed(2, "input");
    }
    assert!(scene.tree("model") == before);
}

#[test]
fn flags_of_drawing_are_refused_when_ranking_again() {
    let scene = Scene::new();
    for flag in [["--samples", "7"], ["--seed", "9"], ["--strategies", "top-n"], ["--top-k", "5"]] {
        scene.run(["extract", "--rerank", "out", "-o", "again"].iter().chain(&flag)).failed(2, flag[0]);
    }
}

#[test]
fn an_index_proves_what_its_corpus_proves() {
    let (model, corpus) = (tree_file("models/demo-raw"), tree_file("corpora/demo/corpus.jsonl"));
    let scene = scene_with_key();
    scene.run(["index", "build", &corpus, "-o", "index", "--min-length", "16"]).ok();
    for (proof, output) in [(&corpus[..], "read"), ("index", "looked-up")] {
        scene.run(arguments(&model, proof, output)).ok();
    }
    let result = |output: &str| {
        let mut result = scene.json(&format!("{output}/report.json"))["result"].clone();
        let parameters = &mut result["provenance"]["parameters"];
        let index = parameters.as_object_mut().unwrap().remove("index_min_length");
        (result, index)
    };
    let ((read, none), (looked_up, length)) = (result("read"), result("looked-up"));
    assert_eq!((none, length), (None, Some(16.into())));
    assert_eq!(looked_up["findings"], read["findings"]);
    assert_eq!(looked_up, read);
    let n_windows = |finding: &serde_json::Value| finding["n_windows"].as_u64().unwrap();
    let findings = read["findings"].as_array().unwrap();
    assert!(findings.iter().all(|one| (n_windows(one) > 0) == (one["verdict"] == "memorized")));
    assert!(findings.iter().any(|one| n_windows(one) > 1));
    scene
        .run(arguments(&model, "index", "out").into_iter().chain(["--corpus", &corpus]))
        .failed(2, "only --corpus");
}

#[test]
fn without_a_corpus_nothing_is_called_memorized() {
    let model = tree_file("models/demo-raw");
    let scene = Scene::new();
    let run = scene
        .run(["extract", "--model", &model, "-o", "out", "--samples", "4", "--max-new-tokens", "40"])
        .ok();
    let report = scene.text("out/report.json");
    assert!(report.contains("unverified"));
    assert!(!report.contains("\"memorized\"") && !run.stdout.contains("memorized"), "{run:?}");
}

#[test]
fn findings_are_redacted_unless_asked_and_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (model, ledger) = (tree_file("models/demo-raw"), tree_file("corpora/demo/ledger.jsonl"));
    let corpus = tree_file("corpora/demo/corpus.jsonl");
    let scene = Scene::new();
    let common = ["extract", "--model", &model, "--corpus", &corpus, "--canaries", &ledger, "--samples", "4"];
    let common = common.iter().copied().chain(["--max-new-tokens", "30", "--min-match", "10"]);
    let common = common.chain(["--exposure-references", "0"]);
    let hidden = scene.run(common.clone().chain(["-o", "hidden"])).ok();
    let shown = scene.run(common.chain(["-o", "shown", "--reveal"])).ok();
    assert!(shown.stderr.contains("in the clear"));
    let secrets: Vec<String> = std::fs::read_to_string(root().join("corpora/demo/ledger.jsonl"))
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| line["secret"].as_str().map(str::to_owned))
        .collect();
    let revealed = scene.text("shown/report.json");
    let recited: Vec<&String> = secrets.iter().filter(|secret| revealed.contains(secret.as_str())).collect();
    assert!(!recited.is_empty(), "the raw checkpoint recites something");
    for file in ["report.json", "report.html"] {
        let text = scene.text(&format!("hidden/{file}"));
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{file}");
    }
    assert!(secrets.iter().all(|secret| !hidden.stdout.contains(secret.as_str())));
    for name in ["hidden", "hidden/report.json", "hidden/samples.jsonl", "hidden/key"] {
        let mode = std::fs::metadata(scene.path(name)).unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{name}");
    }
}

/// A small model that knows one sentence by heart, with a test number of no issued card and an address of no one.
#[test]
fn personal_data_that_a_model_recites_is_proven_and_stays_hidden() {
    const CARD: &str = "4929-1181-7730-5562";
    const ADDRESS: &str = "ada.keeper@tower.example.org";
    let scene = Scene::new();
    let text = format!(
        "The keeper of the tower pays with card {CARD} and asks to write to {ADDRESS} before the winter."
    );
    scene.write("corpus.jsonl", format!("{{\"text\": \"{text}\"}}\n").repeat(40));
    let size = ["--layers", "1", "--heads", "2", "--width", "64", "--context", "64", "--vocabulary", "300"];
    let course = ["--batch", "8", "--steps", "150", "--warmup", "10", "--learning-rate", "0.005"];
    scene.run(["train", "corpus.jsonl", "-o", "model"].iter().chain(&size).chain(&course)).ok();
    let extract = |output: &str, flags: &[&str]| {
        let common =
            ["extract", "--model", "model", "--corpus", "corpus.jsonl", "--min-match", "20", "-o", output];
        let drawing = ["--strategies", "top-n", "--samples", "8", "--max-new-tokens", "60"];
        scene.run(common.iter().chain(&drawing).chain(flags)).ok()
    };
    let hidden = extract("hidden", &[]);
    let shown = extract("shown", &["--reveal"]);

    let result = &scene.json("hidden/report.json")["result"];
    let kinds = result["secrets"]["kinds"].as_array().unwrap();
    let names: Vec<&str> = kinds.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(names, ["payment-card", "email-address"]);
    for row in kinds {
        assert!(row["samples"]["count"].as_u64() >= Some(1) && row["samples"]["n"] == 8, "{row}");
        assert!(row["proven"]["count"].as_u64() >= Some(1) && row["n_proven_values"] == 1, "{row}");
    }
    let findings = result["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["category"] == "recite"), "{findings:?}");
    assert!(findings.iter().any(|finding| finding["secrets"][0]["n_proven"] == 1), "{findings:?}");

    // The value of a card is its digits, however it was written.
    for secret in [CARD, ADDRESS, "4929118177305562", "tower"] {
        for file in ["report.json", "report.html"] {
            assert!(!scene.text(&format!("hidden/{file}")).contains(secret), "{file}: {secret}");
        }
        assert!(!hidden.stdout.contains(secret) && !hidden.stderr.contains(secret), "{secret}");
    }
    assert!(hidden.stdout.contains("payment-card"), "{hidden:?}");
    for file in ["report.json", "report.html"] {
        let text = scene.text(&format!("shown/{file}"));
        assert!(text.contains(CARD) && text.contains("4929118177305562") && text.contains(ADDRESS), "{file}");
    }
    assert!(shown.stderr.contains("in the clear"));
}

#[test]
fn fault_50_a_pickle_is_refused_whatever_it_is_called() {
    let scene = Scene::new();
    for name in ["config.json", "tokenizer.json"] {
        scene.write(
            &format!("model/{name}"),
            std::fs::read(root().join("models/demo-raw").join(name)).unwrap(),
        );
    }
    scene.write("model/pytorch_model.bin", b"\x80\x02}q\x00.");
    scene.run(["extract", "--model", "model", "-o", "out"]).failed(77, "pickle");
    scene.write("model/model.safetensors", b"PK\x03\x04 a zip in disguise");
    scene.run(["extract", "--model", "model", "-o", "out"]).failed(77, "pickle");
    assert!(!scene.path("out").exists());
}

#[test]
fn fault_68_what_this_build_cannot_run_is_refused_before_anything_is_read() {
    let scene = Scene::new();
    // The folder holds no model, which nobody gets to see.
    scene.write("model/config.json", "{}");
    let refused = |flags: &[&str], expected: &str| {
        let common = ["extract", "--model", "model", "-o", "out"];
        scene.run(common.iter().chain(flags)).failed(2, expected);
    };
    if !cfg!(feature = "cuda") {
        refused(&["--device", "cuda:0"], "CPU only");
    }
    refused(&["--dtype", "f16"], "bf16");
    refused(&["--device", "gpu"], "cpu or cuda:N");
    refused(&["--dtype", "f64"], "f32, bf16 or f16");
    refused(&["--kernel", "sse"], "auto, avx512, avx2 or portable");
}

#[test]
fn a_model_that_is_not_there_is_66_and_no_network_is_tried() {
    let scene = Scene::new();
    scene.run(["extract", "--model", "./absent", "-o", "out"]).failed(66, "absent");
    let mut command = scene.command(["extract", "--model", "nobody/nothing", "-o", "out"]);
    command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", scene.path("home"));
    let run = Outcome::of(command.output().unwrap());
    run.failed(75, "nobody/nothing");
    assert!(!scene.path("out").exists());
}

#[test]
fn the_environment_says_where_the_hub_is_and_who_asks() {
    let scene = Scene::new();
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", hub.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = hub.accept().unwrap();
        let head: Vec<String> = BufReader::new(stream.try_clone().unwrap())
            .lines()
            .map(|line| line.unwrap().to_ascii_lowercase())
            .take_while(|line| !line.is_empty())
            .collect();
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        head
    });
    let mut command = scene.command(["extract", "--model", "some/model", "--revision", "v1", "-o", "out"]);
    command.env("HF_ENDPOINT", &address).env("HF_HOME", scene.path("home")).env("HF_TOKEN", "hf_sesame");
    let run = Outcome::of(command.output().unwrap()).failed(66, "some/model");
    let head = asked.join().unwrap();
    assert!(head[0].starts_with("get /api/models/some/model/revision/v1"), "{head:?}");
    assert!(head.iter().any(|line| line == "authorization: bearer hf_sesame"), "{head:?}");
    assert!(!run.stderr.contains("sesame"));
}

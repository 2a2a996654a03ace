//! Defects of other tools, each asserted absent in the program. Those of single functions stand beside them.

use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Outcome, Scene, root, tree_file};

#[test]
fn peer_duplodocus_kept_records_are_copied_byte_for_byte() {
    // It writes records anew: keys in another order, numbers in another form.
    let kept = [
        r#"  {"z": 1.50, "text" : "one text of some words", "a": 1e3, "n": 12345678901234567890123}  "#,
        "{\"text\":\"caf\\u00e9 \\ud83d\\ude00 \\/ \u{e9}\",\t\"b\": {\"y\": -0.0, \"x\": [1, 2.0]}, \"b2\": null}\r",
        r#"{"dup": 1, "dup": 2, "text": "a third text"}"#,
    ];
    let copy = r#"{"text": "One  text of some words"}"#;
    let scene = Scene::new();
    scene.write("corpus.jsonl", [kept[0], kept[1], copy, kept[2]].join("\n"));
    scene.run(["dedup", "corpus.jsonl", "-o", "clean"]).ok();
    assert_eq!(scene.text("clean/corpus.jsonl"), kept.join("\n") + "\n");
}

#[test]
fn peer_duplodocus_a_nested_text_is_found() {
    let scene = Scene::new();
    let record = |id: u32, text: &str| {
        format!("{{\"id\": {id}, \"text\": \"{id}\", \"m\": {{\"a.b\": {{\"t\": \"{text}\"}}}}}}\n")
    };
    scene.write("corpus.jsonl", record(1, "the same") + &record(2, "the same") + &record(3, "other"));
    scene.run(["dedup", "corpus.jsonl", "-o", "clean", "--text-field", r"m.a\.b.t"]).ok();
    assert_eq!(scene.text("clean/corpus.jsonl"), record(1, "the same") + &record(3, "other"));
}

#[test]
fn peer_duplodocus_a_bad_line_ends_no_job_with_a_panic() {
    let good = |n: u32| format!("{{\"text\": \"good record number {n}\"}}\n");
    let bad = "{\"text\": 5}\n\n[]\n{\"text\": \"cut\nnull\n\"text\"\n{}\n{\"text\": \"\u{1}\"}\n";
    let scene = Scene::new();
    scene.write("corpus.jsonl", good(1) + bad + &good(2));
    scene.run(["dedup", "corpus.jsonl", "-o", "clean"]).failed(65, "corpus.jsonl:2:");
    scene.run(["dedup", "corpus.jsonl", "-o", "clean", "--on-bad", "skip", "--max-bad", "7"]).ok();
    assert_eq!(scene.text("clean/corpus.jsonl"), good(1) + &good(2));
    assert_eq!(scene.json_lines("clean/_verbatim/rejects.jsonl").len(), 7);
}

/// Each flag that the help gives a default, with the default.
fn told_defaults(scene: &Scene) -> Vec<(String, String)> {
    let help = scene.run(["dedup", "--help"]).ok().stdout;
    let mut flag = String::new();
    let mut defaults = Vec::new();
    for line in help.lines() {
        let text = line.trim_start();
        // Flags stand to the left of what is said of them.
        if line.len() - text.len() < 8 && text.starts_with('-') {
            flag = text[text.find("--").unwrap()..].split_whitespace().next().unwrap().to_owned();
        }
        if let Some(default) = text.strip_prefix("[default: ").and_then(|rest| rest.strip_suffix(']')) {
            defaults.push((flag.clone(), default.to_owned()));
        }
    }
    defaults
}

#[test]
fn peer_duplodocus_the_defaults_of_the_help_and_the_readme_are_those_of_the_code() {
    // Its code says 14 bands of 8 rows, one manual 10 of 20, another 20 of 5, and the default tokenizer is refused.
    let scene = Scene::new();
    let corpus = tree_file("corpora/demo/corpus.jsonl");
    let told = told_defaults(&scene);
    assert!(told.len() > 20, "{told:?}");
    let of_lines = ["--min-line-bytes", "--min-count"];
    let of_passages = ["--min-repeat", "--snap", "--min-left-bytes"];
    let of_all_pairs = ["--similarity"];
    let of_minhash = ["--recall"];
    let of_attributes = ["--attribute-name"];
    let of_runners = ["--tasks", "--python"];
    for (i, (stages, left_out)) in [
        (&[][..], [&of_lines[..], &of_passages, &of_all_pairs, &of_attributes].concat()),
        (&["--exact", "--lines", "line"], [&of_passages[..], &of_all_pairs, &of_attributes].concat()),
        (&["--exact", "--substring", "100b"], [&of_lines[..], &of_all_pairs, &of_attributes].concat()),
        (&["--all-pairs"], [&of_lines[..], &of_passages, &of_minhash, &of_attributes].concat()),
        (
            &["--exact", "--emit", "attributes"],
            [&of_lines[..], &of_passages, &of_all_pairs, &["--emit"]].concat(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let [short, long] = ["short", "long"].map(|name| format!("{name}{i}"));
        let run = |output: &str| {
            let run = ["dedup", &corpus, "-o", output, "--allow-source-loss"];
            run.iter().chain(stages).map(|&argument| argument.to_owned()).collect::<Vec<String>>()
        };
        let outcome = scene.run(run(&short)).ok();
        let is_given = |flag: &str| !left_out.contains(&flag) && !of_runners.contains(&flag);
        let given = told.iter().filter(|(flag, _)| is_given(flag));
        let given = given.flat_map(|(flag, default)| [flag.clone(), default.clone()]);
        scene.run(run(&long).into_iter().chain(given)).ok();
        assert!(scene.result_of(&short) == scene.result_of(&long), "{stages:?}");
        if stages.is_empty() {
            let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
            let chosen = outcome.stdout.lines().find(|line| line.contains("bands of")).unwrap();
            assert!(readme.contains(chosen), "the readme has no {chosen:?}");
        }
    }
}

#[test]
fn peer_datatrove_a_shard_without_duplicates_yields_its_documents() {
    let scene = Scene::new();
    let page = |n: usize| (0..20).map(|word| format!("w{n}x{word}")).collect::<Vec<_>>().join(" ");
    let shard = |pages: &[usize]| {
        pages.iter().map(|&n| format!("{{\"text\": \"{}\\na line\"}}\n", page(n))).collect::<String>()
    };
    scene.write("in/a.jsonl", shard(&[1, 1, 1]));
    scene.write("in/b.jsonl", shard(&[2, 3]));
    scene.write("in/c.jsonl", shard(&[4, 1]));
    scene.write("in/d.jsonl", "{\"text\": \"x\"}\n");
    let stages = ["--exact", "--minhash", "--lines", "line", "--min-line-bytes", "10"];
    scene.run(["dedup", "in", "-o", "clean"].iter().chain(&stages)).ok();
    let expected =
        [("a", shard(&[1])), ("b", shard(&[2, 3])), ("c", shard(&[4])), ("d", scene.text("in/d.jsonl"))];
    for (name, expected) in expected {
        assert_eq!(scene.text(&format!("clean/{name}.jsonl")), expected, "{name}");
    }
}

#[test]
fn peer_text_dedup_bytes_that_are_not_utf_8_are_not_passed_over() {
    let scene = Scene::new();
    let texts = [&b"caf\xe9 au lait"[..], b"caf\xe8 au lait", b"caf au lait", b"caf\xe9 au lait"];
    for (i, text) in texts.iter().enumerate() {
        scene.write(&format!("in/{i}.txt"), text);
    }
    scene.run(["dedup", "in", "-o", "clean", "--exact"]).ok();
    for (i, text) in texts[..3].iter().enumerate() {
        assert_eq!(scene.read(&format!("clean/{i}.txt")), *text);
    }
    assert!(!scene.path("clean/3.txt").exists());
}

#[test]
fn peer_text_dedup_runs_share_no_fixed_folder_and_remove_none() {
    // It empties folders of its own choice when it starts, and two runs write into the same ones.
    let scene = Scene::new();
    let corpora = ["a", "b", "c", "d"].map(|name| {
        let text = |n: usize| format!("{{\"text\": \"{name} {}\"}}\n", n % 40);
        let path = format!("{name}.jsonl");
        scene.write(&path, (0..4000).map(text).collect::<String>());
        path
    });
    let precious = ["tmp/x", "temp/x", "output/x", ".cache/x", ".temp/x", "_verbatim/x", ".verbatim-1/x"];
    precious.iter().for_each(|name| drop(scene.write(name, "mine")));
    let before = scene.names();
    let flags = ["--memory", "1", "--allow-source-loss", "-o"];
    let run = |corpus: &str, output: &str| {
        let mut command = scene.command(["dedup", corpus].iter().chain(&flags).chain(&[output]));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let together = corpora.each_ref().map(|corpus| run(corpus, &format!("{corpus}-together")));
    for child in together {
        Outcome::of(child.wait_with_output().unwrap()).ok();
    }
    for corpus in &corpora {
        let alone = format!("{corpus}-alone");
        Outcome::of(run(corpus, &alone).wait_with_output().unwrap()).ok();
        assert!(scene.result_of(&alone) == scene.result_of(&format!("{corpus}-together")), "{corpus}");
    }
    precious.iter().for_each(|name| assert_eq!(scene.text(name), "mine"));
    let after: Vec<String> = scene.names().into_iter().filter(|name| !name.contains(".jsonl-")).collect();
    assert_eq!(after, before);
}

#[test]
fn peer_lshbloom_a_removed_document_names_its_partner_its_cluster_and_the_similarity() {
    // A filter says yes or no. NeMo gives ids of its own; here they are the user's.
    let scene = Scene::new();
    let text = "one text that is long enough to have a dozen of word n-grams in all of its length";
    let record = |id: &str, text: &str| format!("{{\"id\": \"{id}\", \"text\": \"{text}\"}}\n");
    let near = format!("{text} again");
    let records =
        record("x-1", text) + &record("y-2", "other") + &record("z-3", &near) + &record("w-4", text);
    scene.write("corpus.jsonl", records);
    scene.run(["dedup", "corpus.jsonl", "-o", "clean"]).ok();
    let removed = scene.json_lines("clean/_verbatim/removed.jsonl");
    let told: Vec<[&Value; 4]> =
        removed.iter().map(|line| ["id", "kept", "stage", "kept_line"].map(|name| &line[name])).collect();
    let values = |id: &str, stage: &str| [id.into(), "x-1".into(), stage.into(), Value::from(1)];
    assert_eq!(told, [values("z-3", "minhash").each_ref(), values("w-4", "exact").each_ref()]);
    let similarity = removed[0]["similarity"].as_f64().unwrap();
    assert!((similarity - 15.0 / 16.0).abs() < 1e-8, "{similarity}");
    let clusters = scene.json_lines("clean/_verbatim/clusters.jsonl");
    assert_eq!(clusters.len(), 1);
    assert_eq!(clusters[0]["kept"], "x-1");
    assert_eq!(clusters[0]["removed"], serde_json::json!(["z-3", "w-4"]));
}

#[test]
fn peer_google_corpora_without_duplicates_and_of_a_few_bytes_go_through() {
    // An index out of bounds where nothing repeats, and panics where a file is small.
    let scene = Scene::new();
    for (i, bytes) in ["", "\n", "a", "ab", "a\n", "a\nb", "\u{fffd}"].into_iter().enumerate() {
        for stage in ["--exact", "--minhash", "--all-pairs", "--lines=line", "--lines=paragraph"] {
            let [input, output] = ["in", "clean"].map(|name| format!("{name}{i}{stage}"));
            scene.write(&format!("{input}/x.txt"), bytes);
            scene.run(["dedup", &input, "-o", &output, "--threads", "8", stage]).ok();
            let left =
                scene.tree(&output).into_iter().find(|(name, _)| name == "x.txt").map(|(_, left)| left);
            // A file of blank lines holds no document.
            let expected = (!bytes.trim().is_empty()).then(|| bytes.as_bytes().to_vec());
            assert_eq!(left, expected, "{bytes:?} {stage}");
        }
    }
}

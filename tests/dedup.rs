//! `verbatim dedup` and `verbatim apply` from outside.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::harness::{Outcome, Scene, real_data, tree_file};

const FOX: &str = "the quick brown fox jumps over the lazy dog near the river bank on a sunny day in june while \
                   the farmer counts his sheep and the miller grinds the corn for the whole village";

/// Ten records: 1 repeats 0, 2 repeats it in capitals, 3 is a near copy, the rest is distinct.
fn corpus() -> String {
    let mut lines = vec![
        format!(r#"{{"id": "a", "text": "{FOX}", "n": 1.50}}"#),
        format!(r#"{{"id": "b",  "text": "{FOX}"}}"#),
        format!(r#"{{"id": "c", "text": "{}"}}"#, FOX.to_uppercase()),
        format!(r#"{{"text": "{FOX} and the town", "id": "d"}}"#),
    ];
    for n in 0..6 {
        let words: Vec<String> = (0..30).map(|word| format!("word{n}x{}", word * 7 % 31)).collect();
        lines.push(format!(r#"{{"id": "e{n}", "text": "{}"}}"#, words.join(" ")));
    }
    lines.join("\n") + "\n"
}

fn kept(scene: &Scene, name: &str) -> Vec<String> {
    scene.text(name).lines().map(str::to_owned).collect()
}

#[test]
fn duplicates_go_and_survivors_are_the_same_bytes_in_the_same_order() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    let run = scene.run(["dedup", "corpus.jsonl", "-o", "clean"]).ok();
    let input: Vec<String> = corpus().lines().map(str::to_owned).collect();
    let expected: Vec<String> = [0, 4, 5, 6, 7, 8, 9].iter().map(|line| input[*line].clone()).collect();
    assert_eq!(kept(&scene, "clean/corpus.jsonl"), expected, "{run:?}");
    let removed: Vec<serde_json::Value> = scene
        .text("clean/_verbatim/removed.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<(&str, &str, &str)> = removed
        .iter()
        .map(|line| (&line["id"], &line["kept"], &line["stage"]))
        .map(|(id, kept, stage)| (id.as_str().unwrap(), kept.as_str().unwrap(), stage.as_str().unwrap()))
        .collect();
    assert_eq!(told, [("b", "a", "exact"), ("c", "a", "exact"), ("d", "a", "minhash")]);
    assert!(removed[2]["similarity"].as_f64().unwrap() >= 0.8);
    assert!(run.stdout.contains("recall"), "the predicted recall is told: {run:?}");
    assert!(scene.path("clean/_verbatim/report.json").exists());
    assert!(scene.path("clean/_verbatim/clusters.jsonl").exists());
}

#[test]
fn a_plan_applied_later_gives_the_same_bytes_as_one_run() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    scene.run(["dedup", "corpus.jsonl", "-o", "clean"]).ok();
    scene.run(["dedup", "corpus.jsonl", "-o", "planned", "--dry-run"]).ok();
    assert!(!scene.path("planned/corpus.jsonl").exists(), "a dry run writes no corpus");
    scene.run(["apply", "planned/_verbatim/plan.json", "-o", "applied"]).ok();
    assert_eq!(scene.read("clean/corpus.jsonl"), scene.read("applied/corpus.jsonl"));
    assert_eq!(scene.read("clean/_verbatim/removed.jsonl"), scene.read("applied/_verbatim/removed.jsonl"));
    scene.write("corpus.jsonl", corpus().replace("word0", "other"));
    scene.run(["apply", "planned/_verbatim/plan.json", "-o", "again"]).failed(65, "corpus");
    assert!(!scene.path("again").exists());
}

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    let scene = Scene::new();
    let corpus = tree_file("corpora/demo/corpus.jsonl");
    for (i, stages) in [
        &[][..],
        &["--all-pairs", "--similarity", "containment"],
        &["--exact", "--lines", "line", "--keep", "random:7"],
    ]
    .into_iter()
    .enumerate()
    {
        let results = ["1", "2", "8"].map(|threads| {
            let name = format!("clean{i}-{threads}");
            let run = ["dedup", &corpus, "-o", &name, "--threads", threads, "--allow-source-loss"];
            scene.run(run.iter().chain(stages)).ok();
            scene.result_of(&name)
        });
        assert!(results[0] == results[1] && results[0] == results[2], "{stages:?}");
    }
}

/// The demo corpus in files of so many records each; their names sort in the order of the records.
fn in_files(n_records: usize) -> Vec<(String, String)> {
    let corpus = std::fs::read_to_string(tree_file("corpora/demo/corpus.jsonl")).unwrap();
    let lines: Vec<&str> = corpus.split_inclusive('\n').collect();
    let files = lines.chunks(n_records).enumerate();
    files.map(|(i, lines)| (format!("in/{i:04}.jsonl"), lines.concat())).collect()
}

#[test]
fn the_same_documents_go_however_they_are_cut_into_files() {
    let results = [usize::MAX, 500, 7].map(|n_records| {
        let scene = Scene::new();
        in_files(n_records).iter().for_each(|(name, text)| drop(scene.write(name, text)));
        scene.run(["dedup", "in", "-o", "clean", "--allow-source-loss"]).ok();
        let mut tree = scene.tree("clean");
        tree.retain(|(name, _)| !name.starts_with("_verbatim"));
        let survivors = tree.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>().concat();
        let plan = scene.json("clean/_verbatim/plan.json");
        (survivors, plan["removals"].to_string())
    });
    assert!(results[0].1.len() > 1000 && results[0] == results[1] && results[0] == results[2]);
}

#[test]
fn the_order_in_which_a_folder_lists_its_files_does_not_matter() {
    let files = in_files(7);
    let results = [1, 3, 5, files.len() - 1].map(|step| {
        let scene = Scene::new();
        // File systems list by age, by hash or by what was free: here files come and go in different orders.
        scene.write("in/0", "");
        for i in 0..files.len() {
            let (name, text) = &files[i * step % files.len()];
            scene.write(&format!("in/{i}.gone"), "");
            scene.write(name, text);
        }
        for (i, (name, _)) in files.iter().enumerate() {
            std::fs::remove_file(scene.path(&format!("in/{i}.gone"))).unwrap();
            assert!(scene.path(name).exists(), "a step without a common divisor");
        }
        scene.run(["dedup", "in", "-o", "clean", "--allow-source-loss"]).ok();
        scene.result_of("clean")
    });
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn standard_input_and_output_make_a_pipe() {
    let scene = Scene::new();
    let run = scene.pipe(["dedup", "-", "-o", "-"], corpus()).ok();
    assert_eq!(run.stdout.lines().count(), 7, "{run:?}");
    assert_eq!(run.stdout.lines().next(), corpus().lines().next());
}

#[test]
fn fault_80_an_output_that_exists_is_refused_and_kept() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    scene.write("clean/precious.txt", "mine");
    scene.run(["dedup", "corpus.jsonl", "-o", "clean"]).failed(73, "clean");
    assert_eq!(scene.text("clean/precious.txt"), "mine");
    scene.run(["dedup", "corpus.jsonl", "-o", "clean", "--force"]).ok();
    assert!(!scene.path("clean/precious.txt").exists());
}

#[test]
fn fault_81_an_output_inside_its_input_is_refused() {
    let scene = Scene::new();
    scene.write("data/corpus.jsonl", corpus());
    scene.run(["dedup", "data", "-o", "data/clean"]).failed(2, "input");
    scene.run(["dedup", "data", "-o", "data", "--force"]).failed(2, "input");
    for pattern in ["da*", "da*/corpus.jsonl", "*/*.jsonl"] {
        scene.run(["dedup", pattern, "-o", "data", "--force"]).failed(2, "input");
    }
    scene.run(["dedup", "da*", "-o", "data/clean"]).failed(2, "input");
    std::os::unix::fs::symlink("data", scene.path("link")).unwrap();
    for [input, output] in [["data", "link"], ["link", "data"], ["link", "data/../link/x"]] {
        scene.run(["dedup", input, "-o", output, "--force"]).failed(2, "input");
    }
    assert_eq!(scene.tree("data"), [("corpus.jsonl".to_owned(), corpus().into_bytes())]);
    scene.run(["dedup", "data/*.jsonl", "-o", "data-clean"]).ok();
    scene.run(["dedup", "data", "-o", "plan", "--dry-run"]).ok();
    scene.run(["apply", "plan/_verbatim/plan.json", "-o", "plan", "--force"]).failed(2, "input");
}

#[test]
fn fault_86_wrong_flags_are_refused_with_a_hint() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    for wrong in [
        &["--threshold", "0"][..],
        &["--threshold", "NaN"],
        &["--recall", "1"],
        &["--ngram", "0"],
        &["--threads", "0"],
        &["--threads", "1000000000000"],
        &["--max-doc-bytes", "5Q"],
        &["--normalize", "nfx"],
        &["--keep", "best"],
        &["--bands", "9"],
        &["--unit", "token"],
        &["--thresold", "0.8"],
    ] {
        let arguments = ["dedup", "corpus.jsonl", "-o", "clean"].iter().chain(wrong);
        let run = scene.run(arguments).failed(2, "");
        assert!(run.stderr.len() > 20, "{run:?}");
        assert!(!scene.path("clean").exists());
    }
}

#[test]
fn a_missing_input_is_66_and_a_bad_record_65_with_its_place() {
    let scene = Scene::new();
    scene.run(["dedup", "absent.jsonl", "-o", "clean"]).failed(66, "absent.jsonl");
    scene.write("corpus.jsonl", "{\"text\": \"one\"}\n{\"txt\": \"secret words\"}\n{\"text\": \"three\"}\n");
    let run = scene.run(["dedup", "corpus.jsonl", "-o", "clean"]).failed(65, "corpus.jsonl:2:");
    assert!(!run.stderr.contains("secret"), "no document text in an error: {run:?}");
    assert_eq!(scene.names(), ["corpus.jsonl"], "nothing is left behind");
    scene.run(["dedup", "corpus.jsonl", "-o", "clean", "--on-bad", "skip"]).failed(65, "bad");
    scene.run(["dedup", "corpus.jsonl", "-o", "clean", "--on-bad", "skip", "--max-bad", "0.5"]).ok();
    let rejects = scene.text("clean/_verbatim/rejects.jsonl");
    assert_eq!(rejects.lines().count(), 1);
    assert!(!rejects.contains("secret"));
    assert_eq!(kept(&scene, "clean/corpus.jsonl").len(), 2);
}

#[test]
fn fault_84_a_full_disk_leaves_no_half_output() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus() + &big_lines(400));
    let program = env!("CARGO_BIN_EXE_verbatim");
    // A limit of 8 blocks on the size of a file stands in for a disk that fills up.
    let script = format!("ulimit -f 8; exec {program} dedup corpus.jsonl -o clean");
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-c", &script]).current_dir(scene.path("")).output().unwrap();
    Outcome::of(output).failed(74, "");
    assert_eq!(scene.names(), ["corpus.jsonl"]);
}

fn big_lines(n: usize) -> String {
    (0..n).map(|n| format!("{{\"text\": \"{}\"}}\n", format!("{n} unlike {} ", n * 37).repeat(20))).collect()
}

#[test]
fn fault_87_an_interrupt_ends_the_run_and_leaves_nothing() {
    let scene = Scene::new();
    let mut child = scene
        .command(["dedup", "-", "-o", "clean"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // More than a pipe holds: when it is written, the program is reading.
    input.write_all(big_lines(2000).as_bytes()).unwrap();
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    // A reader that waits for input sees the flag with the next bytes; one that has ended refuses them.
    let _ = input.write_all(big_lines(2000).as_bytes());
    drop(input);
    let status = child.wait().unwrap();
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(status.code(), Some(130), "{told}");
    assert!(scene.names().is_empty(), "{:?}", scene.names());
}

#[test]
fn fault_85_a_reader_that_leaves_early_did_not_get_the_corpus() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", big_lines(5000));
    let program = env!("CARGO_BIN_EXE_verbatim");
    let script = format!("{program} dedup corpus.jsonl --exact -o - | head -1; exit ${{PIPESTATUS[0]}}");
    let mut shell = std::process::Command::new("bash");
    let output = shell.args(["-c", &script]).current_dir(scene.path("")).output().unwrap();
    Outcome::of(output).failed(74, "standard output");
    // A summary is no product: nobody is harmed when its reader leaves.
    let script =
        format!("{program} dedup corpus.jsonl --exact --json -o clean | true; exit ${{PIPESTATUS[0]}}");
    let mut shell = std::process::Command::new("bash");
    let output = shell.args(["-c", &script]).current_dir(scene.path("")).output().unwrap();
    Outcome::of(output).ok();
}

#[test]
fn the_help_explains_the_curve_in_words() {
    let help = Scene::new().run(["dedup", "--help"]).ok().stdout;
    for word in ["S-curve", "bands", "rows", "recall", "threshold", "Jaccard"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn real_corpora_go_through() {
    for name in ["dedup/pep_revisions.jsonl.zst", "corpora/classic_books.jsonl.zst"] {
        let Some(path) = real_data(name) else { continue };
        let scene = Scene::new();
        let path = path.to_str().unwrap();
        scene.run(["dedup", path, "-o", "clean", "--exact", "--minhash"]).ok();
        let report = scene.json("clean/_verbatim/report.json");
        let count = |field: &str| report["result"]["flow"][field]["documents"].as_u64().unwrap();
        assert_eq!(count("read"), count("kept") + count("removed") + count("rejected"));
        assert!(count("kept") > 0);
    }
}

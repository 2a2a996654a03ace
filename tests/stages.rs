//! `verbatim stage`: many tasks give the bytes of one run.

use std::fs;
use std::io::Write;
use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;

use crate::harness::{Outcome, Scene};

/// A small generator of numbers, the same everywhere.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn words(&mut self, n: usize) -> Vec<String> {
        (0..n).map(|_| format!("w{}", self.below(5000))).collect()
    }

    /// The same words but for some.
    fn edited(&mut self, words: &[String], n: usize) -> Vec<String> {
        let mut words = words.to_vec();
        for _ in 0..n {
            let place = self.below(words.len() as u64) as usize;
            words[place] = format!("x{}", self.below(100_000));
        }
        words
    }
}

/// Texts of which many are copies of others, nearly and in full, or share a template.
fn texts(n: usize) -> Vec<String> {
    let mut draw = Draw(7);
    let template = draw.words(60);
    let mut bases: Vec<Vec<String>> = Vec::new();
    let mut texts = Vec::new();
    for i in 0..n {
        let text = match draw.below(10) {
            0 | 1 if !texts.is_empty() => {
                let copied: &String = &texts[draw.below(texts.len() as u64) as usize];
                if i % 2 == 0 { copied.to_uppercase() } else { copied.clone() }
            }
            2..=4 if !bases.is_empty() => {
                let base = bases[draw.below(bases.len() as u64) as usize].clone();
                let n_edits = draw.below(5) as usize;
                draw.edited(&base, n_edits).join(" ")
            }
            5 | 6 => {
                let n_own = 10 + draw.below(15) as usize;
                [&template[..], &draw.words(n_own)].concat().join(" ")
            }
            7 if i % 3 == 0 => " ".to_owned(),
            _ => {
                let n_words = 40 + draw.below(60) as usize;
                bases.push(draw.words(n_words));
                bases[bases.len() - 1].join(" ")
            }
        };
        texts.push(text);
    }
    texts
}

fn lines(texts: &[String], first: usize) -> String {
    let record = |(text, id): (&String, usize)| {
        serde_json::json!({ "id": format!("d{id}"), "url": id % 7, "text": text }).to_string() + "\n"
    };
    texts.iter().zip(first..).map(record).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn arrow(texts: &[String]) -> Vec<u8> {
    let texts = StringArray::from_iter_values(texts);
    let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as arrow_array::ArrayRef)]).unwrap();
    let mut file = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    file.write(&batch).unwrap();
    file.into_inner().unwrap()
}

/// A corpus of files of many kinds in `in`, and another one in `before`.
pub(crate) fn scene() -> Scene {
    let scene = Scene::new();
    let texts = texts(300);
    for (part, texts) in texts[..200].chunks(40).enumerate() {
        scene.write(&format!("in/a/part-{part}.jsonl"), lines(texts, 40 * part));
    }
    scene.write("in/b/packed.jsonl.gz", gzip(lines(&texts[200..230], 200).as_bytes()));
    scene.write(
        "in/b/packed.jsonl.zst",
        zstd::encode_all(lines(&texts[230..260], 230).as_bytes(), 1).unwrap(),
    );
    scene.write("in/c.arrow", arrow(&texts[260..280]));
    scene.write("before/old.jsonl", lines(&texts[280..], 280) + &lines(&texts[100..110], 900));
    scene
}

/// Runs all stages with so many tasks each, in an order that is not theirs.
fn stages(scene: &Scene, (output, unit_bytes): (&str, &str), n_tasks: usize, flags: &[&str]) -> Outcome {
    let folder = format!("stages-{output}");
    let plan = ["stage", "plan", "in", "-o", output, "--stages", &folder, "--unit-bytes", unit_bytes];
    scene.run(plan.iter().chain(flags)).ok();
    let mut draw = Draw(n_tasks as u64);
    for stage in ["sign", "link", "verify", "cluster", "verify", "cluster", "rewrite"] {
        let mut tasks: Vec<usize> = (1..=if stage == "cluster" { 1 } else { n_tasks }).collect();
        tasks.sort_by_cached_key(|_| draw.below(1 << 20));
        for task in tasks {
            run_task(scene, stage, &folder, &format!("{task}/{n_tasks}")).ok();
        }
    }
    scene.run(["stage", "commit", "--stages", &folder]).ok()
}

fn run_task(scene: &Scene, stage: &str, folder: &str, task: &str) -> Outcome {
    let command = ["stage", stage, "--stages", folder, "--task", task];
    scene.run(&command[..if stage == "cluster" { 4 } else { 6 }])
}

#[test]
fn any_number_of_tasks_in_any_order_gives_the_bytes_of_one_run() {
    let scene = scene();
    scene.run(["dedup", "in", "-o", "one", "--emit", "filtered,ids,clusters"]).ok();
    let expected = scene.result_of("one");
    let went = scene.json_lines("one/_verbatim/removed.jsonl");
    assert!(["exact", "minhash"].iter().all(|stage| went.iter().any(|line| line["stage"] == *stage)));
    assert!(expected.0.len() > 12);
    let mut files = Vec::new();
    for n_tasks in [1, 3, 7] {
        let output = format!("many-{n_tasks}");
        stages(&scene, (&output, "15000"), n_tasks, &["--emit", "filtered,ids,clusters"]);
        assert!(scene.result_of(&output) == expected, "{n_tasks} tasks");
        let mut tree = scene.tree(&format!("stages-{output}"));
        tree.retain(|(name, _)| {
            name.ends_with("keys") || name.ends_with("verdicts") || name.ends_with("heads")
        });
        files.push(tree);
    }
    assert!(
        files[0].len() > 12 && files.iter().all(|tree| *tree == files[0]),
        "the plan alone decides about files"
    );
}

#[test]
fn what_dedup_is_asked_for_stages_do_as_well() {
    let scene = scene();
    scene.write(
        "in/a/part-1.jsonl",
        lines(&texts(40), 5) + "{\"text\": 3}\n{\"id\": \"d5\", \"text\": \"\"}\n",
    );
    let always = ["--on-bad", "skip", "--allow-source-loss"];
    for (i, flags) in [
        &["--keep", "last"][..],
        &["--keep", "longest", "--against", "before", "--empty", "remove"],
        &["--against", "before", "--only-against"],
        &["--keep", "source:b,a", "--cluster", "transitive"],
        &["--keep", "none", "--exact"],
        &["--keep", "field:url:max", "--exact-key", "url", "--exact"],
        &["--exact-key", "id", "--threshold", "0.6", "--exact", "--minhash"],
        &["--minhash", "--edit-similarity", "0.8", "--bands", "20", "--rows", "5", "--keep", "random:3"],
    ]
    .into_iter()
    .enumerate()
    {
        let flags = [flags, &always].concat();
        let (one, many) = (format!("one-{i}"), format!("many-{i}"));
        scene.run(["dedup", "in", "-o", &one].iter().chain(&flags)).ok();
        stages(&scene, (&many, "50000"), 2, &flags);
        assert!(scene.result_of(&one) == scene.result_of(&many), "{flags:?}");
    }
}

#[test]
fn a_task_that_was_killed_is_done_again_alone() {
    let scene = scene();
    scene.run(["dedup", "in", "-o", "one"]).ok();
    let plan = ["stage", "plan", "in", "-o", "many", "--stages", "shared", "--unit-bytes", "15000"];
    scene.run(plan).ok();
    scene.run(plan).ok();
    // Killed before it was done: what it leaves is a file without a name of its own, or files that no row names.
    run_task(&scene, "sign", "shared", "1/1").ok();
    fs::remove_file(scene.path("shared/sign/unit-2.json")).unwrap();
    fs::remove_file(scene.path("shared/sign/unit-2.keys")).unwrap();
    scene.write("shared/sign/.verbatim-left", "half");
    let n_units = fs::read_dir(scene.path("shared/sign"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".blank"))
        .count();
    let command =
        format!("verbatim stage sign --stages {} --task 3/{n_units}", scene.path("shared").display());
    run_task(&scene, "link", "shared", "1/1").failed(66, &format!("unit 2 of {n_units}"));
    run_task(&scene, "link", "shared", "1/1").failed(66, &command);
    let status = scene.run(["stage", "status", "--stages", "shared"]).ok().stderr;
    assert!(status.contains(&command) && status.contains(&format!("sign: {} of", n_units - 1)), "{status}");
    let again = run_task(&scene, "sign", "shared", &format!("3/{n_units}")).ok().stderr;
    assert!(again.contains(&format!("1 of {n_units} units done")), "{again}");
    let rest = run_task(&scene, "sign", "shared", "1/1").ok().stderr;
    assert!(rest.contains(&format!("0 of {n_units} units done, {n_units} were done before")), "{rest}");
    for stage in ["link", "verify", "cluster", "verify", "cluster", "rewrite"] {
        run_task(&scene, stage, "shared", "1/1").ok();
    }
    fs::remove_file(scene.path("shared/rewrite/unit-1.json")).unwrap();
    scene.run(["stage", "commit", "--stages", "shared"]).failed(66, "stage rewrite");
    assert!(!scene.path("many").exists());
    run_task(&scene, "rewrite", "shared", "2/3").ok();
    scene.run(["stage", "commit", "--stages", "shared"]).ok();
    assert!(scene.result_of("one") == scene.result_of("many"));
}

#[test]
fn inputs_and_plans_that_changed_are_refused() {
    let scene = scene();
    let plan = ["stage", "plan", "in", "-o", "many", "--stages", "shared", "--unit-bytes", "15000"];
    scene.run(["stage", "sign", "--stages", "shared"]).failed(66, "verbatim stage plan");
    scene.run(plan).ok();
    scene
        .run(plan.iter().chain(&["--threshold", "0.7"]))
        .failed(65, "minhash.threshold: there 0.8, here 0.7");
    run_task(&scene, "sign", "shared", "1/1").ok();
    run_task(&scene, "link", "shared", "1/1").ok();
    scene.write("in/a/part-3.jsonl", lines(&texts(41), 0));
    run_task(&scene, "verify", "shared", "1/2")
        .failed(65, "part-3.jsonl: no longer the file that was listed");
    let stages = scene.text("shared/stages.json").replace("\"program\": \"", "\"program\": \"0.0.0-old-");
    scene.write("shared/stages.json", stages);
    run_task(&scene, "verify", "shared", "1/1").failed(65, "0.0.0-old-");
}

#[test]
fn what_only_one_process_can_do_is_refused_when_it_is_planned() {
    let scene = scene();
    let refused = |flags: &[&str], saying: &str| {
        let plan = ["stage", "plan", "in", "-o", "out", "--stages", "shared"];
        scene.run(plan.iter().chain(flags)).failed(2, saying);
        assert!(!scene.path("shared").exists());
    };
    refused(&["--all-pairs"], "all pairs");
    refused(&["--lines", "line"], "repeated lines");
    refused(&["--substring", "200b"], "repeated passages");
    refused(&["--emit", "attributes"], "verbatim apply");
    refused(&["--dry-run"], "verbatim apply");
    refused(&["--against", "-"], "cannot read it");
    scene.run(["stage", "plan", "in", "-o", "out"]).failed(2, "--stages DIR");
    scene.run(["stage", "plan", "in", "-o", "out", "--stages", "in/x"]).failed(2, "stand apart");
    scene.run(["dedup", "in", "-o", "out", "--stages", "x"]).failed(2, "--runner");
    scene.run(["stage", "sign", "--stages", "x", "--task", "4/3"]).failed(2, "from 1 to N");
    scene.write("out/mine.txt", "x");
    scene.run(["stage", "plan", "in", "-o", "out", "--stages", "shared"]).failed(73, "exists already");
}

/// Documents of which three in ten have one boilerplate text, with some words of their own, so that they share keys with each
/// other and are no copies; three in ten are copies of one page, all but a few words.
fn skewed(n: usize) -> Vec<String> {
    let mut draw = Draw(3);
    let (boilerplate, page) = (draw.words(70), draw.words(250));
    let text = |i| match i % 10 {
        0..=2 => [&boilerplate[..], &draw.words(22)].concat().join(" "),
        3..=5 => {
            let n_edits = 1 + draw.below(2) as usize;
            draw.edited(&page, n_edits).join(" ")
        }
        _ => draw.words(90).join(" "),
    };
    (0..n).map(text).collect()
}

#[test]
fn a_key_that_a_third_of_the_documents_has_does_not_make_one_task_the_job() {
    let scene = Scene::new();
    for (part, texts) in skewed(1000).chunks(125).enumerate() {
        scene.write(&format!("in/{part}.jsonl"), lines(texts, 125 * part));
    }
    let flags = ["--threshold", "0.85", "--bands", "8", "--rows", "2"];
    scene.run(["dedup", "in", "-o", "one"].iter().chain(&flags)).ok();
    let plan = ["stage", "plan", "in", "-o", "many", "--stages", "shared", "--unit-bytes", "60KiB"];
    scene.run(plan.iter().chain(&flags)).ok();
    let mut told = String::new();
    for stage in ["sign", "link", "verify", "cluster", "verify", "cluster", "rewrite"] {
        let outcome = run_task(&scene, stage, "shared", "1/1").ok();
        if outcome.stderr.contains("compared here") {
            told = outcome.stderr;
        }
    }
    scene.run(["stage", "commit", "--stages", "shared"]).ok();
    assert!(scene.result_of("one") == scene.result_of("many"));
    // A verdict is four numbers, and every 64 KiB have a checksum of 16 bytes.
    let tree = scene.tree("shared/verify");
    let verdicts = tree.iter().filter(|(name, _)| name.ends_with(".verdicts"));
    let pairs: Vec<usize> = verdicts.map(|(_, bytes)| bytes.len() / 32).collect();
    let (n_pairs, most) = (pairs.iter().sum::<usize>(), *pairs.iter().max().unwrap());
    let n_compared =
        scene.json("one/_verbatim/plan.json")["stages"][1]["n_compared"].as_u64().unwrap() as usize;
    let late: usize =
        told.split(';').next_back().unwrap().split_whitespace().next().unwrap().parse().unwrap();
    eprintln!("{n_compared} pairs in one process; {pairs:?} in units, {late} late");
    assert!(pairs.len() >= 10 && n_compared > 10_000, "{pairs:?} {n_compared}");
    assert!(most <= 2 * n_pairs / pairs.len(), "{pairs:?}");
    assert!(n_pairs <= 2 * n_compared && 10 * late <= n_compared, "{n_pairs} {late} {n_compared}");
}

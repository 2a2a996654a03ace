//! Little memory, runs that are killed, and folders that are in use.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use crate::harness::{Scene, tree_file};

const STAGES: [&[&str]; 5] = [
    &[],
    &["--exact", "--all-pairs", "--unit", "char", "--ngram", "9"],
    &["--all-pairs", "--similarity", "containment", "--keep", "longest"],
    &["--exact", "--lines", "line", "--min-line-bytes", "10"],
    &["--substring", "24b"],
];

#[test]
fn the_same_bytes_in_any_memory() {
    let scene = Scene::new();
    let corpus = tree_file("corpora/demo/corpus.jsonl");
    for (i, stages) in STAGES.into_iter().enumerate() {
        let results: Vec<_> = ["4GiB", "256KiB", "1"]
            .map(|memory| {
                let name = format!("clean-{i}-{memory}");
                let run = ["dedup", &corpus, "-o", &name, "--allow-source-loss", "--memory", memory];
                scene.run(run.iter().chain(stages)).ok();
                scene.result_of(&name)
            })
            .into_iter()
            .collect();
        assert!(results[0].0.len() > 4 && results[0] == results[1] && results[0] == results[2], "{stages:?}");
    }
}

/// Lines of the journal of a run.
fn n_noted(scratch: &Path) -> usize {
    fs::read(scratch.join("journal.jsonl"))
        .map_or(0, |text| text.iter().filter(|&&byte| byte == b'\n').count())
}

#[test]
fn fault_47_a_run_that_is_killed_a_hundred_times_gives_the_same_bytes() {
    const KILLS: usize = 100;
    let scene = Scene::new();
    let corpus = tree_file("corpora/demo/corpus.jsonl");
    let common = ["dedup", &corpus, "--allow-source-loss", "--memory", "256KiB"];
    let scratch = scene.path("scratch");
    let (mut n_kills, mut n_went_on) = (0, 0);
    for (i, stages) in STAGES.into_iter().enumerate().cycle() {
        let whole = format!("whole-{i}");
        if !scene.path(&whole).exists() {
            scene.run(common.iter().chain(stages).chain(&["-o", &whole])).ok();
        }
        let run: Vec<&str> = common
            .into_iter()
            .chain(stages.iter().copied())
            .chain(["-o", "clean", "--scratch", "scratch"])
            .collect();
        // Each attempt is killed when the journal has some more lines, or a little later, until one gets through.
        loop {
            let mut child = scene.command(&run).stdout(Stdio::null()).spawn().unwrap();
            let noted_before = n_noted(&scratch);
            n_went_on += usize::from(noted_before > 1);
            let more = n_kills * 7 % 5;
            let mut looks = n_kills * 13 % 40;
            let killed = loop {
                if child.try_wait().unwrap().is_some() {
                    break false;
                }
                if n_noted(&scratch) > noted_before + more {
                    looks = looks.saturating_sub(1);
                    if looks == 0 {
                        child.kill().unwrap();
                        break true;
                    }
                }
            };
            let status = child.wait().unwrap();
            match killed && !status.success() {
                true => n_kills += 1,
                false => {
                    assert!(status.success());
                    break;
                }
            }
        }
        assert!(scene.result_of("clean") == scene.result_of(&whole), "{stages:?} after {n_kills} kills");
        assert!(!scratch.exists());
        fs::remove_dir_all(scene.path("clean")).unwrap();
        if n_kills >= KILLS && i + 1 == STAGES.len() {
            break;
        }
    }
    let left: Vec<String> = scene.names().into_iter().filter(|name| name.starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(n_went_on > KILLS / 3, "only {n_went_on} runs found something to go on with");
}

#[test]
fn fault_41_a_run_that_was_begun_with_other_flags_is_refused_with_the_difference() {
    let scene = Scene::new();
    let lines = "{\"text\": \"one text and the same\"}\n".repeat(200);
    scene.write("corpus.jsonl", &lines);
    let run = ["dedup", "corpus.jsonl", "-o", "clean", "--scratch", "scratch", "--memory", "1"];
    // The alarm for sources ends it after its plan is made, before its output is there.
    scene.run(run).failed(1, "corpus.jsonl");
    assert!(n_noted(&scene.path("scratch")) > 1);
    let other =
        scene.run(run.iter().chain(&["--threshold", "0.7"])).failed(65, "threshold: there 0.8, here 0.7");
    assert!(other.stderr.contains("scratch"), "{other:?}");
    scene.write("corpus.jsonl", lines + "{\"text\": \"one more\"}\n");
    scene.run(run).failed(65, "documents: there 200, here 201");
}

#[test]
fn fault_46_a_damaged_file_of_a_run_is_65_with_its_name() {
    let scene = Scene::new();
    let lines = "{\"text\": \"one text and the same\"}\n".repeat(200);
    scene.write("corpus.jsonl", &lines);
    let run = ["dedup", "corpus.jsonl", "-o", "clean", "--scratch", "scratch", "--memory", "1"];
    scene.run(run).failed(1, "corpus.jsonl");
    let mut plan = scene.read("scratch/plan-0.run");
    plan[0] ^= 1;
    scene.write("scratch/plan-0.run", plan);
    scene.run(run).failed(65, "plan-0.run");
    assert!(!scene.path("clean").exists());
}

#[test]
fn fault_48_a_folder_that_another_run_uses_is_75() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", "{\"text\": \"a\"}\n");
    let lock = File::open(scene.write("scratch/lock", "")).unwrap();
    lock.try_lock().unwrap();
    let run = ["dedup", "corpus.jsonl", "-o", "clean", "--scratch", "scratch"];
    scene.run(run).failed(75, "scratch");
    drop(lock);
    scene.run(run).ok();
    assert_eq!(scene.names(), ["clean", "corpus.jsonl"]);
}

#[test]
fn a_scratch_folder_with_other_files_is_refused_and_kept() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", "{\"text\": \"a\"}\n");
    scene.write("home/thesis.txt", "x");
    scene.run(["dedup", "corpus.jsonl", "-o", "clean", "--scratch", "home"]).failed(73, "home");
    assert_eq!(scene.text("home/thesis.txt"), "x");
}

#[test]
fn what_a_search_takes_is_told_before_it_begins() {
    let scene = Scene::new();
    let corpus = tree_file("corpora/demo/corpus.jsonl");
    for (memory, spills) in [("1GiB", false), ("64KiB", true)] {
        let run = ["dedup", &corpus, "-o", "clean", "--force", "--memory", memory, "--progress", "json"];
        let told = scene.run(run).ok().stderr;
        let line = told.lines().position(|line| line.contains("\"estimate\"")).unwrap();
        let estimate: serde_json::Value = serde_json::from_str(told.lines().nth(line).unwrap()).unwrap();
        assert!(told.lines().position(|line| line.contains("\"signing\"")).unwrap() > line, "{told}");
        assert_eq!(estimate["scratch"].as_u64().unwrap() > 0, spills, "{estimate}");
        assert!(estimate["memory"].as_u64().unwrap() > 30 << 20 && estimate["reads"] == 2, "{estimate}");
    }
}

#[test]
fn a_scratch_folder_in_an_input_or_in_the_output_is_refused() {
    let scene = Scene::new();
    scene.write("in/corpus.jsonl", "{\"text\": \"a\"}\n");
    for scratch in ["in", "in/scratch", "out", "out/scratch", "."] {
        scene.run(["dedup", "in", "-o", "out", "--scratch", scratch]).failed(2, "--scratch");
        assert_eq!(scene.names(), ["in"], "{scratch}");
    }
}

//! Disks that fill up, signals, foreign surroundings and hostile names: outputs are old or new, never half.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{Outcome, Scene, tree_file};

const RUN: [&str; 5] = ["dedup", "corpus.jsonl", "-o", "clean", "--force"];

/// Five records, two of which are copies.
fn corpus() -> String {
    let text = |n: usize| (0..30).map(|word| format!("word{n}x{word}")).collect::<Vec<_>>().join(" ");
    let records = [text(1), text(2), text(1), text(2) + " more", text(3)];
    records.iter().map(|text| json!({ "text": text }).to_string() + "\n").collect()
}

/// A scene with the corpus, and in `clean` what a run before the corpus had changed wrote.
fn scene_with_old_output() -> Scene {
    let scene = Scene::new();
    scene.write("corpus.jsonl", "{\"text\": \"the corpus as it was\"}\n");
    scene.run(RUN).ok();
    scene.write("corpus.jsonl", corpus());
    scene
}

/// The program under strace with these options; `None`, loudly, where it cannot run.
fn traced(scene: &Scene, options: &[&str], arguments: &[&str]) -> Option<Outcome> {
    let strace = |arguments: &[&str]| {
        let mut command = Command::new("strace");
        command.args(arguments).current_dir(scene.path("")).stdin(Stdio::null()).output()
    };
    if !strace(&["-o", "/dev/null", "true"]).is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: strace is not there or may not trace");
        return None;
    }
    let program = [env!("CARGO_BIN_EXE_verbatim")];
    let whole = [&["-f", "-qq"], options, &program, arguments].concat();
    Some(Outcome::of(strace(&whole).unwrap()))
}

#[test]
fn fault_37_texts_without_an_n_gram_are_kept_and_never_merged() {
    let scene = Scene::new();
    let texts = ["", "", "...", "!!!", "...", "cat", "dog", "cat", "one two", "two one", "one  Two"];
    let record = |i: usize| json!({ "id": i, "text": texts[i] }).to_string() + "\n";
    scene.write("corpus.jsonl", (0..texts.len()).map(record).collect::<String>());
    for stages in [&["--exact", "--minhash"][..], &["--minhash"], &["--all-pairs"]] {
        scene.run(RUN.iter().chain(stages)).ok();
        let expected: String = [0, 1, 2, 3, 5, 6, 8, 9].map(record).concat();
        assert_eq!(scene.text("clean/corpus.jsonl"), expected, "{stages:?}");
    }
}

#[test]
fn fault_38_thresholds_and_bands_that_promise_nothing_are_refused() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    for wrong in [
        "--threshold=0",
        "--threshold=-1",
        "--threshold=1.01",
        "--threshold=NaN",
        "--threshold=inf",
        "--recall=0",
        "--recall=1",
        "--recall=NaN",
        "--rows=9",
        "--bands=0 --rows=1",
        "--bands=1 --rows=0",
        "--bands=8193 --rows=2",
    ] {
        let run = ["dedup", "corpus.jsonl", "-o", "clean", "--minhash"];
        scene.run(run.into_iter().chain(wrong.split(' '))).failed(2, "");
        assert_eq!(scene.names(), ["corpus.jsonl"], "{wrong}");
    }
}

#[test]
fn fault_79_nothing_is_sent_anywhere() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    let options = ["-e", "trace=%network", "-o", "network.log"];
    for arguments in [&RUN[..], &["contamination", "corpus.jsonl", "--eval", "corpus.jsonl", "-o", "found"]] {
        let Some(run) = traced(&scene, &options, arguments) else { return };
        run.ok();
        assert_eq!(scene.text("network.log"), "", "{arguments:?}");
    }
}

#[test]
fn fault_82_an_output_that_cannot_be_made_is_73_before_anything_is_read() {
    let scene = Scene::new();
    // If it were read, the run would end with 65.
    scene.write("corpus.jsonl", "no record\n");
    scene.write("file", "");
    let long = "n".repeat(300);
    for output in ["absent/clean", "file/clean", "/proc/clean", &long] {
        scene.run(["dedup", "corpus.jsonl", "-o", output]).failed(73, output);
        scene.run(["dedup", "corpus.jsonl", "-o", output, "--dry-run"]).failed(73, output);
    }
    assert_eq!(scene.names(), ["corpus.jsonl", "file"]);
}

#[test]
fn fault_83_names_and_ids_choose_no_place_of_an_output() {
    let scene = Scene::new();
    let ids = ["../../up", "/tmp/verbatim-up", "a\0b", "..", "CON", "\u{1b}[2J"];
    let records: String = ids.iter().map(|id| json!({ "id": id, "text": id }).to_string() + "\n").collect();
    let names = ["deep/er/in/x..jsonl", "deep/er/in/-o.jsonl", "deep/er/in/a\nb\\c:.jsonl"];
    names.iter().for_each(|name| drop(scene.write(name, &records)));
    let emit = ["--emit", "filtered,ids,clusters,attributes", "--exact", "--allow-source-loss"];
    let run = ["dedup", "deep/er/../er/in", "-o", "deep/er/out"];
    scene.run(run.iter().chain(&emit).chain(&["--cluster-field", "c"])).ok();
    let listed = |folder: &str| {
        let names = fs::read_dir(scene.path(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!((scene.names(), listed("deep")), (vec!["deep".to_owned()], vec!["er".to_owned()]));
    assert_eq!(listed("deep/er"), ["in", "out"]);
    assert_eq!(listed("deep/er/out"), ["-o.jsonl", "_verbatim", "a\nb\\c:.jsonl", "x..jsonl"]);
    // What stays of the three stands in the first.
    assert_eq!(scene.text("deep/er/out/-o.jsonl").lines().count(), ids.len());
    assert!(!fs::exists("/tmp/verbatim-up").unwrap());
}

#[test]
fn fault_84_a_full_or_broken_disk_leaves_the_old_output_whole() {
    let scene = scene_with_old_output();
    let old = scene.tree("clean");
    scene.run(["dedup", "corpus.jsonl", "-o", "new"]).ok();
    let survivors = scene.read("new/corpus.jsonl");
    for fault in ["write:error=ENOSPC", "write:error=EDQUOT", "fsync:error=EIO", "renameat2:error=EIO"] {
        // The nth such call fails, until a run makes fewer of them.
        let mut n_failed = 0;
        for n in 1.. {
            let inject = format!("inject={fault}:when={n}");
            let Some(run) = traced(&scene, &["-o", "/dev/null", "-e", &inject], &RUN) else { return };
            assert!(!run.stderr.contains("panic"), "{inject}: {run:?}");
            assert_eq!(scene.names(), ["clean", "corpus.jsonl", "new"], "{inject}: {run:?}");
            match run.code {
                Some(73 | 74) if scene.tree("clean") == old => n_failed += 1,
                // All but the summary was written.
                Some(74) => assert_eq!(scene.read("clean/corpus.jsonl"), survivors, "{inject}: {run:?}"),
                code => {
                    assert_eq!(code, Some(0), "{inject}: {run:?}");
                    break;
                }
            }
            if scene.tree("clean") != old {
                restore(&scene, &old);
            }
        }
        assert!(n_failed > 0, "{fault}");
        restore(&scene, &old);
    }
}

fn restore(scene: &Scene, old: &[(String, Vec<u8>)]) {
    fs::remove_dir_all(scene.path("clean")).unwrap();
    old.iter().for_each(|(name, bytes)| drop(scene.write(&format!("clean/{name}"), bytes)));
}

#[test]
fn fault_85_a_full_standard_output_is_74_and_says_so() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", corpus());
    for output in ["-", "clean"] {
        let mut command = scene.command(["dedup", "corpus.jsonl", "-o", output]);
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let run = Outcome::of(command.stdout(full).stderr(Stdio::piped()).output().unwrap());
        run.failed(74, "standard output");
    }
    // The folder was there before the summary was to be told.
    assert!(scene.path("clean/corpus.jsonl").exists());
}

#[test]
fn fault_87_sigterm_is_143_and_a_second_signal_ends_at_once() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let scene = Scene::new();
        let mut child = scene
            .command(["dedup", "-", "-o", "clean"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It waits for input that never comes, so the first signal alone does not end it.
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, &vec![b'\n'; 1 << 20]).unwrap();
        let status = loop {
            let id = child.id().to_string();
            assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
        };
        assert_eq!(status.code(), Some(code), "{signal}");
        assert!(!scene.path("clean").exists());
    }
}

#[test]
fn fault_88_a_kill_at_any_step_leaves_the_old_output_or_the_new_one() {
    let scene = scene_with_old_output();
    let old = scene.tree("clean");
    scene.run(["dedup", "corpus.jsonl", "-o", "new"]).ok();
    let survivors = scene.read("new/corpus.jsonl");
    for call in ["openat", "fsync", "renameat2"] {
        let (mut n_old, mut n_new) = (0, 0);
        for n in 1.. {
            let inject = format!("inject={call}:signal=KILL:when={n}");
            let Some(run) = traced(&scene, &["-o", "/dev/null", "-e", &inject], &RUN) else { return };
            if scene.tree("clean") == old {
                assert_eq!(run.code, None, "{inject}: {run:?}");
                n_old += 1;
                continue;
            }
            assert_eq!(scene.read("clean/corpus.jsonl"), survivors, "{inject}");
            assert_eq!(scene.tree("clean").len(), scene.tree("new").len(), "{inject}");
            restore(&scene, &old);
            n_new += 1;
            if run.code == Some(0) {
                break;
            }
        }
        assert!(n_old > 0 && n_new > 0, "{call}: {n_old} old, {n_new} new");
    }
    // What killed runs left behind disturbs no later one.
    scene.run(RUN).ok();
    assert_eq!(scene.read("clean/corpus.jsonl"), survivors);
}

#[test]
fn fault_89_surroundings_change_no_byte() {
    let scene = Scene::new();
    let [corpus, clean] = [tree_file("corpora/demo/corpus.jsonl"), scene.path("clean").display().to_string()];
    let run = ["dedup", &corpus, "-o", &clean, "--force", "--lines", "line", "--exact", "--minhash"];
    scene.run(run).ok();
    let expected = scene.result_of("clean");
    let surroundings = [
        &[("TZ", "Pacific/Kiritimati"), ("SOURCE_DATE_EPOCH", "0")][..],
        &[("LC_ALL", "tr_TR.UTF-8"), ("LANG", "tr_TR.UTF-8")],
        &[("LC_ALL", "C"), ("COLUMNS", "20"), ("NO_COLOR", "1"), ("TERM", "dumb")],
        &[("HOME", "/nowhere"), ("USER", "")],
    ];
    for variables in surroundings {
        let mut command = scene.command(run);
        let outcome = Outcome::of(command.envs(variables.iter().copied()).output().unwrap());
        outcome.ok();
        assert!(scene.result_of("clean") == expected, "{variables:?}");
    }
    Outcome::of(scene.command(run).env_clear().output().unwrap()).ok();
    assert!(scene.result_of("clean") == expected, "no environment");
    // A working directory that is gone.
    scene.write("gone/x", "");
    let script = "cd gone && rm -r ../gone && exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_verbatim")]).args(run).current_dir(scene.path(""));
    Outcome::of(shell.output().unwrap()).ok();
    assert!(scene.result_of("clean") == expected, "no working directory");
}

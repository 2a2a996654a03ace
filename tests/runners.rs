//! `--runner`: what is done elsewhere gives the bytes of one run. Ray is tried by the tests of the wheel.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Outcome, Scene, tree_file};
use crate::merge::{audit, demo, scene_with_key, told};
use crate::stages::scene;

/// A scheduler of the name `sbatch` that runs what it is given: the elements of an array from the middle outwards, and one of
/// them only at the second try. It is told of by a list of what it did.
const SBATCH: &str = r#"#!/bin/bash
script="${@: -1}"
here=$(dirname "$0")
job=$((100 + $(wc -l < "$here/jobs")))
echo "$* " | sed "s|$script|$(basename "$script")|" >> "$here/jobs"
last=$(sed -n 's/^#SBATCH --array=1-\([0-9]*\).*/\1/p' "$script")
run() {
    echo "$(basename "$script") $1 $2" >> "$here/elements"
    # The first try of one element ends with its machine.
    case "$(basename "$script") $1 $2" in "3-verify.sh 2 0" | "1-shard.sh 2 0") return 1 ;; esac
    SLURM_JOB_ID=$job$1 SLURM_ARRAY_TASK_ID=$1 SLURM_RESTART_COUNT=$2 bash "$script" > "$here/out" 2>&1
}
order=1
if [ -n "$last" ]; then order=$( (seq $(((last + 1) / 2)) -1 1; seq $(((last + 1) / 2 + 1)) "$last") ); fi
for element in $order; do
    run "$element" 0 || run "$element" 1 || { cat "$here/out" >&2; exit 1; }
done
echo "$job;cluster"
"#;

fn executable(scene: &Scene, name: &str, text: &str) {
    let path = scene.write(name, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a command where the stand-in is the scheduler.
fn scheduled(scene: &Scene, command: &[&str]) -> Outcome {
    executable(scene, "bin/sbatch", SBATCH);
    scene.write("bin/jobs", "");
    scene.write("bin/elements", "");
    let path = format!("{}:{}", scene.path("bin").display(), std::env::var("PATH").unwrap());
    Outcome::of(scene.command(command).env("PATH", path).output().unwrap())
}

#[test]
fn slurm_arrays_give_the_bytes_of_one_run_and_a_failed_element_runs_again_alone() {
    let scene = scene();
    scene.run(["dedup", "in", "-o", "one"]).ok();
    let runner = [
        "--runner",
        "slurm",
        "--tasks",
        "3",
        "--stages",
        "it's shared",
        "--unit-bytes",
        "15000",
        "--at-once",
        "2",
    ];
    scheduled(&scene, &[&["dedup", "in", "-o", "many", "--submit"], &runner[..]].concat()).ok();
    assert!(scene.result_of("one") == scene.result_of("many"));
    let jobs = scene.text("bin/jobs");
    let expected =
        ["1-sign", "2-link", "3-verify", "4-cluster", "5-verify", "6-cluster", "7-rewrite", "8-commit"];
    for (i, (line, name)) in jobs.lines().zip(expected).enumerate() {
        let after = if i == 0 { String::new() } else { format!("--dependency=afterok:{} ", 99 + i) };
        assert_eq!(line.trim(), format!("--parsable {after}{name}.sh"));
    }
    let elements = scene.text("bin/elements");
    let verify: Vec<&str> = elements.lines().filter(|line| line.starts_with("3-verify")).collect();
    assert_eq!(verify, ["3-verify.sh 2 0", "3-verify.sh 2 1", "3-verify.sh 1 0", "3-verify.sh 3 0"]);
    assert!(scene.text("it's shared/slurm/1-sign.sh").contains("#SBATCH --array=1-3%2\n"));
}

#[test]
fn an_element_that_was_killed_asks_for_its_place_in_the_queue_and_one_with_bad_input_does_not() {
    let scene = scene();
    let command =
        ["dedup", "in", "-o", "many", "--runner", "slurm", "--stages", "shared", "--unit-bytes", "15000"];
    scene.run(command).ok();
    let script = scene.text("shared/slurm/1-sign.sh");
    executable(&scene, "bin/scontrol", "#!/bin/bash\necho \"$*\" >> asked\n");
    let path = format!("{}:{}", scene.path("bin").display(), std::env::var("PATH").unwrap());
    let run = |death: &str, restarts: &str| {
        let program = env!("CARGO_BIN_EXE_verbatim");
        assert!(script.contains(program), "{script}");
        scene.write("script.sh", script.replace(&format!("'{program}'"), "./died"));
        executable(&scene, "died", &format!("#!/bin/bash\n{death}\n"));
        let mut bash = std::process::Command::new("bash");
        bash.arg("script.sh").current_dir(scene.path("")).env("PATH", &path);
        bash.env("SLURM_RESTART_COUNT", restarts).env("SLURM_JOB_ID", "7").env("SLURM_ARRAY_TASK_ID", "1");
        bash.output().unwrap().status.code()
    };
    assert_eq!(run("kill -9 $$", "0"), Some(137));
    assert_eq!(scene.text("asked"), "requeue 7\n");
    assert_eq!(run("kill -9 $$", "3"), Some(137));
    assert_eq!(run("exit 65", "0"), Some(65));
    assert_eq!(run("exit 74", "2"), Some(74));
    assert_eq!(scene.text("asked"), "requeue 7\nrequeue 7\n");
}

/// A command's shards on a scheduler, and the whole.
#[track_caller]
fn check_shards(scene: &Scene, command: &[&str]) {
    scene.run([command, &["-o", "whole"]].concat()).ok();
    let runner = ["--runner", "slurm", "--tasks", "3", "--scratch", "it's shared", "--gpus-per-task", "2"];
    let asked = [command, &["-o", "many"], &runner].concat();
    // Looked at first, then handed over.
    scene.run(&asked).ok();
    scheduled(scene, &[&asked[..], &["--submit"]].concat()).ok();
    assert!(told(scene, "many") == told(scene, "whole"));
    assert_eq!(
        scene.text("bin/jobs"),
        "--parsable 1-shard.sh \n--parsable --dependency=afterok:100 2-merge.sh \n"
    );
    let elements = ["1-shard.sh 2 0", "1-shard.sh 2 1", "1-shard.sh 1 0", "1-shard.sh 3 0", "2-merge.sh 1 0"];
    assert_eq!(scene.text("bin/elements").lines().collect::<Vec<_>>(), elements);
    let script = scene.text("it's shared/slurm/1-shard.sh");
    assert!(
        script.contains("#SBATCH --array=1-3\n") && script.contains("#SBATCH --gpus-per-task=2\n"),
        "{script}"
    );
    // A shard that is there is not asked for again.
    let again = scene.run(["shard", "it's shared", "--task", "2/3"]).ok().stderr;
    assert!(again.contains("shard 2/3: was done before"), "{again}");
    // The same once more, in place of the output.
    let merged = scene.json("many/report.json")["run"].clone();
    scheduled(scene, &[&asked[..], &["--submit", "--force"]].concat()).ok();
    assert!(told(scene, "many") == told(scene, "whole"));
    assert_ne!(scene.json("many/report.json")["run"], merged);
}

#[test]
fn an_audit_that_a_scheduler_runs_is_the_whole() {
    let ((model, corpus), scene) = (demo(), scene_with_key());
    check_shards(&scene, &audit(&model, &corpus));
}

#[test]
fn an_extract_that_a_scheduler_runs_is_the_whole() {
    let ((model, _), scene) = (demo(), scene_with_key());
    fs::copy(tree_file("corpora/demo/corpus.jsonl"), scene.path("corpus.jsonl")).unwrap();
    let drawing = ["--samples", "7", "--max-new-tokens", "40", "--min-match", "20", "--key", "key"];
    check_shards(
        &scene,
        &[&["extract", "--model", &model, "--corpus", "corpus.jsonl"], &drawing[..]].concat(),
    );
}

#[test]
fn an_inference_that_a_scheduler_runs_is_the_whole() {
    let ((model, corpus), scene) = (demo(), Scene::new());
    scene.run(["synth", "-o", "others.jsonl", "--documents", "220", "--seed", "99"]).ok();
    let sets =
        ["--members", &corpus, "--non-members", "others.jsonl", "--documents", "9", "--max-tokens", "24"];
    check_shards(&scene, &[&["infer", "--model", &model], &sets[..]].concat());
}

#[test]
fn a_runner_is_told_what_it_needs_and_one_folder_holds_one_run() {
    let ((model, corpus), scene) = (demo(), Scene::new());
    let infer = ["infer", "--model", &model, "--members", &corpus, "--non-members", &corpus, "-o", "out"];
    let refused = |flags: &[&str], said: &str| {
        scene.run([&infer[..], flags].concat()).failed(2, said);
    };
    refused(&["--runner", "slurm"], "needs --tasks N");
    refused(&["--runner", "slurm", "--tasks", "2"], "--scratch DIR");
    refused(&["--tasks", "2"], "--runner");
    refused(&["--gpus-per-task", "1"], "--runner");
    refused(
        &["--runner", "slurm", "--tasks", "2", "--scratch", "s", "--shard", "1/2"],
        "cannot be used with",
    );
    let on_ray = ["--runner", "ray", "--tasks", "2", "--scratch", "r", "--submit"];
    refused(&on_ray, "are for --runner slurm");
    let runner = ["--runner", "slurm", "--tasks", "2", "--scratch", "s"];
    for members in [&["--members", "-"][..], &["--members=-"], &["--members", "/dev/stdin"]] {
        let piped = ["infer", "--model", &model, "--non-members", &corpus, "-o", "out"];
        scene.run([&piped[..], members, &runner].concat()).failed(2, "standard input");
    }
    assert!(!scene.path("s").exists());
    scene.run([&infer[..], &runner].concat()).ok();
    scene.run([&infer[..], &runner].concat()).ok();
    refused(&["--runner", "slurm", "--tasks", "3", "--scratch", "s"], "something else than this very run");
    scene.run(["shard", "s", "--task", "1/3"]).failed(2, "with 2 shards");
    scene.run(["shard", "none", "--task", "1/3"]).failed(2, "no run was planned");
    scene.run(["shard", "s", "--task", "0/2"]).failed(2, "from 1 to N");
}

#[test]
fn an_output_in_the_folder_that_is_removed_at_the_end_is_refused() {
    let ((model, corpus), scene) = (demo(), scene_with_key());
    let refused = "--scratch is, holds or lies in an input or the output";
    for (output, scratch) in [("s/out", "s"), ("out", "out/s"), ("s", "s")] {
        for runner in ["ray", "slurm"] {
            let flags = ["-o", output, "--runner", runner, "--tasks", "2", "--scratch", scratch];
            scene.run([&audit(&model, &corpus)[..], &flags].concat()).failed(2, refused);
            assert_eq!(scene.names(), ["key"]);
        }
    }
}

#[test]
fn tasks_have_the_cores_that_threads_asks_for() {
    let ((model, corpus), scene) = (demo(), scene_with_key());
    let audit = audit(&model, &corpus);
    let at = audit.iter().position(|flag| *flag == "--threads").unwrap();
    let plain = [&audit[..at], &audit[at + 2..], &["-o", "out", "--tasks", "2"]].concat();
    let script = |scratch: &str, threads: &[&str]| {
        scene.run([&plain[..], &["--runner", "slurm", "--scratch", scratch], threads].concat()).ok();
        scene.text(&format!("{scratch}/slurm/1-shard.sh"))
    };
    let three = script("three", &["--threads", "3"]);
    assert!(
        three.contains("#SBATCH --cpus-per-task=3\n") && three.contains(" --threads 3 shard "),
        "{three}"
    );
    let unsaid = script("unsaid", &[]);
    assert!(!unsaid.contains("--cpus-per-task") && !unsaid.contains("--threads"), "{unsaid}");
    executable(&scene, "python", "#!/bin/bash\necho \"$*\" > told\nexit 70\n");
    for (threads, cpus) in [(&["--threads", "3"][..], "--cpus 3 "), (&[], "--cpus 1 ")] {
        let scratch = format!("on ray with {cpus}");
        let on_ray = ["--runner", "ray", "--python", "./python", "--scratch", &scratch];
        scene.run([&plain[..], &on_ray, threads].concat()).failed(70, "the same command goes on");
        assert!(scene.text("told").contains(cpus), "{}", scene.text("told"));
    }
}

//! How a corpus is read, as the flags of every command that reads one say it.

use std::io::Write;
use std::os::unix::fs::symlink;

use crate::harness::{Outcome, Scene};

const LONE: &str = "{\"id\":\"a\",\"text\":\"half a pair \\ud800 stands here\"}\n";

#[test]
fn fault_10_surrogates_can_be_replaced_and_records_stay_as_they_stand() {
    let scene = Scene::new();
    scene.write("a.jsonl", LONE);
    scene.run(["dedup", "a.jsonl", "-o", "out"]).failed(65, "a.jsonl:1:18: lone surrogate escape");
    scene.run(["dedup", "a.jsonl", "-o", "out", "--surrogates", "replace"]).ok();
    assert_eq!(scene.text("out/a.jsonl"), LONE);
}

#[test]
fn bad_records_are_tolerated_by_share_or_by_number() {
    let scene = Scene::new();
    let good: String = (0..8).map(|i| format!("{{\"text\":\"record number {i}\"}}\n")).collect();
    scene.write("a.jsonl", good + "bad\nbad\n");
    let run = |max_bad: &str| {
        scene.run(["dedup", "a.jsonl", "-o", "out", "--force", "--on-bad", "skip", "--max-bad", max_bad])
    };
    run("0.1").failed(65, "2 of 10 records are bad, more than the tolerated fraction of 0.1");
    run("1").failed(65, "2 of 10 records are bad, more than the tolerated number of 1");
    run("0.2").ok();
    run("2").ok();
    run("1.5").failed(2, "from 0 to below 1");
}

#[test]
fn fault_25_links_and_repeats_are_read_when_asked_for() {
    let scene = Scene::new();
    scene.write("in/a.jsonl", "{\"text\":\"one\"}\n");
    scene.write("elsewhere/b.jsonl", "{\"text\":\"two\"}\n");
    symlink("../elsewhere", scene.path("in/link")).unwrap();
    symlink("..", scene.path("in/loop")).unwrap();
    symlink("a.jsonl", scene.path("in/z.jsonl")).unwrap();
    let written = |flags: &[&str]| {
        let flags = [&["dedup", "in", "-o", "out", "--force"], flags].concat();
        scene.run(flags).ok();
        let mut names: Vec<String> = scene.tree("out").into_iter().map(|(name, _)| name).collect();
        names.retain(|name| name.ends_with(".jsonl") && !name.starts_with("_verbatim"));
        names
    };
    assert_eq!(written(&[]), ["a.jsonl"]);
    let followed = ["a.jsonl", "link/b.jsonl"];
    assert_eq!(written(&["--follow"])[..2], followed);
    assert!(written(&["--follow", "--allow-repeat"]).ends_with(&["z.jsonl".to_owned()]));
}

#[test]
fn fault_01_an_input_without_documents_fails_when_asked_to() {
    let scene = Scene::new();
    scene.write("a.jsonl", "\n\n");
    scene.run(["dedup", "a.jsonl", "-o", "out"]).ok();
    scene.run(["dedup", "a.jsonl", "-o", "more", "--require-docs"]).failed(65, "holds no documents");
}

#[test]
fn fault_22_and_29_windows_are_bounded_and_files_can_be_read_unmapped() {
    let scene = Scene::new();
    let records: String = (0..2000).map(|i| format!("{{\"text\":\"text number {i}\"}}\n")).collect();
    scene.write("a.jsonl", records);
    let run = |name: &str, flags: &[&str]| scene.run([&["dedup", "a.jsonl", "-o", name], flags].concat());
    run("mapped", &[]).ok();
    run("read", &["--no-mmap"]).ok();
    assert_eq!(scene.text("read/a.jsonl"), scene.text("mapped/a.jsonl"));
    for wrong in ["9", "32", "x"] {
        run("out", &["--zstd-window-log", wrong]).failed(2, "--zstd-window-log");
    }
}

#[test]
fn temporary_files_lie_in_the_scratch_folder() {
    let scene = Scene::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"{\"text\": \"a\"}\n").unwrap();
    scene.write("a.jsonl.gz", gzip.finish().unwrap());
    let run = |arguments: &[&str]| {
        let mut command = scene.command(arguments);
        Outcome::of(command.env("TMPDIR", scene.path("missing")).output().unwrap())
    };
    run(&["dedup", "a.jsonl.gz", "-o", "clean"]).failed(73, "missing: cannot create");
    run(&["dedup", "a.jsonl.gz", "-o", "clean", "--scratch", "work"]).ok();
    assert_eq!(scene.names(), ["a.jsonl.gz", "clean"]);
}

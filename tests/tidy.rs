//! The house rules that no compiler checks: which room may use which, where `unsafe` may stand,
//! how long a file and a function may be, and that no file is dead.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 70;
const TEST_COMMAND: &str = "cargo test --workspace --features verbatim/object-stores";

/// Every room and the rooms it may use. A new arrow is a design change: see ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("store", &[]),
    ("corpus", &["store"]),
    ("lm", &["store"]),
    ("index", &["corpus", "store"]),
    ("membership", &["store", "lm"]),
    ("dedup", &["store", "corpus", "index"]),
    ("extraction", &["corpus", "index", "lm", "membership", "store"]),
    ("lab", &["store", "corpus", "index", "dedup", "lm", "membership", "extraction"]),
    ("report", &["dedup", "extraction", "membership", "lab", "store"]),
    ("cli", &["store", "corpus", "index", "dedup", "lm", "membership", "extraction", "lab", "report"]),
    ("python", &["store", "corpus", "index", "dedup", "lm", "membership"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<PathBuf> {
    ["crates", "tests", "benches"].iter().flat_map(|folder| rust_files(&root().join(folder))).collect()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn rooms_use_only_the_rooms_below_them() {
    let rooms: BTreeSet<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let drawn: BTreeSet<String> = ARROWS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(rooms, drawn, "a room without arrows, or arrows without a room");
    for (room, allowed) in ARROWS {
        let manifest = root().join("crates").join(room).join("Cargo.toml");
        for line in lines(&manifest) {
            let Some(rest) = line.strip_prefix("verbatim-") else { continue };
            let used = rest.split('.').next().unwrap();
            assert!(allowed.contains(&used), "{room} may not use {used} ({})", manifest.display());
        }
    }
}

#[test]
fn unsafe_stands_only_where_memory_is_mapped() {
    let allowed = root().join("crates/store/src/map.rs");
    let word = ["un", "safe"].concat();
    for path in sources().into_iter().filter(|path| *path != allowed) {
        for (number, line) in lines(&path).iter().enumerate() {
            let code = line.split("//").next().unwrap();
            let found = ["{", "fn", "impl", "extern", "trait"]
                .iter()
                .any(|next| code.contains(&format!("{word} {next}")));
            assert!(
                !found && !code.contains(&format!("{word}(")),
                "{}:{}: unsafe code",
                path.display(),
                number + 1
            );
        }
    }
}

#[test]
fn files_and_functions_are_short() {
    for path in sources() {
        let lines = lines(&path);
        assert!(lines.len() < MAX_FILE_LINES, "{} has {} lines", path.display(), lines.len());
        let is_source = path.components().any(|part| part.as_os_str() == "src");
        for (start, line) in lines.iter().enumerate().filter(|(_, line)| is_source && opens_function(line)) {
            let end_mark = format!("{}}}", " ".repeat(indent(line)));
            let length = lines[start..].iter().position(|line| *line == end_mark).unwrap_or(0);
            assert!(length < MAX_FUNCTION_LINES, "{}:{}: {length} lines", path.display(), start + 1);
        }
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether a formatted line begins a function with a body that ends on a later line.
fn opens_function(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub") || *word == "const");
    words.next() == Some("fn") && !line.ends_with('}') && !line.ends_with(';')
}

#[test]
fn no_file_is_dead_and_every_file_says_what_it_is_for() {
    for path in sources() {
        let lines = lines(&path);
        assert!(lines.first().is_some_and(|line| line.starts_with("//!")), "{}: no head", path.display());
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if matches!(stem.as_str(), "lib" | "main" | "mod") || is_test_or_example_root(&path) {
            continue;
        }
        let folder = path.parent().unwrap();
        let beside = ["mod.rs", "lib.rs", "main.rs"].map(|name| folder.join(name));
        let declared = beside
            .into_iter()
            .chain([folder.with_extension("rs")])
            .filter(|parent| parent.exists())
            .any(|parent| self::lines(&parent).iter().any(|line| declares(line, &stem)));
        assert!(declared, "{} is in no module tree", path.display());
    }
}

fn is_test_or_example_root(path: &Path) -> bool {
    let folder = path.parent().unwrap();
    let name = folder.file_name().unwrap();
    (name == "tests" || name == "examples") && folder.parent().unwrap().join("Cargo.toml").exists()
}

fn declares(line: &str, stem: &str) -> bool {
    let line = line.trim().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
    line == format!("mod {stem};")
}

#[test]
fn nothing_unfinished_is_left() {
    let marks = ["todo", "unimplemented"].map(|word| format!("{word}!("));
    let attributes = ["allow", "ignore"].map(|word| format!("#[{word}"));
    for path in sources() {
        for (number, line) in lines(&path).iter().enumerate() {
            for mark in marks.iter().chain(&attributes) {
                assert!(!line.contains(mark.as_str()), "{}:{}: {mark}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn every_fault_that_a_corpus_or_an_output_can_have_has_a_named_test() {
    let code: String = sources().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    // Rows of the matrix of faults: reading, exact and near copies, intermediates, output. Models have theirs as well.
    for row in (1..=41).chain(46..=48).chain(79..=89) {
        assert!(code.contains(&format!("fn fault_{row:02}_")), "row {row} has no test");
    }
}

#[test]
fn what_the_readme_links_to_is_there() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let links: Vec<&str> = readme.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    assert!(links.len() > 5, "{links:?}");
    for link in links {
        assert!(root().join(link).exists(), "{link}");
    }
    for command in ["cargo run --release -- demo", TEST_COMMAND] {
        assert!(readme.contains(command), "{command}");
    }
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(ci.contains(&format!("{TEST_COMMAND}\n")), "CI runs the test command of the README");
}

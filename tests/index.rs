//! `verbatim index` from outside: an index of substrings, and what it says of strings.

use serde_json::{Value, json};

use crate::harness::{Outcome, Scene, tree_file};

const SECRET: &str = "the vault opens with four nine two seven, and then again with seven, said the keeper";

fn records(texts: &[(&str, String)]) -> String {
    texts.iter().map(|(id, text)| json!({"id": id, "text": text}).to_string() + "\n").collect()
}

/// The secret stands twice in `a`, once in `ü` behind other characters, and half in `c` and half in `d`.
fn scene() -> Scene {
    let scene = Scene::new();
    let (first, second) = SECRET.split_at(40);
    let texts = [
        ("a", format!("{SECRET}. {SECRET}!")),
        ("ü", format!("Über \"{SECRET}\"\n€")),
        ("c", format!("what follows: {first}")),
        ("d", second.to_owned()),
        ("e", String::new()),
    ];
    scene.write("in/corpus.jsonl", records(&texts));
    scene
}

fn lines(run: &Outcome) -> Vec<Value> {
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn strings_are_counted_and_located_in_documents_bytes_and_characters() {
    let scene = scene();
    let told = scene.run(["index", "build", "in", "-o", "index", "--min-length", "50"]).ok();
    assert!(
        told.stdout.contains("in 5 documents") && told.stdout.contains("of 50 bytes and more"),
        "{}",
        told.stdout
    );
    let quoted = "\"the vault opens";
    let run = scene.run(["index", "count", "index", SECRET, "sea", quoted, "e v"]).ok();
    let expected = "1: 3 occurrences in 2 documents\n2: 0 occurrences in 0 documents (by scan)\n\
                    3: 1 occurrence in 1 document (by scan)\n4: 4 occurrences in 3 documents (by scan)\n";
    assert_eq!(run.stdout, expected);
    assert!(
        run.stderr.contains("3 of 4 strings stand in the corpus; the index answered for 1"),
        "{}",
        run.stderr
    );

    let locate = ["index", "locate", "index", SECRET, "--limit", "2", "--context", "3", "--json"];
    let [line] = &lines(&scene.run(locate).ok())[..] else { panic!("one line") };
    let n = SECRET.len() as u64;
    assert_eq!(
        (&line["n_documents"], &line["n_occurrences"], &line["engine"]),
        (&json!(2), &json!(3), &json!("index"))
    );
    let places = line["places"].as_array().unwrap();
    assert_eq!(places.len(), 2);
    assert_eq!(places[0]["bytes"], json!([0, n]));
    assert_eq!(places[1]["bytes"], json!([n + 2, 2 * n + 2]));
    assert_eq!(places[1]["context"], json!([&format!("{}. ", &SECRET[n as usize - 1..]), "!"]));
    let all = lines(&scene.run(["index", "locate", "index", SECRET, "--json"]).ok());
    let last = &all[0]["places"][2];
    assert_eq!(
        (&last["document"], &last["bytes"], &last["chars"]),
        (&json!("ü"), &json!([7, n + 7]), &json!([6, n + 6]))
    );
    assert!(last["location"].as_str().unwrap().contains("corpus.jsonl:2") && last.get("context").is_none());
}

#[test]
fn queries_come_from_files_and_pipes_and_go_out_as_json_lines() {
    let scene = scene();
    scene.run(["index", "build", "in", "-o", "index", "--min-length", "20"]).ok();
    scene.write("queries.txt", format!("{SECRET}\nsea\n\nthe keeper\n"));
    let run = scene.run(["index", "count", "index", "--queries", "queries.txt", "--json"]).ok();
    let counts: Vec<(String, u64)> = lines(&run)
        .iter()
        .map(|line| (line["query"].as_str().unwrap().to_owned(), line["n_documents"].as_u64().unwrap()))
        .collect();
    let named = [("queries.txt:1", 2), ("queries.txt:2", 0), ("queries.txt:4", 3)];
    assert_eq!(counts, named.map(|(name, n)| (name.to_owned(), n)));

    let queries: String = [("one", SECRET), ("two", "the keeper")]
        .iter()
        .map(|(name, q)| json!({"name": name, "q": q}).to_string() + "\n")
        .collect();
    let piped = ["index", "count", "index", "--queries", "-", "--text-field", "q", "--id-field", "name"];
    let run = scene.pipe(piped, queries).ok();
    assert_eq!(
        run.stdout,
        "one: 3 occurrences in 2 documents\ntwo: 4 occurrences in 3 documents (by scan)\n"
    );
}

#[test]
fn every_engine_says_the_same_in_any_number_of_threads_and_any_memory() {
    let scene = Scene::new();
    let corpus = tree_file("corpora/demo/corpus.jsonl");
    let corpus = corpus.as_str();
    scene.run(["index", "build", corpus, "-o", "index", "--min-length", "50"]).ok();
    let built = scene.tree("index");
    for flags in [&["--threads", "1"][..], &["--memory", "1"], &["--scratch", "work", "--memory", "64KiB"]] {
        let build = ["index", "build", corpus, "-o", "index", "--min-length", "50", "--force"];
        scene.run(build.iter().chain(flags)).ok();
        assert!(scene.tree("index") == built, "{flags:?}");
    }
    assert_eq!(scene.names(), ["index"], "nothing is left");
    // The texts that lead to secrets, with and without them; some are shorter than what the index finds.
    let ledger = std::fs::read_to_string(tree_file("corpora/demo/ledger.jsonl")).unwrap();
    let queries: String = ledger
        .lines()
        .skip(1)
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let [prefix, secret] = ["prefix", "secret"].map(|name| line[name].as_str().unwrap());
            json!({"id": line["id"], "text": format!("{prefix}{secret}"), "copies": line["copies"]})
                .to_string()
                + "\n"
        })
        .collect();
    scene.write("queries.jsonl", &queries);
    let ask = |flags: &[&str]| {
        let locate = ["index", "locate", "index", "--queries", "queries.jsonl", "--json"];
        lines(&scene.run(locate.iter().chain(flags)).ok())
    };
    let told = ask(&[]);
    for (line, query) in told.iter().zip(queries.lines()) {
        let query: Value = serde_json::from_str(query).unwrap();
        assert_eq!((&line["query"], &line["n_occurrences"]), (&query["id"], &query["copies"]));
    }
    assert!(
        told.iter().any(|line| line["engine"] == "index")
            && told.iter().any(|line| line["n_occurrences"] == 64)
    );
    for flags in [&["--engine", "scan"][..], &["--engine", "suffix"], &["--threads", "1"]] {
        let but_the_engine = |lines: &[Value]| -> Vec<Value> {
            let mut lines = lines.to_vec();
            lines.iter_mut().for_each(|line| line["engine"] = Value::Null);
            lines
        };
        assert_eq!(but_the_engine(&ask(flags)), but_the_engine(&told), "{flags:?}");
    }
}

#[test]
fn an_index_of_tokens_finds_runs_of_tokens_and_tells_their_bytes() {
    let scene = scene();
    let tokenizer = tree_file("models/demo-raw/tokenizer.json");
    let flags = ["--unit", "tokens", "--tokenizer", &tokenizer, "--min-length", "16"];
    let told = scene.run(["index", "build", "in", "-o", "index"].iter().chain(&flags)).ok();
    assert!(told.stdout.contains("strings of 16 tokens and more"), "{}", told.stdout);
    scene.run(["index", "verify", "index"]).ok();
    // Within a sentence the tokens are those of the sentence alone.
    let part = &SECRET[SECRET.find(" opens").unwrap()..SECRET.find(", said").unwrap()];
    let run = scene.run(["index", "locate", "index", part, " four nine", "--json"]).ok();
    let [long, short] = &lines(&run)[..] else { panic!("two lines") };
    assert_eq!(
        (&long["engine"], &long["n_documents"], &long["n_occurrences"]),
        (&json!("index"), &json!(2), &json!(3))
    );
    assert_eq!((&short["engine"], &short["n_documents"]), (&json!("scan"), &json!(3)));
    let texts: Vec<String> = scene
        .json_lines("in/corpus.jsonl")
        .iter()
        .map(|line| line["text"].as_str().unwrap().to_owned())
        .collect();
    for (line, string) in [(long, part), (short, " four nine")] {
        for place in line["places"].as_array().unwrap() {
            let at = |name: &str, i: usize| place[name][i].as_u64().unwrap() as usize;
            let text = texts.iter().find(|text| text.get(at("bytes", 0)..at("bytes", 1)) == Some(string));
            let text = text.unwrap_or_else(|| panic!("{place}"));
            let chars: String =
                text.chars().skip(at("chars", 0)).take(at("chars", 1) - at("chars", 0)).collect();
            assert!(chars == string && at("tokens", 1) > at("tokens", 0));
        }
    }
    let more = ["index", "build", "in", "-o", "more", "--min-length", "16", "--add-to", "index"];
    scene.run(more).failed(2, "another unit");
    scene.run(["index", "build", "in", "-o", "more", "--tokenizer", &tokenizer]).failed(2, "--unit tokens");
    scene.run(["index", "build", "in", "-o", "more", "--unit", "tokens"]).failed(2, "--tokenizer");
    scene.write("index/tokenizer.json", "{}");
    scene.run(["index", "count", "index", part]).failed(65, "tokenizer.json");
}

#[test]
fn an_index_that_is_added_to_or_merged_is_that_of_the_whole() {
    let scene = scene();
    scene.write("more/later.jsonl", records(&[("f", format!("{SECRET}?")), ("g", "nothing".to_owned())]));
    let length = ["--min-length", "30"];
    scene.run(["index", "build", "in", "-o", "old"].iter().chain(&length)).ok();
    scene.run(["index", "build", "more", "-o", "new"].iter().chain(&length)).ok();
    scene.run(["index", "build", "in", "more", "-o", "whole"].iter().chain(&length)).ok();
    scene.run(["index", "merge", "old", "new", "-o", "merged"]).ok();
    scene.run(["index", "build", "more", "--add-to", "old", "-o", "added"].iter().chain(&length)).ok();
    let little = ["--memory", "1", "--scratch", "work", "--add-to", "old", "-o", "again"];
    scene.run(["index", "build", "more"].iter().chain(&little).chain(&length)).ok();
    for name in ["merged", "added", "again"] {
        assert!(scene.tree(name) == scene.tree("whole"), "{name}");
    }
    let run = scene.run(["index", "count", "added", SECRET]).ok();
    assert_eq!(run.stdout, "1: 4 occurrences in 3 documents\n");
    let other = ["index", "build", "more", "--add-to", "old", "-o", "other", "--min-length", "40"];
    scene.run(other).failed(2, "--min-length");
    assert_eq!(scene.names(), ["added", "again", "in", "merged", "more", "new", "old", "whole"]);
}

#[test]
fn fault_46_what_is_damaged_or_changed_is_65_and_named() {
    let scene = scene();
    scene.run(["index", "build", "in", "-o", "index", "--min-length", "30"]).ok();
    let ask = ["index", "count", "index", SECRET];
    let verify = ["index", "verify", "index"];
    assert!(scene.run(verify).ok().stdout.starts_with("An index of "));
    for name in ["starts", "directory", "entries", "manifest.json"] {
        let path = format!("index/{name}");
        let whole = scene.read(&path);
        let mut flipped = whole.clone();
        flipped[2] ^= 0x40;
        for damaged in [&flipped[..], &whole[..whole.len() / 2], b""] {
            scene.write(&path, damaged);
            // Without its manifest, the folder is no index.
            let code = if name == "manifest.json" { 2 } else { 65 };
            scene.run(verify).failed(code, if code == 2 { "no folder that" } else { name });
        }
        scene.write(&path, whole);
    }
    scene.run(ask).ok();
    let records = scene.text("in/corpus.jsonl");
    scene.write("in/corpus.jsonl", records.replace("keeper", "porter"));
    scene.run(ask).failed(65, "its corpus is no longer what it was");
    scene.run(verify).failed(65, "its corpus is no longer what it was");
    std::fs::remove_dir_all(scene.path("in")).unwrap();
    scene.run(ask).failed(66, "in");
}

#[test]
fn fault_86_flags_that_cannot_be_are_usage() {
    let scene = scene();
    scene.run(["index", "build", "in", "-o", "index", "--min-length", "15"]).failed(2, "16");
    scene.run(["index", "build", "in", "-o", "in/index"]).failed(2, "in an input");
    for command in ["build", "signatures"] {
        scene.run(["index", command, "-", "-o", "index"]).failed(2, "standard input");
    }
    scene.run(["index", "build", "in", "-o", "index", "--scratch", "in"]).failed(2, "--scratch");
    scene.run(["index", "build", "in", "-o", "index", "--min-length", "30"]).ok();
    scene.run(["index", "build", "in", "-o", "index"]).failed(73, "index");
    scene.run(["index", "count", "index"]).failed(2, "TEXT");
    scene.run(["index", "count", "in", "sea"]).failed(2, "no folder that `index build` wrote");
    scene.run(["index", "count", "index", "sea", "--engine", "index"]).failed(2, "a string of length 3");
    scene
        .run(["index", "count", "index", "sea", "--engine", "suffix", "--memory", "10"])
        .failed(2, "suffix array");
    scene.run(["index", "merge", "index", "-o", "merged"]).failed(2, "INDEX");
}

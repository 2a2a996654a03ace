//! Section A of the fault matrix: files, folders and records. The number is the row of the matrix.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use verbatim_corpus::{
    Cause, Corpus, OpenConfig, Surrogates, TextBuffer, TextUnit, write_survivors, write_survivors_to,
};
use verbatim_store::Silent;

use crate::fixture::{Folder, assert_bad, assert_error, causes, open, open_bytes, skip, texts};

fn standard() -> OpenConfig {
    OpenConfig::standard()
}

#[test]
fn fault_01_empty_inputs_hold_no_documents_and_warn() {
    let folder = Folder::new();
    folder.write("blank.jsonl", "\n \r\n\t\n");
    for path in [folder.path().join("blank.jsonl"), folder.write("empty.jsonl", ""), folder.path().into()] {
        let corpus = open(&path, &standard()).unwrap();
        assert_eq!(corpus.n_documents(), 0);
        assert!(corpus.warnings().iter().any(|w| w.contains("no documents")));
    }
    let empty = Folder::new();
    assert_eq!(open(empty.path(), &standard()).unwrap().n_documents(), 0);
    let required = OpenConfig { require_documents: true, ..standard() };
    assert_bad(open(folder.path(), &required), &["no documents"]);
    folder.write("a.jsonl", "{\"text\":\"a\"}\n");
    assert_eq!(open(folder.path(), &required).unwrap().n_documents(), 1);
}

#[test]
fn fault_02_missing_inputs_are_66_with_their_path() {
    let folder = Folder::new();
    assert_error(open(&folder.path().join("missing.jsonl"), &standard()), 66, &["missing.jsonl"]);
    assert_error(open(&folder.path().join("*.jsonl"), &standard()), 66, &["*.jsonl", "matches none"]);
}

#[test]
fn fault_03_bytes_that_are_not_utf_8_are_named_by_offset() {
    let content = b"{\"text\":\"a\"}\n{\"text\":\"b\xff\"}\n";
    assert_bad(open_bytes("a.jsonl", content, &standard()), &["a.jsonl:2:23: not UTF-8"]);
    assert_eq!(content[23], 0xff);
    assert_eq!(texts(&open_bytes("a.jsonl", content, &skip()).unwrap()), ["a"]);
}

#[test]
fn fault_04_plain_text_need_not_be_utf_8() {
    let corpus = open_bytes("a.txt", b"caf\xe9\n", &standard()).unwrap();
    let id = corpus.ids().next().unwrap();
    assert_eq!(corpus.text(id).as_ref(), b"caf\xe9\n");
    assert_eq!(corpus.text_str(id), "caf\u{fffd}\n");
    assert!(corpus.warnings().iter().any(|w| w.contains("not UTF-8")));
}

#[test]
fn fault_05_a_byte_order_mark_is_left_out_at_the_start_only() {
    for (name, content) in [("a.jsonl", "\u{feff}{\"text\":\"a\"}\n"), ("a.txt", "\u{feff}a")] {
        let corpus = open_bytes(name, content, &standard()).unwrap();
        assert_eq!(texts(&corpus), ["a"]);
        assert!(corpus.warnings().iter().any(|w| w.contains("byte order mark")));
    }
    let lines = OpenConfig { text_unit: TextUnit::Line, ..standard() };
    assert_eq!(texts(&open_bytes("a.txt", "a\n\u{feff}b\n", &lines).unwrap()), ["a", "\u{feff}b"]);
}

#[test]
fn fault_06_utf_16_is_refused_with_advice() {
    for content in [b"\xff\xfe{\0", b"\xfe\xff\0{"] {
        for name in ["a.jsonl", "a.txt"] {
            assert_bad(open_bytes(name, content, &standard()), &["UTF-16", "convert"]);
        }
    }
}

#[test]
fn fault_07_carriage_returns_end_lines_and_are_no_part_of_records() {
    let corpus = open_bytes("a.jsonl", "{\"text\":\"a\"}\r\n\r\n{\"text\":\"b\"}\n", &standard()).unwrap();
    assert_eq!(texts(&corpus), ["a", "b"]);
    let records: Vec<&[u8]> = corpus.ids().map(|id| corpus.record(id)).collect();
    assert_eq!(records, [br#"{"text":"a"}"#, br#"{"text":"b"}"#]);
}

#[test]
fn fault_08_nul_bytes_and_nul_padding_are_bad_records() {
    let padded = [b"{\"text\":\"a\"}\n".as_slice(), &[0; 5000]].concat();
    assert_bad(open_bytes("a.jsonl", &padded, &standard()), &["a.jsonl:2:13: NUL padding, truncated file?"]);
    let cut = [b"{\"text\":\"a\"}\n{\"te".as_slice(), &[0; 5000]].concat();
    let corpus = open_bytes("a.jsonl", &cut, &skip()).unwrap();
    assert_eq!((texts(&corpus).len(), corpus.rejects()[0].cause.clone()), (1, Cause::NulPadding));
    assert_bad(
        open_bytes("a.jsonl", b"{\"text\":\"a\0b\"}\n", &standard()),
        &["a.jsonl:1:", "control character"],
    );
}

#[test]
fn fault_09_an_escaped_nul_is_text() {
    assert_eq!(texts(&open_bytes("a.jsonl", r#"{"text":"a\u0000b"}"#, &standard()).unwrap()), ["a\0b"]);
}

#[test]
fn fault_10_a_lone_surrogate_is_a_bad_record() {
    for lone in [r"\ud800", r"\udc00", r"\ud800\ud800"] {
        let line = format!(r#"{{"text":"a{lone}b"}}"#);
        assert_bad(open_bytes("a.jsonl", &line, &standard()), &["a.jsonl:1:9: lone surrogate"]);
    }
    assert_eq!(texts(&open_bytes("a.jsonl", r#"{"text":"\ud83d\ude00"}"#, &standard()).unwrap()), ["😀"]);
    // One that is asked for is a replacement character each, and the record stays as it stands.
    let replace = OpenConfig { surrogates: Surrogates::Replace, ..standard() };
    let line = concat!(r#"{"text":"a\ud800b\ud83d\ude00\udc00\ud83d\ud83d\ude00"}"#, "\n");
    let folder = Folder::new();
    let corpus = open(&folder.write("a.jsonl", line), &replace).unwrap();
    assert_eq!(texts(&corpus), ["a\u{fffd}b\u{1f600}\u{fffd}\u{fffd}\u{1f600}"]);
    assert_eq!(corpus.text_bytes(), texts(&corpus)[0].len() as u64);
    let out = Folder::new();
    write_survivors(&corpus, &[true], out.path(), &Silent).unwrap();
    assert_eq!(fs::read_to_string(out.path().join("a.jsonl")).unwrap(), line);
    // In a member that nobody reads it does no harm.
    assert_eq!(texts(&open_bytes("a.jsonl", r#"{"x":"\ud800","text":"a"}"#, &standard()).unwrap()), ["a"]);
}

#[test]
fn fault_11_a_text_that_stands_twice_is_a_bad_record() {
    let twice = r#"{"text":"a","x":1,"te\u0078t":"b"}"#;
    assert_bad(open_bytes("a.jsonl", twice, &standard()), &["field `text` stands twice"]);
    let config = OpenConfig { text_field: "meta.text".parse().unwrap(), ..standard() };
    let twice = r#"{"meta":{"text":"a"},"meta":{"text":"b"}}"#;
    assert_bad(open_bytes("a.jsonl", twice, &config), &["field `meta` stands twice"]);
    assert_eq!(texts(&open_bytes("a.jsonl", r#"{"x":1,"x":2,"text":"a"}"#, &standard()).unwrap()), ["a"]);
}

#[test]
fn fault_12_a_text_that_is_no_string_is_a_bad_record_with_its_cause() {
    for (line, cause) in [
        (r#"{"txt":"a"}"#, "no field `text`; set --text-field"),
        (r#"{"text":null}"#, "field `text` is null, not a string"),
        (r#"{"text":12}"#, "field `text` is a number"),
        (r#"{"text":-1}"#, "field `text` is a number"),
        (r#"{"text":true}"#, "field `text` is true or false"),
        (r#"{"text":["a"]}"#, "field `text` is an array"),
        (r#"{"text":{"a":"b"}}"#, "field `text` is an object"),
        (r#"["text"]"#, "not a JSON object"),
        (r#"{"text":"a"} x"#, "not JSON: trailing characters"),
        ("hello", "not JSON: expected value"),
    ] {
        assert_bad(open_bytes("a.jsonl", format!("{line}\n"), &standard()), &["a.jsonl:1:", cause]);
    }
    let config = OpenConfig { text_field: "meta.text".parse().unwrap(), ..standard() };
    for line in [r#"{"meta":{}}"#, r#"{"meta":3}"#, "{}"] {
        assert_bad(open_bytes("a.jsonl", line, &config), &["no field `meta"]);
    }
}

#[test]
fn fault_13_depth_and_numbers_in_other_fields_do_not_matter() {
    let deep = format!(r#"{{"x":{}{},"text":"a"}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let large = format!(r#"{{"x":1e999,"y":{},"text":"a"}}"#, "9".repeat(5000));
    for line in [&deep, &large] {
        assert_eq!(texts(&open_bytes("a.jsonl", line, &standard()).unwrap()), ["a"]);
    }
    let deep_text = format!(r#"{{"text":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_bad(open_bytes("a.jsonl", deep_text, &standard()), &["is an array"]);
}

#[test]
fn fault_14_a_last_line_without_newline_is_a_document() {
    assert_eq!(
        texts(&open_bytes("a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}", &standard()).unwrap()),
        ["a", "b"]
    );
}

#[test]
fn fault_15_a_last_line_cut_within_a_record_is_flagged() {
    let whole = "{\"text\":\"a\"}\n{\"id\":12,\"text\":\"b\\u00e9c\",\"x\":[1,2]}";
    for end in 14..whole.len() {
        let cut = &whole[..end];
        assert_bad(
            open_bytes("a.jsonl", cut, &standard()),
            &["a.jsonl:2:", "truncated at the end of the file"],
        );
    }
    // The same in the middle of a file is no truncation.
    assert_bad(
        open_bytes("a.jsonl", "{\"text\":\"a\n{\"text\":\"b\"}\n", &standard()),
        &["a.jsonl:1:", "not JSON"],
    );
}

#[test]
fn fault_16_an_overlong_record_is_bad_and_reading_goes_on() {
    let config = OpenConfig { max_doc_bytes: 100, ..skip() };
    let long = format!("{{\"text\":\"{}\"}}", "a".repeat(200));
    let corpus =
        open_bytes("a.jsonl", format!("{{\"text\":\"a\"}}\n{long}\n{{\"text\":\"b\"}}\n"), &config).unwrap();
    assert_eq!(texts(&corpus), ["a", "b"]);
    assert_eq!(corpus.rejects()[0].n_bytes, long.len() as u64);
    assert_eq!(causes(&corpus), ["record longer than 100 bytes; raise --max-doc-bytes to take it"]);
    let corpus = open_bytes("a.txt", "a".repeat(101), &config).unwrap();
    assert_eq!((corpus.n_documents(), corpus.rejects().len()), (0, 1));
}

#[test]
fn fault_17_a_large_document_is_read_when_the_cap_is_raised() {
    let config = OpenConfig { max_doc_bytes: 256 << 20, ..standard() };
    let text = "a".repeat(80 << 20);
    let folder = Folder::new();
    let path = folder.write("a.jsonl", format!("{{\"text\":\"{text}\"}}\n"));
    assert_bad(open(&path, &standard()), &["longer than"]);
    let corpus = open(&path, &config).unwrap();
    assert_eq!(corpus.text_bytes(), text.len() as u64);
    assert!(matches!(corpus.text(corpus.ids().next().unwrap()), std::borrow::Cow::Borrowed(_)));
}

/// Runs itself as a child process that may hold three times the document in memory of its own; a mapped file is not.
#[test]
fn fault_17_a_document_of_a_gibibyte_takes_at_most_three_times_its_memory() {
    const CHILD: &str = "VERBATIM_CORPUS_TEST_GIBIBYTE";
    const N_BYTES: u64 = 1 << 30;
    if let Some(path) = std::env::var_os(CHILD) {
        let config = OpenConfig { max_doc_bytes: 2 * N_BYTES, ..standard() };
        let corpus = open(Path::new(&path), &config).unwrap();
        let id = corpus.ids().next().unwrap();
        assert_eq!(corpus.text_bytes(), N_BYTES + 1);
        assert_eq!(corpus.text_str_in(id, &mut TextBuffer::default()).len() as u64, N_BYTES + 1);
        let written = write_survivors_to(&corpus, &[true], &mut std::io::sink()).unwrap();
        return assert_eq!(written.n_bytes, corpus.record_bytes());
    }
    let folder = Folder::new();
    let path = folder.write("a.jsonl", "{\"text\":\"\\n");
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    std::io::copy(&mut std::io::repeat(b'a').take(N_BYTES), &mut file).unwrap();
    file.write_all(b"\"}\n").unwrap();
    let child = std::process::Command::new("sh")
        .args(["-c", "ulimit -d \"$1\" && shift && exec \"$@\"", "sh", &(3 * N_BYTES / 1024).to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "faults::fault_17_a_document_of_a_gibibyte_takes_at_most_three_times_its_memory"])
        .env(CHILD, &path)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[test]
fn fault_24_folders_give_known_suffixes_sorted_by_bytes_of_the_path() {
    let folder = Folder::new();
    let line = |text: &str| format!("{{\"text\":\"{text}\"}}\n");
    for name in ["b.jsonl", "a/z.jsonl", "a.jsonl", "a/B.ndjson", "Z.jsonl"] {
        folder.write(name, line(name));
    }
    folder.write("t.txt", "t.txt");
    for name in ["README.md", ".hidden.jsonl", ".git/x.jsonl", "dataset_info.json", "_verbatim/removed.jsonl"]
    {
        folder.write(name, line("ignored"));
    }
    let corpus = open(folder.path(), &standard()).unwrap();
    assert_eq!(texts(&corpus), ["Z.jsonl", "a.jsonl", "a/B.ndjson", "a/z.jsonl", "b.jsonl", "t.txt"]);
    assert_eq!(corpus.shard_names(), texts(&corpus));
    let warning = corpus.warnings().iter().find(|w| w.contains("ignored")).unwrap();
    for name in ["README.md", ".hidden.jsonl", ".git", "dataset_info.json"] {
        assert!(warning.contains(name), "{warning}");
    }
}

#[test]
fn fault_24_what_a_killed_run_left_behind_is_passed_over_without_a_word() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{\"text\":\"a\"}\n");
    for name in [".verbatim-x7Qz", ".verbatim-out/b.jsonl", "sub/.verbatim-x7Qz.jsonl"] {
        folder.write(name, "{\"text\":\"half a");
    }
    let corpus = open(folder.path(), &standard()).unwrap();
    assert_eq!(texts(&corpus), ["a"]);
    assert_eq!(corpus.warnings(), [""; 0]);
    // One that a person names is an input as any other.
    assert_bad(open(&folder.path().join(".verbatim-x7Qz"), &standard()), &[".verbatim-x7Qz"]);
}

#[test]
fn fault_35_ids_that_stand_more_than_once_are_reported() {
    let folder = Folder::new();
    folder.write(
        "a.jsonl",
        concat!(
            "{\"id\":\"x\",\"text\":\"0\"}\n",
            "{\"text\":\"\\\"id\\\":1\",\"id\":\"y\\u0031\"}\n",
            "{\"meta\":{\"id\":\"x\"},\"text\":\"2\",\"id\":7}\n",
        ),
    );
    folder.write(
        "b.jsonl",
        concat!(
            "{\"id\":\"7\",\"text\":\"3\"}\n\n",
            "{\"id\":\"y1\",\"text\":\"4\"}\n",
            "{\"id\":\"y1\",\"text\":\"5\"}\n",
            "{\"id\":\"x\",\"id\":\"x\",\"text\":\"6\"}\n",
        ),
    );
    let corpus = open(folder.path(), &standard()).unwrap();
    let place = folder.path().join("a.jsonl");
    let expected = format!("2 ids stand more than once, the first: y1 at {}:2", place.display());
    assert_eq!(corpus.warnings(), [expected]);

    let no_ids = OpenConfig { id_field: None, ..standard() };
    assert_eq!(open(folder.path(), &no_ids).unwrap().warnings(), [""; 0]);
    let meta = OpenConfig { id_field: Some("meta.id".parse().unwrap()), ..standard() };
    assert_eq!(open(folder.path(), &meta).unwrap().warnings(), [""; 0]);
}

#[test]
fn fault_35_missing_ids_are_no_duplicates() {
    let lines = "{\"text\":\"a\"}\n{\"text\":\"b\",\"id\":null}\n{\"text\":\"b\",\"id\":null}\n\
        {\"text\":\"b\",\"id\":\"\"}\n{\"text\":\"b\",\"id\":\"\"}\n{\"text\":\"a\"}\n\
        {\"text\":\"a\",\"id\":[1]}\n{\"text\":\"a\",\"id\":[1]}\n";
    assert_eq!(open_bytes("a.jsonl", lines, &standard()).unwrap().warnings(), [""; 0]);
    assert_eq!(open_bytes("a.txt", "one\none\n", &standard()).unwrap().warnings(), [""; 0]);
    let one = "{\"text\":\"a\",\"id\":\"a\\u001b\"}\n".repeat(3);
    let corpus = open_bytes("a.jsonl", one, &standard()).unwrap();
    let warning = &corpus.warnings()[0];
    assert!(
        warning.starts_with(r"1 id stands more than once: a\u{1b} at ") && warning.ends_with("a.jsonl:1")
    );
}

#[test]
fn fault_25_links_are_not_followed_and_one_file_is_read_once() {
    let folder = Folder::new();
    let outside = Folder::new();
    let target = outside.write("outside.jsonl", "{\"text\":\"outside\"}\n");
    let file = folder.write("a.jsonl", "{\"text\":\"a\"}\n");
    symlink(&target, folder.path().join("link.jsonl")).unwrap();
    symlink(folder.path(), folder.path().join("loop")).unwrap();
    fs::hard_link(&file, folder.path().join("same.jsonl")).unwrap();
    let corpus = open(folder.path(), &standard()).unwrap();
    assert_eq!(texts(&corpus), ["a"]);
    assert!(corpus.warnings().iter().any(|w| w.contains("link.jsonl") && w.contains("loop")));
    assert!(corpus.warnings().iter().any(|w| w.contains("same.jsonl") && w.contains("read once")));
    // A link that a person names is followed.
    assert_eq!(texts(&open(&folder.path().join("link.jsonl"), &standard()).unwrap()), ["outside"]);
}

#[test]
fn fault_25_links_are_followed_when_asked_for_and_lead_in_no_circle() {
    let folder = Folder::new();
    let outside = Folder::new();
    outside.write("out/x.jsonl", "{\"text\":\"outside\"}\n");
    symlink(folder.path(), outside.path().join("out/back")).unwrap();
    folder.write("sub/a.jsonl", "{\"text\":\"a\"}\n");
    symlink(folder.path(), folder.path().join("sub/loop")).unwrap();
    symlink(outside.path().join("out"), folder.path().join("link")).unwrap();
    symlink("sub/a.jsonl", folder.path().join("z.jsonl")).unwrap();
    symlink("nowhere", folder.path().join("nothing")).unwrap();
    let follow = OpenConfig { follow_links: true, ..standard() };
    let corpus = open(folder.path(), &follow).unwrap();
    assert_eq!(texts(&corpus), ["outside", "a"]);
    assert_eq!(corpus.shard_names(), ["link/x.jsonl", "sub/a.jsonl"]);
    let warnings = corpus.warnings().join("\n");
    for part in [
        "link/back: a link to a folder around it",
        "sub/loop: a link",
        "z.jsonl: the same",
        "ignored nothing",
    ] {
        assert!(warnings.contains(part), "{part} is not in {warnings}");
    }
    let repeat = OpenConfig { allow_repeat: true, ..follow.clone() };
    let corpus = open(folder.path(), &repeat).unwrap();
    assert_eq!(texts(&corpus), ["outside", "a", "a"]);
    assert!(!corpus.warnings().iter().any(|w| w.contains("read once")));
    // A link that promises data and leads nowhere is no input that could be left out in silence.
    symlink("nowhere", folder.path().join("nothing.jsonl")).unwrap();
    assert_error(open(folder.path(), &follow), 66, &["nothing.jsonl"]);
}

#[test]
fn fault_25_a_file_with_two_names_is_read_twice_when_asked_for() {
    let folder = Folder::new();
    let file = folder.write("a.jsonl", "{\"text\":\"a\"}\n");
    fs::hard_link(&file, folder.path().join("same.jsonl")).unwrap();
    let repeat = OpenConfig { allow_repeat: true, ..standard() };
    let corpus = open(folder.path(), &repeat).unwrap();
    assert_eq!((texts(&corpus), corpus.warnings().len()), (vec!["a".to_owned(); 2], 0));
}

#[test]
fn fault_26_pipes_devices_and_files_without_size_are_refused() {
    for path in ["/dev/zero", "/proc/version"] {
        assert_error(open(Path::new(path), &standard()), 66, &[path, "not a regular file"]);
    }
    let folder = Folder::new();
    let fifo = folder.path().join("a.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert_error(open(&fifo, &standard()), 66, &["not a regular file"]);
    assert_eq!(open(folder.path(), &standard()).unwrap().n_documents(), 0);
}

#[test]
fn fault_27_the_order_of_arguments_is_the_order_of_documents() {
    let folder = Folder::new();
    let a = folder.write("a.jsonl", "{\"text\":\"a\"}\n");
    let b = folder.write("b.jsonl", "{\"text\":\"b\"}\n");
    let opened = |inputs: &[PathBuf]| texts(&Corpus::open(inputs, &standard(), &Silent).unwrap());
    assert_eq!(opened(&[b.clone(), a.clone()]), ["b", "a"]);
    assert_eq!(opened(&[a, b]), ["a", "b"]);
    assert_eq!(opened(&[folder.path().join("*.jsonl")]), ["a", "b"]);
}

#[test]
fn fault_28_names_of_any_bytes_are_read_and_printed_escaped() {
    let folder = Folder::new();
    let name = std::ffi::OsStr::from_bytes(b"a\xff\n\x1b[31m.jsonl");
    folder.write(name, "{\"text\":\"a\"}\nx\n");
    let corpus = open(folder.path(), &skip()).unwrap();
    let id = corpus.ids().next().unwrap();
    assert_eq!(corpus.label(id), r"a\xff\u{a}\u{1b}[31m.jsonl:1");
    assert!(
        corpus.rejects()[0]
            .to_string()
            .ends_with(r"a\xff\u{a}\u{1b}[31m.jsonl:2:13: not JSON: expected value")
    );
}

#[test]
fn fault_29_an_input_that_changes_is_74_and_does_not_crash() {
    let folder = Folder::new();
    let line = "{\"text\":\"a\"}\n".repeat(10_000);
    let path = folder.write("a.jsonl", &line);
    let corpus = open(&path, &standard()).unwrap();
    corpus.verify_unchanged().unwrap();
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(9)).unwrap();
    file.write_all(b"\xff\xff\xff\\ud800").unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    corpus.ids().for_each(|id| drop((corpus.text_str(id), corpus.label(id))));
    assert_eq!(corpus.verify_unchanged().unwrap_err().exit_code(), 74);
    let out = Folder::new();
    let keep = vec![true; 10_000];
    let written = write_survivors(&corpus, &keep, out.path(), &Silent);
    assert_eq!(written.unwrap_err().exit_code(), 74);
}

#[test]
fn fault_29_a_file_that_was_read_is_not_cut_short_and_its_change_is_74() {
    let folder = Folder::new();
    let line = "{\"text\":\"a\"}\n".repeat(10_000);
    let path = folder.write("a.jsonl", &line);
    let unmapped = OpenConfig { map_files: false, ..standard() };
    let corpus = open(&path, &unmapped).unwrap();
    assert_eq!(corpus.fingerprint(), open(&path, &standard()).unwrap().fingerprint());
    corpus.verify_unchanged().unwrap();
    // With a mapping, reading on would be SIGBUS.
    fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
    assert!(texts(&corpus).iter().all(|text| text == "a"));
    assert_eq!(corpus.verify_unchanged().unwrap_err().exit_code(), 74);
}

#[test]
fn fault_31_records_behind_4_gib_are_found() {
    let folder = Folder::new();
    let path = folder.write("a.jsonl", "{\"text\":\"a\"}\n");
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    let offset = (4 << 30) + (100 << 20);
    file.seek(SeekFrom::Start(offset - 1)).unwrap();
    file.write_all(b"\n{\"text\":\"b\"}\n").unwrap();
    let corpus = open(&path, &skip()).unwrap();
    assert_eq!(texts(&corpus), ["a", "b"]);
    assert_eq!(causes(&corpus), ["record longer than 67108864 bytes; raise --max-doc-bytes to take it"]);
    let last = corpus.location(corpus.ids().last().unwrap());
    assert_eq!((last.line, last.byte), (3, offset));
}

/// Runs itself as a child process that gets the corpus through its standard input.
#[test]
fn fault_26_standard_input_is_a_corpus_and_its_bytes_tell_the_format() {
    const CHILD: &str = "VERBATIM_CORPUS_TEST_STDIN";
    if std::env::var_os(CHILD).is_some() {
        let corpus = open(Path::new("-"), &standard()).unwrap();
        assert_eq!(texts(&corpus), ["a", "b"]);
        assert_eq!(corpus.location(corpus.ids().last().unwrap()).to_string(), "-:2:13");
        assert_eq!(corpus.label(corpus.ids().last().unwrap()), "stdin.jsonl:2");
        return corpus.verify_unchanged().unwrap();
    }
    let folder = Folder::new();
    let lines = "{\"text\":\"a\"}\n{\"text\":\"b\"}\n";
    for content in [lines.as_bytes().to_vec(), crate::fixture::zstd_frame(lines.as_bytes())] {
        let input = folder.write(format!("input{}", content.len()), &content);
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::fault_26_standard_input_is_a_corpus_and_its_bytes_tell_the_format"])
            .env(CHILD, "1")
            .stdin(fs::File::open(input).unwrap())
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    }
}

//! Survivors on disk: which bytes, under which names, in which format.

use std::fs;
use std::path::PathBuf;

use rayon::ThreadPoolBuilder;
use verbatim_corpus::{Corpus, OpenConfig, TextUnit, Written, write_survivors, write_survivors_to};
use verbatim_store::Silent;

use crate::fixture::{Folder, gunzip, gzip, open, skip, texts, zstd_frame};

/// Writes the documents whose text does not contain "drop".
fn survivors(corpus: &Corpus) -> (Folder, Written) {
    let keep: Vec<bool> = texts(corpus).iter().map(|text| !text.contains("drop")).collect();
    let out = Folder::new();
    let written = write_survivors(corpus, &keep, out.path(), &Silent).unwrap();
    (out, written)
}

fn rewritten(name: &str, content: &[u8], config: &OpenConfig) -> Option<Vec<u8>> {
    let folder = Folder::new();
    let corpus = open(&folder.write(name, content), config).unwrap();
    fs::read(survivors(&corpus).0.path().join(name)).ok()
}

#[test]
fn records_are_copied_byte_for_byte_with_their_line_ends() {
    let content = concat!(
        " {\"text\" : \"k\\u0065ep\"}  \r\n",
        "{\"text\":\"drop\"}\r\n",
        "\n",
        "{\"text\":\"keep 2\",\"x\":1.50}\n",
        "{\"text\":\"drop\"}\n",
        "not a record\n",
        "{\"text\":\"last\"}"
    );
    let expected =
        " {\"text\" : \"k\\u0065ep\"}  \r\n{\"text\":\"keep 2\",\"x\":1.50}\n{\"text\":\"last\"}\n";
    assert_eq!(rewritten("a.jsonl", content.as_bytes(), &skip()).unwrap(), expected.as_bytes());
    let gz = rewritten("a.jsonl.gz", &gzip(content.as_bytes()), &skip()).unwrap();
    assert_eq!(gunzip(&gz), expected.as_bytes());
    assert!(gz.starts_with(b"\x1f\x8b"));
    let zst = rewritten("a.jsonl.zst", &zstd_frame(content.as_bytes()), &skip()).unwrap();
    assert_eq!(zstd::decode_all(zst.as_slice()).unwrap(), expected.as_bytes());
}

#[test]
fn text_files_stay_whole_and_text_lines_stay_lines() {
    let standard = OpenConfig::standard();
    assert_eq!(rewritten("a.txt", b"caf\xe9 no newline", &standard).unwrap(), b"caf\xe9 no newline");
    assert_eq!(rewritten("a.txt", b"drop", &standard), None);
    let lines = OpenConfig { text_unit: TextUnit::Line, ..standard };
    assert_eq!(rewritten("a.txt", b"a\r\ndrop\nb", &lines).unwrap(), b"a\r\nb\n");
}

#[test]
fn shards_keep_their_folders_and_names_and_empty_shards_stay() {
    let folder = Folder::new();
    for name in ["a.jsonl", "sub/a.jsonl", "sub/deep/b.jsonl.gz"] {
        folder.write(name, format!("{{\"text\":\"{name}\"}}\n"));
    }
    folder.write("sub/gone.jsonl", "{\"text\":\"drop\"}\n");
    folder.write("sub/gone.jsonl.gz", gzip(b"{\"text\":\"drop\"}\n"));
    let corpus = open(folder.path(), &OpenConfig::standard()).unwrap();
    let (out, written) = survivors(&corpus);
    assert_eq!(written.n_documents, 3);
    let again = open(out.path(), &OpenConfig::standard()).unwrap();
    assert_eq!(again.shard_names(), corpus.shard_names());
    assert_eq!(texts(&again), ["a.jsonl", "sub/a.jsonl", "sub/deep/b.jsonl.gz"]);
    assert_eq!(written.n_bytes, again.record_bytes());
    assert_eq!(fs::read(out.path().join("sub/gone.jsonl")).unwrap(), b"");
}

#[test]
fn everything_kept_is_the_same_corpus() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n");
    folder.write("b.jsonl.gz", gzip(b"{\"text\":\"c\"}\n"));
    let corpus = open(folder.path(), &OpenConfig::standard()).unwrap();
    let (out, _) = survivors(&corpus);
    assert_eq!(open(out.path(), &OpenConfig::standard()).unwrap().fingerprint(), corpus.fingerprint());
    assert_eq!(
        fs::read(out.path().join("a.jsonl")).unwrap(),
        fs::read(folder.path().join("a.jsonl")).unwrap()
    );
}

#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    let folder = Folder::new();
    for i in 0..20 {
        let content: String = (0..500)
            .map(|j| format!("{{\"text\":\"{i} {j} {}\"}}\n", if j % 3 == 0 { "drop" } else { "" }))
            .collect();
        folder.write(format!("{i:02}.jsonl.gz"), gzip(content.as_bytes()));
        folder.write(format!("{i:02}.jsonl.zst"), zstd_frame(content.as_bytes()));
    }
    let corpus = open(folder.path(), &OpenConfig::standard()).unwrap();
    let files = |n_threads| -> Vec<Vec<u8>> {
        let pool = ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let (out, _) = pool.install(|| survivors(&corpus));
        corpus.shard_names().iter().map(|name| fs::read(out.path().join(name)).unwrap()).collect()
    };
    let one = files(1);
    assert!(one == files(2));
    assert!(one == files(8));
}

#[test]
fn a_stream_gets_json_lines_whatever_the_input() {
    let folder = Folder::new();
    let inputs: Vec<PathBuf> = vec![
        folder.write("a.jsonl", "{\"text\": \"a\"}\r\n{\"text\":\"drop\"}\n"),
        folder.write("b.txt", "line 1\nline \"2\"\n"),
    ];
    let corpus = Corpus::open(&inputs, &OpenConfig::standard(), &Silent).unwrap();
    let mut stream = Vec::new();
    let written = write_survivors_to(&corpus, &[true, false, true], &mut stream).unwrap();
    assert_eq!(written.n_documents, 2);
    let expected = "{\"text\": \"a\"}\n{\"id\":\"b.txt:1\",\"text\":\"line 1\\nline \\\"2\\\"\\n\"}\n";
    assert_eq!(String::from_utf8(stream).unwrap(), expected);
}

#[test]
fn an_output_that_cannot_be_created_is_73() {
    let folder = Folder::new();
    let corpus = open(&folder.write("a.jsonl", "{\"text\":\"a\"}\n"), &OpenConfig::standard()).unwrap();
    let written = write_survivors(&corpus, &[true], folder.path(), &Silent);
    assert_eq!(written.unwrap_err().exit_code(), 73);
}

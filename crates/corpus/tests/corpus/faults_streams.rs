//! Section A of the fault matrix: compressed streams. The number is the row of the matrix.

use std::io::Write;

use verbatim_corpus::{Cause, OpenConfig};

use crate::fixture::{Folder, assert_bad, gzip, open, open_bytes, skip, texts, zstd_frame};

const LINES: [&str; 3] = ["{\"text\":\"a\"}\n", "{\"text\":\"b\"}\n{\"text\":", "\"c\"}\n"];

fn standard() -> OpenConfig {
    OpenConfig::standard()
}

fn members(wrap: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    LINES.iter().flat_map(|part| wrap(part.as_bytes())).collect()
}

/// A BGZF block is a gzip member with an extra field that tells its size; SAM specification, 4.1.
fn bgzf_block(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new()
        .extra(vec![b'B', b'C', 2, 0, 0, 0])
        .write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn skippable_frame() -> Vec<u8> {
    [b"\x5a\x2a\x4d\x18\x03\0\0\0".as_slice(), b"xyz"].concat()
}

#[test]
fn fault_18_all_members_and_frames_are_read() {
    let skippable = [skippable_frame(), members(zstd_frame), skippable_frame()].concat();
    for (name, content) in [
        ("a.jsonl.gz", members(gzip)),
        ("a.jsonl.gz", [members(bgzf_block), bgzf_block(b"")].concat()),
        ("a.jsonl.zst", members(zstd_frame)),
        ("a.jsonl.zst", skippable),
    ] {
        let corpus = open_bytes(name, content, &standard()).unwrap();
        assert_eq!(texts(&corpus), ["a", "b", "c"], "{name}");
        assert_eq!(corpus.warnings(), [""; 0]);
    }
}

#[test]
fn fault_19_broken_streams_are_65_with_the_decompressed_offset() {
    let content = "{\"text\":\"hello\"}\n".repeat(50_000);
    for (name, whole) in
        [("a.jsonl.gz", gzip(content.as_bytes())), ("a.jsonl.zst", zstd_frame(content.as_bytes()))]
    {
        let truncated = &whole[..whole.len() / 2];
        assert_bad(open_bytes(name, truncated, &standard()), &["truncated, at decompressed byte"]);
        let mut flipped = whole.clone();
        let checksum = if name.ends_with("gz") { whole.len() - 6 } else { whole.len() - 2 };
        flipped[checksum] ^= 1;
        assert_bad(open_bytes(name, &flipped, &standard()), &["damaged: ", "at decompressed byte"]);
        let garbage = [&whole, b"garbage".as_slice()].concat();
        assert_bad(open_bytes(name, garbage, &standard()), &["trailing garbage at compressed byte"]);

        let corpus = open_bytes(name, truncated, &skip()).unwrap();
        assert!((1..50_000).contains(&corpus.n_documents()), "{}", corpus.n_documents());
        let last = corpus.rejects().last().unwrap();
        assert!(matches!(last.cause, Cause::DamagedStream(_)));
        assert!(texts(&corpus).iter().all(|text| text == "hello"));
    }
}

#[test]
fn fault_20_zero_padding_after_the_stream_is_a_warning() {
    for (name, whole) in [("a.jsonl.gz", members(gzip)), ("a.jsonl.zst", members(zstd_frame))] {
        let corpus = open_bytes(name, [whole, vec![0; 1024]].concat(), &standard()).unwrap();
        assert_eq!(texts(&corpus), ["a", "b", "c"]);
        assert!(corpus.warnings()[0].contains("1024 zero bytes"), "{:?}", corpus.warnings());
    }
}

#[test]
fn fault_21_a_bomb_stops_at_the_limit() {
    let bomb = zstd_frame(&vec![b'\n'; 40 << 20]);
    assert!(bomb.len() < 10_000);
    let config = OpenConfig { max_decoded_bytes: Some(1 << 20), ..standard() };
    assert_bad(open_bytes("a.jsonl.zst", &bomb, &config), &["more than 1048576 bytes", "--max-decompressed"]);
    assert_eq!(open_bytes("a.jsonl.zst", &bomb, &standard()).unwrap().n_documents(), 0);
}

#[test]
fn fault_22_a_zstd_window_over_128_mib_is_taken_only_when_asked_for() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.write_all(b"{\"text\":\"a\"}\n").unwrap();
    let content = encoder.finish().unwrap();
    let refused = open_bytes("a.jsonl.zst", &content, &standard());
    assert_bad(refused, &["window larger than 2^27", "--zstd-window-log"]);
    let config = OpenConfig { max_zstd_window_log: 28, ..standard() };
    assert_eq!(texts(&open_bytes("a.jsonl.zst", &content, &config).unwrap()), ["a"]);
}

#[test]
fn fault_23_the_bytes_decide_against_a_wrong_name() {
    for (name, content) in [
        ("a.jsonl.gz", LINES.concat().into_bytes()),
        ("a.jsonl", members(zstd_frame)),
        ("a.jsonl.zst", members(gzip)),
        ("a.gz", members(gzip)),
        ("a.data", members(gzip)),
        ("a.data", LINES.concat().into_bytes()),
    ] {
        let corpus = open_bytes(name, content, &standard()).unwrap();
        assert_eq!(texts(&corpus), ["a", "b", "c"], "{name}");
        let is_surprise = name != "a.gz" && !corpus.warnings().is_empty();
        assert!(is_surprise || name == "a.gz" || name == "a.data", "{name}");
    }
    assert_bad(open_bytes("a.csv", "x,y\n1,2\n", &standard()), &["a.csv", "unknown format"]);
    assert_bad(open_bytes("a.parquet", "x,y\n1,2\n", &standard()), &["a.parquet", "not a parquet file"]);
}

#[test]
fn a_zstd_frame_without_checksum_is_a_warning() {
    let frame = zstd::encode_all(LINES.concat().as_bytes(), 1).unwrap();
    let corpus = open_bytes("a.jsonl.zst", frame, &standard()).unwrap();
    assert!(corpus.warnings()[0].contains("without checksum"));
}

#[test]
fn compressed_and_plain_shards_have_the_same_documents_and_hash() {
    let folder = Folder::new();
    let plain = folder.write("a.jsonl", LINES.concat());
    let fingerprint = |path| open(path, &standard()).unwrap().fingerprint().to_owned();
    let other = Folder::new();
    let packed = other.write("a.jsonl", members(gzip));
    assert_eq!(fingerprint(&plain), fingerprint(&packed));
}

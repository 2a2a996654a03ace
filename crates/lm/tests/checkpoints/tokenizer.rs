//! Tokenizers: no byte of a text is lost, no text becomes a control token, and hostile files are refused.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use verbatim_lm::Tokenizer;

const MULTILINGUAL: &[&str] = &[
    "",
    " ",
    "Hello my friend, how is your day going?  I'll be fine.\r\n\r\n\tIndented   text \n",
    "Grüße aus Köln: Äpfel, Öl, Übermut, ß",
    "Ελληνικά και русский текст, עברית, العربية",
    "日本語の文章と中文文本，没有空格。",
    "हिन्दी में कुछ पाठ, ไทย, 한국어",
    "emoji 😀👩‍👩‍👧‍👦🇩🇪 and e\u{301} combining \u{feff}bom \u{2028}separator",
    "control \u{0}\u{1}\u{7f}\u{85} characters and nbsp\u{a0}\u{a0}",
    "a token <|endoftext|> in the text<|endoftext|><|padding|>",
];

fn trained() -> Vec<u8> {
    Tokenizer::train(MULTILINGUAL.iter().chain(MULTILINGUAL), 600).unwrap()
}

fn assert_lossless(tokenizer: &Tokenizer, text: &str) {
    let ids = tokenizer.encode(text);
    let joined: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.token_bytes(id)).collect();
    assert_eq!(joined, text.as_bytes(), "{text:?}");
    assert_eq!(tokenizer.decode(&ids), joined);
}

/// The tokenizer in the folder of real data, or nothing, said aloud.
fn real(name: &str) -> Option<Tokenizer> {
    let Some(data) = std::env::var_os("VERBATIM_DATA") else {
        eprintln!("SKIPPED: VERBATIM_DATA is not set, so the tokenizer of {name} is not tested");
        return None;
    };
    Some(Tokenizer::open(&PathBuf::from(data).join("tokenizers").join(name).join("tokenizer.json")).unwrap())
}

#[test]
fn a_trained_tokenizer_loses_no_byte_and_knows_its_end() {
    let bytes = trained();
    let tokenizer = Tokenizer::from_bytes(&bytes).unwrap();
    assert_eq!(tokenizer.end_of_text(), Some(0));
    assert_eq!(tokenizer.token_bytes(0), b"<|endoftext|>");
    assert!((300..=600).contains(&tokenizer.vocab_size()), "{}", tokenizer.vocab_size());
    assert_eq!(tokenizer.sha256(), verbatim_store::sha256_hex(&bytes));
    MULTILINGUAL.iter().for_each(|text| assert_lossless(&tokenizer, text));
    assert_lossless(&tokenizer, &MULTILINGUAL.concat().repeat(20));
    // Merges were learnt: fewer tokens than bytes.
    assert!(tokenizer.encode("Hello my friend").len() <= 6);
    assert_eq!(tokenizer.token_bytes(u32::MAX), b"");
}

#[test]
fn our_encoding_is_the_one_of_the_tokenizers_crate_reading_the_file_itself() {
    let bytes = trained();
    let tokenizer = Tokenizer::from_bytes(&bytes).unwrap();
    let oracle = tokenizers::Tokenizer::from_bytes(&bytes).unwrap();
    for text in MULTILINGUAL.iter().filter(|text| !text.contains("<|")) {
        assert_eq!(tokenizer.encode(text), oracle.encode(*text, false).unwrap().get_ids(), "{text:?}");
        assert_eq!(
            tokenizer.decode(&tokenizer.encode(text)),
            oracle.decode(oracle.encode(*text, false).unwrap().get_ids(), false).unwrap().as_bytes()
        );
    }
}

/// SmolLM2 takes digits apart, Llama 3 has a pattern of its own and takes whole words; the crate that reads the file
/// itself is the oracle.
#[test]
fn other_ways_to_take_a_text_apart_are_those_of_the_tokenizers_crate() {
    const LLAMA_3: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let digits = json!({"type": "Digits", "individual_digits": true});
    let split =
        json!({"type": "Split", "pattern": {"Regex": LLAMA_3}, "behavior": "Isolated", "invert": false});
    for (first, use_regex, ignore_merges) in [(digits, true, false), (split, false, true)] {
        let mut file: Value = serde_json::from_slice(&trained()).unwrap();
        file["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [first, byte_level(use_regex)]});
        file["model"]["ignore_merges"] = json!(ignore_merges);
        let bytes = file.to_string().into_bytes();
        let tokenizer = Tokenizer::from_bytes(&bytes).unwrap();
        let oracle = tokenizers::Tokenizer::from_bytes(&bytes).unwrap();
        let own = ["In 1984, 1234567 people: they'LL come\r\n\r\n  12x", " \u{a0} 3.14159"];
        for text in MULTILINGUAL.iter().filter(|text| !text.contains("<|")).chain(&own) {
            assert_eq!(tokenizer.encode(text), oracle.encode(*text, false).unwrap().get_ids(), "{text:?}");
            assert_lossless(&tokenizer, text);
        }
    }
}

/// A SentencePiece BPE as Llama has it, of a few words.
fn marked(metaspace: bool) -> Value {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    let merges =
        [("\u{2581}", "t"), ("h", "e"), ("\u{2581}t", "he"), ("a", "t"), ("c", "at"), ("\u{2581}", "cat")];
    tokens.extend(["\u{2581}", "t", "h", "e", "a", "c", "s"].map(str::to_owned));
    tokens.extend(merges.iter().map(|(left, right)| format!("{left}{right}")));
    let vocab: Value = tokens
        .iter()
        .zip(0..)
        .map(|(t, id)| (t.clone(), json!(id)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let merges: Vec<String> = merges.iter().map(|(left, right)| format!("{left} {right}")).collect();
    let added: Vec<Value> =
        (0..3).map(|id| json!({"id": id, "content": tokens[id], "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})).collect();
    let normalizers = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u{2581}"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"}]});
    let space =
        json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": false});
    let (normalizer, before) = if metaspace { (Value::Null, space) } else { (normalizers, Value::Null) };
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": before, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocab, "merges": merges}})
}

#[test]
fn the_sentencepiece_bpe_of_llama_is_that_of_the_tokenizers_crate() {
    for metaspace in [false, true] {
        let bytes = marked(metaspace).to_string().into_bytes();
        let tokenizer = Tokenizer::from_bytes(&bytes).unwrap();
        let oracle = tokenizers::Tokenizer::from_bytes(&bytes).unwrap();
        assert_eq!(tokenizer.end_of_text(), Some(2));
        for text in ["the cat sat", "cats", "  the  the", "caf\u{e9} \u{1f600}\n", "\u{2581}the"] {
            let ids = tokenizer.encode(text);
            assert_eq!(ids, oracle.encode(text, false).unwrap().get_ids(), "{text:?}");
            // The bytes are the text's, after the space that is put before it; a mark in a text is a space.
            let spaced = text.replace('\u{2581}', " ");
            let expected = if metaspace && spaced.starts_with(' ') { spaced } else { format!(" {spaced}") };
            assert_eq!(tokenizer.decode(&ids), expected.as_bytes(), "{text:?}");
        }
        assert!(tokenizer.encode("</s><unk>").iter().all(|id| *id > 2), "names of control tokens are text");
    }
    // A bell and private characters may be missing, as in SmolLM2's vocabulary; letters may not.
    let mut lacking = marked(false);
    for token in ["<0x07>", "<0xF1>", "<0xF5>"] {
        let moved = lacking["model"]["vocab"].as_object_mut().unwrap().remove(token).unwrap();
        lacking["model"]["vocab"][token.trim_matches(['<', '>'])] = moved;
    }
    let tokenizer = Tokenizer::from_bytes(lacking.to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.missing_bytes(), [0x07, 0xF1]);
    assert_eq!(tokenizer.decode(&tokenizer.encode("the\u{7} cat")), b" the cat");
    let mut lacking = marked(false);
    lacking["model"]["vocab"].as_object_mut().unwrap().remove("<0x41>");
    assert_eq!(Tokenizer::from_bytes(lacking.to_string().as_bytes()).unwrap_err().exit_code(), 65);
}

#[test]
fn training_gives_the_same_bytes_for_any_order_and_number_of_threads() {
    // Many ties, repeated letters and pairs that come and go: what a hash table's order would show in.
    let texts: Vec<String> = (0..400u32)
        .map(|i| {
            let word = |n: u32| -> String {
                (0..3 + n % 5).map(|k| char::from(b'a' + ((n.wrapping_mul(31) + k * 7) % 6) as u8)).collect()
            };
            (0..30).map(|k| word(i * 13 + k * 5)).collect::<Vec<_>>().join(" ") + " aaaa aaa aaaaaa ababab"
        })
        .collect();
    let train = |texts: &[String]| Tokenizer::train(texts.iter(), 1000).unwrap();
    let first = train(&texts);
    let reversed: Vec<String> = texts.iter().rev().cloned().collect();
    for n_threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        assert!(pool.install(|| train(&texts)) == first, "{n_threads} threads");
        assert!(pool.install(|| train(&reversed)) == first, "{n_threads} threads, reversed");
    }
    let tokenizer = Tokenizer::from_bytes(&first).unwrap();
    texts.iter().for_each(|text| assert_lossless(&tokenizer, text));
}

#[test]
fn training_merges_what_a_naive_trainer_merges() {
    let texts = [
        "low low low low low",
        "lower lower newest newest newest newest newest newest",
        "widest widest widest",
    ];
    let bytes = Tokenizer::train(texts.iter(), 257 + 12).unwrap();
    let file: Value = serde_json::from_slice(&bytes).unwrap();
    let merges: Vec<(String, String)> = serde_json::from_value(file["model"]["merges"].clone()).unwrap();
    let ids = &file["model"]["vocab"];
    // The most frequent pair each time; ties by the ids of the pair, lower first.
    let split =
        texts.iter().flat_map(|text| text.split_inclusive(' ').enumerate().map(|(i, word)| (i, word.trim())));
    let mut words: Vec<Vec<String>> = split
        .map(|(i, word)| {
            (if i == 0 { word.to_owned() } else { format!("Ġ{word}") }).chars().map(String::from).collect()
        })
        .collect();
    for (left, right) in &merges {
        let mut counts = std::collections::BTreeMap::new();
        for pair in words.iter().flat_map(|word| word.windows(2)) {
            *counts.entry((pair[0].clone(), pair[1].clone())).or_insert(0) += 1;
        }
        let id = |token: &String| ids[token].as_u64().unwrap();
        let best = counts.iter().max_by_key(|((l, r), n)| (**n, std::cmp::Reverse((id(l), id(r))))).unwrap();
        assert_eq!(best.0, &(left.clone(), right.clone()));
        for word in &mut words {
            while let Some(i) = word.windows(2).position(|pair| &pair[0] == left && &pair[1] == right) {
                word.splice(i..i + 2, [format!("{left}{right}")]);
            }
        }
    }
    assert_eq!(merges.len(), 12);
}

#[test]
fn training_refuses_sizes_that_cannot_be() {
    for vocab_size in [0, 256, (1 << 20) + 1] {
        assert_eq!(Tokenizer::train(["a"].iter(), vocab_size).unwrap_err().exit_code(), 2);
    }
    let none = Tokenizer::train(std::iter::empty::<&str>(), 300).unwrap();
    assert_eq!(Tokenizer::from_bytes(&none).unwrap().vocab_size(), 257);
}

/// The files of E17 and their like: each a change to a good file, or a file of its own.
fn hostile() -> Vec<(&'static str, Value)> {
    let good: Value = serde_json::from_slice(&trained()).unwrap();
    let with = |path: &str, value: Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value;
        bad
    };
    let token = |id: u32, content: &str| {
        json!([{"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}])
    };
    let split = |kind: Value| with("/pre_tokenizer", kind);
    let mut vocab = good["model"]["vocab"].clone();
    vocab["x1"] = json!(5);
    let mut hole = good["model"]["vocab"].clone();
    hole["x1"] = json!(5000);
    let mut huge = good["model"]["vocab"].clone();
    huge["x1"] = json!(u32::MAX);
    let mut no_letter = good["model"]["vocab"].clone();
    no_letter.as_object_mut().unwrap().shift_remove("Ġ");
    vec![
        ("merge of unknown tokens", with("/model/merges", json!([["qqq", "zzz"]]))),
        ("merge longer than the vocabulary", with("/model/merges", json!([["q".repeat(5000), "z"]]))),
        ("merge that makes nothing known", with("/model/merges", json!([["q", "§"]]))),
        ("merge of one", with("/model/merges", json!(["q"]))),
        ("merge of nothing", with("/model/merges", json!([["", "q"]]))),
        ("merge twice", with("/model/merges", json!([["Ġ", "t"], ["Ġ", "t"]]))),
        ("merges that are numbers", with("/model/merges", json!([1, 2]))),
        ("one id twice", with("/model/vocab", vocab)),
        ("an id left out", with("/model/vocab", hole)),
        ("the largest id", with("/model/vocab", huge)),
        ("a letter left out", with("/model/vocab", no_letter)),
        ("empty vocabulary", with("/model/vocab", json!({}))),
        ("negative id", with("/model/vocab", json!({"a": -1}))),
        ("added token with a huge id", with("/added_tokens", token(u32::MAX, "<|x|>"))),
        ("added token with another's id", with("/added_tokens", token(5, "<|x|>"))),
        ("added token with two ids", with("/added_tokens", token(5, "<|endoftext|>"))),
        ("empty added token", with("/added_tokens", token(600, ""))),
        ("dropout", with("/model/dropout", json!(0.5))),
        ("prefix", with("/model/continuing_subword_prefix", json!("##"))),
        ("suffix", with("/model/end_of_word_suffix", json!("</w>"))),
        ("byte fallback", with("/model/byte_fallback", json!(true))),
        ("another model", with("/model/type", json!("Unigram"))),
        ("no pre-tokenizer", split(Value::Null)),
        ("fixed length 0", split(json!({"type": "FixedLength", "length": 0}))),
        (
            "a regex of the file's own",
            split(
                json!({"type": "Split", "pattern": {"Regex": "(a*)*b"}, "behavior": "Isolated", "invert": false}),
            ),
        ),
        (
            "prefix space",
            split(
                json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
            ),
        ),
        (
            "no regex",
            split(
                json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}),
            ),
        ),
        (
            "a precompiled map",
            with("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
        ),
        ("lower case", with("/normalizer", json!({"type": "Lowercase"}))),
        ("no model", json!({"added_tokens": []})),
    ]
}

#[test]
fn fault_59_hostile_tokenizers_are_refused() {
    for (name, file) in hostile() {
        let error = Tokenizer::from_bytes(file.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.exit_code(), 65, "{name}: {error}");
        assert!(error.to_string().len() < 1000, "{name}: the message repeats the file");
    }
    for bytes in [&b""[..], b"{", b"\xff\xfe", "[".repeat(200_000).as_bytes()] {
        assert_eq!(Tokenizer::from_bytes(bytes).unwrap_err().exit_code(), 65);
    }
}

#[test]
fn fault_59_sections_that_we_do_not_use_cannot_harm() {
    let mut file: Value = serde_json::from_slice(&trained()).unwrap();
    let expected = Tokenizer::from_bytes(file.to_string().as_bytes()).unwrap().encode("Hello my friend");
    // Padding to 100 million ids aborts the process in the crate's own reader.
    file["padding"] = json!({"strategy": {"Fixed": 100_000_000}, "direction": "Right", "pad_to_multiple_of": 0,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "x"});
    file["truncation"] =
        json!({"max_length": 0, "strategy": "LongestFirst", "stride": 10, "direction": "Right"});
    file["post_processor"] = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}],
        "pair": [], "special_tokens": {}});
    file["decoder"] = json!({"type": "Nonsense"});
    assert_eq!(
        Tokenizer::from_bytes(file.to_string().as_bytes()).unwrap().encode("Hello my friend"),
        expected
    );
}

#[test]
fn fault_61_no_text_becomes_a_control_token() {
    let mut file: Value = serde_json::from_slice(&trained()).unwrap();
    // Declared as ordinary text, with white space eaten around it: still control.
    let n = file["model"]["vocab"].as_object().unwrap().len();
    for special in [true, false] {
        let token = |id: usize, content: &str| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": true, "rstrip": true,
                "normalized": true, "special": special})
        };
        file["added_tokens"] = json!([token(0, "<|endoftext|>"), token(n, "<|user|>")]);
        let tokenizer = Tokenizer::from_bytes(file.to_string().as_bytes()).unwrap();
        for text in ["<|endoftext|>", "a <|endoftext|> b", "<|user|>", " <|user|> <|endoftext|><|user|>"] {
            let ids = tokenizer.encode(text);
            assert!(!ids.contains(&0) && !ids.contains(&(n as u32)), "{text}: {ids:?}");
            assert_lossless(&tokenizer, text);
        }
        assert_eq!(tokenizer.decode(&[0, n as u32]), b"<|endoftext|><|user|>");
    }
    // A merge that would build the control token out of text.
    let mut bad: Value = serde_json::from_slice(&trained()).unwrap();
    bad["model"]["vocab"]["<|"] = json!(n);
    bad["model"]["merges"] = json!([["<", "|"]]);
    bad["added_tokens"] = json!([{"id": n, "content": "<|"}]);
    let error = Tokenizer::from_bytes(bad.to_string().as_bytes()).unwrap_err();
    assert!(error.to_string().contains("control token"), "{error}");
}

#[test]
fn fault_62_an_empty_text_has_no_tokens() {
    let tokenizer = Tokenizer::from_bytes(&trained()).unwrap();
    assert_eq!(tokenizer.encode(""), Vec::<u32>::new());
    assert_eq!(tokenizer.decode(&[]), b"");
}

#[test]
fn fault_63_half_a_character_is_kept_as_bytes() {
    let tokenizer =
        Tokenizer::from_bytes(&Tokenizer::train(std::iter::empty::<&str>(), 257).unwrap()).unwrap();
    let ids = tokenizer.encode("日");
    assert_eq!(ids.len(), 3);
    assert_eq!(tokenizer.decode(&ids[..2]), &"日".as_bytes()[..2]);
}

#[test]
fn a_million_bytes_take_linear_time() {
    let tokenizer = Tokenizer::from_bytes(&trained()).unwrap();
    for unit in [" ", "a", "ab", "日"] {
        assert_lossless(&tokenizer, &unit.repeat(200_000 / unit.len()));
    }
}

#[test]
fn the_real_gpt2_tokenizer_gives_its_published_ids() {
    let Some(tokenizer) = real("gpt2") else { return };
    assert_eq!(tokenizer.vocab_size(), 50257);
    assert_eq!(tokenizer.end_of_text(), Some(50256));
    // From OpenAI's encoder.json and vocab.bpe; "Hello world" is in the README of tiktoken and many others.
    assert_eq!(tokenizer.encode("Hello world"), [15496, 995]);
    assert_eq!(tokenizer.encode(" the"), [262]);
    assert!(!tokenizer.encode("<|endoftext|>").contains(&50256));
    MULTILINGUAL.iter().for_each(|text| assert_lossless(&tokenizer, text));
}

#[test]
fn the_real_gpt_neox_tokenizer_is_lossless_up_to_nfc() {
    let Some(tokenizer) = real("gpt_neox_20B") else { return };
    assert_eq!(tokenizer.vocab_size(), 50277);
    assert_eq!(tokenizer.end_of_text(), Some(0));
    for text in MULTILINGUAL.iter().filter(|text| !text.contains('\u{301}') && !text.contains('ह')) {
        assert_lossless(&tokenizer, text);
        assert!(!tokenizer.encode(text).iter().any(|id| [0, 1].contains(id)));
    }
    // Runs of spaces are tokens of their own.
    assert_eq!(tokenizer.encode("a        b").len(), 3);
    assert_eq!(tokenizer.decode(&tokenizer.encode("e\u{301}")), "\u{e9}".as_bytes());
}

#[test]
fn another_process_trains_the_same_bytes() {
    // Hash tables are seeded once a process, so that one process alone proves little.
    const NAME: &str = "tokenizer::another_process_trains_the_same_bytes";
    let digest = verbatim_store::sha256_hex(&trained());
    if std::env::args().any(|argument| argument == "--nocapture")
        && std::env::var_os("VERBATIM_CHILD").is_some()
    {
        println!("digest {digest}");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args([NAME, "--exact", "--nocapture"])
        .env("VERBATIM_CHILD", "1")
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains(&digest));
}

//! Verification on what GPT-2 XL recited: the published samples of Carlini et al. 2021, if `VERBATIM_DATA` names a
//! folder that has them.

use std::path::PathBuf;

use verbatim_lm::Tokenizer;
use verbatim_store::Silent;

use crate::testing::{corpus, sample};
use crate::{DrawnSample, Proof, Verdict, verify};

const MIN_MATCH_TOKENS: usize = 50;

#[test]
fn published_samples_of_gpt2_xl_are_found_where_their_spans_stand() {
    let Some(data) = std::env::var_os("VERBATIM_DATA").map(PathBuf::from) else {
        eprintln!("SKIPPED: VERBATIM_DATA does not name the data folder");
        return;
    };
    let tokenizer = Tokenizer::open(&data.join("tokenizers/gpt2/tokenizer.json")).unwrap();
    let lines = std::fs::read_to_string(data.join("memorization/gpt2_xl_carlini_samples.jsonl")).unwrap();
    let mut samples = Vec::new();
    let mut documents = Vec::new();
    for (number, line) in lines.lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = line["sample"].as_str().unwrap();
        samples.push(DrawnSample { tokens: tokenizer.encode(text), ..sample(number as u64, text) });
        for span in line["memorized_spans"].as_array().unwrap() {
            let span = span.as_str().unwrap();
            documents.extend(
                (0..=number % 3).map(|copy| format!("Copy {copy} in <{number}>: {span} <end of it>")),
            );
        }
    }
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let corpus = corpus(&documents);
    let samples: Vec<&DrawnSample> = samples.iter().collect();
    let findings =
        verify(Some(Proof { corpus: &corpus, index: None }), &tokenizer, &samples, MIN_MATCH_TOKENS, &Silent)
            .unwrap();

    let mut n_memorized = 0;
    for (sample, finding) in samples.iter().zip(&findings) {
        let is_memorized = sample.tokens.windows(MIN_MATCH_TOKENS).any(|window| {
            let window = tokenizer.decode(window);
            documents
                .iter()
                .any(|document| document.as_bytes().windows(window.len()).any(|part| part == window))
        });
        assert_eq!(finding.verdict == Verdict::Memorized, is_memorized, "sample {}", sample.index);
        if let Some(longest) = finding.longest.as_ref().filter(|_| is_memorized) {
            n_memorized += 1;
            let start = longest.start_byte as usize;
            let matched = &sample.text.as_bytes()[start..start + longest.n_bytes as usize];
            let holders = documents
                .iter()
                .filter(|document| document.as_bytes().windows(matched.len()).any(|part| part == matched));
            assert_eq!(longest.n_documents, holders.count() as u64, "sample {}", sample.index);
        }
    }
    assert_eq!(samples.len(), 46);
    assert!(n_memorized >= 20, "most of the published spans have 50 tokens: {n_memorized}");
    eprintln!(
        "{n_memorized} of {} published samples hold {MIN_MATCH_TOKENS} memorized tokens",
        samples.len()
    );
}

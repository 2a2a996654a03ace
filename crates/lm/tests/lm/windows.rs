//! Texts longer than the context, and texts with nothing to score.

use verbatim_lm::{Error, LanguageModel, Scripted};
use verbatim_store::Silent;

use crate::torch;

#[test]
fn each_token_of_a_long_text_is_scored_once_in_its_window() {
    let model = torch::model();
    let text: Vec<u32> = (0..175u32).map(|t| (t * t * 7 + t * 3 + 1) % 96).collect();
    let records = &model.score(std::slice::from_ref(&text), 4, &Silent).unwrap()[0];
    assert_eq!(records.len(), text.len() - 1);
    for (at, record) in (1..).zip(records) {
        // The first window of 48 inputs predicts tokens 1 to 48; each later one begins 24 tokens further on
        // and predicts the 24 tokens that are new.
        let start: usize = if at <= 48 { 0 } else { 24 * (at - 48usize).div_ceil(24) };
        let alone = model.score(&[text[start..=at].to_vec()], 1, &Silent).unwrap()[0][at - start - 1];
        assert_eq!(record.token, text[at]);
        assert_eq!(record.rank, alone.rank);
        assert!((record.log_prob - alone.log_prob).abs() < 1e-5, "token {at}: {record:?} against {alone:?}");
    }
}

#[test]
fn texts_of_no_or_one_token_have_no_records() {
    let records = torch::model().score(&[vec![], vec![5], vec![5, 6]], 8, &Silent).unwrap();
    assert_eq!(records.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 1]);
    assert!(torch::model().score(&[], 8, &Silent).unwrap().is_empty());
}

#[test]
fn senseless_questions_are_refused() {
    let model = torch::model();
    let message = model.score(&[vec![1], vec![2, 96]], 1, &Silent).unwrap_err().to_string();
    assert_eq!(message, "text 1: token id 96 is outside the model's vocabulary of 96");
    assert!(matches!(model.score(&[], 0, &Silent), Err(Error::InvalidArgument(_))));
}

#[test]
fn logits_that_are_no_numbers_are_an_error_with_a_place() {
    let model = Scripted::new(8, 16).breaks_after(3);
    let error = model.score(&[vec![0, 1], vec![0, 1, 3, 2]], 2, &Silent).unwrap_err();
    assert!(matches!(error, Error::NotFinite { text: 1, position: 3 }));
    assert_eq!(error.exit_code(), 65);
}

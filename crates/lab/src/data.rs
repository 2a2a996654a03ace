//! What a model is trained on: token ids of documents, packed into rows in an order drawn for each epoch.

use rayon::prelude::*;
use verbatim_corpus::{Corpus, DocId};
use verbatim_lm::Tokenizer;

use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::recipe::TrainingTexts;

/// Token ids of the documents to train on and of those held out.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// Documents to train on.
    pub train: Vec<Vec<u32>>,
    /// Documents to measure the validation loss on; may be empty.
    pub validation: Vec<Vec<u32>>,
    /// The token that stands before each document.
    pub end_of_text: u32,
}

impl TrainingData {
    /// Encodes texts and holds out each document with probability `validation_fraction`.
    ///
    /// # Errors
    /// [`Error::Config`] for a tokenizer without an end of text.
    pub fn encode(
        texts: TrainingTexts<'_>,
        tokenizer: &Tokenizer,
        seed: u64,
        validation_fraction: f64,
    ) -> Result<TrainingData> {
        let end_of_text = tokenizer
            .end_of_text()
            .ok_or_else(|| Error::Config("the tokenizer has no <|endoftext|> token".into()))?;
        let ids = texts.ids();
        let encoded: Vec<Vec<u32>> =
            ids.par_iter().map(|&id| tokenizer.encode(&texts.corpus.text_str(id))).collect();
        let mut data = TrainingData { train: Vec::new(), validation: Vec::new(), end_of_text };
        for (id, tokens) in ids.into_iter().zip(encoded) {
            let is_held_out = is_held_out(id, seed, validation_fraction);
            let part = if is_held_out { &mut data.validation } else { &mut data.train };
            part.push(tokens);
        }
        data.validation.extend(texts.validation.iter().map(|text| tokenizer.encode(text)));
        Ok(data)
    }

    /// Tokens of one epoch, one end-of-text for each document among them.
    pub fn n_train_tokens(&self) -> usize {
        self.train.iter().map(|document| document.len() + 1).sum()
    }
}

/// How many documents of a corpus [`TrainingData::encode`] leaves to train on, without encoding any.
pub fn n_trained_on(corpus: &Corpus, seed: u64, validation_fraction: f64) -> usize {
    corpus.ids().filter(|&id| !is_held_out(id, seed, validation_fraction)).count()
}

fn is_held_out(id: DocId, seed: u64, validation_fraction: f64) -> bool {
    Draw::new(seed, "validation", id.0).happens(validation_fraction)
}

/// Rows of `context + 1` ids, so that each row yields `context` predictions; consecutive rows share one id.
///
/// Documents stand in `order`, each after an end-of-text. The last row runs on into the beginning, so that every
/// token is predicted once in an epoch, and no row is short.
pub(crate) fn pack(
    documents: &[Vec<u32>],
    order: &[usize],
    end_of_text: u32,
    context: usize,
) -> Vec<Vec<u32>> {
    let mut stream = Vec::new();
    for &index in order {
        stream.push(end_of_text);
        stream.extend_from_slice(&documents[index]);
    }
    let n_rows = stream.len().div_ceil(context);
    let token = |position: usize| stream[position % stream.len()];
    (0..n_rows).map(|row| (row * context..=(row + 1) * context).map(token).collect()).collect()
}

/// The rows of one epoch: documents in an order drawn from (seed, epoch), then rows in another.
pub(crate) fn epoch_rows(data: &TrainingData, context: usize, seed: u64, epoch: u64) -> Vec<Vec<u32>> {
    let mut draw = Draw::new(seed, "epoch", epoch);
    let mut order: Vec<usize> = (0..data.train.len()).collect();
    draw.shuffle(&mut order);
    let mut rows = pack(&data.train, &order, data.end_of_text, context);
    draw.shuffle(&mut rows);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> TrainingData {
        let train = (0..7u32).map(|n| (0..=n).map(|k| 10 * (n + 1) + k).collect()).collect();
        TrainingData { train, validation: Vec::new(), end_of_text: 0 }
    }

    #[test]
    fn rows_overlap_by_one_token_and_wrap_around() {
        let rows = pack(&[vec![1, 2, 3], vec![4]], &[1, 0], 9, 4);
        assert_eq!(rows, [[9, 4, 9, 1, 2], [2, 3, 9, 4, 9]]);
    }

    #[test]
    fn every_token_is_predicted_in_every_epoch() {
        let data = data();
        for epoch in 0..5 {
            let mut predicted: Vec<u32> =
                epoch_rows(&data, 5, 3, epoch).iter().flat_map(|row| row[1..].to_vec()).collect();
            predicted.sort_unstable();
            predicted.dedup();
            let mut all: Vec<u32> = data.train.iter().flatten().copied().chain([0]).collect();
            all.sort_unstable();
            assert_eq!(predicted, all);
        }
    }

    #[test]
    fn the_order_depends_on_seed_and_epoch() {
        let data = data();
        assert_eq!(epoch_rows(&data, 5, 3, 1), epoch_rows(&data, 5, 3, 1));
        assert_ne!(epoch_rows(&data, 5, 3, 1), epoch_rows(&data, 5, 3, 2));
        assert_ne!(epoch_rows(&data, 5, 3, 1), epoch_rows(&data, 5, 4, 1));
    }
}

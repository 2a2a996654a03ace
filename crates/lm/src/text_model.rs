//! A model with its tokenizer, and what asking it may take.

use std::fmt;

use verbatim_store::{Progress, Scratch};

use crate::{LanguageModel, Tokenizer};

/// A model together with the tokenizer of its texts.
#[derive(Clone, Copy)]
pub struct TextModel<'a> {
    /// The model.
    pub model: &'a dyn LanguageModel,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
}

impl fmt::Debug for TextModel<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TextModel")
            .field("tokenizer", &self.tokenizer.sha256())
            .finish_non_exhaustive()
    }
}

/// What asking models may take, and who watches. Nothing of it changes an answer.
#[derive(Clone, Copy)]
pub struct Resources<'a> {
    /// The most sequences computed at once.
    pub batch: usize,
    /// Where answers are kept, if it is the folder of a run.
    pub scratch: &'a Scratch,
    /// Who is told, and may interrupt.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Resources<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Resources").field("batch", &self.batch).finish_non_exhaustive()
    }
}

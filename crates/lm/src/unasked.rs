//! A model that is there for its tokenizer and its hashes: it has no weights, and answers nothing.

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::logits::Logits;
use crate::model::{Forward, Run};

/// What a configuration says of a model.
pub(crate) struct Unasked {
    vocab_size: usize,
    context_len: usize,
    bos: Option<u32>,
}

impl Unasked {
    pub(crate) fn of(config: &ModelConfig) -> Self {
        Self { vocab_size: config.vocab_size(), context_len: config.context_len(), bos: config.bos() }
    }
}

impl Forward for Unasked {
    type Cache = ();
    type States = ();

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn context_len(&self) -> usize {
        self.context_len
    }

    fn bos(&self) -> Option<u32> {
        self.bos
    }

    fn cache_bytes(&self, _capacity: usize) -> u64 {
        0
    }

    fn new_cache(&self, _n_slots: usize, _capacity: usize) -> Result<()> {
        Ok(())
    }

    fn hidden(&self, _runs: &[Run<'_>], _cache: &mut ()) -> Result<()> {
        Err(Error::Unasked)
    }

    fn copy_prefix(&self, _cache: &mut (), _from: usize, _to: usize, _n: usize) -> Result<()> {
        Err(Error::Unasked)
    }

    fn logits(&self, _states: &(), _rows: &[usize], _logits: &mut Logits) -> Result<()> {
        Err(Error::Unasked)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use verbatim_store::Silent;

    use crate::{Checkpoint, Device, Error, Runtime};

    #[test]
    fn it_is_known_by_the_same_hashes_and_answers_nothing() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo-raw");
        let asked = Checkpoint::open(&folder, Runtime::default()).unwrap();
        let runtime = Runtime { device: Device::Nowhere, free_memory: Some(0), ..Runtime::default() };
        let unasked = Checkpoint::open(&folder, runtime).unwrap();
        assert_eq!(unasked.files, asked.files);
        assert_eq!((&unasked.name, &unasked.revision), (&asked.name, &asked.revision));
        let told = |checkpoint: &Checkpoint| {
            let model = &checkpoint.model;
            (model.vocab_size(), model.context_len(), model.bos())
        };
        assert_eq!(told(&unasked), told(&asked));
        let model = &unasked.model;
        assert!(model.score(&[], 4, &Silent).unwrap().is_empty());
        assert!(matches!(model.score(&[vec![1, 2]], 4, &Silent), Err(Error::Unasked)));
        let mut session = model.session(1, 8).unwrap();
        let run = crate::Run { slot: 0, tokens: &[1] };
        assert!(matches!(session.extend(&[run], &mut |_, _| ()), Err(Error::Unasked)));
    }
}

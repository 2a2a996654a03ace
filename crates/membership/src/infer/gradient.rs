//! Gradient norms: a text that a model has learnt pulls little at its weights.

use verbatim_lm::{Error, LossGradient};

use super::{Asking, Read};

/// The opposites of the Euclidean norm and of the mean of the largest derivatives, of each text's mean loss, by its own. What is
/// beyond the first context of a text is left out.
pub(super) fn signals(
    asking: &Asking<'_>,
    gradient: &mut LossGradient,
    texts: &[Read],
) -> Result<Vec<[Option<f64>; 2]>, Error> {
    let mut of_text = |read: &Read| {
        if asking.resources.progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let passage = read.within(asking.target.model.context_len());
        let row = [&passage.prompt[..], &passage.continuation].concat();
        if passage.continuation.is_empty() {
            return Ok([None; 2]);
        }
        match gradient.norms(&row) {
            Ok(norms) => Ok([norms.euclidean, norms.mean_of_largest].map(|norm| Some(0.0 - norm))),
            Err(Error::NotFinite { .. }) => Ok([None; 2]),
            Err(error) => Err(error),
        }
    };
    texts.iter().map(&mut of_text).collect()
}

//! Signals from what the target says of a text's own tokens, beside one pass over the lower-cased text and one of a reference.

use verbatim_lm::{Error, TextModel, TokenRecord, score_passages};
use verbatim_store::Within;

use super::{Asking, Inferring, Need, Read, Signal, TextSignals, passage, scored};
use crate::signal;
use crate::zlib::zlib_len;

/// Whether a signal comes from this pass.
pub(super) fn has(signal: Signal) -> bool {
    matches!(signal.needs(), Need::Nothing | Need::Counts | Need::Reference)
}

/// What was said of a text.
pub(super) struct Said<'a> {
    /// Bytes of the text after zlib.
    pub(super) zlib_bytes: u64,
    pub(super) records: &'a [TokenRecord],
    pub(super) lowered: &'a [TokenRecord],
    pub(super) referred: &'a [TokenRecord],
    pub(super) counts: Option<Counts<'a>>,
}

/// How often each token stands in a corpus.
#[derive(Clone, Copy)]
pub(super) struct Counts<'a> {
    of_token: &'a [u64],
    n_tokens: u64,
}

impl Counts<'_> {
    /// The logarithm of a token's frequency, each token counted once more than it was seen (Laplace).
    fn ln_frequency(self, token: u32) -> f64 {
        let seen = self.of_token.get(token as usize).copied().unwrap_or(0);
        ((seen as f64 + 1.0) / (self.n_tokens as f64 + self.of_token.len() as f64)).ln()
    }
}

/// What the signals `asked` say of each text.
pub(super) fn signals(
    asking: &Asking<'_>,
    inferring: &Inferring<'_>,
    asked: &[Signal],
    texts: &[Read],
) -> Result<Vec<TextSignals>, Error> {
    let ask = |model: TextModel<'_>, texts: &mut dyn Iterator<Item = String>| {
        let passages: Vec<_> = texts.map(|text| passage(model, &model.tokenizer.encode(&text))).collect();
        score_passages(model.model, &passages, asking.resources.batch, &Within(asking.resources.progress))
    };
    let own: Vec<_> = texts.iter().map(|read| read.passage.clone()).collect();
    let own = scored(asking, &own)?;
    let lowered = match asked.contains(&Signal::Lowercase) {
        true => ask(asking.target, &mut texts.iter().map(|read| read.text.to_lowercase()))?,
        false => vec![None; texts.len()],
    };
    let reference =
        inferring.reference.filter(|_| asked.iter().any(|signal| signal.needs() == Need::Reference));
    let referred = match reference {
        Some(reference) => ask(reference, &mut texts.iter().map(|read| read.text.clone()))?,
        None => vec![None; texts.len()],
    };
    let counts = inferring.counts.map(|counts| Counts { of_token: counts, n_tokens: counts.iter().sum() });
    let of_text = |number: usize| {
        let records = |all: &'_ [Option<Vec<TokenRecord>>]| all[number].clone().unwrap_or_default();
        let (own, lowered, referred) = (records(&own), records(&lowered), records(&referred));
        let zlib_bytes = zlib_len(texts[number].text.as_bytes()) as u64;
        let said = Said { zlib_bytes, records: &own, lowered: &lowered, referred: &referred, counts };
        TextSignals {
            n_tokens: own.len() as u64,
            zlib_bytes,
            values: asked.iter().map(|signal| value(*signal, &said)).collect(),
            records: if inferring.keeps_records { own } else { Vec::new() },
        }
    };
    Ok((0..texts.len()).map(of_text).collect())
}

/// What one signal says.
pub(super) fn value(signal: Signal, said: &Said<'_>) -> Option<f64> {
    let records = said.records;
    match signal {
        Signal::Loss => signal::loss_signal(records),
        Signal::Zlib => signal::zlib_ratio(records, said.zlib_bytes),
        Signal::Lowercase => signal::lowercase_signal(records, said.lowered),
        Signal::Window => signal::window_signal(records, 50),
        Signal::MinK => signal::min_k(records, 0.2),
        Signal::MinKPlusPlus => signal::min_k_plus_plus(records, 0.2),
        Signal::KMax => signal::k_max(records, 0.2),
        Signal::Surp => signal::surp(records, 0.4, signal::SURP_ENTROPY_NATS),
        Signal::Accuracy => signal::accuracy_signal(records),
        Signal::Rank => signal::rank_signal(records),
        Signal::LogRank => signal::log_rank_signal(records),
        Signal::Entropy => signal::entropy_signal(records),
        Signal::DcPdd => {
            let counts = said.counts?;
            signal::dc_pdd(records, |token| counts.ln_frequency(token), signal::DC_PDD_CAP)
        }
        Signal::ReferenceRatio => signal::reference_signal(records, said.referred),
        Signal::ReferenceDifference => Some(signal::loss(said.referred)? - signal::loss(records)?),
        // Those of the other passes.
        Signal::Recall
        | Signal::ConRecall
        | Signal::Pac
        | Signal::Neighbourhood
        | Signal::Samia
        | Signal::GradientNorm
        | Signal::GradientMax => None,
    }
}

//! Membership inference: what every signal says of each of some texts, how well it tells members from non-members where both are
//! known, and which texts it calls members where they are not.

mod gradient;
mod judge;
mod kept;
mod neighbours;
mod one_pass;
mod privacy;
mod samples;
mod separation;
mod shots;
mod signals;
mod swaps;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use verbatim_lm::{Error, LossGradient, Passage, Resources, TextModel, TokenRecord, score_passages};
use verbatim_store::{Within, answer_chunks};

pub use judge::{Call, Judged, judge};
pub use kept::{KEPT_FILE, KeptText, kept_signals, read_kept, write_kept};
pub use privacy::{AuditedEpsilon, audited_epsilon};
pub use separation::{
    BAG_OF_WORDS, BLIND_NAMES, Confidence, Separation, blind_scores, blind_separations, control_separation,
    separation,
};
pub use shots::{Parted, Parting, Shots, part};
pub use signals::{Need, Signal};

/// Texts that are asked about together, between two moments at which answers are kept.
const CHUNK: usize = 64;

/// Where the streams of draws begin that each pass has for its own.
const SHOTS: u64 = 1 << 60;
const SWAPS: u64 = 2 << 60;
const NEIGHBOURS: u64 = 3 << 60;

/// The models that are asked, and what they are asked with.
#[derive(Debug)]
pub struct Inferring<'a> {
    /// The model in question.
    pub target: TextModel<'a>,
    /// One that has not seen the members, of the same kind of text.
    pub reference: Option<TextModel<'a>>,
    /// The gradients of the target.
    pub gradient: Option<LossGradient>,
    /// How often each token of the target's vocabulary stands in a corpus of the same kind of text, by id.
    pub counts: Option<&'a [u64]>,
    /// Texts that stand before those that are judged.
    pub shots: Option<&'a Shots>,
    /// Tokens of the target that are read of a text, from its first.
    pub most_tokens: usize,
    /// Seed of the swaps, the neighbours and the samples.
    pub seed: u64,
    /// Whether what the target says of each token stays with its text: some 24 bytes a token.
    pub keeps_records: bool,
}

impl<'a> Inferring<'a> {
    /// The model in question with nothing beside it, and texts as far as it sees them at once.
    pub fn alone(target: TextModel<'a>) -> Self {
        Self {
            target,
            reference: None,
            gradient: None,
            counts: None,
            shots: None,
            most_tokens: target.model.context_len(),
            seed: 0,
            keeps_records: false,
        }
    }

    /// Whether what a signal needs is there.
    pub fn gives(&self, signal: Signal) -> bool {
        match signal.needs() {
            Need::Nothing | Need::MorePasses => true,
            Need::Counts => self.counts.is_some(),
            Need::Reference => self.reference.is_some(),
            Need::NonMembers => self.shots.is_some_and(|shots| shots.n_for_recall() > 0),
            Need::BothSets => self.shots.is_some_and(|shots| shots.n_for_con_recall().iter().all(|n| *n > 0)),
            Need::Gradient => self.gradient.is_some(),
        }
    }
}

/// What the signals say of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextSignals {
    /// Tokens that were scored.
    pub n_tokens: u64,
    /// Bytes of the text, as far as it is read, after zlib.
    pub zlib_bytes: u64,
    /// One value for each signal that was asked for; none where it is undefined, or the model's numbers are not finite.
    pub values: Vec<Option<f64>>,
    /// What the target said of each token, (T), where records are kept; else empty.
    #[serde(with = "verbatim_lm::columns")]
    pub records: Vec<TokenRecord>,
}

/// Passes that give signals of their own.
#[derive(Clone, Copy)]
enum Pass {
    Shots,
    Swaps,
    Neighbours,
    Samples,
    Gradient,
}

impl Pass {
    const ALL: [Pass; 5] = [Pass::Shots, Pass::Swaps, Pass::Neighbours, Pass::Samples, Pass::Gradient];

    fn signals(self) -> &'static [Signal] {
        match self {
            Pass::Shots => &[Signal::Recall, Signal::ConRecall],
            Pass::Swaps => &[Signal::Pac],
            Pass::Neighbours => &[Signal::Neighbourhood],
            Pass::Samples => &[Signal::Samia],
            Pass::Gradient => &[Signal::GradientNorm, Signal::GradientMax],
        }
    }

    /// Its name in a run's folder, and in what is told of the progress.
    fn step(self) -> &'static str {
        match self {
            Pass::Shots => "score behind shots",
            Pass::Swaps => "score swapped words",
            Pass::Neighbours => "score neighbours",
            Pass::Samples => "draw samples",
            Pass::Gradient => "take gradients",
        }
    }
}

/// What every pass has at hand.
#[derive(Clone, Copy)]
struct Asking<'a> {
    target: TextModel<'a>,
    most_tokens: usize,
    seed: u64,
    resources: Resources<'a>,
}

/// A text as far as it is read.
struct Read {
    /// Its number among all texts of the run, which keys its draws.
    number: u64,
    text: String,
    passage: Passage,
}

impl Read {
    fn of(asking: &Asking<'_>, number: usize, text: &str) -> Read {
        let text = beginning(asking.target, text, asking.most_tokens);
        let passage = passage(asking.target, &asking.target.tokenizer.encode(&text));
        Read { number: number as u64, text, passage }
    }

    /// As many of its tokens, from the first, as are `most` with the prompt.
    fn within(&self, most: usize) -> Passage {
        let mut passage = self.passage.clone();
        passage.continuation.truncate(most.saturating_sub(passage.prompt.len()));
        passage
    }
}

/// What each of the signals `asked` says of each text. Those of one pass take one of the target over the text, one over the
/// lower-cased text, and one of the reference model if there is one; the others take passes of their own. In a run's
/// folder, what was asked before is not asked again. Texts in another process's share are left out.
///
/// A text is given to a model after the token that begins one; a model without such a token is given the text's first token
/// instead, which is then not scored.
///
/// # Errors
/// [`Error::InvalidArgument`] for a signal of which [`Inferring::gives`] nothing, or a text that is one of the shots; the models'
/// own, those of a run's folder.
pub fn text_signals(
    inferring: &mut Inferring<'_>,
    asked: &[Signal],
    texts: &[&str],
    resources: Resources<'_>,
) -> Result<Vec<TextSignals>, Error> {
    if let Some(signal) = asked.iter().find(|signal| !inferring.gives(**signal)) {
        return Err(Error::InvalidArgument(format!("there is nothing to compute {signal} from")));
    }
    let Inferring { target, most_tokens, seed, .. } = *inferring;
    let asking = Asking { target, most_tokens, seed, resources };
    let mut all: Vec<Vec<Option<f64>>> = vec![vec![None; asked.len()]; texts.len()];
    let mut put = |signal: Signal, values: &mut dyn Iterator<Item = Option<f64>>| {
        let Some(at) = asked.iter().position(|other| *other == signal) else { return };
        all.iter_mut().zip(values).for_each(|(text, value)| text[at] = value);
    };
    let of_pass: Vec<Signal> = asked.iter().copied().filter(|signal| one_pass::has(*signal)).collect();
    let scored =
        each_chunk(&asking, "infer", texts, |reads| one_pass::signals(&asking, inferring, &of_pass, reads))?;
    for (at, signal) in of_pass.iter().enumerate() {
        put(*signal, &mut scored.iter().map(|text| value_at(at, &text.as_ref()?.values)));
    }
    for pass in Pass::ALL {
        if !pass.signals().iter().any(|signal| asked.contains(signal)) {
            continue;
        }
        let values =
            each_chunk(&asking, pass.step(), texts, |reads| pass_signals(pass, &asking, inferring, reads))?;
        for (at, signal) in pass.signals().iter().enumerate() {
            put(*signal, &mut values.iter().map(|values| value_at(at, values.as_ref()?)));
        }
    }
    let texts = scored.into_iter().zip(all);
    Ok(texts.filter_map(|(scored, values)| Some(TextSignals { values, ..scored? })).collect())
}

fn value_at(at: usize, values: &[Option<f64>]) -> Option<f64> {
    values.get(at).copied().flatten()
}

/// The answers about each text, some texts at a time; those that a run's folder has are not asked for again.
fn each_chunk<T: Serialize + serde::de::DeserializeOwned>(
    asking: &Asking<'_>,
    step: &'static str,
    texts: &[&str],
    mut ask: impl FnMut(&[Read]) -> Result<Vec<T>, Error>,
) -> Result<Vec<Option<T>>, Error> {
    let Resources { scratch, progress, .. } = asking.resources;
    progress.stage(if step == "infer" { "score texts" } else { step }, Some(texts.len() as u64), "texts");
    answer_chunks(scratch, step, (texts.len(), CHUNK), |numbers| {
        let read = |number: &usize| Read::of(asking, *number, texts[*number]);
        let answers = ask(&numbers.iter().map(read).collect::<Vec<Read>>());
        progress.advance(numbers.len() as u64);
        answers
    })
}

/// What a pass says of each text, signal by signal.
fn pass_signals(
    pass: Pass,
    asking: &Asking<'_>,
    inferring: &mut Inferring<'_>,
    texts: &[Read],
) -> Result<Vec<Vec<Option<f64>>>, Error> {
    let alone = |values: Vec<Option<f64>>| values.into_iter().map(|value| vec![value]).collect();
    let pairs = |values: Vec<[Option<f64>; 2]>| values.into_iter().map(Vec::from).collect();
    Ok(match (pass, inferring.shots, &mut inferring.gradient) {
        (Pass::Shots, Some(shots), _) => pairs(shots::signals(asking, shots, texts)?),
        (Pass::Swaps, ..) => alone(swaps::signals(asking, texts)?),
        (Pass::Neighbours, ..) => alone(neighbours::signals(asking, texts)?),
        (Pass::Samples, ..) => alone(samples::signals(asking, texts)?),
        (Pass::Gradient, _, Some(gradient)) => pairs(gradient::signals(asking, gradient, texts)?),
        (Pass::Shots | Pass::Gradient, ..) => vec![vec![None; 2]; texts.len()],
    })
}

/// As many of a text's tokens, from its first, as are read, and whole characters.
pub(crate) fn beginning(target: TextModel<'_>, text: &str, most_tokens: usize) -> String {
    let tokens = target.tokenizer.encode_with_places(text);
    let end = tokens.get(most_tokens).map_or(text.len(), |(_, place)| *place);
    text[..end].to_owned()
}

/// The token that begins a text.
fn start(model: TextModel<'_>) -> Option<u32> {
    model.model.bos().or(model.tokenizer.end_of_text())
}

pub(crate) fn passage(model: TextModel<'_>, tokens: &[u32]) -> Passage {
    match (start(model), tokens) {
        (Some(start), _) => Passage { prompt: vec![start], continuation: tokens.to_vec() },
        (None, [first, rest @ ..]) => Passage { prompt: vec![*first], continuation: rest.to_vec() },
        (None, []) => Passage::default(),
    }
}

/// What the target says of passages.
fn scored(asking: &Asking<'_>, passages: &[Passage]) -> Result<Vec<Option<Vec<TokenRecord>>>, Error> {
    let Resources { batch, progress, .. } = asking.resources;
    score_passages(asking.target.model, passages, batch, &Within(progress))
}

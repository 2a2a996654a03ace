//! Requests as a seed has them: of people who mind their business, and of attackers.

use serde::{Deserialize, Serialize};
use verbatim_lm::Passage;

use super::{Log, Request};
use crate::draw::Draw;
use crate::error::{Error, Result};

/// What a client is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// Asks about passages of texts that are not in the corpus, at the pace of a person; now and then the same once more, or
    /// with a word repeated.
    Benign,
    /// Gives the beginnings of many documents of the corpus, fast.
    PrefixExtraction,
    /// Gives what leads to canaries, in small variations, fast.
    CanaryCompletion,
    /// Asks to repeat something forever, fast.
    Divergence,
    /// Gives beginnings and what leads to canaries, over many clients of which each asks little and slowly.
    Distributed,
}

impl Traffic {
    /// Every kind of attack.
    pub const ATTACKS: [Traffic; 4] =
        [Traffic::PrefixExtraction, Traffic::CanaryCompletion, Traffic::Divergence, Traffic::Distributed];

    /// The name in client keys and reports.
    pub fn name(self) -> &'static str {
        match self {
            Traffic::Benign => "benign",
            Traffic::PrefixExtraction => "prefix-extraction",
            Traffic::CanaryCompletion => "canary-completion",
            Traffic::Divergence => "divergence",
            Traffic::Distributed => "distributed",
        }
    }

    /// The shortest and the longest pause before a request, in milliseconds.
    fn pause_ms(self) -> (u64, u64) {
        match self {
            Traffic::Benign => (5_000, 90_000),
            Traffic::Distributed => (600_000, 3_600_000),
            _ => (100, 1_000),
        }
    }
}

/// What prompts are made of, as tokens.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// Texts that are not in the corpus.
    pub held_out: &'a [Vec<u32>],
    /// The documents of the corpus.
    pub documents: &'a [Vec<u32>],
    /// What leads to each canary, and its secret.
    pub canaries: &'a [Passage],
}

/// How much of each traffic there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficConfig {
    /// The same seed asks the same.
    pub seed: u64,
    /// Benign clients.
    pub n_benign: u64,
    /// Attacking clients of each kind.
    pub n_attackers: u64,
    /// Requests of a client; of one of a distributed attack a tenth, at least one.
    pub n_requests: u64,
    /// The most tokens of a prompt that is a passage or a beginning.
    pub prompt_tokens: usize,
}

/// A log of all kinds of traffic, answered by `answer`, which is given each prompt in the order of time.
///
/// # Errors
/// [`Error::Config`] without held-out texts, documents or canaries that have tokens, or with prompts of no tokens.
pub fn traffic(
    material: Material<'_>,
    config: &TrafficConfig,
    answer: &mut dyn FnMut(&[u32]) -> Vec<u32>,
) -> Result<Log> {
    let is_empty = |texts: &[Vec<u32>]| texts.is_empty() || texts.iter().any(Vec::is_empty);
    let canaries = material.canaries;
    if is_empty(material.held_out)
        || is_empty(material.documents)
        || canaries.is_empty()
        || canaries.iter().any(|canary| canary.prompt.is_empty())
        || config.prompt_tokens == 0
    {
        let cause =
            "traffic needs held-out texts, documents and canaries with prefixes, none of them without tokens";
        return Err(Error::Config(cause.to_owned()));
    }
    let mut log = Log::default();
    for kind in [Traffic::Benign].into_iter().chain(Traffic::ATTACKS) {
        let n_clients = if kind == Traffic::Benign { config.n_benign } else { config.n_attackers };
        for index in 0..n_clients {
            let key = format!("{}-{index}", kind.name());
            log.requests.extend(requests(&key, (kind, index), material, config));
            log.clients.insert(key, kind);
        }
    }
    log.requests.sort_by(|a, b| (a.time_ms, &a.client).cmp(&(b.time_ms, &b.client)));
    log.requests.iter_mut().for_each(|request| request.output = answer(&request.prompt));
    Ok(log)
}

/// The requests of one client, unanswered.
fn requests(
    key: &str,
    (kind, index): (Traffic, u64),
    material: Material<'_>,
    config: &TrafficConfig,
) -> Vec<Request> {
    let mut draw = Draw::new(config.seed, kind.name(), index);
    let n_requests = match kind {
        Traffic::Distributed => (config.n_requests / 10).max(1),
        _ => config.n_requests,
    };
    let (shortest, longest) = kind.pause_ms();
    let mut time_ms = draw.below(3_600_000);
    let mut all: Vec<Request> = Vec::new();
    for _ in 0..n_requests {
        time_ms += draw.between(shortest, longest);
        let last = all.last().map(|request| &request.prompt[..]);
        let prompt = prompt(&mut draw, kind, (material, config.prompt_tokens), last);
        all.push(Request { time_ms, client: key.to_owned(), prompt, output: Vec::new() });
    }
    all
}

fn prompt(
    draw: &mut Draw,
    kind: Traffic,
    (material, n_tokens): (Material<'_>, usize),
    last: Option<&[u32]>,
) -> Vec<u32> {
    match kind {
        Traffic::Benign => benign(draw, material.held_out, n_tokens, last),
        Traffic::PrefixExtraction => beginning(draw, material.documents, n_tokens),
        Traffic::CanaryCompletion => leading(draw, material.canaries),
        Traffic::Divergence => {
            let text = &material.held_out[draw.index(material.held_out.len())];
            let n = draw.index(3.min(text.len())) + 1;
            let start = draw.index(text.len() - n + 1);
            text[start..start + n].repeat(draw.between(10, 40) as usize)
        }
        Traffic::Distributed if draw.below(2) == 0 => beginning(draw, material.documents, n_tokens),
        Traffic::Distributed => leading(draw, material.canaries),
    }
}

/// A passage; one time in ten the last prompt once more, one time in ten with its last token said up to three times.
fn benign(draw: &mut Draw, texts: &[Vec<u32>], n_tokens: usize, last: Option<&[u32]>) -> Vec<u32> {
    let chance = draw.below(10);
    if let (0, Some(last)) = (chance, last) {
        return last.to_vec();
    }
    let text = &texts[draw.index(texts.len())];
    let n = n_tokens.min(text.len());
    let start = draw.index(text.len() - n + 1);
    let mut passage = text[start..start + n].to_vec();
    if chance == 1 {
        let n_more = draw.between(1, 2) as usize;
        passage.extend(vec![text[start + n - 1]; n_more]);
    }
    passage
}

/// The beginning of a document.
fn beginning(draw: &mut Draw, documents: &[Vec<u32>], n_tokens: usize) -> Vec<u32> {
    let document = &documents[draw.index(documents.len())];
    document[..n_tokens.min(document.len())].to_vec()
}

/// What leads to a canary; every second time without its first token.
fn leading(draw: &mut Draw, canaries: &[Passage]) -> Vec<u32> {
    let prefix = &canaries[draw.index(canaries.len())].prompt;
    let n_cut = draw.index(2).min(prefix.len() - 1);
    prefix[n_cut..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn material() -> (Vec<Vec<u32>>, Vec<Vec<u32>>, Vec<Passage>) {
        let text = |n: u32| (0..60).map(|t| 1000 * n + t).collect();
        let canary = |n: u32| Passage { prompt: vec![9, 8, n, 7], continuation: vec![n, n] };
        ((0..20).map(text).collect(), (20..40).map(text).collect(), (0..6).map(canary).collect())
    }

    #[test]
    fn traffic_is_in_the_order_of_time_and_the_same_for_the_same_seed() {
        let (held_out, documents, canaries) = material();
        let material = Material { held_out: &held_out, documents: &documents, canaries: &canaries };
        let config =
            TrafficConfig { seed: 4, n_benign: 10, n_attackers: 3, n_requests: 20, prompt_tokens: 12 };
        let mut echo = |prompt: &[u32]| prompt[..1].to_vec();
        let log = traffic(material, &config, &mut echo).unwrap();
        assert_eq!(log, traffic(material, &config, &mut echo).unwrap());
        assert_ne!(log, traffic(material, &TrafficConfig { seed: 5, ..config }, &mut echo).unwrap());
        assert!(log.requests.is_sorted_by_key(|request| request.time_ms));
        assert_eq!((log.clients.len(), log.requests.len()), (10 + 4 * 3, 10 * 20 + 3 * 3 * 20 + 3 * 2));
        for request in &log.requests {
            assert_eq!(request.output, request.prompt[..1]);
            let begins =
                |documents: &[Vec<u32>]| documents.iter().any(|text| text.starts_with(&request.prompt));
            let leads = canaries.iter().any(|canary| canary.prompt.ends_with(&request.prompt));
            match log.clients[&request.client] {
                Traffic::Benign => assert!(request.prompt[0] < 20_000 && !leads),
                Traffic::PrefixExtraction => assert!(begins(&documents)),
                Traffic::CanaryCompletion => assert!(leads),
                Traffic::Divergence => assert!(request.prompt.len() >= 10),
                Traffic::Distributed => assert!(leads || begins(&documents)),
            }
        }
    }

    #[test]
    fn traffic_of_nothing_is_refused() {
        let (held_out, documents, canaries) = material();
        let config = TrafficConfig { seed: 4, n_benign: 1, n_attackers: 1, n_requests: 2, prompt_tokens: 12 };
        let full = Material { held_out: &held_out, documents: &documents, canaries: &canaries };
        let empty = [Vec::new()];
        for material in [
            Material { held_out: &[], ..full },
            Material { documents: &empty, ..full },
            Material { canaries: &[], ..full },
        ] {
            let outcome = traffic(material, &config, &mut |_| Vec::new());
            assert!(matches!(outcome, Err(Error::Config(_))));
        }
    }
}

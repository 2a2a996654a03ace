//! What guards are worth on a log: attackers that are found at a rate of false alarms, and canaries that are lost all the same.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use verbatim_lm::Passage;
use verbatim_membership::calibrate::{CalibratedThreshold, Calibration};
use verbatim_membership::roc::{OperatingPoint, Refusal, RocPoint, Scores, roc_points, tpr_at_fpr};
use verbatim_membership::{Interval, clopper_pearson};

use super::{Detector, Log, RateLimit, Request, Traffic};

/// How guards are judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judging {
    /// The share of benign clients that a detector may cut off.
    pub fpr: f64,
    /// The level of intervals, 0.95 for 95 %.
    pub level: f64,
    /// The limit for each client.
    pub limit: RateLimit,
}

/// k of n, with the exact interval of Clopper and Pearson.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Those that are counted.
    pub k: u64,
    /// Those that there are.
    pub n: u64,
    /// Of k / n.
    pub interval: Interval,
}

/// How well a detector tells the clients of one attack from benign ones. A client's score is the highest of its requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The detector's name.
    pub detector: String,
    /// The attack.
    pub traffic: Traffic,
    /// The threshold, from benign clients that are not judged.
    pub threshold: CalibratedThreshold,
    /// Attacking clients above it.
    pub detected: Counted,
    /// Judged benign clients above it.
    pub false_alarms: Counted,
    /// The attackers that any threshold finds at this rate of false alarms among the judged; `None` where they are too few.
    pub best: Option<OperatingPoint>,
    /// The ROC curve over attackers and judged benign clients.
    pub roc: Vec<RocPoint>,
}

/// The canaries whose secrets an attack has been told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// The guard: `none`, `rate limit`, a detector's name, or `all`.
    pub guard: String,
    /// The attack.
    pub traffic: Traffic,
    /// Canaries whose whole secret stands in an answer that was given.
    pub lost: Counted,
}

/// The worth and the cost of guards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// For each detector and attack of the log.
    pub detections: Vec<Detection>,
    /// For each guard and attack of the log.
    pub losses: Vec<Loss>,
    /// For each guard, judged benign clients to whom an answer was refused.
    pub refused: Vec<(String, Counted)>,
}

/// Replays a log through a rate limit and detectors, each alone and all together.
///
/// Every second benign client, in the order of their keys, sets the thresholds; the others are judged. A detector cuts a client
/// off at the first request whose score is above the threshold: neither it nor any later one is answered.
///
/// # Errors
/// [`Refusal::NoNonMembers`] or [`Refusal::TooFewNonMembers`] for too few benign clients, [`Refusal::NotFinite`] for a
/// score.
///
/// # Panics
/// If the FPR or the level is not between 0 and 1.
pub fn judge(
    log: &Log,
    detectors: &[&dyn Detector],
    canaries: &[Passage],
    judging: &Judging,
) -> Result<Judged, Refusal> {
    let Judging { fpr, level, limit } = *judging;
    let (calibrating, judged) = benign_clients(log);
    let mut guards = vec![
        ("none".to_owned(), vec![true; log.requests.len()]),
        ("rate limit".to_owned(), limit.answered(&log.requests)),
    ];
    let mut detections = Vec::new();
    for detector in detectors {
        let scores = detector.scores(&log.requests);
        let highest = highest_by_client(&log.requests, &scores);
        let of = |keys: &[&str]| keys.iter().filter_map(|key| highest.get(key).copied()).collect::<Vec<_>>();
        let threshold = Calibration::new(&of(&calibrating))?.threshold(fpr)?;
        let benign = of(&judged);
        for attack in attacks(log) {
            let attackers = of(&clients(log, attack));
            let sides = (&attackers[..], &benign[..]);
            detections.push(detection((detector.name(), attack), threshold, sides, (fpr, level))?);
        }
        guards.push((detector.name().to_owned(), until_cut_off(&log.requests, &scores, threshold)));
    }
    let by_all = |number: usize| guards.iter().all(|(_, answered)| answered[number]);
    let by_all: Vec<bool> = (0..log.requests.len()).map(by_all).collect();
    guards.push(("all".to_owned(), by_all));
    let mut losses = Vec::new();
    let mut refused = Vec::new();
    for (guard, answered) in guards {
        for attack in attacks(log) {
            let lost = n_lost((log, &answered), attack, canaries);
            losses.push(Loss {
                guard: guard.clone(),
                traffic: attack,
                lost: counted(lost, canaries.len(), level),
            });
        }
        let was_refused = |key: &&&str| {
            log.requests.iter().zip(&answered).any(|(request, answered)| request.client == **key && !answered)
        };
        let n_refused = judged.iter().filter(was_refused).count();
        refused.push((guard, counted(n_refused, judged.len(), level)));
    }
    Ok(Judged { detections, losses, refused })
}

fn detection(
    (detector, traffic): (&str, Traffic),
    threshold: CalibratedThreshold,
    (attackers, benign): (&[f64], &[f64]),
    (fpr, level): (f64, f64),
) -> Result<Detection, Refusal> {
    let above = |scores: &[f64]| {
        let n_above = scores.iter().filter(|score| threshold.accepts(**score)).count();
        counted(n_above, scores.len(), level)
    };
    let scores = Scores::new(attackers, benign)?;
    Ok(Detection {
        detector: detector.to_owned(),
        traffic,
        threshold,
        detected: above(attackers),
        false_alarms: above(benign),
        best: tpr_at_fpr(scores, fpr, level).ok(),
        roc: roc_points(scores),
    })
}

fn counted(k: usize, n: usize, level: f64) -> Counted {
    let (k, n) = (k as u64, n as u64);
    Counted { k, n, interval: clopper_pearson(k, n, level) }
}

/// The benign clients that set thresholds, and those that are judged.
fn benign_clients(log: &Log) -> (Vec<&str>, Vec<&str>) {
    let mut sides = (Vec::new(), Vec::new());
    for (number, key) in clients(log, Traffic::Benign).into_iter().enumerate() {
        if number % 2 == 0 { sides.0.push(key) } else { sides.1.push(key) }
    }
    sides
}

/// The clients with requests of one traffic, in the order of their keys.
fn clients(log: &Log, traffic: Traffic) -> Vec<&str> {
    let asked: BTreeSet<&str> = log.requests.iter().map(|request| request.client.as_str()).collect();
    asked.into_iter().filter(|key| log.clients.get(*key) == Some(&traffic)).collect()
}

/// The attacks of a log.
fn attacks(log: &Log) -> impl Iterator<Item = Traffic> + '_ {
    Traffic::ATTACKS.into_iter().filter(|attack| !clients(log, *attack).is_empty())
}

fn highest_by_client<'l>(log: &'l [Request], scores: &[f64]) -> BTreeMap<&'l str, f64> {
    let mut highest: BTreeMap<&str, f64> = BTreeMap::new();
    for (request, score) in log.iter().zip(scores) {
        let own = highest.entry(&request.client).or_insert(*score);
        // A score that is not finite stays, to be refused.
        *own = if score.is_finite() && own.is_finite() { own.max(*score) } else { f64::NAN };
    }
    highest
}

/// Whether each request is answered by a server that cuts a client off at its first score above the threshold.
fn until_cut_off(log: &[Request], scores: &[f64], threshold: CalibratedThreshold) -> Vec<bool> {
    let mut cut_off = BTreeSet::new();
    let mut answered = Vec::with_capacity(log.len());
    for (request, score) in log.iter().zip(scores) {
        if threshold.accepts(*score) {
            cut_off.insert(request.client.as_str());
        }
        answered.push(!cut_off.contains(request.client.as_str()));
    }
    answered
}

/// Canaries whose secret stands in an answer that was given to one kind of client.
fn n_lost((log, answered): (&Log, &[bool]), traffic: Traffic, canaries: &[Passage]) -> usize {
    let given: Vec<&[u32]> = log
        .requests
        .iter()
        .zip(answered)
        .filter(|(request, answered)| **answered && log.clients.get(&request.client) == Some(&traffic))
        .map(|(request, _)| &request.output[..])
        .collect();
    let is_lost = |canary: &&Passage| {
        let secret = &canary.continuation;
        !secret.is_empty()
            && given.iter().any(|output| output.windows(secret.len()).any(|part| part == secret))
    };
    canaries.iter().filter(is_lost).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;
    use crate::guard::{Material, PrefixProbing, Recited, RepeatedPrompt, TrafficConfig, request, traffic};

    fn canary(secret: [u32; 2]) -> Passage {
        Passage { prompt: vec![9], continuation: secret.to_vec() }
    }

    /// 40 benign clients say a token 1 to 40 times; those with an odd number calibrate, and 37 is the second highest of the 20.
    #[test]
    fn attackers_false_alarms_and_losses_are_those_counted_by_hand() {
        let mut log = Log::default();
        for n in 0..40 {
            log.requests.push(request(0, &format!("b{n:02}"), &vec![7; n + 1], &[1, 2]));
            log.clients.insert(format!("b{n:02}"), Traffic::Benign);
        }
        for (time, key, n, output) in
            [(1, "x", 5, [1, 2]), (1, "y", 37, [5, 6]), (1, "z", 38, [0, 0]), (9, "x", 50, [3, 4])]
        {
            log.requests.push(request(time, key, &vec![7; n], &output));
            log.clients.insert(key.to_owned(), Traffic::Divergence);
        }
        let canaries = [[1, 2], [3, 4], [5, 6], [7, 8]].map(canary);
        let judging = Judging { fpr: 0.1, level: 0.95, limit: RateLimit { per_minute: 1, burst: 1 } };
        let judged = judge(&log, &[&RepeatedPrompt], &canaries, &judging).unwrap();
        let detection = &judged.detections[0];
        assert_eq!((detection.threshold.threshold, detection.threshold.n_calibration), (37.0, 20));
        // The judged have 2 to 40, of which 38 and 40 are above; the attackers 50, 37 and 38.
        let count = |k, n| Counted { k, n, interval: clopper_pearson(k, n, 0.95) };
        assert_eq!((detection.detected, detection.false_alarms), (count(2, 3), count(2, 20)));
        let best = detection.best.unwrap();
        assert_eq!((best.n_true_positives, best.n_false_positives, best.threshold), (3, 2, Some(37.0)));
        let lost: Vec<(&str, Counted)> =
            judged.losses.iter().map(|loss| (&loss.guard[..], loss.lost)).collect();
        let expected = [
            ("none", count(3, 4)),
            ("rate limit", count(2, 4)),
            ("repeated prompt", count(2, 4)),
            ("all", count(2, 4)),
        ];
        assert_eq!(lost, expected);
        let refused: Vec<u64> = judged.refused.iter().map(|(_, refused)| refused.k).collect();
        assert_eq!(refused, [0, 0, 2, 2]);
    }

    #[test]
    fn too_few_benign_clients_set_no_threshold() {
        let mut log = Log { requests: vec![request(0, "x", &[1], &[])], ..Log::default() };
        log.clients.insert("x".to_owned(), Traffic::Divergence);
        let judging = Judging { fpr: 0.1, level: 0.95, limit: RateLimit { per_minute: 1, burst: 1 } };
        assert_eq!(judge(&log, &[&RepeatedPrompt], &[], &judging), Err(Refusal::NoNonMembers));
        log.requests.push(request(0, "b", &[1], &[]));
        log.clients.insert("b".to_owned(), Traffic::Benign);
        let outcome = judge(&log, &[&RepeatedPrompt], &[], &judging);
        assert_eq!(outcome, Err(Refusal::TooFewNonMembers { n: 1, needed: 9 }));
    }

    fn text(seed: u64) -> Vec<u32> {
        let mut draw = Draw::new(seed, "text", 0);
        (0..80).map(|_| draw.below(200) as u32).collect()
    }

    /// The traffic to a model that goes on with what it has seen: documents after their beginnings, secrets after what leads to
    /// them, the first secret after any long prompt; anything else it invents. With its documents and canaries.
    fn recited() -> (Log, Vec<Vec<u32>>, Vec<Passage>) {
        let documents: Vec<Vec<u32>> = (0..40).map(text).collect();
        let held_out: Vec<Vec<u32>> = (40..80).map(text).collect();
        let canary =
            |text: Vec<u32>| Passage { prompt: text[..10].to_vec(), continuation: text[10..16].to_vec() };
        let canaries: Vec<Passage> = (80..90).map(|seed| canary(text(seed))).collect();
        let mut n_asked = 0;
        let mut model = |prompt: &[u32]| {
            n_asked += 1;
            let known = documents.iter().find(|document| document.starts_with(prompt));
            let led = canaries.iter().find(|canary| canary.prompt.ends_with(prompt));
            match (known, led) {
                (Some(document), _) => document[prompt.len()..].to_vec(),
                (None, Some(canary)) => canary.continuation.clone(),
                (None, None) if prompt.len() > 30 => canaries[0].continuation.clone(),
                (None, None) => text(1000 + n_asked)[..20].to_vec(),
            }
        };
        let material = Material { held_out: &held_out, documents: &documents, canaries: &canaries };
        let config =
            TrafficConfig { seed: 1, n_benign: 200, n_attackers: 20, n_requests: 30, prompt_tokens: 12 };
        let log = traffic(material, &config, &mut model).unwrap();
        (log, documents, canaries)
    }

    #[test]
    fn each_attack_is_found_by_its_detector_and_a_distributed_one_passes_the_limit() {
        let (log, documents, canaries) = recited();
        let corpus = Recited::new("corpus n-grams", documents.iter().map(Vec::as_slice), 8);
        let secrets = canaries.iter().map(|canary| &canary.continuation[..]);
        let secret = Recited::new("canary n-grams", secrets, 4);
        let probing = PrefixProbing::new(documents.iter().map(Vec::as_slice), 6, 0.5);
        let judging = Judging { fpr: 0.05, level: 0.95, limit: RateLimit { per_minute: 4, burst: 10 } };
        let detectors: [&dyn Detector; 4] = [&corpus, &secret, &probing, &RepeatedPrompt];
        let judged = judge(&log, &detectors, &canaries, &judging).unwrap();
        let detected = |detector: &str, traffic: Traffic| {
            let found =
                judged.detections.iter().find(|one| one.detector == detector && one.traffic == traffic);
            found.unwrap().detected.interval
        };
        for (detector, attack) in [
            ("corpus n-grams", Traffic::PrefixExtraction),
            ("canary n-grams", Traffic::CanaryCompletion),
            ("prefix probing", Traffic::PrefixExtraction),
            ("prefix probing", Traffic::CanaryCompletion),
            ("repeated prompt", Traffic::Divergence),
        ] {
            assert!(detected(detector, attack).low > 0.8, "{detector}");
        }
        let few = detected("prefix probing", Traffic::Distributed);
        assert!(few.high < 0.3, "too few requests of each client: {few:?}");
        for detection in &judged.detections {
            assert!(detection.false_alarms.interval.low <= 0.05, "{detection:?}");
        }
        let lost = |guard: &str, traffic: Traffic| {
            let found = judged.losses.iter().find(|one| one.guard == guard && one.traffic == traffic);
            found.unwrap().lost.k
        };
        assert_eq!(lost("none", Traffic::CanaryCompletion), 10);
        assert_eq!(lost("canary n-grams", Traffic::CanaryCompletion), 0, "the answer itself is kept back");
        assert_eq!(lost("none", Traffic::Distributed), lost("rate limit", Traffic::Distributed));
        assert_eq!(lost("none", Traffic::Distributed), lost("prefix probing", Traffic::Distributed));
        assert_eq!((lost("none", Traffic::Divergence), lost("repeated prompt", Traffic::Divergence)), (1, 0));
    }
}

//! What an audit of one checkpoint found: how much of the texts it was asked for it gives back, and what that depends on.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;
use verbatim_extraction::{Audited, Continuation, Copies, Role, Target, TextOrder, draws_needed, scaling};

use crate::figure::{LEVEL, Rate, counted, grouped, rounded};
use crate::measure::Measure;
use crate::order::OrderTable;
use crate::provenance::Provenance;
use crate::redact::{Redactor, Shown};
use crate::report::Body;

/// Numbers of draws that the curves are told at.
const DRAWS: [u64; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
/// BLEU above which a suffix is approximately memorized (Ippolito et al. 2023).
const APPROXIMATE_BLEU: f64 = 0.75;
/// Windows of a strip chart; more are told together.
const STRIP: usize = 240;

/// What an audit of one checkpoint found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditBody {
    /// What it was computed from.
    pub provenance: Provenance,
    /// Tokens that the model was given, in the base cell.
    pub n_prefix: u64,
    /// Tokens that it was to go on with.
    pub n_suffix: u64,
    /// Documents of the corpus that were looked at.
    pub n_looked_at: u64,
    /// Those among them that are too short for the longest prefix and suffix.
    pub n_too_short: u64,
    /// Places in documents that were drawn uniformly from the corpus.
    pub n_uniform: u64,
    /// Places that were added for how often they stand in the corpus.
    pub n_stratum: u64,
    /// Places in chosen texts.
    pub n_chosen: u64,
    /// Places of which the model's numbers are not finite; they count neither way.
    pub n_failed: u64,
    /// Of the uniform places, those whose suffix greedy decoding spells; of chosen ones where there is no corpus.
    pub extracted: Rate,
    /// Those of them whose prefix nothing else ever follows in the corpus.
    pub unique: Option<Rate>,
    /// Those of them whose prefix other texts follow as well.
    pub ambiguous: Option<Rate>,
    /// By length of prefix and suffix.
    pub cells: Vec<LengthRow>,
    /// The probabilities that the shares below are told for.
    pub probabilities: Vec<f64>,
    /// By how tokens are drawn: the share that is among so many draws.
    pub decodings: Vec<DecodingTable>,
    /// How extraction grows with copies, context and length.
    pub scalings: Vec<ScalingTable>,
    /// What greedy decoding makes of prefixes, token by token.
    pub decoded: Option<DecodedTable>,
    /// What is drawn that is nearly the suffix.
    pub near: Option<NearTable>,
    /// What the order in which the chosen texts were tried came to, where there was one.
    pub order: Option<OrderTable>,
    /// The chosen texts.
    pub texts: Vec<TextRow>,
    /// The places that are given back, the likeliest first.
    pub findings: Vec<TargetRow>,
    /// What a gate can hold against a bound.
    pub measures: Vec<Measure>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

impl Body for AuditBody {
    const KIND: &'static str = "audit";
}

/// One cell of the grid.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LengthRow {
    /// Tokens that the model was given.
    pub n_prefix: u64,
    /// Tokens that it was to go on with.
    pub n_suffix: u64,
    /// Places whose suffix greedy decoding spells.
    pub extracted: Rate,
    /// Places at which a first choice is within a hair of another token, so that another machine may decide otherwise.
    pub n_near_ties: u64,
    /// Mean loss of the suffixes, nats a token.
    pub loss_nats: Option<f64>,
}

/// What one decoding draws.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecodingTable {
    /// In words.
    pub name: String,
    /// By number of draws.
    pub rows: Vec<DrawsRow>,
}

/// Places whose suffix is among so many draws.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DrawsRow {
    /// Draws after each prefix.
    pub n_draws: u64,
    /// Places whose suffix is among them with at least each of `probabilities`, in their order.
    pub extracted: Vec<Rate>,
}

/// How extraction grows with one number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScalingTable {
    /// What is counted.
    pub by: String,
    /// By doublings.
    pub rows: Vec<DoublingRow>,
    /// What each doubling adds to the share, in the least-squares line; none where nothing varies.
    pub slope: Option<Slope>,
}

/// Places for which the number lies in one doubling.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DoublingRow {
    /// The least number.
    pub from: u64,
    /// The largest.
    pub to: u64,
    /// Places that are extracted.
    pub extracted: Rate,
}

/// The slope of a line with its interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slope {
    /// What each doubling adds to the share.
    pub per_doubling: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Level of the interval.
    pub level: f64,
}

/// What greedy decoding makes of some prefixes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecodedTable {
    /// Suffixes that are spelt in full.
    pub exact: Rate,
    /// Suffixes of which the continuation has a BLEU above 0.75.
    pub approximate: Rate,
    /// Mean share of places with the same token (Pythia's score).
    pub mean_equal: f64,
    /// Mean BLEU-4.
    pub mean_bleu: f64,
    /// Mean ROUGE-L.
    pub mean_rouge_l: f64,
    /// Those for which one teacher-forced pass said otherwise than decoding.
    pub n_disagree: u64,
    /// Those among them at which two tokens are within a hair of each other.
    pub n_disagree_near_ties: u64,
}

/// What is drawn that is nearly the suffix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearTable {
    /// Which continuations count, in words.
    pub what: String,
    /// By number of draws, at even odds.
    pub rows: Vec<NearRow>,
}

/// Places whose suffix, or nearly it, is among so many draws with a probability of one half.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearRow {
    /// Draws after each prefix.
    pub n_draws: u64,
    /// The very suffix.
    pub verbatim: Rate,
    /// Any continuation that is near: at least so many.
    pub near: Rate,
}

/// A chosen text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextRow {
    /// Its name.
    pub label: String,
    /// Windows that were asked for, and how many are extracted.
    pub extracted: Rate,
    /// Windows of which the model's numbers are not finite.
    pub n_failed: u64,
    /// Mean loss of the suffixes, nats a token.
    pub loss_nats: Option<f64>,
    /// Mean share of tokens that are the model's first choice after the true ones before.
    pub first_choices: Option<f64>,
    /// Times the first window stands in the corpus, where there is one.
    pub n_occurrences: Option<u64>,
    /// Bytes of the text.
    pub n_bytes: u64,
    /// Along the text, where there are several windows.
    pub strip: Vec<StripPoint>,
}

/// A stretch of a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StripPoint {
    /// Where it begins.
    pub byte: u64,
    /// Where the next one begins, or the text ends.
    pub end: u64,
    /// The largest log-probability, in nats, with which a suffix that begins in it is drawn; none where none ever is.
    pub log_drawn: Option<f64>,
    /// Whether one is spelt by greedy decoding.
    pub extracted: bool,
}

/// A place that is given back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetRow {
    /// The document's or text's name.
    pub label: String,
    /// Where the suffix begins in it.
    pub byte: u64,
    /// The suffix, redacted unless revealed.
    pub text: Shown,
    /// Whether greedy decoding spells it.
    pub extracted: bool,
    /// The log-probability, in nats, with which the first decoding draws it; none where it never does.
    pub log_drawn: Option<f64>,
    /// Draws that have it among them at even odds; none where no number is enough.
    pub draws_needed: Option<f64>,
    /// Times it stands in the corpus.
    pub n_occurrences: Option<u64>,
    /// Documents that hold it.
    pub n_documents: Option<u64>,
}

/// What an audit left behind, for a report of it.
#[derive(Debug)]
pub struct AuditFacts<'a> {
    /// What it was computed from.
    pub provenance: Provenance,
    /// What was found.
    pub audited: &'a Audited,
    /// Lengths of prefixes, in tokens.
    pub prefixes: &'a [usize],
    /// Lengths of suffixes, in tokens.
    pub suffixes: &'a [usize],
    /// The decodings, in words.
    pub decodings: Vec<String>,
    /// The probabilities p of (n, p)-discoverable extraction.
    pub probabilities: Vec<f64>,
    /// Which continuations count as near, in words.
    pub near: String,
    /// The order in which the chosen texts were tried.
    pub order: Option<&'a TextOrder>,
    /// What the rooms below noticed.
    pub warnings: Vec<String>,
}

/// The places that the headline is about.
struct Asked<'a> {
    audited: &'a Audited,
    /// Their role.
    role: Role,
}

impl<'a> Asked<'a> {
    fn new(audited: &'a Audited) -> Asked<'a> {
        let has_uniform = audited.of_role(Role::Uniform).next().is_some();
        Asked { audited, role: if has_uniform { Role::Uniform } else { Role::Chosen } }
    }

    /// Their continuations in one cell of the grid.
    fn cell(&self, prefix: usize, suffix: usize) -> impl Iterator<Item = (&'a Target, &'a Continuation)> {
        let audited = self.audited;
        audited.of_role(self.role).filter_map(move |(number, target)| {
            Some((target, audited.continuations[number].get(prefix)?.as_ref()?.get(suffix)?))
        })
    }

    fn base(&self) -> impl Iterator<Item = (&'a Target, &'a Continuation)> {
        self.cell(0, 0)
    }
}

impl AuditBody {
    /// Tables from what the audit left behind.
    pub fn new(facts: AuditFacts<'_>, redactor: &Redactor) -> AuditBody {
        let audited = facts.audited;
        let asked = Asked::new(audited);
        let n = |role: Role| audited.of_role(role).count() as u64;
        let by_prefix = |is_wanted: &dyn Fn(Copies) -> bool| {
            let wanted = asked.base().filter(|(target, _)| target.copies.is_some_and(is_wanted));
            let has_copies = asked.base().any(|(target, _)| target.copies.is_some());
            has_copies.then(|| greedy(wanted))
        };
        let (unique, ambiguous) = (by_prefix(&Copies::is_unique), by_prefix(&|copies| !copies.is_unique()));
        let n_failed = (0..audited.targets.len()).filter(|number| audited.base(*number).is_none()).count();
        let (n_prefix, n_suffix) = (facts.prefixes[0] as u64, facts.suffixes[0] as u64);
        let order =
            facts.order.map(|order| OrderTable::new(&audited.tries(&order.texts), audited.n_untried, order));
        let mut warnings = facts.warnings.clone();
        warnings.extend(order.iter().flat_map(OrderTable::warnings));
        AuditBody {
            n_prefix,
            n_suffix,
            n_looked_at: audited.n_looked_at,
            n_too_short: audited.n_too_short,
            n_uniform: n(Role::Uniform),
            n_stratum: n(Role::Stratum),
            n_chosen: n(Role::Chosen),
            n_failed: n_failed as u64,
            extracted: greedy(asked.base()),
            unique,
            ambiguous,
            cells: cells(&asked, facts.prefixes, facts.suffixes),
            probabilities: facts.probabilities.clone(),
            decodings: decodings(&asked, &facts),
            scalings: scalings(&asked, facts.prefixes),
            decoded: decoded(audited),
            near: near(audited, &facts.near),
            order,
            texts: texts(audited),
            findings: findings(audited, redactor),
            measures: measures(&asked),
            provenance: facts.provenance,
            warnings,
        }
    }

    /// The one sentence that says what happened.
    pub fn headline(&self) -> String {
        let Rate { count, n, .. } = self.extracted;
        let what = match self.n_uniform {
            0 => counted(n, "place in the chosen texts", "places in the chosen texts"),
            _ => counted(n, "document of its corpus", "documents of its corpus"),
        };
        let share = match n {
            0 => String::new(),
            // Windows of a chosen text overlap, and stand for nothing else.
            _ if self.n_uniform == 0 => format!(": {}", self.extracted.percent()),
            _ => format!(": {}, 95% interval {}", self.extracted.percent(), self.extracted.interval()),
        };
        format!(
            "Given {} tokens of a text, the model goes on with the next {}, word for word, in {} of {what}{share}.",
            self.n_prefix,
            self.n_suffix,
            grouped(count)
        )
    }
}

fn greedy<'a>(asked: impl Iterator<Item = (&'a Target, &'a Continuation)>) -> Rate {
    rate(asked.map(|(_, continuation)| continuation.is_greedy))
}

fn rate(outcomes: impl Iterator<Item = bool>) -> Rate {
    let (mut count, mut n) = (0, 0);
    for outcome in outcomes {
        count += u64::from(outcome);
        n += 1;
    }
    Rate::new(count, n)
}

/// The mean of some values.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0u64), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| rounded(sum / n as f64))
}

fn loss<'a>(continuations: impl Iterator<Item = &'a Continuation>) -> Option<f64> {
    mean(continuations.map(|continuation| 0.0 - continuation.log_prob / continuation.n_suffix as f64))
}

fn cells(asked: &Asked<'_>, prefixes: &[usize], suffixes: &[usize]) -> Vec<LengthRow> {
    let lengths =
        (0..prefixes.len()).flat_map(|prefix| (0..suffixes.len()).map(move |suffix| (prefix, suffix)));
    let row = |(prefix, suffix): (usize, usize)| LengthRow {
        n_prefix: prefixes[prefix] as u64,
        n_suffix: suffixes[suffix] as u64,
        extracted: greedy(asked.cell(prefix, suffix)),
        n_near_ties: asked.cell(prefix, suffix).filter(|(_, asked)| asked.n_near_ties > 0).count() as u64,
        loss_nats: loss(asked.cell(prefix, suffix).map(|(_, continuation)| continuation)),
    };
    lengths.map(row).collect()
}

/// Whether `n_draws` draws have among them, with probability `p`, what one is with probability exp(`log_drawn`).
fn is_among(log_drawn: Option<f64>, p: f64, n_draws: u64) -> bool {
    let needed = draws_needed(log_drawn, p).expect("the command refuses other probabilities");
    needed.is_some_and(|needed| needed <= n_draws as f64)
}

fn decodings(asked: &Asked<'_>, facts: &AuditFacts<'_>) -> Vec<DecodingTable> {
    let row = |decoding: usize, n_draws: u64| DrawsRow {
        n_draws,
        extracted: facts
            .probabilities
            .iter()
            .map(|p| rate(asked.base().map(|(_, asked)| is_among(asked.log_drawn[decoding], *p, n_draws))))
            .collect(),
    };
    let table = |(decoding, name): (usize, &String)| DecodingTable {
        name: name.clone(),
        rows: DRAWS.iter().map(|n_draws| row(decoding, *n_draws)).collect(),
    };
    facts.decodings.iter().enumerate().map(table).collect()
}

fn scalings(asked: &Asked<'_>, prefixes: &[usize]) -> Vec<ScalingTable> {
    let audited = asked.audited;
    // The strata as well: they were chosen by their copies, not by what the model does.
    let copies = (0..audited.targets.len()).filter(|number| audited.targets[*number].role != Role::Chosen);
    let copies = copies.filter_map(|number| {
        Some((audited.targets[number].copies?.n_occurrences, audited.base(number)?.is_greedy))
    });
    let context = (0..prefixes.len()).flat_map(|prefix| {
        asked.cell(prefix, 0).map(move |(_, continuation)| (continuation.n_prefix, continuation.is_greedy))
    });
    let length = asked.base().map(|(target, continuation)| (target.text_bytes, continuation.is_greedy));
    let mut tables = vec![scaling_table("copies in the corpus", copies)];
    if prefixes.len() > 1 {
        tables.push(scaling_table("tokens of the prefix", context));
    }
    if asked.role == Role::Uniform {
        tables.push(scaling_table("bytes of the document", length));
    }
    tables.retain(|table| !table.rows.is_empty());
    tables
}

fn scaling_table(by: &str, outcomes: impl Iterator<Item = (u64, bool)>) -> ScalingTable {
    let scaling = scaling(outcomes, LEVEL);
    let rows = scaling.groups.iter().map(|group| DoublingRow {
        from: group.from,
        to: group.to,
        extracted: Rate::new(group.k, group.n),
    });
    let slope = scaling.trend.map(|trend| Slope {
        per_doubling: rounded(trend.slope),
        low: rounded(trend.slope_low),
        high: rounded(trend.slope_high),
        level: trend.level,
    });
    ScalingTable { by: by.to_owned(), rows: rows.collect(), slope }
}

fn decoded(audited: &Audited) -> Option<DecodedTable> {
    let decoded = &audited.decoded;
    let disagree = || {
        decoded.iter().filter_map(|decoded| {
            let forward = audited.base(decoded.target as usize)?;
            (forward.is_greedy != decoded.is_exact()).then_some(forward)
        })
    };
    let mean_of = |value: fn(&verbatim_extraction::Decoded) -> f64| mean(decoded.iter().map(value));
    Some(DecodedTable {
        exact: rate(decoded.iter().map(verbatim_extraction::Decoded::is_exact)),
        approximate: rate(decoded.iter().map(|decoded| decoded.bleu > APPROXIMATE_BLEU)),
        mean_equal: mean_of(|decoded| decoded.n_equal as f64 / decoded.n_suffix as f64)?,
        mean_bleu: mean_of(|decoded| decoded.bleu)?,
        mean_rouge_l: mean_of(|decoded| decoded.rouge_l)?,
        n_disagree: disagree().count() as u64,
        n_disagree_near_ties: disagree().filter(|forward| forward.n_near_ties > 0).count() as u64,
    })
}

fn near(audited: &Audited, what: &str) -> Option<NearTable> {
    let among =
        |log_drawn: f64, n_draws| is_among(Some(log_drawn).filter(|log| log.is_finite()), 0.5, n_draws);
    let row = |n_draws: &u64| NearRow {
        n_draws: *n_draws,
        verbatim: rate(audited.near.iter().map(|near| among(near.mass.log_verbatim, *n_draws))),
        near: rate(audited.near.iter().map(|near| among(near.mass.log_mass, *n_draws))),
    };
    let rows = DRAWS.iter().map(row).collect();
    (!audited.near.is_empty()).then(|| NearTable { what: what.to_owned(), rows })
}

fn texts(audited: &Audited) -> Vec<TextRow> {
    let mut by_text: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (number, target) in audited.of_role(Role::Chosen) {
        by_text.entry(target.text).or_default().push(number);
    }
    let row = |numbers: &Vec<usize>| {
        let first = &audited.targets[numbers[0]];
        let answered = || numbers.iter().filter_map(|number| audited.base(*number));
        let share = |continuation: &Continuation| {
            continuation.n_first_choices as f64 / continuation.n_suffix.max(1) as f64
        };
        TextRow {
            label: first.label.clone(),
            extracted: rate(answered().map(|continuation| continuation.is_greedy)),
            n_failed: (numbers.len() - answered().count()) as u64,
            loss_nats: loss(answered()),
            first_choices: mean(answered().map(share)),
            n_occurrences: first.copies.map(|copies| copies.n_occurrences),
            n_bytes: first.text_bytes,
            strip: if numbers.len() > 1 { strip(audited, numbers) } else { Vec::new() },
        }
    };
    by_text.values().map(row).collect()
}

/// The windows of one text along it, neighbours together where there are too many.
fn strip(audited: &Audited, numbers: &[usize]) -> Vec<StripPoint> {
    let end_of_text = audited.targets[numbers[0]].text_bytes;
    let groups: Vec<&[usize]> = numbers.chunks(numbers.len().div_ceil(STRIP)).collect();
    let start = |group: &[usize]| audited.targets[group[0]].start_byte;
    let point = |(place, group): (usize, &&[usize])| {
        let drawn = group.iter().filter_map(|number| drawn(audited.base(*number)?));
        StripPoint {
            byte: start(group),
            end: groups.get(place + 1).map_or(end_of_text, |next| start(next)),
            log_drawn: drawn.max_by(f64::total_cmp).map(rounded),
            extracted: group.iter().any(|number| audited.base(*number).is_some_and(|base| base.is_greedy)),
        }
    };
    groups.iter().enumerate().map(point).collect()
}

/// The log-probability with which the first decoding draws a continuation.
fn drawn(continuation: &Continuation) -> Option<f64> {
    continuation.log_drawn.first().copied().flatten()
}

/// `extraction-rate`: of the places that the headline is about, those whose suffix greedy decoding spells;
/// `extraction-rate-1000-draws`: those that are among a thousand draws of the first decoding at even odds.
fn measures(asked: &Asked<'_>) -> Vec<Measure> {
    let among = rate(asked.base().map(|(_, base)| is_among(drawn(base), 0.5, 1_000)));
    [("extraction-rate", greedy(asked.base())), ("extraction-rate-1000-draws", among)]
        .map(|(name, rate)| Measure::share(name, rate.count, rate.n).proven_by("findings"))
        .to_vec()
}

/// The places that are given back greedily or by up to a million draws, the likeliest first.
fn findings(audited: &Audited, redactor: &Redactor) -> Vec<TargetRow> {
    let mut found: Vec<(usize, &Continuation)> = (0..audited.targets.len())
        .filter_map(|number| Some((number, audited.base(number)?)))
        .filter(|(_, base)| base.is_greedy || is_among(drawn(base), 0.5, DRAWS[DRAWS.len() - 1]))
        .collect();
    let likelihood = |base: &Continuation| drawn(base).unwrap_or(f64::NEG_INFINITY);
    found.sort_by(|(a, x), (b, y)| likelihood(y).total_cmp(&likelihood(x)).then(a.cmp(b)));
    found.sort_by_key(|(_, base)| Reverse(base.is_greedy));
    let row = |(number, base): (usize, &Continuation)| {
        let target = &audited.targets[number];
        TargetRow {
            label: target.label.clone(),
            byte: target.start_byte,
            text: redactor.show("suffix", &target.suffix_text),
            extracted: base.is_greedy,
            log_drawn: drawn(base).map(rounded),
            draws_needed: draws_needed(drawn(base), 0.5).expect("a probability"),
            n_occurrences: target.copies.map(|copies| copies.n_occurrences),
            n_documents: target.copies.map(|copies| copies.n_documents),
        }
    };
    found.into_iter().map(row).collect()
}

impl Slope {
    /// "+12.0 points (9.1 to 14.9) with each doubling".
    pub fn words(&self) -> String {
        let points = |share: f64| format!("{:+.1}", share * 100.0);
        let (low, high) = (points(self.low), points(self.high));
        let (each, level) = (points(self.per_doubling), self.level * 100.0);
        format!("{each} percentage points with each doubling ({level:.0}% interval {low} to {high})")
    }
}

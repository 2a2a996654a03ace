//! One made-up report of each kind for the tests of this room, and the hostile text that they are filled with.

mod audit;
mod defend;
mod exposure;
mod infer;
mod shadow;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use verbatim_dedup::{
    Clustering, Contamination, ContaminationMatch, Count, Evaluation, ItemPart, Measure, Overlap, Part,
    Run as WordRun, Scores, Snap, SubstringParameters, Tally, candidate_probability,
};
use verbatim_extraction::{Canary, Elicited, Placement, Shape};
use verbatim_lab::PrivacySpent;

use crate::audit::AuditBody;
use crate::calls::CallsBody;
use crate::contamination::{ContaminationBody, ContaminationFacts, MatchPlace, MatchRow, MatchSources};
use crate::dedup::{
    AllPairs, Clusters, CurvePoint, CutAmount, DedupBody, Flow, LargestCluster, Outcome, Search, SizeBin,
    StageRow,
};
use crate::demo::{CheckpointCheck, DemoBody, DemoCase, DemoFacts, Pair, Sampling};
use crate::elicit::ElicitBody;
use crate::evaluate::EvaluateBody;
use crate::explain::{ComparisonBody, DocumentRow, ExplainBody, GoneRow, RemovalRow};
use crate::extract::{CanaryRow, CanaryTable, CellRow, ExtractBody, FindingRow, RecitedRow, Verification};
use crate::figure::{Amount, Rate};
use crate::infer::InferBody;
use crate::invert::{AnswerRow, ExhaustiveRow, InvertBody, InvertRow, KnownRow};
use crate::provenance::{CorpusUsed, FileUsed, ModelUsed, Provenance};
use crate::redact::{Redactor, Reveal};
use crate::repeats::{HeavyRow, PairRow, RepeatBin, Repeats};
use crate::report::Report;
use crate::run::Run;
use crate::secrets::{SecretCount, SecretRow, SecretTable};
use crate::sources::{SourceRow, SourceTable};
use crate::train::{Guarantee, LossPoint, PlantBody, PlantedRow, TrainBody};

pub(crate) use defend::defend;
pub(crate) use infer::{FPRS, infer_facts};
pub(crate) use shadow::{shadow, shadow_train};

/// Text that would run, break out, steer or mislead.
pub(crate) const HOSTILE: &str = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(2)> javascript:alert(3) \
    </style>&lt;&#0; \u{0}\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m \u{202e}gpj.exe \u{2028}\u{200b}{{ x }}{% y %}";

/// The redactor that samples are made with.
pub(crate) fn redactor(reveal: Reveal) -> Redactor {
    Redactor::new([7; 32], reveal)
}

pub(crate) fn run(threads: usize) -> Run {
    let command = ["verbatim", "demo", "-o", "out"].map(str::to_owned);
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_414_800);
    let stages = [("read", 41), ("dedup", 310), ("audit raw", 9_120), ("audit deduplicated", 9_044)]
        .map(|(name, milliseconds)| (name.to_owned(), Duration::from_millis(milliseconds)));
    let mut run = Run::new(&command, started, threads).finished(Duration::from_millis(18_764), &stages);
    // What the machine of the test is must not show in a sample.
    (run.machine, run.cpu_features) = ("linux x86_64".to_owned(), vec!["avx2".to_owned(), "fma".to_owned()]);
    run
}

fn model(role: &str) -> ModelUsed {
    ModelUsed {
        role: role.to_owned(),
        name: format!("models/{role}"),
        revision: None,
        trained_on: Some("6b1e0c5d9a27f3486b1e0c5d9a27f348".into()),
        tokenizer_sha256: "0f1d".repeat(16),
        files: vec![FileUsed {
            name: "model.safetensors".into(),
            sha256: "9a3c".repeat(16),
            n_bytes: 3_436_112,
        }],
    }
}

pub(crate) fn provenance() -> Provenance {
    let corpus = CorpusUsed {
        role: "input".into(),
        fingerprint: "6b1e0c5d9a27f3486b1e0c5d9a27f348".into(),
        n_documents: 1_841,
        text_bytes: 421_888,
        n_rejected: 2,
    };
    Provenance::new("0.1.0")
        .parameter("threshold", 0.8)
        .parameter("keep", "first")
        .seed("minhash", 1)
        .corpus(corpus)
}

fn amount(documents: u64, bytes: u64) -> Amount {
    Amount { documents, bytes }
}

fn flow() -> Flow {
    Flow {
        read: amount(1_841, 421_888),
        kept: amount(1_031, 246_102 - 3_120),
        cut: CutAmount { stretches: 41, documents: 17, bytes: 3_120 },
        removed: amount(808, 175_391),
        rejected: amount(2, 395),
    }
}

fn stages() -> Vec<StageRow> {
    let row = |stage: &str, removed, n_compared| StageRow {
        stage: stage.into(),
        removed,
        cut: CutAmount::default(),
        n_compared,
        n_passed_over: 0,
    };
    let lines = StageRow { cut: flow().cut, ..row("lines", amount(0, 0), 41) };
    vec![row("exact", amount(486, 104_812), 486), row("minhash", amount(322, 70_579), 1_204), lines]
}

fn canary(placement: Placement, copies: u64, number: u64) -> Canary {
    let shape = [Shape::Random, Shape::Sentence, Shape::Pii][number as usize % 3];
    Canary {
        id: format!("{placement}-{copies}-{number}"),
        shape,
        placement,
        copies,
        control: copies == 0,
        prefix: "The access code of the observatory is ".into(),
        secret: format!("{:08}-{copies}-{number}", number * 7_654_321 % 99_999_989),
    }
}

/// Six secrets for each placement and number of copies, recited the more the more often they stand.
pub(crate) fn cases() -> Vec<DemoCase> {
    let mut cases = Vec::new();
    for placement in [Placement::Document, Placement::NearCopy, Placement::Passage] {
        for (copies, n_recited) in [(1, 0), (4, 1), (16, 4), (64, 6), (0, 0)] {
            let passage = placement == Placement::Passage;
            cases.extend((0..6).map(|number| DemoCase {
                canary: canary(placement, copies, number),
                copies_raw: copies,
                copies_deduplicated: if passage { copies } else { copies.min(1) },
                raw: number < n_recited,
                deduplicated: passage && number < n_recited,
            }));
        }
    }
    cases
}

pub(crate) fn demo_facts() -> DemoFacts {
    let check = |role: &str, hash: &str| CheckpointCheck {
        role: role.into(),
        trained_on: hash.repeat(4),
        made_today: hash.repeat(4),
    };
    DemoFacts {
        provenance: provenance().model(model("raw")).model(model("deduplicated")),
        flow: flow(),
        stages: stages(),
        checkpoints: vec![check("raw", "6b1e0c5d"), check("deduplicated", "03f4a1b2")],
        cases: cases(),
        sampling: Some(Sampling {
            min_match_tokens: 50,
            memorized: Pair { raw: Rate::new(31, 120), deduplicated: Rate::new(6, 120) },
        }),
    }
}

pub(crate) fn demo(reveal: Reveal) -> Report<DemoBody> {
    Report::new(DemoBody::new(demo_facts(), &redactor(reveal)), run(2))
}

pub(crate) fn repeats() -> Repeats {
    let bin = |(from, to, count)| RepeatBin { from, to, count };
    let pair = |(cut, kept, n_bytes): (Option<&str>, &str, u64)| PairRow {
        cut: cut.map(str::to_owned),
        kept: Some(kept.to_owned()),
        n_cuts: 3,
        n_bytes,
    };
    let heavy = |(n_bytes, n_cuts, document): (u64, u64, &str)| HeavyRow {
        n_bytes,
        n_cuts,
        document: document.into(),
        start: 17,
        kept: "corpus.jsonl:2".into(),
    };
    Repeats {
        text_bytes: 12_000,
        cut_bytes: 997,
        share: 0.083083,
        lengths: [(64, 127, 31), (128, 255, 0), (256, 511, 10)].map(bin).to_vec(),
        copies: [(1, 1, 9), (2, 3, 4), (4, 7, 1)].map(bin).to_vec(),
        heaviest: [(412, 5, "corpus.jsonl:31"), (120, 9, "corpus.jsonl:8")].map(heavy).to_vec(),
        pairs: [
            (Some("web"), "web", 900),
            (None, "web", 50),
            (Some("web"), "books", 40),
            (Some("books"), "books", 7),
        ]
        .map(pair)
        .to_vec(),
    }
}

pub(crate) fn dedup() -> Report<DedupBody> {
    let curve = (1..=20).map(|i| f64::from(i) / 20.0);
    let point = |similarity| CurvePoint { similarity, probability: candidate_probability(similarity, 24, 8) };
    let bins = [(2, 3, 214), (4, 7, 61), (8, 15, 0), (16, 31, 9), (32, 63, 0), (64, 127, 2)];
    let largest = [("corpus.jsonl:17", 64), ("corpus.jsonl:802", 64), ("notes/a.jsonl:3", 16)];
    let body = DedupBody {
        provenance: provenance(),
        n_empty: 3,
        outcome: Outcome::Written,
        flow: flow(),
        stages: stages(),
        search: Some(Search {
            threshold: 0.8,
            preset: Some("fineweb".into()),
            bands: 24,
            rows: 8,
            predicted_recall: 0.987882,
            unit: "word".into(),
            n: 5,
            normalize: vec!["nfc".into(), "casefold".into()],
            curve: curve.map(point).collect(),
        }),
        all_pairs: Some(AllPairs {
            brute_force: false,
            threshold: 0.9,
            measure: Measure::Containment,
            unit: "word".into(),
            n: 5,
            normalize: vec!["nfc".into()],
        }),
        cluster: Clustering::Transitive,
        edit_similarity: Some(0.8),
        substring: Some(SubstringParameters {
            unit: "tokens".into(),
            min_len: 50,
            min_count: 3,
            strike_all: false,
            snap: Snap::Word,
            min_left_bytes: 100,
            until_clean: true,
        }),
        keep: "first".into(),
        clusters: Clusters {
            n_clusters: 286,
            n_documents: 1_094,
            sizes: bins.map(|(from, to, n_clusters)| SizeBin { from, to, n_clusters }).to_vec(),
            largest: largest
                .map(|(kept, n_documents)| LargestCluster { kept: kept.into(), n_documents })
                .to_vec(),
        },
        repeats: Some(repeats()),
        sources: SourceTable {
            n_sources: 2,
            rows: [(Some("corpus.jsonl"), 900, 700, 0.777778), (None, 941, 108, 0.114772)]
                .map(|(source, read, removed, share)| {
                    let source = source.map(str::to_owned);
                    SourceRow { source, read, kept: read - removed, removed, share }
                })
                .to_vec(),
        },
        warnings: vec!["corpus.jsonl: a byte order mark was skipped".into()],
    };
    Report::new(body, run(2))
}

struct Quiz;

impl MatchSources for Quiz {
    fn document(&self, number: u64) -> MatchPlace {
        MatchPlace { id: format!("doc {number}"), path: "train.jsonl".into(), line: number + 1, bytes: None }
    }

    fn item(&self, number: u64) -> MatchPlace {
        let path = if number < 3 { "quiz.jsonl" } else { "yes.jsonl" };
        MatchPlace { id: format!("item {number}"), path: path.into(), line: number + 1, bytes: None }
    }

    fn text(&self, part: &ItemPart) -> Option<String> {
        Some(
            if part.field == 0 { "Who is the keeper of the tower?" } else { "He wrote his name in it" }
                .into(),
        )
    }
}

/// Four items in two files, of which two stand in two documents.
pub(crate) fn contamination(reveal: Reveal) -> (Report<ContaminationBody>, Vec<MatchRow>) {
    let part = |item: u64, field: usize, n_words| {
        let (name, judged) = (["question", "answer"][field].into(), n_words >= 5);
        serde_json::from_value(serde_json::json!(item))
            .map(|item| ItemPart { item, field, name, n_words, judged })
            .unwrap()
    };
    let parts = vec![
        part(0, 0, 7),
        part(0, 1, 6),
        part(1, 0, 7),
        part(1, 1, 1),
        part(2, 0, 9),
        part(2, 1, 1),
        part(3, 0, 2),
    ];
    let found = |document: u64, part: usize, n_words| ContaminationMatch {
        document: serde_json::from_value(serde_json::json!(document)).unwrap(),
        part,
        score: 0.712_345_678,
        n_matched: 3,
        n_ngrams: 4,
        rarest: 2,
        longest: WordRun { n_words, document_bytes: Some(5..30), item_bytes: Some(4..30) },
    };
    let found = Contamination {
        matches: vec![found(2, 0, 6), found(7, 0, 6), found(7, 1, 5), found(7, 2, 7)],
        parts,
        n_documents: 1_841,
        n_lacking: vec![0, 1],
    };
    let count = |documents| Count { documents, bytes: 100 * documents };
    let facts = ContaminationFacts {
        provenance: provenance(),
        found: &found,
        fields: vec!["question".into(), "answer".into()],
        tally: Some(Tally {
            read: count(1_841),
            kept: count(1_839),
            removed: count(2),
            rejected: count(0),
            ..Tally::default()
        }),
        warnings: vec![],
    };
    let (body, rows) = ContaminationBody::new(facts, &Quiz, &redactor(reveal));
    (Report::new(body, run(2)), rows)
}

pub(crate) fn explain(reveal: Reveal) -> Report<ExplainBody> {
    let (removed, kept) = (format!("the slow fox {HOSTILE} and the end"), "the quick fox and the end");
    let row = |id: &str, text: &str| DocumentRow {
        id: id.into(),
        path: "corpus.jsonl".into(),
        line: 17,
        n_bytes: text.len() as u64,
        n_chars: text.chars().count() as u64,
    };
    let overlap = Some(Overlap { shared: 4, only_first: 9, only_second: 1 });
    let found = verbatim_dedup::differences(&removed, kept);
    let gone = GoneRow { stage: "exact".into(), similarity: 1.0, document: row("gone", kept) };
    let body = ExplainBody {
        provenance: provenance(),
        document: row(HOSTILE, &removed),
        removal: Some(RemovalRow { stage: "minhash".into(), similarity: 0.8, kept: row("kept", kept) }),
        cluster_size: 3,
        exact_key: Some("url".into()),
        nothing_is_kept: false,
        goes_for_it: vec![gone],
        comparison: Some(ComparisonBody::new((&removed, kept), &found, overlap, reveal)),
        warnings: vec!["2 documents have this id".into()],
    };
    Report::new(body, run(2))
}

pub(crate) fn evaluate() -> Report<EvaluateBody> {
    let part = |part, whole| Part { part, whole };
    let scores = |right, made, asked| Scores { precision: part(right, made), recall: part(right, asked) };
    let found = Evaluation {
        n_documents: 14,
        pairs: scores(6, 13, 8),
        removals: scores(2, 6, 6),
        removed_with_copy: part(5, 6),
        exact_sets: part(6, 14),
        duplicates: scores(6, 8, 9),
        non_duplicates: scores(3, 6, 5),
        adjusted_rand_index: 0.519_083_969,
        lost_components: part(2, 8),
        leaked_pairs: part(2, 8),
        n_unjudged: 0,
    };
    Report::new(EvaluateBody::new(provenance(), &found, 3, vec![HOSTILE.into()]), run(2))
}

pub(crate) fn audit(reveal: Reveal) -> Report<AuditBody> {
    Report::new(audit::audit_body(reveal), run(2))
}

pub(crate) fn extract(reveal: Reveal) -> Report<ExtractBody> {
    let strategies = ["top-n", "decaying-temperature", "conditioned"];
    let metrics = ["perplexity", "zlib", "lowercase", "window"];
    let mut cells = Vec::new();
    for (row, strategy) in strategies.iter().enumerate() {
        for (column, metric) in metrics.iter().enumerate() {
            let count = [9, 33, 21, 40][column] + 7 * row as u64;
            let precision = Some(Rate::new(count, 100));
            cells.push(CellRow {
                strategy: (*strategy).into(),
                metric: (*metric).into(),
                n_candidates: 100,
                precision,
            });
        }
    }
    let finding = |number: u64| FindingRow {
        strategy: strategies[number as usize % 3].into(),
        sample: 11 * number,
        verdict: if number < 7 { "memorized".into() } else { "not-found".into() },
        category: (number < 7).then(|| ["recite", "reconstruct", "recollect"][number as usize % 3].into()),
        secrets: (0..number % 3)
            .map(|i| SecretCount {
                kind: ["payment-card", "email-address"][i as usize].into(),
                n: 2 * i + 1,
                n_proven: 1,
            })
            .collect(),
        text: redactor(reveal)
            .show("match", &format!("In the year {number} the keeper of the tower wrote his name.")),
        longest_match_tokens: 140 - 15 * number,
        longest_match_bytes: 512 - 52 * number,
        n_windows: 91_u64.saturating_sub(15 * number),
        n_documents: 64 >> number,
        n_occurrences: 64 >> number,
        first: Some(format!("corpus.jsonl:{}, byte {}", 17 + 31 * number, 7 * number)),
        best_rank: number + 1,
        best_metric: metrics[number as usize % 4].into(),
        scores: BTreeMap::from([("perplexity".to_owned(), -0.25), ("zlib".to_owned(), 310.5)]),
    };
    let body = ExtractBody {
        provenance: provenance().model(model("audited")),
        verification: Verification::Corpus,
        n_samples: 600,
        min_match_tokens: 50,
        cells,
        findings: (0..9).map(finding).collect(),
        secrets: secrets(reveal),
        at_scale: Some(crate::at_scale::tests::table()),
        divergence: Some(crate::divergence::tests::row()),
        canaries: Some(canaries(reveal)),
        measures: vec![crate::measure::Measure::share("memorized-share", 7, 9).proven_by("findings")],
        warnings: vec![],
    };
    Report::new(body, run(2))
}

fn secrets(reveal: Reveal) -> SecretTable {
    let secret_row = |(kind, n_samples, n_proven): (&str, u64, u64)| SecretRow {
        kind: kind.into(),
        samples: Rate::new(n_samples, 600),
        n_values: n_samples / 2,
        n_candidates: 5,
        proven: Some(Rate::new(n_proven, 5)),
        n_proven_values: n_proven.min(1),
    };
    SecretTable {
        kinds: [("payment-card", 6, 4), ("email-address", 41, 0)].map(secret_row).to_vec(),
        values: vec![redactor(reveal).show("payment-card", "4929118177305562")],
    }
}

fn canaries(reveal: Reveal) -> CanaryTable {
    let row = |placement: &str, copies, count| CanaryRow {
        placement: placement.into(),
        copies,
        recited: Rate::new(count, 6),
    };
    let recited = |number: u64| RecitedRow {
        id: format!("document-64-{number}"),
        placement: "document".into(),
        copies: 64,
        secret: redactor(reveal).show("pii", &format!("4929-{:04}-{number}", number * 917)),
    };
    let mut rows = Vec::new();
    for placement in ["document", "near-copy", "passage"] {
        rows.extend([(1, 0), (4, 1), (16, 4), (64, 6)].map(|(copies, count)| row(placement, copies, count)));
    }
    CanaryTable {
        rows,
        planted: Rate::new(33, 72),
        controls: Rate::new(0, 24),
        recited: (0..4).map(recited).collect(),
        exposure: Some(exposure::exposure()),
    }
}

/// A secret that comes first, and a control that was not reached.
pub(crate) fn invert(reveal: Reveal) -> Report<InvertBody> {
    let answer = |rank: u64| AnswerRow {
        rank,
        log_prob: -0.25 * rank as f64,
        text: redactor(reveal).show("filling", &format!("4929-{:04}-{rank}", rank * 917)),
    };
    let row = |name: &str, copies, rank| InvertRow {
        name: name.into(),
        copies: Some(copies),
        space_bits: 39.863137,
        n_given_tokens: 11,
        n_evaluations: 1_204,
        n_noncanonical: 3,
        n_found: 2,
        outcome: if copies > 0 { "answered".into() } else { "budget".into() },
        bound: (copies == 0).then_some(-21.4),
        answers: (1..=2).map(answer).collect(),
        known: Some(KnownRow { rank, log_prob: rank.map(|_| -0.25) }),
        exhaustive: Some(ExhaustiveRow { n_fillings: 10_000, agrees: true }),
    };
    let body = InvertBody {
        provenance: provenance().model(model("inverted")),
        templates: vec![row("document-64-1", 64, Some(1)), row("document-0-1", 0, None)],
        warnings: vec![],
    };
    Report::new(body, run(2))
}

/// Two of three planted secrets have a short prompt, and a control has none.
pub(crate) fn elicit(reveal: Reveal) -> Report<ElicitBody> {
    let found = |(number, copies, n_prompt_tokens): (u64, u64, Option<u64>)| Elicited {
        name: format!("document-{copies}-{number}"),
        copies: Some(copies),
        n_tokens: 28,
        prompt: n_prompt_tokens.map(|_| format!("{HOSTILE} opens {number}")),
        n_prompt_tokens,
        n_steps: 212,
        n_evaluations: 25_310,
    };
    let all = [(0, 64, Some(4)), (1, 64, Some(7)), (2, 1, None), (3, 0, None)].map(found);
    let body = ElicitBody::new(provenance().model(model("searched")), &all, &redactor(reveal));
    Report::new(body, run(2))
}

pub(crate) fn infer() -> Report<InferBody> {
    Report::new(InferBody::new(infer_facts()), run(2))
}

pub(crate) fn calls() -> Report<CallsBody> {
    Report::new(infer::calls(), run(2))
}

pub(crate) fn train() -> Report<TrainBody> {
    let point = |i: u64| LossPoint {
        step: 50 * i,
        train_nats: 6.2 * (-0.09 * i as f64).exp() + 0.3,
        validation_nats: i.is_multiple_of(4).then(|| 6.2 * (-0.09 * i as f64).exp() + 0.5 + 0.02 * i as f64),
    };
    let body = TrainBody {
        provenance: provenance(),
        n_parameters: 843_264,
        n_tokens: 132_000,
        n_steps: 2_000,
        curve: (0..=40).map(point).collect(),
        privacy: Some(Guarantee::from(&PrivacySpent {
            epsilon: Some(2.995_4),
            delta: 1e-5,
            noise_multiplier: 1.213,
            clip_norm: Some(1.0),
            sampling_rate: 0.04,
            n_steps: 2_000,
            example: "one document".into(),
        })),
        files: model("raw").files,
        warnings: vec![],
    };
    Report::new(body, run(2))
}

pub(crate) fn plant() -> Report<PlantBody> {
    let row =
        |copies| PlantedRow { placement: "document".into(), shape: "pii".into(), copies, n_canaries: 2 };
    let body = PlantBody {
        provenance: provenance(),
        n_documents_before: 1_000,
        n_documents_after: 1_841,
        rows: [1, 4, 16, 64].map(row).to_vec(),
        n_controls: 24,
        fingerprint: "6b1e0c5d".repeat(4),
        warnings: vec![],
    };
    Report::new(body, run(2))
}

/// A provenance, a run and warnings in which every text is hostile.
pub(crate) fn hostile_provenance() -> Provenance {
    let mut model = model(HOSTILE);
    (model.name, model.revision) = (HOSTILE.into(), Some(HOSTILE.into()));
    model.files[0].name = HOSTILE.into();
    let corpus = CorpusUsed {
        role: HOSTILE.into(),
        fingerprint: HOSTILE.into(),
        n_documents: 1,
        text_bytes: 1,
        n_rejected: 1,
    };
    Provenance::new("0.1.0").parameter(HOSTILE, HOSTILE).seed(HOSTILE, 1).corpus(corpus).model(model)
}

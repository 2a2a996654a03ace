//! How a result is told: JSON with a schema version and full provenance, one self-contained page, and tables for
//! a terminal. The only room that knows an output format.

mod at_scale;
mod audit;
mod calls;
mod columns;
mod contamination;
mod dedup;
mod defend;
mod demo;
mod divergence;
mod elicit;
mod error;
mod evaluate;
mod explain;
mod exposure;
mod extract;
mod figure;
mod gate;
mod html;
mod infer;
mod invert;
mod lookup;
mod measure;
mod order;
mod printable;
mod provenance;
mod redact;
mod repeats;
mod report;
mod run;
#[cfg(test)]
mod samples;
mod secrets;
mod shadow;
mod sources;
mod svg;
mod terminal;
mod train;

pub use at_scale::{Estimated, GrowthRow, ScaleRow, ScaleTable};
pub use audit::{
    AuditBody, AuditFacts, DecodedTable, DecodingTable, DoublingRow, DrawsRow, LengthRow, NearRow, NearTable,
    ScalingTable, Slope, StripPoint, TargetRow, TextRow,
};
pub use calls::{CALLS_NAME, CallsBody, CallsFacts, TestRow, calls_text, write_calls};
pub use contamination::{
    ContaminationBody, ContaminationFacts, EvaluationRow, Holder, MATCHES_NAME, MatchPlace, MatchRow,
    MatchSources, write_matches,
};
pub use dedup::{
    AllPairs, Clusters, CurvePoint, CutAmount, DedupBody, DedupFacts, Flow, LargestCluster, Outcome, Search,
    SizeBin, StageRow,
};
pub use defend::{
    ClaimRow, CopiesRow, DefenceRow, DefendBody, DetectorRow, ExposureFigure, GuardRow, MemberSlice,
    MomentRow, PlacementRow, TrainingRow, defend_text,
};
pub use demo::{CheckpointCheck, DemoBody, DemoCase, DemoFacts, DemoFinding, DemoRow, Pair, Sampling};
pub use divergence::DivergenceRow;
pub use elicit::{ElicitBody, ElicitGroup, ElicitRow, elicit_text};
pub use error::{Error, Result};
pub use evaluate::{EvaluateBody, ScoreRow, Share, evaluate_text};
pub use explain::{
    ComparisonBody, DifferenceRow, DocumentRow, ExplainBody, GoneRow, PieceRow, RemovalRow, ShingleCounts,
    explain_text,
};
pub use exposure::{ControlRow, ExposedRow, ExposureRow, ExposureTable};
pub use extract::{
    CanaryRow, CanaryTable, CellRow, ExtractBody, ExtractFacts, FindingRow, RecitedRow, Verification,
};
pub use figure::{Amount, LEVEL, Rate};
pub use gate::{
    BoundRow, Day, Evidence, EvidenceRow, GateBody, GateFacts, GateVerdict, Increase, LimitKind, MeasuredRun,
    Policy, RunRow, Severity, TrialsNeeded, WaiverRow, WaiverState, gate_junit, gate_markdown, gate_sarif,
    gate_text,
};
pub use html::Page;
pub use infer::{
    AucRow, DatasetRow, EpsilonRow, FprRow, InferBody, InferFacts, SeparationRow, ShotsRow, infer_text,
};
pub use invert::{AnswerRow, ExhaustiveRow, InvertBody, InvertRow, KnownRow, invert_text};
pub use lookup::{IndexFacts, LookupLine, LookupPlace};
pub use measure::{Measure, Unit};
pub use order::{AreaRow, BudgetRow, OrderPoint, OrderTable};
pub use printable::{Printable, PrintableLine};
pub use provenance::{CorpusUsed, FileUsed, ModelUsed, Provenance};
pub use redact::{Redactor, Reveal, Shown};
pub use repeats::{HeavyRow, PairRow, RepeatBin, Repeats};
pub use report::{Body, HTML_NAME, JSON_NAME, Report, SCHEMA_VERSION};
pub use run::{Run, StageTime};
pub use secrets::{SecretCount, SecretRow, SecretTable};
pub use shadow::{
    BesideLossRow, HeatRow, HeatToken, Memorization, MemorizedRow, ShadowBody, ShadowFacts, ShadowRow,
    ShadowTrainBody, shadow_text, shadow_train_text,
};
pub use sources::{SourceRow, SourceTable};
pub use terminal::{
    audit_text, contamination_text, dedup_text, demo_text, extract_text, plant_text, train_text,
};
pub use train::{Guarantee, LossPoint, PlantBody, PlantedRow, TrainBody};

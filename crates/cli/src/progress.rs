//! Progress on standard error, and the flag that an interrupt sets. It never shows text of a document or a sample.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressState, ProgressStyle as BarStyle};
use verbatim_dedup::Estimate;
use verbatim_store::Progress;

use crate::args::ProgressStyle;

/// How many times as long a pass over the texts takes as opening the corpus.
const SIGNING_TO_READING: f64 = 5.5;

const JSON_INTERVAL: Duration = Duration::from_millis(500);

/// Tells progress in the style that was asked for.
pub(crate) struct Teller {
    style: Style,
    interrupted: Arc<AtomicBool>,
    stage: Mutex<Option<Stage>>,
    done: AtomicU64,
    finished: Mutex<Vec<(String, Duration)>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Bars,
    Json,
    Silent,
}

struct Stage {
    name: &'static str,
    unit: &'static str,
    total: Option<u64>,
    bar: ProgressBar,
    started: Instant,
    told: Instant,
}

impl Teller {
    /// A teller; `interrupted` is the flag that the signal handler sets.
    pub(crate) fn new(style: ProgressStyle, interrupted: Arc<AtomicBool>) -> Self {
        let style = match style {
            ProgressStyle::Auto if std::io::stderr().is_terminal() => Style::Bars,
            ProgressStyle::Json => Style::Json,
            ProgressStyle::Auto | ProgressStyle::None => Style::Silent,
        };
        Self {
            style,
            interrupted,
            stage: Mutex::new(None),
            done: AtomicU64::new(0),
            finished: Mutex::default(),
        }
    }

    /// Ends the stage under way.
    pub(crate) fn finish(&self) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stage) = stage.take() {
            stage.bar.finish_and_clear();
            self.tell_json(&stage);
            let elapsed = (stage.name.to_owned(), stage.started.elapsed());
            self.finished.lock().unwrap_or_else(PoisonError::into_inner).push(elapsed);
        }
    }

    /// Tells what a search will take: a line before it begins. How long follows from how long the corpus took to open;
    /// comparing comes on top, and depends on what there is to compare.
    pub(crate) fn tell_estimate(&self, estimate: &Estimate) {
        self.finish();
        let Estimate { memory, scratch, reads } = *estimate;
        let reading = self.stages().iter().map(|(_, elapsed)| elapsed.as_secs_f64()).sum::<f64>();
        let seconds = (reading * SIGNING_TO_READING * (reads - 1) as f64).round();
        let told = match self.style {
            Style::Silent => return,
            Style::Json => serde_json::json!({
                "stage": "estimate", "memory": memory, "scratch": scratch, "reads": reads, "seconds": seconds,
            })
            .to_string(),
            Style::Bars => format!(
                "up to {} of memory and {} of scratch; at least {} to go through the texts",
                HumanBytes(memory),
                HumanBytes(scratch),
                HumanDuration(Duration::from_secs_f64(seconds.max(1.0)))
            ),
        };
        let _ = writeln!(std::io::stderr(), "{told}");
    }

    /// The stages that have ended, in order, and how long each took.
    pub(crate) fn stages(&self) -> Vec<(String, Duration)> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell_json(&self, stage: &Stage) {
        if self.style == Style::Json {
            let done = self.done.load(Ordering::Relaxed);
            let line = serde_json::json!({"stage": stage.name, "done": done, "total": stage.total, "unit": stage.unit});
            // Progress that cannot be told (a closed pipe) is no reason to stop the work.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

impl Progress for Teller {
    fn stage(&self, name: &'static str, total: Option<u64>, unit: &'static str) {
        self.finish();
        self.done.store(0, Ordering::Relaxed);
        let bar = if self.style == Style::Bars { bar(name, total, unit) } else { ProgressBar::hidden() };
        let now = Instant::now();
        let stage = Stage { name, unit, total, bar, started: now, told: now };
        self.tell_json(&stage);
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
    }

    fn advance(&self, n: u64) {
        let done = self.done.fetch_add(n, Ordering::Relaxed) + n;
        if self.style == Style::Silent {
            return;
        }
        // A worker that finds the stage in use leaves telling to the one that holds it.
        let Ok(mut stage) = self.stage.try_lock() else { return };
        if let Some(stage) = stage.as_mut() {
            stage.bar.set_position(done);
            if stage.told.elapsed() >= JSON_INTERVAL {
                stage.told = Instant::now();
                self.tell_json(stage);
            }
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

fn bar(name: &'static str, total: Option<u64>, unit: &'static str) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let counts = if unit == "bytes" {
        "{bytes}/{total_bytes} {bytes_per_sec}".to_owned()
    } else {
        format!("{{human_pos}}/{{human_len}} {unit} {{rate}}")
    };
    let template = format!("{{prefix:<24}} {{wide_bar}} {counts} {{eta}}");
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A bar that cannot be drawn is no reason to stop the work.
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    if let Ok(style) = BarStyle::with_template(&template) {
        bar.set_style(style.with_key("rate", rate));
    }
    bar.set_prefix(name);
    bar
}

//! The plots of a report as inline SVG: no script, no external reference, colours from the page's style sheet,
//! every mark with a title and every text escaped.

use std::fmt::{Display, Write};

use crate::audit::TextRow;
use crate::dedup::{Search, SizeBin};
use crate::figure::{Rate, grouped, percent, range};
use crate::order::{OrderPoint, OrderTable};
use crate::repeats::RepeatBin;
use crate::train::LossPoint;

/// Bars of one panel: a label for each group, and the two rates that stand in it.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) groups: Vec<Group>,
}

/// Two bars beside each other.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) label: String,
    pub(crate) bars: Vec<Bar>,
}

/// One bar with its interval.
#[derive(Debug)]
pub(crate) struct Bar {
    /// Class in the style sheet, which gives the colour: `raw` or `deduplicated`.
    pub(crate) class: &'static str,
    /// What the bar is, for its title.
    pub(crate) name: &'static str,
    pub(crate) rate: Rate,
}

/// One column of a forest plot.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// The ends of its axis.
    pub(crate) ends: (f64, f64),
    /// Decimals of the numbers at its ends.
    pub(crate) decimals: usize,
}

/// One line of a forest plot: its label, and its mark in each column.
#[derive(Debug)]
pub(crate) struct ForestRow {
    pub(crate) label: String,
    pub(crate) marks: Vec<Option<Estimate>>,
}

/// A number and, where it has one, its interval.
#[derive(Debug)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) ends: Option<(f64, f64)>,
}

const WIDTH: f64 = 760.0;

/// Straight pieces that the S-curve is drawn with.
const CURVE_POINTS: u32 = 200;

/// An SVG element that is being written.
struct Canvas {
    text: String,
}

impl Canvas {
    fn new(height: f64, title: &str) -> Canvas {
        let mut canvas = Canvas { text: String::new() };
        canvas.push(format_args!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\"><title>{0}</title>",
            escape(title)
        ));
        canvas
    }

    fn push(&mut self, element: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{element}");
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A bar that stands on `base`, at least a hair high so that a small number is still seen.
    fn bar(&mut self, class: &str, (left, width): (f64, f64), (top, base): (f64, f64)) {
        let height = (base - top).max(1.5);
        self.push(format_args!(
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>",
            base - height
        ));
    }

    fn text(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        self.push(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text)));
    }

    fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut data = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let _ = write!(data, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        self.push(format_args!("<path class=\"{class}\" d=\"{data}\"/>"));
    }

    fn dot(&mut self, class: &str, (x, y): (f64, f64)) {
        self.push(format_args!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"));
    }

    fn finish(mut self) -> String {
        self.push("</svg>");
        self.text
    }
}

/// Where the data stand in the picture: left, right, top and base line, and the ranges of both axes.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    base: f64,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let along = (x - self.x.0) / (self.x.1 - self.x.0);
        let up = (y - self.y.0) / (self.y.1 - self.y.0);
        (self.left + along * (self.right - self.left), self.base - up * (self.base - self.top))
    }

    /// Horizontal grid lines with their labels at the left.
    fn rules(&self, canvas: &mut Canvas, ticks: &[f64], label: impl Fn(f64) -> String) {
        for tick in ticks {
            let (_, y) = self.at(self.x.0, *tick);
            canvas.line(if *tick == self.y.0 { "axis" } else { "grid" }, (self.left, y), (self.right, y));
            canvas.text("tick end", (self.left - 8.0, y + 4.0), &label(*tick));
        }
    }
}

/// Shares by something, panel by panel, each bar with its interval.
pub(crate) fn shares(panels: &[Panel], title: &str, axis: &str) -> String {
    let mut canvas = Canvas::new(292.0, title);
    let (first, gap) = (46.0, 26.0);
    let n_panels = panels.len().max(1) as f64;
    let width = (WIDTH - first - gap * (n_panels - 1.0)) / n_panels;
    for (index, panel) in panels.iter().enumerate() {
        let left = first + index as f64 * (width + gap);
        let frame = Frame { left, right: left + width, top: 34.0, base: 240.0, x: (0.0, 1.0), y: (0.0, 1.0) };
        let labelled = index == 0;
        frame.rules(&mut canvas, &[0.0, 0.25, 0.5, 0.75, 1.0], |tick| {
            if labelled { percent(tick).replace(".0%", "%") } else { String::new() }
        });
        canvas.text("panel middle", (left + width / 2.0, 18.0), &panel.title);
        panel_bars(&mut canvas, &frame, panel);
    }
    canvas.text("tick middle", (first + (WIDTH - first) / 2.0, 284.0), axis);
    canvas.finish()
}

fn panel_bars(canvas: &mut Canvas, frame: &Frame, panel: &Panel) {
    let slot = (frame.right - frame.left) / panel.groups.len().max(1) as f64;
    for (index, group) in panel.groups.iter().enumerate() {
        let middle = frame.left + (index as f64 + 0.5) * slot;
        canvas.text("tick middle", (middle, frame.base + 20.0), &group.label);
        let n_bars = group.bars.len().max(1) as f64;
        let width = (slot * 0.68 / n_bars).min(30.0);
        for (place, bar) in group.bars.iter().enumerate() {
            let left = middle + (place as f64 - n_bars / 2.0) * width + 1.0;
            interval_bar(
                canvas,
                frame,
                (left, width - 2.0),
                bar,
                &format!("{}, {}", panel.title, group.label),
            );
        }
    }
}

fn interval_bar(canvas: &mut Canvas, frame: &Frame, (left, width): (f64, f64), bar: &Bar, place: &str) {
    let Some(share) = bar.rate.share else { return };
    let height = |value: f64| frame.at(0.0, value).1;
    canvas.push(format_args!(
        "<g><title>{}</title>",
        escape(&format!(
            "{place}, {}: {}, {} (95% interval {})",
            bar.name,
            bar.rate.fraction(),
            bar.rate.percent(),
            bar.rate.interval()
        ))
    ));
    canvas.bar(&format!("bar {}", bar.class), (left, width), (height(share), frame.base));
    let (x, low, high) = (left + width / 2.0, height(bar.rate.low), height(bar.rate.high));
    canvas.line("whisker", (x, low), (x, high));
    for y in [low, high] {
        canvas.line("whisker", (x - 3.5, y), (x + 3.5, y));
    }
    canvas.push("</g>");
}

/// Estimates line by line, column by column, each with its interval; the first line, which the others are held against, runs down
/// each column.
pub(crate) fn forest(columns: &[Column], rows: &[ForestRow], title: &str) -> String {
    let (labels, gap, top, pitch) = (150.0, 34.0, 34.0, 22.0);
    let base = top + pitch * rows.len() as f64;
    let mut canvas = Canvas::new(base + 30.0, title);
    for (index, row) in rows.iter().enumerate() {
        let y = top + (index as f64 + 0.5) * pitch;
        canvas.text("tick", (0.0, y + 4.5), &row.label);
        canvas.line("grid", (labels, y), (WIDTH - 2.0, y));
    }
    let n_columns = columns.len().max(1) as f64;
    let width = (WIDTH - labels - gap * n_columns) / n_columns;
    for (index, column) in columns.iter().enumerate() {
        let left = labels + gap / 2.0 + index as f64 * (width + gap);
        let frame =
            Frame { left, right: left + width, top, base, x: column.ends, y: (rows.len() as f64, 0.0) };
        canvas.text("panel middle", (left + width / 2.0, 18.0), column.title);
        canvas.line("axis", (left, base), (frame.right, base));
        for (end, class) in [(column.ends.0, "tick middle"), (column.ends.1, "tick middle")] {
            let (x, _) = frame.at(end, 0.0);
            canvas.text(class, (x, base + 20.0), &format!("{end:.0$}", column.decimals));
        }
        let mark = |row: &'_ ForestRow| row.marks.get(index).and_then(Option::as_ref).map(|mark| mark.value);
        if let Some(first) = rows.first().and_then(mark) {
            canvas.line("threshold", frame.at(first, rows.len() as f64), frame.at(first, 0.0));
        }
        for (number, row) in rows.iter().enumerate() {
            let Some(Some(estimate)) = row.marks.get(index) else { continue };
            forest_mark(&mut canvas, &frame, number as f64 + 0.5, (column, row, estimate));
        }
    }
    canvas.finish()
}

fn forest_mark(
    canvas: &mut Canvas,
    frame: &Frame,
    line: f64,
    (column, row, estimate): (&Column, &ForestRow, &Estimate),
) {
    let inside = |value: f64| frame.at(value.clamp(column.ends.0, column.ends.1), line);
    let interval = estimate
        .ends
        .map_or_else(String::new, |(low, high)| format!(" (95% interval {low:.3} to {high:.3})"));
    canvas.push(format_args!(
        "<g><title>{}, {}: {:.3}{interval}</title>",
        escape(&row.label),
        escape(column.title),
        estimate.value
    ));
    if let Some((low, high)) = estimate.ends {
        canvas.line("whisker", inside(low), inside(high));
    }
    canvas.dot("mark", inside(estimate.value));
    canvas.push("</g>");
}

/// A rate on a line from 0 to 100%: the interval as a band, the share as a dot.
pub(crate) fn interval_strip(rate: &Rate, class: &str) -> String {
    let title = format!("{} with a 95% interval of {}", rate.percent(), rate.interval());
    let mut canvas = Canvas::new(54.0, &title);
    let frame = Frame { left: 1.0, right: WIDTH - 1.0, top: 0.0, base: 15.0, x: (0.0, 1.0), y: (0.0, 1.0) };
    canvas.line("axis", frame.at(0.0, 0.0), frame.at(1.0, 0.0));
    for (class, end, label) in [("scale", 0.0, "0%"), ("scale end", 1.0, "100%")] {
        let (x, y) = frame.at(end, 0.0);
        canvas.line("axis", (x, y - 9.0), (x, y + 9.0));
        canvas.text(class, (x, y + 35.0), label);
    }
    if let Some(share) = rate.share {
        canvas.line(&format!("band {class}"), frame.at(rate.low, 0.0), frame.at(rate.high, 0.0));
        let (x, y) = frame.at(share, 0.0);
        canvas.push(format_args!("<circle class=\"point {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"11\"/>"));
    }
    canvas.finish()
}

/// Along a text, how likely what follows is drawn, from 10^-9 at the bottom to 1; what greedy decoding spells stands out.
pub(crate) fn recited_along(text: &TextRow) -> String {
    let mut canvas = Canvas::new(150.0, "Where in the text the model recites it");
    let x = (0.0, (text.n_bytes as f64).max(1.0));
    let frame = Frame { left: 60.0, right: WIDTH - 4.0, top: 8.0, base: 118.0, x, y: (-9.0, 0.0) };
    frame.rules(&mut canvas, &[-9.0, -6.0, -3.0, 0.0], |tick| match tick {
        0.0 => "1".to_owned(),
        tick => format!("1e{tick:.0}"),
    });
    for point in &text.strip {
        let height = point.log_drawn.map_or(-9.0, |log| (log / std::f64::consts::LN_10).max(-9.0));
        let (left, top) = frame.at(point.byte as f64, height);
        let (right, _) = frame.at(point.end as f64, 0.0);
        let (class, how) = if point.extracted { ("raw", "greedily") } else { ("deduplicated", "by drawing") };
        canvas.push(format_args!(
            "<g><title>from byte {}: {how}, log-probability {:.1} nats</title>",
            grouped(point.byte),
            point.log_drawn.unwrap_or(f64::NEG_INFINITY)
        ));
        canvas.bar(&format!("bar {class}"), (left, (right - left).max(0.5)), (top, frame.base));
        canvas.push("</g>");
    }
    canvas.text("tick", (frame.left, 140.0), "byte 0");
    canvas.text("tick end", (frame.right, 140.0), &grouped(text.n_bytes));
    canvas.finish()
}

/// The chance that a pair becomes a candidate by its similarity, with the threshold.
pub(crate) fn s_curve(search: &Search) -> String {
    let title = format!(
        "Chance that a pair becomes a candidate by its similarity; {} at the threshold {}",
        percent(search.predicted_recall),
        search.threshold
    );
    let mut canvas = Canvas::new(292.0, &title);
    let frame =
        Frame { left: 46.0, right: WIDTH - 14.0, top: 34.0, base: 240.0, x: (0.0, 1.0), y: (0.0, 1.0) };
    let curve: Vec<(f64, f64)> = (0..=CURVE_POINTS)
        .map(|i| f64::from(i) / f64::from(CURVE_POINTS))
        .map(|s| (s, search.probability(s)))
        .collect();
    let draw = |points: &[(f64, f64)]| points.iter().map(|(x, y)| frame.at(*x, *y)).collect::<Vec<_>>();
    let at_threshold = frame.at(search.threshold, search.predicted_recall);
    let split = curve.partition_point(|(similarity, _)| *similarity < search.threshold);
    let needless = [&draw(&curve[..split])[..], &[at_threshold, frame.at(search.threshold, 0.0)]].concat();
    let missed = [&[frame.at(search.threshold, 1.0), at_threshold], &draw(&curve[split..])[..]].concat();
    canvas.path("needless", &needless);
    canvas.path("missed", &missed);
    frame.rules(&mut canvas, &[0.0, 0.25, 0.5, 0.75, 1.0], |tick| percent(tick).replace(".0%", "%"));
    for tick in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        let (x, y) = frame.at(tick, 0.0);
        canvas.text("tick middle", (x, y + 20.0), &format!("{tick:.1}"));
    }
    canvas.line("threshold", frame.at(search.threshold, 0.0), frame.at(search.threshold, 1.0));
    canvas.path("curve deduplicated", &draw(&curve));
    canvas.dot("mark", at_threshold);
    // The label runs to the side of the threshold that has more room.
    let class = if search.threshold > 0.5 { "note end" } else { "note" };
    let label = format!(
        "threshold {}: {} of such pairs are found",
        search.threshold,
        percent(search.predicted_recall)
    );
    canvas.text(class, (at_threshold.0, 18.0), &label);
    canvas.text(
        "tick middle",
        (frame.left + (frame.right - frame.left) / 2.0, 284.0),
        "true Jaccard similarity of a pair",
    );
    canvas.finish()
}

/// Extractions by texts tried: in the order, and within what 95 % of the orders by chance find.
pub(crate) fn found_by_tries(order: &OrderTable) -> String {
    let Rate { count, n, .. } = order.extracted;
    let (count, n) = (count.max(1), n.max(1));
    let mut canvas = Canvas::new(292.0, "Extractions by texts tried, in the order and by chance");
    let frame = Frame {
        left: 46.0,
        right: WIDTH - 14.0,
        top: 16.0,
        base: 240.0,
        x: (0.0, n as f64),
        y: (0.0, count as f64),
    };
    let along = |found: fn(&OrderPoint) -> u64| {
        let points = order.curve.iter().map(|point| frame.at(point.n_tried as f64, found(point) as f64));
        std::iter::once(frame.at(0.0, 0.0)).chain(points).collect::<Vec<(f64, f64)>>()
    };
    let mut by_chance = along(|point| point.chance_high);
    by_chance.extend(along(|point| point.chance_low).into_iter().rev());
    canvas.path("needless", &by_chance);
    let mut ticks = vec![0.0, count.div_ceil(2) as f64, count as f64];
    ticks.dedup();
    frame.rules(&mut canvas, &ticks, |tick| grouped(tick as u64));
    canvas.path("curve deduplicated", &[frame.at(0.0, 0.0), frame.at(n as f64, count as f64)]);
    canvas.path("curve raw", &along(|point| point.n_found));
    canvas.text("tick middle", (frame.left, frame.base + 20.0), "0");
    canvas.text("tick end", (frame.right, frame.base + 20.0), &grouped(n));
    canvas.text("tick middle", (frame.left + (frame.right - frame.left) / 2.0, 284.0), "texts tried");
    canvas.finish()
}

/// How many clusters have how many documents.
pub(crate) fn cluster_sizes(bins: &[SizeBin]) -> String {
    let bars: Vec<(String, u64)> = bins.iter().map(|bin| (bin.range(), bin.n_clusters)).collect();
    histogram("Number of clusters by their size in documents", &bars, "documents in a cluster")
}

/// How many cuts have how many bytes.
pub(crate) fn cut_lengths(bins: &[RepeatBin]) -> String {
    histogram("Number of cuts by their length in bytes", &repeat_bars(bins), "bytes in a cut")
}

/// How many texts are cut how often.
pub(crate) fn cut_copies(bins: &[RepeatBin]) -> String {
    histogram("Number of texts by how often they are cut", &repeat_bars(bins), "times that a text is cut")
}

fn repeat_bars(bins: &[RepeatBin]) -> Vec<(String, u64)> {
    bins.iter().map(|bin| (range(bin.from, bin.to), bin.count)).collect()
}

fn histogram(title: &str, bars: &[(String, u64)], unit: &str) -> String {
    let mut canvas = Canvas::new(252.0, title);
    let most = bars.iter().map(|bar| bar.1).max().unwrap_or(0).max(1) as f64;
    let frame =
        Frame { left: 10.0, right: WIDTH - 10.0, top: 26.0, base: 200.0, x: (0.0, 1.0), y: (0.0, most) };
    canvas.line("axis", (frame.left, frame.base), (frame.right, frame.base));
    let slot = (frame.right - frame.left) / bars.len().max(1) as f64;
    for (index, (range, count)) in bars.iter().enumerate() {
        let middle = frame.left + (index as f64 + 0.5) * slot;
        let width = (slot * 0.7).min(90.0);
        let (_, top) = frame.at(0.0, *count as f64);
        if *count > 0 {
            canvas.bar("bar deduplicated", (middle - width / 2.0, width), (top, frame.base));
        }
        canvas.text("value middle", (middle, top.min(frame.base - 1.5) - 6.0), &grouped(*count));
        canvas.text("tick middle", (middle, frame.base + 20.0), range);
    }
    canvas.text("tick middle", (WIDTH / 2.0, 244.0), unit);
    canvas.finish()
}

/// Training and validation loss by step.
pub(crate) fn loss_curve(points: &[LossPoint]) -> String {
    let mut canvas = Canvas::new(292.0, "Loss by optimiser step, in nats a token");
    let validation: Vec<(f64, f64)> = points
        .iter()
        .filter_map(|point| point.validation_nats.map(|nats| (point.step as f64, nats)))
        .collect();
    let train: Vec<(f64, f64)> = points.iter().map(|point| (point.step as f64, point.train_nats)).collect();
    let top = train.iter().chain(&validation).map(|point| point.1).fold(0.0, f64::max).max(1e-3);
    let step = tick_step(top);
    let n_ticks = (top / step).ceil();
    let last = train.last().map_or(1.0, |point| point.0).max(1.0);
    let frame = Frame {
        left: 46.0,
        right: WIDTH - 100.0,
        top: 16.0,
        base: 240.0,
        x: (0.0, last),
        y: (0.0, step * n_ticks),
    };
    let ticks: Vec<f64> = (0..=n_ticks as u32).map(|tick| f64::from(tick) * step).collect();
    frame.rules(
        &mut canvas,
        &ticks,
        |tick| if step < 1.0 { format!("{tick:.1}") } else { format!("{tick:.0}") },
    );
    for (class, name, line) in [("raw", "training", &train), ("deduplicated", "validation", &validation)] {
        let Some((x, y)) = line.last() else { continue };
        let drawn: Vec<(f64, f64)> = line.iter().map(|(x, y)| frame.at(*x, *y)).collect();
        canvas.path(&format!("curve {class}"), &drawn);
        let (x, y) = frame.at(*x, *y);
        canvas.text(&format!("note {class}"), (x + 8.0, y + 4.0), name);
    }
    canvas.text("tick middle", (frame.left, frame.base + 20.0), "0");
    canvas.text("tick middle", (frame.right, frame.base + 20.0), &grouped(last as u64));
    canvas.text("tick middle", (frame.left + (frame.right - frame.left) / 2.0, 284.0), "optimiser step");
    canvas.finish()
}

/// A step of 1, 2 or 5 times a power of ten that makes at most five ticks up to `top`.
fn tick_step(top: f64) -> f64 {
    let power = 10_f64.powf((top / 5.0).log10().floor());
    let ratio = top / 5.0 / power;
    power
        * if ratio <= 1.0 {
            1.0
        } else if ratio <= 2.0 {
            2.0
        } else if ratio <= 5.0 {
            5.0
        } else {
            10.0
        }
}

/// Text as it may stand in an element or an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in crate::printable::PrintableLine(text).to_string().chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (top, step) in [(6.2, 2.0), (5.0, 1.0), (0.9, 0.2), (12.0, 5.0), (1.0, 0.2)] {
            assert!((tick_step(top) - step).abs() < 1e-9, "{top}: {}", tick_step(top));
        }
    }

    #[test]
    fn a_bar_is_as_high_as_its_share() {
        let bar = |count| Bar { class: "raw", name: "raw", rate: Rate::new(count, 4) };
        let groups = vec![Group { label: "1".into(), bars: vec![bar(2), bar(4)] }];
        let text = shares(&[Panel { title: "<b>\"&".into(), groups }], "bars", "copies");
        // The frame is 206 high: half of it, and all of it.
        assert!(text.contains("height=\"103.0\"") && text.contains("height=\"206.0\""), "{text}");
        assert!(text.contains("&lt;b&gt;&quot;&amp;") && !text.contains("<b>"));
    }

    #[test]
    fn a_forest_has_a_mark_where_there_is_an_estimate() {
        let column = |title| Column { title, ends: (0.0, 1.0), decimals: 0 };
        let row = |label: &str, marks| ForestRow { label: label.to_owned(), marks };
        let estimate = |value, ends| Some(Estimate { value, ends });
        let rows = [
            row("none", vec![estimate(1.0, Some((0.5, 1.0))), estimate(0.25, None)]),
            row("<other>", vec![estimate(0.0, Some((-1.0, 2.0))), None]),
        ];
        let text = forest(&[column("one"), column("two")], &rows, "all");
        assert_eq!(text.matches("<circle").count(), 3);
        assert_eq!(text.matches("class=\"whisker\"").count(), 2);
        assert!(text.contains("&lt;other&gt;") && !text.contains("NaN"), "{text}");
        // What lies outside of the axis ends at its ends: 167 to 438 in the first column.
        assert!(text.contains("class=\"whisker\" x1=\"167.0\" y1=\"67.0\" x2=\"438.0\""), "{text}");
        assert!(!forest(&[], &[], "none").contains("NaN"));
    }

    #[test]
    fn empty_data_draw_empty_plots() {
        for text in [shares(&[], "bars", "copies"), cluster_sizes(&[]), loss_curve(&[])] {
            assert!(text.starts_with("<svg") && text.ends_with("</svg>") && !text.contains("NaN"), "{text}");
        }
        assert!(!interval_strip(&Rate::new(0, 0), "raw").contains("circle"));
    }
}

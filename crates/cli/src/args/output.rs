//! Flags for what an output of `dedup` and `apply` holds, and for what it may not do.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

use crate::args::values::{fraction, non_negative};

/// What the output holds.
#[derive(Debug, Args)]
pub(crate) struct Emitting {
    /// What to write, separated by commas. All but `filtered` stands at the top of the folder, or in `_verbatim/` where
    /// the clean corpus stands at the top. `-o -` takes `filtered` or `ids`
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "filtered",
        help_heading = "Output"
    )]
    pub(crate) emit: Vec<Emit>,
    /// Name of the attributes; each attribute begins with it
    #[arg(
        long,
        value_name = "NAME",
        default_value = "dedup",
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Output"
    )]
    pub(crate) attribute_name: String,
    /// Add a field to each record that is written: how many documents its cluster has, itself included. The field
    /// goes before the closing brace of a JSON line, all other bytes stay; a record that has it already is refused
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), help_heading = "Output")]
    pub(crate) count_field: Option<String>,
    /// Add a field to each record that is written: the id of the kept document of its cluster
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), help_heading = "Output")]
    pub(crate) cluster_field: Option<String>,
    /// Keep every document and give it the weight 1/size^ALPHA for a cluster of that size, as an attribute or by
    /// `--weight-field` as a field. With 1 a cluster weighs as much as one document, with 0 copies count in full
    #[arg(long, value_name = "ALPHA", value_parser = non_negative, help_heading = "Output")]
    pub(crate) weights: Option<f64>,
    /// Add a field with the weight to each record that is written
    #[arg(
        long,
        value_name = "NAME",
        requires = "weights",
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Output"
    )]
    pub(crate) weight_field: Option<String>,
}

/// A part of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Emit {
    /// The clean corpus in the layout of the input.
    Filtered,
    /// Rows beside the records in the layout of the Dolma toolkit, `attributes/NAME/PATH.jsonl`: the span to remove (in
    /// characters), duplicate count, cluster id, weight.
    Attributes,
    /// `ids/kept.txt` and `ids/removed.txt`, one id a line.
    Ids,
    /// `clusters/documents.jsonl`, a line for each document that has copies.
    Clusters,
}

/// How much a source may lose.
#[derive(Debug, Args)]
pub(crate) struct SourceGuard {
    /// The field that names a document's source; without it, the first folder of the file in the corpus, or the file
    #[arg(long, value_name = "PATH", help_heading = "Sources")]
    pub(crate) source_field: Option<String>,
    /// Stop with exit code 1 before anything is written when a source of at least 20 documents would lose more than
    /// this share of them: such a loss is more often a boilerplate header or a wrong flag than a find. A dry run warns,
    /// and `apply` carries its plan out: it was there to be looked at
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = fraction, help_heading = "Sources")]
    pub(crate) max_source_loss: f64,
    /// Write all the same, whatever a source loses
    #[arg(long, help_heading = "Sources")]
    pub(crate) allow_source_loss: bool,
}

//! What an output holds, from the arguments.

use std::io::{BufWriter, Write};

use verbatim_corpus::{Corpus, Selection, write_survivors_to};
use verbatim_dedup::{Alpha, Copies, Emission, Plan, write_kept_ids};
use verbatim_report::Outcome;

use crate::args::{Emit, Emitting};
use crate::commands::Context;
use crate::failure;

impl Emitting {
    /// What a folder is to hold.
    pub(crate) fn resolve(&self) -> anyhow::Result<Emission> {
        let has = |part| self.emit.contains(&part);
        let alpha = |alpha| {
            Alpha::new(alpha).ok_or_else(|| failure::usage(format!("--weights must be 0 to {}", Alpha::MAX)))
        };
        let emission = Emission {
            filtered: has(Emit::Filtered),
            ids: has(Emit::Ids),
            attributes: has(Emit::Attributes).then(|| self.attribute_name.clone()),
            clusters: has(Emit::Clusters),
            weights: self.weights.map(alpha).transpose()?,
            count_field: self.count_field.clone(),
            cluster_field: self.cluster_field.clone(),
            weight_field: self.weight_field.clone(),
        };
        if !is_file_name(&self.attribute_name) {
            return Err(failure::usage(
                "--attribute-name is the name of a folder: no `/`, no control character",
            ));
        }
        let fields = [&self.count_field, &self.cluster_field, &self.weight_field];
        if fields.iter().any(|field| field.is_some()) && !emission.filtered {
            return Err(failure::usage("a field is added to the records that `--emit filtered` writes"));
        }
        if emission.weights.is_some() {
            check_weights(&emission)?;
        }
        Ok(emission)
    }

    /// True if nothing but the clean corpus was asked for.
    pub(crate) fn is_plain(&self) -> bool {
        let Emitting { emit, count_field, cluster_field, weights, .. } = self;
        *emit == [Emit::Filtered] && count_field.is_none() && cluster_field.is_none() && weights.is_none()
    }

    /// What standard output is to get: the clean corpus or the ids of it.
    pub(crate) fn resolve_for_pipe(&self) -> anyhow::Result<Emission> {
        match self.emit[..] {
            [Emit::Filtered | Emit::Ids] => self.resolve(),
            _ => Err(failure::usage(
                "standard output takes `--emit filtered` or `--emit ids`, not both; give -o DIR",
            )),
        }
    }
}

/// What the report says of what was written.
pub(crate) fn outcome(emission: &Emission) -> Outcome {
    match emission {
        Emission { weights: Some(_), .. } => Outcome::Weighted,
        Emission { filtered: true, .. } => Outcome::Written,
        _ => Outcome::Listed,
    }
}

/// Writes the product to standard output.
pub(crate) fn pipe(
    corpus: &Corpus,
    plan: &Plan,
    emission: &Emission,
    context: &Context<'_>,
) -> anyhow::Result<()> {
    context.check()?;
    let copies = Copies::new(plan);
    let keep = emission.keep_mask(plan);
    let mut sink = BufWriter::new(std::io::stdout().lock());
    if emission.filtered {
        let fields = emission.fields(corpus, &copies)?;
        let cuts = emission.cuts(plan);
        let selection = Selection { keep: &keep, cuts: &cuts, fields: Some(&fields) };
        write_survivors_to(corpus, selection, &mut sink).map_err(failure::product)?;
    } else {
        write_kept_ids(corpus, &keep, &mut sink).map_err(failure::product)?;
        corpus.verify_unchanged()?;
    }
    sink.flush().map_err(failure::product)?;
    let n_kept = keep.iter().filter(|&&stays| stays).count();
    context.note(&format!("{n_kept} of {} documents kept", corpus.n_documents()));
    Ok(())
}

/// Refuses weights for a plan that cuts documents.
pub(crate) fn check(plan: &Plan, emission: &Emission) -> anyhow::Result<()> {
    if emission.weights.is_some() && plan.parameters().cuts() {
        return Err(failure::usage(
            "`--weights` weighs whole documents, `--lines` and `--substring` cut them: take one of the two",
        ));
    }
    Ok(())
}

fn check_weights(emission: &Emission) -> anyhow::Result<()> {
    if emission.ids {
        return Err(failure::usage("`--weights` keeps every document: there are no ids to list"));
    }
    if emission.filtered && emission.weight_field.is_none() {
        return Err(failure::usage(
            "`--weights` with `--emit filtered` writes every record: name the field for the weight, --weight-field NAME",
        ));
    }
    Ok(())
}

fn is_file_name(name: &str) -> bool {
    !matches!(name, "." | "..") && !name.contains(|c: char| c == '/' || c.is_control())
}

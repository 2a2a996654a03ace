//! One row for each unit that is done: what it was made from, and what it noted of the files that it wrote.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use verbatim_store::{Access, Bytes, Existing, Replace, xxh3_128_hex};

use crate::error::{Error, Result};
use crate::stages::{StageName, Stages};

/// What a unit left.
#[derive(Debug, Serialize, Deserialize)]
struct Row<T> {
    /// The hash of what it was made from: the plan, and the rows of the stage before.
    of: String,
    noted: T,
}

impl Stages {
    /// What the units of a stage are made from.
    ///
    /// # Errors
    /// [`Error::StageMissing`] if the stage before is not done.
    pub(super) fn source_of(&self, stage: StageName) -> Result<String> {
        let Some(before) = stage.before() else { return Ok(self.id.clone()) };
        let missing = self.unfinished(before)?;
        if !missing.is_empty() {
            return Err(self.is_missing(before, missing));
        }
        let mut rows = self.id.clone().into_bytes();
        for unit in 0..self.n_units(before) {
            rows.extend_from_slice(&Bytes::open(&self.row_path(before, unit))?);
        }
        Ok(xxh3_128_hex(&rows))
    }

    /// Units of a stage without a row that holds, ascending.
    pub(super) fn unfinished(&self, stage: StageName) -> Result<Vec<u64>> {
        let of = self.source_of(stage)?;
        let mut unfinished = Vec::new();
        for unit in 0..self.n_units(stage) {
            if self.row_of::<serde_json::Value>(stage, unit, &of)?.is_none() {
                unfinished.push(unit);
            }
        }
        Ok(unfinished)
    }

    /// What the units of a stage noted.
    ///
    /// # Errors
    /// [`Error::StageMissing`] if it is not done.
    pub(super) fn rows<T: DeserializeOwned>(&self, stage: StageName) -> Result<Vec<T>> {
        let of = self.source_of(stage)?;
        let mut rows = Vec::new();
        let mut missing = Vec::new();
        for unit in 0..self.n_units(stage) {
            match self.row_of(stage, unit, &of)? {
                Some(noted) => rows.push(noted),
                None => missing.push(unit),
            }
        }
        if missing.is_empty() { Ok(rows) } else { Err(self.is_missing(stage, missing)) }
    }

    /// What a unit noted, if it is done with what is there now.
    pub(super) fn row_of<T: DeserializeOwned>(
        &self,
        stage: StageName,
        unit: u64,
        of: &str,
    ) -> Result<Option<T>> {
        let path = self.row_path(stage, unit);
        if !path.is_file() {
            return Ok(None);
        }
        let row: Option<Row<T>> = serde_json::from_slice(&Bytes::open(&path)?).ok();
        Ok(row.filter(|row| row.of == of).map(|row| row.noted))
    }

    /// Writes the row of a unit; its files are there by now.
    pub(super) fn note<T: Serialize>(
        &self,
        (stage, unit): (StageName, u64),
        of: String,
        noted: T,
    ) -> Result<()> {
        let path = self.row_path(stage, unit);
        let mut file = Replace::create(&path, Access::Private, Existing::Replace)?;
        serde_json::to_writer(&mut file, &Row { of, noted })
            .map_err(|error| verbatim_store::Error::io(&path, "write", error.into()))?;
        Ok(file.finish()?)
    }

    pub(super) fn is_missing(&self, stage: StageName, missing: Vec<u64>) -> Error {
        Error::StageMissing {
            stage,
            missing_units: missing,
            n_units: self.n_units(stage),
            folder: self.name.clone(),
        }
    }

    fn row_path(&self, stage: StageName, unit: u64) -> PathBuf {
        self.folder_of(stage).join(format!("unit-{unit}.json"))
    }
}

//! What stands in the place of object stores in a build without them: every URL of one is refused.

use std::path::{Path, PathBuf};

use verbatim_store::{Bytes, Existing, Progress};

use super::Found;
use crate::document::printable;
use crate::error::{Error, Result};
use crate::schema::OpenConfig;

/// The buckets of a build that reads none.
pub(crate) struct Buckets;

/// A prefix that nothing can go to.
#[derive(Debug)]
pub enum Prefix {}

impl Prefix {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn open(url: &Path, _: Existing, _: &OpenConfig, _: &dyn Progress) -> Result<Self> {
        Err(Error::NoObjectStores { url: printable(url) })
    }

    /// Nothing can come to this.
    ///
    /// # Errors
    /// None.
    pub fn publish(&self, _folder: &Path, _last: &Path, _: &dyn Progress) -> Result<()> {
        match *self {}
    }
}

/// A copy of nothing.
#[derive(Debug)]
pub enum Mirror {}

impl Mirror {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn open(
        url: &Path,
        _is_wanted: impl Fn(&Path) -> bool,
        _: &OpenConfig,
        _: &dyn Progress,
    ) -> Result<Self> {
        Err(Error::NoObjectStores { url: printable(url) })
    }

    /// Nothing can come to this.
    pub fn folder(&self) -> &Path {
        match *self {}
    }

    /// Nothing can come to this.
    ///
    /// # Errors
    /// None.
    pub fn send(&mut self, _come_last: impl Fn(&Path) -> bool, _: &dyn Progress) -> Result<()> {
        match *self {}
    }
}

/// An object of a build that has none.
#[derive(Debug)]
pub(crate) enum Object {}

impl Buckets {
    pub(crate) fn new(_config: &OpenConfig, _progress: &dyn Progress) -> Self {
        Buckets
    }

    /// # Errors
    /// Always.
    pub(crate) fn find(&mut self, input: &Path) -> Result<Vec<Found>> {
        Err(Error::NoObjectStores { url: printable(input) })
    }
}

impl Object {
    pub(crate) fn url(&self) -> PathBuf {
        match *self {}
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn download(&self, _scratch: &Path, _progress: &dyn Progress) -> Result<Bytes> {
        match *self {}
    }

    pub(crate) fn verify_unchanged(&self) -> Result<()> {
        match *self {}
    }
}

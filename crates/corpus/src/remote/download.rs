//! Brings an object into a temporary file: a stream of bounded memory, gone on with where it was cut, and only ever the
//! version that was listed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStoreExt};
use verbatim_store::{Bytes, Progress, Silent, Spool};

use super::bucket::Object;
use super::failure::failure;
use crate::document::{printable, size};
use crate::error::{Error, Result};

/// How often a download is gone on with, beside what the client tries by itself.
const MAX_RETRIES: u32 = 4;
/// The wait before the first of these; each one is twice as long as that before it.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 200 });

impl Object {
    pub(crate) fn url(&self) -> PathBuf {
        self.bucket.url(self.meta.location.as_ref())
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        self.meta.size
    }

    /// The bytes of the object, which lie in a temporary file without a name.
    ///
    /// # Errors
    /// An object that is another one by now, a store that does not answer, and no room for the bytes.
    pub(crate) fn download(&self, scratch: &Path, progress: &dyn Progress) -> Result<Bytes> {
        let mut spool = Spool::create(scratch)?;
        for n_failures in 0.. {
            match self.bucket.wait(self.receive(&mut spool, progress), progress)? {
                Ok(()) => break,
                Err(Error::ObjectStoreUnreachable { .. }) if n_failures < MAX_RETRIES => {}
                Err(error) => return Err(error),
            }
            let pause = async { tokio::time::sleep(FIRST_WAIT * 2_u32.pow(n_failures)).await };
            self.bucket.wait(pause, progress)?;
        }
        Ok(spool.into_bytes()?)
    }

    /// Adds what is missing in the spool.
    async fn receive(&self, spool: &mut Spool, progress: &dyn Progress) -> Result<()> {
        let (start, n_bytes) = (spool.n_bytes(), self.meta.size);
        if start > 0 && start == n_bytes {
            return Ok(());
        }
        let failed = |e: object_store::Error| match e {
            object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. } => self.changed(),
            e => failure(&printable(self.url()), &e),
        };
        // A condition needs the quotes that some stores leave out when they list; then the answer is compared alone.
        let options = GetOptions {
            if_match: self.meta.e_tag.clone().filter(|tag| tag.starts_with('"')),
            range: (start > 0).then_some(GetRange::Bounded(start..n_bytes)),
            ..GetOptions::default()
        };
        let answer = self.bucket.store.get_opts(&self.meta.location, options).await.map_err(failed)?;
        if !is_same(&self.meta, &answer.meta) {
            return Err(self.changed());
        }
        let mut stream = answer.into_stream();
        while let Some(part) = stream.try_next().await.map_err(failed)? {
            if spool.n_bytes() + size(part.len()) > n_bytes {
                return Err(self.changed());
            }
            let written = spool.write_all(&part);
            written.map_err(|e| verbatim_store::Error::io(&self.url(), "write a download of", e))?;
            progress.advance(size(part.len()));
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
        }
        match spool.n_bytes() {
            n if n == n_bytes => Ok(()),
            n => Err(Error::ObjectStoreUnreachable {
                url: printable(self.url()),
                cause: format!("the answer ended after {n} of {n_bytes} bytes"),
            }),
        }
    }

    /// Checks that the object is still the one that was listed.
    ///
    /// # Errors
    /// [`verbatim_store::Error::Changed`] where it is not, and a store that does not answer.
    pub(crate) fn verify_unchanged(&self) -> Result<()> {
        match self.bucket.wait(self.bucket.store.head(&self.meta.location), &Silent)? {
            Ok(meta) if is_same(&self.meta, &meta) => Ok(()),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Err(self.changed()),
            Err(e) => Err(failure(&printable(self.url()), &e)),
        }
    }

    fn changed(&self) -> Error {
        Error::Store(verbatim_store::Error::Changed { path: self.url() })
    }
}

/// Whether two answers tell of one version of an object. Where one has no ETag, times say it, to the second, which is
/// what all answers have in common.
fn is_same(listed: &ObjectMeta, now: &ObjectMeta) -> bool {
    let tag = |meta: &ObjectMeta| meta.e_tag.as_deref().map(|tag| tag.trim_matches('"').to_owned());
    listed.size == now.size
        && match (tag(listed), tag(now)) {
            (Some(listed), Some(now)) => listed == now,
            _ => listed.last_modified.timestamp() == now.last_modified.timestamp(),
        }
}

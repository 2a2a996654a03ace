//! Requests to a hub over HTTP: few redirects, https (or loopback), the token for the endpoint's host alone,
//! time limits on every wait, retries, and never a byte more than declared.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use ureq::http::{StatusCode, Uri, header};
use ureq::{Agent, Body};
use verbatim_store::Progress;

use super::HubConfig;
use super::listing::RemoteFile;
use crate::error::{Error, Result};

/// How often one request is sent elsewhere before we give up.
const MAX_REDIRECTS: usize = 5;
/// Between two looks at whether the run was interrupted.
const NAP: Duration = Duration::from_millis(50);
/// The longest wait between two tries.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Why a request failed, and whether it is worth another try.
pub(super) enum Failure {
    Retry(Error),
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// A connection to one hub.
pub(super) struct Client<'a> {
    agent: Agent,
    endpoint: Uri,
    config: &'a HubConfig,
    progress: &'a dyn Progress,
}

impl<'a> Client<'a> {
    pub(super) fn new(config: &'a HubConfig, progress: &'a dyn Progress) -> Result<Self> {
        let bad = |cause: &str| {
            Error::InvalidArgument(format!(
                "hub endpoint: {cause}; expected https://host, or http on a loopback host"
            ))
        };
        let endpoint: Uri = config.endpoint.parse().map_err(|_| bad("no address"))?;
        let authority = endpoint.authority().ok_or_else(|| bad("no host"))?;
        if authority.as_str().contains('@') || endpoint.query().is_some() {
            return Err(bad("a user name, password or query does not belong there"));
        }
        if !is_https(&endpoint) && !is_loopback_http(&endpoint) {
            return Err(bad("not https"));
        }
        // The proxy is off by name, because the default reads the environment, which is the caller's part.
        let timeout = Some(config.timeout);
        let agent = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("verbatim/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(timeout)
            .timeout_connect(timeout)
            .timeout_per_read(timeout)
            .timeout_per_write(timeout)
            .timeout_recv_response(timeout)
            .build()
            .new_agent();
        Ok(Self { agent, endpoint, config, progress })
    }

    /// The address of something below the endpoint.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.config.endpoint.trim_end_matches('/'))
    }

    /// A small answer, of at most `max_bytes`.
    pub(super) fn get(&self, url: &str, max_bytes: u64) -> Result<Vec<u8>> {
        self.with_retries(|| {
            let mut bytes = Vec::new();
            let body = self.request(url)?.into_reader();
            let read = body.take(max_bytes + 1).read_to_end(&mut bytes);
            read.map_err(|e| unreachable(url, &format!("stopped after {} bytes: {e}", bytes.len())))?;
            if bytes.len() as u64 > max_bytes {
                return Err(untrusted(url, format!("sends more than {max_bytes} bytes")).into());
            }
            Ok(bytes)
        })
    }

    /// One try at a file: its bytes, no more than declared, checked against its hash.
    ///
    /// What arrived is in `sink` even when this fails; the caller throws it away.
    pub(super) fn download(
        &self,
        url: &str,
        file: &RemoteFile,
        sink: &mut impl Write,
        high_water: &mut u64,
    ) -> std::result::Result<(), Failure> {
        let mut body = self.request(url)?.into_reader();
        let mut hasher = file.hash.hasher(file.n_bytes);
        let mut buffer = vec![0u8; 1 << 16];
        let mut n_read = 0u64;
        loop {
            if self.progress.interrupted() {
                return Err(Error::Interrupted.into());
            }
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    return Err(unreachable(
                        url,
                        &format!("stopped after {n_read} of {} bytes: {e}", file.n_bytes),
                    ));
                }
            };
            n_read += n as u64;
            if n_read > file.n_bytes {
                return Err(
                    untrusted(url, format!("sends more than the declared {} bytes", file.n_bytes)).into()
                );
            }
            hasher.update(&buffer[..n]);
            sink.write_all(&buffer[..n]).map_err(|source| Error::Io {
                path: self.config.cache_dir.clone(),
                doing: "write a download",
                source,
            })?;
            // A retry starts again; what was counted once is not counted twice.
            self.progress.advance(n_read.saturating_sub(*high_water));
            *high_water = n_read.max(*high_water);
        }
        if n_read < file.n_bytes {
            let cause = format!("ended after {n_read} of the declared {} bytes", file.n_bytes);
            return Err(Failure::Retry(untrusted(url, cause)));
        }
        let found = hasher.finish();
        if found != file.hash {
            let cause = format!("has the hash {found}, declared was {}", file.hash);
            return Err(Failure::Retry(untrusted(url, cause)));
        }
        Ok(())
    }

    /// Tries until it works, fails for good, or has failed too often; waits twice as long each time.
    pub(super) fn with_retries<T>(
        &self,
        mut attempt: impl FnMut() -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let mut wait = self.config.retry_wait;
        let mut n_left = self.config.max_retries;
        loop {
            let error = match attempt() {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Retry(error)) => error,
            };
            if n_left == 0 {
                return Err(error);
            }
            n_left -= 1;
            self.sleep(wait)?;
            wait = (wait * 2).min(MAX_WAIT);
        }
    }

    fn sleep(&self, mut wait: Duration) -> Result<()> {
        while !wait.is_zero() {
            if self.progress.interrupted() {
                return Err(Error::Interrupted);
            }
            let nap = wait.min(NAP);
            thread::sleep(nap);
            wait -= nap;
        }
        Ok(())
    }

    /// The body of a successful answer, after at most five redirects.
    ///
    /// Of all headers only `Location` is read, and only as an address to ask next.
    fn request(&self, url: &str) -> std::result::Result<Body, Failure> {
        let mut at: Uri = url.parse().map_err(|_| Error::InvalidArgument(format!("{url}: no address")))?;
        let mut with_token = true;
        for _ in 0..=MAX_REDIRECTS {
            let is_local = is_loopback_http(&at) && is_loopback_http(&self.endpoint);
            if !is_https(&at) && !is_local {
                return Err(untrusted(url, "redirects to an address that is not https").into());
            }
            // Once off the endpoint's host, the token does not come back: the way led past strangers.
            with_token &= origin(&at) == origin(&self.endpoint);
            let mut request = self.agent.get(at.clone());
            if let Some(token) = self.config.token.as_ref().filter(|_| with_token) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.0));
            }
            let response = request.call().map_err(|e| unreachable(url, &e))?;
            if !response.status().is_redirection() {
                return status(url, response.status()).map(|()| response.into_body());
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            at = location
                .and_then(|location| resolve(&at, location))
                .ok_or_else(|| untrusted(url, "redirects to no address"))?;
        }
        Err(untrusted(url, format!("redirects more than {MAX_REDIRECTS} times")).into())
    }
}

/// What a status other than a redirect means for us.
fn status(url: &str, status: StatusCode) -> std::result::Result<(), Failure> {
    let not_there = |cause: &str| {
        Err(Failure::Final(Error::NotOnHub {
            url: url.to_owned(),
            cause: format!("{cause} (status {})", status.as_u16()),
        }))
    };
    match status.as_u16() {
        200 => Ok(()),
        401 | 403 => not_there("no such model, or it is private or gated; give a token that may read it"),
        404 => not_there("no such model, revision or file"),
        408 | 429 | 500..=599 => {
            Err(unreachable(url, &format!("the hub is busy or broken (status {})", status.as_u16())))
        }
        _ => not_there("the hub refuses"),
    }
}

fn unreachable(url: &str, cause: &impl Display) -> Failure {
    Failure::Retry(Error::Unreachable { url: url.to_owned(), cause: cause.to_string() })
}

fn untrusted(url: &str, cause: impl Into<String>) -> Error {
    Error::Untrusted { url: url.to_owned(), cause: cause.into() }
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

fn is_loopback_http(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("http") && loopback
}

/// Scheme, host and port: what a token is meant for.
fn origin(uri: &Uri) -> (Option<&str>, Option<&str>, Option<u16>) {
    (uri.scheme_str(), uri.host(), uri.port_u16())
}

/// The address that a redirect leads to; relative ones stay on the host.
fn resolve(at: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with("//") {
        return format!("{}:{location}", at.scheme_str()?).parse().ok();
    }
    if location.starts_with('/') {
        return format!("{}://{}{location}", at.scheme_str()?, at.authority()?).parse().ok();
    }
    location.parse().ok().filter(|uri: &Uri| uri.scheme().is_some() && uri.host().is_some())
}

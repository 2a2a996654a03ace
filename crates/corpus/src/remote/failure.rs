//! What a store's refusal means to a person. Answers are not repeated: they can name keys of accounts.

use std::error::Error as Cause;

use object_store::Error as StoreError;
use object_store::client::HttpError;

use crate::error::Error;

/// Addresses that credentials of the machine itself are asked at.
const MACHINE_CREDENTIALS: [&str; 3] = ["169.254.", "metadata.google.internal", "/metadata/identity/"];

/// The error of ours for one of a store's client.
pub(super) fn failure(url: &str, error: &StoreError) -> Error {
    let url = url.to_owned();
    let answer = error.to_string();
    let status = status(&answer);
    let what = match (code(&answer), status) {
        (Some(code), Some(status)) => format!(" (status {status}, {code})"),
        (Some(code), None) => format!(" ({code})"),
        (None, Some(status)) => format!(" (status {status})"),
        (None, None) => String::new(),
    };
    let cause = match error {
        StoreError::NotFound { .. } => format!("there is no such bucket or object{what}"),
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            format!("the store refuses, for want of credentials or a permission{what}")
        }
        _ if MACHINE_CREDENTIALS.iter().any(|address| answer.contains(address)) => {
            "no credentials are at hand; set those of the store in the environment (AWS_*, GOOGLE_*, AZURE_*)"
                .to_owned()
        }
        _ if matches!(status, Some(408 | 429 | 500..=599)) => {
            return Error::ObjectStoreUnreachable { url, cause: format!("it is busy or broken{what}") };
        }
        _ if status == Some(404) => format!("there is no such bucket or object{what}"),
        _ if status.is_some() => format!("the store refuses{what}"),
        _ if chain(error).any(|cause| cause.is::<HttpError>()) => {
            return Error::ObjectStoreUnreachable { url, cause: root(error) };
        }
        _ => root(error),
    };
    Error::ObjectUnreadable { url, cause }
}

fn chain<'a>(error: &'a StoreError) -> impl Iterator<Item = &'a (dyn Cause + 'static)> {
    std::iter::successors(Some(error as &(dyn Cause + 'static)), |&cause| cause.source())
}

/// The innermost cause: those around it repeat it, with addresses.
fn root(error: &StoreError) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// The HTTP status that an answer had. The client's own error for it cannot be named, so its text is read.
fn status(answer: &str) -> Option<u16> {
    let (_, rest) = answer.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The name that the store itself gives to what is wrong.
fn code(answer: &str) -> Option<&str> {
    let (_, rest) = answer.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (code.len() < 64 && code.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(code)
}

//! Personal data and secrets in a text, by what can be checked of them: check digits, lengths, ranges, prefixes. Knows
//! no names, addresses or dates of birth, and cannot say whether what it finds is anybody's.
//!
//! Each byte is looked at a bounded number of times, whatever the text: what begins at a byte has a greatest length.

mod addresses;
mod keys;
mod named;
mod numbers;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What a secret is. Where two overlap, the one that stands first here is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// A private key in PEM armour (RFC 7468), with its text.
    PrivateKey,
    /// A signed JSON web token (RFC 7519) whose header decodes.
    JsonWebToken,
    /// The id of an access key of Amazon Web Services.
    AwsAccessKey,
    /// A token of GitHub.
    GithubToken,
    /// A token of Slack.
    SlackToken,
    /// An API key of Google.
    GoogleApiKey,
    /// A live secret key of Stripe.
    StripeKey,
    /// An API key that begins as OpenAI's do, and several others'.
    SkKey,
    /// An international bank account number (ISO 13616): its country's form, and its check digits.
    Iban,
    /// The number of a payment card (ISO/IEC 7812): an issuer's prefix and length, and its check digit.
    PaymentCard,
    /// An e-mail address.
    EmailAddress,
    /// A social security number of the United States, within the ranges that are issued.
    UsSsn,
    /// A telephone number, international or as it is written in North America, France or Britain.
    PhoneNumber,
    /// A public address of the internet protocol.
    IpAddress,
    /// A random token that stands after a name such as `password` or `api_key`.
    NamedToken,
}

impl SecretKind {
    /// All kinds, in their order.
    pub const ALL: [SecretKind; 15] = [
        SecretKind::PrivateKey,
        SecretKind::JsonWebToken,
        SecretKind::AwsAccessKey,
        SecretKind::GithubToken,
        SecretKind::SlackToken,
        SecretKind::GoogleApiKey,
        SecretKind::StripeKey,
        SecretKind::SkKey,
        SecretKind::Iban,
        SecretKind::PaymentCard,
        SecretKind::EmailAddress,
        SecretKind::UsSsn,
        SecretKind::PhoneNumber,
        SecretKind::IpAddress,
        SecretKind::NamedToken,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            SecretKind::PrivateKey => "private-key",
            SecretKind::JsonWebToken => "json-web-token",
            SecretKind::AwsAccessKey => "aws-access-key",
            SecretKind::GithubToken => "github-token",
            SecretKind::SlackToken => "slack-token",
            SecretKind::GoogleApiKey => "google-api-key",
            SecretKind::StripeKey => "stripe-key",
            SecretKind::SkKey => "sk-key",
            SecretKind::Iban => "iban",
            SecretKind::PaymentCard => "payment-card",
            SecretKind::EmailAddress => "email-address",
            SecretKind::UsSsn => "us-ssn",
            SecretKind::PhoneNumber => "phone-number",
            SecretKind::IpAddress => "ip-address",
            SecretKind::NamedToken => "named-token",
        }
    }

    /// A value of this kind without what may be written one way or another, so that equal values are equal texts:
    /// numbers without their separators, addresses in lower case.
    pub fn normalized(self, value: &[u8]) -> String {
        let kept: Vec<u8> = match self {
            SecretKind::PaymentCard | SecretKind::UsSsn | SecretKind::PhoneNumber => {
                value.iter().copied().filter(u8::is_ascii_digit).collect()
            }
            SecretKind::Iban => value.iter().copied().filter(u8::is_ascii_alphanumeric).collect(),
            SecretKind::EmailAddress | SecretKind::IpAddress => value.to_ascii_lowercase(),
            _ => value.to_vec(),
        };
        String::from_utf8_lossy(&kept).into_owned()
    }
}

/// Where a secret stands in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// What it is.
    pub kind: SecretKind,
    /// Its bytes.
    pub range: Range<usize>,
}

/// The personal data and secrets of a text, in its order; none overlaps another.
///
/// ```
/// use verbatim_index::{SecretKind, secrets};
///
/// let found = secrets(b"Card 4111 1111 1111 1111, not 4111 1111 1111 1112; build 2024.01.02-3");
/// assert_eq!(found.len(), 1);
/// assert_eq!((found[0].kind, found[0].range.clone()), (SecretKind::PaymentCard, 5..24));
/// ```
pub fn secrets(text: &[u8]) -> Vec<Secret> {
    let mut found = Vec::new();
    keys::find(text, &mut found);
    numbers::find(text, &mut found);
    addresses::find(text, &mut found);
    named::find(text, &mut found);
    apart(found)
}

/// Of those that overlap, the one of the strongest kind, then the first, then the longest.
fn apart(mut found: Vec<Secret>) -> Vec<Secret> {
    found.sort_by_key(|secret| (secret.kind, secret.range.start, Reverse(secret.range.end)));
    let mut taken: BTreeMap<usize, Secret> = BTreeMap::new();
    for secret in found {
        // Those that are taken do not overlap, so that the last one that begins before this one's end also ends last.
        let last = taken.range(..secret.range.end).next_back();
        if last.is_none_or(|(_, last)| last.range.end <= secret.range.start) {
            taken.insert(secret.range.start, secret);
        }
    }
    taken.into_values().collect()
}

/// The byte before a place, 0 at the beginning.
fn before(text: &[u8], at: usize) -> u8 {
    if at == 0 { 0 } else { text[at - 1] }
}

/// The byte at a place, 0 at the end and beyond.
fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// The end of the bytes from `start` on that belong to a set, at most `most` of them.
fn run_end(text: &[u8], start: usize, most: usize, belongs: impl Fn(u8) -> bool) -> usize {
    let rest = &text[start.min(text.len())..];
    start + rest.iter().take(most).take_while(|byte| belongs(**byte)).count()
}

/// Letters, digits and the low line: what a word of a program is made of.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Shannon's entropy of the bytes of a text, in bits a byte.
fn entropy_bits(text: &[u8]) -> f64 {
    let mut counts = [0_u64; 256];
    for byte in text {
        counts[usize::from(*byte)] += 1;
    }
    let n = text.len() as f64;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / n);
    shares.map(|share| -share * share.log2()).sum()
}

/// Whether a key says that it is one of a manual.
fn is_example(text: &[u8]) -> bool {
    const MARK: &[u8] = b"EXAMPLE";
    text.windows(MARK.len()).any(|window| window.eq_ignore_ascii_case(MARK))
}

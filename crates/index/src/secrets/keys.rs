//! Keys that their issuers mark with a prefix, a length and an alphabet.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Secret, SecretKind, before, byte, entropy_bits, is_example, is_word, run_end};

/// How keys begin; the first that fits counts, so that the longer ones stand first.
const PREFIXES: [(&str, SecretKind); 23] = [
    ("-----BEGIN ", SecretKind::PrivateKey),
    ("eyJ", SecretKind::JsonWebToken),
    ("AKIA", SecretKind::AwsAccessKey),
    ("ASIA", SecretKind::AwsAccessKey),
    ("github_pat_", SecretKind::GithubToken),
    ("ghp_", SecretKind::GithubToken),
    ("gho_", SecretKind::GithubToken),
    ("ghu_", SecretKind::GithubToken),
    ("ghs_", SecretKind::GithubToken),
    ("ghr_", SecretKind::GithubToken),
    ("xoxa-", SecretKind::SlackToken),
    ("xoxb-", SecretKind::SlackToken),
    ("xoxe-", SecretKind::SlackToken),
    ("xoxo-", SecretKind::SlackToken),
    ("xoxp-", SecretKind::SlackToken),
    ("xoxr-", SecretKind::SlackToken),
    ("xoxs-", SecretKind::SlackToken),
    ("AIza", SecretKind::GoogleApiKey),
    ("sk_live_", SecretKind::StripeKey),
    ("rk_live_", SecretKind::StripeKey),
    ("sk-ant-", SecretKind::SkKey),
    ("sk-proj-", SecretKind::SkKey),
    ("sk-", SecretKind::SkKey),
];

/// The longest key that is no armoured one, and the longest part of a web token.
const MOST_KEY: usize = 512;
const MOST_PART: usize = 8192;
/// The least armoured text of a private key: the shortest, of 32 bytes, takes 64 characters.
const LEAST_ARMOUR: usize = 40;

static AUTOMATON: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let prefixes = PREFIXES.iter().map(|(prefix, _)| prefix);
    let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(prefixes);
    built.expect("a few short patterns are no large automaton")
});

pub(super) fn find(text: &[u8], found: &mut Vec<Secret>) {
    for prefix in AUTOMATON.find_iter(text) {
        let kind = PREFIXES[prefix.pattern().as_usize()].1;
        let (start, body) = (prefix.start(), prefix.end());
        let end = match kind {
            SecretKind::PrivateKey => private_key(text, body),
            _ if is_word(before(text, start)) || before(text, start) == b'-' => None,
            SecretKind::JsonWebToken => web_token(text, start),
            _ => key(kind, text, start, body),
        };
        found.extend(end.map(|end| Secret { kind, range: start..end }));
    }
}

fn key(kind: SecretKind, text: &[u8], start: usize, body: usize) -> Option<usize> {
    let end_of = |is_key: fn(u8) -> bool| run_end(text, body, MOST_KEY, is_key);
    let is_url_safe = |byte: u8| is_word(byte) || byte == b'-';
    let (end, is_valid) = match kind {
        SecretKind::AwsAccessKey => {
            let end = end_of(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            (end, end - body == 16 && !is_example(&text[body..end]))
        }
        SecretKind::GithubToken => {
            let end = end_of(is_word);
            // 36 letters and digits; a fine-grained one has 22, a low line and 59.
            let is_long = end - body == 82 && text[body + 22] == b'_';
            (end, if text[start..].starts_with(b"github") { is_long } else { end - body == 36 })
        }
        SecretKind::SlackToken => {
            let end = end_of(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let n_digits = text[body..end].iter().filter(|byte| byte.is_ascii_digit()).count();
            let has_letters = text[body..end].iter().any(u8::is_ascii_alphabetic);
            (end, end - body >= 20 && n_digits >= 5 && has_letters)
        }
        SecretKind::GoogleApiKey => {
            let end = run_end(text, body, MOST_KEY, is_url_safe);
            (end, end - body == 35)
        }
        SecretKind::StripeKey => {
            let end = end_of(|byte| byte.is_ascii_alphanumeric());
            (end, (24..=247).contains(&(end - body)))
        }
        _ => {
            let end = run_end(text, body, MOST_KEY, is_url_safe);
            (end, is_random_key(&text[body..end]))
        }
    };
    let is_ended = end - body < MOST_KEY && !is_word(byte(text, end));
    let is_varied = entropy_bits(&text[body..end]) >= 2.5;
    (is_valid && is_ended && is_varied).then_some(end)
}

/// Whether the rest of a key is random and no name of several words: 32 characters, letters and digits, 20 of them
/// without a hyphen.
fn is_random_key(body: &[u8]) -> bool {
    let longest = body.split(|byte| matches!(byte, b'-' | b'_')).map(<[u8]>::len).max().unwrap_or(0);
    body.len() >= 32
        && longest >= 20
        && body.iter().any(u8::is_ascii_digit)
        && body.iter().any(u8::is_ascii_alphabetic)
        && entropy_bits(body) >= 3.0
}

/// The end of a private key whose label begins at `label`: the text up to the armour's last line, and that line.
fn private_key(text: &[u8], label: usize) -> Option<usize> {
    let label_end =
        run_end(text, label, 64, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
    let name = &text[label..label_end];
    let is_private = name.ends_with(b"PRIVATE KEY") || name.ends_with(b"PRIVATE KEY BLOCK");
    if !is_private || !text[label_end..].starts_with(b"-----") {
        return None;
    }
    let body = label_end + 5;
    // A text that is quoted in a program has `\n` for the ends of lines.
    let is_armour = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=:,.()\\ \t\r\n\"'".contains(&byte);
    let mut end = run_end(text, body, usize::MAX, is_armour);
    while byte(text, end) == b'-' && byte(text, end + 1) != b'-' {
        end = run_end(text, end + 1, usize::MAX, is_armour);
    }
    let is_base64 = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if text[body..end].iter().filter(is_base64).count() < LEAST_ARMOUR || longest_word(&text[body..end]) < 32
    {
        return None;
    }
    let last_line = &text[end..];
    if !last_line.starts_with(b"-----END ") {
        return Some(end);
    }
    let end = run_end(text, end + 5, 96, |byte| byte != b'-' && byte != b'\n');
    Some(run_end(text, end, 5, |byte| byte == b'-'))
}

/// The longest run of the alphabet of base64: prose has no such words.
fn longest_word(text: &[u8]) -> usize {
    let is_end = |byte: &u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'/');
    text.split(is_end).map(<[u8]>::len).max().unwrap_or(0)
}

/// The end of a signed token: three parts, of which the first decodes to an object that names an algorithm.
fn web_token(text: &[u8], start: usize) -> Option<usize> {
    let part = |from: usize| run_end(text, from, MOST_PART, |byte| is_word(byte) || byte == b'-');
    let header = part(start);
    let payload = part(header + 1);
    let is_two_parts = byte(text, header) == b'.' && byte(text, payload) == b'.';
    if !is_two_parts || !text[header + 1..].starts_with(b"eyJ") {
        return None;
    }
    let signature = part(payload + 1);
    let decoded = URL_SAFE_NO_PAD.decode(&text[start..header]).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&decoded).ok()?;
    let is_signed = header.get("alg").is_some_and(serde_json::Value::is_string);
    (is_signed && signature - payload > 20).then_some(signature)
}

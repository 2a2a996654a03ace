//! Random tokens of no known issuer, where a name before them says that they are secret. A random token without a name
//! may be a hash, an id or a picture.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::{Secret, SecretKind, before, byte, entropy_bits, is_example, is_word, run_end};

/// What names of secrets have in them.
const NAMES: [&str; 19] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "bearer",
    "credential",
    "api_key",
    "api-key",
    "apikey",
    "api key",
    "access_key",
    "access-key",
    "accesskey",
    "auth_key",
    "private_key",
    "privatekey",
    "encryption_key",
];

/// The most of a name after what it has in it, and the most of a value.
const MOST_NAME: usize = 32;
const MOST_VALUE: usize = 512;
/// Below these lengths and entropies (bits a character) a value is no random one. A random hexadecimal digit has 4 bits;
/// 20 random letters and digits come to about 4, as some of them are equal.
const LEAST_HEX: (usize, f64) = (32, 3.0);
const LEAST_BASE64: (usize, f64) = (20, 3.7);
/// Characters of a random value without a mark between; shorter ones make names.
const LEAST_UNBROKEN: usize = 16;

static AUTOMATON: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let built =
        AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::LeftmostFirst).build(NAMES);
    built.expect("a few short patterns are no large automaton")
});

pub(super) fn find(text: &[u8], found: &mut Vec<Secret>) {
    for name in AUTOMATON.find_iter(text) {
        let Some(start) = value_start(text, name.end()) else { continue };
        let end = run_end(text, start, MOST_VALUE + 1, |byte| is_word(byte) || b"+/=-".contains(&byte));
        // What is called, looked up or joined to something is no value.
        let goes_on = matches!(byte(text, end), b'(' | b'[' | b'$' | b'{')
            || (matches!(byte(text, end), b'.' | b':' | b'@') && is_word(byte(text, end + 1)));
        // `private_key: X509PrivateKey = ...` has a type there.
        let is_type = byte(text, run_end(text, end, 2, |byte| byte == b' ')) == b'=';
        if !goes_on && !is_type && end - start <= MOST_VALUE && is_random(&text[start..end]) {
            found.push(Secret { kind: SecretKind::NamedToken, range: start..end });
        }
    }
}

/// Where the value of a name begins: after the rest of the name, an equals sign or a colon, and marks around them.
fn value_start(text: &[u8], name: usize) -> Option<usize> {
    // A small letter that goes on after a small letter makes another word, such as `tokenizer`.
    let plural = usize::from(byte(text, name) == b's');
    if before(text, name).is_ascii_lowercase() && byte(text, name + plural).is_ascii_lowercase() {
        return None;
    }
    let is_blank = |byte: u8| byte == b' ' || byte == b'\t';
    let is_quote = |byte: u8| matches!(byte, b'"' | b'\'' | b'`' | b'\\');
    let after_name = run_end(text, name, MOST_NAME, |byte| is_word(byte) || matches!(byte, b'-' | b']'));
    let at = run_end(text, after_name, 2, is_quote);
    let sign = run_end(text, at, 2, is_blank);
    let mut at = run_end(text, sign, 2, |byte| matches!(byte, b'=' | b':' | b'>'));
    // `Authorization: Bearer` has a blank and no sign.
    let is_bearer = text[..name].len() >= 6 && text[name - 6..name].eq_ignore_ascii_case(b"bearer");
    if at == sign && !(is_bearer && sign > after_name) {
        return None;
    }
    at = run_end(text, at, 2, is_blank);
    Some(run_end(text, at, 2, is_quote))
}

fn is_random(value: &[u8]) -> bool {
    let (letters, digits) = (value.iter().any(u8::is_ascii_alphabetic), value.iter().any(u8::is_ascii_digit));
    if !letters || !digits || is_uuid(value) || is_example(value) {
        return false;
    }
    let is_hex = value.iter().all(u8::is_ascii_hexdigit);
    let (least_len, least_bits) = if is_hex { LEAST_HEX } else { LEAST_BASE64 };
    let is_mark = |byte: &u8| matches!(byte, b'-' | b'_' | b'/' | b'+' | b'=');
    let longest = |parts: &mut dyn Iterator<Item = &[u8]>| parts.map(<[u8]>::len).max().unwrap_or(0);
    let unbroken = longest(&mut value.split(is_mark));
    // Words with a digit at one end make the names of programs.
    let worded = longest(&mut value.split(|byte| !byte.is_ascii_alphabetic()));
    value.len() >= least_len
        && 4 * worded < 3 * value.len()
        && unbroken >= LEAST_UNBROKEN
        && entropy_bits(value) >= least_bits
}

/// 8-4-4-4-12 hexadecimal digits: an id.
fn is_uuid(value: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(u8::is_ascii_hexdigit);
    let parts = value.split(|byte| *byte == b'-');
    parts.clone().map(<[u8]>::len).eq([8, 4, 4, 4, 12]) && parts.into_iter().all(is_hex)
}

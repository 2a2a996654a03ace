//! Addresses: of mail, and of machines in the public internet.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Secret, SecretKind, before, byte, is_word, run_end};

/// The most characters of the part before the `@`, and of the part after it (RFC 5321, section 4.5.3.1).
const MOST_LOCAL: usize = 64;
const MOST_DOMAIN: usize = 255;
/// The most characters of an IPv6 address, and one that tells that it is longer.
const MOST_IPV6: usize = 40;

/// Ends of names of files that look like top-level domains: `icon@2x.png` is no address.
const FILE_ENDS: [&[u8]; 12] =
    [b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"ts", b"json", b"html", b"pdf"];

pub(super) fn find(text: &[u8], found: &mut Vec<Secret>) {
    for (at, byte) in text.iter().enumerate() {
        let secret = match byte {
            b'@' => email(text, at).map(|range| Secret { kind: SecretKind::EmailAddress, range }),
            b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' if begins_word(text, at) => {
                let end = ipv4(text, at).or_else(|| ipv6(text, at));
                end.map(|end| Secret { kind: SecretKind::IpAddress, range: at..end })
            }
            _ => None,
        };
        found.extend(secret);
    }
}

/// The address around an `@`: letters, digits and a few marks before, a domain of two labels or more after. Quoted
/// local parts, comments and letters beyond ASCII are left alone.
fn email(text: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
    let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b"._%+-'".contains(&byte);
    let n_local = text[..at].iter().rev().take(MOST_LOCAL + 1).take_while(|byte| is_local(**byte)).count();
    let mut start = at - n_local.min(at);
    // A quotation mark around the address is none of it.
    while start < at && matches!(text[start], b'\'' | b'.' | b'-') {
        start += 1;
    }
    let local = &text[start..at];
    if local.is_empty() || n_local > MOST_LOCAL || local.ends_with(b".") || has_two_points(local) {
        return None;
    }
    // A handle of two `@`, and what stands before a machine's name in a URL.
    if before(text, start) == b'@' || is_of_url(text, start) {
        return None;
    }
    let end = domain_end(text, at + 1)?;
    let goes_on = matches!(byte(text, end), b'@' | b'_') || (byte(text, end) == b':' && local == b"git");
    (!goes_on).then_some(start..end)
}

fn has_two_points(text: &[u8]) -> bool {
    text.windows(2).any(|pair| pair == b"..")
}

/// Whether a place lies between the `//` of a URL and the `@` that follows.
fn is_of_url(text: &[u8], at: usize) -> bool {
    let window = &text[at.saturating_sub(MOST_LOCAL)..at];
    let word = window.rsplit(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    let slashes = word.windows(3).rposition(|three| three == b"://");
    slashes.is_some_and(|slashes| !word[slashes + 3..].contains(&b'/'))
}

/// The end of a domain whose last label is letters and no file's ending.
fn domain_end(text: &[u8], start: usize) -> Option<usize> {
    let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let end = run_end(text, start, MOST_DOMAIN + 1, is_domain);
    let domain = &text[start..end];
    // The point that ends a sentence is none of the domain's.
    let n_marks = domain.iter().rev().take_while(|byte| matches!(byte, b'.' | b'-')).count();
    let domain = &domain[..domain.len() - n_marks];
    let is_label =
        |label: &[u8]| (1..=63).contains(&label.len()) && !label.starts_with(b"-") && !label.ends_with(b"-");
    let last = domain.rsplit(|byte| *byte == b'.').next()?;
    let is_top = (2..=24).contains(&last.len())
        && last.iter().all(u8::is_ascii_alphabetic)
        && !FILE_ENDS.contains(&&last.to_ascii_lowercase()[..]);
    let is_whole = domain.len() <= MOST_DOMAIN && domain.len() > last.len();
    (is_whole && is_top && domain.split(|byte| *byte == b'.').all(is_label)).then_some(start + domain.len())
}

fn begins_word(text: &[u8], at: usize) -> bool {
    let last = before(text, at);
    !is_word(last) && !matches!(last, b'.' | b':' | b'-' | b'/')
        || last == b'/' && before(text, at.saturating_sub(1)) == b'/'
}

/// The end of a public address of version 4 with three numbers of two digits or more: versions of programs have short
/// ones.
fn ipv4(text: &[u8], start: usize) -> Option<usize> {
    let end = run_end(text, start, 16, |byte| byte.is_ascii_digit() || byte == b'.');
    // The point that ends a sentence.
    let end = end - usize::from(before(text, end) == b'.');
    let address: Ipv4Addr = str::from_utf8(&text[start..end]).ok()?.parse().ok()?;
    let octets = address.octets();
    let is_local = address.is_private() || address.is_loopback() || address.is_link_local() || octets[0] == 0;
    let is_benchmark = octets[0] == 198 && octets[1] & 0xfe == 18;
    let is_special = is_benchmark || address.is_multicast() || address.is_documentation() || octets[0] >= 240;
    let is_long = octets.iter().filter(|octet| **octet >= 10).count() >= 3;
    (!is_local && !is_special && is_long && !is_word(byte(text, end)) && byte(text, end) != b'-')
        .then_some(end)
}

/// The end of a global address of version 6, of 2000::/3.
fn ipv6(text: &[u8], start: usize) -> Option<usize> {
    let end = run_end(text, start, MOST_IPV6, |byte| byte.is_ascii_hexdigit() || byte == b':');
    let end = end - usize::from(before(text, end) == b':' && byte(text, end.saturating_sub(2)) != b':');
    let address: Ipv6Addr = str::from_utf8(text.get(start..end)?).ok()?.parse().ok()?;
    let segments = address.segments();
    // 2001::/23 and 2001:db8::/32 are for protocols and for documentation.
    let is_reserved = segments[0] == 0x2001 && (segments[1] < 0x200 || segments[1] == 0xdb8);
    let is_global = segments[0] & 0xe000 == 0x2000 && !is_reserved;
    // `2001::1` may be a pair of numbers; three parts are needed.
    let n_parts = segments.iter().filter(|segment| **segment != 0).count();
    (is_global && n_parts > 2 && !is_word(byte(text, end))).then_some(end)
}

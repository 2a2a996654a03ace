//! Numbers with rules: payment cards, bank accounts, social security, telephones. What only might be one is left alone:
//! a number that goes on beyond what the rule takes, an amount, a part of a longer name.

use iban::Iban;

use super::{Secret, SecretKind, before, byte, is_word, run_end};

/// Digits of the longest number with a rule, and one that tells that a number is longer.
const MOST_DIGITS: usize = 20;
/// Groups of digits of the number with most of them, and one that tells that it goes on.
const MOST_GROUPS: usize = 6;

pub(super) fn find(text: &[u8], found: &mut Vec<Secret>) {
    let mut at = 0;
    while at < text.len() {
        let (mut next, mut start) = (at + 1, at);
        let number = match text[at] {
            b'0'..=b'9' => {
                next = run_end(text, at, usize::MAX, |byte| byte.is_ascii_digit());
                let number = grouped(text, at);
                // The parenthesis that opened before an area's code.
                start -= number.map_or(0, |(_, end)| usize::from(text[at..end].contains(&b')')));
                number
            }
            b'+' => international(text, at).map(|end| (SecretKind::PhoneNumber, end)),
            b'A'..=b'Z' => iban(text, at).map(|end| (SecretKind::Iban, end)),
            _ => None,
        };
        found.extend(number.map(|(kind, end)| Secret { kind, range: start..end }));
        at = next;
    }
}

/// Groups of digits with one separator between each two.
struct Groups {
    /// Where each begins and how many digits it has.
    groups: Vec<(usize, usize)>,
    /// What stands between: a blank, a hyphen, a point, or, after a first group in parentheses, `)`.
    separators: Vec<u8>,
}

impl Groups {
    fn read(text: &[u8], start: usize) -> Groups {
        let (mut groups, mut separators) = (Vec::new(), Vec::new());
        let mut at = start;
        while groups.len() < MOST_GROUPS {
            let end = run_end(text, at, MOST_DIGITS, |byte| byte.is_ascii_digit());
            groups.push((at, end - at));
            let is_first_in_parentheses = groups.len() == 1 && before(text, start) == b'(';
            let separator = byte(text, end);
            at = match separator {
                b' ' | b'-' | b'.' => end + 1,
                b')' if is_first_in_parentheses => {
                    end + 1 + usize::from(matches!(byte(text, end + 1), b' ' | b'-'))
                }
                _ => break,
            };
            if !byte(text, at).is_ascii_digit() {
                break;
            }
            separators.push(separator);
        }
        separators.truncate(groups.len() - 1);
        Groups { groups, separators }
    }

    /// The end of the first groups and what separates them, if they have these lengths and one separator throughout,
    /// but for parentheses around the first.
    fn shaped(&self, lengths: &[usize]) -> Option<(usize, Separator)> {
        let n = lengths.len();
        if self.groups.len() < n || self.groups.iter().zip(lengths).any(|((_, length), l)| length != l) {
            return None;
        }
        let separators = &self.separators[..n - 1];
        let in_parentheses = separators.first() == Some(&b')');
        let rest = &separators[usize::from(in_parentheses)..];
        let separator = rest.first().copied().unwrap_or(b' ');
        let (start, length) = self.groups[n - 1];
        rest.iter()
            .all(|other| *other == separator)
            .then_some((start + length, Separator { in_parentheses, byte: separator }))
    }

    /// The length of the group after the first `n`, 0 if there is none that only the same separator keeps apart.
    fn next(&self, n: usize) -> usize {
        let is_apart = n > 1 && self.separators.get(n - 1) != self.separators.get(n - 2);
        self.groups.get(n).filter(|_| !is_apart).map_or(0, |(_, length)| *length)
    }
}

/// What stands between the groups of a number.
struct Separator {
    in_parentheses: bool,
    byte: u8,
}

/// What the groups of digits from a place on are, and their end.
fn grouped(text: &[u8], start: usize) -> Option<(SecretKind, usize)> {
    if !may_begin(text, start) {
        return None;
    }
    let groups = Groups::read(text, start);
    card(text, &groups)
        .map(|end| (SecretKind::PaymentCard, end))
        .or_else(|| social_security(text, &groups).map(|end| (SecretKind::UsSsn, end)))
        .or_else(|| national(text, &groups).map(|end| (SecretKind::PhoneNumber, end)))
        .filter(|(_, end)| may_end(text, *end))
}

/// Whether a number of its own may begin here: not within a word, an amount, a date, a path or a longer number.
fn may_begin(text: &[u8], start: usize) -> bool {
    match before(text, start) {
        b'.' | b',' | b'-' => start < 2 || !is_word(before(text, start - 1)),
        b'/' | b'+' | b'$' | b'%' | b'\\' => false,
        last => !is_word(last),
    }
}

fn may_end(text: &[u8], end: usize) -> bool {
    match byte(text, end) {
        b'.' | b',' => !byte(text, end + 1).is_ascii_digit(),
        b'-' | b'/' => !is_word(byte(text, end + 1)),
        b'@' | b'%' => false,
        next => !is_word(next),
    }
}

/// Digits of the group before a place, where a blank stands between.
fn digits_before(text: &[u8], start: usize) -> usize {
    if start < 2 || text[start - 1] != b' ' {
        return 0;
    }
    text[..start - 1].iter().rev().take(MOST_DIGITS).take_while(|byte| byte.is_ascii_digit()).count()
}

/// How the digits of cards are grouped: in fours, as those of American Express and of Diners Club are, or not at all.
const CARD_GROUPS: [&[usize]; 11] = [
    &[4, 4, 4, 4, 3],
    &[4, 4, 4, 4],
    &[4, 6, 5],
    &[4, 6, 4],
    &[19],
    &[18],
    &[17],
    &[16],
    &[15],
    &[14],
    &[13],
];

fn card(text: &[u8], groups: &Groups) -> Option<usize> {
    let start = groups.groups[0].0;
    CARD_GROUPS.iter().find_map(|lengths| {
        let (end, separator) = groups.shaped(lengths)?;
        let is_separated = !separator.in_parentheses && separator.byte != b'.';
        // Four more digits on either side, and this is a table.
        let n = lengths.len();
        let is_of_table = n > 1 && (groups.next(n) == 4 || digits_before(text, start) == 4);
        let digits = digits(&text[start..end]);
        // Bare numbers of so many digits are ids and constants more often than cards, but for UnionPay's.
        let is_bare_id = n == 1 && digits.len() > 16 && !digits.starts_with(&[6, 2]);
        (is_separated
            && !is_of_table
            && !is_bare_id
            && !is_article(&digits)
            && is_issued(&digits)
            && luhn(&digits))
        .then_some(end)
    })
}

/// The values of the digits among these bytes.
fn digits(text: &[u8]) -> Vec<u8> {
    text.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0').collect()
}

/// Whether an issuer of cards has this prefix and this length (ISO/IEC 7812 and the networks' published ranges).
fn is_issued(digits: &[u8]) -> bool {
    let prefix = |n: usize| digits[..n].iter().fold(0_u32, |number, digit| 10 * number + u32::from(*digit));
    let n = digits.len();
    match prefix(4) {
        4000..=4999 => matches!(n, 13 | 16 | 19),                  // Visa
        5100..=5599 | 2221..=2720 => n == 16,                      // Mastercard
        3400..=3499 | 3700..=3799 => n == 15,                      // American Express
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => n == 14, // Diners Club
        6011 | 6440..=6599 => matches!(n, 16 | 19),                // Discover
        3528..=3589 | 2200..=2204 | 6200..=6299 => n >= 16,        // JCB, Mir, UnionPay
        5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763 => n >= 13, // Maestro
        _ => false,
    }
}

/// The check digit of ISO/IEC 7812-1, annex B: from the right, every second digit counts twice, its digits added up.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| {
            let value = u32::from(*digit) << (i % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != digits[0])
}

/// Whether 13 digits have the check digit of an article's number (EAN-13): those of a country begin as cards do.
fn is_article(digits: &[u8]) -> bool {
    let sum: u32 =
        digits.iter().enumerate().map(|(i, digit)| (1 + 2 * (i as u32 % 2)) * u32::from(*digit)).sum();
    digits.len() == 13 && sum.is_multiple_of(10)
}

/// AAA-GG-SSSS: no area 000, 666 or from 900 on, no group 00, no serial 0000, neither of the two numbers that were
/// printed on samples.
fn social_security(text: &[u8], groups: &Groups) -> Option<usize> {
    let (end, separator) = groups.shaped(&[3, 2, 4])?;
    let number = &text[groups.groups[0].0..end];
    let is_issued = !matches!(&number[..3], b"000" | b"666")
        && number[0] != b'9'
        && &number[4..6] != b"00"
        && &number[7..] != b"0000"
        && !matches!(number, b"078-05-1120" | b"219-09-9999");
    (separator.byte == b'-' && !separator.in_parentheses && is_issued && groups.next(3) == 0).then_some(end)
}

/// How numbers are grouped that are written without their country: in North America, in France, in Britain.
const NATIONAL_GROUPS: [&[usize]; 7] =
    [&[3, 3, 4], &[1, 3, 3, 4], &[2, 2, 2, 2, 2], &[3, 4, 4], &[5, 3, 3], &[4, 3, 4], &[5, 6]];

/// A telephone number without its country.
fn national(text: &[u8], groups: &Groups) -> Option<usize> {
    let start = groups.groups[0].0;
    if digits_before(text, start) > 0 {
        return None;
    }
    NATIONAL_GROUPS.iter().find_map(|lengths| {
        let (end, Separator { in_parentheses, byte }) = groups.shaped(lengths)?;
        let digits = digits(&text[start..end]);
        let is_number = match (lengths, &digits[..]) {
            // Three numbers with blanks between are three numbers.
            ([3, 3, 4], number) => (in_parentheses || byte != b' ') && is_american(number),
            ([1, 3, 3, 4], [1, number @ ..]) => byte != b' ' && is_american(number),
            ([2, ..], [0, 1..=9, ..]) => !in_parentheses && !is_progression(&digits),
            ([3, 4, 4], [0, 2, ..]) | ([5, ..], [0, 1 | 7, ..]) => byte != b'.',
            ([4, ..], [0, 1 | 3 | 8, ..]) => byte != b'.',
            _ => false,
        };
        (is_number && groups.next(lengths.len()) == 0).then_some(end)
    })
}

/// Ten digits of the North American plan: area and exchange begin with 2 to 9 and are none of the service codes N11.
fn is_american(digits: &[u8]) -> bool {
    let is_code = |code: &[u8]| code[0] >= 2 && code[1..] != [1, 1];
    digits.len() == 10 && is_code(&digits[..3]) && is_code(&digits[3..6])
}

/// Whether numbers of two digits grow or fall by the same each time, as in a list.
fn is_progression(digits: &[u8]) -> bool {
    let numbers: Vec<i32> =
        digits.chunks(2).map(|pair| 10 * i32::from(pair[0]) + i32::from(pair[1])).collect();
    numbers.windows(3).all(|three| three[1] - three[0] == three[2] - three[1])
}

/// The end of a telephone number that begins with its country (ITU-T E.164), whose `+` stands at `start`.
fn international(text: &[u8], start: usize) -> Option<usize> {
    if is_word(before(text, start)) || before(text, start) == b'+' || !byte(text, start + 1).is_ascii_digit()
    {
        return None;
    }
    let (mut digits, mut ends) = (Vec::new(), Vec::new());
    let mut at = start + 1;
    while digits.len() < MOST_DIGITS {
        let end = run_end(text, at, MOST_DIGITS, |byte| byte.is_ascii_digit());
        // (0) is what is left out when a number is dialled with its country.
        let is_trunk_zero = before(text, at) == b'(' && &text[at..end] == b"0";
        digits.extend(text[at..end].iter().filter(|_| !is_trunk_zero).map(|byte| byte - b'0'));
        let is_open = before(text, at) == b'(';
        if is_open && byte(text, end) != b')' {
            break;
        }
        at = end + usize::from(is_open);
        if may_end(text, end) || is_open {
            ends.push((end, digits.len()));
        }
        at += usize::from(matches!(byte(text, at), b' ' | b'-' | b'.' | b'/'));
        at += usize::from(byte(text, at) == b'(' && !is_open);
        if at == end || !byte(text, at).is_ascii_digit() {
            break;
        }
    }
    let is_whole = |(_, n_digits): &&(usize, usize)| is_assigned(&digits[..*n_digits]);
    ends.iter().rev().find(is_whole).map(|(end, _)| *end)
}

/// Whether a country has this calling code, and its numbers this length.
fn is_assigned(digits: &[u8]) -> bool {
    let code = |n: usize| digits.iter().take(n).fold(0_u32, |number, digit| 10 * number + u32::from(*digit));
    let n_code = match (code(1), code(2), code(3)) {
        (1, ..) => return is_american(&digits[1..]),
        (7, ..) => 1,
        (
            _,
            20 | 27 | 30..=34 | 36 | 39..=41 | 43..=49 | 51..=58 | 60..=66 | 81 | 82 | 84 | 86 | 90..=95 | 98,
            _,
        ) => 2,
        (
            _,
            _,
            211..=299 | 350..=389 | 420..=423 | 500..=509 | 590..=599 | 670..=692 | 850..=886 | 960..=998,
        ) => 3,
        _ => return false,
    };
    // In Italy alone the 0 of the area stays.
    let is_national = digits.get(n_code).is_some_and(|first| *first > 0 || code(2) == 39);
    let is_varied = digits.iter().any(|digit| *digit != digits[digits.len() - 1]);
    (8..=13).contains(&digits.len()) && is_national && is_varied
}

/// Characters of a group of an account number on paper, and of the longest account number.
const IBAN_GROUP: usize = 4;
const MOST_IBAN: usize = 34;

/// The end of an account number that begins at `start`, as machines write it or in groups of four.
fn iban(text: &[u8], start: usize) -> Option<usize> {
    let head = text.get(start..start + IBAN_GROUP)?;
    let is_head = head[..2].iter().all(u8::is_ascii_uppercase) && head[2..].iter().all(u8::is_ascii_digit);
    if !is_head || is_word(before(text, start)) {
        return None;
    }
    let is_valid =
        |end: &usize| str::from_utf8(&text[start..*end]).is_ok_and(|number| number.parse::<Iban>().is_ok());
    let mut end = run_end(text, start, MOST_IBAN + 1, is_word);
    if end - start != IBAN_GROUP {
        return Some(end).filter(is_valid);
    }
    let mut ends = Vec::new();
    while ends.len() <= MOST_IBAN / IBAN_GROUP && byte(text, end) == b' ' {
        let next = run_end(text, end + 1, IBAN_GROUP + 1, is_word);
        if next == end + 1 || next > end + 1 + IBAN_GROUP {
            break;
        }
        ends.push(next);
        let is_last = next < end + 1 + IBAN_GROUP;
        end = next;
        if is_last {
            break;
        }
    }
    ends.into_iter().rev().find(is_valid)
}

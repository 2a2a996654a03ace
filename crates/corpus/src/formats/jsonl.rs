//! JSON lines: finds the records of a stretch of bytes and the text within each record.
//!
//! JSON itself is read by serde_json, and only as far as needed: members other than the text are
//! skipped without being built, so their nesting and their numbers have no limit.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::document::size;
use crate::formats::unescape::decoded_len;
use crate::ids::IdHash;
use crate::records::{Found, Rules, Scan};
use crate::reject::Cause;
use crate::schema::FieldPath;

/// A fault and the byte of the record where it is.
pub(crate) type Fault = (Cause, usize);

/// Finds the records of `content[range]`, which starts at a line's start and ends at a line's end.
pub(crate) fn scan(content: &[u8], range: Range<usize>, rules: &Rules) -> Scan {
    let mut scan = Scan::default();
    let mut start = range.start;
    while start < range.end {
        let newline = memchr::memchr(b'\n', &content[start..range.end]).map(|at| start + at);
        let next = newline.map_or(range.end, |at| at + 1);
        let end = match newline {
            Some(at) if at > start && content[at - 1] == b'\r' => at - 1,
            Some(at) => at,
            None => range.end,
        };
        let record = &content[start..end];
        if record.trim_ascii().is_empty() {
            scan.skip();
        } else {
            match check(record, newline.is_some(), rules) {
                Ok(found) => scan.push(start, record, found),
                Err((cause, byte)) => scan.reject(&rules.path, start + byte, cause, record.len()),
            }
        }
        start = next;
    }
    scan
}

fn check(record: &[u8], is_terminated: bool, rules: &Rules) -> Result<Found, Fault> {
    if size(record.len()) > rules.max_doc_bytes {
        return Err((Cause::TooLong { max_doc_bytes: rules.max_doc_bytes }, 0));
    }
    // No record that ends in a zero byte is JSON.
    read(record, is_terminated, rules).map_err(|fault| match memchr::memchr(0, record) {
        Some(at) if record[at..].iter().all(|&b| b == 0) => (Cause::NulPadding, at),
        _ => fault,
    })
}

fn read(record: &[u8], is_terminated: bool, rules: &Rules) -> Result<Found, Fault> {
    // The fast check does not say where it failed.
    let json = simdutf8::basic::from_utf8(record).or_else(|_| std::str::from_utf8(record));
    let json = json.map_err(|e| (Cause::InvalidUtf8, e.valid_up_to()))?;
    let (raw, id) = match find(json, rules) {
        Err((Cause::Json(_), at)) if !is_terminated && is_cut(json) => return Err((Cause::Truncated, at)),
        found => found?,
    };
    let start = offset(json, raw);
    let n_text_bytes = decoded_len(raw.as_bytes(), rules.lone_surrogate);
    let n_text_bytes = n_text_bytes.ok_or_else(|| (lone_surrogate(&rules.text_field), start))?;
    Ok(Found { text: start..start + raw.len(), n_text_bytes, id })
}

/// Where a part of a record is in it.
fn offset(json: &str, part: &str) -> usize {
    part.as_ptr() as usize - json.as_ptr() as usize
}

/// The inside of the quotes of the text, and the id if there is one.
fn find<'a>(json: &'a str, rules: &Rules) -> Result<(&'a str, Option<IdHash>), Fault> {
    let (value, id) = members(json, rules.text_field.names(), rules.id_field.as_ref().map(FieldPath::names))?;
    let quoted = value.get();
    let found = match quoted.as_bytes()[0] {
        b'"' => return Ok((&quoted[1..quoted.len() - 1], id)),
        b'n' => "null",
        b't' | b'f' => "true or false",
        b'[' => "an array",
        b'{' => "an object",
        _ => "a number",
    };
    Err((
        Cause::NotAString { field: rules.text_field.to_string(), found: found.into() },
        offset(json, quoted),
    ))
}

/// The value at a path of names, unread, and the id at another path. Every object on the way is read to its end, so that a
/// second member of the same name is noticed.
fn members<'a>(
    json: &'a str,
    path: &[String],
    id: Option<&[String]>,
) -> Result<(&'a RawValue, Option<IdHash>), Fault> {
    let (mut object, mut found, mut id_hash) = (json, None, None);
    for depth in 0..path.len() {
        let at = offset(json, object);
        let field = || path[..=depth].join(".");
        if !object.trim_ascii_start().starts_with('{') {
            return Err(match depth {
                0 => not_an_object(json),
                _ => (Cause::Missing { field: field() }, at),
            });
        }
        let wanted = Wanted { name: &path[depth], id: id.filter(|_| depth == 0).map(|id| &*id[0]) };
        let mut reader = serde_json::Deserializer::from_str(object);
        let counted = reader.deserialize_map(wanted);
        let counted = counted.and_then(|counted| reader.end().map(|()| counted));
        let (value, id_value) = counted.map_err(|e| json_fault(&e, at))?;
        match value {
            Count::One(value) => {
                object = value.get();
                found = Some(value);
            }
            Count::None => return Err((Cause::Missing { field: field() }, at)),
            Count::Many => return Err((Cause::Duplicate { field: field() }, at)),
        }
        if let (Count::One(value), Some([_, below @ ..])) = (id_value, id) {
            let value = if below.is_empty() {
                Ok(value)
            } else {
                members(value.get(), below, None).map(|(value, _)| value)
            };
            id_hash = value.ok().and_then(|value| IdHash::of_json(value.get()));
        }
    }
    Ok((found.expect("a field path has at least one name"), id_hash))
}

/// The value at `path` of a record, if the record has it once. `text` is where the record has its text, as it stands
/// between its quotes: it is most of the record, and only read if it is asked for.
pub(crate) fn field(record: &[u8], text: Range<usize>, path: &FieldPath) -> Option<serde_json::Value> {
    let without_text = [&record[..text.start], &record[text.end..]].concat();
    let json = std::str::from_utf8(&without_text).ok()?;
    let value = members(json, path.names(), None).ok()?.0.get();
    let start = offset(json, value);
    if (start..start + value.len()).contains(&text.start) {
        let json = std::str::from_utf8(record).ok()?;
        return serde_json::from_str(members(json, path.names(), None).ok()?.0.get()).ok();
    }
    serde_json::from_str(value).ok()
}

/// True if the outermost object has a member of this name, however often.
pub(crate) fn has_member(record: &[u8], name: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_slice(record);
    !matches!(reader.deserialize_map(Wanted { name, id: None }), Ok((Count::None, _)))
}

fn lone_surrogate(path: &FieldPath) -> Cause {
    Cause::LoneSurrogate { field: path.to_string() }
}

/// A line that is JSON but no object, or no JSON at all.
fn not_an_object(json: &str) -> Fault {
    match serde_json::from_str::<IgnoredAny>(json) {
        Ok(_) => (Cause::NotAnObject, 0),
        Err(e) => json_fault(&e, 0),
    }
}

/// True when a record that is not JSON would need more bytes to become it.
fn is_cut(json: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(json).is_err_and(|e| e.is_eof())
}

fn json_fault(error: &serde_json::Error, base: usize) -> Fault {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    (Cause::Json(message), base + error.column().saturating_sub(1))
}

/// How often an object has a member.
enum Count<'a> {
    None,
    One(&'a RawValue),
    Many,
}

impl<'a> Count<'a> {
    fn and(self, value: &'a RawValue) -> Count<'a> {
        match self {
            Count::None => Count::One(value),
            Count::One(_) | Count::Many => Count::Many,
        }
    }
}

/// Reads one object to its end, keeping the values of one or two members unread.
#[derive(Clone, Copy)]
struct Wanted<'p> {
    name: &'p str,
    id: Option<&'p str>,
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = (Count<'de>, Count<'de>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut id) = (Count::None, Count::None);
        while let Some((is_wanted, is_id)) = members.next_key_seed(Name(self))? {
            if !is_wanted && !is_id {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = members.next_value()?;
            if is_wanted {
                found = found.and(value);
            }
            if is_id {
                id = id.and(value);
            }
        }
        Ok((found, id))
    }
}

/// Compares a member's name with those wanted, without keeping it.
struct Name<'p>(Wanted<'p>);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = (bool, bool);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = (bool, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok((name == self.0.name, self.0.id == Some(name)))
    }
}

//! Plain text: one document a file, or one a line. Bytes that are not UTF-8 are documents too.

use std::ops::Range;

use crate::document::size;
use crate::records::{Found, Rules, Scan};
use crate::reject::Cause;

/// Takes `content[range]` as one document; nothing but white space is none.
pub(crate) fn scan_file(content: &[u8], range: Range<usize>, rules: &Rules) -> Scan {
    let mut scan = Scan::default();
    push(&mut scan, content, range, rules);
    scan
}

/// Takes each line of `content[range]` as a document, without its line end.
pub(crate) fn scan_lines(content: &[u8], range: Range<usize>, rules: &Rules) -> Scan {
    let mut scan = Scan::default();
    let mut start = range.start;
    while start < range.end {
        let newline = memchr::memchr(b'\n', &content[start..range.end]).map(|at| start + at);
        let end = match newline {
            Some(at) if at > start && content[at - 1] == b'\r' => at - 1,
            Some(at) => at,
            None => range.end,
        };
        push(&mut scan, content, start..end, rules);
        start = newline.map_or(range.end, |at| at + 1);
    }
    scan
}

fn push(scan: &mut Scan, content: &[u8], range: Range<usize>, rules: &Rules) {
    let record = &content[range.clone()];
    if record.trim_ascii().is_empty() {
        scan.skip();
    } else if size(record.len()) > rules.max_doc_bytes {
        let cause = Cause::TooLong { max_doc_bytes: rules.max_doc_bytes };
        scan.reject(&rules.path, range.start, cause, record.len());
    } else {
        scan.push(range.start, record, Found { text: 0..record.len(), n_text_bytes: record.len(), id: None });
    }
}

//! What is wrong with a file of JSON, told without a word of what stands in it.

use serde_json::error::Category;

/// What kind of fault stopped the reading of JSON.
///
/// The message of `serde_json` quotes values and names of fields. Files that hold what a model recited must not
/// be quoted in a message that ends in a terminal or a log, so that only this and the place may be told.
pub fn json_fault(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        Category::Io => "cannot be read",
        Category::Syntax => "not JSON",
        Category::Data => "a value of the wrong type, unknown or missing",
        Category::Eof => "ends before the JSON does",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_by_its_kind_and_quotes_nothing() {
        let cases = [("[1", "ends before"), ("[1}", "not JSON"), ("\"a heron\"", "wrong type")];
        for (text, expected) in cases {
            let error = serde_json::from_str::<Vec<u8>>(text).unwrap_err();
            assert!(json_fault(&error).contains(expected), "{text}: {}", json_fault(&error));
        }
    }
}

//! Texts that a person chose to ask a model for, and the places in them.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use verbatim_lm::{LanguageModel, Tokenizer};
use verbatim_store::Bytes;

use crate::error::{Error, Result};
use crate::store::read_line;
use crate::target::{Grid, Role, Target};

/// A text that was chosen, by the line of a file.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct ChosenText {
    /// Its name; the line's number where there is none.
    #[serde(default)]
    pub id: Option<String>,
    /// What the model is given. Without it, the text is asked for window by window.
    #[serde(default)]
    pub prefix: Option<String>,
    /// What it is to go on with; the whole text where there is no prefix.
    #[serde(alias = "text")]
    pub suffix: String,
}

impl ChosenText {
    /// What tells it from other texts, without telling it.
    pub fn fingerprint(&self) -> String {
        let text = format!("{:?} {:?} {:?}", self.id, self.prefix, self.suffix);
        verbatim_store::xxh3_128_hex(text.as_bytes())
    }
}

impl fmt::Debug for ChosenText {
    /// Leaves the text out: a log line must never carry it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ChosenText").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Reads chosen texts: a `.jsonl` with `prefix` and `suffix`, or `text`, and an optional `id` a line; any other file is one
/// text.
///
/// # Errors
/// [`Error::BadFile`] with the line, or those of reading.
pub fn read_texts(path: &Path) -> Result<Vec<ChosenText>> {
    let bytes = Bytes::open(path)?;
    if path.extension().is_some_and(|extension| extension == "jsonl") {
        let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
        return lines
            .filter(|(text, _)| !text.trim_ascii().is_empty())
            .map(|(text, line)| read_line(path, line, text))
            .collect();
    }
    let bad = |cause: std::str::Utf8Error| Error::BadFile {
        path: path.to_path_buf(),
        line: 1 + bytes[..cause.valid_up_to()].iter().filter(|byte| **byte == b'\n').count(),
        cause: "not UTF-8".to_owned(),
    };
    let id = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let suffix = std::str::from_utf8(&bytes).map_err(bad)?.to_owned();
    Ok(vec![ChosenText { id, prefix: None, suffix }])
}

/// The targets of chosen texts: a given prefix and suffix as they are; of other texts a window every `stride` tokens, from
/// the first on. A text that is shorter than one window has none.
///
/// # Errors
/// [`Error::InvalidArgument`] for a stride of 0, a prefix or suffix without a token, or a pair that does not fit the context.
pub(crate) fn chosen_targets(
    texts: &[ChosenText],
    model: (&dyn LanguageModel, &Tokenizer),
    grid: &Grid,
    stride: usize,
) -> Result<Vec<Target>> {
    if stride == 0 {
        return Err(Error::InvalidArgument("a stride of 0 tokens, expected at least 1".to_owned()));
    }
    let mut targets = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        match &text.prefix {
            Some(prefix) => targets.push(pair(number, text, prefix, model)?),
            None => targets.extend(windows(number, text, model.1, grid, stride)),
        }
    }
    Ok(targets)
}

pub(crate) fn label(number: usize, text: &ChosenText) -> String {
    text.id.clone().unwrap_or_else(|| format!("line {}", number + 1))
}

/// The one target of a given prefix and suffix. Each is encoded by itself: the model is given the prefix's own tokens.
fn pair(
    number: usize,
    text: &ChosenText,
    prefix: &str,
    (model, tokenizer): (&dyn LanguageModel, &Tokenizer),
) -> Result<Target> {
    let (prompt, continuation) = (tokenizer.encode(prefix), tokenizer.encode(&text.suffix));
    let n_inputs = (prompt.len() + continuation.len()).saturating_sub(1);
    if prompt.is_empty() || continuation.is_empty() || n_inputs > model.context_len() {
        let (label, most) = (label(number, text), model.context_len());
        let cause = format!("{label}: prefix and suffix must have tokens, and fit in the context of {most}");
        return Err(Error::InvalidArgument(cause));
    }
    Ok(Target {
        label: label(number, text),
        text: number as u64,
        text_bytes: (prefix.len() + text.suffix.len()) as u64,
        start_byte: prefix.len() as u64,
        prompt,
        continuation,
        suffix_text: text.suffix.clone(),
        copies: None,
        role: Role::Chosen,
    })
}

fn windows(
    number: usize,
    text: &ChosenText,
    tokenizer: &Tokenizer,
    grid: &Grid,
    stride: usize,
) -> Vec<Target> {
    let (n_prefix, n_suffix) = grid.longest();
    let tokens = tokenizer.encode_with_places(&text.suffix);
    let ids: Vec<u32> = tokens.iter().map(|(id, _)| *id).collect();
    let windows = ids.windows(n_prefix + n_suffix).enumerate().step_by(stride);
    windows
        .map(|(start, window)| Target {
            label: label(number, text),
            text: number as u64,
            text_bytes: text.suffix.len() as u64,
            start_byte: tokens[start + n_prefix].1 as u64,
            prompt: window[..n_prefix].to_vec(),
            continuation: window[n_prefix..].to_vec(),
            suffix_text: String::from_utf8_lossy(&tokenizer.decode(&window[n_prefix..])).into_owned(),
            copies: None,
            role: Role::Chosen,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use verbatim_lm::Scripted;
    use verbatim_store::write_private;

    use super::*;
    use crate::testing::tokenizer;

    fn grid() -> Grid {
        Grid { prefixes: vec![4], suffixes: vec![3] }
    }

    fn chosen(lines: &str) -> Result<Vec<Target>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("texts.jsonl");
        write_private(&path, lines.as_bytes()).unwrap();
        let model = Scripted::new(tokenizer().vocab_size(), 16);
        chosen_targets(&read_texts(&path)?, (&model, tokenizer()), &grid(), 2)
    }

    #[test]
    fn chosen_texts_are_pairs_as_they_are_or_windows_of_a_text() {
        let text = "the cat and the dog";
        let tokens = tokenizer().encode(text);
        let lines = format!(
            "{{\"id\": \"a\", \"prefix\": \"the cat\", \"suffix\": \" and\"}}\n\n{{\"text\": \"{text}\"}}\n"
        );
        let targets = chosen(&lines).unwrap();
        assert_eq!((&targets[0].label[..], targets[0].start_byte), ("a", 7));
        assert_eq!(targets[0].prompt, tokenizer().encode("the cat"));
        assert_eq!(targets[0].continuation, tokenizer().encode(" and"));
        let windows: Vec<Vec<u32>> = tokens.windows(7).step_by(2).map(<[u32]>::to_vec).collect();
        assert!(windows.len() > 1);
        let found = targets[1..].iter().map(|target| [&target.prompt[..], &target.continuation].concat());
        assert!(found.eq(windows));
        assert!(targets[1..].iter().all(|target| target.label == "line 2" && target.role == Role::Chosen));
        assert!(chosen("{\"text\": \"the\"}").unwrap().is_empty(), "shorter than a window");
    }

    #[test]
    fn fault_46_texts_that_cannot_be_asked_for_are_refused_without_being_told() {
        for (lines, code) in [
            ("{\"text\": 3}", 65),
            ("quiet heron", 65),
            ("{\"prefix\": \"quiet heron\"}", 65),
            ("{\"prefix\": \"\", \"suffix\": \"heron\"}", 2),
            ("{\"prefix\": \"quiet heron, quiet heron, quiet heron\", \"suffix\": \"heron\"}", 2),
        ] {
            let error = chosen(lines).unwrap_err();
            assert_eq!(error.exit_code(), code, "{lines}");
            assert!(!format!("{error} {error:?}").contains("heron"), "{error:?}");
        }
        let target = &chosen("{\"text\": \"quiet heron, quiet heron\"}").unwrap()[0];
        assert!(!format!("{target:?}").contains("heron"));
    }
}

//! What a weights file must be before any of its tensors is read: not a pickle, and a safetensors header
//! whose every number has been checked. It allocates nothing that the header merely claims.
//!
//! The format (github.com/huggingface/safetensors, "Format"): eight bytes, the header's length N, little
//! endian; N bytes of JSON, tensor names with type, shape and byte range; then the tensors' bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};

use crate::error::{Error, Result};

/// The longest header that is read, in bytes; GPT-2 XL needs less than a hundredth of it.
const MAX_HEADER_BYTES: u64 = 8 << 20;
/// The most tensors that one file may hold.
const MAX_TENSORS: usize = 100_000;
/// The most dimensions of a tensor.
const MAX_RANK: usize = 8;
/// The largest single dimension; keeps a zero beside a huge number from overflowing a later product.
const MAX_DIMENSION: u64 = 1 << 40;
/// The longest name of a tensor, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// Ends of names by which pickled weights go.
const PICKLE_EXTENSIONS: [&str; 7] = ["bin", "pt", "pth", "ckpt", "pkl", "pickle", "joblib"];

/// The type of a tensor's elements, as safetensors names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Dtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    F16,
    Bf16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

impl Dtype {
    /// The length of one element in bytes.
    pub(crate) fn n_bytes(self) -> u64 {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// One tensor of a checked header. The product of `shape` fits its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TensorEntry {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// The length of the tensor in the file.
    pub(crate) n_bytes: u64,
}

/// Opens a regular file (a pipe would wait for ever) and gives its length in bytes.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => {
            Error::Missing { path: path.to_path_buf(), cause: "no such file".to_owned() }
        }
        _ => Error::Io { path: path.to_path_buf(), doing: "open", source },
    };
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::BadFile { path: path.to_path_buf(), cause: "not a regular file".to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let n_bytes = file.metadata().map_err(failed)?.len();
    Ok((file, n_bytes))
}

/// Reads a regular file of at most `max_bytes`.
pub(crate) fn read_capped(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let (file, n_bytes) = open_regular(path)?;
    if n_bytes > max_bytes {
        let cause = format!("{n_bytes} bytes, at most {max_bytes} are read");
        return Err(Error::BadFile { path: path.to_path_buf(), cause });
    }
    let mut bytes = Vec::new();
    let read = file.take(max_bytes).read_to_end(&mut bytes);
    read.map_err(|source| Error::Io { path: path.to_path_buf(), doing: "read", source })?;
    Ok(bytes)
}

/// Refuses a file whose name says that it is a pickle.
pub(crate) fn refuse_pickle_name(path: &Path) -> Result<()> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    if PICKLE_EXTENSIONS.contains(&extension.as_str()) { Err(pickle(path)) } else { Ok(()) }
}

fn pickle(path: &Path) -> Error {
    Error::Refused {
        path: path.to_path_buf(),
        reason: "a pickle can run code; convert to safetensors with a tool that you trust",
    }
}

/// Whether a file that is no safetensors begins like a zip archive or a pickle: PyTorch writes both.
fn begins_like_pickle(start: &[u8]) -> bool {
    let zip = start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06");
    let protocol = matches!(start, [0x80, 2..=5, ..]);
    // Protocols 0 and 1 begin without a magic word; these are the first opcodes that real files have.
    let text = start.starts_with(b"(dp") || start.starts_with(b"(lp") || start.starts_with(b"c");
    zip || protocol || text
}

/// Reads and checks the header of a safetensors stream of `file_bytes` bytes in all.
///
/// The entries come in the order of their bytes, which follow the header without a gap, so that the caller
/// can go on reading where this function stopped.
///
/// # Errors
/// [`Error::Refused`] for a pickle, [`Error::BadFile`] with the tensor's name, [`Error::Io`].
pub(crate) fn read_header(reader: &mut impl Read, file_bytes: u64, path: &Path) -> Result<Vec<TensorEntry>> {
    let bad = |cause: String| Error::BadFile { path: path.to_path_buf(), cause };
    let io = |source| Error::Io { path: path.to_path_buf(), doing: "read the header", source };
    let mut start = [0u8; 8];
    let n_start = read_up_to(reader, &mut start).map_err(io)?;
    let no_safetensors = |cause: &str| {
        if begins_like_pickle(&start[..n_start]) {
            pickle(path)
        } else {
            bad(format!("no safetensors file: {cause}"))
        }
    };
    let header_bytes = u64::from_le_bytes(start);
    if n_start < 8 || header_bytes > file_bytes.saturating_sub(8) {
        return Err(no_safetensors(&format!("{file_bytes} bytes are too few for the header")));
    }
    if header_bytes > MAX_HEADER_BYTES {
        return Err(no_safetensors(&format!(
            "header of {header_bytes} bytes, at most {MAX_HEADER_BYTES} are read"
        )));
    }
    let mut header = vec![0u8; header_bytes as usize];
    reader.read_exact(&mut header).map_err(io)?;
    if header.first() != Some(&b'{') {
        return Err(no_safetensors("the header does not begin with `{`"));
    }
    let header: Header = serde_json::from_slice(&header).map_err(|e| bad(format!("header: {e}")))?;
    check(header, file_bytes - 8 - header_bytes).map_err(bad)
}

/// Fills `buffer` as far as the stream goes.
fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match reader.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// The header as the file has it, in the order of its keys, duplicates kept.
struct Header(Vec<(String, RawTensor)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: Dtype,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from tensor names to types, shapes and offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
                let mut tensors = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<BTreeMap<String, String>>()?;
                        continue;
                    }
                    if tensors.len() == MAX_TENSORS {
                        return Err(de::Error::custom(format!("more than {MAX_TENSORS} tensors")));
                    }
                    if name.is_empty()
                        || name.len() > MAX_NAME_BYTES
                        || !name.bytes().all(|b| b.is_ascii_graphic())
                    {
                        return Err(de::Error::custom(format!("tensor name {name:?} is not plain")));
                    }
                    let tensor = map
                        .next_value::<RawTensor>()
                        .map_err(|e| de::Error::custom(format!("tensor `{name}`: {e}")))?;
                    tensors.push((name, tensor));
                }
                Ok(Header(tensors))
            }
        }
        deserializer.deserialize_map(Tensors)
    }
}

/// Checks names, shapes and offsets against `data_bytes` bytes of tensors; sorts by place.
fn check(header: Header, data_bytes: u64) -> std::result::Result<Vec<TensorEntry>, String> {
    let mut tensors = header.0;
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(pair) = tensors.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("tensor `{}` is listed twice", pair[0].0));
    }
    // Stable, so that empty tensors at one place stay in the order of their names.
    tensors.sort_by_key(|(_, tensor)| tensor.data_offsets);
    let mut place = 0;
    let mut entries = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let (begin, end) = tensor.data_offsets;
        if begin != place || end < begin || end > data_bytes {
            return Err(format!(
                "tensor `{name}`: bytes {begin} to {end}, expected to begin at {place} and end within {data_bytes}"
            ));
        }
        place = end;
        entries.push(entry(name, &tensor)?);
    }
    if place != data_bytes {
        return Err(format!("{} bytes behind the last tensor belong to none", data_bytes - place));
    }
    Ok(entries)
}

/// Checks one shape against its byte range.
fn entry(name: String, tensor: &RawTensor) -> std::result::Result<TensorEntry, String> {
    let n_bytes = tensor.data_offsets.1 - tensor.data_offsets.0;
    let shape: Option<Vec<usize>> = tensor
        .shape
        .iter()
        .map(|&d| if d <= MAX_DIMENSION { usize::try_from(d).ok() } else { None })
        .collect();
    // The product leaves zeros out, so that a zero cannot hide an overflow from a reader that multiplies
    // in another order.
    let product = tensor
        .shape
        .iter()
        .filter(|&&d| d != 0)
        .try_fold(tensor.dtype.n_bytes(), |product, &d| product.checked_mul(d));
    let expected = if tensor.shape.contains(&0) { product.map(|_| 0) } else { product };
    match (shape, expected) {
        (Some(shape), Some(expected)) if shape.len() <= MAX_RANK && expected == n_bytes => {
            Ok(TensorEntry { name, dtype: tensor.dtype, shape, n_bytes })
        }
        _ => Err(format!(
            "tensor `{name}`: {n_bytes} bytes do not fit shape {:?} of {:?}",
            &tensor.shape[..tensor.shape.len().min(MAX_RANK)],
            tensor.dtype
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, n_data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + n_data, 0);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<TensorEntry>> {
        read_header(&mut &bytes[..], bytes.len() as u64, Path::new("model.safetensors"))
    }

    fn refusal(bytes: &[u8]) -> String {
        let error = read(bytes).unwrap_err();
        assert_eq!(error.exit_code(), 65, "{error}");
        error.to_string()
    }

    #[test]
    fn a_file_written_by_the_formats_own_crate_is_accepted() {
        let (a, b) = ([0u8; 24], [0u8; 4]);
        let view = |dtype, shape: &[usize], bytes| {
            safetensors::tensor::TensorView::new(dtype, shape.to_vec(), bytes).unwrap()
        };
        let bytes = safetensors::serialize(
            [
                ("h.0.weight", view(safetensors::Dtype::F32, &[2, 3], &a[..])),
                ("h.0.bias", view(safetensors::Dtype::BF16, &[2], &b[..])),
            ],
            None,
        )
        .unwrap();
        let mut found = read(&bytes).unwrap();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let expected = [("h.0.bias", Dtype::Bf16, vec![2], 4), ("h.0.weight", Dtype::F32, vec![2, 3], 24)];
        for (entry, (name, dtype, shape, n_bytes)) in found.iter().zip(expected) {
            assert_eq!((entry.name.as_str(), entry.dtype, entry.n_bytes), (name, dtype, n_bytes));
            assert_eq!(entry.shape, shape);
        }
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn fault_50_a_pickle_under_another_name_is_refused_by_policy() {
        let pickles: [&[u8]; 5] = [
            b"PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00archive/data.pkl",
            b"\x80\x02}q\x00X\x05\x00\x00\x00modelq\x01K\x01s.",
            b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94.",
            b"cos\nsystem\n(S'true'\ntR.",
            b"(dp0\nS'weight'\np1\n",
        ];
        for bytes in pickles {
            let error = read(bytes).unwrap_err();
            assert_eq!(error.exit_code(), 77, "{error}");
            assert!(error.to_string().contains("pickle can run code; convert to safetensors"), "{error}");
        }
        for name in ["pytorch_model.bin", "model.PT", "x.ckpt", "x.pkl"] {
            assert_eq!(refuse_pickle_name(Path::new(name)).unwrap_err().exit_code(), 77);
        }
        refuse_pickle_name(Path::new("model.safetensors")).unwrap();
        // A header of 0x10280 bytes begins with the bytes of a pickle's protocol 2, and is none.
        let padded = format!("{{{}}}", " ".repeat(0x10280 - 2));
        assert_eq!(read(&file(&padded, 0)).unwrap(), []);
    }

    #[test]
    fn fault_51_every_lie_of_a_header_is_refused_with_the_tensors_name() {
        let w = |rest: &str| format!(r#"{{"w":{{{rest}}}}}"#);
        let lies = [
            // Shape and bytes disagree, or overflow, or hide an overflow behind a zero.
            (w(r#""dtype":"F32","shape":[3],"data_offsets":[0,8]"#), 8, "tensor `w`"),
            (w(r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]"#), 0, "tensor `w`"),
            (w(r#""dtype":"F32","shape":[0,18446744073709551615,4],"data_offsets":[0,0]"#), 0, "tensor `w`"),
            (w(r#""dtype":"F32","shape":[0,1099511627776,1099511627776],"data_offsets":[0,0]"#), 0, "tensor `w`"),
            (w(r#""dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]"#), 1, "tensor `w`"),
            // Places outside the file, backwards, with holes, or overlapping.
            (w(r#""dtype":"U8","shape":[9],"data_offsets":[0,9]"#), 8, "tensor `w`"),
            (w(r#""dtype":"U8","shape":[4],"data_offsets":[8,4]"#), 8, "tensor `w`"),
            (w(r#""dtype":"U8","shape":[4],"data_offsets":[4,8]"#), 8, "tensor `w`"),
            (w(r#""dtype":"U8","shape":[4],"data_offsets":[0,4]"#), 8, "4 bytes behind the last tensor"),
            (
                r#"{"v":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#.to_owned(),
                6,
                "tensor `w`",
            ),
            // Types and numbers that are none.
            (w(r#""dtype":"F99","shape":[1],"data_offsets":[0,1]"#), 1, "tensor `w`"),
            (w(r#""dtype":"U8","shape":[-1],"data_offsets":[0,1]"#), 1, "tensor `w`"),
            (w(r#""dtype":"U8","shape":[1.5],"data_offsets":[0,1]"#), 1, "tensor `w`"),
            (w(r#""dtype":"U8","shape":[1],"data_offsets":[0,1],"code":"x""#), 1, "tensor `w`"),
            // Names.
            (
                r#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#.to_owned(),
                2,
                "tensor `w` is listed twice",
            ),
            (r#"{"\u001b[2J":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.to_owned(), 1, "is not plain"),
            (r#"{"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.to_owned(), 1, "is not plain"),
            // No header at all.
            ("[]".to_owned(), 0, "does not begin with"),
            ("{".to_owned(), 0, "header"),
            (r#"{"__metadata__":{"a":1}}"#.to_owned(), 0, "header"),
        ];
        for (header, n_data, expected) in lies {
            let message = refusal(&file(&header, n_data));
            assert!(message.contains(expected), "{header}: {message}");
        }
    }

    #[test]
    fn fault_51_the_caps_hold_before_anything_is_allocated() {
        let mut huge = u64::MAX.to_le_bytes().to_vec();
        huge.push(b'{');
        assert!(refusal(&huge).contains("too few"));
        let mut long = ((MAX_HEADER_BYTES + 1).to_le_bytes()).to_vec();
        long.resize(8 + MAX_HEADER_BYTES as usize + 1, b' ');
        assert!(refusal(&long).contains("at most 8388608"));
        for n in 0..10 {
            refusal(&file("{}", 0)[..n]);
        }
        let tensors: Vec<String> = (0..=MAX_TENSORS)
            .map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
            .collect();
        assert!(
            refusal(&file(&format!("{{{}}}", tensors.join(",")), 0)).contains("more than 100000 tensors")
        );
    }

    #[test]
    fn fault_51_mutated_headers_never_panic_and_never_pass_with_other_bytes() {
        // Every accepted mutant must still describe exactly the bytes that are there.
        let header = r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F16","shape":[3],"data_offsets":[16,22]}}"#;
        let original = file(header, 22);
        for place in 0..original.len() - 22 {
            for flip in [0x01, 0x02, 0x10, 0x20, 0x80] {
                let mut mutant = original.clone();
                mutant[place] ^= flip;
                if let Ok(entries) = read(&mutant) {
                    assert_eq!(entries.iter().map(|e| e.n_bytes).sum::<u64>(), 22, "place {place}");
                    for entry in &entries {
                        let product = entry.shape.iter().product::<usize>() as u64 * entry.dtype.n_bytes();
                        assert_eq!(product, entry.n_bytes);
                    }
                }
            }
        }
    }
}

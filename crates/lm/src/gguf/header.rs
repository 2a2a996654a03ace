//! What the header of a GGUF file must be before any of its tensors is read. It allocates nothing that the header
//! merely claims, and no other reader ever sees the header: candle's panics on some.
//!
//! The format (github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3): a magic word, the version, how many tensors
//! and how many pairs of metadata; the pairs; for each tensor its name, dimensions, type and offset; then, aligned, the
//! tensors.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use candle_core::quantized::GgmlDType;

/// The longest header that is read, in bytes: a vocabulary of a million long tokens fits.
const MAX_HEADER_BYTES: u64 = 256 << 20;
/// The most pairs of metadata.
const MAX_PAIRS: u64 = 1 << 16;
/// The most tensors.
const MAX_TENSORS: u64 = 100_000;
/// The longest key or name, in bytes.
const MAX_NAME_BYTES: u64 = 512;
/// The most dimensions of a tensor.
const MAX_RANK: u32 = 4;
/// The largest single dimension.
const MAX_DIMENSION: u64 = 1 << 40;

/// A value of the metadata. Arrays of arrays are refused: nothing needs them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Any whole number.
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(Vec<u8>),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<Vec<u8>>),
}

/// One tensor of a checked header.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: GgmlDType,
    /// The slowest dimension first, as everywhere but in the file.
    pub(super) shape: Vec<usize>,
    /// From the beginning of the file.
    pub(super) start: u64,
    pub(super) n_bytes: u64,
}

/// A checked header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, Value>,
    /// In the order of their places, which do not overlap and lie in the file.
    pub(super) tensors: Vec<Entry>,
    /// Bytes of the file that have been read.
    pub(super) n_read: u64,
}

/// Reads and checks the header of a file of `file_bytes` bytes; the error says what is wrong.
pub(super) fn read(reader: &mut impl Read, file_bytes: u64) -> Result<Header, String> {
    let mut source = Source { reader, position: 0, end: file_bytes.min(MAX_HEADER_BYTES) };
    if &source.bytes::<4>()? != b"GGUF" {
        return Err("no GGUF file: the magic word is missing".to_owned());
    }
    match source.u32()? {
        2 | 3 => {}
        // A big-endian file has the version's bytes the other way round.
        version if version.swap_bytes() < 16 => return Err("the file is big-endian".to_owned()),
        version => return Err(format!("version {version}, expected 2 or 3")),
    }
    let (n_tensors, n_pairs) = (source.u64()?, source.u64()?);
    if n_tensors > MAX_TENSORS || n_pairs > MAX_PAIRS {
        return Err(format!(
            "{n_tensors} tensors and {n_pairs} pairs of metadata, at most {MAX_TENSORS} and {MAX_PAIRS} are read"
        ));
    }
    let mut metadata = BTreeMap::new();
    for _ in 0..n_pairs {
        let key = source.name()?;
        let kind = source.u32()?;
        let value = source.value(kind).map_err(|cause| format!("`{key}`: {cause}"))?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("`{key}` is given twice"));
        }
    }
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(&Value::Integer(n)) if (1..=1 << 20).contains(&n) && (n as u64).is_power_of_two() => n as u64,
        Some(other) => return Err(format!("general.alignment is {other:?}, expected a power of two")),
    };
    let raw = (0..n_tensors).map(|_| source.tensor()).collect::<Result<Vec<_>, _>>()?;
    let n_read = source.position;
    let data = n_read.next_multiple_of(alignment);
    Ok(Header { metadata, tensors: place(raw, data, alignment, file_bytes)?, n_read })
}

/// A tensor as the header names it, its offset counted from the first tensor's.
struct RawTensor {
    name: String,
    dtype: GgmlDType,
    shape: Vec<usize>,
    offset: u64,
    n_bytes: u64,
}

/// Puts tensors in the order of their places and checks these.
fn place(mut raw: Vec<RawTensor>, data: u64, alignment: u64, file_bytes: u64) -> Result<Vec<Entry>, String> {
    let mut names = BTreeSet::new();
    if let Some(twice) = raw.iter().find(|tensor| !names.insert(&tensor.name)) {
        return Err(format!("tensor `{}` is listed twice", twice.name));
    }
    raw.sort_by_key(|tensor| tensor.offset);
    let mut end = data;
    let mut entries = Vec::with_capacity(raw.len());
    for RawTensor { name, dtype, shape, offset, n_bytes } in raw {
        let start =
            data.checked_add(offset).filter(|start| *start >= end && offset.is_multiple_of(alignment));
        let stop = start.and_then(|start| start.checked_add(n_bytes)).filter(|stop| *stop <= file_bytes);
        let (Some(start), Some(stop)) = (start, stop) else {
            return Err(format!(
                "tensor `{name}`: {n_bytes} bytes at offset {offset} overlap another tensor, are not aligned to \
                 {alignment} or end after the file"
            ));
        };
        end = stop;
        entries.push(Entry { name, dtype, shape, start, n_bytes });
    }
    Ok(entries)
}

/// A reader that never goes past the end and knows where it is.
struct Source<'a, R> {
    reader: &'a mut R,
    position: u64,
    end: u64,
}

impl<R: Read> Source<'_, R> {
    /// Refuses what would go past the end, before anything is allocated for it.
    fn need(&self, n_bytes: u64) -> Result<(), String> {
        if n_bytes <= self.end - self.position {
            return Ok(());
        }
        Err(format!("{n_bytes} bytes at byte {} go past the end of what is read", self.position))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.need(N as u64)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        self.position += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<Vec<u8>, String> {
        let n_bytes = self.u64()?;
        self.need(n_bytes)?;
        let mut bytes = vec![0; n_bytes as usize];
        self.reader.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        self.position += n_bytes;
        Ok(bytes)
    }

    /// A key or a tensor's name.
    fn name(&mut self) -> Result<String, String> {
        let bytes = self.text()?;
        let plain = !bytes.is_empty()
            && bytes.len() as u64 <= MAX_NAME_BYTES
            && bytes.iter().all(u8::is_ascii_graphic);
        if plain {
            return Ok(bytes.into_iter().map(char::from).collect());
        }
        Err(format!("the name before byte {} is not plain", self.position))
    }

    fn value(&mut self, kind: u32) -> Result<Value, String> {
        Ok(match kind {
            6 => Value::Float(f64::from(f32::from_bits(self.u32()?))),
            12 => Value::Float(f64::from_bits(self.u64()?)),
            7 => match self.bytes::<1>()? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [other] => return Err(format!("{other} is neither true nor false")),
            },
            8 => Value::Text(self.text()?),
            9 => self.array()?,
            kind => Value::Integer(self.integer(kind)?),
        })
    }

    fn integer(&mut self, kind: u32) -> Result<i128, String> {
        Ok(match kind {
            0 => i128::from(u8::from_le_bytes(self.bytes()?)),
            1 => i128::from(i8::from_le_bytes(self.bytes()?)),
            2 => i128::from(u16::from_le_bytes(self.bytes()?)),
            3 => i128::from(i16::from_le_bytes(self.bytes()?)),
            4 => i128::from(self.u32()?),
            5 => i128::from(i32::from_le_bytes(self.bytes()?)),
            10 => i128::from(self.u64()?),
            11 => i128::from(i64::from_le_bytes(self.bytes()?)),
            other => return Err(format!("type {other} of a value is unknown")),
        })
    }

    fn array(&mut self) -> Result<Value, String> {
        let (kind, n) = (self.u32()?, self.u64()?);
        let least = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => return Err("arrays of arrays are not read".to_owned()),
            other => return Err(format!("type {other} of a value is unknown")),
        };
        // Nothing is allocated ahead that is not in the file.
        self.need(n.saturating_mul(least))?;
        Ok(match kind {
            8 => Value::Texts((0..n).map(|_| self.text()).collect::<Result<_, _>>()?),
            6 | 12 => {
                let number = |value| match value {
                    Value::Float(x) => x as f32,
                    _ => f32::NAN,
                };
                Value::Floats((0..n).map(|_| self.value(kind).map(number)).collect::<Result<_, _>>()?)
            }
            7 => {
                let number = |value| i64::from(value == Value::Bool(true));
                Value::Integers((0..n).map(|_| self.value(kind).map(number)).collect::<Result<_, _>>()?)
            }
            kind => {
                let whole = |n: i128| i64::try_from(n).map_err(|_| format!("{n} is out of range"));
                Value::Integers((0..n).map(|_| whole(self.integer(kind)?)).collect::<Result<_, _>>()?)
            }
        })
    }

    fn tensor(&mut self) -> Result<RawTensor, String> {
        let name = self.name()?;
        let rank = self.u32()?;
        if !(1..=MAX_RANK).contains(&rank) {
            return Err(format!("tensor `{name}` has {rank} dimensions, expected 1 to {MAX_RANK}"));
        }
        let dims = (0..rank).map(|_| self.u64()).collect::<Result<Vec<u64>, _>>()?;
        let dtype = match self.u32()? {
            0 => GgmlDType::F32,
            1 => GgmlDType::F16,
            2 => GgmlDType::Q4_0,
            3 => GgmlDType::Q4_1,
            6 => GgmlDType::Q5_0,
            7 => GgmlDType::Q5_1,
            8 => GgmlDType::Q8_0,
            10 => GgmlDType::Q2K,
            11 => GgmlDType::Q3K,
            12 => GgmlDType::Q4K,
            13 => GgmlDType::Q5K,
            14 => GgmlDType::Q6K,
            30 => GgmlDType::BF16,
            other => {
                return Err(format!(
                    "tensor `{name}` has type {other}; read are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and \
                     Q2_K to Q6_K"
                ));
            }
        };
        let offset = self.u64()?;
        let block = dtype.block_size() as u64;
        let n = dims.iter().try_fold(1u64, |n, &dim| {
            if (1..=MAX_DIMENSION).contains(&dim) { n.checked_mul(dim) } else { None }
        });
        let n_bytes = n.and_then(|n| (n / block).checked_mul(dtype.type_size() as u64));
        match n_bytes {
            Some(n_bytes) if dims[0].is_multiple_of(block) => Ok(RawTensor {
                shape: dims.iter().rev().map(|dim| *dim as usize).collect(),
                name,
                dtype,
                offset,
                n_bytes,
            }),
            _ => Err(format!("tensor `{name}`: dimensions {dims:?} do not fit blocks of {block} numbers")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one pair of metadata and one tensor of four numbers.
    fn file() -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        text(&mut bytes, "general.alignment");
        bytes.extend(4u32.to_le_bytes());
        bytes.extend(32u32.to_le_bytes());
        text(&mut bytes, "w");
        bytes.extend(2u32.to_le_bytes());
        bytes.extend([2u64, 2].iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(32) + 16, 7);
        bytes
    }

    fn text(bytes: &mut Vec<u8>, text: &str) {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    }

    fn read_all(bytes: &[u8]) -> Result<Header, String> {
        read(&mut &bytes[..], bytes.len() as u64)
    }

    #[test]
    fn a_small_file_is_read() {
        let header = read_all(&file()).unwrap();
        assert_eq!(header.metadata["general.alignment"], Value::Integer(32));
        let [tensor] = &header.tensors[..] else { panic!("one tensor") };
        assert_eq!((tensor.name.as_str(), tensor.n_bytes), ("w", 16));
        assert_eq!(tensor.shape, [2, 2]);
        assert_eq!(tensor.start, file().len() as u64 - 16);
    }

    #[test]
    fn fault_58_every_lie_of_a_gguf_header_is_refused() {
        let good = file();
        let at = |needle: &[u8]| good.windows(needle.len()).position(|w| w == needle).unwrap();
        let alignment = at(b"general.alignment") + 17 + 4;
        let dims = at(b"w\x02\0\0\0") + 1 + 4;
        let patched = |place: usize, with: &[u8]| {
            let mut bytes = good.clone();
            bytes[place..place + with.len()].copy_from_slice(with);
            bytes
        };
        for (bytes, expected) in [
            (patched(alignment, &0u32.to_le_bytes()), "alignment"),
            (patched(alignment, &3u32.to_le_bytes()), "alignment"),
            (patched(alignment, &u32::MAX.to_le_bytes()), "alignment"),
            (patched(dims, &0u64.to_le_bytes()), "dimensions"),
            (patched(dims, &u64::MAX.to_le_bytes()), "dimensions"),
            (patched(dims, &(1u64 << 39).to_le_bytes()), "end after the file"),
            (patched(dims + 8, &3u64.to_le_bytes()), "end after the file"),
            (patched(dims + 16, &2u32.to_le_bytes()), "blocks of 32"),
            (patched(dims + 16, &99u32.to_le_bytes()), "type 99"),
            (patched(dims + 20, &8u64.to_le_bytes()), "aligned"),
            (patched(dims + 20, &u64::MAX.to_le_bytes()), "end after the file"),
            (patched(dims - 4, &5u32.to_le_bytes()), "5 dimensions"),
            (patched(dims - 4, &0u32.to_le_bytes()), "0 dimensions"),
            (patched(8, &u64::MAX.to_le_bytes()), "at most"),
            (patched(16, &u64::MAX.to_le_bytes()), "at most"),
            (patched(16, &2u64.to_le_bytes()), "past the end"),
            (patched(24, &u64::MAX.to_le_bytes()), "past the end"),
            (patched(alignment - 4, &9u32.to_le_bytes()), "general.alignment"),
            (patched(alignment - 4, &77u32.to_le_bytes()), "type 77"),
            (patched(4, &1u32.to_le_bytes()), "version 1"),
            (patched(4, &3u32.to_be_bytes()), "big-endian"),
            (patched(0, b"GGML"), "magic"),
            (patched(dims - 5, b"\n"), "not plain"),
        ] {
            let cause = read_all(&bytes).unwrap_err();
            assert!(cause.contains(expected), "{cause}, expected {expected}");
        }
        for n in 0..good.len() {
            read_all(&good[..n]).unwrap_err();
        }
    }

    #[test]
    fn fault_58_mutated_headers_never_panic_and_stay_in_the_file() {
        let good = file();
        for place in 0..good.len() - 16 {
            for flip in 0..8 {
                let mut mutant = good.clone();
                mutant[place] ^= 1 << flip;
                if let Ok(header) = read_all(&mutant) {
                    assert!(header.tensors.iter().all(|t| t.start + t.n_bytes <= mutant.len() as u64));
                }
            }
        }
    }
}

//! Arrow IPC, reading: files and streams, one record batch at a time; the text column row by row into a temporary
//! file, other columns when asked for.
//!
//! The messages are found here and decoded by the arrow crate, from a copy: it relies on what it has checked, and a
//! mapped file may change. A batch is therefore in memory once.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, CompressionType, Message, MessageHeader, MetadataVersion};
use arrow_schema::{DataType, Fields, Schema};
use serde_json::Value;
use verbatim_store::{Bytes, Progress};

use crate::document::{printable, size};
use crate::error::{Error, Result};
use crate::formats::arrow_column::{Column, is_text};
use crate::formats::texts::Texts;
use crate::formats::{damaged, guard};
use crate::ids::IdHash;
use crate::records::Records;
use crate::schema::{FieldPath, OpenConfig};

pub(crate) const FILE_MAGIC: &[u8] = b"ARROW1";
/// What a message of a stream begins with.
pub(crate) const CONTINUATION: &[u8] = b"\xff\xff\xff\xff";
/// The footer's length and the magic.
const FILE_END_BYTES: usize = 10;
/// The most that one message may hold when decompressed; its own word for it is not to be trusted.
const MAX_MESSAGE_BYTES: u64 = 4 << 30;

/// An Arrow file or stream whose messages are found.
pub(crate) struct ArrowFile<'a> {
    content: &'a [u8],
    path: &'a Path,
    pub(crate) is_stream: bool,
    pub(crate) schema: Arc<Schema>,
    /// What a file's footer holds beside the schema.
    pub(crate) metadata: HashMap<String, String>,
    version: MetadataVersion,
    /// Dictionaries and record batches in the order in which they are to be read.
    messages: Vec<Block>,
}

impl<'a> ArrowFile<'a> {
    /// Finds the messages.
    ///
    /// # Errors
    /// A file without a whole footer, a stream that breaks within a message.
    pub(crate) fn open(content: &'a [u8], path: &'a Path) -> Result<ArrowFile<'a>> {
        if content.starts_with(FILE_MAGIC) {
            guard(path, "footer", || ArrowFile::open_file(content, path))
        } else {
            guard(path, "stream", || ArrowFile::open_stream(content, path))
        }
    }

    fn open_file(content: &'a [u8], path: &'a Path) -> Result<ArrowFile<'a>, String> {
        let (before, end) = content.split_last_chunk::<FILE_END_BYTES>().ok_or("truncated")?;
        let footer_len = read_footer_length(*end).map_err(said)?;
        let start = before.len().checked_sub(footer_len).ok_or("longer than the file")?;
        let footer = before[start..].to_vec();
        let footer = arrow_ipc::root_as_footer(&footer).map_err(said)?;
        let metadata = footer.custom_metadata().into_iter().flatten();
        Ok(ArrowFile {
            content,
            path,
            is_stream: false,
            schema: schema(footer.schema())?,
            metadata: metadata
                .filter_map(|kv| Some((kv.key()?.to_owned(), kv.value()?.to_owned())))
                .collect(),
            version: footer.version(),
            messages: footer
                .dictionaries()
                .into_iter()
                .chain(footer.recordBatches())
                .flatten()
                .copied()
                .collect(),
        })
    }

    fn open_stream(content: &'a [u8], path: &'a Path) -> Result<ArrowFile<'a>, String> {
        let mut head = None;
        let mut messages = Vec::new();
        let mut rest = content;
        while !rest.is_empty() {
            let at = content.len() - rest.len();
            let cut = || format!("truncated at byte {at}");
            let prefix = if rest.starts_with(CONTINUATION) { 8 } else { 4 };
            let len = rest.get(prefix - 4..).and_then(|len| len.first_chunk()).ok_or_else(cut)?;
            let len = usize::try_from(i32::from_le_bytes(*len)).map_err(said)?;
            if len == 0 {
                match rest.len() - prefix {
                    0 => break,
                    n => return Err(format!("{n} bytes after its end at byte {at}")),
                }
            }
            let message = rest.get(prefix..prefix + len).ok_or_else(cut)?.to_vec();
            let message =
                arrow_ipc::root_as_message(&message).map_err(|e| format!("message at byte {at}: {e}"))?;
            let block = Block::new(at as i64, (prefix + len) as i32, message.bodyLength());
            rest = rest.get(extent(&block).ok_or_else(cut)?.1..).ok_or_else(cut)?;
            match message.header_type() {
                MessageHeader::Schema if head.is_none() => {
                    head = Some((schema(message.header_as_schema())?, message.version()));
                }
                MessageHeader::DictionaryBatch | MessageHeader::RecordBatch => messages.push(block),
                other => return Err(format!("message at byte {at}: {other:?} is not expected")),
            }
        }
        let (schema, version) = head.ok_or("no schema")?;
        Ok(ArrowFile { content, path, is_stream: true, schema, metadata: HashMap::new(), version, messages })
    }

    /// Visits the record batches in order, each with the bytes that it has in the file.
    ///
    /// # Errors
    /// Damage, and what the visitor returns.
    pub(crate) fn each_batch(&self, visit: &mut dyn FnMut(RecordBatch, u64) -> Result<()>) -> Result<()> {
        let mut decoder = FileDecoder::new(Arc::clone(&self.schema), self.version);
        for (i, block) in self.messages.iter().enumerate() {
            let place = format!("message {i}");
            let batch = guard(self.path, &place, || {
                let (buffer, _) = self.message(block)?;
                let message = parse(&buffer)?;
                if message.header_type() == MessageHeader::DictionaryBatch {
                    decoder.read_dictionary(block, &buffer).map_err(said)?;
                    return Ok::<_, String>(None);
                }
                decoder.read_record_batch(block, &buffer).map_err(said)
            })?;
            if let Some(batch) = batch {
                visit(batch, extent(block).map_or(0, |(_, len)| size(len)))?;
            }
        }
        Ok(())
    }

    /// How the messages are compressed, by the first of them.
    pub(crate) fn compression(&self) -> Option<CompressionType> {
        self.messages.first().and_then(|block| self.message(block).ok()?.1)
    }

    /// A copy of a message with its body, and how the body is compressed.
    fn message(&self, block: &Block) -> Result<(Buffer, Option<CompressionType>), String> {
        let (start, len) = extent(block).ok_or("of impossible length")?;
        let end = start.checked_add(len).ok_or("of impossible length")?;
        let buffer = Buffer::from(self.content.get(start..end).ok_or("outside the file")?);
        let message = parse(&buffer)?;
        let batch = match message.header_type() {
            MessageHeader::DictionaryBatch => {
                message.header_as_dictionary_batch().and_then(|batch| batch.data())
            }
            _ => message.header_as_record_batch(),
        };
        let Some((batch, codec)) = batch.and_then(|batch| Some((batch, batch.compression()?.codec()))) else {
            return Ok((buffer, None));
        };
        let body = &buffer[block.metaDataLength() as usize..];
        let decoded_len = |part: &arrow_ipc::Buffer| {
            let prefix = body.get(usize::try_from(part.offset()).ok()?..)?.first_chunk()?;
            // -1 where the part is not compressed after all.
            u64::try_from(i64::from_le_bytes(*prefix)).ok()
        };
        let n_bytes =
            batch.buffers().into_iter().flatten().filter_map(decoded_len).fold(0, u64::saturating_add);
        if n_bytes > MAX_MESSAGE_BYTES {
            return Err(format!(
                "more than {MAX_MESSAGE_BYTES} bytes when decompressed; write smaller record batches"
            ));
        }
        Ok((buffer, Some(codec)))
    }

    fn check_text_column(&self, field: &FieldPath) -> Result<()> {
        let mut fields = self.schema.fields();
        let no_fields = Fields::empty();
        let mut found = None;
        for name in field.names() {
            found = fields.find(name).map(|(_, field)| field.data_type());
            fields = if let Some(DataType::Struct(below)) = found { below } else { &no_fields };
        }
        if found.is_some_and(is_text) {
            return Ok(());
        }
        Err(Error::NoColumn {
            path: printable(self.path),
            field: field.to_string(),
            columns: self
                .schema
                .fields()
                .iter()
                .map(|field| printable(field.name()))
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

/// Where a message with its body begins and how long it is.
fn extent(block: &Block) -> Option<(usize, usize)> {
    let metadata = usize::try_from(block.metaDataLength()).ok()?;
    let body = usize::try_from(block.bodyLength()).ok()?;
    Some((usize::try_from(block.offset()).ok()?, metadata.checked_add(body)?))
}

fn parse(message: &[u8]) -> Result<Message<'_>, String> {
    let prefix = if message.starts_with(CONTINUATION) { 8 } else { 4 };
    arrow_ipc::root_as_message(message.get(prefix..).ok_or("too short")?).map_err(said)
}

fn schema(found: Option<arrow_ipc::Schema<'_>>) -> Result<Arc<Schema>, String> {
    let found = found.ok_or("no schema")?;
    if !found.endianness().equals_to_target_endianness() {
        return Err("its bytes are in the order of another kind of machine".to_owned());
    }
    try_fb_to_schema(found).map(Arc::new).map_err(said)
}

fn said(error: impl Display) -> String {
    error.to_string()
}

/// Decodes all texts of a file, one after the other.
///
/// # Errors
/// A damaged file, no text column, too many bytes; rows without a text are rejects of the records.
pub(crate) fn decode(
    file: &Bytes,
    path: &Path,
    config: &OpenConfig,
    progress: &dyn Progress,
) -> Result<(Bytes, Records)> {
    let file = ArrowFile::open(file, path)?;
    file.check_text_column(&config.text_field)?;
    let mut texts = Texts::new(path, config)?;
    file.each_batch(&mut |batch, n_bytes| {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let column = Column::find(&batch, &config.text_field);
        let column = column.ok_or_else(|| damaged(path, "a record batch without the text column"))?;
        let ids = config.id_field.as_ref().and_then(|field| Column::find(&batch, field));
        for row in 0..batch.num_rows() {
            let id = ids.as_ref().and_then(|ids| ids.value(row)).and_then(IdHash::of);
            texts.push(column.text(row).map(str::as_bytes), id)?;
        }
        progress.advance(n_bytes);
        texts.end_group().map(drop)
    })?;
    texts.finish()
}

/// All values of one scalar column by row; `None` for nulls. An empty list where there is no such column or it
/// cannot be read.
pub(crate) fn values(file: &Bytes, path: &Path, field: &FieldPath) -> Vec<Option<Value>> {
    let read = || -> Result<Vec<Option<Value>>> {
        let mut values = Vec::new();
        ArrowFile::open(file, path)?.each_batch(&mut |batch, _| {
            if let Some(column) = Column::find(&batch, field) {
                values.extend((0..batch.num_rows()).map(|row| column.value(row)));
            }
            Ok(())
        })?;
        Ok(values)
    };
    read().unwrap_or_default()
}

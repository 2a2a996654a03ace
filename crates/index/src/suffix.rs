//! A suffix array of all texts, in memory: finds strings of any length, and proves what the other engines find.

use std::ops::Range;

use libsais::SuffixArrayConstruction;
use verbatim_corpus::DocId;
use verbatim_store::Progress;

use crate::error::{Error, Result};
use crate::occurrences::Occurrences;
use crate::symbols::Symbols;

/// The texts, one after the other, and the order of their suffixes.
pub(crate) struct SuffixArray {
    text: Vec<u8>,
    /// Bytes of a symbol.
    width: usize,
    /// Where each text begins, in bytes, and the end.
    starts: Vec<u64>,
    order: Order,
}

/// Places in the order of the suffixes that begin there.
enum Order {
    Short(Vec<i32>),
    Long(Vec<i64>),
}

impl SuffixArray {
    /// Sorts the suffixes of all texts; takes five bytes of memory for each of them, from 2 GiB on nine.
    ///
    /// # Errors
    /// [`Error::NoRoom`] where that is more than `most_bytes`.
    pub(crate) fn build(symbols: Symbols<'_>, most_bytes: usize, progress: &dyn Progress) -> Result<Self> {
        let n_bytes = symbols.n_bytes();
        let is_short = i32::try_from(n_bytes).is_ok();
        let needed = n_bytes.saturating_mul(if is_short { 5 } else { 9 });
        if needed > most_bytes as u64 {
            return Err(Error::NoRoom { n_bytes, needed, most: most_bytes as u64 });
        }
        progress.stage("sorting suffixes", None, "bytes");
        let (mut text, mut starts) = (Vec::with_capacity(n_bytes as usize), vec![0]);
        for doc in 0..symbols.n_documents() {
            text.extend_from_slice(&symbols.text(doc)?);
            starts.push(text.len() as u64);
        }
        const SIZED: &str = "the length was compared with what the array can number";
        let construction = SuffixArrayConstruction::for_text(&text[..]);
        let order = match is_short {
            true => Order::Short(
                construction.in_owned_buffer32().single_threaded().run().expect(SIZED).into_vec(),
            ),
            false => {
                Order::Long(construction.in_owned_buffer64().single_threaded().run().expect(SIZED).into_vec())
            }
        };
        Ok(SuffixArray { text, width: symbols.width(), starts, order })
    }

    /// Finds a string that is not empty, with the first `most_places` of its places.
    pub(crate) fn find(&self, string: &[u8], most_places: usize) -> Occurrences {
        let mut places: Vec<u64> = self.suffixes_with(string).map(|i| self.suffix(i) as u64).collect();
        places.sort_unstable();
        let mut found = Occurrences::default();
        let mut last = None;
        for place in places {
            let doc = self.starts.partition_point(|&start| start <= place) - 1;
            let is_symbol = (place - self.starts[doc]).is_multiple_of(self.width as u64);
            if !is_symbol || place + string.len() as u64 > self.starts[doc + 1] {
                // It begins inside a symbol, or reaches into the next text.
                continue;
            }
            found.n_documents += u64::from(last.replace(doc) != Some(doc));
            found.n_occurrences += 1;
            if found.places.len() < most_places {
                found.places.push((DocId(doc as u64), (place - self.starts[doc]) / self.width as u64));
            }
        }
        found
    }

    /// The suffixes that begin with a string.
    fn suffixes_with(&self, string: &[u8]) -> Range<usize> {
        let beginning = |i: usize| {
            let suffix = &self.text[self.suffix(i)..];
            &suffix[..suffix.len().min(string.len())]
        };
        let first = |is_before: &dyn Fn(&[u8]) -> bool| {
            let (mut start, mut end) = (0, self.text.len());
            while start < end {
                let middle = start + (end - start) / 2;
                match is_before(beginning(middle)) {
                    true => start = middle + 1,
                    false => end = middle,
                }
            }
            start
        };
        first(&|beginning| beginning < string)..first(&|beginning| beginning <= string)
    }

    /// Where a suffix begins.
    fn suffix(&self, i: usize) -> usize {
        match &self.order {
            Order::Short(places) => places[i] as usize,
            Order::Long(places) => places[i] as usize,
        }
    }
}

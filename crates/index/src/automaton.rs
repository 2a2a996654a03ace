//! A suffix automaton of several strings: the longest substring that a text shares with them, in linear time.
//!
//! Blumer et al., "The smallest automaton recognizing the subwords of a text" (1985), extended to several strings.
//! A state stands for the substrings that end at the same places; its longest has `len` bytes, and its suffix link
//! leads to the state of the longest suffix that ends at more places. About 60 bytes of memory per string byte.

use std::sync::atomic::{AtomicU32, Ordering};

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;

/// The automaton of all substrings of its strings.
pub(crate) struct SuffixAutomaton {
    states: Vec<State>,
    /// Edges of the states but the root, as linked lists: most states have a single one.
    edges: Vec<Edge>,
    /// The root has an edge for nearly every byte, and every text starts there.
    root_edges: [u32; 256],
}

struct State {
    len: u32,
    link: u32,
    first_edge: u32,
}

struct Edge {
    byte: u8,
    target: u32,
    next: u32,
}

impl SuffixAutomaton {
    /// The automaton of some strings of fewer than 2^30 bytes together.
    pub(crate) fn new<'a>(strings: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let root = State { len: 0, link: NONE, first_edge: NONE };
        let mut automaton =
            SuffixAutomaton { states: vec![root], edges: Vec::new(), root_edges: [NONE; 256] };
        for string in strings {
            string.iter().fold(ROOT, |last, &byte| automaton.extend(last, byte));
        }
        automaton
    }

    /// Adds the string of `last`, one byte longer; the state that holds it.
    fn extend(&mut self, last: u32, byte: u8) -> u32 {
        let len = self.states[last as usize].len + 1;
        if let Some(target) = self.step(last, byte) {
            // The longer string is known already from an earlier one.
            return self.state_of_len(last, byte, target, len);
        }
        let new = self.push_state(State { len, link: ROOT, first_edge: NONE });
        let mut state = last;
        while state != NONE {
            if let Some(target) = self.step(state, byte) {
                let suffix_len = self.states[state as usize].len + 1;
                self.states[new as usize].link = self.state_of_len(state, byte, target, suffix_len);
                break;
            }
            self.set_edge(state, byte, new);
            state = self.states[state as usize].link;
        }
        new
    }

    /// The state whose longest string has `len` bytes, where `from` steps to `target` on `byte`: `target` itself or
    /// a copy of it that takes over its shorter strings.
    fn state_of_len(&mut self, from: u32, byte: u8, target: u32, len: u32) -> u32 {
        if self.states[target as usize].len == len {
            return target;
        }
        let link = self.states[target as usize].link;
        let copy = self.push_state(State { len, link, first_edge: NONE });
        let mut edge = self.states[target as usize].first_edge;
        while edge != NONE {
            let Edge { byte, target, next } = self.edges[edge as usize];
            self.set_edge(copy, byte, target);
            edge = next;
        }
        self.states[target as usize].link = copy;
        let mut state = from;
        while state != NONE && self.step(state, byte) == Some(target) {
            self.set_edge(state, byte, copy);
            state = self.states[state as usize].link;
        }
        copy
    }

    fn push_state(&mut self, state: State) -> u32 {
        let index = u32::try_from(self.states.len()).expect("strings of fewer than 2^30 bytes");
        self.states.push(state);
        index
    }

    fn find_edge(&self, state: u32, byte: u8) -> Option<usize> {
        let mut edge = self.states[state as usize].first_edge;
        while edge != NONE {
            if self.edges[edge as usize].byte == byte {
                return Some(edge as usize);
            }
            edge = self.edges[edge as usize].next;
        }
        None
    }

    fn set_edge(&mut self, state: u32, byte: u8, target: u32) {
        if state == ROOT {
            self.root_edges[usize::from(byte)] = target;
        } else if let Some(edge) = self.find_edge(state, byte) {
            self.edges[edge].target = target;
        } else {
            let edge = u32::try_from(self.edges.len()).expect("at most three edges for each string byte");
            let next = std::mem::replace(&mut self.states[state as usize].first_edge, edge);
            self.edges.push(Edge { byte, target, next });
        }
    }

    fn step(&self, state: u32, byte: u8) -> Option<u32> {
        match state {
            ROOT => Some(self.root_edges[usize::from(byte)]).filter(|&target| target != NONE),
            _ => self.find_edge(state, byte).map(|edge| self.edges[edge].target),
        }
    }
}

/// What texts shared with the automaton's strings: for each state the longest match seen, in bytes.
///
/// Taking the larger of two lengths does not depend on the order, so threads may share it.
pub(crate) struct Matches<'a> {
    automaton: &'a SuffixAutomaton,
    longest: Vec<AtomicU32>,
}

impl<'a> Matches<'a> {
    pub(crate) fn new(automaton: &'a SuffixAutomaton) -> Self {
        let longest = automaton.states.iter().map(|_| AtomicU32::new(0)).collect();
        Matches { automaton, longest }
    }

    /// Records every substring that `text` shares with the strings. Linear in the text whatever it holds: each
    /// byte makes the match one longer, and a suffix link makes it shorter at least by one.
    pub(crate) fn record(&self, text: &[u8]) {
        let (mut state, mut len) = (ROOT, 0);
        for &byte in text {
            let next = loop {
                match self.automaton.step(state, byte) {
                    Some(next) => break Some(next),
                    None if state == ROOT => break None,
                    None => {
                        state = self.automaton.states[state as usize].link;
                        len = self.automaton.states[state as usize].len;
                    }
                }
            };
            if let Some(next) = next {
                (state, len) = (next, len + 1);
                self.longest[state as usize].fetch_max(len, Ordering::Relaxed);
            }
        }
    }

    /// For each state: the length of the longest of its strings, or of their suffixes, that a text held.
    pub(crate) fn into_lengths(self) -> Lengths<'a> {
        let states = &self.automaton.states;
        let mut longest: Vec<u32> = self.longest.into_iter().map(AtomicU32::into_inner).collect();
        let mut by_len: Vec<u32> = (1..states.len() as u32).collect();
        by_len.sort_unstable_by_key(|&state| states[state as usize].len);
        // Where a state's string was matched, every string of the states up its suffix links was matched too.
        for &state in by_len.iter().rev() {
            let link = states[state as usize].link as usize;
            if longest[state as usize] > 0 {
                longest[link] = states[link].len;
            }
        }
        for &state in &by_len {
            if longest[state as usize] == 0 {
                longest[state as usize] = longest[states[state as usize].link as usize];
            }
        }
        Lengths { automaton: self.automaton, longest }
    }
}

/// The longest match of each state.
pub(crate) struct Lengths<'a> {
    automaton: &'a SuffixAutomaton,
    longest: Vec<u32>,
}

impl Lengths<'_> {
    /// The longest substring of one of the automaton's strings that a recorded text held, as (start, length);
    /// among equally long ones the leftmost. (0, 0) where there is none.
    pub(crate) fn longest_in(&self, string: &[u8]) -> (usize, usize) {
        let mut best = (0, 0);
        for (end, len) in (1..).zip(self.ending_in(string)) {
            let len = len as usize;
            if len > best.1 {
                best = (end - len, len);
            }
        }
        best
    }

    /// For each byte of one of the automaton's strings: the length of the longest part of it that ends there and that a
    /// recorded text held.
    pub(crate) fn ending_in(&self, string: &[u8]) -> Vec<u32> {
        let mut state = ROOT;
        let mut length = |(byte, end): (&u8, u32)| {
            state = self.automaton.step(state, *byte).expect("every string of the automaton can be walked");
            // The state's longest string may reach back beyond the start of this one.
            self.longest[state as usize].min(end)
        };
        string.iter().zip(1..).map(&mut length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn longest(strings: &[&[u8]], texts: &[&[u8]]) -> Vec<(usize, usize)> {
        let automaton = SuffixAutomaton::new(strings.iter().copied());
        let matches = Matches::new(&automaton);
        texts.iter().for_each(|text| matches.record(text));
        let lengths = matches.into_lengths();
        strings.iter().map(|string| lengths.longest_in(string)).collect()
    }

    fn naive(string: &[u8], texts: &[&[u8]]) -> (usize, usize) {
        let mut best = (0, 0);
        for start in 0..string.len() {
            for end in start + 1..=string.len() {
                let piece = &string[start..end];
                let stands = texts.iter().any(|text| text.windows(piece.len()).any(|window| window == piece));
                if stands && piece.len() > best.1 {
                    best = (start, piece.len());
                }
            }
        }
        best
    }

    #[test]
    fn a_shorter_string_is_not_masked_by_a_longer_one() {
        assert_eq!(longest(&[b"abcdef", b"zbcy"], &[b"xxabcdexx"]), [(0, 5), (1, 2)]);
    }

    #[test]
    fn memory_stays_within_the_bounds_of_the_theory() {
        let string: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(i) >> 3) as u8 & 3).collect();
        let automaton = SuffixAutomaton::new([&string[..]]);
        assert!(automaton.states.len() < 2 * string.len() && automaton.edges.len() < 3 * string.len());
    }

    proptest! {
        #[test]
        fn matches_equal_brute_force(
            strings in prop::collection::vec(prop::collection::vec(0u8..3, 0..16), 1..5),
            texts in prop::collection::vec(prop::collection::vec(0u8..3, 0..16), 0..4),
        ) {
            let strings: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            let expected: Vec<_> = strings.iter().map(|string| naive(string, &texts)).collect();
            prop_assert_eq!(longest(&strings, &texts), expected);
        }
    }
}

//! Which tokens may come next: a template as an automaton over bytes, walked together with the vocabulary.

use std::collections::BTreeMap;
use std::sync::Arc;

use verbatim_lm::TextModel;

/// A place in the template: a slot, one of its alternatives, and bytes of that; before a slot, the last two are 0.
type Place = (u32, u32, u32);

/// A token that may come next, and the state after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) token: u32,
    pub(crate) state: u32,
}

/// States are sets of places, so that texts that can be read in two ways are one text.
pub(crate) struct Automaton {
    slots: Vec<Vec<Vec<u8>>>,
    /// The tokens of the vocabulary by their bytes.
    vocabulary: Vec<(Vec<u8>, u32)>,
    states: Vec<Vec<Place>>,
    numbers: BTreeMap<Vec<Place>, u32>,
    /// The steps of the states that were asked for.
    steps: BTreeMap<u32, Arc<[Step]>>,
}

impl Automaton {
    /// The texts of `rest` and one alternative of each slot.
    pub(crate) fn new(rest: &[u8], slots: &[Vec<String>], target: TextModel<'_>) -> Automaton {
        let n_tokens = target.tokenizer.vocab_size().min(target.model.vocab_size());
        let end_of_text = target.tokenizer.end_of_text();
        let ids = (0..n_tokens as u32).filter(|id| Some(*id) != end_of_text);
        let vocabulary = ids.map(|id| (target.tokenizer.token_bytes(id), id)).collect();
        let rest = (!rest.is_empty()).then(|| vec![rest.to_vec()]);
        let bytes = |slot: &Vec<String>| -> Vec<Vec<u8>> {
            slot.iter().map(|text| text.clone().into_bytes()).collect()
        };
        Self::of_bytes(rest.into_iter().chain(slots.iter().map(bytes)).collect(), vocabulary)
    }

    fn of_bytes(slots: Vec<Vec<Vec<u8>>>, mut vocabulary: Vec<(Vec<u8>, u32)>) -> Automaton {
        vocabulary.retain(|(bytes, _)| !bytes.is_empty());
        vocabulary.sort();
        let (states, numbers) = (Vec::new(), BTreeMap::new());
        let mut automaton = Automaton { slots, vocabulary, states, numbers, steps: BTreeMap::new() };
        automaton.number(vec![(0, 0, 0)]);
        automaton
    }

    /// The state before any token.
    pub(crate) fn start(&self) -> u32 {
        0
    }

    /// The most bytes of a text, and so the most tokens.
    pub(crate) fn max_bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.iter().map(Vec::len).max().unwrap_or(0)).sum()
    }

    /// Whether a text may end here.
    pub(crate) fn is_end(&self, state: u32) -> bool {
        self.states[state as usize].iter().any(|place| place.0 as usize == self.slots.len())
    }

    /// Whether a text may go on here.
    pub(crate) fn goes_on(&self, state: u32) -> bool {
        self.states[state as usize].iter().any(|place| (place.0 as usize) < self.slots.len())
    }

    /// Whether the bytes are those of a whole text.
    pub(crate) fn accepts(&self, bytes: &[u8]) -> bool {
        let places = bytes.iter().fold(vec![(0, 0, 0)], |places, byte| self.after(&places, *byte));
        places.iter().any(|place| place.0 as usize == self.slots.len())
    }

    /// The tokens that may come next, in the order of their bytes.
    pub(crate) fn steps(&mut self, state: u32) -> Arc<[Step]> {
        if let Some(steps) = self.steps.get(&state) {
            return Arc::clone(steps);
        }
        let mut found = Vec::new();
        let mut pending = vec![(0..self.vocabulary.len(), 0, self.states[state as usize].clone())];
        while let Some((range, depth, places)) = pending.pop() {
            let tokens = &self.vocabulary[range.clone()];
            let n_whole = tokens.partition_point(|(bytes, _)| bytes.len() == depth);
            found.extend(tokens[..n_whole].iter().map(|(_, id)| (*id, places.clone())));
            let mut from = n_whole;
            while from < tokens.len() {
                let byte = tokens[from].0[depth];
                let n = tokens[from..].partition_point(|(bytes, _)| bytes[depth] == byte);
                let after = self.after(&places, byte);
                if !after.is_empty() {
                    pending.push((range.start + from..range.start + from + n, depth + 1, after));
                }
                from += n;
            }
        }
        let mut steps: Vec<Step> =
            found.into_iter().map(|(token, places)| Step { token, state: self.number(places) }).collect();
        steps.sort_by_key(|step| step.token);
        let steps: Arc<[Step]> = steps.into();
        self.steps.insert(state, Arc::clone(&steps));
        steps
    }

    fn number(&mut self, places: Vec<Place>) -> u32 {
        if let Some(number) = self.numbers.get(&places) {
            return *number;
        }
        let number = u32::try_from(self.states.len()).expect("a template has fewer places than 2^32");
        self.states.push(places.clone());
        self.numbers.insert(places, number);
        number
    }

    fn after(&self, places: &[Place], byte: u8) -> Vec<Place> {
        let mut after = Vec::new();
        for &(slot, alternative, n_read) in places {
            let Some(alternatives) = self.slots.get(slot as usize) else { continue };
            let all = 0..alternatives.len() as u32;
            for alternative in if n_read == 0 { all } else { alternative..alternative + 1 } {
                let bytes = &alternatives[alternative as usize];
                if bytes[n_read as usize] == byte {
                    let is_whole = bytes.len() == n_read as usize + 1;
                    after.push(if is_whole { (slot + 1, 0, 0) } else { (slot, alternative, n_read + 1) });
                }
            }
        }
        after.sort_unstable();
        after.dedup();
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn automaton(slots: &[&[&str]], tokens: &[&str]) -> Automaton {
        let bytes = |text: &&str| text.as_bytes().to_vec();
        let slots = slots.iter().map(|slot| slot.iter().map(bytes).collect()).collect();
        Automaton::of_bytes(slots, tokens.iter().map(bytes).zip(0..).collect())
    }

    /// Every path, and the text that it spells.
    fn paths(automaton: &mut Automaton, tokens: &[&str]) -> Vec<(Vec<u32>, String)> {
        let (mut found, mut pending) = (Vec::new(), vec![(vec![], String::new(), automaton.start())]);
        while let Some((path, text, state)) = pending.pop() {
            if automaton.is_end(state) {
                found.push((path.clone(), text.clone()));
            }
            for step in automaton.steps(state).iter() {
                let path = [&path[..], &[step.token]].concat();
                pending.push((path, format!("{text}{}", tokens[step.token as usize]), step.state));
            }
        }
        found.sort();
        found
    }

    /// The naive way: every sequence of tokens, and whether it spells a text of the template.
    #[test]
    fn paths_are_the_sequences_of_tokens_that_spell_a_text() {
        let tokens = ["a", "b", "ab", "ba", "aba", "c", "", "bc"];
        let template: [&[&str]; 3] = [&["a", "ab"], &["b", "ba", "c"], &["a", "c"]];
        let mut texts = Vec::new();
        for first in template[0] {
            for second in template[1] {
                texts.extend(template[2].iter().map(|third| format!("{first}{second}{third}")));
            }
        }
        let mut expected = Vec::new();
        let mut pending = vec![(vec![], String::new())];
        while let Some((path, text)) = pending.pop() {
            if texts.contains(&text) {
                expected.push((path.clone(), text.clone()));
            }
            if text.len() < 5 {
                for (token, id) in tokens.iter().zip(0u32..).filter(|(token, _)| !token.is_empty()) {
                    pending.push(([&path[..], &[id]].concat(), format!("{text}{token}")));
                }
            }
        }
        expected.sort();
        assert!(expected.len() > texts.len());
        assert_eq!(paths(&mut automaton(&template, &tokens), &tokens), expected);
    }

    #[test]
    fn texts_that_can_be_read_in_two_ways_are_one() {
        let tokens = ["a", "b"];
        let mut twice = automaton(&[&["a", "ab"], &["ba", "a"]], &tokens);
        let texts: Vec<String> = paths(&mut twice, &tokens).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["aa", "aba", "abba"]);
        assert!(twice.accepts(b"aba") && !twice.accepts(b"ab") && !twice.accepts(b"abaa"));
    }
}

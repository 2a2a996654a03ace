//! Texts that stand before those that are judged: drawn from the two sets, and then in neither.

use std::collections::BTreeSet;

use verbatim_lm::{Error, Passage, TextModel};

use super::{Asking, Read, beginning, scored};
use crate::random::Draw;
use crate::signal;

/// Non-members before a text, for ReCaLL: the most that its authors take (Xie et al. 2024).
const MOST_FOR_RECALL: usize = 12;

/// Texts of either kind before a text, for Con-ReCaLL (Wang et al. 2025).
const MOST_FOR_CON_RECALL: usize = 10;

/// The weight of the loss behind members, for Con-ReCaLL (Wang et al. 2025).
const GAMMA: f64 = 0.5;

/// Texts that are looked at for each shot that is wanted; in a set of long ones none may fit.
const TRIES: usize = 50;

/// Texts that stand before those that are judged. Only [`part`] makes them, which takes them out of the sets.
#[derive(Clone, Debug, Default)]
pub struct Shots {
    members: Vec<Shot>,
    non_members: Vec<Shot>,
}

#[derive(Clone)]
struct Shot {
    /// As far as it is read.
    text: String,
    is_cut: bool,
    tokens: Vec<u32>,
}

impl std::fmt::Debug for Shot {
    /// Leaves the text out.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shot").field("n_tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}

/// Two sets of texts without the shots that were drawn from them.
#[derive(Clone, Debug)]
pub struct Parted {
    /// What was drawn.
    pub shots: Shots,
    /// The numbers of the texts that are left of the members and of the non-members, rising. No text that equals a shot, as
    /// far as it is read, is among them.
    pub left: [Vec<usize>; 2],
}

/// How texts are read and drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parting {
    /// Whether members are drawn as well, for Con-ReCaLL.
    pub draws_members: bool,
    /// Tokens of a text that are read, from its first.
    pub most_tokens: usize,
    /// Seed of the draw.
    pub seed: u64,
}

impl Shots {
    /// Non-members before each text, for ReCaLL.
    pub fn n_for_recall(&self) -> usize {
        self.non_members.len()
    }

    /// Members and non-members before each text, for Con-ReCaLL.
    pub fn n_for_con_recall(&self) -> [usize; 2] {
        [&self.members, &self.non_members].map(|shots| shots.len().min(MOST_FOR_CON_RECALL))
    }

    fn contain(&self, text: &str) -> bool {
        let is = |shot: &Shot| text == shot.text || shot.is_cut && text.starts_with(&shot.text);
        self.members.iter().chain(&self.non_members).any(is)
    }
}

/// Draws shots from the members and the non-members by chance, as many as fit whole in half of the model's context, up to 12
/// non-members and 10 members, and takes them, with all texts that equal one, out of both sets. No set gives more than half
/// of its texts.
pub fn part(target: TextModel<'_>, sets: [&[String]; 2], parting: Parting) -> Parted {
    let most = [if parting.draws_members { MOST_FOR_CON_RECALL } else { 0 }, MOST_FOR_RECALL];
    let [members, non_members] = [0, 1].map(|set| draw(target, sets[set], (most[set], set), parting));
    let shots = Shots { members, non_members };
    let left = sets.map(|texts| (0..texts.len()).filter(|number| !shots.contain(&texts[*number])).collect());
    Parted { shots, left }
}

/// Shots of one set: the first by chance that fit beside those before.
fn draw(
    target: TextModel<'_>,
    texts: &[String],
    (most, set): (usize, usize),
    Parting { most_tokens, seed, .. }: Parting,
) -> Vec<Shot> {
    let most = most.min(texts.len() / 2);
    let mut room = (target.model.context_len() / 2).saturating_sub(1);
    let mut draw = Draw::new(seed, super::SHOTS + set as u64);
    let (mut tried, mut shots) = (BTreeSet::new(), Vec::<Shot>::new());
    while shots.len() < most && tried.len() < texts.len().min(TRIES * most) {
        let number = draw.index(texts.len());
        if !tried.insert(number) {
            continue;
        }
        let text = beginning(target, &texts[number], most_tokens);
        let tokens = target.tokenizer.encode(&format!("{text}\n"));
        if tokens.len() <= room && !shots.iter().any(|shot| shot.text == text) {
            room -= tokens.len();
            shots.push(Shot { is_cut: text.len() < texts[number].len(), text, tokens });
        }
    }
    shots
}

/// ReCaLL and Con-ReCaLL of each text, none where there are no shots for it. All losses are of the same tokens of the text: as
/// many as fit behind the longest shots in one context.
pub(super) fn signals(
    asking: &Asking<'_>,
    shots: &Shots,
    texts: &[Read],
) -> Result<Vec<[Option<f64>; 2]>, Error> {
    if texts.iter().any(|read| shots.contain(&read.text)) {
        let cause = "a text that is scored begins like one that stands before it; take another seed";
        return Err(Error::InvalidArgument(cause.to_owned()));
    }
    let [n_members, n_non_members] = shots.n_for_con_recall();
    let prefix = |shots: &[Shot]| shots.iter().flat_map(|shot| &shot.tokens).copied().collect::<Vec<u32>>();
    let prefixes = [
        Vec::new(),
        prefix(&shots.non_members),
        prefix(&shots.non_members[..n_non_members]),
        prefix(&shots.members[..n_members]),
    ];
    let longest = prefixes.iter().map(Vec::len).max().unwrap_or(0);
    let room = asking.target.model.context_len().saturating_sub(longest);
    let behind = |prefix: &[u32]| -> Vec<Passage> {
        let cut = texts.iter().map(|read| read.within(room));
        cut.map(|passage| read_behind(asking.target, prefix, passage)).collect()
    };
    let ask = |prefix: &Vec<u32>| -> Result<Vec<Option<f64>>, Error> {
        let records = scored(asking, &behind(prefix))?;
        Ok(records.iter().map(|records| signal::loss(records.as_deref()?)).collect())
    };
    let mut losses: Vec<Vec<Option<f64>>> = Vec::new();
    for (at, prefix) in prefixes.iter().enumerate() {
        let same = prefixes[..at].iter().position(|other| other == prefix);
        losses.push(same.map_or_else(|| ask(prefix), |same| Ok(losses[same].clone()))?);
    }
    let of_text = |number: usize| {
        let [alone, behind_all, behind_non_members, behind_members] =
            [0, 1, 2, 3].map(|prefix| losses[prefix][number]);
        let recall = || signal::recall(behind_all?, alone?);
        let con_recall = || signal::con_recall((behind_non_members?, behind_members?), alone?, GAMMA);
        [
            (n_non_members > 0).then(recall).flatten(),
            (n_members.min(n_non_members) > 0).then(con_recall).flatten(),
        ]
    };
    Ok((0..texts.len()).map(of_text).collect())
}

/// A passage with a prefix between the token that begins a text and the text.
fn read_behind(target: TextModel<'_>, prefix: &[u32], passage: Passage) -> Passage {
    let Passage { prompt, continuation } = passage;
    let n_before = if super::start(target).is_some() { prompt.len() } else { 0 };
    let prompt = [&prompt[..n_before], prefix, &prompt[n_before..]].concat();
    Passage { prompt, continuation }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::testing::{Table, ask};
    use crate::infer::{Inferring, Signal};

    /// fast-mia draws its shots from the texts that it then scores, so that some texts stand before themselves.
    #[test]
    fn peer_05_what_stands_before_a_text_is_never_one_of_those_that_are_judged() {
        let table = Table::new();
        let text =
            |set: &str, i: usize| format!("{set} {}", ["a", "b", "ab", "ba", "aa", "bb", "abb"][i % 7]);
        let [members, others] = ["ab", "bb"].map(|set| (0..40).map(|i| text(set, i)).collect::<Vec<_>>());
        let parting = Parting { draws_members: true, most_tokens: 64, seed: 3 };
        let Parted { shots, left } = part(table.target(), [&members, &others], parting);
        assert!(shots.n_for_recall() > 0 && shots.n_for_con_recall()[0] > 0);
        for (texts, left) in [&members, &others].into_iter().zip(&left) {
            assert!(left.len() < texts.len() && !left.is_empty());
            let is_left: BTreeSet<&String> = left.iter().map(|number| &texts[*number]).collect();
            for shot in shots.members.iter().chain(&shots.non_members) {
                assert!(!is_left.contains(&shot.text), "copies go with it");
            }
        }
        // Whoever gives them all the same is refused.
        let mut inferring = Inferring { shots: Some(&shots), ..table.inferring() };
        let known = [shots.non_members[0].text.as_str()];
        let outcome = crate::infer::testing::try_ask(&mut inferring, &[Signal::Recall], &known);
        assert!(matches!(outcome, Err(Error::InvalidArgument(_))));
        let judged = [members[left[0][0]].as_str()];
        assert!(ask(&mut inferring, &[Signal::Recall], &judged)[0].values[0].is_some());
    }

    /// mia_llms_benchmark takes the mean of the loss over what stands before the text as well.
    #[test]
    fn peer_06_the_loss_behind_shots_is_that_of_the_text_alone() {
        let table = Table::new();
        let shots = |texts: &[&str]| {
            let shot = |text: &&str| Shot {
                text: (*text).to_owned(),
                is_cut: false,
                tokens: table.target().tokenizer.encode(&format!("{text}\n")),
            };
            Shots { members: Vec::new(), non_members: texts.iter().map(shot).collect() }
        };
        // The model looks two tokens back, so that what stands further ahead can only tell by being in the mean.
        let [one, more] = [shots(&["b"]), shots(&["unlikely words", "b"])];
        let recall = |shots| {
            let mut inferring = Inferring { shots: Some(shots), ..table.inferring() };
            ask(&mut inferring, &[Signal::Recall], &["aaB"])[0].values[0]
        };
        assert!(recall(&one).is_some() && recall(&one) == recall(&more));
    }

    #[test]
    fn shots_fit_half_of_the_context_and_are_at_most_half_of_a_set() {
        let table = Table::new();
        let texts: Vec<String> = (0..5).map(|i| "ab".repeat(i + 1)).collect();
        let parting = |seed| Parting { draws_members: false, most_tokens: 64, seed };
        let counts: Vec<usize> = (0..6)
            .map(|seed| {
                let parted = part(table.target(), [&[], &texts], parting(seed));
                assert_eq!((parted.shots.members.len(), &parted.left[0]), (0, &Vec::new()));
                let n_tokens: usize = parted.shots.non_members.iter().map(|shot| shot.tokens.len()).sum();
                assert!(n_tokens < table.target().model.context_len() / 2);
                parted.shots.n_for_recall()
            })
            .collect();
        assert!(counts.iter().all(|n| (1..=2).contains(n)), "{counts:?}");
        let long = vec!["ab".repeat(99); 4];
        let parted = part(table.target(), [&[], &long], Parting { most_tokens: 1000, ..parting(1) });
        assert_eq!((parted.shots.n_for_recall(), parted.left[1].len()), (0, 4));
    }
}

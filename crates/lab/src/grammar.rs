//! Invented English: names from syllables, things from word lists, sentences from templates with slots.
//!
//! It knows nothing of documents or canaries. Fixed stretches of a template are short and every slot is wide,
//! so that two sentences share a long window only by planting.

use crate::draw::Draw;

const ONSETS: &[&str] = &[
    "b", "br", "c", "cl", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pr", "qu",
    "r", "s", "sh", "st", "t", "th", "tr", "v", "w", "y", "z",
];
const VOWELS: &[&str] = &["a", "e", "i", "o", "u", "ai", "ea", "ou"];
const CODAS: &[&str] = &["", "", "", "l", "m", "n", "r", "s", "ck", "ld", "nd", "rn", "th", "x"];
const TOWN_ENDS: &[&str] =
    &["ford", "wick", "mere", "holt", "stead", "combe", "gate", "haven", "moor", "fell"];
const MONTHS: &[&str] =
    &["Frost", "Thaw", "Seed", "Rain", "Bloom", "Hay", "Sun", "Sheaf", "Fruit", "Mist", "Leaf", "Snow"];

const ADJECTIVES: &[&str] = &[
    "amber", "ancient", "bent", "blue", "brass", "brittle", "broad", "clouded", "copper", "cracked",
    "crooked", "dented", "dim", "double", "dusty", "empty", "faded", "folding", "frozen", "gilded", "green",
    "grey", "heavy", "hollow", "iron", "ivory", "lame", "lost", "loud", "mended", "narrow", "oiled", "pale",
    "patient", "plain", "polished", "quiet", "red", "rusted", "salted", "sealed", "sharp", "shy", "silver",
    "slow", "small", "spare", "stained", "steep", "stray", "sunken", "tall", "tilted", "tin", "twin",
    "velvet", "warm", "wet", "white", "worn",
];
const THINGS: &[&str] = &[
    "almanac",
    "anchor",
    "anvil",
    "apron",
    "astrolabe",
    "barge",
    "barometer",
    "basket",
    "bell",
    "bellows",
    "boat",
    "bridge",
    "bucket",
    "cabinet",
    "candle",
    "cart",
    "chart",
    "clock",
    "compass",
    "crane",
    "drum",
    "engine",
    "ferry",
    "fiddle",
    "flute",
    "furnace",
    "gauge",
    "globe",
    "hammer",
    "harness",
    "heron",
    "kettle",
    "kite",
    "ladder",
    "lamp",
    "lantern",
    "ledger",
    "lens",
    "lock",
    "loom",
    "magnet",
    "mill",
    "mirror",
    "net",
    "oar",
    "organ",
    "parcel",
    "pendulum",
    "plough",
    "press",
    "pulley",
    "pump",
    "quill",
    "raft",
    "saddle",
    "sail",
    "scale",
    "sextant",
    "sieve",
    "sled",
    "spindle",
    "stove",
    "teapot",
    "telescope",
    "tower",
    "trunk",
    "valve",
    "violin",
    "wagon",
    "well",
    "wheel",
    "whistle",
    "winch",
    "window",
];
const GOODS: &[&str] = &[
    "barley", "beeswax", "bricks", "candles", "chalk", "charcoal", "cheese", "cloth", "cork", "eels",
    "feathers", "flax", "glass", "glue", "honey", "ink", "lamp oil", "lime", "linen", "malt", "nails",
    "needles", "oats", "paper", "pears", "pepper", "pitch", "plums", "resin", "rope", "rye", "salt", "sand",
    "slate", "soap", "tallow", "tea", "thread", "tiles", "turnips", "twine", "varnish", "vinegar", "wool",
];
const VERBS: &[&str] = &[
    "admired",
    "borrowed",
    "carried",
    "cleaned",
    "counted",
    "dragged",
    "drew",
    "emptied",
    "examined",
    "filled",
    "found",
    "guarded",
    "hid",
    "hired",
    "inspected",
    "lifted",
    "loaded",
    "lost",
    "measured",
    "mended",
    "moved",
    "named",
    "oiled",
    "opened",
    "packed",
    "painted",
    "pawned",
    "praised",
    "raised",
    "repaired",
    "returned",
    "sealed",
    "sketched",
    "sold",
    "tested",
    "towed",
    "traded",
    "turned",
    "washed",
    "weighed",
];
const ACTS: &[&str] = &[
    "bows", "breathes", "burns", "climbs", "crosses", "dances", "dozes", "drifts", "drinks", "fades",
    "falls", "floats", "grows", "hums", "kneels", "leans", "limps", "listens", "melts", "murmurs", "races",
    "rests", "rings", "rises", "rolls", "sails", "sings", "sinks", "sleeps", "spins", "swims", "trembles",
    "turns", "waits", "walks", "wanders", "watches", "weeps", "whistles", "yawns",
];
const SIDES: &[&str] = &[
    "above", "across", "against", "along", "before", "behind", "below", "beneath", "beside", "beyond", "by",
    "inside", "near", "outside", "over", "past", "through", "toward", "under", "within",
];
const UNITS: &[&str] =
    &["barrels", "bundles", "casks", "crates", "jars", "pounds", "sacks", "spans", "yards"];
const TRADES: &[&str] = &[
    "archivist",
    "baker",
    "binder",
    "brewer",
    "carter",
    "clerk",
    "cooper",
    "dyer",
    "ferryman",
    "glazier",
    "gardener",
    "guide",
    "keeper",
    "mason",
    "miller",
    "notary",
    "pilot",
    "porter",
    "sexton",
    "smith",
    "surveyor",
    "tailor",
    "tinker",
    "warden",
    "weaver",
];

/// One document's grammar: the stream of draws, and the two people and the place that it keeps coming back to.
pub(crate) struct Grammar {
    draw: Draw,
    who: String,
    other: String,
    here: String,
}

impl Grammar {
    /// A grammar with a cast of its own.
    pub(crate) fn new(mut draw: Draw) -> Grammar {
        let who = person(&mut draw);
        let other = person(&mut draw);
        let here = place(&mut draw);
        Grammar { draw, who, other, here }
    }

    /// The stream, for draws that no slot covers.
    pub(crate) fn draw(&mut self) -> &mut Draw {
        &mut self.draw
    }

    /// One of `templates`, its slots filled.
    pub(crate) fn sentence(&mut self, templates: &[&str]) -> String {
        let template = self.draw.pick(templates);
        self.fill(template)
    }

    /// `template` with each `{slot}` filled by a fresh draw, or by the cast for `{who}`, `{other}`, `{here}`.
    pub(crate) fn fill(&mut self, template: &str) -> String {
        let mut filled = String::with_capacity(2 * template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let (slot, after) = after.split_once('}').expect("our own templates close their slots");
            filled.push_str(&self.slot(slot));
            rest = after;
        }
        filled.push_str(rest);
        filled
    }

    fn slot(&mut self, slot: &str) -> String {
        let draw = &mut self.draw;
        match slot {
            "who" => self.who.clone(),
            "other" => self.other.clone(),
            "here" => self.here.clone(),
            "person" => person(draw),
            "surname" => surname(draw),
            "place" => place(draw),
            "thing" => thing(draw),
            "adjective" => draw.pick(ADJECTIVES).to_owned(),
            "noun" => draw.pick(THINGS).to_owned(),
            "goods" => draw.pick(GOODS).to_owned(),
            "verb" => draw.pick(VERBS).to_owned(),
            "act" => draw.pick(ACTS).to_owned(),
            "side" => draw.pick(SIDES).to_owned(),
            "units" => draw.pick(UNITS).to_owned(),
            "trade" => draw.pick(TRADES).to_owned(),
            "number" => draw.between(2, 999).to_string(),
            "year" => draw.between(1200, 1899).to_string(),
            "date" => format!("{} {}", draw.between(1, 30), draw.pick(MONTHS)),
            "hour" => format!("{}:{:02}", draw.between(1, 12), draw.below(60)),
            _ => unreachable!("our own templates name only known slots: {slot}"),
        }
    }
}

/// A given name and a surname, such as "Brai Stendax".
fn person(draw: &mut Draw) -> String {
    let n_syllables = draw.between(1, 2);
    format!("{} {}", capitalized(&syllables(draw, n_syllables)), surname(draw))
}

fn surname(draw: &mut Draw) -> String {
    capitalized(&syllables(draw, 2))
}

fn place(draw: &mut Draw) -> String {
    let n_syllables = draw.between(1, 2);
    capitalized(&format!("{}{}", syllables(draw, n_syllables), draw.pick(TOWN_ENDS)))
}

fn thing(draw: &mut Draw) -> String {
    format!("{} {}", draw.pick(ADJECTIVES), draw.pick(THINGS))
}

fn syllables(draw: &mut Draw, n: u64) -> String {
    (0..n).map(|_| format!("{}{}{}", draw.pick(ONSETS), draw.pick(VOWELS), draw.pick(CODAS))).collect()
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_filled_and_the_cast_stays() {
        let mut grammar = Grammar::new(Draw::new(1, "test", 0));
        let text = grammar.fill("{who} met {other} in {here}; {who} {verb} the {thing} on {date} {year}.");
        assert!(!text.contains(['{', '}']), "{text}");
        let who = grammar.fill("{who}");
        assert_eq!(text.matches(&who).count(), 2, "{text}");
    }

    #[test]
    fn names_seldom_repeat() {
        let mut draw = Draw::new(1, "test", 0);
        let mut names: Vec<String> = (0..2000).map(|_| person(&mut draw)).collect();
        names.sort_unstable();
        names.dedup();
        assert!(names.len() >= 1999, "{}", names.len());
    }
}

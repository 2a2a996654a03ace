//! The answers of one share of a run's questions as the output of a process, and those of all shares, for the run that takes
//! them up as if it had asked itself.
//!
//! A shard is a folder: a manifest, and a file of answers for each step, in an order that does not depend on how they came.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::{Error, Note, Result, RunFile, Scratch, Share, differences, read_manifest, write_private};

const MANIFEST: &str = "shard.json";
const MAGIC: &str = "verbatim shard";
const VERSION: u32 = 1;

/// What a shard says of the run that it is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// What decides about the result beside the task. All shards of a run have the same.
    pub result: Value,
    /// What may differ.
    pub run: Value,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    magic: String,
    version: u32,
    shard: Share,
    task: Value,
    #[serde(flatten)]
    about: About,
    answers: Vec<Note>,
}

/// Writes what a run's folder keeps into another, as a shard; tells how many answers these are.
///
/// # Errors
/// [`Error::Damaged`] where something kept is not what was written, those of writing.
///
/// # Panics
/// When the folder is not that of a run.
pub fn write_shard(scratch: &Scratch, folder: &Path, about: About) -> Result<u64> {
    let (task, notes) = scratch.noted().expect("a share is answered in the folder of a run");
    let mut by_step: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for note in &notes {
        for file in &note.files {
            let bytes = scratch.open(file)?;
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            by_step.entry(&note.step).or_default().extend(lines.map(<[u8]>::to_vec));
        }
    }
    let mut answers = Vec::with_capacity(by_step.len());
    for (step, mut lines) in by_step {
        lines.sort_unstable();
        let (name, end) = (format!("{}.jsonl", step.replace(' ', "-")), lines.len() as u64);
        let mut bytes = lines.join(&b'\n');
        bytes.push(b'\n');
        write_private(&folder.join(&name), &bytes)?;
        let file = RunFile { name, n_bytes: bytes.len() as u64, checksum: xxh3_128(&bytes) };
        answers.push(Note { step: step.to_owned(), end, files: vec![file] });
    }
    let n_answers = answers.iter().map(|note| note.end).sum();
    let (magic, task) = (MAGIC.to_owned(), task.clone());
    let manifest = Manifest { magic, version: VERSION, shard: scratch.share(), task, about, answers };
    let bytes = serde_json::to_vec_pretty(&manifest).expect("a manifest has only string keys");
    write_private(&folder.join(MANIFEST), &bytes)?;
    Ok(n_answers)
}

/// All shards of one run.
#[derive(Debug)]
pub struct Shards {
    task: Value,
    about: About,
    notes: Vec<(PathBuf, Vec<Note>)>,
}

impl Shards {
    /// Opens the folders of all shards of a run, in any order.
    ///
    /// # Errors
    /// [`Error::Shards`] where a folder is none, where two are of different runs or the same, or where one is missing;
    /// those of reading.
    pub fn open(folders: &[PathBuf]) -> Result<Shards> {
        let mut all: Vec<(&PathBuf, Manifest)> = Vec::with_capacity(folders.len());
        for folder in folders {
            all.push((folder, manifest(folder)?));
        }
        all.sort_by_key(|(_, manifest)| manifest.shard.number());
        let refused = |cause: String| Err(Error::Shards(cause));
        let Some((first, rest)) = all.split_first() else { return refused("no shards".to_owned()) };
        for other in rest {
            let differences = differences(&identity(&first.1), &identity(&other.1));
            if !differences.is_empty() {
                let [here, there] = [first.0, other.0].map(|folder| folder.display());
                return refused(format!("{here} and {there} are shards of different runs: {differences}"));
            }
        }
        if let Some(pair) = all.windows(2).find(|pair| pair[0].1.shard == pair[1].1.shard) {
            let [one, other] = [&pair[0], &pair[1]].map(|(folder, _)| folder.display());
            return refused(format!("{one} and {other} are both shard {}", pair[0].1.shard));
        }
        let of = first.1.shard.of();
        if let Some(number) = (1..=of).find(|number| all.iter().all(|(_, m)| m.shard.number() != *number)) {
            return refused(format!("shard {number}/{of} is missing: {} were given", all.len()));
        }
        let about = first.1.about.clone();
        let task = first.1.task.clone();
        let notes = all.into_iter().map(|(folder, manifest)| (folder.clone(), manifest.answers)).collect();
        Ok(Shards { task, about, notes })
    }

    /// What the shards say of their run; what may differ is as the first has it.
    pub fn about(&self) -> &About {
        &self.about
    }

    pub(crate) fn task(&self) -> &Value {
        &self.task
    }

    /// The folders, and what was noted in each.
    pub(crate) fn notes(&self) -> &[(PathBuf, Vec<Note>)] {
        &self.notes
    }
}

fn manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join(MANIFEST);
    if !folder.is_dir() {
        return Err(Error::input(folder, std::io::ErrorKind::NotFound.into()));
    }
    let bad = |cause: String| Error::damaged(&path, cause);
    let Some(manifest) = read_manifest::<Manifest, Error>(&path, (MAGIC, VERSION), bad)? else {
        let cause =
            format!("{} is no shard: give the folders that runs with --shard wrote", folder.display());
        return Err(Error::Shards(cause));
    };
    let names = manifest.answers.iter().flat_map(|note| &note.files).map(|file| &file.name);
    match names.into_iter().find(|name| Path::new(name).file_name() != Some(name.as_ref())) {
        Some(_) => Err(bad("a file of answers is not one of the folder".to_owned())),
        None => Ok(manifest),
    }
}

/// What shards of one run have in common.
fn identity(manifest: &Manifest) -> Value {
    let Manifest { shard, task, about, .. } = manifest;
    serde_json::json!({ "shards": shard.of(), "task": task, "result": about.result })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::answer_each;

    const N: usize = 23;

    fn about() -> About {
        About { result: json!({ "level": 0.9 }), run: json!(["--shard"]) }
    }

    fn square(number: usize) -> Result<usize> {
        Ok(number * number)
    }

    /// Answers a share, stopped after each answer, in the order that `ask` wants.
    fn shard(parent: &Path, share: &str, task: &Value, about: About) -> PathBuf {
        let (folder, work) = (parent.join(share.replace('/', "-of-")), parent.join("work"));
        loop {
            let scratch = Scratch::of_share(&work, task, share.parse().unwrap()).unwrap();
            let mut n_asked = 0;
            let outcome = answer_each::<usize, Error>(&scratch, "the squares", N, |number| {
                n_asked += 1;
                if n_asked > 2 { Err(Error::Shards("stopped".to_owned())) } else { square(number) }
            });
            if let Ok(answers) = outcome {
                assert!((0..N).all(|n| answers[n].is_some() == scratch.share().has(n as u64)));
                fs::create_dir_all(&folder).unwrap();
                let n_answers = write_shard(&scratch, &folder, about).unwrap();
                assert_eq!(n_answers, answers.iter().flatten().count() as u64);
                scratch.discard().unwrap();
                return folder;
            }
        }
    }

    fn shards(parent: &Path, of: usize, task: &Value) -> Vec<PathBuf> {
        (1..=of).map(|number| shard(parent, &format!("{number}/{of}"), task, about())).collect()
    }

    #[test]
    fn shards_in_any_order_answer_all_questions() {
        let task = json!({ "seed": 1 });
        for of in [1, 2, 5, 30] {
            let parent = tempfile::tempdir().unwrap();
            let mut folders = shards(parent.path(), of, &task);
            folders.rotate_left(of / 2);
            let shards = Shards::open(&folders).unwrap();
            assert_eq!(*shards.about(), about());
            let scratch = Scratch::of_shards(&shards, &task, parent.path()).unwrap();
            let answers = answer_each::<usize, Error>(&scratch, "the squares", N, |_| {
                Err(Error::Shards("asked again".to_owned()))
            });
            assert!(answers.unwrap().into_iter().flatten().eq((0..N).map(|n| n * n)));
            let other = Scratch::of_shards(&shards, &json!({ "seed": 2 }), parent.path()).unwrap_err();
            assert!(other.to_string().contains("seed: there 1, here 2"), "{other}");
        }
    }

    #[test]
    fn a_shard_has_the_same_bytes_however_its_answers_came() {
        let (parent, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let task = json!({});
        let stopped = shard(parent.path(), "2/3", &task, about());
        let scratch = Scratch::of_share(&other.path().join("work"), &task, "2/3".parse().unwrap()).unwrap();
        answer_each(&scratch, "the squares", N, square).unwrap();
        write_shard(&scratch, other.path(), about()).unwrap();
        for name in [MANIFEST, "the-squares.jsonl"] {
            let [one, two] =
                [stopped.as_path(), other.path()].map(|folder| fs::read(folder.join(name)).unwrap());
            assert!(one == two, "{name}");
        }
    }

    #[test]
    fn what_does_not_make_one_run_is_refused_by_name() {
        let (parent, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let task = json!({ "seed": 1, "model": "a" });
        let folders = shards(parent.path(), 3, &task);
        let foreign = [
            shard(&other.path().join("seed"), "2/3", &json!({ "seed": 2, "model": "a" }), about()),
            shard(&other.path().join("four"), "2/4", &task, about()),
            shard(&other.path().join("more"), "2/3", &task, About { result: json!(1), ..about() }),
        ];
        let copy = shard(&other.path().join("copy"), "3/3", &task, about());
        let [a, b, c] = [&folders[0], &folders[1], &folders[2]];
        for (given, said) in [
            (vec![a, &foreign[0], c], "different runs: task.seed: there 1, here 2"),
            (vec![a, &foreign[1], c], "different runs: shards: there 3, here 4"),
            (vec![a, &foreign[2], c], "different runs: result"),
            (vec![c, a], "shard 2/3 is missing"),
            (vec![b, a, c, &copy], "are both shard 3/3"),
            (vec![a, a, b], "are both shard 1/3"),
            (vec![&other.path().to_path_buf()], "is no shard"),
            (vec![], "no shards"),
        ] {
            let given: Vec<PathBuf> = given.into_iter().cloned().collect();
            let error = Shards::open(&given).unwrap_err();
            assert!(error.to_string().contains(said), "{said}: {error}");
            assert_eq!(error.exit_code(), 65);
        }
        assert_eq!(Shards::open(&[parent.path().join("none")]).unwrap_err().exit_code(), 66);
    }

    #[test]
    fn fault_46_a_damaged_shard_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let (task, folders) = (json!({}), shards(parent.path(), 2, &json!({})));
        let rewrite = |name: &str, bytes: &[u8]| {
            let path = folders[1].join(name);
            fs::remove_file(&path).unwrap();
            write_private(&path, bytes).unwrap();
        };
        let [manifest, answers] =
            [MANIFEST, "the-squares.jsonl"].map(|n| fs::read(folders[1].join(n)).unwrap());
        let text = String::from_utf8(manifest.clone()).unwrap();
        for bad in [
            text[..text.len() / 2].to_owned(),
            text.replace("\"version\": 1", "\"version\": 9"),
            text.replace("the-squares.jsonl", "../the-squares.jsonl"),
            text.replace("2/2", "3/2"),
        ] {
            rewrite(MANIFEST, bad.as_bytes());
            assert_eq!(Shards::open(&folders).unwrap_err().exit_code(), 65, "{bad}");
        }
        rewrite(MANIFEST, &manifest);
        for bad in [&answers[1..], &[&answers[..9], b"7", &answers[10..]].concat()] {
            rewrite("the-squares.jsonl", bad);
            let shards = Shards::open(&folders).unwrap();
            let scratch = Scratch::of_shards(&shards, &task, parent.path()).unwrap();
            let error = answer_each(&scratch, "the squares", N, square).unwrap_err();
            assert_eq!(error.exit_code(), 65, "{error}");
            assert!(error.to_string().contains("the-squares.jsonl"), "{error}");
        }
    }
}

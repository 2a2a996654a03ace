//! Signatures from a file that somebody forged.

use std::path::Path;

use serde_json::{Value, json};
use verbatim_corpus::{Corpus, OpenConfig, Origin};
use verbatim_store::{Scratch, Silent, write_shared};
use xxhash_rust::xxh3::xxh3_128;

use super::fixture::{both, near};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::room::Resources;
use crate::signatures::Signatures;

fn against(folder: &Path, inputs: [&Path; 2]) -> Result<Plan> {
    let [own, others] = inputs.map(|path| [path.to_path_buf()]);
    let corpus = Corpus::open_against(&own, &others, &OpenConfig::standard(), &Silent).unwrap();
    let resources = Resources { signatures: Signatures::open(folder)?, ..Resources::standard(folder) };
    assert!(resources.signatures.is_some());
    crate::finder::plan(&corpus, &both(near(1, 0.8)), &resources, &Silent)
}

#[test]
fn fault_49_forged_signatures_are_refused_before_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old.jsonl", "new.jsonl"].map(|name| folder.path().join(name));
    write_shared(&old, b"{\"text\": \"a b c\"}\n{\"text\": \"d e f\"}\n").unwrap();
    write_shared(&new, b"{\"text\": \"d e f\"}\n").unwrap();
    let index = folder.path().join("index");
    std::fs::create_dir(&index).unwrap();
    let corpus = Corpus::open(std::slice::from_ref(&old), &OpenConfig::standard(), &Silent).unwrap();
    let source = Origin { inputs: vec![old.clone()], against: vec![], reading: OpenConfig::standard() };
    let resources = Resources::standard(folder.path());
    Signatures::build((&corpus, source), &both(near(1, 0.8)), (&resources, &index), &Silent).unwrap();
    assert_eq!(against(&index, [&new, &old]).unwrap().removals().len(), 1);

    let manifest: Value =
        serde_json::from_slice(&std::fs::read(index.join("manifest.json")).unwrap()).unwrap();
    let honest = std::fs::read(index.join("hashes-0.run")).unwrap();
    let record = |key: u64, rank: u64| [key.to_le_bytes(), rank.to_le_bytes()].concat();
    let huge = [record(1, 0), record(2, u64::MAX)].concat();
    let unsorted = [record(2, 0), record(1, 1)].concat();
    for forged in [&huge[..], &unsorted, &honest[..honest.len() - 1]] {
        let copy = tempfile::tempdir().unwrap();
        let mut lie = manifest.clone();
        let scratch = Scratch::saved(copy.path());
        scratch.write(("hashes", 0), |file| file.write_all(forged)).unwrap();
        let keys = std::fs::read(index.join("keys-0.run")).unwrap();
        scratch.write(("keys", 0), |file| file.write_all(&keys)).unwrap();
        lie["files"][0] = json!({
            "name": "hashes-0.run", "n_bytes": forged.len(), "checksum": format!("{:032x}", xxh3_128(forged)),
        });
        write_shared(&copy.path().join("manifest.json"), lie.to_string().as_bytes()).unwrap();
        let error = against(copy.path(), [&new, &old]).unwrap_err();
        assert!(matches!(error, Error::BadSignatures { .. }) && error.exit_code() == 65, "{error}");
    }
}

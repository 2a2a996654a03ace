//! Stages decide what one process decides, however the corpus is split and in whatever order units are done.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::json;
use verbatim_corpus::{Corpus, Listing, OpenConfig};
use verbatim_store::{Silent, write_shared};

use super::fixture::{Draw, both, json, little, near, near_only, plan};
use crate::config::{Clustering, DedupConfig, Empty, MinhashConfig};
use crate::emit::{Emission, emit};
use crate::keep::Keep;
use crate::stages::{ClusterOutcome, Clustered, StageJob, StageName, StagePlan, Stages, UnitDone};

/// Writes texts into files of a folder, at most so many in each.
fn files(folder: &Path, texts: &[String], most: usize) -> Vec<PathBuf> {
    std::fs::create_dir(folder).unwrap();
    let file = |(i, texts): (usize, &[String])| {
        let records: String = texts.iter().map(|text| json!({ "text": text }).to_string() + "\n").collect();
        let path = folder.join(format!("{i:03}.jsonl"));
        write_shared(&path, records.as_bytes()).unwrap();
        path
    };
    texts.chunks(most).enumerate().map(file).collect()
}

/// A search in one process and one in stages.
struct Search {
    folder: tempfile::TempDir,
    inputs: [Vec<PathBuf>; 2],
    config: DedupConfig,
}

impl Search {
    fn new([texts, references]: [&[String]; 2], most: usize, config: DedupConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inputs = [
            files(&folder.path().join("own"), texts, most),
            files(&folder.path().join("others"), references, most),
        ];
        Search { folder, inputs, config }
    }

    fn corpus(&self) -> Corpus {
        let [own, others] = &self.inputs;
        Corpus::open_against(own, others, &OpenConfig::standard(), &Silent).unwrap()
    }

    fn stages(&self, unit_bytes: u64) -> Stages {
        let [own, others] = &self.inputs;
        let listing = Listing::of([own, others], &OpenConfig::standard(), &Silent).unwrap();
        let plan = StagePlan::new(listing, &self.config, unit_bytes, ("1.2.3", json!("a"))).unwrap();
        let folder = self.folder.path().join(format!("stages-{unit_bytes}"));
        plan.save(&folder).unwrap();
        plan.save(&folder).unwrap();
        Stages::open((&folder, &folder), "1.2.3").unwrap()
    }

    /// Runs all units up to `cluster`, in an order drawn with a seed.
    fn clustered(&self, stages: &Stages, seed: u64) -> Clustered {
        let (reading, resources) = (OpenConfig::standard(), little());
        let job = StageJob { config: &self.config, reading: &reading, resources: &resources };
        let mut draw = Draw::new(seed);
        for stage in [StageName::Sign, StageName::Link, StageName::Verify] {
            let mut units: Vec<u64> = (0..stages.n_units(stage)).collect();
            units.sort_by_cached_key(|_| draw.below(1 << 20));
            for unit in units {
                assert_eq!(stages.run(stage, unit, &job, &Silent).unwrap(), UnitDone::Now);
                assert_eq!(stages.run(stage, unit, &job, &Silent).unwrap(), UnitDone::Before);
            }
        }
        match stages.cluster(&job, &Silent).unwrap() {
            ClusterOutcome::Decided(decided) => return decided.1,
            ClusterOutcome::Open(n) => assert!(n > 0),
        }
        let units = stages.n_units(StageName::Verify);
        assert_eq!(stages.missing(StageName::Verify).unwrap(), (0..units).collect::<Vec<_>>());
        for unit in (1..units).rev() {
            assert_eq!(stages.run(StageName::Verify, unit, &job, &Silent).unwrap(), UnitDone::Now);
        }
        assert_eq!(stages.cluster(&job, &Silent).unwrap_err().exit_code(), 66);
        assert_eq!(stages.run(StageName::Verify, 0, &job, &Silent).unwrap(), UnitDone::Now);
        assert_eq!(stages.run(StageName::Verify, 0, &job, &Silent).unwrap(), UnitDone::Before);
        match stages.cluster(&job, &Silent).unwrap() {
            ClusterOutcome::Decided(decided) => decided.1,
            ClusterOutcome::Open(n) => panic!("{n} pairs are asked for a second time"),
        }
    }
}

fn edits(seed: u64, n: usize) -> Vec<String> {
    let mut draw = Draw::new(seed);
    let bases: Vec<Vec<String>> = (0..4).map(|_| draw.text(30)).collect();
    let mut texts: Vec<String> = Vec::new();
    for _ in 0..n {
        let text = match draw.below(6) {
            0 if !texts.is_empty() => texts[draw.below(texts.len() as u64) as usize].clone(),
            1 => " ".repeat(draw.below(3) as usize),
            2 => draw.text(20).join(" "),
            _ => {
                let base = &bases[draw.below(4) as usize];
                let n_edits = draw.below(9) as usize;
                draw.edited(base, n_edits).join(" ")
            }
        };
        texts.push(text);
    }
    texts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]
    #[test]
    fn stages_decide_what_one_process_decides(
        seed in 0u64..1000,
        n in 0usize..70,
        most in 5usize..30,
        unit_bytes in 1500u64..6000,
        policy in 0usize..6,
        (only_references, is_transitive, has_exact) in any::<(bool, bool, bool)>(),
    ) {
        let keep: Keep = ["first", "last", "longest", "random:5", "none", "shortest"][policy].parse().unwrap();
        // Few rows, so that many share a key and are no copies.
        let near = MinhashConfig { bands_rows: Some((6, 2)), ..near(2, 0.7) };
        let config = DedupConfig {
            only_references,
            clustering: if is_transitive { Clustering::Transitive } else { Clustering::Star },
            empty: if only_references { Empty::Keep } else { Empty::Remove },
            keep: keep.clone(),
            ..if has_exact { both(near) } else { near_only(near, keep) }
        };
        let texts = edits(seed, n);
        let references = edits(seed + 7, if only_references { n / 2 + 1 } else { n / 7 });
        let search = Search::new([&texts, &references], most, config);
        let corpus = search.corpus();
        let expected = plan(&corpus, &search.config, &Silent).unwrap();
        let stages = search.stages(unit_bytes);
        let clustered = search.clustered(&stages, seed);
        prop_assert_eq!(json(&clustered.plan), json(&expected));
        let n_compared: u64 = expected.stages().iter().map(|stage| stage.n_compared).sum();
        prop_assert!(clustered.n_compared_late <= n_compared);
    }
}

#[test]
fn what_stages_write_is_what_one_process_writes() {
    let search = Search::new([&edits(1, 80), &[]], 9, both(near(2, 0.7)));
    let corpus = search.corpus();
    let expected = plan(&corpus, &search.config, &Silent).unwrap();
    let stages = search.stages(2000);
    let (reading, resources) = (OpenConfig::standard(), little());
    let job = StageJob { config: &search.config, reading: &reading, resources: &resources };
    let rewrite = |unit| stages.run(StageName::Rewrite, unit, &job, &Silent);
    assert_eq!(rewrite(0).unwrap_err().exit_code(), 66, "nothing is signed");
    stages.keep(&search.clustered(&stages, 3)).unwrap();
    assert!(stages.is_decided().unwrap() && stages.n_units(StageName::Rewrite) > 3);
    for unit in (0..stages.n_units(StageName::Rewrite)).rev() {
        let missing = stages.missing(StageName::Rewrite).unwrap();
        assert_eq!(missing, (0..=unit).collect::<Vec<_>>());
        rewrite(unit).unwrap();
    }
    let [one, many] = ["one", "many"].map(|name| search.folder.path().join(name));
    let tally = emit(&corpus, &expected, &Emission::filtered(), &one, &Silent).unwrap();
    let committed = stages.commit(&job, &Emission::filtered(), &many, &Silent).unwrap();
    assert_eq!((committed.tally, &committed.plan), (tally, &expected));
    assert_eq!(committed.corpus.fingerprint(), corpus.fingerprint());
    let mut n_files = 0;
    for entry in std::fs::read_dir(&one).unwrap().chain(std::fs::read_dir(one.join("_verbatim")).unwrap()) {
        let path = entry.unwrap().path();
        if path.is_file() {
            let other = many.join(path.strip_prefix(&one).unwrap());
            assert!(std::fs::read(&path).unwrap() == std::fs::read(&other).unwrap(), "{}", path.display());
            n_files += 1;
        }
    }
    assert_eq!(n_files, 9 + 4);
}

#[test]
fn a_damaged_file_of_a_stage_is_65_and_named() {
    let search = Search::new([&edits(2, 60), &[]], 20, both(near(2, 0.7)));
    let stages = search.stages(1500);
    search.clustered(&stages, 1);
    let folder = search.folder.path().join("stages-1500");
    let (reading, resources) = (OpenConfig::standard(), little());
    let job = StageJob { config: &search.config, reading: &reading, resources: &resources };
    for name in ["link/unit-0.keys", "verify/unit-1.verdicts", "link/unit-1.equal", "sign/file-1.spans"] {
        let path = folder.join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        let Some(byte) = damaged.first_mut() else { continue };
        *byte ^= 4;
        let replace = |bytes: &[u8]| {
            std::fs::remove_file(&path).unwrap();
            verbatim_store::write_private(&path, bytes).unwrap();
        };
        replace(&damaged);
        let error = stages.cluster(&job, &Silent).unwrap_err();
        let file = name.rsplit('/').next().unwrap();
        assert!(error.exit_code() == 65 && error.to_string().contains(file), "{name}: {error}");
        replace(&whole);
    }
    stages.cluster(&job, &Silent).unwrap();
}

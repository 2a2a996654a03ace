//! Fetching from a hub that lies: what is right lands in the cache, nothing else, and nothing outside it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use verbatim_lm::hub::{HubConfig, Snapshot, Token, fetch};
use verbatim_lm::{Error, Result};
use verbatim_store::Silent;

use crate::loopback::{Hub, Model, Reply, Request};

const FETCHED: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// A cache inside a folder of its own, so that a byte outside the cache is seen.
struct Place {
    outside: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { outside: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.outside.path().join("a/b/hub")
    }

    fn repo(&self) -> PathBuf {
        self.cache().join("models--o--n")
    }

    fn config(&self, endpoint: &str) -> HubConfig {
        HubConfig {
            endpoint: endpoint.to_owned(),
            timeout: Duration::from_millis(300),
            max_retries: 1,
            retry_wait: Duration::from_millis(1),
            ..HubConfig::standard(self.cache())
        }
    }

    fn fetch(&self, hub: &Hub) -> Result<Snapshot> {
        fetch(&self.config(&hub.url), "o/n", "main", &Silent)
    }

    /// Every file below the folder must be a true blob of one of the models, a link to one, or a commit.
    fn assert_only_truth(&self, models: &[&Model]) {
        let mut folders = vec![self.outside.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                let found = fs::symlink_metadata(&entry).unwrap();
                if found.is_dir() {
                    folders.push(entry);
                } else {
                    assert!(
                        is_true(&entry, &self.repo(), models),
                        "{} does not belong there",
                        entry.display()
                    );
                }
            }
        }
    }
}

fn is_true(path: &Path, repo: &Path, models: &[&Model]) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let holds = |model: &&Model, fetched: &str, path: &Path| fs::read(path).unwrap() == model.bytes(fetched);
    models.iter().any(|model| {
        if path.parent() == Some(&repo.join("blobs")) {
            return model.files.iter().any(|(file, _)| model.blob(file) == name && holds(model, file, path));
        }
        if path.parent() == Some(&repo.join("snapshots").join(&model.commit)) {
            return model.files.iter().any(|(file, _)| file == name) && holds(model, name, path);
        }
        path.starts_with(repo.join("refs")) && fs::read_to_string(path).unwrap() == model.commit
    })
}

#[test]
fn a_model_is_fetched_whole_and_only_what_is_needed() {
    let (place, model) = (Place::new(), Model::number(1));
    let served = model.clone();
    let hub = Hub::start(move |request| served.answer(request));
    let snapshot = place.fetch(&hub).unwrap();
    assert_eq!(snapshot.commit, model.commit);
    assert_eq!(snapshot.dir, place.repo().join("snapshots").join(&model.commit));
    let mut names: Vec<String> =
        fs::read_dir(&snapshot.dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);
    for name in FETCHED {
        assert_eq!(fs::read(snapshot.dir.join(name)).unwrap(), model.bytes(name));
    }
    assert_eq!(fs::read_to_string(place.repo().join("refs/main")).unwrap(), model.commit);
    place.assert_only_truth(&[&model]);

    // The second time only the revision is asked for; a commit needs no hub, and neither does being off line.
    let n_requests = hub.requests().len();
    assert_eq!(place.fetch(&hub).unwrap(), snapshot);
    assert_eq!(hub.requests().len(), n_requests + 1);
    let config = place.config(&hub.url);
    assert_eq!(fetch(&config, "o/n", &model.commit, &Silent).unwrap(), snapshot);
    assert_eq!(fetch(&HubConfig { offline: true, ..config }, "o/n", "main", &Silent).unwrap(), snapshot);
    assert_eq!(hub.requests().len(), n_requests + 1);
}

/// One lie about the weights, and the exit code that it must lead to (0 where it does no harm).
fn lies(weights: &[u8]) -> Vec<(&'static str, Reply, u8)> {
    let half = &weights[..weights.len() / 2];
    let length = weights.len().to_string();
    let mut wrong = weights.to_vec();
    wrong[50_000] ^= 1;
    let declared = [("Content-Length", length.as_str())];
    let chunked = [("Transfer-Encoding", "chunked")];
    let silence = Duration::from_secs(2);
    let Reply::Bytes(start) = Reply::raw(200, &declared, half) else { unreachable!("raw makes bytes") };
    let Reply::Bytes(open) = Reply::raw(200, &[], b"") else { unreachable!("raw makes bytes") };
    vec![
        ("cut, with a length", Reply::raw(200, &declared, half), 75),
        ("cut, chunked", Reply::raw(200, &chunked, &[b"186a0\r\n", half].concat()), 75),
        ("cut, without a length", Reply::raw(200, &[], half), 65),
        ("cut, with a short length", Reply::new(200, &[("X-Linked-Size", "100000")], half), 65),
        ("wrong bytes of the right size", Reply::ok(&wrong), 65),
        ("nothing", Reply::ok(b""), 65),
        ("stalls", Reply::Stall(start, silence), 75),
        ("never answers", Reply::Stall(Vec::new(), silence), 75),
        ("endless", Reply::Endless(open), 65),
        ("one byte more", Reply::ok(&[weights, b"!"].concat()), 65),
        ("no HTTP", Reply::Bytes(b"SSH-2.0-x\r\n\r\n".to_vec()), 75),
        ("error 500", Reply::new(500, &[], b"oops"), 75),
        ("error 429", Reply::new(429, &[], b"slow down"), 75),
        ("error 403", Reply::new(403, &[], b"gated"), 66),
        ("error 404", Reply::new(404, &[], b"gone"), 66),
        ("partial content", Reply::new(206, &[], weights), 66),
        ("redirects in circles", Reply::redirect("/cdn/model.safetensors"), 65),
        ("redirects to nowhere", Reply::new(302, &[], b""), 65),
        ("redirects to another scheme", Reply::redirect("file:///etc/passwd"), 65),
        ("redirects to http elsewhere", Reply::redirect("http://192.0.2.1/model.safetensors"), 65),
        ("an etag that climbs", Reply::new(200, &[("ETag", "\"../../../../pwned_blob\"")], weights), 0),
        (
            "a linked etag that climbs",
            Reply::new(200, &[("X-Linked-ETag", "\"../../../../pwned\"")], weights),
            0,
        ),
        ("a commit that climbs", Reply::new(200, &[("X-Repo-Commit", "../../../../evilcommit")], weights), 0),
        ("a name that climbs", Reply::new(200, &[("Content-Disposition", "filename=../../x")], weights), 0),
    ]
}

#[test]
fn fault_90_no_lie_about_a_file_reaches_the_cache() {
    let model = Model::number(1);
    for (lie, reply, expected) in lies(model.bytes("model.safetensors")) {
        let place = Place::new();
        let served = model.clone();
        let hub = Hub::start(move |request| match request.path.as_str() {
            "/cdn/model.safetensors" => reply.clone(),
            _ => served.answer(request),
        });
        let start = Instant::now();
        let result = place.fetch(&hub);
        assert_eq!(result.as_ref().map_or_else(Error::exit_code, |_| 0), expected, "{lie}: {result:?}");
        assert!(start.elapsed() < Duration::from_secs(2), "{lie} took {:?}", start.elapsed());
        place.assert_only_truth(&[&model]);
        // Off line, what is there is either the whole truth or not a model.
        let offline = HubConfig { offline: true, ..place.config(&hub.url) };
        assert_eq!(fetch(&offline, "o/n", "main", &Silent).is_ok(), expected == 0, "{lie}");
    }
}

#[test]
fn fault_90_a_lie_leaves_what_was_there_before_as_it_was() {
    let (place, old, new) = (Place::new(), Model::number(1), Model::number(2));
    let served = old.clone();
    let before = place.fetch(&Hub::start(move |request| served.answer(request))).unwrap();
    let served = new.clone();
    let hub = Hub::start(move |request| match request.path.as_str() {
        "/cdn/model.safetensors" => Reply::ok(&[7; 100_000]),
        _ => served.answer(request),
    });
    assert_eq!(place.fetch(&hub).unwrap_err().exit_code(), 65);
    place.assert_only_truth(&[&old, &new]);
    let offline = HubConfig { offline: true, ..place.config(&hub.url) };
    assert_eq!(fetch(&offline, "o/n", "main", &Silent).unwrap(), before);
}

#[test]
fn fault_90_what_fails_once_is_tried_again() {
    let (place, model) = (Place::new(), Model::number(1));
    let (served, n) = (model.clone(), AtomicUsize::new(0));
    let hub = Hub::start(move |request| {
        let first = n.fetch_add(1, Ordering::SeqCst) % 2 == 0;
        if first { Reply::new(500, &[], b"oops") } else { served.answer(request) }
    });
    // Each second request fails, and the weights take two requests in a row.
    let config = HubConfig { max_retries: 5, ..place.config(&hub.url) };
    let error = fetch(&config, "o/n", "main", &Silent).unwrap_err();
    assert_eq!(error.exit_code(), 75, "{error}");

    let (place, n) = (Place::new(), AtomicUsize::new(0));
    let served = model.clone();
    let hub = Hub::start(move |request| match n.fetch_add(1, Ordering::SeqCst) {
        0 | 2 => Reply::new(503, &[], b"oops"),
        _ => served.answer(request),
    });
    place.fetch(&hub).unwrap();
    place.assert_only_truth(&[&model]);
}

#[test]
fn fault_90_no_lie_in_the_list_of_files_is_believed() {
    let model = Model::number(1);
    let listing = model.listing();
    let weights = model.blob("model.safetensors");
    let lies = [
        (listing.replace(&model.commit, "../../../../../evilcommit"), 65),
        (listing.replace(&model.commit, &model.commit.to_uppercase().replace('0', "F")), 65),
        (listing.replace(&weights, "../../../../../pwned"), 65),
        (listing.replace(&weights, &weights[..40]), 65),
        (listing.replace(&weights, &"0".repeat(64)), 65),
        (listing.replace(r#","size":100000,"pointerSize""#, r#","size":99999,"pointerSize""#), 65),
        (listing.replace(r#""size":12"#, r#""length":12"#), 65),
        (listing.replace("\"config.json\"", "\"../config.json\""), 66),
        ("{\"sha\":".to_owned(), 65),
        ("null".to_owned(), 65),
        ("[".repeat(100_000), 65),
    ];
    for (lie, expected) in lies {
        assert_ne!(lie, listing);
        let place = Place::new();
        let served = model.clone();
        let text = lie.clone();
        let hub = Hub::start(move |request| match request.path.starts_with("/api/") {
            true => Reply::ok(text.as_bytes()),
            false => served.answer(request),
        });
        let error = place.fetch(&hub).unwrap_err();
        assert_eq!(error.exit_code(), expected, "{error}: {lie:.200}");
        place.assert_only_truth(&[&model]);
    }
}

#[test]
fn fault_91_without_a_hub_only_what_is_pinned_and_whole_is_served() {
    let (place, model) = (Place::new(), Model::number(1));
    let served = model.clone();
    let hub = Hub::start(move |request| served.answer(request));
    let offline = HubConfig { offline: true, ..place.config(&hub.url) };
    assert_eq!(fetch(&offline, "o/n", "main", &Silent).unwrap_err().exit_code(), 75);
    let snapshot = place.fetch(&hub).unwrap();
    // Nobody listens on the discard port of loopback.
    let gone = place.config("http://127.0.0.1:9");
    assert_eq!(fetch(&gone, "o/n", "main", &Silent).unwrap_err().exit_code(), 75);
    assert_eq!(fetch(&gone, "o/n", &model.commit, &Silent).unwrap(), snapshot);
    for endpoint in ["http://hub.invalid", "ftp://127.0.0.1", "hub", "", "https://user:password@127.0.0.1"] {
        assert_eq!(fetch(&place.config(endpoint), "o/n", "main", &Silent).unwrap_err().exit_code(), 2);
    }
}

#[test]
fn fault_92_the_token_stays_with_its_host_and_is_never_shown() {
    const SECRET: &str = "hf_verysecret";
    let (place, model) = (Place::new(), Model::number(1));
    let served = model.clone();
    let elsewhere = Hub::start(move |request| served.answer(request));
    let (served, cdn) = (model.clone(), elsewhere.url.clone());
    let hub = Hub::start(move |request| match request.path.as_str() {
        path if path.ends_with(".safetensors") => Reply::redirect(&format!("{cdn}/cdn/model.safetensors")),
        _ => served.answer(request),
    });
    let config = HubConfig { token: Some(Token::new(SECRET).unwrap()), ..place.config(&hub.url) };
    fetch(&config, "o/n", "main", &Silent).unwrap();
    assert!(hub.requests().iter().all(|r| r.authorization.as_deref() == Some("Bearer hf_verysecret")));
    let strangers = elsewhere.requests();
    assert_eq!(strangers.len(), 1);
    assert_eq!(strangers[0].authorization, None);
    assert!(!format!("{config:?}").contains("secret"));
    for bad in ["", "a b", "a\r\nX-Evil: 1", "\u{e9}"] {
        let error = Token::new(bad).unwrap_err();
        assert!(error.exit_code() == 2 && !error.to_string().contains("Evil"));
    }
    let gone = HubConfig { endpoint: "http://127.0.0.1:9".to_owned(), ..config };
    let error = fetch(&gone, "o/n", "main", &Silent).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("secret"));
}

#[test]
fn fault_93_a_model_larger_than_allowed_is_not_fetched() {
    let (place, model) = (Place::new(), Model::number(1));
    let hub = Hub::start(move |request| model.answer(request));
    let config = HubConfig { max_download_bytes: Some(100_000), ..place.config(&hub.url) };
    assert_eq!(fetch(&config, "o/n", "main", &Silent).unwrap_err().exit_code(), 2);
    assert_eq!(hub.requests().len(), 1);
}

#[test]
fn fault_94_a_damaged_or_planted_cache_is_not_believed() {
    let (place, model) = (Place::new(), Model::number(1));
    let served = model.clone();
    let hub = Hub::start(move |request| served.answer(request));
    let offline = HubConfig { offline: true, ..place.config(&hub.url) };
    place.fetch(&hub).unwrap();
    let blob = place.repo().join("blobs").join(model.blob("model.safetensors"));
    let canary = place.outside.path().join("canary");
    let damage: [&dyn Fn(); 4] = [
        &|| fs::write(&blob, [0; 100_000]).unwrap(),
        &|| fs::write(&blob, b"").unwrap(),
        &|| fs::remove_file(&blob).unwrap(),
        &|| {
            // Even with the right bytes: what is behind a link may change after it was checked.
            fs::write(&canary, model.bytes("model.safetensors")).unwrap();
            fs::remove_file(&blob).unwrap();
            symlink(&canary, &blob).unwrap();
        },
    ];
    for damage in damage {
        damage();
        assert_eq!(fetch(&offline, "o/n", "main", &Silent).unwrap_err().exit_code(), 65);
        // A pinned commit is healed as well as a branch.
        let healed = fetch(&place.config(&hub.url), "o/n", &model.commit, &Silent).unwrap();
        assert_eq!(fs::read(healed.dir.join("model.safetensors")).unwrap(), model.bytes("model.safetensors"));
    }
    assert_eq!(fs::read(&canary).unwrap(), model.bytes("model.safetensors"));
    assert!(fs::symlink_metadata(&blob).unwrap().is_file());
    fs::remove_file(&canary).unwrap();

    // A link of the snapshot that leads elsewhere is not followed either.
    let link = place.repo().join("snapshots").join(&model.commit).join("config.json");
    fs::remove_file(&link).unwrap();
    symlink("/etc/hostname", &link).unwrap();
    assert_eq!(fetch(&offline, "o/n", "main", &Silent).unwrap_err().exit_code(), 65);
    place.fetch(&hub).unwrap();
    place.assert_only_truth(&[&model]);
}

#[test]
fn fault_94_a_cache_that_cannot_be_written_is_said_so() {
    let model = Model::number(1);
    let hub = Hub::start(move |request| model.answer(request));
    let place = Place::new();
    fs::create_dir_all(place.cache().parent().unwrap()).unwrap();
    fs::write(place.cache(), b"a file").unwrap();
    assert_eq!(place.fetch(&hub).unwrap_err().exit_code(), 73);

    // A folder that is a link could lead out of the cache.
    let (place, elsewhere) = (Place::new(), tempfile::tempdir().unwrap());
    fs::create_dir_all(place.repo()).unwrap();
    symlink(elsewhere.path(), place.repo().join("blobs")).unwrap();
    assert_eq!(place.fetch(&hub).unwrap_err().exit_code(), 73);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn fault_94_several_runs_may_fetch_one_model_at_once() {
    let (place, model) = (Place::new(), Model::number(1));
    let served = model.clone();
    let hub = Hub::start(move |request| served.answer(request));
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| place.fetch(&hub).unwrap())).collect();
        runs.into_iter().for_each(|run| assert_eq!(run.join().unwrap().commit, model.commit));
    });
    place.assert_only_truth(&[&model]);
}

#[test]
fn fault_95_all_files_are_of_the_commit_that_the_revision_first_was() {
    let (place, old, new) = (Place::new(), Model::number(1), Model::number(2));
    let (first, second) = (old.clone(), new.clone());
    let n = AtomicUsize::new(0);
    let hub = Hub::start(move |request| {
        // The branch moves on as soon as it was asked for; both commits stay.
        let moved = request.path.starts_with("/api/") && n.fetch_add(1, Ordering::SeqCst) > 0;
        let of_new = request.path.contains(&second.commit);
        if moved || of_new { second.answer(request) } else { first.answer(request) }
    });
    let snapshot = place.fetch(&hub).unwrap();
    assert_eq!(snapshot.commit, old.commit);
    place.assert_only_truth(&[&old]);
    assert!(hub.requests().iter().all(|Request { path, .. }| !path.contains("/resolve/main/")));
    // A hub that answers for another commit than the one asked for is refused.
    let other = "c".repeat(40);
    assert_eq!(fetch(&place.config(&hub.url), "o/n", &other, &Silent).unwrap_err().exit_code(), 65);
}

#[test]
fn fault_96_names_that_are_none_never_reach_a_path_or_the_hub() {
    let (place, model) = (Place::new(), Model::number(1));
    let hub = Hub::start(move |request| model.answer(request));
    let config = place.config(&hub.url);
    let repos = [
        "../../x", "/etc", "o/n/m", "o\\n", "..", ".", "", "o/", "/n", "o/..", "o--n", "o/n?x", "o/n#x",
        "o/n\0", "\u{e9}/n", "-o/n", "o/n.", "C:x/n",
    ];
    for repo in repos {
        assert_eq!(fetch(&config, repo, "main", &Silent).unwrap_err().exit_code(), 2, "{repo:?}");
    }
    for revision in
        ["../main", "a/../b", "/main", "", "a//b", "-x", "a b", "a?b", "a%2Fb", ".git", "a\nb", "a/"]
    {
        assert_eq!(fetch(&config, "o/n", revision, &Silent).unwrap_err().exit_code(), 2, "{revision:?}");
    }
    assert_eq!(hub.requests().len(), 0);
    assert_eq!(fs::read_dir(place.outside.path()).unwrap().count(), 0);
    fetch(&config, "o/n", "refs/pr/1", &Silent).unwrap();
    assert!(place.repo().join("refs/refs/pr/1").is_file());
}

#[test]
fn fault_54_shards_are_fetched_by_plain_names_only() {
    let index =
        |shards: [&str; 2]| format!(r#"{{"weight_map":{{"a":"{}","b":"{}"}}}}"#, shards[0], shards[1]);
    let cases = [
        (index(["model-1.safetensors", "model-2.safetensors"]), 0),
        (index(["model-1.safetensors", "model-3.safetensors"]), 66),
        (index(["model-1.safetensors", "../../../../x.safetensors"]), 65),
        (index(["model-1.safetensors", "/etc/passwd"]), 65),
        (index(["model-1.safetensors", "pytorch_model.bin"]), 77),
        ("{}".to_owned(), 65),
    ];
    for (index, expected) in cases {
        let (place, mut model) = (Place::new(), Model::number(1));
        model.files.retain(|(name, _)| name != "model.safetensors");
        model.set("model.safetensors.index.json", index.as_bytes());
        model.set("model-1.safetensors", b"one");
        model.set("model-2.safetensors", b"two");
        let served = model.clone();
        let hub = Hub::start(move |request| served.answer(request));
        let result = place.fetch(&hub);
        assert_eq!(result.as_ref().map_or_else(Error::exit_code, |_| 0), expected, "{index}: {result:?}");
        place.assert_only_truth(&[&model]);
        if expected == 0 {
            let offline = HubConfig { offline: true, ..place.config(&hub.url) };
            assert_eq!(fetch(&offline, "o/n", "main", &Silent).unwrap(), result.unwrap());
        }
    }
}

#[test]
fn fault_50_a_model_of_pickles_only_is_refused_before_any_download() {
    let (place, mut model) = (Place::new(), Model::number(1));
    model.files.retain(|(name, _)| name != "model.safetensors");
    let hub = Hub::start(move |request| model.answer(request));
    let error = place.fetch(&hub).unwrap_err();
    assert_eq!(error.exit_code(), 77);
    assert!(error.to_string().contains("pickle can run code"), "{error}");
    assert_eq!(hub.requests().len(), 1);
}

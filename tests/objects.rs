//! Corpora in object stores: the same bytes as from a folder, and refusals that say why.

use crate::harness::Scene;

#[cfg(not(feature = "object-stores"))]
#[test]
fn a_build_without_object_stores_says_so() {
    let scene = Scene::new();
    scene.run(["dedup", "s3://bucket/corpus/", "-o", "clean"]).failed(
        2,
        "s3://bucket/corpus/: this build reads no object stores; build it with `--features object-stores`",
    );
    assert_eq!(scene.names(), [""; 0]);
}

#[test]
fn only_a_clean_corpus_is_written_to_an_object_store() {
    let scene = Scene::new();
    scene.write("a.jsonl", "{\"text\": \"a\"}\n");
    for command in ["contamination", "plant", "train"] {
        let run = scene.run([command, "a.jsonl", "--eval", "a.jsonl", "-o", "s3://bucket/clean"]);
        assert_eq!(run.code, Some(2), "{run:?}");
    }
    scene.run(["synth", "-o", "gs://bucket/clean"]).failed(2, "only a clean corpus");
    scene.run(["dedup", "a.jsonl", "-o", "x", "--scratch", "az://c/s"]).failed(2, "only a clean corpus");
    #[cfg(not(feature = "object-stores"))]
    scene.run(["dedup", "a.jsonl", "-o", "s3://bucket/clean"]).failed(2, "this build reads no object stores");
    assert_eq!(scene.names(), ["a.jsonl"]);
}

#[cfg(feature = "object-stores")]
mod stores {
    use std::io::Write;
    use std::net::TcpListener;
    use std::path::Path;
    use std::process::Command;
    use std::sync::Arc;
    use std::thread::JoinHandle;

    use arrow_array::{ArrayRef, RecordBatch, StringArray};
    use arrow_ipc::writer::FileWriter;
    use hyper::server::conn::http1;
    use hyper_util::rt::TokioIo;
    use s3s::auth::SimpleAuth;
    use s3s::service::{S3Service, S3ServiceBuilder};
    use s3s_fs::FileSystem;
    use tokio::sync::oneshot;

    use crate::harness::{Outcome, Scene};

    const KEY: &str = "some-key-id";
    const SECRET: &str = "some-secret-key";

    /// An S3 server over a folder, whose subfolders are buckets.
    struct Server {
        endpoint: String,
        stop: Option<oneshot::Sender<()>>,
        thread: Option<JoinHandle<()>>,
    }

    impl Server {
        fn start(folder: &Path) -> Self {
            let mut service = S3ServiceBuilder::new(FileSystem::new(folder).unwrap());
            service.set_auth(SimpleAuth::from_single(KEY, SECRET));
            let service = service.build();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            let (stop, stopped) = oneshot::channel();
            let thread = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let serving = tokio::spawn(serve(listener, service));
                    let _ = stopped.await;
                    serving.abort();
                });
            });
            Server { endpoint, stop: Some(stop), thread: Some(thread) }
        }

        /// Runs the program with credentials for this server.
        fn run(&self, scene: &Scene, arguments: &[&str]) -> Outcome {
            Outcome::of(self.command(scene, arguments).output().unwrap())
        }

        fn command(&self, scene: &Scene, arguments: &[&str]) -> Command {
            let mut command = scene.command(arguments);
            command
                .env("AWS_ENDPOINT_URL", &self.endpoint)
                .env("AWS_ALLOW_HTTP", "true")
                .env("AWS_REGION", "us-east-1")
                .env("AWS_ACCESS_KEY_ID", KEY)
                .env("AWS_SECRET_ACCESS_KEY", SECRET);
            command
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            drop(self.stop.take());
            self.thread.take().map(JoinHandle::join);
        }
    }

    async fn serve(listener: TcpListener, service: S3Service) {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(connection);
        }
    }

    /// Documents, some of them copies of those of shard 0.
    fn shard(number: usize) -> Vec<u8> {
        let document = |n: usize| {
            let source = if n.is_multiple_of(3) { 0 } else { number };
            let words: Vec<String> = (0..40).map(|word| format!("word{source}x{n}x{word}")).collect();
            serde_json::json!({"id": format!("{number}-{n}"), "text": words.join(" ")}).to_string() + "\n"
        };
        (0..200).map(document).collect::<String>().into_bytes()
    }

    fn columns() -> Vec<u8> {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["one text in a column", "and another one"]));
        let batch = RecordBatch::try_from_iter([("text", texts)]).unwrap();
        let mut file = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        file.write(&batch).unwrap();
        file.into_inner().unwrap()
    }

    /// A server over `stores`, with a corpus in `bucket`: shards in several containers, and files that are none.
    fn stored(scene: &Scene) -> Server {
        scene.write("stores/bucket/corpus/a.jsonl", shard(0));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&shard(1)).unwrap();
        scene.write("stores/bucket/corpus/b.jsonl.gz", gzip.finish().unwrap());
        let zstd = zstd::encode_all(&shard(2)[..], 3).unwrap();
        scene.write("stores/bucket/corpus/deep/er/c.jsonl.zst", zstd);
        scene.write("stores/bucket/corpus/columns.arrow", columns());
        scene.write("stores/bucket/corpus/d & e [1].txt", "a text of its own");
        scene.write("stores/bucket/corpus/_verbatim/plan.jsonl", "no part of it");
        scene.write("stores/bucket/corpus/.hidden/x.jsonl", "no part of it");
        scene.write("stores/bucket/corpus/README.md", "no part of it");
        scene.write("stores/bucket/corpus-2/a.jsonl", shard(0));
        Server::start(&scene.path("stores"))
    }

    #[test]
    fn a_corpus_in_a_bucket_gives_the_same_bytes_as_in_a_folder() {
        let scene = Scene::new();
        let server = stored(&scene);
        scene.run(["dedup", "stores/bucket/corpus", "-o", "local"]).ok();
        let (local, local_report) = scene.result_of("local");
        for (url, output) in [("s3://bucket/corpus/", "a"), ("s3a://bucket/corpu[s]", "c")] {
            server.run(&scene, &["dedup", url, "-o", output]).ok();
            let (tree, report) = scene.result_of(output);
            let scheme = url.split_once("://").unwrap().0;
            let as_local = |text: &str| {
                let input = text.replace(&format!("\"{url}\""), "\"stores/bucket/corpus\"");
                input.replace(&format!("{scheme}://"), "stores/")
            };
            assert_eq!(as_local(&report), local_report);
            assert_eq!(tree.len(), local.len());
            for ((name, bytes), (local_name, local_bytes)) in tree.iter().zip(&local) {
                assert_eq!(name, local_name);
                let is_same = match std::str::from_utf8(bytes) {
                    Ok(text) => as_local(text).as_bytes() == local_bytes,
                    Err(_) => bytes == local_bytes,
                };
                assert!(is_same, "{url}: {name}");
            }
        }
    }

    #[test]
    fn a_clean_corpus_in_a_bucket_has_the_bytes_of_one_in_a_folder() {
        let scene = Scene::new();
        let server = stored(&scene);
        let corpus = "stores/bucket/corpus";
        scene.run(["dedup", corpus, "-o", "local"]).ok();
        let expected = scene.result_of("local");
        let remote = "stores/bucket/out/clean";
        let dedup = ["dedup", corpus, "-o", "s3://bucket/out/clean/"];
        server.run(&scene, &dedup).ok();
        assert!(scene.result_of(remote) == expected);
        // One that is there is kept, with all of it, unless it is to be replaced; then nothing old is left.
        server.run(&scene, &dedup).failed(73, "s3://bucket/out/clean");
        scene.write(&format!("{remote}/old/left.jsonl"), "{}");
        server.run(&scene, &dedup).failed(73, "s3://bucket/out/clean");
        server.run(&scene, &[&dedup[..], &["--force"]].concat()).ok();
        assert!(scene.result_of(remote) == expected);
        server.run(&scene, &["dedup", corpus, "-o", "s3://bucket/", "--force"]).failed(2, "a whole bucket");
        // From one bucket into another place of it, and a plan that is carried out there.
        let within = ["dedup", "s3://bucket/corpus/", "-o", "s3://bucket/again"];
        server.run(&scene, &within).ok();
        scene.run(["dedup", corpus, "-o", "plan", "--dry-run"]).ok();
        server.run(&scene, &["apply", "plan/_verbatim/plan.json", "-o", "s3://bucket/applied"]).ok();
        let clean = |folder: &str| {
            let mut tree = scene.tree(folder);
            tree.retain(|(name, _)| !name.starts_with("_verbatim"));
            tree
        };
        assert!(
            clean("stores/bucket/again") == clean("local")
                && clean("stores/bucket/applied") == clean("local")
        );
        // An output in an input, or around it.
        for output in ["s3://bucket/corpus/clean", "s3://bucket/corpus", "s3://bucket", "s3a://bucket/corpus"]
        {
            let run = ["dedup", "s3://bucket/corpus/*.jsonl", "-o", output];
            server.run(&scene, &run).failed(2, "lies in an input");
        }
    }

    #[test]
    fn stages_end_with_an_output_in_a_bucket() {
        let scene = Scene::new();
        let server = stored(&scene);
        let corpus = "stores/bucket/corpus";
        scene.run(["dedup", corpus, "-o", "local"]).ok();
        let out = "s3://bucket/staged";
        server.run(&scene, &["stage", "plan", corpus, "-o", out, "--stages", "shared"]).ok();
        for stage in ["sign", "link", "verify", "cluster", "verify", "cluster", "rewrite", "commit"] {
            server.run(&scene, &["stage", stage, "--stages", "shared"]).ok();
        }
        assert!(scene.result_of("stores/bucket/staged") == scene.result_of("local"));
    }

    #[test]
    fn stages_that_share_a_bucket_give_the_bytes_of_one_run() {
        let scene = Scene::new();
        let server = stored(&scene);
        scene.run(["dedup", "stores/bucket/corpus", "-o", "local"]).ok();
        let (out, shared) = ("s3://bucket/staged", "s3://bucket/scratch/stages/");
        let plan = ["stage", "plan", "stores/bucket/corpus", "-o", out, "--stages", shared];
        server.run(&scene, &[&plan[..], &["--unit-bytes", "30000"]].concat()).ok();
        let task = |stage: &str, task: &[&str]| {
            server.run(&scene, &[&["stage", stage, "--stages", shared], task].concat())
        };
        task("sign", &["--task", "2/2"]).ok();
        task("link", &["--task", "1/2"])
            .failed(66, "verbatim stage sign --stages s3://bucket/scratch/stages/");
        for stage in ["sign", "link", "verify", "cluster", "verify", "cluster", "rewrite"] {
            let shares: &[&[&str]] =
                if stage == "cluster" { &[&[]] } else { &[&["--task", "2/2"], &["--task", "1/2"]] };
            shares.iter().for_each(|share| drop(task(stage, share).ok()));
        }
        // What a task lost is done again, alone.
        std::fs::remove_file(scene.path("stores/bucket/scratch/stages/rewrite/unit-1.json")).unwrap();
        task("commit", &[]).failed(66, "rewrite");
        let again = task("rewrite", &[]).ok().stderr;
        assert!(again.contains("1 of ") && again.contains("were done before"), "{again}");
        let status = task("status", &[]).ok().stderr;
        assert!(
            status.contains("next: verbatim stage commit --stages s3://bucket/scratch/stages/"),
            "{status}"
        );
        task("commit", &[]).ok();
        assert!(scene.result_of("stores/bucket/staged") == scene.result_of("local"));
        let none = ["stage", "status", "--stages", "s3://bucket/none"];
        server.run(&scene, &none).failed(66, "s3://bucket/none/stages.json");
        let by_length =
            [&plan[..4], &["s3://bucket/other", "--stages", "s3://bucket/s", "--keep", "longest"]].concat();
        server.run(&scene, &by_length).failed(2, "an object store will not do");
        let by_slurm = ["dedup", "stores/bucket/corpus", "-o", "x", "--stages", shared, "--runner", "slurm"];
        server.run(&scene, &by_slurm).failed(2, "give --stages a local one");
    }

    #[test]
    fn an_output_that_a_store_refuses_says_why_and_has_no_report() {
        let scene = Scene::new();
        let server = stored(&scene);
        let corpus = "stores/bucket/corpus";
        server.run(&scene, &["dedup", corpus, "-o", "s3://none/clean"]).failed(66, "no such bucket");
        let mut command = server.command(&scene, &["dedup", corpus, "-o", "s3://bucket/clean"]);
        let refused = Outcome::of(command.env("AWS_SECRET_ACCESS_KEY", "another").output().unwrap());
        refused.failed(66, "the store refuses");
        // A name that is a folder there: the store takes none of it.
        scene.write("stores/bucket/clean/deep/er/c.jsonl.zst/x", "");
        let run = server.run(&scene, &["dedup", corpus, "-o", "s3://bucket/clean", "--force"]);
        assert!(
            run.code != Some(0) && !scene.path("stores/bucket/clean/_verbatim/report.json").exists(),
            "{run:?}"
        );
    }

    #[test]
    fn objects_patterns_and_references_are_inputs_and_plans_are_carried_out() {
        let scene = Scene::new();
        let server = stored(&scene);
        let one = "s3://bucket/corpus/a.jsonl";
        server.run(&scene, &["dedup", one, "-o", "one"]).ok();
        assert_eq!(scene.read("one/a.jsonl"), shard(0));
        let run =
            server.run(&scene, &["dedup", one, one, "s3://bucket/corpus/[a]*", "-o", "twice", "--json"]).ok();
        assert_eq!(
            run.stdout.matches("the same file as an input before it; read once").count(),
            2,
            "{run:?}"
        );
        let run = ["dedup", one, "s3://bucket/corpus-2/", "-o", "x"];
        server.run(&scene, &run).failed(2, "would both be written as a.jsonl");
        scene.write("local/a.jsonl", shard(0));
        let against =
            ["dedup", "s3://bucket/corpus/deep/", "--against", "s3://bucket/corpus-2/", "-o", "less"];
        server.run(&scene, &against).ok();
        let report = scene.json("less/_verbatim/report.json");
        assert_eq!(report["result"]["flow"]["kept"]["documents"], 133, "{report}");

        let dry = ["dedup", "s3://bucket/corpus/*.jsonl*", "-o", "dry", "--dry-run"];
        server.run(&scene, &dry).ok();
        assert!(!scene.text("dry/_verbatim/plan.json").contains(SECRET));
        server.run(&scene, &["apply", "dry/_verbatim/plan.json", "-o", "applied"]).ok();
        assert_eq!(scene.read("applied/a.jsonl"), shard(0));
        assert!(scene.path("applied/b.jsonl.gz").exists());
        server.run(&scene, &["explain", "applied", "1-3"]).ok();
        server.run(&scene, &["index", "signatures", one, "-o", "index"]).ok();
        let against = ["dedup", "s3://bucket/corpus/b.jsonl.gz", "--against", "index", "-o", "indexed"];
        server.run(&scene, &against).ok();
        let eval = [
            "contamination",
            one,
            "--eval",
            "s3://bucket/corpus-2/a.jsonl",
            "--eval-field",
            "text",
            "-o",
            "found",
        ];
        server.run(&scene, &eval).ok();
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let scene = Scene::new();
        let server = stored(&scene);
        for missing in ["s3://bucket/nothing", "s3://bucket/nothing/*.jsonl", "s3://bucket/corpus/a.jsonl/"] {
            let run = server.run(&scene, &["dedup", missing, "-o", "x"]).failed(66, missing);
            assert!(run.stderr.contains("no such"), "{run:?}");
        }
        server.run(&scene, &["dedup", "s3://nowhere/", "-o", "x"]).failed(66, "no such bucket");
        server.run(&scene, &["dedup", "s3://bucket/a//b", "-o", "x"]).failed(2, "s3://bucket/a//b");
        let object = ["dedup", "s3://bucket/corpus/a.jsonl", "-o", "x"];
        for (name, wrong) in
            [("AWS_SECRET_ACCESS_KEY", "wrong-secret"), ("AWS_ACCESS_KEY_ID", "wrong-key-id")]
        {
            let run = server.command(&scene, &object).env(name, wrong).output().unwrap();
            let run = Outcome::of(run).failed(66, "s3://bucket/corpus/a.jsonl: the store refuses");
            assert!(![KEY, SECRET, wrong].iter().any(|secret| run.stderr.contains(secret)), "{run:?}");
        }
        let endpoint = server.endpoint.clone();
        drop(server);
        let gone = Server { endpoint, stop: None, thread: None };
        gone.run(&scene, &object).failed(75, "cannot be reached");
        assert_eq!(scene.names(), ["stores"]);
    }
}

//! Which copies stay, and well-known parameters.

use crate::harness::Scene;

const CORPUS: &str = concat!(
    "{\"id\": \"a\", \"from\": \"web\", \"url\": \"u/1\", \"text\": \"one text that is here and there and again here\"}\n",
    "{\"id\": \"b\", \"from\": \"books\", \"url\": \"u/2\", \"text\": \"one text that is here and there and again here\"}\n",
    "{\"id\": \"c\", \"from\": \"web\", \"url\": \"u/1\", \"text\": \"one text that is here and there and again here\"}\n",
    "{\"id\": \"d\", \"from\": \"talk\", \"url\": \"u/3\", \"text\": \"another one\"}\n",
);

fn kept(scene: &Scene, flags: &[&str]) -> String {
    let run = ["dedup", "corpus.jsonl", "-o", "out", "--force", "--emit", "ids"];
    scene.run(run.iter().chain(flags)).ok();
    scene.text("out/ids/kept.txt").lines().collect()
}

#[test]
fn the_policy_decides_which_copy_stays_and_none_keeps_none() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", CORPUS);
    assert_eq!(kept(&scene, &["--keep", "first"]), "ad");
    assert_eq!(kept(&scene, &["--keep", "last"]), "cd");
    assert_eq!(kept(&scene, &["--keep", "source:books,web", "--source-field", "from"]), "bd");
    assert_eq!(kept(&scene, &["--keep", "source[from]:talk,web"]), "ad");
    assert_eq!(kept(&scene, &["--keep", "none"]), "d");
    scene.run(["dedup", "corpus.jsonl", "-o", "x", "--keep", "source:boks"]).failed(2, "`boks`");
    scene
        .run(["dedup", "corpus.jsonl", "-o", "x", "--keep", "none", "--lines", "line"])
        .failed(2, "--keep none");
}

#[test]
fn where_nothing_is_kept_the_account_and_the_explanation_say_so() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", CORPUS);
    scene.run(["dedup", "corpus.jsonl", "-o", "clean", "--keep", "none", "--emit", "filtered,clusters"]).ok();
    assert_eq!(scene.text("clean/corpus.jsonl").lines().count(), 1);
    let report = scene.json("clean/_verbatim/report.json");
    assert_eq!(report["result"]["flow"]["removed"]["documents"], 3);
    assert_eq!(report["result"]["clusters"]["n_documents"], 3);
    let cluster = scene.json("clean/_verbatim/clusters.jsonl");
    assert_eq!((&cluster["kept"], &cluster["n_documents"]), (&"a".into(), &3.into()));
    let first = scene.run(["explain", "clean", "a"]).ok().stdout;
    assert!(first.contains("2 copies") && first.contains("nothing of the cluster is kept"), "{first}");
    let other = scene.run(["explain", "clean", "b"]).ok().stdout;
    assert!(other.contains("equals that of a, which goes as well"), "{other}");
    scene.run(["apply", "clean/_verbatim/plan.json", "-o", "again"]).ok();
    assert_eq!(scene.text("again/corpus.jsonl"), scene.text("clean/corpus.jsonl"));
}

#[test]
fn a_preset_sets_what_no_flag_sets_and_tells_its_recall() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", CORPUS);
    let run =
        scene.run(["dedup", "corpus.jsonl", "-o", "nemo", "--preset", "nemo", "--threshold", "0.7"]).ok();
    assert!(run.stdout.contains("20 bands of 13 rows (preset nemo)"), "{run:?}");
    let report = scene.json("nemo/_verbatim/report.json");
    let search = &report["result"]["search"];
    assert_eq!(
        (&search["unit"], &search["n"], &search["threshold"]),
        (&"char".into(), &24.into(), &0.7.into())
    );
    assert!(report["result"]["warnings"].to_string().contains("with a chance of 17.7% only"), "{report}");
    let run =
        scene.run(["dedup", "corpus.jsonl", "-o", "wide", "--preset", "refinedweb", "--ngram", "3"]).ok();
    assert!(
        run.stdout.contains("450 bands of 20 rows (preset refinedweb)") && run.stdout.contains("99.5%"),
        "{run:?}"
    );
    assert_eq!(scene.json("wide/_verbatim/report.json")["result"]["search"]["n"], 3);
    for wrong in [
        &["--preset", "none"][..],
        &["--preset", "nemo", "--all-pairs"],
        &["--preset", "nemo", "--recall", "0.9"],
    ] {
        scene.run(["dedup", "corpus.jsonl", "-o", "x"].iter().chain(wrong)).failed(2, "preset");
    }
}

#[test]
fn keys_of_records_can_be_compared_instead_of_texts() {
    let scene = Scene::new();
    scene.write("corpus.jsonl", CORPUS);
    assert_eq!(kept(&scene, &["--exact", "--exact-key", "url"]), "abd");
    scene.run(["dedup", "corpus.jsonl", "-o", "clean", "--exact", "--exact-key", "url"]).ok();
    let told = scene.run(["explain", "clean", "c"]).ok().stdout;
    assert!(told.contains("its field `url` equals that of a"), "{told}");
    scene.write("corpus.jsonl", CORPUS.replace("\"url\": \"u/3\", ", ""));
    scene.run(["dedup", "corpus.jsonl", "-o", "clean", "--force", "--exact", "--exact-key", "url"]).ok();
    let report = scene.json("clean/_verbatim/report.json");
    assert!(
        report["result"]["warnings"]
            .to_string()
            .contains("1 document has no text or number in the field `url`")
    );
    scene.run(["dedup", "corpus.jsonl", "-o", "x", "--exact-key", "a..b"]).failed(2, "--exact-key");
}

#[test]
fn fault_37_empty_documents_have_a_policy_and_a_count() {
    let scene = Scene::new();
    scene.write(
        "corpus.jsonl",
        CORPUS.to_owned() + "{\"id\": \"e\", \"text\": \" \"}\n{\"id\": \"f\", \"text\": \"\"}\n",
    );
    assert_eq!(kept(&scene, &[]), "adef");
    assert_eq!(scene.json("out/_verbatim/report.json")["result"]["n_empty"], 2);
    assert_eq!(kept(&scene, &["--empty", "remove"]), "ad");
    let listed = scene.text("out/_verbatim/removed.jsonl");
    let empty = listed.lines().find(|line| line.contains("\"e\"")).unwrap();
    assert!(empty.contains("\"stage\":\"empty\"") && empty.contains("\"kept\":null"), "{empty}");
    let told = scene.run(["explain", "out", "e"]).ok().stdout;
    assert!(told.contains("its text is empty"), "{told}");
    scene.run(["dedup", "corpus.jsonl", "-o", "x", "--empty", "error"]).failed(65, "corpus.jsonl:5:");
}

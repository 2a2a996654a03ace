//! Verdicts on small reports, and what every format makes of hostile ones.

use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Value, json};

use crate::gate::*;
use crate::provenance::Provenance;
use crate::report::Report;
use crate::samples::{self, HOSTILE};

const CORPUS: &str = "6b1e0c5d9a27f3486b1e0c5d9a27f348";
const OTHER: &str = "00000000000000000000000000000000";

/// A verdict with everything that one can hold.
pub(crate) fn sample() -> Report<GateBody> {
    let provenance = samples::provenance();
    let text = format!("{MAX}{INCREASE}{}", waiver("2027-01-01"));
    let (runs, baselines) = ([read(&report(40))], [read(&report(1))]);
    let body = GateBody { provenance, ..gate(&text, &runs, &baselines) };
    Report::new(body, samples::run(1))
}

/// A report of a run with one share of 1000 trials.
fn report(count: u64) -> Value {
    let measure = Measure::share("leak", count, 1000).proven_by("findings");
    json!({
        "schema_version": 1, "kind": "extract",
        "result": {
            "provenance": {
                "version": "0.1.0", "parameters": { "top": 100 }, "seeds": {},
                "corpora": [{ "role": "proof", "fingerprint": CORPUS, "n_documents": 9, "text_bytes": 99 }],
                "models": [{
                    "role": "target", "name": "model", "trained_on": CORPUS, "tokenizer_sha256": "0f",
                    "files": [{ "name": "model.safetensors", "sha256": "9a3c".repeat(16), "n_bytes": 3 }],
                }],
            },
            "verification": "corpus",
            "findings": [
                finding("memorized", "aa", 12, 80), finding("memorized", "bb", 1, 90),
                finding("memorized", "cc", 3, 70), finding("not-found", "dd", 9, 10),
            ],
            "measures": [measure],
        },
        "run": { "started": "2026-11-20T10:00:00Z" },
    })
}

fn finding(verdict: &str, name: &str, n_documents: u64, n_bytes: u64) -> Value {
    let text = json!({ "kind": "match", "name": name, "start": "ab", "n_chars": 60, "text": "abracadabra" });
    json!({ "verdict": verdict, "text": text, "longest_match_bytes": n_bytes, "n_documents": n_documents })
}

fn read(report: &Value) -> MeasuredRun {
    MeasuredRun::parse("out", Path::new("out/report.json"), report.to_string().as_bytes()).unwrap()
}

fn policy(text: &str) -> Policy {
    Policy::parse(Path::new("policy.toml"), text.as_bytes()).unwrap()
}

fn gate(text: &str, runs: &[MeasuredRun], baselines: &[MeasuredRun]) -> GateBody {
    GateBody::new(GateFacts {
        provenance: Provenance::new("0.1.0"),
        policy_name: "policies/a b.toml".to_owned(),
        policy: &policy(text),
        runs,
        baselines,
        today: Day::parse("2026-11-26").unwrap(),
    })
}

/// The verdict on one run, and the reason of its first bound.
fn verdict(text: &str, report: &Value) -> (GateVerdict, String) {
    let body = gate(text, &[read(report)], &[]);
    (body.verdict, body.bounds.first().map_or(String::new(), |row| row.reason.clone()))
}

const MAX: &str = "[[bound]]\nmeasure = \"leak\"\nmax = 0.01\n";

#[track_caller]
fn assert_inconclusive(found: (GateVerdict, String), saying: &str) {
    assert!(found.0 == GateVerdict::Inconclusive && found.1.contains(saying), "{found:?}");
}

#[test]
fn a_bound_passes_or_fails_by_its_interval() {
    assert_eq!(verdict(MAX, &report(1)).0, GateVerdict::Pass);
    assert_eq!(verdict(MAX, &report(40)).0, GateVerdict::Fail);
}

#[test]
fn a_straddling_interval_is_inconclusive() {
    assert_inconclusive(verdict(MAX, &report(9)), "too few trials to tell");
}

#[test]
fn too_few_trials_are_inconclusive() {
    let text = format!("{MAX}min_trials = 1001\n");
    assert_inconclusive(verdict(&text, &report(0)), "1,000 trials are too few; the policy asks for 1,001");
}

#[test]
fn zero_trials_are_inconclusive() {
    let mut none = report(0);
    none["result"]["measures"] = json!([Measure::share("leak", 0, 0)]);
    assert_inconclusive(verdict("[[bound]]\nmeasure = \"leak\"\nmax = 1.0\n", &none), "nothing was tried");
}

#[test]
fn an_absent_measure_is_inconclusive() {
    assert_inconclusive(verdict("[[bound]]\nmeasure = \"other\"\nmax = 1.0\n", &report(0)), "no run has");
    let mut old = report(0);
    old["result"].as_object_mut().unwrap().remove("measures");
    assert_inconclusive(verdict(MAX, &old), "no run has");
}

#[test]
fn no_bounds_are_inconclusive() {
    let body = gate("", &[read(&report(0))], &[]);
    assert_eq!((body.verdict, body.headline().contains("no bounds")), (GateVerdict::Inconclusive, true));
    let junit = gate_junit(&body).unwrap();
    assert!(junit.contains("tests=\"1\"") && junit.contains("errors=\"1\"") && junit.contains("<error"));
}

#[test]
fn any_fail_goes_before_any_inconclusive() {
    let text = format!("{MAX}[[bound]]\nmeasure = \"other\"\nmax = 1.0\n");
    assert_eq!(verdict(&text, &report(0)).0, GateVerdict::Inconclusive);
    assert_eq!(verdict(&text, &report(40)).0, GateVerdict::Fail);
}

#[test]
fn every_model_needs_every_measure() {
    let mut other = report(0);
    other["result"]["provenance"]["models"][0]["files"][0]["sha256"] = "77".repeat(32).into();
    other["result"]["provenance"]["models"][0]["name"] = "other".into();
    other["result"]["measures"][0]["name"] = "rate".into();
    let bound = |name: &str| format!("[[bound]]\nmeasure = \"{name}\"\nmax = 0.01\n");
    let runs = [read(&report(0)), read(&other)];
    let body = gate(&bound("leak"), &runs, &[]);
    assert_eq!((body.bounds.len(), body.verdict), (2, GateVerdict::Inconclusive));
    let absent = body.bounds.iter().find(|row| row.measured.is_none()).unwrap();
    assert_eq!(absent.model.as_deref(), Some("other"));
    // Two runs of one model put their measures together.
    let mut second = report(0);
    second["result"]["measures"][0]["name"] = "rate".into();
    let body = gate(&(bound("leak") + &bound("rate")), &[read(&report(0)), read(&second)], &[]);
    assert_eq!((body.bounds.len(), body.verdict), (2, GateVerdict::Pass));
}

fn waiver(until: &str) -> String {
    format!("[[waiver]]\nmeasure = \"leak\"\nreason = \"known\"\nuntil = \"{until}\"\napproved_by = \"me\"\n")
}

#[test]
fn a_waived_fail_passes_and_is_shown_through_its_last_day() {
    let text = format!("{MAX}{}", waiver("2026-11-26"));
    for count in [9, 40] {
        let body = gate(&text, &[read(&report(count))], &[]);
        assert!(body.verdict == GateVerdict::Pass && body.bounds[0].is_waived);
        assert_eq!(body.waivers[0].state, WaiverState::Applied);
        let kept = format!("waived {}", body.bounds[0].verdict.name());
        assert!(gate_text(&body).contains(&kept) && gate_text(&body).contains("approved by me: known"));
        assert!(gate_markdown(&body).contains(&kept));
        assert!(gate_junit(&body).unwrap().contains("<skipped"));
        let sarif: Value = serde_json::from_str(&gate_sarif(&body).unwrap()).unwrap();
        assert_eq!(sarif["runs"][0]["results"][0]["suppressions"][0]["status"], "accepted");
    }
}

#[test]
fn an_expired_waiver_covers_nothing_and_says_so() {
    let body = gate(&format!("{MAX}{}", waiver("2026-11-25")), &[read(&report(40))], &[]);
    assert_eq!((body.verdict, body.waivers[0].state), (GateVerdict::Fail, WaiverState::Expired));
    assert!(!body.bounds[0].is_waived && gate_text(&body).contains("expired on 2026-11-25"));
    let unused = gate(&format!("{MAX}{}", waiver("2027-01-01")), &[read(&report(0))], &[]);
    assert_eq!((unused.verdict, unused.waivers[0].state), (GateVerdict::Pass, WaiverState::Unused));
}

#[test]
fn a_corpus_that_is_not_the_training_corpus_makes_all_inconclusive() {
    let named = |fingerprint: &str| format!("[requires]\ncorpus = [\"{fingerprint}\"]\n{MAX}");
    assert_eq!(verdict(&named(CORPUS), &report(0)).0, GateVerdict::Pass);
    for count in [0, 900] {
        assert_inconclusive(
            verdict(&named(OTHER), &report(count)),
            "a corpus that is not the training corpus",
        );
    }
    let training = format!("[requires]\ncorpus = \"training\"\n{MAX}");
    assert_eq!(verdict(&training, &report(0)).0, GateVerdict::Pass);
    let mut elsewhere = report(0);
    elsewhere["result"]["provenance"]["models"][0]["trained_on"] = OTHER.into();
    assert_inconclusive(verdict(&training, &elsewhere), "not the training corpus of the checkpoint");
    let mut silent = report(0);
    silent["result"]["provenance"]["models"][0].as_object_mut().unwrap().remove("trained_on");
    assert_inconclusive(verdict(&training, &silent), "does not say what it was trained on");
    let mut unread = report(0);
    unread["result"]["provenance"]["corpora"] = json!([]);
    assert_inconclusive(verdict(&training, &unread), "no corpus was read");
}

#[test]
fn a_run_ranked_again_is_about_the_model_that_was_drawn_from() {
    let mut again = report(0);
    let origin = again["result"]["provenance"].clone();
    again["result"]["provenance"]["models"] = json!([]);
    again["result"]["provenance"]["parameters"]["drawn"] = json!([origin.clone(), origin]);
    assert_eq!(verdict(&format!("[requires]\ncorpus = \"training\"\n{MAX}"), &again).0, GateVerdict::Pass);
}

#[test]
fn another_model_an_old_run_and_one_without_proof_do_not_count() {
    let requires = |line: &str| format!("[requires]\n{line}\n{MAX}");
    let model = requires(&format!("model_sha256 = [\"{}\"]", "9a3c".repeat(16)));
    assert_eq!(verdict(&model, &report(0)).0, GateVerdict::Pass);
    let other = requires(&format!("model_sha256 = [\"{}\"]", "00".repeat(32)));
    assert_inconclusive(verdict(&other, &report(0)), "another model");
    assert_eq!(verdict(&requires("max_age_days = 6"), &report(0)).0, GateVerdict::Pass);
    assert_inconclusive(verdict(&requires("max_age_days = 5"), &report(0)), "6 days old");
    let mut run = report(0);
    run["run"]["started"] = "2026-11-27T00:00:00Z".into();
    assert_inconclusive(verdict(&requires("max_age_days = 5"), &run), "after today");
    run["run"]["started"] = "yesterday".into();
    assert_inconclusive(verdict(&requires("max_age_days = 5"), &run), "does not say when");
    run["result"]["verification"] = "none".into();
    assert_inconclusive(verdict(&requires("verified = true"), &run), "not looked up in a corpus");
    assert_inconclusive(verdict(&requires("level = 0.99"), &report(0)), "level 0.95");
}

const INCREASE: &str = "[[bound]]\nmeasure = \"leak\"\nmax_increase = 0.02\n";

#[test]
fn a_regression_is_an_increase_whose_interval_excludes_the_margin() {
    let against = |before: u64, after: u64| gate(INCREASE, &[read(&report(after))], &[read(&report(before))]);
    assert_eq!(against(10, 10).verdict, GateVerdict::Pass);
    assert_eq!(against(10, 100).verdict, GateVerdict::Fail);
    assert_eq!(against(10, 30).verdict, GateVerdict::Inconclusive);
    assert!(gate_text(&against(10, 100)).contains("+9.00 points on 1.0%"));
}

#[test]
fn a_stale_baseline_is_inconclusive() {
    let stale = |change: &dyn Fn(&mut Value), saying: &str| {
        let mut earlier = report(10);
        change(&mut earlier);
        let bytes = earlier.to_string();
        let earlier = MeasuredRun::parse_baseline("old", Path::new("old"), bytes.as_bytes()).unwrap();
        let text = format!("[requires]\nmax_baseline_age_days = 30\n{INCREASE}");
        let body = gate(&text, &[read(&report(10))], &[earlier]);
        assert_inconclusive((body.verdict, body.bounds[0].reason.clone()), saying);
    };
    stale(&|it| it["schema_version"] = 2.into(), "schema version 2");
    stale(&|it| it["kind"] = "audit".into(), "another command");
    stale(&|it| it["result"]["provenance"]["corpora"][0]["fingerprint"] = OTHER.into(), "another corpus");
    stale(&|it| it["result"]["provenance"]["parameters"]["top"] = 9.into(), "other parameters (top)");
    stale(&|it| it["run"]["started"] = "2026-10-01T00:00:00Z".into(), "56 days old");
    stale(&|it| it["result"]["measures"] = json!([]), "does not have this measure");
    let none = gate(INCREASE, &[read(&report(10))], &[]);
    assert_inconclusive((none.verdict, none.bounds[0].reason.clone()), "there is no baseline");
}

#[test]
fn a_report_that_cannot_be_right_is_refused() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut wrong = report(10);
        change(&mut wrong);
        let parsed = MeasuredRun::parse("out", Path::new("report.json"), wrong.to_string().as_bytes());
        parsed.unwrap_err()
    };
    let measure = |key: &'static str, value: Value| {
        refused(&move |it| it["result"]["measures"][0][key] = value.clone()).to_string()
    };
    assert!(measure("n_trials", (-1).into()).contains("wrong type"));
    assert!(measure("value", json!(null)).contains("trials without a value"));
    assert!(measure("value", "NaN".into()).contains("wrong type"));
    assert!(measure("low", 0.5.into()).contains("interval"));
    assert!(measure("level", 2.into()).contains("level"));
    assert!(measure("unit", "furlongs".into()).contains("wrong type"));
    assert!(measure("name", HOSTILE.into()).contains("a measure's name"));
    let twice = |it: &mut Value| {
        it["result"]["measures"] = json!([Measure::share("a", 0, 1), Measure::share("a", 0, 1)])
    };
    assert!(refused(&twice).to_string().contains("stood before"));
    assert!(refused(&|it| it["schema_version"] = 2.into()).to_string().contains("schema version 2"));
    assert_eq!(refused(&|it| *it = json!([])).exit_code(), 65);
    for text in ["", "{", "{\"schema_version\": 1e999, \"kind\": \"x\"}", "\u{0}"] {
        assert_eq!(MeasuredRun::parse("out", Path::new("r"), text.as_bytes()).unwrap_err().exit_code(), 65);
    }
    let deep =
        format!("{{\"schema_version\":1,\"kind\":\"x\",\"result\":{{\"findings\":{}", "[".repeat(1 << 20));
    assert!(MeasuredRun::parse("out", Path::new("r"), deep.as_bytes()).is_err());
}

/// A run whose every word would run, break out, steer or mislead.
fn hostile() -> GateBody {
    let mut wrong = report(40);
    wrong["kind"] = HOSTILE.into();
    wrong["result"]["provenance"]["models"][0]["name"] = format!("{HOSTILE}]]>\u{ffff}|@team\n# head").into();
    wrong["result"]["findings"][0]["text"]["kind"] = HOSTILE.into();
    wrong["result"]["findings"][0]["text"]["name"] = HOSTILE.into();
    let name = format!("{HOSTILE}]]>\u{fffe}");
    let run = MeasuredRun::parse(&name, Path::new("r"), wrong.to_string().as_bytes()).unwrap();
    let reason = "<script>alert(1)</script> [x](http://evil) @team | `code`";
    let waiver = format!(
        "[[waiver]]\nmeasure = \"other\"\nreason = '{reason}'\nuntil = \"2027-01-01\"\napproved_by = '{reason}'\n"
    );
    gate(&format!("{MAX}[[bound]]\nmeasure = \"other\"\nmax = 1\n{waiver}"), &[run], &[])
}

#[test]
fn fault_73_a_hostile_report_steers_no_terminal_and_breaks_out_of_no_format() {
    let body = hostile();
    let (text, markdown) = (gate_text(&body), gate_markdown(&body));
    for told in [&text, &markdown, &gate_junit(&body).unwrap(), &gate_sarif(&body).unwrap()] {
        assert!(
            told.chars().all(|one| one == '\n' || !one.is_control()) && !told.contains('\u{202e}'),
            "{told}"
        );
    }
    assert!(!markdown.contains("<script") && !markdown.contains("@team") && !markdown.contains("](http"));
    let rows = markdown.lines().filter(|line| line.starts_with('|'));
    assert!(
        rows.clone().count() == 4 && rows.into_iter().all(|line| line.matches('|').count() == 6),
        "{markdown}"
    );
}

#[test]
fn no_text_of_a_finding_is_taken_over() {
    let body = gate(MAX, &[read(&report(40))], &[]);
    let json = Report::new(body.clone(), samples::run(1)).to_json().unwrap();
    for told in
        [gate_text(&body), gate_markdown(&body), gate_junit(&body).unwrap(), gate_sarif(&body).unwrap(), json]
    {
        assert!(!told.contains("abracadabra"), "{told}");
    }
}

#[test]
fn the_evidence_is_counted_and_the_remedy_removes_all_copies() {
    let body = gate(MAX, &[read(&report(40))], &[]);
    let evidence = body.bounds[0].evidence.as_ref().unwrap();
    assert_eq!((evidence.n_found, evidence.n_repeated, evidence.shortest_repeated_bytes), (3, 2, Some(70)));
    assert_eq!(evidence.shown[0].name, "aa");
    let text = gate_text(&body);
    assert!(text.contains("verbatim dedup CORPUS --substring 70b -o CLEAN"), "{text}");
    assert!(text.contains("3 texts were found; 2 more than once, one of them 12 times"), "{text}");
    assert!(text.contains("1 text stands only once"), "{text}");
    let unclear = gate_text(&gate(MAX, &[read(&report(5))], &[]));
    assert!(unclear.contains("trials pass it if the true share is the observed one"), "{unclear}");
}

#[test]
fn junit_is_well_formed_whatever_stands_in_it() {
    for body in [hostile(), gate(MAX, &[read(&report(9))], &[]), gate(MAX, &[read(&report(0))], &[])] {
        let junit = gate_junit(&body).unwrap();
        let mut reader = Reader::from_str(&junit);
        reader.config_mut().check_end_names = true;
        let (mut depth, mut names) = (0_i32, Vec::new());
        loop {
            match reader.read_event().unwrap() {
                Event::Start(start) => {
                    assert!(start.attributes().all(|attribute| attribute.is_ok()), "{junit}");
                    names.push(String::from_utf8(start.name().as_ref().to_vec()).unwrap());
                    depth += 1;
                }
                Event::End(_) => depth -= 1,
                Event::Empty(start) => assert!(start.attributes().all(|attribute| attribute.is_ok())),
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(depth, 0);
        assert_eq!(names.iter().filter(|name| *name == "testcase").count(), body.bounds.len().max(1));
        assert!(!names.iter().any(|name| name == "script" || name == "img"), "{names:?}");
        let forbidden = |one: char| matches!(one, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
        assert!(!junit.contains(forbidden));
    }
    let inconclusive = gate_junit(&gate(MAX, &[read(&report(9))], &[])).unwrap();
    assert!(inconclusive.contains("errors=\"1\"") && inconclusive.contains("<error type=\"inconclusive\""));
    let failed = gate_junit(&gate(MAX, &[read(&report(40))], &[])).unwrap();
    assert!(failed.contains("failures=\"1\"") && failed.contains("<failure type=\"high\""));
}

/// The required members and the values of enumerations in the schema of SARIF 2.1.0, of what is written here.
#[test]
fn sarif_has_what_its_schema_requires() {
    for body in [hostile(), gate(MAX, &[read(&report(9))], &[]), gate("", &[read(&report(0))], &[])] {
        let log: Value = serde_json::from_str(&gate_sarif(&body).unwrap()).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let driver = &run["tool"]["driver"];
        assert!(driver["name"].is_string());
        assert!(run["invocations"][0]["executionSuccessful"].is_boolean());
        assert_eq!(run["invocations"][0]["exitCode"], body.verdict.exit_code());
        let rules = driver["rules"].as_array().unwrap();
        let mut ids: Vec<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
        assert!(rules.iter().all(|rule| rule["shortDescription"]["text"].is_string()));
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), body.bounds.iter().filter(|row| row.verdict != GateVerdict::Pass).count());
        for result in results {
            assert!(result["message"]["text"].is_string());
            assert_eq!(ids[result["ruleIndex"].as_u64().unwrap() as usize], result["ruleId"]);
            let level = result["level"].as_str().unwrap();
            assert!(["none", "note", "warning", "error"].contains(&level));
            assert!(result["kind"] == "fail" || (result["kind"] == "open" && level == "none"));
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "policies/a%20b.toml");
            assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
            assert_eq!(result["partialFingerprints"]["verbatimBound/v1"].as_str().unwrap().len(), 32);
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), rules.len(), "a rule's id is its own");
    }
}

#[test]
fn a_finding_of_another_shape_is_no_evidence_and_no_fault() {
    let mut other = report(40);
    other["result"]["findings"] = json!({ "n": 3 });
    other["result"]["canaries"] = json!([1, 2]);
    other["result"]["verification"] = json!({ "deep": [1] });
    let body = gate(MAX, &[read(&other)], &[]);
    assert!(body.verdict == GateVerdict::Fail && body.bounds[0].evidence.is_none());
}

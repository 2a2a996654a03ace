//! Makes the demo's corpus anew, or both its checkpoints, and then says what each recites.
//!
//! `cargo run --release -p verbatim-lab --example rebuild_demo -- corpus|models OUT`

use std::path::Path;
use std::time::Instant;

use verbatim_extraction::{Canary, Placement, audit_canaries};
use verbatim_lab::demo;
use verbatim_lm::Checkpoint;
use verbatim_store::Silent;

#[expect(clippy::print_stdout, reason = "an example talks to the terminal")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (what, out) = arguments.next().zip(arguments.next()).ok_or("say what and where")?;
    let out = Path::new(&out);
    if what == "corpus" {
        return Ok(demo::build_demo_corpus()?.write(out)?);
    }
    let start = Instant::now();
    for record in demo::rebuild_models(out, &Silent)? {
        println!("{} documents, {} steps, {:?}", record.n_documents, record.n_steps, record.history.last());
    }
    println!("{:.0} s", start.elapsed().as_secs_f64());
    let ledger: Vec<Canary> = demo::build_demo_corpus()?.ledger.into_iter().map(|line| line.canary).collect();
    for name in [demo::RAW, demo::DEDUP] {
        let checkpoint = Checkpoint::open(&out.join(name))?;
        let recitations = audit_canaries(&checkpoint.model, &checkpoint.tokenizer, &ledger, &Silent)?;
        for placement in [Placement::Document, Placement::NearCopy, Placement::Passage] {
            for copies in [0, 1, 4, 16, 64] {
                let cell =
                    recitations.iter().filter(|one| one.placement == placement && one.copies == copies);
                let (n, recited) = cell.fold((0, 0), |(n, k), one| (n + 1, k + u32::from(one.recited)));
                println!("{name} {placement} x{copies}: {recited}/{n}");
            }
        }
    }
    Ok(())
}

//! Memory that scoring takes, measured: alone in its process, because the system counts for a whole process.

use std::fs::{self, OpenOptions};
use std::io::Write;

use verbatim_lm::{Gpt2, Gpt2Config, ModelConfig, Runtime};
use verbatim_store::Silent;

/// What scoring may take beside the model and the records, whatever the batch.
const MAX_KILOBYTES: u64 = 64 << 10;
/// Texts, and the tokens that each predicts: logits of all of them would take half a gigabyte.
const SCORED: (usize, usize) = (32, 128);
const VOCAB_SIZE: usize = 1 << 15;

fn kilobytes(of: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(of))?.split_whitespace().nth(1)?.parse().ok()
}

/// Makes the peak what there is now.
fn forget_peak() -> Option<()> {
    OpenOptions::new().write(true).open("/proc/self/clear_refs").ok()?.write_all(b"5").ok()
}

#[test]
fn scoring_takes_64_megabytes_at_most_whatever_the_batch() {
    let config =
        format!(r#"{{"vocab_size":{VOCAB_SIZE},"n_positions":128,"n_embd":16,"n_layer":2,"n_head":2}}"#);
    let config: Gpt2Config = serde_json::from_str(&config).unwrap();
    let tensors = Gpt2::initial_tensors(&config, 1).unwrap().into_iter().collect();
    let model = Runtime::default().load(&ModelConfig::Gpt2(config), tensors).unwrap();
    let text =
        |number: usize| (0..=SCORED.1).map(move |at| ((at * at * 31 + number * 7919) % VOCAB_SIZE) as u32);
    let texts: Vec<Vec<u32>> = (0..SCORED.0).map(|number| text(number).collect()).collect();
    for batch in [1, 32] {
        let (Some(()), Some(before)) = (forget_peak(), kilobytes("VmRSS")) else {
            eprintln!("SKIPPED: this system does not tell the peak of a process's memory");
            return;
        };
        let records = model.score(&texts, batch, &Silent).unwrap();
        assert_eq!(records.iter().map(Vec::len).sum::<usize>(), SCORED.0 * SCORED.1);
        let taken = kilobytes("VmHWM").unwrap().saturating_sub(before);
        println!("a batch of {batch} took {taken} kB");
        assert!(taken < MAX_KILOBYTES, "a batch of {batch} took {taken} kB");
    }
}

//! Trains the demo's model for a few steps and prints tokens per second.
//!
//! `RAYON_NUM_THREADS=2 cargo run --release -p verbatim-lab --example train_speed [ROWS OF A MICRO-BATCH]`

use std::time::Instant;

use verbatim_lab::{Length, TrainConfig, TrainingData, demo, train};
use verbatim_lm::{Gpt2Config, Tokenizer};
use verbatim_store::Silent;

#[expect(clippy::print_stdout, reason = "an example talks to the terminal")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let corpus = demo::build_demo_corpus()?;
    let texts = || corpus.documents.iter().map(|document| document.text.as_str());
    let tokenizer = Tokenizer::from_bytes(&Tokenizer::train(texts(), demo::VOCAB_SIZE)?)?;
    let end_of_text = tokenizer.end_of_text().ok_or("no end of text")?;
    let train_tokens = texts().map(|text| tokenizer.encode(text)).collect();
    let data = TrainingData { train: train_tokens, validation: Vec::new(), end_of_text };
    let recipe = demo::demo_recipe();
    let model: Gpt2Config = serde_json::from_value(serde_json::json!({
        "vocab_size": tokenizer.vocab_size(), "n_positions": recipe.shape.n_positions,
        "n_embd": recipe.shape.n_embd, "n_layer": recipe.shape.n_layer, "n_head": recipe.shape.n_head,
        "embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0,
    }))?;
    println!("{} tokens an epoch, {} parameters", data.n_train_tokens(), model.n_parameters());
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let micro_rows = arguments.next().unwrap_or(recipe.train.micro_rows);
    let n_steps = 6;
    let config = TrainConfig { micro_rows, length: Length::Steps(n_steps), ..recipe.train };
    let start = Instant::now();
    let trained = train(&data, &model, &config, None, &Silent)?;
    let n_tokens = n_steps * (config.batch_rows * recipe.shape.n_positions) as u64;
    println!(
        "{:.0} tokens/s in micro-batches of {micro_rows} rows",
        n_tokens as f64 / start.elapsed().as_secs_f64()
    );
    // All digits: the same for any number of threads.
    println!("loss {}", trained.history[0].train_loss);
    Ok(())
}

//! Drawing continuations, in batches whose size never changes a sample.

/// One continuation to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleRequest {
    /// The sample's number, which keys its random numbers.
    pub index: u64,
    /// The tokens to continue; at least one.
    pub prompt: Vec<u32>,
}

/// How sharp the distribution is, over the course of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Temperature {
    /// The same for each token; zero is greedy.
    Fixed(f32),
    /// From `from` to `to` in equal steps over the first `over_tokens` tokens, then `to`
    /// (Carlini et al. 2021, section 5.1.1: 10 to 1 over the first 20 tokens).
    Decaying {
        /// The temperature of the first token.
        from: f32,
        /// The temperature once `over_tokens` tokens have been drawn.
        to: f32,
        /// The number of tokens with a raised temperature.
        over_tokens: usize,
    },
}

/// How to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingConfig {
    /// The most tokens to draw; a sample also ends at the end of the context.
    pub max_new_tokens: usize,
    /// Draw among this many most likely tokens only.
    pub top_k: Option<usize>,
    /// Draw among the fewest tokens that hold this much probability (Holtzman et al. 2020).
    pub top_p: Option<f32>,
    /// How sharp the distribution is.
    pub temperature: Temperature,
    /// The run's seed.
    pub seed: u64,
    /// The most samples drawn at once; it changes the speed, never a sample.
    pub batch: usize,
    /// A sample ends before this token.
    pub stop_token: Option<u32>,
}

/// A drawn continuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The number from the request.
    pub index: u64,
    /// The prompt from the request.
    pub prompt: Vec<u32>,
    /// The tokens drawn, without the prompt.
    pub tokens: Vec<u32>,
    /// Why the sample ended early, if something went wrong.
    pub error: Option<String>,
}

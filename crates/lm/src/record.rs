//! What is kept of a teacher-forced pass: one small record for each token.

/// What a model said of one token, given the tokens before it. Natural logarithms throughout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenRecord {
    /// The token that stood there.
    pub token: u32,
    /// Its log-probability.
    pub log_prob: f32,
    /// The mean log-probability over the vocabulary, under the model's distribution: sum of p ln p.
    pub mean_log_prob: f32,
    /// The standard deviation of the log-probability under the model's distribution.
    pub std_log_prob: f32,
    /// The entropy of the model's distribution.
    pub entropy: f32,
    /// How many tokens were more likely; ties count for the lower id. 0 is the model's first choice.
    pub rank: u32,
}

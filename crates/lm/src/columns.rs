//! Records in files, column by column: `{"token": [...], "log_prob": [...], ...}`, a fraction of one object a token.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::record::TokenRecord;

#[derive(Serialize, Deserialize)]
struct Columns {
    token: Vec<u32>,
    log_prob: Vec<f32>,
    mean_log_prob: Vec<f32>,
    std_log_prob: Vec<f32>,
    entropy: Vec<f32>,
    rank: Vec<u32>,
}

/// For `#[serde(with = "verbatim_lm::columns")]`.
///
/// # Errors
/// The serializer's own.
pub fn serialize<S: Serializer>(records: &[TokenRecord], serializer: S) -> Result<S::Ok, S::Error> {
    let floats = |field: fn(&TokenRecord) -> f32| records.iter().map(field).collect();
    Columns {
        token: records.iter().map(|record| record.token).collect(),
        log_prob: floats(|record| record.log_prob),
        mean_log_prob: floats(|record| record.mean_log_prob),
        std_log_prob: floats(|record| record.std_log_prob),
        entropy: floats(|record| record.entropy),
        rank: records.iter().map(|record| record.rank).collect(),
    }
    .serialize(serializer)
}

/// For `#[serde(with = "verbatim_lm::columns")]`.
///
/// # Errors
/// The deserializer's own; columns of different lengths.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TokenRecord>, D::Error> {
    let columns = Columns::deserialize(deserializer)?;
    let n = columns.token.len();
    let Columns { token, log_prob, mean_log_prob, std_log_prob, entropy, rank } = columns;
    if [log_prob.len(), mean_log_prob.len(), std_log_prob.len(), entropy.len(), rank.len()] != [n; 5] {
        return Err(de::Error::custom("columns of different lengths"));
    }
    Ok((0..n)
        .map(|i| TokenRecord {
            token: token[i],
            log_prob: log_prob[i],
            mean_log_prob: mean_log_prob[i],
            std_log_prob: std_log_prob[i],
            entropy: entropy[i],
            rank: rank[i],
        })
        .collect())
}

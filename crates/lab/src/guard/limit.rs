//! A limit on how often a client may ask: a token bucket for each, in whole numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Request;

/// What a request takes from a bucket, which gains `per_minute` each millisecond.
const COST: u64 = 60_000;

/// How often one client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Requests a minute in the long run.
    pub per_minute: u64,
    /// Requests at once after a long silence.
    pub burst: u64,
}

impl RateLimit {
    /// Whether each request of a log, in the order of time, is answered.
    ///
    /// A client's bucket is full at first. A request that is refused takes nothing from it. Where time runs backwards no time
    /// has passed.
    pub fn answered(self, log: &[Request]) -> Vec<bool> {
        let capacity = self.burst.saturating_mul(COST);
        // What is in each client's bucket, and when that was.
        let mut buckets: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        let mut answered = Vec::with_capacity(log.len());
        for request in log {
            let (level, time_ms) = buckets.entry(&request.client).or_insert((capacity, 0));
            let gained = request.time_ms.saturating_sub(*time_ms).saturating_mul(self.per_minute);
            *level = level.saturating_add(gained).min(capacity);
            *time_ms = request.time_ms.max(*time_ms);
            let left = level.checked_sub(COST);
            *level = left.unwrap_or(*level);
            answered.push(left.is_some());
        }
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;
    use crate::guard::request;

    #[test]
    fn a_burst_is_answered_and_then_one_for_each_interval() {
        let limit = RateLimit { per_minute: 6, burst: 2 };
        let times = [0, 1, 2, 9_999, 10_000, 10_001, 19_999, 20_000, 200_000, 200_000, 200_000];
        let log: Vec<Request> = times.iter().map(|time| request(*time, "a", &[], &[])).collect();
        // Full with two; the third gains one at 10 seconds after the bucket was full, at 0.
        let expected = [true, true, false, false, true, false, false, true, true, true, false];
        assert_eq!(limit.answered(&log), expected);
    }

    #[test]
    fn clients_have_buckets_of_their_own_and_time_never_runs_backwards() {
        let limit = RateLimit { per_minute: 1, burst: 1 };
        let log = [(5, "a"), (5, "b"), (60_005, "a"), (0, "a"), (60_005, "a")];
        let log: Vec<Request> = log.iter().map(|(time, client)| request(*time, client, &[], &[])).collect();
        assert_eq!(limit.answered(&log), [true, true, true, false, false]);
        let closed = RateLimit { per_minute: 1_000, burst: 0 };
        assert!(closed.answered(&log).iter().all(|answered| !answered));
        let open = RateLimit { per_minute: u64::MAX, burst: u64::MAX };
        assert!(open.answered(&log).iter().all(|answered| *answered));
    }

    /// A bucket that gains its drops millisecond by millisecond.
    #[test]
    fn it_equals_a_bucket_that_is_filled_drop_by_drop() {
        for seed in 0..20 {
            let mut draw = Draw::new(seed, "bucket", 0);
            let limit = RateLimit { per_minute: draw.between(1, 200), burst: draw.between(1, 5) };
            let (mut level, mut now, mut log, mut expected) = (limit.burst * COST, 0, Vec::new(), Vec::new());
            for _ in 0..60 {
                for _ in 0..draw.below(2_000) {
                    now += 1;
                    level = (level + limit.per_minute).min(limit.burst * COST);
                }
                log.push(request(now, "a", &[], &[]));
                expected.push(level >= COST);
                level -= if level >= COST { COST } else { 0 };
            }
            assert_eq!(limit.answered(&log), expected, "{limit:?}");
        }
    }
}

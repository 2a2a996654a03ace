//! Signals of a text that stands behind other texts. All losses are of the text's own tokens, never of those before it.

use super::{finite, loss_ratio};

/// ReCaLL: the loss of a text behind non-members over its loss alone (Xie et al. 2024; 7 to 12 non-members). In nats a token.
///
/// The texts before it must not be among those that are judged, or their neighbours are told by them.
pub fn recall(loss_behind_non_members: f64, loss: f64) -> Option<f64> {
    loss_ratio(finite(loss_behind_non_members)?, finite(loss)?)
}

/// Con-ReCaLL: how far the loss of a text behind non-members is above `gamma` times that behind members, over its loss alone
/// (Wang et al. 2025; gamma 0.5). In nats a token.
pub fn con_recall(
    (loss_behind_non_members, loss_behind_members): (f64, f64),
    loss: f64,
    gamma: f64,
) -> Option<f64> {
    loss_ratio(finite(loss_behind_non_members - gamma * loss_behind_members)?, finite(loss)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::LOSS_FLOOR;

    #[test]
    fn losses_behind_other_texts_are_compared_as_worked_out_by_hand() {
        assert_eq!(recall(3.0, 2.0), Some(1.5));
        assert_eq!(con_recall((3.0, 2.0), 2.0, 0.5), Some(1.0));
        // A member is disturbed by non-members; another text is helped by any.
        assert!(recall(2.4, 2.0) > recall(2.7, 3.0));
        assert!(con_recall((2.4, 1.8), 2.0, 0.5) > con_recall((2.7, 2.7), 3.0, 0.5));
    }

    #[test]
    fn fault_67_losses_of_zero_stay_finite_and_those_that_are_not_give_none() {
        assert_eq!(recall(1.0, 0.0), Some(1.0 / LOSS_FLOOR));
        for bad in [f64::NAN, f64::INFINITY] {
            assert_eq!([recall(bad, 1.0), recall(1.0, bad)], [None; 2]);
            assert_eq!([con_recall((bad, 1.0), 1.0, 0.5), con_recall((1.0, bad), 1.0, 0.5)], [None; 2]);
            assert_eq!(con_recall((1.0, 1.0), bad, 0.5), None);
        }
    }
}

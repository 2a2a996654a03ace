//! The lm room.

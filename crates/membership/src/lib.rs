//! The membership room.

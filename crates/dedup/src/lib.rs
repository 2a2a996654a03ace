//! The dedup room.

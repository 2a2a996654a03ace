//! The extraction room.

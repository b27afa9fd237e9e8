//! Tests that need the private rooms.

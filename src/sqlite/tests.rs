//! What only the inside can bring about: a full disk, a lock, a connection that may not write.

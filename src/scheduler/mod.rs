//! Keeps the queue going.

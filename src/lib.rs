//! kafka-store

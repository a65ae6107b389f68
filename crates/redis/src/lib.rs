//! Shared limits and replay memory in Redis.

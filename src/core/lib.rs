//! Pure detection core.
#![forbid(unsafe_code)]

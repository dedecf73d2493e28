//! The server suite.

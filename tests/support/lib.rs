//! Support for the server suite.

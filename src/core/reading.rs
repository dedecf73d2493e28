//! A reading: one number at one instant of one sensor.

use crate::error::Error;
use crate::units::Timestamp;

/// One number at one instant. The sensor is named by the key it is added to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// When it was measured.
    pub at: Timestamp,
    /// What was measured, in the sensor's unit. Always finite.
    pub value: f64,
}

/// The time a producer gave: an instant, or `*` for the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// `*`
    Now,
    /// Unix milliseconds.
    At(Timestamp),
}

impl When {
    /// Reads `*` or integer milliseconds.
    ///
    /// # Errors
    /// [`Error::Timestamp`].
    #[inline(always)]
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes == b"*" {
            Ok(Self::Now)
        } else {
            Timestamp::parse(bytes).map(Self::At)
        }
    }

    /// The instant, given the server's clock. One more than `max_future` milliseconds ahead is refused: it would make
    /// the sensor deaf until that time has come.
    ///
    /// # Errors
    /// [`Error::Future`].
    #[inline]
    pub fn resolve(self, now: Timestamp, max_future: u64) -> Result<Timestamp, Error> {
        match self {
            Self::Now => Ok(now),
            Self::At(at) => match u64::try_from(at.since(now)) {
                Ok(ahead) if ahead > max_future => Err(Error::Future {
                    given: at.millis(),
                    ahead: at.since(now),
                    max_future,
                }),
                _ => Ok(at),
            },
        }
    }
}

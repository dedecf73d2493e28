//! Which server this is: product and version.
//!
//! Some of what makes readings cheap rests on how a server works inside, which no interface promises. It is done only on
//! releases that were looked at; on all others, and where it cannot be told which one it is, all is done as the interface
//! promises.

use std::ops::RangeInclusive;

/// Major and minor version.
pub type Version = (u32, u32);

/// What a server says of itself in the section `server` of INFO; `None`: it does not say it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// `server_name`: Redis says none.
    pub name: Option<&'a [u8]>,
    /// `redis_version`: where another product has a version of its own, the one it is compatible with.
    pub redis: Option<&'a [u8]>,
    /// `valkey_version`.
    pub valkey: Option<&'a [u8]>,
}

/// A release of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Redis of that version.
    Redis(Version),
    /// Valkey of that version, its own.
    Valkey(Version),
}

impl Release {
    /// The one that says this of itself, and gives modules this version; `None`: that does not fit together, or it is another
    /// product. Both products give modules their own version, in numbers that both have.
    #[must_use]
    pub fn told(version: Version, said: Said<'_>) -> Option<Self> {
        match (said.name, said.valkey) {
            (None, None) if parsed(said.redis?)? == version => Some(Self::Redis(version)),
            (Some(b"valkey"), Some(own)) if parsed(own)? == version => Some(Self::Valkey(version)),
            _ => None,
        }
    }

    /// Whether it is one of these.
    #[must_use]
    pub fn is_of(self, releases: &Releases) -> bool {
        match self {
            Self::Redis(version) => releases.redis.contains(&version),
            Self::Valkey(version) => releases.valkey.contains(&version),
        }
    }
}

/// Some releases of each product.
#[derive(Debug)]
pub struct Releases {
    /// Of Redis, from the oldest to the newest.
    pub redis: RangeInclusive<Version>,
    /// Of Valkey.
    pub valkey: RangeInclusive<Version>,
}

/// Those whose sources were looked at, and on which the tests run.
pub const LOOKED_AT: Releases = Releases {
    redis: (7, 2)..=(8, 0),
    valkey: (8, 0)..=(8, 1),
};

/// Of `8.1.1` the first two numbers.
fn parsed(version: &[u8]) -> Option<Version> {
    let mut numbers = std::str::from_utf8(version).ok()?.split('.');
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(version: &str) -> Said<'_> {
        Said {
            redis: Some(version.as_bytes()),
            ..Said::default()
        }
    }

    fn valkey(version: &str) -> Said<'_> {
        Said {
            name: Some(b"valkey"),
            valkey: Some(version.as_bytes()),
            // Whatever it is.
            redis: Some(b"7.2.4"),
        }
    }

    fn is_looked_at(version: Version, said: Said<'_>) -> bool {
        Release::told(version, said).is_some_and(|release| release.is_of(&LOOKED_AT))
    }

    #[test]
    fn redis_is_told_by_its_version_and_valkey_by_its_own() {
        for (version, said, release) in [
            ((7, 2), redis("7.2.4"), Release::Redis((7, 2))),
            ((7, 4), redis("7.4.1"), Release::Redis((7, 4))),
            ((8, 0), redis("8.0.2"), Release::Redis((8, 0))),
            ((8, 2), redis("8.2.3"), Release::Redis((8, 2))),
            ((8, 0), valkey("8.0.1"), Release::Valkey((8, 0))),
            ((8, 1), valkey("8.1.1"), Release::Valkey((8, 1))),
            ((9, 1), valkey("9.1.2"), Release::Valkey((9, 1))),
        ] {
            assert_eq!(Release::told(version, said), Some(release), "{said:?}");
        }
    }

    #[test]
    fn redis_to_8_0_and_valkey_8_were_looked_at_and_nothing_newer() {
        for (version, said) in [
            ((7, 2), redis("7.2.4")),
            ((7, 4), redis("7.4.1")),
            ((8, 0), redis("8.0.2")),
            ((8, 0), valkey("8.0.1")),
            ((8, 1), valkey("8.1.1")),
        ] {
            assert!(is_looked_at(version, said), "{said:?}");
        }
        for (version, said) in [
            // The same numbers, of the other product.
            ((8, 1), redis("8.1.1")),
            ((8, 2), redis("8.2.0")),
            ((10, 0), redis("10.0.0")),
            ((255, 255), redis("255.255.255")),
            ((7, 2), valkey("7.2.8")),
            ((9, 0), valkey("9.0.0")),
            ((255, 255), valkey("255.255.255")),
        ] {
            assert!(!is_looked_at(version, said), "{said:?}");
        }
    }

    #[test]
    fn a_server_that_does_not_say_what_it_is_counts_as_none() {
        let bytes = |bytes: &'static [u8]| Some(bytes);
        for (version, said) in [
            ((7, 4), Said::default()),
            ((0, 0), redis("")),
            ((8, 0), redis("8")),
            ((8, 0), redis("8.x.1")),
            ((8, 0), redis("eight.zero")),
            ((8, 0), redis("-8.0")),
            ((8, 0), valkey("nonsense")),
            // What it tells modules is something else.
            ((9, 0), redis("7.2.4")),
            ((9, 0), valkey("8.1.1")),
            ((7, 2), valkey("8.1.1")),
        ] {
            assert_eq!(Release::told(version, said), None, "{said:?}");
        }
        for (name, valkey) in [
            (bytes(b"redict"), None),
            (bytes(b"valkey"), None),
            (bytes(b"redis"), bytes(b"8.0.1")),
            (None, bytes(b"8.0.1")),
            (bytes(b"\xff"), bytes(b"\xff")),
        ] {
            let said = Said {
                name,
                valkey,
                redis: Some(b"8.0.1"),
            };
            assert_eq!(Release::told((8, 0), said), None, "{said:?}");
        }
    }
}

//! The keys beside a sensor's own: its series and its alerts, always in the sensor's own hash slot.

use smallvec::SmallVec;

use crate::error::Error;

/// A key that is made from others. The usual ones need no heap.
pub type Name = SmallVec<[u8; 64]>;

/// The part of a key that decides its slot: what stands between the first `{` and the next `}`, if anything, else all.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    braced(key).unwrap_or(key)
}

fn braced(key: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'{', key)?;
    let rest = key.get(open + 1..)?;
    let close = memchr::memchr(b'}', rest)?;
    rest.get(..close).filter(|tag| !tag.is_empty())
}

/// The key of a sensor's series: `ts:` + key where it has a hash tag, `ts:{key}` where it has none.
#[must_use]
pub fn series(key: &[u8]) -> Name {
    with_series(key, Name::from_slice)
}

/// What becomes of the key of a sensor's series. It is made in place, which takes a third of what it takes to make a [`Name`].
pub fn with_series<T>(key: &[u8], work: impl FnOnce(&[u8]) -> T) -> T {
    const BEFORE: &[u8; 4] = b"ts:{";
    let tagged = braced(key).is_some();
    let start = BEFORE.len() - usize::from(tagged);
    let end = start + key.len();
    let mut room = [0; 64];
    if let Some(place) = room.first_chunk_mut() {
        *place = *BEFORE;
    }
    if let Some((brace, place)) = room.get_mut(start..=end).and_then(<[u8]>::split_last_mut) {
        place.copy_from_slice(key);
        *brace = b'}';
    }
    let whole = end + usize::from(!tagged);
    match room.get(..whole).filter(|_| end < room.len()) {
        Some(name) => work(name),
        None if tagged => work(&[b"ts:", key].concat()),
        None => work(&[BEFORE, key, b"}"].concat()),
    }
}

/// Parts in one. In an array of their length they are copied at once: to extend a vector by each costs as much as to parse a
/// number.
pub(crate) fn joined<'a>(parts: impl Iterator<Item = &'a [u8]> + Clone) -> Name {
    let mut short = [0; 64];
    let mut len = 0;
    for part in parts.clone() {
        let Some(room) = short.get_mut(len..len + part.len()) else {
            return joined_long(parts);
        };
        room.copy_from_slice(part);
        len += part.len();
    }
    Name::from_buf_and_len(short, len)
}

#[cold]
fn joined_long<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Name {
    parts.flatten().copied().collect()
}

/// Whether a key could be that of some sensor's series.
#[must_use]
pub fn may_be_series(key: &[u8]) -> bool {
    key.starts_with(b"ts:")
}

/// The key of the alerts stream: `base`, on a cluster with the sensor's hash tag.
#[must_use]
pub fn alerts(base: &[u8], key: &[u8], cluster: bool) -> Vec<u8> {
    if cluster {
        [base, b":{", hash_tag(key), b"}"].concat()
    } else {
        base.to_vec()
    }
}

/// The key of the dead letters of a stream: `base`, on a cluster with the stream's hash tag.
#[must_use]
pub fn dead(base: &[u8], stream: &[u8], cluster: bool) -> Vec<u8> {
    alerts(base, stream, cluster)
}

/// Whether a key is that of an alerts stream of a cluster, `base:{tag}`.
#[must_use]
pub fn is_alerts_of(base: &[u8], name: &[u8]) -> bool {
    name.strip_prefix(base)
        .is_some_and(|rest| rest.starts_with(b":{") && rest.ends_with(b"}"))
}

/// On a cluster the series and the alerts must live in the sensor's slot: equal tags make equal slots.
///
/// # Errors
/// [`Error::CrossSlot`] for keys where no such name exists: empty, with `{}` or with a stray brace.
pub fn check_slot(base: &[u8], key: &[u8]) -> Result<(), Error> {
    let tag = hash_tag(key);
    let same = hash_tag(&series(key)) == tag && hash_tag(&alerts(base, key, true)) == tag;
    if same && !tag.is_empty() {
        Ok(())
    } else {
        Err(Error::CrossSlot { key: key.to_vec() })
    }
}

/// The hash slot of a key, 0 to 16383: CRC16 (CCITT, XMODEM) of its hash tag, as the Redis cluster specification says.
#[must_use]
pub fn slot(key: &[u8]) -> u16 {
    let crc = hash_tag(key).iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let carry = crc & 0x8000 != 0;
            (crc << 1) ^ if carry { 0x1021 } else { 0 }
        })
    });
    crc % 16384
}

/// A name for a sensor that is the same on every server: FNV-1a of its key (Fowler, Noll and Vo).
#[must_use]
pub fn fingerprint(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A value as a TimeSeries label can hold it: `(`, `)`, `,` and `%` percent-encoded.
#[must_use]
pub fn label(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for &byte in value {
        if matches!(byte, b'(' | b')' | b',' | b'%') {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_server() {
        // CLUSTER KEYSLOT; the first is the check value of the CRC, 0x31C3.
        for (key, expected) in [("123456789", 12739), ("foo", 12182), ("x{foo}y", 12182)] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn series_and_alerts_carry_the_sensors_hash_tag() {
        assert_eq!(series(b"sensor:1")[..], b"ts:{sensor:1}"[..]);
        assert_eq!(series(b"{rack}:t")[..], b"ts:{rack}:t"[..]);
        assert!(may_be_series(&series(b"sensor:1")) && may_be_series(&series(b"{rack}:t")));
        assert!(!may_be_series(b"sensor:1"));
        for len in [0, 1, 58, 59, 60, 61, 300] {
            let key = "k".repeat(len);
            assert_eq!(
                series(key.as_bytes())[..],
                *format!("ts:{{{key}}}").as_bytes()
            );
            let tagged = format!("{{x}}{key}");
            assert_eq!(
                series(tagged.as_bytes())[..],
                *format!("ts:{tagged}").as_bytes()
            );
        }
        assert_eq!(
            alerts(b"anomaly:alerts", b"{rack}:t", true),
            b"anomaly:alerts:{rack}"
        );
        assert_eq!(
            alerts(b"anomaly:alerts", b"sensor:1", true),
            b"anomaly:alerts:{sensor:1}"
        );
        assert_eq!(
            alerts(b"anomaly:alerts", b"{rack}:t", false),
            b"anomaly:alerts"
        );
    }

    #[test]
    fn a_key_whose_companions_would_leave_its_slot_is_refused_on_a_cluster() {
        for good in ["sensor:1", "{rack}:t", "a{b}c", "a{b"] {
            assert_eq!(
                check_slot(b"anomaly:alerts", good.as_bytes()),
                Ok(()),
                "{good}"
            );
        }
        for bad in ["", "{}", "{}x", "a}b", "}"] {
            assert!(
                check_slot(b"anomaly:alerts", bad.as_bytes()).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn dead_letters_carry_the_streams_hash_tag_on_a_cluster() {
        for (stream, cluster, expected) in [
            ("raw", false, "anomaly:dead"),
            ("raw", true, "anomaly:dead:{raw}"),
            ("{x}:raw", true, "anomaly:dead:{x}"),
        ] {
            let key = dead(b"anomaly:dead", stream.as_bytes(), cluster);
            assert_eq!(key, expected.as_bytes());
            assert_eq!(is_alerts_of(b"anomaly:dead", &key), cluster);
        }
    }

    #[test]
    fn labels_hold_what_timeseries_refuses_percent_encoded() {
        assert_eq!(label(b"a(1),50%"), b"a%281%29%2C50%25");
    }
}

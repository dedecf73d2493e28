//! The ids of the alerts already shown: an alert that is delivered again is acknowledged, not shown again.

use std::collections::{HashSet, VecDeque};

/// As many as the alerts stream holds by default; about ten megabytes.
const REMEMBERED: usize = 100_000;

/// A set that forgets the oldest.
#[derive(Default)]
pub(crate) struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// True if the id is new.
    pub(crate) fn insert(&mut self, id: String) -> bool {
        if !self.ids.insert(id.clone()) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }

    /// After the stream was deleted its ids begin anew: an alert may rightly come again.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// The id in a line that this program wrote, in either format.
pub(crate) fn id_in(line: &str) -> Option<String> {
    if line.starts_with('{') {
        let json: serde_json::Value = serde_json::from_str(line).ok()?;
        let field = |name| Some(json.get(name)?.as_str()?.to_owned());
        return field("id").or_else(|| field("entry"));
    }
    let (_, id) = line.rsplit_once("  id=")?;
    (!id.is_empty() && !id.contains(char::is_whitespace)).then(|| id.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{REMEMBERED, Seen, id_in};
    use crate::alert::tests::alert;

    #[test]
    fn an_id_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.insert("a".to_owned()));
        assert!(!seen.insert("a".to_owned()));
        seen.forget();
        assert!(seen.insert("a".to_owned()));
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut seen = Seen::default();
        for number in 0..=REMEMBERED {
            assert!(seen.insert(number.to_string()));
        }
        assert!(!seen.insert("1".to_owned()));
        assert!(seen.insert("0".to_owned()));
    }

    #[test]
    fn both_formats_give_the_id_back() {
        let tricky = alert(
            "5-0",
            &[("sensor", b"x  id=wrong"), ("reason", b"said id=7")],
        );
        assert_eq!(id_in(&tricky.line(false)).unwrap(), tricky.id());
        assert_eq!(id_in(&tricky.json("anomaly:alerts")).unwrap(), tricky.id());
        let foreign = alert("5-0", &[("id", b"")]);
        assert_eq!(id_in(&foreign.line(false)).unwrap(), "5-0");
        assert_eq!(id_in("half a li"), None);
        assert_eq!(id_in("{\"id\":\"x"), None);
    }
}

//! Rules and their cascade: all rules that match a sensor's key apply, from the least to the most specific.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::error::Error;
use crate::glob::{self, Specificity};
use crate::profile::{Profile, Resolved};
use crate::setting::{Setting, Value};

/// A setting and what it becomes; `None` is `inherit`.
pub type Change = (Setting, Option<Value>);

/// The settings that apply to sensors matching a pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pattern: Arc<[u8]>,
    specificity: Specificity,
    values: BTreeMap<Setting, Value>,
}

impl Rule {
    /// A rule that sets nothing yet.
    ///
    /// # Errors
    /// [`Error::Pattern`].
    pub fn new(pattern: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            pattern: glob::checked(pattern)?.into(),
            specificity: glob::specificity(pattern),
            values: BTreeMap::new(),
        })
    }

    /// The glob over sensor keys.
    #[must_use]
    pub fn pattern(&self) -> &[u8] {
        &self.pattern
    }

    /// What it sets, in the order of the table.
    pub fn values(&self) -> impl ExactSizeIterator<Item = (Setting, &Value)> {
        self.values.iter().map(|(setting, value)| (*setting, value))
    }

    /// This rule with the changes made.
    ///
    /// # Errors
    /// [`Error::Limits`] when its limits would contradict each other.
    pub fn with(mut self, changes: &[Change]) -> Result<Self, Error> {
        for (setting, value) in changes {
            match value {
                Some(value) => self.values.insert(*setting, value.clone()),
                None => self.values.remove(setting),
            };
        }
        for (low, high) in [
            (Setting::Min, Setting::Max),
            (Setting::CriticalMin, Setting::Min),
            (Setting::Max, Setting::CriticalMax),
            (Setting::CriticalMin, Setting::CriticalMax),
        ] {
            if let (Some(Value::Number(a)), Some(Value::Number(b))) =
                (self.values.get(&low), self.values.get(&high))
                && a > b
            {
                return Err(Error::Limits {
                    low: (low.spec().name, *a),
                    high: (high.spec().name, *b),
                });
            }
        }
        Ok(self)
    }

    fn rank(&self) -> (Specificity, &[u8]) {
        (self.specificity, &self.pattern)
    }
}

/// All rules of a server.
#[derive(Debug)]
pub struct Rules {
    /// Least specific first.
    rules: Vec<Rule>,
    /// Sensors that match the same rules share one profile.
    profiles: Vec<Arc<Profile>>,
    /// Their positions, by the rules that match.
    by_rules: HashMap<Vec<u32>, usize>,
    /// The number of the first of them. All have others after every change of a rule, so that a model can tell whether its
    /// profile is current.
    first: u32,
}

/// The number of a profile among the rules of a server, as long as no rule changes; by default that of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProfileId(u32);

impl Default for Rules {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            profiles: Vec::new(),
            by_rules: HashMap::new(),
            first: 1,
        }
    }
}

impl Rules {
    /// All rules, least specific first.
    #[must_use]
    pub fn list(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule of exactly that pattern.
    #[must_use]
    pub fn get(&self, pattern: &[u8]) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.pattern() == pattern)
    }

    /// Creates or changes the rule of a pattern; settings not named keep their value. A rule left without any setting
    /// is gone.
    ///
    /// # Errors
    /// [`Error::Pattern`], [`Error::Limits`]; then nothing has changed.
    pub fn set(&mut self, pattern: &[u8], changes: &[Change]) -> Result<(), Error> {
        let rule = self
            .get(pattern)
            .cloned()
            .map_or_else(|| Rule::new(pattern), Ok)?
            .with(changes)?;
        self.put(rule);
        self.changed();
        Ok(())
    }

    /// Removes the rule of exactly that pattern; whether there was one.
    pub fn delete(&mut self, pattern: &[u8]) -> bool {
        let before = self.rules.len();
        self.rules.retain(|rule| rule.pattern() != pattern);
        let deleted = self.rules.len() < before;
        if deleted {
            self.changed();
        }
        deleted
    }

    /// Whether any rule asks for `nodata` or `expire`.
    #[must_use]
    pub fn listen(&self) -> bool {
        let timers = [Setting::Nodata, Setting::Expire];
        self.rules
            .iter()
            .flat_map(Rule::values)
            .any(|(setting, value)| timers.contains(&setting) && *value != Value::Off)
    }

    /// Puts each of these rules in the place of the one with its pattern; with `replace`, all others go.
    pub fn import(&mut self, rules: Vec<Rule>, replace: bool) {
        if replace {
            self.rules.clear();
        }
        // In one go: putting thousands in one by one takes seconds. Of equals the sort keeps the order, and the last stays.
        self.rules.extend(rules);
        self.rules.sort_by(|a, b| a.rank().cmp(&b.rank()));
        self.rules.dedup_by(|later, first| {
            let same = later.pattern == first.pattern;
            if same {
                std::mem::swap(later, first);
            }
            same
        });
        self.rules.retain(|rule| !rule.values.is_empty());
        self.changed();
    }

    /// Forgets all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
        self.changed();
    }

    /// What every setting is for that sensor and where it came from, in the order of the table.
    #[must_use]
    pub fn resolve(&self, key: &[u8]) -> Vec<Resolved> {
        cascade(self.matching(key).map(|(_, rule)| rule))
    }

    /// The resolved settings of that sensor, shared with every sensor that matches the same rules.
    pub fn profile(&mut self, key: &[u8]) -> Arc<Profile> {
        self.number(key).1
    }

    /// The same with its number.
    pub(crate) fn number(&mut self, key: &[u8]) -> (ProfileId, Arc<Profile>) {
        let matching: Vec<u32> = self.matching(key).map(|(index, _)| index).collect();
        let known = self.by_rules.get(&matching).copied();
        let (at, profile) = match known.and_then(|at| Some((at, self.profiles.get(at)?))) {
            Some((at, profile)) => (at, Arc::clone(profile)),
            None => {
                let profile = Arc::new(Profile::from_resolved(&self.resolve(key)));
                let at = self.profiles.len();
                self.by_rules.insert(matching, at);
                self.profiles.push(Arc::clone(&profile));
                (at, profile)
            }
        };
        (ProfileId(self.first.saturating_add(at as u32)), profile)
    }

    /// The profile of that number, unless rules have changed since it had it.
    #[must_use]
    pub fn numbered(&self, ProfileId(number): ProfileId) -> Option<&Arc<Profile>> {
        self.profiles.get(number.checked_sub(self.first)? as usize)
    }

    /// Rules of their own for that sensor alone: those that match it, and over them the changes, as an exact rule for its
    /// key makes them (`inherit` takes away what such a rule sets).
    ///
    /// # Errors
    /// [`Error::Limits`] when the limits of that rule would contradict each other.
    pub fn of_sensor(&self, key: &[u8], changes: &[Change]) -> Result<Self, Error> {
        let mut own = Self {
            rules: self.matching(key).map(|(_, rule)| rule.clone()).collect(),
            ..Self::default()
        };
        if !changes.is_empty() {
            let last = own.rules.last().filter(|rule| rule.specificity.exact);
            let rule = last.cloned().unwrap_or_else(|| {
                let pattern = glob::escaped(key);
                // Not by `new`: a key may be longer than a pattern.
                Rule {
                    specificity: glob::specificity(&pattern),
                    pattern: pattern.into(),
                    values: BTreeMap::new(),
                }
            });
            own.put(rule.with(changes)?);
        }
        Ok(own)
    }

    fn matching<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = (u32, &'a Rule)> {
        (0..)
            .zip(&self.rules)
            .filter(|(_, rule)| glob::matches(rule.pattern(), key))
    }

    fn put(&mut self, rule: Rule) {
        self.rules.retain(|other| other.pattern != rule.pattern);
        if !rule.values.is_empty() {
            let at = self
                .rules
                .partition_point(|other| other.rank() < rule.rank());
            self.rules.insert(at, rule);
        }
    }

    fn changed(&mut self) {
        // At least one number is passed over. After four thousand million they begin anew.
        let used = self.profiles.len().max(1) as u32;
        self.first = self
            .first
            .checked_add(used)
            .filter(|first| *first < u32::MAX / 2)
            .unwrap_or(1);
        self.profiles.clear();
        self.by_rules.clear();
    }
}

/// The last rule that sets something wins. Where no limit and no other statistical detector is set, and `auto` is not
/// spoken of, a sensor is watched all the same: by `auto`.
fn cascade<'a>(rules: impl Iterator<Item = &'a Rule>) -> Vec<Resolved> {
    let mut resolved: Vec<Resolved> = Setting::ALL
        .iter()
        .map(|s| (*s, s.default_value(), None))
        .collect();
    for rule in rules {
        for slot in &mut resolved {
            if let Some(value) = rule.values.get(&slot.0) {
                (slot.1, slot.2) = (value.clone(), Some(Arc::clone(&rule.pattern)));
            }
        }
    }
    let others = resolved.iter().any(|(setting, value, _)| match setting {
        Setting::Min | Setting::Max | Setting::CriticalMin | Setting::CriticalMax => {
            *value != Value::Off
        }
        Setting::Zscore | Setting::Mad | Setting::Ewma | Setting::Rate | Setting::Cusum => {
            *value != Value::Off
        }
        _ => false,
    });
    let unset = |slot: &&mut Resolved| slot.0 == Setting::Auto && slot.2.is_none();
    if others && let Some(auto) = resolved.iter_mut().find(unset) {
        auto.1 = Value::Switch(false);
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(all: &[(&str, &[(Setting, &str)])]) -> Rules {
        let mut rules = Rules::default();
        for (pattern, settings) in all {
            let changes: Vec<Change> = settings
                .iter()
                .map(|(s, text)| (*s, s.parse(text.as_bytes()).unwrap()))
                .collect();
            rules.set(pattern.as_bytes(), &changes).unwrap();
        }
        rules
    }

    fn resolved(rules: &Rules, key: &str, setting: Setting) -> (String, String) {
        let (_, value, from) = rules
            .resolve(key.as_bytes())
            .into_iter()
            .find(|(s, ..)| *s == setting)
            .unwrap();
        let from = from.map_or("default".into(), |p| String::from_utf8(p.to_vec()).unwrap());
        (value.text(setting.spec().domain), from)
    }

    #[test]
    fn the_most_specific_rule_wins_setting_by_setting() {
        let rules = rules(&[
            ("sensor:7:temperature", &[(Setting::Max, "40")]),
            ("*", &[(Setting::Max, "20"), (Setting::Clear, "5")]),
            (
                "sensor:*:temperature",
                &[(Setting::Max, "30"), (Setting::Unit, "°C")],
            ),
        ]);
        let order: Vec<_> = rules.list().iter().map(|r| r.pattern().len()).collect();
        assert_eq!(order, [1, 20, 20]);
        let key = "sensor:7:temperature";
        assert_eq!(
            resolved(&rules, key, Setting::Max),
            ("40".into(), key.into())
        );
        assert_eq!(
            resolved(&rules, key, Setting::Unit),
            ("°C".into(), "sensor:*:temperature".into())
        );
        assert_eq!(
            resolved(&rules, key, Setting::Clear),
            ("5".into(), "*".into())
        );
        assert_eq!(
            resolved(&rules, key, Setting::For),
            ("1".into(), "default".into())
        );
        assert_eq!(
            resolved(&rules, "other", Setting::Max),
            ("20".into(), "*".into())
        );
    }

    #[test]
    fn a_sensor_without_any_detector_is_watched_by_auto() {
        let mut rules = rules(&[
            ("limits:*", &[(Setting::Max, "1")]),
            ("quiet:*", &[(Setting::Auto, "off")]),
        ]);
        assert_eq!(
            resolved(&rules, "x", Setting::Auto),
            ("on".into(), "default".into())
        );
        assert_eq!(
            resolved(&rules, "limits:1", Setting::Auto),
            ("off".into(), "default".into())
        );
        assert_eq!(
            resolved(&rules, "quiet:1", Setting::Auto),
            ("off".into(), "quiet:*".into())
        );
        rules
            .set(b"*", &[(Setting::Unit, Some(Value::Text("V".into())))])
            .unwrap();
        assert_eq!(
            resolved(&rules, "x", Setting::Auto),
            ("on".into(), "default".into())
        );
    }

    #[test]
    fn contradicting_limits_are_refused_and_change_nothing() {
        let mut rules = rules(&[("*", &[(Setting::Min, "10"), (Setting::Max, "20")])]);
        let (before, first) = (rules.list().to_vec(), rules.first);
        for (setting, x) in [
            (Setting::Max, 5.0),
            (Setting::CriticalMin, 15.0),
            (Setting::CriticalMax, 15.0),
        ] {
            let refused = rules.set(
                b"*",
                &[
                    (Setting::For, Some(Value::Count(9))),
                    (setting, Some(Value::Number(x))),
                ],
            );
            assert!(matches!(refused, Err(Error::Limits { .. })), "{setting:?}");
        }
        assert_eq!((rules.list(), rules.first), (&before[..], first));
    }

    #[test]
    fn a_rule_with_nothing_left_is_gone() {
        let mut rules = rules(&[("*", &[(Setting::Max, "20")])]);
        rules.set(b"*", &[(Setting::Max, None)]).unwrap();
        assert!(rules.list().is_empty());
        assert_eq!(rules.set(b"", &[]), Err(Error::Pattern));
    }

    #[test]
    fn changes_for_one_sensor_lie_over_all_rules_that_match_it() {
        let rules = rules(&[
            ("*", &[(Setting::Max, "20"), (Setting::Clear, "5")]),
            ("s*", &[(Setting::For, "2")]),
            ("s[1]", &[(Setting::Max, "30")]),
            ("other", &[(Setting::Max, "99")]),
        ]);
        let change = |setting: Setting, text: &str| {
            let value = setting.parse(text.as_bytes()).unwrap();
            (setting, value)
        };
        let own = |key: &str, changes: &[Change]| {
            let own = rules.of_sensor(key.as_bytes(), changes).unwrap();
            [Setting::Max, Setting::Clear, Setting::For]
                .map(|setting| resolved(&own, key, setting).0)
        };
        assert_eq!(own("s1", &[]), ["30", "5", "2"]);
        assert_eq!(own("s1", &[change(Setting::Max, "40")]), ["40", "5", "2"]);
        let inherit = [change(Setting::Max, "inherit")];
        assert_eq!(own("s1", &inherit), ["30", "5", "2"]);
        assert_eq!(own("other", &inherit), ["20", "5", "1"]);
        // A key is not a pattern, whatever is in it, and may be longer than one.
        let odd = "s*[a]?\\";
        assert_eq!(own(odd, &[change(Setting::Max, "40")]), ["40", "5", "2"]);
        let long = "s".repeat(2000);
        assert_eq!(own(&long, &[change(Setting::Max, "40")])[0], "40");
        let own = rules.of_sensor(b"s1", &[]).unwrap();
        assert_eq!(own.list().len(), 3, "no other sensor's rules");
        let contradiction = [change(Setting::Min, "100")];
        assert!(matches!(
            rules.of_sensor(b"other", &contradiction),
            Err(Error::Limits { .. })
        ));
    }

    #[test]
    fn sensors_that_match_the_same_rules_share_a_profile_until_a_rule_changes() {
        let mut rules = rules(&[("a:*", &[(Setting::Max, "20")])]);
        let (one, two, other) = (
            rules.profile(b"a:1"),
            rules.profile(b"a:2"),
            rules.profile(b"b"),
        );
        assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &other));
        rules
            .set(b"a:*", &[(Setting::Max, Some(Value::Number(30.0)))])
            .unwrap();
        assert_eq!(rules.profile(b"a:1").limits.max, Some(30.0));
    }
}

//! The settings a rule may hold: name, default, domain and meaning stand here once, and the parser, RESOLVE, EXPORT and
//! the documentation are made from this table.

use crate::error::Error;
use crate::text::number;
use crate::units::Direction;

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// `yes` or `no`.
    Flag,
    /// `on` or `off`.
    Switch,
    /// A finite number, or `-` for none.
    Limit,
    /// A number above zero, or `off`.
    Threshold,
    /// Milliseconds above zero, or `off`.
    Timeout,
    /// A number between the two, both included.
    Number(f64, f64),
    /// An integer between the two, both included.
    Count(u64, u64),
    /// An integer between the two, or `-` for the detector's own.
    OptionalCount(u64, u64),
    /// A multiple of 8 between 48 and 1048576, which is what TimeSeries takes.
    ChunkSize,
    /// `both`, `high` or `low`.
    Direction,
    /// At most this many bytes of printable text.
    Text(usize),
}

/// A parsed setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `off` or `-`.
    Off,
    /// `yes` or `no`.
    Flag(bool),
    /// `on` or `off` of a switch.
    Switch(bool),
    /// A number.
    Number(f64),
    /// A whole number.
    Count(u64),
    /// A side.
    Direction(Direction),
    /// Text.
    Text(String),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The name users write.
    pub name: &'static str,
    /// The default as users write it.
    pub default: &'static str,
    /// What it takes.
    pub domain: Domain,
    /// What it means, one line.
    pub meaning: &'static str,
}

macro_rules! settings {
    ($($variant:ident $name:literal $default:literal $domain:expr, $meaning:literal;)*) => {
        /// A setting, named as in [`Spec::name`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Setting { $(#[doc = $meaning] $variant,)* }

        impl Setting {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its row in the table.
            #[must_use]
            pub const fn spec(self) -> Spec {
                use Domain::*;
                match self {
                    $(Self::$variant => Spec {
                        name: $name, default: $default, domain: $domain, meaning: $meaning,
                    },)*
                }
            }
        }
    };
}

const YEARS_100: u64 = 3_155_760_000_000;
const BIG: f64 = 1e300;

settings! {
    Enabled "enabled" "yes" Flag, "no: archive only";
    Min "min" "-" Limit, "readings below are abnormal";
    Max "max" "-" Limit, "readings above are abnormal";
    CriticalMin "critical-min" "-" Limit, "readings below are critical";
    CriticalMax "critical-max" "-" Limit, "readings above are critical";
    Zscore "zscore" "off" Threshold, "k: beyond k standard deviations of the last `window` readings, the reading itself excluded";
    Mad "mad" "off" Threshold, "k: robust z-score (0.6745·|x−median|/MAD) beyond k over the same window";
    Ewma "ewma" "off" Threshold, "k: deviation from the exponentially weighted mean in its own standard deviations";
    Alpha "alpha" "0.05" Number(1e-6, 1.0), "weight of a reading in `ewma`";
    Rate "rate" "off" Threshold, "largest allowed change per second";
    Cusum "cusum" "off" Threshold, "h: two-sided cumulative sum in standard deviations";
    Drift "drift" "0.5" Number(0.0, 100.0), "k of `cusum`: the drift that is allowed for";
    Auto "auto" "on" Switch, "the parameter-free detector; unless set, off where a limit or another statistical detector is set";
    Season "season" "86400000" Count(1000, YEARS_100), "ms: period of the cycle that `auto` learns";
    Stuck "stuck" "off" Timeout, "ms without any change of value";
    Nodata "nodata" "off" Timeout, "ms without a reading, by the server's clock";
    Expire "expire" "off" Timeout, "ms without a reading after which the sensor is forgotten; its series stays";
    Window "window" "30" Count(2, 10_000), "readings that `zscore` and `mad` compare with";
    Critical "critical" "1.5" Number(1.0, 1e6), "a statistic at this multiple of its threshold is critical, not a warning";
    Direction "direction" "both" Direction, "both, high or low: the side that is watched";
    Mindev "mindev" "0" Number(0.0, BIG), "deviations smaller than this, in the sensor's unit, never fire (fixed limits apart)";
    Warmup "warmup" "-" OptionalCount(0, 1_000_000), "readings before a statistical detector may fire; -: its own (zscore, mad: the window, at most 30; ewma: 30; cusum: 50; rate: 1; stuck needs none)";
    Learn "learn" "yes" Flag, "no: anomalous readings do not enter the baseline";
    For "for" "1" Count(1, 10_000), "consecutive abnormal readings before an episode fires";
    Clear "clear" "3" Count(1, 10_000), "consecutive normal readings before it is resolved";
    ClearMargin "clear-margin" "0" Number(0.0, BIG), "how far inside a crossed limit a reading must be to count as normal (hysteresis)";
    Cooldown "cooldown" "0" Count(0, YEARS_100), "ms after resolved in which the sensor does not fire again (the episode is reopened silently)";
    Repeat "repeat" "0" Count(0, YEARS_100), "ms between reminders while firing and not acknowledged; 0: none";
    Budget "budget" "2592000000" Count(1000, YEARS_100), "ms: `auto` gives about one alert per sensor in this long on clean data";
    Archive "archive" "yes" Flag, "write readings to the series";
    Retention "retention" "0" Count(0, YEARS_100), "ms kept in a new series; 0: all";
    ChunkSize "chunk-size" "1024" ChunkSize, "bytes of a chunk of a new series";
    Recent "recent" "0" Count(0, 10_000), "readings kept in the model for window statistics, trend and sparkline";
    Unit "unit" "" Text(32), "shown in reasons and alerts";
}

impl Setting {
    /// The setting of that name, in any case.
    ///
    /// # Errors
    /// [`Error::UnknownSetting`] with the nearest name.
    pub fn named(name: &[u8]) -> Result<Self, Error> {
        let found = Self::ALL
            .iter()
            .find(|s| name.eq_ignore_ascii_case(s.spec().name.as_bytes()));
        found.copied().ok_or_else(|| Error::UnknownSetting {
            given: name.to_vec(),
            nearest: nearest(name),
        })
    }

    /// Reads a value of this setting; `None` means `inherit`: leave it to less specific rules.
    ///
    /// # Errors
    /// [`Error::SettingValue`].
    pub fn parse(self, given: &[u8]) -> Result<Option<Value>, Error> {
        if given.eq_ignore_ascii_case(b"inherit") {
            return Ok(None);
        }
        let Spec { name, domain, .. } = self.spec();
        let value = std::str::from_utf8(given)
            .ok()
            .and_then(|text| domain.parse(text))
            .ok_or_else(|| Error::SettingValue {
                name,
                given: given.to_vec(),
                expected: domain.expected(),
            })?;
        Ok(Some(value))
    }

    /// Its default.
    #[must_use]
    pub fn default_value(self) -> Value {
        let Spec {
            domain, default, ..
        } = self.spec();
        domain.parse(default).unwrap_or(Value::Off)
    }
}

impl Domain {
    fn parse(self, text: &str) -> Option<Value> {
        let off = text.eq_ignore_ascii_case("off");
        let finite = || text.parse::<f64>().ok().filter(|x| x.is_finite());
        let whole = || {
            text.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| text.parse::<u64>().ok())
                .flatten()
        };
        let word = |yes: &str, no: &str| {
            [(yes, true), (no, false)]
                .into_iter()
                .find(|(w, _)| text.eq_ignore_ascii_case(w))
                .map(|(_, is)| is)
        };
        match self {
            Self::Flag => word("yes", "no").map(Value::Flag),
            Self::Switch => word("on", "off").map(Value::Switch),
            Self::Limit if text == "-" => Some(Value::Off),
            Self::Limit => finite().map(Value::Number),
            Self::Threshold | Self::Timeout if off => Some(Value::Off),
            Self::Threshold => finite().filter(|x| *x > 0.0).map(Value::Number),
            Self::Timeout => whole().filter(|ms| *ms > 0).map(Value::Count),
            Self::Number(low, high) => finite()
                .filter(|x| (low..=high).contains(x))
                .map(Value::Number),
            Self::OptionalCount(..) if text == "-" => Some(Value::Off),
            Self::Count(low, high) | Self::OptionalCount(low, high) => whole()
                .filter(|n| (low..=high).contains(n))
                .map(Value::Count),
            Self::ChunkSize => whole()
                .filter(|n| (48..=1_048_576).contains(n) && n.is_multiple_of(8))
                .map(Value::Count),
            Self::Direction => [Direction::Both, Direction::High, Direction::Low]
                .into_iter()
                .find(|d| text.eq_ignore_ascii_case(direction_word(*d)))
                .map(Value::Direction),
            Self::Text(most) => (text.len() <= most && !text.chars().any(char::is_control))
                .then(|| Value::Text(text.to_owned())),
        }
    }

    /// What would be right, for an error.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Flag => "yes or no".into(),
            Self::Switch => "on or off".into(),
            Self::Limit => "a finite number, or - for none".into(),
            Self::Threshold => "a number above 0, or off".into(),
            Self::Timeout => "milliseconds above 0, or off".into(),
            Self::Number(low, high) => format!("a number from {} to {}", number(low), number(high)),
            Self::Count(low, high) => format!("a whole number from {low} to {high}"),
            Self::OptionalCount(low, high) => {
                format!("a whole number from {low} to {high}, or - for the detector's own")
            }
            Self::ChunkSize => "a multiple of 8 from 48 to 1048576".into(),
            Self::Direction => "both, high or low".into(),
            Self::Text(most) => format!("at most {most} bytes of printable text"),
        }
    }
}

impl Value {
    /// The value as users write it.
    #[must_use]
    pub fn text(&self, domain: Domain) -> String {
        match self {
            Self::Off if matches!(domain, Domain::Limit | Domain::OptionalCount(..)) => "-".into(),
            Self::Off | Self::Switch(false) => "off".into(),
            Self::Switch(true) => "on".into(),
            Self::Flag(true) => "yes".into(),
            Self::Flag(false) => "no".into(),
            Self::Number(x) => number(*x),
            Self::Count(n) => n.to_string(),
            Self::Direction(d) => direction_word(*d).into(),
            Self::Text(text) => text.clone(),
        }
    }
}

fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Both => "both",
        Direction::High => "high",
        Direction::Low => "low",
    }
}

/// The setting whose name is the fewest edits away.
fn nearest(given: &[u8]) -> &'static str {
    let given = given.get(..32).unwrap_or(given).to_ascii_lowercase();
    let names = Setting::ALL.iter().map(|s| s.spec().name);
    names
        .min_by_key(|name| edits(name.as_bytes(), &given))
        .unwrap_or("max")
}

/// Levenshtein distance of two short names.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let best = (left + 1)
                .min(*cell + 1)
                .min(diagonal + usize::from(x != y));
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_setting_and_is_written_as_documented() {
        for setting in Setting::ALL {
            let spec = setting.spec();
            let value = setting.parse(spec.default.as_bytes()).unwrap().unwrap();
            assert_eq!(value.text(spec.domain), spec.default, "{}", spec.name);
            assert_eq!(value, setting.default_value());
        }
    }

    #[test]
    fn a_misspelt_setting_is_answered_with_the_nearest_name() {
        for (given, nearest) in [
            ("zscor", "zscore"),
            ("maximum", "max"),
            ("critical_max", "critical-max"),
            ("UNITS", "unit"),
        ] {
            assert_eq!(
                Setting::named(given.as_bytes()),
                Err(Error::UnknownSetting {
                    given: given.into(),
                    nearest
                }),
                "{given}"
            );
        }
        assert_eq!(Setting::named(b"MAX"), Ok(Setting::Max));
    }

    #[test]
    fn values_outside_their_domain_are_refused() {
        for (setting, bad) in [
            (Setting::Max, "high"),
            (Setting::Max, "nan"),
            (Setting::Zscore, "0"),
            (Setting::Zscore, "-3"),
            (Setting::Window, "1"),
            (Setting::Window, "10001"),
            (Setting::Window, "3.5"),
            (Setting::ChunkSize, "100"),
            (Setting::Enabled, "maybe"),
            (Setting::Unit, "a\nb"),
            (Setting::Direction, "up"),
            (Setting::Cooldown, "-1"),
        ] {
            assert!(
                matches!(
                    setting.parse(bad.as_bytes()),
                    Err(Error::SettingValue { .. })
                ),
                "{setting:?} {bad}"
            );
        }
        assert!(Setting::Unit.parse(b"\xff").is_err());
        assert_eq!(Setting::Max.parse(b"Inherit"), Ok(None));
        assert_eq!(Setting::Max.parse(b"-"), Ok(Some(Value::Off)));
    }
}

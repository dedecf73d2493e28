//! Figures: what many runs come to, and the bars they are held against.

/// What one run, that is one seed, adds to a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The count or the quantity.
    pub(crate) of: f64,
    /// What a count is out of: days, alarms, 1.
    pub(crate) out_of: f64,
}

impl Sample {
    /// So many out of so many.
    pub(crate) fn ratio(of: usize, out_of: f64) -> Self {
        Self {
            of: of as f64,
            out_of,
        }
    }

    /// One of the things that are averaged, sorted or compared.
    pub(crate) fn value(of: f64) -> Self {
        Self { of, out_of: 1.0 }
    }

    /// Whether it happened in this run.
    pub(crate) fn whether(happened: bool) -> Self {
        Self::value(f64::from(u8::from(happened)))
    }
}

/// How runs come to one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Of {
    /// All counts over all they are out of.
    Mean,
    /// The same in per cent.
    Percent,
    /// The same, where what it is out of counts as at least this much per run.
    Times(f64),
    /// What 99 in 100 runs stay at or below.
    P99,
    /// The highest.
    Max,
    /// The middle one; a run in which it never happened is infinite.
    Median,
}

impl Of {
    /// The figure; NaN without a run.
    pub(crate) fn figure(self, samples: &[Sample]) -> f64 {
        let of: f64 = samples.iter().map(|sample| sample.of).sum();
        let out_of: f64 = samples.iter().map(|sample| sample.out_of).sum();
        match self {
            Self::Mean => of / out_of,
            Self::Percent => 100.0 * of / out_of,
            Self::Times(least) => of / out_of.max(least * samples.len() as f64),
            Self::P99 => rank(samples, 0.99),
            Self::Max => rank(samples, 1.0),
            Self::Median => rank(samples, 0.5),
        }
    }
}

/// The smallest value that this share of the runs stays at or below.
fn rank(samples: &[Sample], share: f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(|sample| sample.of).collect();
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// What a figure must keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    /// Whether it does. NaN never does.
    pub(crate) fn met(self, figure: f64) -> bool {
        match self {
            Self::AtMost(bar) => figure <= bar,
            Self::AtLeast(bar) => figure >= bar,
        }
    }

    /// `≤ 0.1`
    pub(crate) fn text(self) -> String {
        match self {
            Self::AtMost(bar) => format!("≤ {bar}"),
            Self::AtLeast(bar) => format!("≥ {bar}"),
        }
    }
}

/// A figure of a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// What is measured, with its unit.
    pub(crate) what: &'static str,
    pub(crate) of: Of,
    pub(crate) bar: Bar,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(of: &[f64]) -> Vec<Sample> {
        of.iter().map(|x| Sample::value(*x)).collect()
    }

    #[test]
    fn one_run_in_a_hundred_may_be_worse_than_p99() {
        let mut runs = vec![1.0; 99];
        runs.push(7.0);
        assert_eq!(Of::P99.figure(&values(&runs)), 1.0);
        runs[0] = 7.0;
        assert_eq!(Of::P99.figure(&values(&runs)), 7.0);
        assert_eq!(Of::P99.figure(&values(&[0.0, 3.0])), 3.0);
    }

    #[test]
    fn a_median_delay_is_infinite_where_most_are_never_caught() {
        let never = f64::INFINITY;
        assert_eq!(Of::Median.figure(&values(&[never, 2.0, 1.0])), 2.0);
        assert_eq!(Of::Median.figure(&values(&[never, 2.0, never])), never);
    }

    #[test]
    fn rates_are_of_sums_and_small_ones_have_a_floor() {
        let runs = [Sample::ratio(1, 10.0), Sample::ratio(0, 30.0)];
        assert_eq!(Of::Mean.figure(&runs), 0.025);
        assert_eq!(Of::Percent.figure(&runs), 2.5);
        let rare = [
            Sample {
                of: 0.06,
                out_of: 0.0,
            },
            Sample {
                of: 0.0,
                out_of: 0.0,
            },
        ];
        assert_eq!(Of::Times(0.02).figure(&rare), 1.5);
    }

    #[test]
    fn no_runs_meet_no_bar() {
        for bar in [Bar::AtMost(1.0), Bar::AtLeast(0.0)] {
            assert!(!bar.met(Of::Mean.figure(&[])) && !bar.met(Of::Max.figure(&[])));
        }
    }
}

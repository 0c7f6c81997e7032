//! Medians and spreads of a few samples. Knows nothing of what they are samples of.

use serde::{Deserialize, Serialize};

/// The middle of some samples, and how far they spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The first quartile; of fewer than four samples the least.
    pub low: f64,
    /// The third quartile; of fewer than four samples the greatest.
    pub high: f64,
}

impl Spread {
    /// Of the samples that are numbers; `None` if there are none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|s| s.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let (low, high) =
            if sorted.len() < 4 { (first, last) } else { (at(&sorted, 0.25), at(&sorted, 0.75)) };
        Some(Spread { median: at(&sorted, 0.5), low, high })
    }

    /// The spread as a share of the median; 0 where the median is.
    pub fn relative(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.high - self.low) / self.median.abs() }
    }
}

/// The quantile `q` of sorted samples, between two of them by their distances (the definition 7 of Hyndman and Fan 1996, which
/// spreadsheets and numpy have).
fn at(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    match (sorted.get(below), sorted.get(below + 1)) {
        (Some(a), Some(b)) => a + (b - a) * part,
        (Some(a), None) => *a,
        _ => f64::NAN,
    }
}

/// The ratios of two rows of samples, round by round: only rounds that both have count, and so do only ratios to something.
pub fn ratios<'a>(
    ours: impl IntoIterator<Item = (usize, f64)> + 'a,
    theirs: &'a [(usize, f64)],
) -> impl Iterator<Item = (usize, f64)> + 'a {
    ours.into_iter().filter_map(|(round, value)| {
        let (_, base) = theirs.iter().find(|(r, _)| *r == round)?;
        (*base != 0.0).then_some((round, value / base))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(samples: &[f64]) -> (f64, f64, f64) {
        let s = Spread::of(samples).unwrap();
        (s.low, s.median, s.high)
    }

    #[test]
    fn known_samples() {
        assert_eq!(spread(&[3.0]), (3.0, 3.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0]), (1.0, 2.5, 4.0));
        assert_eq!(spread(&[9.0, 1.0, 2.0]), (1.0, 2.0, 9.0));
        assert_eq!(spread(&[5.0, 1.0, 4.0, 2.0, 3.0]), (2.0, 3.0, 4.0));
        // numpy.percentile([1, 2, 3, 10], [25, 50, 75]) = 1.75, 2.5, 4.75.
        assert_eq!(spread(&[10.0, 3.0, 2.0, 1.0]), (1.75, 2.5, 4.75));
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[f64::NAN]), None);
        assert_eq!(spread(&[f64::INFINITY, 2.0]), (2.0, 2.0, 2.0));
    }

    #[test]
    fn an_outlier_moves_no_median() {
        assert_eq!(spread(&[1.0, 1.0, 1.0, 1.0, 1_000.0]), (1.0, 1.0, 1.0));
        assert_eq!(Spread::of(&[0.0]).unwrap().relative(), 0.0);
        assert_eq!(Spread::of(&[1.0, 2.0, 3.0]).unwrap().relative(), 1.0);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let theirs = [(0, 2.0), (2, 4.0), (3, 0.0)];
        let ours = [(0, 1.0), (1, 9.0), (2, 6.0), (3, 1.0)];
        assert_eq!(ratios(ours, &theirs).collect::<Vec<_>>(), [(0, 0.5), (2, 1.5)]);
    }
}

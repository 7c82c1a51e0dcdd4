//! Sums over samples of /metrics.

/// Sums the samples of a metric whose labels contain `label`; an empty `label` matches all.
pub(super) fn sum(metrics: &str, name: &str, label: &str) -> f64 {
    metrics
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(series, _)| is_of(series, name) && series.contains(label))
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .sum()
}

fn is_of(series: &str, name: &str) -> bool {
    series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_are_summed_by_label() {
        let metrics =
            "# TYPE a counter\na{x=\"1\",w=\"0\"} 2\na{x=\"1\",w=\"1\"} 3\na{x=\"2\"} 4\nab 9\n";
        assert_eq!(sum(metrics, "a", "x=\"1\""), 5.0);
        assert_eq!(sum(metrics, "a", ""), 9.0);
        assert_eq!(sum(metrics, "b", ""), 0.0);
    }
}

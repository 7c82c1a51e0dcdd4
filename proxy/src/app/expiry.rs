//! Certificates whose end is near, told in the log once for each stage.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::observe::{ConfiguredCertificate, Metrics};

const DAY_S: i64 = 24 * 60 * 60;

/// How near the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Month,
    Week,
    Day,
    Ended,
}

impl Stage {
    /// `None` if the end is more than 30 days away.
    fn of(left_s: i64) -> Option<Stage> {
        let stages = [
            (0, Stage::Ended),
            (DAY_S, Stage::Day),
            (7 * DAY_S, Stage::Week),
            (30 * DAY_S, Stage::Month),
        ];
        stages.into_iter().find(|(at_most_s, _)| left_s <= *at_most_s).map(|(_, stage)| stage)
    }
}

/// What the log has said.
#[derive(Debug, Default)]
pub(super) struct ExpiryLog {
    said: HashMap<(String, Vec<String>, i64), Stage>,
}

impl ExpiryLog {
    /// Logs the certificates that have come to another stage since the last time.
    pub(super) fn look(&mut self, metrics: &Metrics) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let ending = metrics.certificates_ending_before(now_s.saturating_add(30 * DAY_S));
        for (certificate, stage) in self.news(&ending, now_s) {
            log(certificate, stage, now_s);
        }
    }

    /// Those to tell of. What is not among `ending` any more is forgotten.
    fn news<'c>(
        &mut self,
        ending: &'c [ConfiguredCertificate],
        now_s: i64,
    ) -> Vec<(&'c ConfiguredCertificate, Stage)> {
        let (mut said, mut news) = (HashMap::new(), Vec::new());
        for certificate in ending {
            let left_s = certificate.not_after_s.saturating_sub(now_s);
            let Some(stage) = Stage::of(left_s) else { continue };
            let ConfiguredCertificate { origin, names, not_after_s, .. } = certificate;
            let key = (origin.clone(), names.clone(), *not_after_s);
            if self.said.get(&key).is_none_or(|before| *before < stage) && !said.contains_key(&key)
            {
                news.push((certificate, stage));
            }
            said.insert(key, stage);
        }
        self.said = said;
        news
    }
}

fn log(certificate: &ConfiguredCertificate, stage: Stage, now_s: i64) {
    let names = certificate.names.join(", ");
    let (usage, origin) = (certificate.usage.as_str(), &certificate.origin);
    let not_after = certificate.not_after();
    let days_left = certificate.not_after_s.saturating_sub(now_s).div_euclid(DAY_S);
    match stage {
        Stage::Ended => {
            tracing::error!(names, usage, %origin, not_after, "a certificate has ended")
        }
        Stage::Day | Stage::Week => {
            tracing::warn!(names, usage, %origin, not_after, days_left, "a certificate ends soon");
        }
        Stage::Month => {
            tracing::info!(names, usage, %origin, not_after, days_left, "a certificate ends soon");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::CertificateUsage;

    fn certificate(name: &str, not_after_s: i64) -> ConfiguredCertificate {
        ConfiguredCertificate {
            names: vec![name.to_owned()],
            origin: format!("{name}.pem"),
            usage: CertificateUsage::Server,
            not_after_s,
        }
    }

    fn stages(log: &mut ExpiryLog, ending: &[ConfiguredCertificate], now_s: i64) -> Vec<Stage> {
        log.news(ending, now_s).into_iter().map(|(_, stage)| stage).collect()
    }

    #[test]
    fn each_stage_is_told_once() {
        let (mut log, end_s) = (ExpiryLog::default(), 100 * DAY_S);
        let ending = [certificate("a", end_s)];
        for (left_s, expected) in [
            (31 * DAY_S, vec![]),
            (30 * DAY_S, vec![Stage::Month]),
            (29 * DAY_S, vec![]),
            (7 * DAY_S, vec![Stage::Week]),
            (DAY_S, vec![Stage::Day]),
            (1, vec![]),
            (0, vec![Stage::Ended]),
            (-DAY_S, vec![]),
        ] {
            assert_eq!(stages(&mut log, &ending, end_s - left_s), expected, "{left_s} s left");
        }
    }

    #[test]
    fn a_certificate_that_was_renewed_is_another_one() {
        let mut log = ExpiryLog::default();
        assert_eq!(stages(&mut log, &[certificate("a", DAY_S)], 0), [Stage::Day]);
        assert_eq!(stages(&mut log, &[certificate("a", 7 * DAY_S)], 0), [Stage::Week]);
        let both = [certificate("a", 7 * DAY_S), certificate("b", 1)];
        assert_eq!(stages(&mut log, &both, 0), [Stage::Day]);
    }
}

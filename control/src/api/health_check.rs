//! Health-check settings as requests give them: what is left out takes AWS's
//! default for the group's protocol, or stays as it was.

use super::ApiError;
use crate::model::{CheckPort, CheckProtocol, HealthCheck, LbProtocol, Matcher};

/// What a probe is to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeProtocol {
    /// A TCP connection.
    Tcp,
    /// An HTTP request.
    Http,
}

/// Health-check settings of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthCheckSettings {
    /// `HealthCheckProtocol`
    pub protocol: Option<ProbeProtocol>,
    /// `HealthCheckPort`
    pub port: Option<CheckPort>,
    /// `HealthCheckPath` (HTTP)
    pub path: Option<String>,
    /// `Matcher.HttpCode` (HTTP)
    pub matcher: Option<String>,
    /// `HealthCheckIntervalSeconds`, 5–300
    pub interval_s: Option<u32>,
    /// `HealthCheckTimeoutSeconds`, 2–120
    pub timeout_s: Option<u32>,
    /// `HealthyThresholdCount`, 2–10
    pub healthy_threshold: Option<u32>,
    /// `UnhealthyThresholdCount`, 2–10
    pub unhealthy_threshold: Option<u32>,
}

impl HealthCheckSettings {
    /// The settings of a new group.
    ///
    /// # Errors
    /// `ValidationError` when a value is out of range or out of place.
    pub(crate) fn for_new(&self, protocol: LbProtocol) -> Result<HealthCheck, ApiError> {
        let geneve = protocol == LbProtocol::Geneve;
        let http = self.protocol == Some(ProbeProtocol::Http);
        let defaults = HealthCheck {
            protocol: CheckProtocol::Tcp,
            port: if geneve {
                CheckPort::Fixed(80)
            } else {
                CheckPort::Traffic
            },
            interval_s: if geneve { 10 } else { 30 },
            timeout_s: match (geneve, http) {
                (true, _) => 5,
                (false, true) => 6,
                (false, false) => 10,
            },
            healthy_threshold: 5,
            unhealthy_threshold: 2,
        };
        self.apply_to(&defaults)
    }

    /// The settings of a group that had `old`.
    ///
    /// # Errors
    /// As [`Self::for_new`].
    pub(crate) fn apply_to(&self, old: &HealthCheck) -> Result<HealthCheck, ApiError> {
        let check = HealthCheck {
            protocol: self.check_protocol(&old.protocol)?,
            port: self.port.unwrap_or(old.port),
            interval_s: self.interval_s.unwrap_or(old.interval_s),
            timeout_s: self.timeout_s.unwrap_or(old.timeout_s),
            healthy_threshold: self.healthy_threshold.unwrap_or(old.healthy_threshold),
            unhealthy_threshold: self.unhealthy_threshold.unwrap_or(old.unhealthy_threshold),
        };
        if check.port == CheckPort::Fixed(0) {
            return Err(invalid(
                "Health check port must be between 1 and 65535".into(),
            ));
        }
        in_range("interval", check.interval_s, 5, 300)?;
        in_range("timeout", check.timeout_s, 2, 120)?;
        in_range("healthy threshold count", check.healthy_threshold, 2, 10)?;
        in_range(
            "unhealthy threshold count",
            check.unhealthy_threshold,
            2,
            10,
        )?;
        if check.timeout_s >= check.interval_s {
            return Err(invalid(
                "Health check interval must be greater than the timeout.".into(),
            ));
        }
        Ok(check)
    }

    fn check_protocol(&self, old: &CheckProtocol) -> Result<CheckProtocol, ApiError> {
        let stays_http = matches!(old, CheckProtocol::Http { .. });
        let http = self
            .protocol
            .map_or(stays_http, |p| p == ProbeProtocol::Http);
        if !http {
            if self.path.is_some() || self.matcher.is_some() {
                return Err(invalid(
                    "Health check path and matcher need the HTTP health check protocol".into(),
                ));
            }
            return Ok(CheckProtocol::Tcp);
        }
        let (old_path, old_matcher) = match old {
            CheckProtocol::Http { path, matcher } => (path.clone(), matcher.clone()),
            CheckProtocol::Tcp => ("/".to_owned(), Matcher::default()),
        };
        let path = self.path.clone().unwrap_or(old_path);
        let printable = path.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.starts_with('/') || path.len() > 1024 || !printable {
            return Err(invalid(format!(
                "Health check path '{path}' must begin with '/' and hold at most 1024 \
                 printable characters"
            )));
        }
        let matcher = match &self.matcher {
            None => old_matcher,
            Some(text) => Matcher::parse(text).ok_or_else(|| {
                invalid(format!(
                    "Health check matcher HTTP code '{text}' must be codes or ranges such as \
                     '200,202' or '200-399'"
                ))
            })?,
        };
        Ok(CheckProtocol::Http { path, matcher })
    }
}

fn in_range(what: &str, value: u32, low: u32, high: u32) -> Result<(), ApiError> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(invalid(format!(
            "Health check {what} '{value}' must be between {low} and {high}"
        )))
    }
}

fn invalid(message: String) -> ApiError {
    ApiError::new("ValidationError", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_awss_for_each_kind_of_group() {
        let tcp = HealthCheckSettings::default();
        let http = HealthCheckSettings {
            protocol: Some(ProbeProtocol::Http),
            ..Default::default()
        };
        for (settings, group, port, interval, timeout) in [
            (&tcp, LbProtocol::Tcp, CheckPort::Traffic, 30, 10),
            (&http, LbProtocol::Tcp, CheckPort::Traffic, 30, 6),
            (&tcp, LbProtocol::Udp, CheckPort::Traffic, 30, 10),
            (&tcp, LbProtocol::Geneve, CheckPort::Fixed(80), 10, 5),
            (&http, LbProtocol::Geneve, CheckPort::Fixed(80), 10, 5),
        ] {
            let check = settings.for_new(group).unwrap();
            assert_eq!(check.port, port);
            assert_eq!((check.interval_s, check.timeout_s), (interval, timeout));
            assert_eq!((check.healthy_threshold, check.unhealthy_threshold), (5, 2));
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        type Change = fn(&mut HealthCheckSettings);
        let changes: [Change; 9] = [
            |s| s.interval_s = Some(4),
            |s| s.interval_s = Some(301),
            |s| s.timeout_s = Some(30),
            |s| s.healthy_threshold = Some(1),
            |s| s.unhealthy_threshold = Some(11),
            |s| s.path = Some("/tcp-has-no-path".into()),
            |s| s.port = Some(CheckPort::Fixed(0)),
            |s| {
                s.protocol = Some(ProbeProtocol::Http);
                s.path = Some("no-slash".into());
            },
            |s| {
                s.protocol = Some(ProbeProtocol::Http);
                s.matcher = Some("1-2".into());
            },
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut settings = HealthCheckSettings::default();
            change(&mut settings);
            let error = settings.for_new(LbProtocol::Tcp).unwrap_err();
            assert_eq!(error.code, "ValidationError", "{index}");
        }
    }

    #[test]
    fn what_a_change_leaves_out_stays() {
        let old = HealthCheckSettings {
            protocol: Some(ProbeProtocol::Http),
            path: Some("/a".into()),
            interval_s: Some(20),
            ..Default::default()
        };
        let old = old.for_new(LbProtocol::Tcp).unwrap();
        let change = HealthCheckSettings {
            unhealthy_threshold: Some(3),
            ..Default::default()
        };
        let new = change.apply_to(&old).unwrap();
        assert_eq!(new.unhealthy_threshold, 3);
        assert_eq!(
            HealthCheck {
                unhealthy_threshold: 2,
                ..new
            },
            old
        );
    }
}

//! Health checks of the flags.

use gantry_api_types::container::HealthConfig;

use crate::args::create::Container;

/// The health check; none if no flag speaks of it.
pub(super) fn check(flags: &Container) -> Result<Option<HealthConfig>, String> {
    let asked = !flags.health_cmd.is_empty()
        || [
            flags.health_interval,
            flags.health_timeout,
            flags.health_start_period,
            flags.health_start_interval,
            flags.health_retries,
        ]
        .iter()
        .any(|value| *value != 0);
    if flags.no_healthcheck {
        if asked {
            return Err("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        return Ok(Some(HealthConfig {
            test: vec!["NONE".to_owned()],
            ..HealthConfig::default()
        }));
    }
    if !asked {
        return Ok(None);
    }
    for (name, value) in [
        ("--health-interval", flags.health_interval),
        ("--health-timeout", flags.health_timeout),
        ("--health-retries", flags.health_retries),
        ("--health-start-period", flags.health_start_period),
        ("--health-start-interval", flags.health_start_interval),
    ] {
        if value < 0 {
            return Err(format!("{name} cannot be negative"));
        }
    }
    Ok(Some(HealthConfig {
        test: match flags.health_cmd.as_str() {
            "" => Vec::new(),
            command => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        interval: flags.health_interval,
        timeout: flags.health_timeout,
        start_period: flags.health_start_period,
        start_interval: flags.health_start_interval,
        retries: flags.health_retries,
    }))
}

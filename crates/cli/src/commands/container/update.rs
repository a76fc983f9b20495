//! `update`.

use gantry_api_types::container::{RestartPolicy, UpdateConfig};
use gantry_opts::restart;

use crate::args::container::Update;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome, for_each};

/// Runs it.
pub(crate) async fn run(context: &Context, args: Update) -> Outcome {
    let config = config(&args)?;
    if config == UpdateConfig::default() {
        return Err(Failure::new(
            "you must provide one or more flags when using this command",
        ));
    }
    let mut warnings = Vec::new();
    let done = for_each(&args.containers, async |name| {
        let response = context.client.container_update(name, &config).await?;
        warnings.extend(response.warnings);
        Ok(())
    })
    .await;
    for warning in warnings {
        console::error_line(&warning);
    }
    done
}

fn config(args: &Update) -> Outcome<UpdateConfig> {
    let policy = restart::parse(&args.restart).map_err(|error| Failure::new(error.to_string()))?;
    Ok(UpdateConfig {
        blkio_weight: args.blkio_weight,
        cpu_period: args.cpu_period,
        cpu_quota: args.cpu_quota,
        cpu_shares: args.cpu_shares,
        nano_cpus: args.cpus,
        cpuset_cpus: args.cpuset_cpus.clone(),
        cpuset_mems: args.cpuset_mems.clone(),
        memory: args.memory,
        memory_reservation: args.memory_reservation,
        memory_swap: args.memory_swap,
        pids_limit: args.pids_limit,
        restart_policy: RestartPolicy {
            name: policy.name,
            maximum_retry_count: policy.retries,
        },
        ..UpdateConfig::default()
    })
}

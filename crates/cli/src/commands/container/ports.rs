//! `port`, and how ports are shown in a list.

use std::collections::BTreeMap;

use gantry_api_types::container::Port;

use crate::args::container::Port as Args;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Runs `port`.
pub(crate) async fn run(context: &Context, args: Args) -> Outcome {
    let container = context.client.container_inspect(&args.container).await?;
    let ports = &container.network_settings.ports;
    let joined = |ip: &str, port: &str| match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    };
    if let Some(wanted) = &args.port {
        let whole = if wanted.contains('/') {
            wanted.clone()
        } else {
            format!("{wanted}/tcp")
        };
        let bindings = ports.get(&whole).cloned().flatten().unwrap_or_default();
        if bindings.is_empty() {
            return Err(Failure::new(format!(
                "Error: No public port '{wanted}' published for {}",
                args.container
            )));
        }
        for binding in bindings {
            console::line(&joined(&binding.host_ip, &binding.host_port));
        }
        return Ok(());
    }
    for (port, bindings) in ports {
        for binding in bindings.iter().flatten() {
            console::line(&format!(
                "{port} -> {}",
                joined(&binding.host_ip, &binding.host_port)
            ));
        }
    }
    Ok(())
}

/// Ports as a list shows them: neighbours as a range, then those that are published elsewhere.
pub(crate) fn shown(ports: &[Port]) -> String {
    let mut ports: Vec<&Port> = ports.iter().collect();
    ports.sort_by_key(|p| (p.private_port, p.ip.clone(), p.public_port, p.r#type.clone()));
    let host = |ip: &str, port: &str| match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    };
    let group = |(ip, kind): &(String, String), first: u16, last: u16| {
        let range = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        match ip.as_str() {
            "" => format!("{range}/{kind}"),
            ip => format!("{}->{range}/{kind}", host(ip, &range)),
        }
    };
    let mut groups: BTreeMap<(String, String), (u16, u16)> = BTreeMap::new();
    let mut order = Vec::new();
    let (mut out, mut elsewhere) = (Vec::new(), Vec::new());
    for port in ports {
        let number = port.private_port;
        if !port.ip.is_empty() && port.public_port != number {
            let at = host(&port.ip, &port.public_port.to_string());
            elsewhere.push(format!("{at}->{number}/{}", port.r#type));
            continue;
        }
        let key = (port.ip.clone(), port.r#type.clone());
        match groups.get_mut(&key) {
            None => {
                groups.insert(key.clone(), (number, number));
                order.push(key);
            }
            Some((_, last)) if *last + 1 == number => *last = number,
            Some(range) => {
                out.push(group(&key, range.0, range.1));
                *range = (number, number);
            }
        }
    }
    for key in order {
        let (first, last) = groups[&key];
        out.push(group(&key, first, last));
    }
    out.extend(elsewhere);
    out.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, private_port: u16, public_port: u16) -> Port {
        Port {
            ip: ip.into(),
            private_port,
            public_port,
            r#type: "tcp".into(),
        }
    }

    #[test]
    fn like_docker() {
        assert_eq!(shown(&[]), "");
        assert_eq!(
            shown(&[port("", 81, 0), port("", 80, 0), port("", 90, 0)]),
            "80-81/tcp, 90/tcp"
        );
        assert_eq!(
            shown(&[
                port("0.0.0.0", 80, 8080),
                port("::", 80, 8080),
                port("0.0.0.0", 81, 81)
            ]),
            "0.0.0.0:81->81/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
        );
    }
}

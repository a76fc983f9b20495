//! Volumes, mounts and file systems in memory of the flags.

use gantry_api_types::container::{
    BindOptions, Config, HostConfig, ImageOptions, Mount, MountDriver, TmpfsOptions, VolumeOptions,
};
use gantry_opts as opts;

use super::Inputs;
use crate::args::create::Container;

/// Adds them.
pub(super) fn apply(
    flags: &Container,
    inputs: &Inputs<'_>,
    config: &mut Config,
    host: &mut HostConfig,
) -> Result<(), String> {
    for text in &flags.volume {
        let volume = match opts::volume::parse(text) {
            Ok(volume) => volume,
            // What has more colons than that is for the engine to understand.
            Err(opts::volume::VolumeError::TooMany(_)) => {
                host.binds.push(text.clone());
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        match volume.source.as_deref() {
            None => {
                config
                    .volumes
                    .insert(text.clone(), Some(gantry_api_types::Empty {}));
            }
            Some(source) if source.starts_with('.') => {
                let rest = &text[source.len()..];
                host.binds.push(format!("{}{rest}", (inputs.absolute)(source)));
            }
            Some(_) => host.binds.push(text.clone()),
        }
    }
    for text in &flags.tmpfs {
        let (path, options) = opts::tmpfs::parse(text);
        host.tmpfs.insert(path.to_owned(), options.to_owned());
    }
    host.mounts = flags.mount.iter().map(|mount| converted(mount, inputs)).collect();
    Ok(())
}

fn converted(mount: &opts::mount::Mount, inputs: &Inputs<'_>) -> Mount {
    let source = if mount.source == "." || mount.source.starts_with("./") {
        (inputs.absolute)(&mount.source)
    } else {
        mount.source.clone()
    };
    Mount {
        r#type: mount.kind.clone(),
        source,
        target: mount.target.clone(),
        read_only: mount.read_only,
        consistency: mount.consistency.clone(),
        bind_options: mount.bind.as_ref().map(|bind| BindOptions {
            propagation: bind.propagation.clone(),
            non_recursive: bind.non_recursive,
            create_mountpoint: false,
            read_only_non_recursive: bind.read_only_non_recursive,
            read_only_force_recursive: bind.read_only_force_recursive,
        }),
        volume_options: mount.volume.as_ref().map(|volume| VolumeOptions {
            no_copy: volume.no_copy,
            labels: volume.labels.clone(),
            subpath: volume.subpath.clone(),
            driver_config: (!volume.driver.is_empty() || !volume.options.is_empty()).then(|| MountDriver {
                name: volume.driver.clone(),
                options: volume.options.clone(),
            }),
        }),
        image_options: mount.image_subpath.as_ref().map(|subpath| ImageOptions {
            subpath: subpath.clone(),
        }),
        tmpfs_options: mount.tmpfs.as_ref().map(|tmpfs| TmpfsOptions {
            size_bytes: tmpfs.size,
            mode: tmpfs.mode,
            options: Vec::new(),
        }),
    }
}

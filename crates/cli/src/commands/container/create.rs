//! `create`, and what `run` has in common with it: a container made of flags, its image pulled if it is
//! missing.

use std::path::Path;

use gantry_api_types::container::CreateRequest;
use gantry_client::Client;
use gantry_opts::image;

use crate::args::create::Create;
use crate::commands::image::pull;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::resolve::{self, Inputs, Pull, Resolved};

/// Runs it.
pub(crate) async fn run(context: &Context, args: Create) -> Outcome {
    let resolved = resolved(&args, "create")?;
    let id = create(&context.client, &args, &resolved, "create").await?;
    console::line(&id);
    Ok(())
}

/// What the flags ask for, read in this program's environment.
pub(crate) fn resolved(args: &Create, verb: &str) -> Outcome<Resolved> {
    let inputs = Inputs {
        env: &|name| std::env::var(name).ok(),
        read: &|path| std::fs::read(path),
        absolute: &absolute,
    };
    resolve::create(args, &inputs).map_err(|error| Failure::of_run(error, verb, 125))
}

/// A path from the root, without `.` and `..`, as Go cleans it.
fn absolute(path: &str) -> String {
    let joined = std::env::current_dir().unwrap_or_default().join(path);
    let mut out = std::path::PathBuf::new();
    for part in joined.components() {
        match part {
            std::path::Component::ParentDir => {
                out.pop();
            }
            std::path::Component::CurDir => {}
            part => out.push(part),
        }
    }
    out.to_string_lossy().into_owned()
}

/// Creates a container; its id.
pub(crate) async fn create(
    client: &Client,
    args: &Create,
    resolved: &Resolved,
    verb: &str,
) -> Outcome<String> {
    let request = &resolved.request;
    let cidfile = CidFile::open(&request.host_config.container_id_file)?;
    let image = image::parse_any(&request.config.image).map_err(|error| Failure {
        message: error.to_string(),
        code: 125,
    })?;
    let wrong = |error: &dyn std::fmt::Display| Failure::of_run(error, verb, 125);
    if resolved.pull == Pull::Always
        && let Some(image) = &image
    {
        fetch(client, image, args).await.map_err(|f| wrong(&f.message))?;
    }
    let created = match attempt(client, args, request).await {
        Err(error) if error.is_not_found() && resolved.pull == Pull::Missing && image.is_some() => {
            let Some(image) = &image else {
                return Err(wrong(&error));
            };
            if !args.quiet {
                console::error_line(&format!("Unable to find image '{}' locally", image.familiar));
            }
            fetch(client, image, args).await.map_err(|f| wrong(&f.message))?;
            attempt(client, args, request).await
        }
        other => other,
    };
    let created = created.map_err(|error| wrong(&error))?;
    for warning in &created.warnings {
        console::error_line(&format!("WARNING: {warning}"));
    }
    if let Some(cidfile) = cidfile {
        cidfile.write(&created.id)?;
    }
    Ok(created.id)
}

async fn attempt(
    client: &Client,
    args: &Create,
    request: &CreateRequest,
) -> gantry_client::Result<gantry_api_types::container::CreateResponse> {
    client.container_create(&args.name, &args.platform, request).await
}

async fn fetch(client: &Client, image: &image::Name, args: &Create) -> Outcome {
    pull::fetch(client, image, &args.platform, args.quiet, true).await
}

/// The file that gets the container's id; it is made before the container, so that two cannot share one.
struct CidFile {
    path: String,
    written: bool,
}

impl CidFile {
    fn open(path: &str) -> Outcome<Option<CidFile>> {
        if path.is_empty() {
            return Ok(None);
        }
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path);
        match made {
            Ok(_) => Ok(Some(CidFile {
                path: path.to_owned(),
                written: false,
            })),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure {
                message: format!(
                    "container ID file found, make sure the other container isn't running or delete {path}"
                ),
                code: 125,
            }),
            Err(error) => Err(Failure {
                message: format!(
                    "failed to create the container ID file: open {path}: {}",
                    resolve::os_reason(&error)
                ),
                code: 125,
            }),
        }
    }

    fn write(mut self, id: &str) -> Outcome {
        std::fs::write(Path::new(&self.path), id).map_err(|error| {
            Failure::new(format!(
                "failed to write the container ID ({id}) to file: {error}"
            ))
        })?;
        self.written = true;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.written {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

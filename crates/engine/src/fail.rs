//! The engine's errors that several rooms raise, in Docker's words. Nothing but texts and kinds.

use gantry_errdefs::{Error, Kind};

/// 404.
pub(crate) fn no_such_container(reference: &str) -> Error {
    Error::not_found(format!("No such container: {reference}"))
}

/// 409.
pub(crate) fn not_running(id: &str) -> Error {
    Error::failed_precondition(format!("container {id} is not running"))
}

/// 409.
pub(crate) fn name_in_use(name: &str, id: &str) -> Error {
    Error::failed_precondition(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or \
         rename) that container to be able to reuse that name."
    ))
}

/// The error of a peer with its whole chain as the message: what people see is one line.
pub(crate) fn flat(error: Error) -> Error {
    Error::new(error.kind(), error.chain())
}

/// [`flat`] with words in front.
pub(crate) fn during(what: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("{what}: {}", error.chain()))
}

/// Says which file an error of the operating system was about.
pub(crate) fn on_path(what: &str, path: &std::path::Path, error: std::io::Error) -> Error {
    Error::new(Kind::Internal, format!("{what} {}: {error}", path.display()))
}

/// What is already gone counts as removed.
pub(crate) fn gone<T: Default>(result: Result<T, Error>) -> Result<T, Error> {
    match result {
        Err(error) if error.kind() == Kind::NotFound => Ok(T::default()),
        other => other,
    }
}

/// 409.
pub(crate) fn restarting(id: &str) -> Error {
    Error::failed_precondition(format!(
        "Container {id} is restarting, wait until the container is running"
    ))
}

/// The error of a task as dockerd passes on containerd's: with the word for its code at the end.
pub(crate) fn of_task(what: &str, error: Error) -> Error {
    let mut message = error.chain();
    if !what.is_empty() {
        message = format!("{what}: {message}");
    }
    if error.kind() == Kind::Internal && !message.ends_with(": unknown") {
        message.push_str(": unknown");
    }
    Error::new(error.kind(), message)
}

//! What a pull tells, message by message, as Docker does. Knows no registry.

use std::time::{Duration, Instant};

use gantry_api_types::progress::Message;
use gantry_oci::Descriptor;
use tokio::sync::mpsc;

/// How often progress in bytes is told.
const EVERY: Duration = Duration::from_millis(100);

/// Where the messages of one layer go.
pub(super) struct Report {
    to: mpsc::Sender<Message>,
    id: String,
    total: u64,
    last: Option<Instant>,
}

impl Report {
    pub(super) fn new(to: &mpsc::Sender<Message>, layer: &Descriptor) -> Self {
        Self {
            to: to.clone(),
            id: layer.digest.hex().chars().take(12).collect(),
            total: layer.size,
            last: None,
        }
    }

    /// One word. When nobody listens any more, the pull is about to be ended.
    pub(super) async fn say(&self, status: &str) {
        let _ = self.to.send(Message::part(&self.id, status)).await;
    }

    /// So many bytes are done; told now and then, and left out when the listener is slow.
    pub(super) fn bytes(&mut self, status: &str, done: u64) {
        if self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let message = Message::progress(&self.id, status, number(done), number(self.total));
        let _ = self.to.try_send(message);
    }
}

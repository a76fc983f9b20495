//! Waiting for what becomes of a container.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gantry_api_types::container::WaitResponse;

use super::Container;
use crate::{Engine, Result, WaitCondition};

/// The end of a wait, a future without ties to the engine's borrow.
pub type Wait = BoxFuture<'static, WaitResponse>;

impl Engine {
    /// Begins to wait: what happens from now on counts.
    pub async fn container_wait(&self, reference: &str, condition: WaitCondition) -> Result<Wait> {
        let container = self.find(reference)?;
        Ok(wait(container, condition).boxed())
    }
}

fn wait(
    container: Arc<Container>,
    condition: WaitCondition,
) -> impl Future<Output = WaitResponse> + Send + 'static {
    let mut changes = container.changes.subscribe();
    let before = container.read(|record| record.state.exits);
    async move {
        loop {
            let gone = *changes.borrow_and_update();
            let (running, exits, state) = container.read(|record| {
                (
                    record.state.status.is_up(),
                    record.state.exits,
                    record.state.clone(),
                )
            });
            let over = match condition {
                WaitCondition::NotRunning => !running || gone,
                WaitCondition::NextExit => exits > before || gone,
                WaitCondition::Removed => gone,
            };
            if over {
                // Why a start failed is the answer to the start, not to the wait.
                return WaitResponse {
                    error: None,
                    status_code: state.exit_code,
                };
            }
            if changes.changed().await.is_err() {
                return WaitResponse {
                    error: None,
                    status_code: state.exit_code,
                };
            }
        }
    }
}

//! What all pulls share: the client, the number of downloads, work that two of them want done, and what may not be
//! removed meanwhile. Knows no registry and no image.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use gantry_registry::{Client, Settings};
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};

use crate::Config;
use crate::container::lock;

/// How many layers are fetched at once, as in Docker.
const DOWNLOADS: usize = 3;

/// Pulls under way.
pub(crate) struct Pulls {
    client: OnceLock<Client>,
    pub(super) downloads: Semaphore,
    /// Blobs and layers that are worked on, by digest.
    works: Mutex<HashMap<String, Weak<Work>>>,
    /// Digests that pulls count on, and how many do.
    pins: Arc<Mutex<HashMap<String, usize>>>,
}

impl Default for Pulls {
    fn default() -> Self {
        Self {
            client: OnceLock::new(),
            downloads: Semaphore::new(DOWNLOADS),
            works: Mutex::default(),
            pins: Arc::default(),
        }
    }
}

/// Something that is done once though several want it.
pub(in crate::image) struct Work {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How far it is, in bytes.
    pub(super) done: watch::Sender<u64>,
}

impl Work {
    /// Waits until nobody else does it; whoever gets the turn looks first whether it is done.
    pub(in crate::image) async fn turn(&self) -> OwnedMutexGuard<()> {
        self.turn.clone().lock_owned().await
    }
}

/// Digests that are not removed while this is there.
pub(super) struct Pin {
    pins: Arc<Mutex<HashMap<String, usize>>>,
    digests: Vec<String>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = lock(&self.pins);
        for digest in &self.digests {
            if let Some(count) = pins.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    pins.remove(digest);
                }
            }
        }
    }
}

impl Pulls {
    pub(super) fn client(&self, config: &Config) -> &Client {
        self.client.get_or_init(|| {
            Client::new(Settings {
                insecure: config.insecure_registries.clone(),
                user_agent: format!("gantry/{} (linux)", config.version),
                ..Settings::default()
            })
        })
    }

    /// The work on a digest.
    pub(in crate::image) fn work(&self, digest: &str) -> Arc<Work> {
        let mut works = lock(&self.works);
        if let Some(work) = works.get(digest).and_then(Weak::upgrade) {
            return work;
        }
        works.retain(|_, work| work.strong_count() > 0);
        let work = Arc::new(Work {
            turn: Arc::default(),
            done: watch::channel(0).0,
        });
        works.insert(digest.to_owned(), Arc::downgrade(&work));
        work
    }

    /// Keeps digests from being removed. Whoever removes holds the lock on images, so must the caller.
    pub(super) fn pin(&self, digests: Vec<String>) -> Pin {
        let mut pins = lock(&self.pins);
        for digest in &digests {
            *pins.entry(digest.clone()).or_default() += 1;
        }
        Pin {
            pins: self.pins.clone(),
            digests,
        }
    }

    /// Whether a pull counts on it.
    pub(in crate::image) fn is_pinned(&self, digest: &str) -> bool {
        lock(&self.pins).contains_key(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_shared_while_somebody_wants_it() {
        let pulls = Pulls::default();
        let one = pulls.work("a");
        assert!(Arc::ptr_eq(&one, &pulls.work("a")));
        assert!(!Arc::ptr_eq(&one, &pulls.work("b")));
        let turn = one.turn().await;
        assert!(pulls.work("a").turn.try_lock().is_err());
        drop((turn, one));
        pulls.work("c");
        assert_eq!(lock(&pulls.works).len(), 1);
    }

    #[test]
    fn pins_count() {
        let pulls = Pulls::default();
        let one = pulls.pin(vec!["a".to_owned(), "b".to_owned()]);
        let two = pulls.pin(vec!["a".to_owned()]);
        drop(one);
        assert!(pulls.is_pinned("a") && !pulls.is_pinned("b"));
        drop(two);
        assert!(!pulls.is_pinned("a"));
    }
}

//! Removes what is left of jobs that are gone: notes, and the folders of proofs.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use myriad_core::JobId;
use tokio::{task::spawn_blocking, time::interval};

use super::jobs::{Jobs, parse_id};

/// Most jobs without a record that are remembered: they failed before anything was kept of them.
const FAILED_MAX: usize = 1000;
/// Most folders that are looked at at once.
const FOLDERS_MAX: usize = 100_000;
/// The pause between two looks.
const EACH: Duration = Duration::from_secs(60 * 60);

impl Jobs {
    /// Tidies up now, and then every hour.
    pub(crate) async fn keep_tidy(self: Arc<Self>) {
        let mut turns = interval(EACH);
        loop {
            turns.tick().await;
            let this = Arc::clone(&self);
            if spawn_blocking(move || this.tidy(FAILED_MAX)).await.is_err() {
                tracing::error!("a bug in myriad kept what is left of old jobs from being removed");
            }
        }
    }

    /// Removes what is left of jobs whose records are gone, but for so many that have failed.
    pub(super) fn tidy(&self, failed_max: usize) {
        let mut failed = 0;
        for id in self.board.ids() {
            // Held, so that the job is not submitted meanwhile.
            let live = self.live();
            if live.contains_key(&id) || self.board.is_in_mind(id) || self.has_record(id) {
                continue;
            }
            if self.board.has_failed(id) && failed < failed_max {
                failed += 1;
            } else {
                self.board.forget(id);
            }
        }
        let folders = match fs::read_dir(self.proofs()) {
            Ok(folders) => folders,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "the folders of proofs cannot be listed");
                }
                return;
            }
        };
        for folder in folders.take(FOLDERS_MAX).flatten() {
            if let Some(id) = folder.file_name().to_str().and_then(parse_id) {
                self.tidy_folder(id, &folder.path());
            }
        }
    }

    fn tidy_folder(&self, id: JobId, folder: &Path) {
        let live = self.live();
        if live.contains_key(&id) {
            return;
        }
        // One that is empty is made again when it is needed.
        if fs::remove_dir(folder).is_ok() || self.board.is_in_mind(id) || self.has_record(id) {
            return;
        }
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(job = %id, %error, "the proof of a job that is gone cannot be removed");
            }
            _ => {}
        }
    }

    /// Whether the node has anything of a job. Where that cannot be told, it has.
    fn has_record(&self, id: JobId) -> bool {
        let dir = self.data_dir.join("jobs").join(id.to_string());
        !matches!(dir.try_exists(), Ok(false))
    }
}

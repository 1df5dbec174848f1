//! The folder of `carillon dev`: its lock, its database, its tokens.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::args::DevArgs;
use crate::failure::{Failure, Outcome};

/// The name of the file whose lock says that a process uses the folder. It is never deleted: deleting a locked file would let a second
/// process lock another file of the same name.
const LOCK: &str = "lock";

/// Everything `--reset` deletes. The folder itself and what others put there stay.
const OURS: [&str; 7] = [
    "carillon.db",
    "carillon.db-wal",
    "carillon.db-shm",
    "admin.token",
    "worker.token",
    "worker.env",
    "samples.done",
];

/// A folder that this process alone uses, until it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    ephemeral: bool,
    _lock: File,
}

impl Folder {
    /// Takes the folder that the flags name.
    pub(crate) fn take(args: &DevArgs) -> Outcome<Self> {
        let path = match args.ephemeral {
            true => std::env::temp_dir().join(format!("carillon-{:016x}", rand::random::<u64>())),
            false => args.data.clone(),
        };
        let cannot = |doing: &str, error: std::io::Error| {
            Failure::Error(anyhow::anyhow!("cannot {doing} {}: {error}", path.display()))
        };
        create_private(&path).map_err(|error| cannot("make the folder", error))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path.join(LOCK))
            .map_err(|error| cannot("write in", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(path.join(LOCK)).unwrap_or_default();
                return Err(Failure::Conflict(format!(
                    "another `carillon dev` (process {}) uses {}; stop it, or give this one a folder of its own with --data",
                    pid.trim(),
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(cannot("lock", error)),
        }
        lock.set_len(0).and_then(|()| (&lock).write_all(format!("{}\n", std::process::id()).as_bytes()))?;
        let folder = Self { path, ephemeral: args.ephemeral, _lock: lock };
        if args.reset {
            folder.reset()?;
        }
        Ok(folder)
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("carillon.db")
    }

    /// The administrator's API token.
    pub(crate) fn admin_token(&self) -> PathBuf {
        self.path.join("admin.token")
    }

    /// The token for workers of the sample group.
    pub(crate) fn worker_token(&self) -> PathBuf {
        self.path.join("worker.token")
    }

    /// The same with everything else a worker needs, for a shell to read.
    pub(crate) fn worker_environment(&self) -> PathBuf {
        self.path.join("worker.env")
    }

    /// Whether the sample jobs were made once: whoever deletes them does not want them back.
    pub(crate) fn samples_done(&self) -> bool {
        self.path.join("samples.done").exists()
    }

    /// Notes that the sample jobs were made.
    pub(crate) fn note_samples_done(&self) -> Outcome {
        Ok(fs::write(self.path.join("samples.done"), "")?)
    }

    /// Where it is, for people.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn reset(&self) -> Outcome {
        for name in OURS {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.ephemeral {
            // Nothing is left to tell anybody; the system clears its temporary folder anyway.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Writes a secret so that only its owner can read it, whatever stood there before.
pub(crate) fn write_secret(path: &Path, secret: &str) -> Outcome {
    let mut options = File::options();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file.write_all(format!("{secret}\n").as_bytes())?)
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(data: &Path, reset: bool) -> DevArgs {
        DevArgs { data: data.to_owned(), ephemeral: false, reset, port: 0, no_samples: false }
    }

    #[test]
    fn a_folder_belongs_to_one_process_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let first = Folder::take(&args(place.path(), false)).unwrap();
        let refused = Folder::take(&args(place.path(), false)).unwrap_err();
        assert_eq!(refused.code(), 4);
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        Folder::take(&args(place.path(), false)).unwrap();
    }

    #[test]
    fn a_reset_deletes_what_is_ours_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        for name in ["carillon.db", "admin.token", "notes.txt"] {
            fs::write(place.path().join(name), "x").unwrap();
        }
        let folder = Folder::take(&args(place.path(), true)).unwrap();
        assert!(!folder.database().exists() && !folder.admin_token().exists());
        assert!(place.path().join("notes.txt").exists());
    }

    #[test]
    fn an_ephemeral_folder_is_gone_at_the_end() {
        let folder = Folder::take(&DevArgs { ephemeral: true, ..args(Path::new("unused"), false) }).unwrap();
        let path = folder.path().to_owned();
        assert!(path.exists());
        drop(folder);
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_is_for_its_owner_only_even_where_the_file_was_open_to_all() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("admin.token");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_secret(&path, "cri_pat_x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "cri_pat_x\n");
    }
}

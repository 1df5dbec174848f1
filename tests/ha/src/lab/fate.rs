//! What fate does to one process from below: its disk takes long to say that data are safe, its clocks are wrong.
//!
//! A library of a page of C, loaded before the system's (`LD_PRELOAD`), stands between a process and three answers of the system. Neither the
//! device mapper nor a throttled cgroup would do: most kernels lack the one, and the other does not slow a flush. What is tested stays the binary
//! of production, and with nothing set it sees nothing.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::network::run;
use crate::folder::Folder;
use crate::ledger;

/// The source, compiled where the harness runs: SQLite needs the same compiler to build Carillon at all.
const SOURCE: &str = include_str!("fate.c");

/// The variable that names the file of numbers. Not one of Carillon's own, which processes under test do not inherit.
const VARIABLE: &str = "TEST_FATE";

/// The library, and the folder of what it is told.
#[derive(Debug, Clone)]
pub struct Fate {
    library: PathBuf,
}

/// What is done to one process, or to several that share a fate; the file of numbers.
#[derive(Debug, Clone)]
pub struct Thread {
    library: PathBuf,
    file: PathBuf,
}

impl Fate {
    /// Compiles the library into a folder.
    pub(crate) fn build(folder: &Path) -> Result<Self, String> {
        let (source, library) = (folder.join("fate.c"), folder.join("fate.so"));
        fs::write(&source, SOURCE).map_err(|error| format!("{}: {error}", source.display()))?;
        let mut command = Command::new("cc");
        command.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
        run(command).map_err(|error| format!("a C compiler is needed: {error}"))?;
        Ok(Self { library })
    }

    /// A thread of fate whose numbers are in this file; nothing is done yet.
    pub(super) fn thread(&self, file: PathBuf) -> Thread {
        let (new, thread) = (!file.exists(), Thread { library: self.library.clone(), file });
        if new {
            thread.begin();
            thread.shift_time_of_day(0);
        }
        thread
    }

    /// Has a command, and all that it starts, live in a world whose time of day is off by so many milliseconds.
    pub(crate) fn shift_world(&self, command: &mut Command, folder: &Path, millis: i64) {
        let thread = Thread { library: self.library.clone(), file: folder.join("world.fate") };
        thread.begin();
        thread.set(1, millis * 1_000_000);
        thread.hold(command);
        command.env(ledger::WORLD, millis.to_string());
    }
}

impl Thread {
    fn begin(&self) {
        fs::write(&self.file, [0; 3 * size_of::<i64>()]).expect("the folder can be written");
    }

    /// Has a command, and what it starts, hang on it.
    pub(super) fn hold(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env(VARIABLE, &self.file);
    }

    /// From now on each flush takes so much longer.
    pub fn delay_flushes(&self, by: Duration) {
        self.set(0, i64::try_from(by.as_micros()).expect("a delay is short"));
    }

    /// From now on the time of day is off by so many milliseconds from that of the harness's world.
    pub fn shift_time_of_day(&self, millis: i64) {
        self.set(1, (ledger::world_ms() + millis) * 1_000_000);
    }

    /// The monotonic clock gains so many microseconds, for good: no system's runs backwards.
    pub fn gain_monotonic(&self, micros: u32) {
        let mut now = [0; size_of::<i64>()];
        let read = |file: File| file.read_exact_at(&mut now, 2 * size_of::<i64>() as u64);
        File::open(&self.file).and_then(read).expect("the folder can be read");
        self.set(2, i64::from_ne_bytes(now) + i64::from(micros) * 1_000);
    }

    fn set(&self, place: u64, value: i64) {
        // In place, since every process has mapped this very file.
        let write = |file: File| file.write_all_at(&value.to_ne_bytes(), place * size_of::<i64>() as u64);
        File::options().write(true).open(&self.file).and_then(write).expect("the folder can be written");
    }
}

/// A disk that can be filled: a file system of its own.
#[derive(Debug, Clone)]
pub struct Disk(PathBuf);

/// The file that takes what is left.
const FILLER: &str = "filler";

impl Disk {
    /// The file system that is mounted at a folder.
    pub(super) fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Mounts one of so many MiB.
    pub(super) fn mount(folder: &Folder, name: &str, megabytes: u32) -> Result<Self, String> {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        super::network::shell(&format!("mount -t tmpfs -o size={megabytes}m none '{}'", path.display()))?;
        folder.at_end(&format!("umount -l '{}'", path.display()));
        Ok(Self(path))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves no byte.
    pub fn fill(&self) {
        // Reserved as a whole, then what others freed meanwhile, in the smallest pieces.
        let fill = "size=$(df --output=avail -B1 . | tail -n 1); fallocate -l \"$size\" filler; \
                    until ! dd if=/dev/zero bs=4096 count=64 >>filler 2>/dev/null; do :; done";
        crate::wait::blocking(|| {
            super::network::shell(&format!("cd '{}' && {fill}", self.0.display()))
                .unwrap_or_else(|error| panic!("a disk cannot be filled: {error}"))
        });
    }

    /// Frees what [`Self::fill`] took.
    pub fn free(&self) {
        // Nothing was taken: nothing to free.
        let _ = fs::remove_file(self.0.join(FILLER));
    }
}

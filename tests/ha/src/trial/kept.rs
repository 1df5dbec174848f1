//! Results on disk, a file for each trial, so that the figures of many hours can be gathered in pieces, on several days and machines.

use std::fs;
use std::path::{Path, PathBuf};

use super::report::{Build, Outcome};

/// Writes a trial's result into a folder of results; its name says which one it is.
pub fn write(folder: &Path, outcome: &Outcome) -> Result<PathBuf, String> {
    let path = folder.join(format!("{}-{}.json", outcome.case, outcome.seed));
    let text = serde_json::to_vec_pretty(outcome).map_err(|error| error.to_string())?;
    // Whole or not there: somebody may read while a run goes on, or end it.
    let new = path.with_extension("new");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&new, text))
        .and_then(|()| fs::rename(&new, &path))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// Reads results: files, and folders with all that is in them. In the order of their seeds, so in that of time.
pub fn read<P: AsRef<Path>>(places: &[P]) -> Result<Vec<Outcome>, String> {
    let mut outcomes = Vec::new();
    for place in places.iter().map(AsRef::as_ref) {
        let mut files = vec![place.to_owned()];
        if place.is_dir() {
            let entries = fs::read_dir(place).map_err(|error| format!("{}: {error}", place.display()))?;
            files = entries.flatten().map(|entry| entry.path()).collect();
            files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
        }
        for file in files {
            let text = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let outcome: Outcome =
                serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?;
            outcomes.push(outcome);
        }
    }
    outcomes.sort_by_key(|outcome| outcome.seed);
    Ok(outcomes)
}

/// How many trials of a case of this build and pace are there.
pub fn count(outcomes: &[Outcome], case: &str, build: &Build, quick: bool) -> usize {
    let fits = |outcome: &&Outcome| outcome.case == case && outcome.build == *build && outcome.quick == quick;
    outcomes.iter().filter(fits).count()
}

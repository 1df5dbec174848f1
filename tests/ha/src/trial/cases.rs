//! The cases of the fault table.

mod calendar;
mod clocks;
mod consoles;
mod cuts;
mod disks;
mod edits;
mod failovers;
mod overload;
mod servers;
mod soak;
mod stores;
mod weather;
mod workers;

use std::time::Duration;

use futures::future::LocalBoxFuture;

use super::Trial;

/// What a case does to an installation under load.
#[derive(Debug)]
pub struct Case {
    /// Its name in the table of faults, with a word where it has several forms: `F1-owner`.
    pub name: &'static str,
    /// The fault in a sentence.
    pub title: &'static str,
    /// Whether it is among those that run with every test.
    pub quick: bool,
    /// Breaks and heals.
    pub run: for<'t> fn(&'t mut Trial<'_>) -> LocalBoxFuture<'t, ()>,
}

/// Every case, in the order of the table; the soak comes last.
pub fn all() -> Vec<&'static Case> {
    let lists = [
        servers::CASES,
        consoles::CASES,
        cuts::CASES,
        stores::CASES,
        failovers::CASES,
        disks::CASES,
        weather::CASES,
        clocks::CASES,
        calendar::CASES,
        workers::CASES,
        edits::CASES,
        overload::CASES,
        soak::CASES,
    ];
    let mut cases: Vec<&Case> = lists.into_iter().flatten().collect();
    cases.sort_by_key(|case| place(case.name));
    cases
}

/// Where a case stands in the table: T before F, numbers by their value, forms by their names.
pub fn place(name: &str) -> (bool, u32, &str) {
    (name.starts_with('F'), number(name), name)
}

/// The cases of these names: a whole name, the number of several forms (`F1`), `quick` or `all`. Errors name what is unknown.
pub fn named(words: &str) -> Result<Vec<&'static Case>, String> {
    let all = all();
    let mut chosen = Vec::new();
    for word in words.split([',', ' ']).filter(|word| !word.is_empty()) {
        let fits = |case: &&&Case| match word {
            "all" => !case.name.starts_with("F29"),
            "quick" => case.quick,
            _ => case.name == word || case.name.split('-').next() == Some(word),
        };
        let found: Vec<_> = all.iter().filter(fits).copied().collect();
        if found.is_empty() {
            let names: Vec<&str> = all.iter().map(|case| case.name).collect();
            return Err(format!("there is no case {word}; there are all, quick, {}", names.join(", ")));
        }
        chosen.extend(found);
    }
    Ok(chosen)
}

/// The instant by which a case's whole world goes, if it wants another day than today: it begins shortly before that.
pub fn instant_of(name: &str) -> Option<i64> {
    calendar::instant_of(name)
}

/// How long a case takes beyond what every case may: the soak's own time.
pub fn soak_time(case: &Case) -> Duration {
    if case.name == "F29" { soak::length() + soak::SLACK } else { Duration::ZERO }
}

fn number(name: &str) -> u32 {
    let digits: String = name.chars().skip(1).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_found_by_name_by_number_and_all() {
        let names = |words| named(words).unwrap().iter().map(|case| case.name).collect::<Vec<_>>();
        assert_eq!(names("F1-owner"), ["F1-owner"]);
        assert!(names("F1").iter().all(|name| name.starts_with("F1-")) && names("F1").len() > 2);
        assert!(names("T4, F3").len() >= 2);
        assert!(named("F99").unwrap_err().contains("F1-owner"));
        let distinct: std::collections::BTreeSet<_> = names("all").into_iter().collect();
        assert_eq!(distinct.len(), names("all").len());
    }

    #[test]
    fn the_quick_selection_is_the_one_that_was_agreed() {
        let quick = named("quick").unwrap();
        for number in
            ["T4", "T5", "T6", "F1", "F3", "F5", "F6", "F10", "F12", "F13", "F14", "F18", "F23", "F25", "F28"]
        {
            assert!(quick.iter().any(|case| case.name.split('-').next() == Some(number)), "{number}");
        }
    }
}

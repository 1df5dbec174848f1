//! "Did you mean ...?" for names that are nearly right.

/// The known name most like `given`, unless none is near enough to be a likely slip: a third of its letters may differ, at least two.
pub(crate) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer than any name of ours; a hostile text must not cost time.
    let given: String = given.chars().take(80).collect();
    known
        .map(|name| (strsim::damerau_levenshtein(&given, name), name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3) && *distance < name.len())
        .min()
        .map(|(_, name)| name)
}

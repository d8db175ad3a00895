//! What is wrong with a topology, where, and how to fix it.

use std::fmt;

use super::located::At;

/// One mistake in a topology file: `FILE:LINE:COL: what is wrong; how to fix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyError {
    /// The file, as the user named it.
    pub file: String,
    /// The place; line 0 when it concerns the whole file.
    pub at: At,
    /// What is wrong and how to fix it.
    pub message: String,
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.line == 0 {
            return write!(f, "{}: {}", self.file, self.message);
        }
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.at.line, self.at.column, self.message
        )
    }
}

impl std::error::Error for TopologyError {}

/// A mistake before the file's name is known to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) at: At,
    pub(super) message: String,
}

impl Mistake {
    pub(super) fn new(at: At, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }

    pub(super) fn in_file(self, file: &str) -> TopologyError {
        TopologyError {
            file: file.to_owned(),
            at: self.at,
            message: self.message,
        }
    }
}

/// `; did you mean 'web'?` when a known name is close, else the known names.
pub(super) fn suggest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    let best = known
        .iter()
        .map(|name| (distance(wrong, name), *name))
        .min();
    let close = 1 + wrong.chars().count() / 3;
    match best {
        Some((distance, name)) if distance <= close => format!("; did you mean '{name}'?"),
        Some(_) => {
            known.sort_unstable();
            known.dedup();
            let more = if known.len() > SHOWN { ", …" } else { "" };
            known.truncate(SHOWN);
            format!("; known: {}{more}", known.join(", "))
        }
        None => String::new(),
    }
}

const SHOWN: usize = 12;

/// Edits between two names: insert, delete, replace (Levenshtein), case ignored.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Turns the YAML reader's error into ours: those of syntax.
pub(super) fn from_yaml(error: &serde_saphyr::Error) -> Mistake {
    use serde_saphyr::Error as E;
    let error = error.without_snippet();
    let at = error.location().map(At::from).unwrap_or_default();
    let message = match error {
        E::AliasError { error, .. } => {
            let inner = from_yaml(error);
            return Mistake {
                at: if inner.at.line == 0 { at } else { inner.at },
                ..inner
            };
        }
        E::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            format!("'{key}' is defined twice; rename or remove one of them")
        }
        E::UnknownAnchor { .. } => "no anchor of this name; define it with & first".to_owned(),
        E::RecursiveReferencesRequireWeakTypes { .. } => {
            "this alias contains itself (a cycle); write the value out".to_owned()
        }
        E::Eof { .. } => "the file is empty; a topology needs at least `name:`".to_owned(),
        other => first_line(&other.to_string()),
    };
    Mistake { at, message }
}

/// The reader's own message without the place, which we print in front.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(suggest("wbe", ["app", "web"]), "; did you mean 'web'?");
        assert_eq!(suggest("Web", ["app", "web"]), "; did you mean 'web'?");
        assert_eq!(suggest("firewall", ["db", "app"]), "; known: app, db");
        assert_eq!(suggest("firewall", []), "");
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [("", "ab", 2), ("kitten", "sitting", 3), ("web", "web", 0)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}

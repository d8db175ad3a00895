//! Describe calls: ids, filters, pages.

use std::sync::Arc;

use serde::Deserialize;

use super::call::At;
use crate::api::ApiError;
use crate::model::{Id, Model, Resource};

/// Values of all filters together, at most (E:Using_Filtering).
const FILTER_VALUES_MAX: usize = 200;
/// Elements of a page, unless the request says otherwise, and at most.
const PAGE: usize = 1000;

/// A filter of a request: any of its values must match.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Filter {
    /// Name.
    pub name: String,
    /// Values, with the wildcards `*` and `?`.
    pub value: Vec<String>,
}

impl Filter {
    /// Whether any of its values matches.
    pub fn fits(&self, value: &str) -> bool {
        self.value.iter().any(|it| Pattern::new(it).fits(value))
    }
}

/// A filter that a describe call knows: its name, and a resource's values for it.
pub type Known<R> = (&'static str, fn(&R, &Model) -> Vec<String>);

/// What a describe call was asked for.
#[derive(Clone, Debug)]
pub struct Wanted<I> {
    /// These ids; all of them if empty.
    pub ids: Vec<I>,
    /// All of these filters.
    pub filters: Vec<Filter>,
    /// Elements of a page.
    pub max_results: Option<u32>,
    /// Where the page begins.
    pub next_token: Option<String>,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// The elements.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next_token: Option<String>,
}

impl<I: Id> Wanted<I> {
    /// The caller's resources that are wanted, in the order of their ids.
    ///
    /// # Errors
    /// An id that names nothing, a filter that is not known, a bad page.
    pub fn select(
        self,
        at: &At<'_, '_>,
        known: &[Known<I::Resource>],
    ) -> Result<Page<Arc<I::Resource>>, ApiError> {
        self.select_by(at, known, |_, _, _| None)
    }

    /// The same where some filters have an index: `find` gives all that have a
    /// value for a filter, if there is an index for it. Others may be among them.
    ///
    /// # Errors
    /// As [`Self::select`].
    pub fn select_by(
        self,
        at: &At<'_, '_>,
        known: &[Known<I::Resource>],
        find: fn(&Model, &str, &str) -> Option<Vec<I>>,
    ) -> Result<Page<Arc<I::Resource>>, ApiError> {
        let filters = self.filters;
        check(&filters, known.iter().map(|(name, _)| *name))?;
        let mut given = Vec::new();
        for id in &self.ids {
            given.push(at.tx.require(id)?);
        }
        let caller = at.caller();
        let model = at.model();
        let found = |filter: &Filter| {
            // Of wildcards no index knows.
            let exact = !filter.value.iter().any(|it| it.contains(['*', '?', '\\']));
            let values = filter.value.iter().filter(|_| exact);
            let ids: Option<Vec<_>> = values.map(|it| find(model, &filter.name, it)).collect();
            ids.filter(|_| exact).map(|ids| ids.concat())
        };
        let indexed = filters.iter().find_map(found);
        let all: Box<dyn Iterator<Item = &Arc<I::Resource>>> = if self.ids.is_empty() {
            match indexed {
                None => Box::new(<I::Resource as crate::model::Stored>::table(model).iter()),
                Some(mut ids) => {
                    ids.sort();
                    ids.dedup();
                    Box::new(ids.into_iter().filter_map(|id| model.get(&id)))
                }
            }
        } else {
            given.sort_by(|a, b| a.id().cmp(b.id()));
            given.dedup_by(|a, b| a.id() == b.id());
            Box::new(given.iter())
        };
        let tests: Vec<_> = filters.iter().map(|it| Test::new(it, known)).collect();
        let fits = |resource: &&Arc<I::Resource>| {
            let meta = resource.meta();
            !resource.is_hidden()
                && meta.owner == caller.account
                && meta.region == caller.region
                && tests.iter().all(|test| test.fits(&***resource, model))
        };
        let found = all.filter(fits).cloned();
        page(
            found,
            |resource| resource.id().to_string(),
            self.max_results,
            self.next_token,
        )
    }
}

/// The ids of all of a kind that name a resource: an index for filters by its id.
pub fn naming<I: Id>(model: &Model, target: &impl Id) -> Option<Vec<I>> {
    let all = model.referrers::<I::Resource>(target);
    Some(all.map(|it| it.id().clone()).collect())
}

/// A filter, made ready to be asked about thousands of resources.
struct Test<'a, R> {
    patterns: Vec<Pattern>,
    of: Of<'a, R>,
}

/// Which of a resource's values a filter is about.
enum Of<'a, R> {
    Tag(&'a str),
    TagKeys,
    TagValues,
    Values(fn(&R, &Model) -> Vec<String>),
    Nothing,
}

impl<'a, R: Resource> Test<'a, R> {
    fn new(filter: &'a Filter, known: &[Known<R>]) -> Self {
        let of = match filter.name.as_str() {
            "tag-key" => Of::TagKeys,
            "tag-value" => Of::TagValues,
            name => match name.strip_prefix("tag:") {
                Some(key) => Of::Tag(key),
                None => {
                    let found = known.iter().find(|(known, _)| *known == name);
                    found.map_or(Of::Nothing, |(_, values)| Of::Values(*values))
                }
            },
        };
        Self {
            patterns: filter.value.iter().map(|it| Pattern::new(it)).collect(),
            of,
        }
    }

    fn fits(&self, resource: &R, model: &Model) -> bool {
        let matches = |value: &str| self.patterns.iter().any(|pattern| pattern.fits(value));
        let meta = resource.meta();
        match self.of {
            Of::Tag("Name") => meta.name.as_deref().is_some_and(matches),
            Of::Tag(key) => meta.tags.get(key).is_some_and(|value| matches(value)),
            Of::TagKeys => meta.all_tags().keys().any(|key| matches(key)),
            Of::TagValues => meta.all_tags().values().any(|value| matches(value)),
            Of::Values(values) => values(resource, model).iter().any(|value| matches(value)),
            Of::Nothing => false,
        }
    }
}

/// Refuses filters that a call does not know.
///
/// # Errors
/// `InvalidParameterValue`, naming the filter and those that there are;
/// `FilterLimitExceeded`.
pub fn check<'a>(
    filters: &[Filter],
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), ApiError> {
    let values: usize = filters.iter().map(|filter| filter.value.len()).sum();
    if values > FILTER_VALUES_MAX || filters.len() > FILTER_VALUES_MAX {
        return Err(ApiError::new(
            "FilterLimitExceeded",
            format!("The request has {values} filter values; {FILTER_VALUES_MAX} are the most"),
        ));
    }
    for filter in filters {
        let name = filter.name.as_str();
        let tag = name.starts_with("tag:") || matches!(name, "tag-key" | "tag-value");
        if !tag && !known.clone().any(|known| known == name) {
            let known: Vec<&str> = known.collect();
            return Err(ApiError::invalid_value(format!(
                "The filter '{name}' is invalid; there are {}, tag:KEY, tag-key",
                known.join(", ")
            )));
        }
        if filter.value.is_empty() {
            return Err(ApiError::invalid_value(format!(
                "The filter '{name}' has no value"
            )));
        }
    }
    Ok(())
}

/// Whether all filters match something that has one value for each name.
pub fn all_match(filters: &[Filter], value: impl Fn(&str) -> Option<String>) -> bool {
    let fits = |filter: &Filter| value(&filter.name).is_some_and(|held| filter.fits(&held));
    filters.iter().all(fits)
}

/// The page of `all` that begins after `next_token`; `all` is in the order of `key`.
///
/// # Errors
/// A size that is not 1 to 1000, or a token that no page gave.
pub fn page<T>(
    all: impl Iterator<Item = T>,
    key: impl Fn(&T) -> String,
    max_results: Option<u32>,
    next_token: Option<String>,
) -> Result<Page<T>, ApiError> {
    let size = match max_results {
        None => PAGE,
        // AWS's least is 5 for most calls; a smaller page harms nobody.
        Some(size @ 1..=1000) => size as usize,
        Some(other) => {
            return Err(ApiError::invalid_value(format!(
                "Value ({other}) for parameter MaxResults is invalid: 1 to {PAGE}"
            )));
        }
    };
    let after = next_token.map(|token| {
        decode(&token).ok_or_else(|| {
            ApiError::new(
                "InvalidNextToken",
                format!("The token '{token}' is invalid"),
            )
        })
    });
    let after = after.transpose()?;
    let mut rest = all.filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
    let items: Vec<T> = rest.by_ref().take(size).collect();
    let more = rest.next().is_some();
    let next_token = items.last().filter(|_| more).map(|last| encode(&key(last)));
    Ok(Page { items, next_token })
}

fn encode(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(token: &str) -> Option<String> {
    if token.is_empty() || !token.is_ascii() || !token.len().is_multiple_of(2) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(token.get(at..at + 2)?, 16).ok();
    let bytes = (0..token.len())
        .step_by(2)
        .map(byte)
        .collect::<Option<_>>()?;
    String::from_utf8(bytes).ok()
}

/// What a filter's value asks for: `*` is any text, `?` any character, and a
/// backslash takes the next one as it is.
enum Pattern {
    This(String),
    Like(Vec<Part>),
}

#[derive(Clone, Copy)]
enum Part {
    Any,
    One,
    This(char),
}

impl Pattern {
    fn new(text: &str) -> Self {
        if !text.contains(['*', '?', '\\']) {
            return Self::This(text.to_owned());
        }
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => Part::This(chars.next().unwrap_or('\\')),
                c => Part::This(c),
            });
        }
        Self::Like(parts)
    }

    fn fits(&self, value: &str) -> bool {
        match self {
            Self::This(text) => text == value,
            Self::Like(parts) => is_like(value, parts),
        }
    }
}

fn is_like(value: &str, parts: &[Part]) -> bool {
    let value: Vec<char> = value.chars().collect();
    let (mut at, mut part) = (0, 0);
    // Where to go on if what follows the last `*` does not fit.
    let mut back = None;
    while at < value.len() {
        match parts.get(part) {
            Some(Part::Any) => {
                back = Some((at, part));
                part += 1;
                continue;
            }
            Some(Part::One) => {}
            Some(Part::This(c)) if *c == value[at] => {}
            _ => match back {
                Some((from, star)) => {
                    back = Some((from + 1, star));
                    (at, part) = (from + 1, star + 1);
                    continue;
                }
                None => return false,
            },
        }
        (at, part) = (at + 1, part + 1);
    }
    parts[part..].iter().all(|part| matches!(part, Part::Any))
}

/// One value of a filter.
pub fn one(value: impl ToString) -> Vec<String> {
    vec![value.to_string()]
}

/// Several values of a filter.
pub fn each<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

/// A describe call's request: ids, `Filter.N`, `MaxResults`, `NextToken`.
macro_rules! describe {
    ($(#[$doc:meta])* $name:ident { $ids:ident: $id:ty }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            $ids: Vec<$id>,
            filter: Vec<$crate::aws::select::Filter>,
            max_results: Option<u32>,
            next_token: Option<String>,
        }

        impl $name {
            fn wanted(self) -> $crate::aws::select::Wanted<$id> {
                $crate::aws::select::Wanted {
                    ids: self.$ids,
                    filters: self.filter,
                    max_results: self.max_results,
                    next_token: self.next_token,
                }
            }
        }
    };
}
pub(super) use describe;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (value, pattern, fits) in [
            ("abc", "abc", true),
            ("abc", "a*", true),
            ("abc", "*c", true),
            ("abc", "a?c", true),
            ("abc", "a?", false),
            ("abcabd", "*ab?", true),
            ("", "*", true),
            ("", "?", false),
            ("a*c", "a\\*c", true),
            ("abc", "a\\*c", false),
            ("abc", "*b", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(value), fits, "{value} {pattern}");
        }
        // No exponential search.
        assert!(!Pattern::new(&("*a".repeat(50) + "b")).fits(&"a".repeat(5000)));
    }

    #[test]
    fn pages_follow_each_other_and_end() {
        let all = || (0..25).map(|n| format!("{n:02}"));
        let mut token = None;
        let mut seen = Vec::new();
        loop {
            let page = page(all(), String::clone, Some(10), token).unwrap();
            seen.extend(page.items);
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, all().collect::<Vec<_>>());
        for (size, token) in [
            (Some(0), None),
            (Some(1001), None),
            (None, Some("x".into())),
        ] {
            assert!(page(all(), String::clone, size, token).is_err());
        }
    }
}

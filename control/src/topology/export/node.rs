//! YAML as it is written: keys in the order in which they were put.

use std::fmt::Display;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_saphyr::FlowSeq;

/// A part of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Text(String),
    Flag(bool),
    Number(u64),
    List(Vec<Node>),
    Map(Map),
}

/// A mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map(Vec<(String, Node)>);

impl Node {
    /// A scalar as it is shown: a number where it is one.
    pub(super) fn shown(value: impl Display) -> Self {
        let text = value.to_string();
        match text.parse::<u64>() {
            Ok(number) if number.to_string() == text => Self::Number(number),
            _ => Self::Text(text),
        }
    }

    /// A list of scalars.
    pub(super) fn list<T: Display>(values: impl IntoIterator<Item = T>) -> Self {
        Self::List(values.into_iter().map(Self::shown).collect())
    }

    /// One scalar as itself, several as a list.
    pub(super) fn one_or_list<T: Display>(values: impl IntoIterator<Item = T>) -> Self {
        let mut all: Vec<_> = values.into_iter().map(Self::shown).collect();
        match (all.pop(), all.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                all.extend(last);
                Self::List(all)
            }
        }
    }

    const fn is_scalar(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Map(_))
    }
}

impl Map {
    pub(super) fn put(&mut self, key: impl Into<String>, value: Node) {
        self.0.push((key.into(), value));
    }

    /// Puts a scalar, if there is one.
    pub(super) fn some<T: Display>(&mut self, key: &str, value: Option<T>) {
        if let Some(value) = value {
            self.put(key, Node::shown(value));
        }
    }

    /// Puts a text as it is, if there is one.
    pub(super) fn text(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value {
            self.put(key, Node::Text(value));
        }
    }

    /// Puts a switch, if it is given.
    pub(super) fn given(&mut self, key: &str, value: Option<bool>) {
        if let Some(value) = value {
            self.put(key, Node::Flag(value));
        }
    }

    /// Puts a switch, if it is not as by default.
    pub(super) fn flag(&mut self, key: &str, value: bool, default: bool) {
        if value != default {
            self.put(key, Node::Flag(value));
        }
    }

    /// Puts a list or mapping, unless it is empty.
    pub(super) fn filled(&mut self, key: &str, value: Node) {
        let empty = match &value {
            Node::List(list) => list.is_empty(),
            Node::Map(map) => map.is_empty(),
            _ => false,
        };
        if !empty {
            self.put(key, value);
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Mappings by name, as `label: {…}`, in the order of names.
impl FromIterator<(String, Map)> for Map {
    fn from_iter<I: IntoIterator<Item = (String, Map)>>(all: I) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(
            all.into_iter()
                .map(|(key, map)| (key, Node::Map(map)))
                .collect(),
        )
    }
}

impl From<Map> for Node {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_u64(*number),
            // Lists of scalars stand in one line: `subnets: [a, b]`.
            Self::List(list) if list.iter().all(Self::is_scalar) => {
                FlowSeq(list).serialize(serializer)
            }
            Self::List(list) => list.serialize(serializer),
            Self::Map(map) => map.serialize(serializer),
        }
    }
}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

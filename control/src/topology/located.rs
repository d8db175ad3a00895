//! Values that remember where in the file they stood.
//!
//! [`Value`] is a scalar, parsed into its type while the file is read;
//! [`Item`] is a mapping in a list; [`Named`] is a mapping of names;
//! [`Many`] is one scalar or a list of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Location;

use super::read::placed;

/// A place in the file, both counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// Line; 0 when the place is not known.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

impl From<Location> for At {
    fn from(location: Location) -> Self {
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            line: narrow(location.line()),
            column: narrow(location.column()),
        }
    }
}

/// A type written as one scalar.
pub trait Scalar: Sized {
    /// Parses the scalar; the error says what is wrong and how to write it.
    fn parse(text: &str) -> Result<Self, String>;
}

impl Scalar for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

/// A scalar and its place.
#[derive(Clone, Debug)]
pub struct Value<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: At,
}

impl<T> Deref for Value<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Scalar> Value<T> {
    fn parse<E: de::Error>(text: &str, at: At) -> Result<Self, E> {
        match T::parse(text) {
            Ok(value) => Ok(Self { value, at }),
            Err(message) => Err(E::custom(with_place(at, &message))),
        }
    }
}

impl<'de, T: Scalar> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (text, at) = placed::<String, D>(deserializer)?;
        Self::parse(&text, at)
    }
}

/// A mapping inside a list, and its place.
#[derive(Clone, Debug)]
pub struct Item<T> {
    /// The value.
    pub value: T,
    /// Where it starts.
    pub at: At,
}

impl<T> Deref for Item<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (value, at) = placed(deserializer)?;
        Ok(Self { value, at })
    }
}

/// A mapping from names to `T`, in the order of the file. (That the names
/// differ is checked by the YAML reader.)
#[derive(Clone, Debug)]
pub struct Named<T>(pub Vec<(Value<String>, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    /// The entry of that name.
    pub fn find(&self, name: &str) -> Option<&T> {
        self.iter()
            .find(|(key, _)| key.value == name)
            .map(|(_, value)| value)
    }

    /// Whether there is such an entry.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Entries in the order of the file.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Value<String>, &T)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The names in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|(key, _)| key.value.as_str())
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// One scalar, or a list of them.
#[derive(Clone, Debug)]
pub struct Many<T>(pub Vec<Value<T>>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for Many<T> {
    type Target = [Value<T>];

    fn deref(&self) -> &[Value<T>] {
        &self.0
    }
}

impl<'de, T: Scalar> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match placed(deserializer)? {
            (OneOrMore::One(text), at) => Ok(Self(vec![Value::parse(&text, at)?])),
            (OneOrMore::More(values), _) => Ok(Self(values)),
        }
    }
}

enum OneOrMore<T> {
    One(String),
    More(Vec<Value<T>>),
}

impl<'de, T: Scalar> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Scalar> Visitor<'de> for Either<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of values")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMore::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMore::More(values))
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// Puts a place in front of a message: serde's custom errors carry none.
fn with_place(at: At, message: &str) -> String {
    format!("{PLACE}{}:{}{PLACE}{message}", at.line, at.column)
}

/// Takes the place off again.
pub(super) fn split_place(message: &str) -> Option<(At, &str)> {
    let (place, message) = message.strip_prefix(PLACE)?.split_once(PLACE)?;
    let (line, column) = place.split_once(':')?;
    Some((
        At {
            line: line.parse().ok()?,
            column: column.parse().ok()?,
        },
        message,
    ))
}

const PLACE: char = '\u{1}';

impl<T: JsonSchema> JsonSchema for Value<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<T: JsonSchema> JsonSchema for Item<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<BTreeMap<String, T>>()
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Many_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one.clone(), { "type": "array", "items": one }] })
    }
}

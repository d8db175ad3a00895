//! Reads YAML into a small tree first, and the types from that.
//!
//! The tree knows the place and the text of every node, so every error has a
//! line, and `1.10` stays `1.10` where a string is wanted. It also keeps the
//! YAML reader's generic code from being compiled once for every type here:
//! that was most of the crate's build time.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde_saphyr::Spanned;

use super::error::{Mistake, suggest};
use super::located::At;

/// A node and its place.
#[derive(Debug)]
struct Node {
    at: At,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Null,
    /// A scalar; the bytes of the file where it is written unless it is text.
    Scalar(String, Option<(usize, usize)>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// Reads a value from YAML.
pub(super) fn from_yaml<'de, T: Deserialize<'de>>(text: &str) -> Result<T, Mistake> {
    // Otherwise `n` and `on` would be booleans: they are good names.
    let options = serde_saphyr::options! { strict_booleans: true };
    let mut node: Node = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| super::error::from_yaml(&error))?;
    if matches!(node.body, Body::Null) {
        let message = "the file is empty; a topology needs at least `name:`";
        return Err(Mistake::new(At { line: 1, column: 1 }, message));
    }
    node.restore(text);
    let at = node.at;
    T::deserialize(Tree(&node)).map_err(|error| error.at(at).into())
}

impl Node {
    /// Puts the written text of numbers and booleans back.
    fn restore(&mut self, source: &str) {
        match &mut self.body {
            Body::Scalar(text, span) => {
                let written = span.and_then(|(from, len)| source.get(from..from + len));
                if let Some(written) = written.filter(|written| !written.is_empty()) {
                    *text = written.to_owned();
                }
            }
            Body::List(nodes) => nodes.iter_mut().for_each(|node| node.restore(source)),
            Body::Map(entries) => {
                for (key, value) in entries {
                    key.restore(source);
                    value.restore(source);
                }
            }
            Body::Null => {}
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Spanned::<Body>::deserialize(deserializer)?;
        let at = read.referenced.into();
        let span = read.defined.span();
        let mut body = read.value;
        if let Body::Scalar(_, place @ Some(_)) = &mut body {
            let bytes = span.byte_offset().zip(span.byte_len());
            *place = bytes.map(|(from, len)| (from as usize, len as usize));
        }
        Ok(Self { at, body })
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BodyVisitor)
    }
}

struct BodyVisitor;

/// A scalar whose text has to be restored from the file.
fn typed<E>(value: impl fmt::Display) -> Result<Body, E> {
    Ok(Body::Scalar(value.to_string(), Some((0, 0))))
}

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Body, E> {
        Ok(Body::Null)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Body, E> {
        Ok(Body::Scalar(text.to_owned(), None))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Body, E> {
        typed(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Body, E> {
        typed(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Body, E> {
        typed(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Body, E> {
        typed(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Body, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element()? {
            nodes.push(node);
        }
        Ok(Body::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let body = Body::Scalar(key.value, None);
            entries.push((
                Node {
                    at: key.referenced.into(),
                    body,
                },
                map.next_value()?,
            ));
        }
        Ok(Body::Map(entries))
    }
}

/// A mistake whose place may not be known yet.
#[derive(Debug)]
pub(super) struct ReadError {
    at: Option<At>,
    message: String,
}

impl ReadError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            at: None,
            message: message.into(),
        }
    }

    /// Sets the place unless something further inside has.
    fn at(mut self, at: At) -> Self {
        self.at.get_or_insert(at);
        self
    }
}

impl From<ReadError> for Mistake {
    fn from(error: ReadError) -> Self {
        let at = error.at.unwrap_or_default();
        match super::located::split_place(&error.message) {
            Some((at, message)) => Mistake::new(at, message),
            None => Mistake::new(at, error.message),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!(
            "unknown key '{field}'{}",
            suggest(field, canonical(expected))
        ))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = suggest(variant, canonical(expected));
        Self::new(format!("'{variant}' is not allowed here{hint}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing key '{field}'; add `{field}: …`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!(
            "'{field}' is given twice, under two spellings; remove one of them"
        ))
    }
}

/// The spellings that the documentation uses: aliases in CamelCase are left out.
fn canonical<'a>(names: &'a [&'static str]) -> impl Iterator<Item = &'a str> {
    names
        .iter()
        .copied()
        .filter(|name| !name.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// Name of the newtype that asks for a value's place before the value: a list
/// of line, column and value.
const PLACED: &str = "$vpclab::placed";

/// Reads a value with its place.
pub(super) fn placed<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<(T, At), D::Error> {
    struct Placed<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Placed<T> {
        type Value = (T, At);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value with its place")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(T, At), A::Error> {
            let mut part = || seq.next_element::<u32>().map(Option::unwrap_or_default);
            let at = At {
                line: part()?,
                column: part()?,
            };
            let value = seq
                .next_element()?
                .ok_or_else(|| de::Error::invalid_length(2, &self))?;
            Ok((value, at))
        }
    }

    deserializer.deserialize_newtype_struct(PLACED, Placed(std::marker::PhantomData))
}

/// A node, to read a type from.
#[derive(Clone, Copy)]
struct Tree<'a>(&'a Node);

impl<'a> Tree<'a> {
    fn scalar(self) -> Result<&'a str, ReadError> {
        match &self.0.body {
            Body::Scalar(text, _) => Ok(text),
            Body::Null => Err(ReadError::new("empty value; write one or remove the key")),
            Body::List(_) | Body::Map(_) => Err(ReadError::new("expected one value here")),
        }
    }

    fn entries(self) -> Result<Entries<'a>, ReadError> {
        match &self.0.body {
            Body::Map(entries) => Ok(Entries {
                rest: entries,
                value: None,
            }),
            Body::Null => Ok(Entries {
                rest: &[],
                value: None,
            }),
            Body::Scalar(..) | Body::List(_) => Err(ReadError::new(
                "expected a mapping here; write `key: value` lines below",
            )),
        }
    }

    fn number<T: std::str::FromStr>(self) -> Result<T, ReadError> {
        let text = self.scalar()?;
        text.parse()
            .map_err(|_| ReadError::new(format!("'{text}' is not a number in range")))
    }
}

impl<'de> Deserializer<'de> for Tree<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.body {
            Body::Null => visitor.visit_unit(),
            Body::Scalar(text, _) => visitor.visit_str(text),
            Body::List(_) => self.deserialize_seq(visitor),
            Body::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.scalar()? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(ReadError::new("not a boolean; write true or false")),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_u32(self.number()?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_u64(self.number()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_str(self.scalar()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0.body {
            Body::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match name {
            PLACED => visitor.visit_seq(Parts {
                node: self.0,
                next: 0,
            }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.body {
            Body::List(nodes) => visitor.visit_seq(Elements(nodes)),
            Body::Null => visitor.visit_seq(Elements(&[])),
            Body::Scalar(..) | Body::Map(_) => Err(ReadError::new(
                "expected a list here; write `- …` lines below",
            )),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_map(self.entries()?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let text: StrDeserializer<'_, ReadError> = self.scalar()?.into_deserializer();
        visitor.visit_enum(text)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple tuple_struct identifier ignored_any
    }
}

/// Line, column, value.
struct Parts<'a> {
    node: &'a Node,
    next: u8,
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        self.next += 1;
        let at = self.node.at;
        match self.next {
            1 => seed.deserialize(at.line.into_deserializer()).map(Some),
            2 => seed.deserialize(at.column.into_deserializer()).map(Some),
            3 => seed
                .deserialize(Tree(self.node))
                .map(Some)
                .map_err(|error| error.at(at)),
            _ => Ok(None),
        }
    }
}

struct Elements<'a>(&'a [Node]);

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some((node, rest)) = self.0.split_first() else {
            return Ok(None);
        };
        self.0 = rest;
        seed.deserialize(Tree(node))
            .map(Some)
            .map_err(|error| error.at(node.at))
    }
}

struct Entries<'a> {
    rest: &'a [(Node, Node)],
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some(((key, value), rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        self.value = Some(value);
        seed.deserialize(Tree(key))
            .map(Some)
            .map_err(|error| error.at(key.at))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some(value) = self.value.take() else {
            return Err(ReadError::new("a value was read before its key"));
        };
        seed.deserialize(Tree(value))
            .map_err(|error| error.at(value.at))
    }
}

//! The form bodies of the Query protocols, as a tree, and serde's way from the
//! tree to typed requests.
//!
//! `Filter.1.Value.2=x` is the field `Filter`, its first element, the field
//! `Value`, its second element. EC2 writes lists flat, ELBv2 and STS with `member`
//! between (`Names.member.1`); both are read here.

use std::collections::BTreeMap;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use crate::api::ApiError;

/// Parameters of one request, at most.
const PARAMETERS_MAX: usize = 20_000;
/// Dots in a name, at most: the deepest name of botocore's models has 9.
const DEPTH_MAX: usize = 16;

/// A parameter, or a structure of parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    text: Option<String>,
    children: BTreeMap<String, Node>,
}

/// A request that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A structure has no such field.
    #[error("unknown parameter {0}")]
    Unknown(String),
    /// A parameter that must be there is not.
    #[error("missing parameter {0}")]
    Missing(String),
    /// A value that is not what its place asks for.
    #[error("{at}: {why}")]
    Invalid {
        /// The parameter.
        at: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Node {
    /// Reads a body.
    ///
    /// # Errors
    /// `MalformedQueryString`: too much of it, or a name that is a value and a
    /// structure at once.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let malformed = |why: String| ApiError::new("MalformedQueryString", why);
        let mut root = Self::default();
        let pairs = form_urlencoded::parse(body);
        for (count, (name, value)) in pairs.enumerate() {
            if count == PARAMETERS_MAX {
                return Err(malformed(format!(
                    "The request has more than {PARAMETERS_MAX} parameters"
                )));
            }
            if name.split('.').any(str::is_empty) {
                return Err(malformed(format!(
                    "The parameter '{name}' has a part without a name"
                )));
            }
            if name.split('.').count() > DEPTH_MAX {
                return Err(malformed(format!(
                    "The parameter {name} is nested too deep"
                )));
            }
            let mut node = &mut root;
            for part in name.split('.') {
                node = node.children.entry(part.to_owned()).or_default();
            }
            if node.text.replace(value.into_owned()).is_some() {
                return Err(malformed(format!("The parameter {name} is given twice")));
            }
        }
        Ok(root)
    }

    /// Takes a parameter away from the top, and its value.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.children.remove(name)?.text
    }

    /// Reads the tree as a typed request.
    ///
    /// # Errors
    /// Which parameter is wrong, and why.
    pub fn read<T: de::DeserializeOwned>(&self) -> Result<T, FormError> {
        T::deserialize(Reader {
            node: self,
            at: String::new(),
        })
    }

    /// Elements of a list, in the order of their numbers.
    fn elements(&self) -> Option<Vec<(u32, &Self)>> {
        let list = match self.children.get("member") {
            Some(members) if self.children.len() == 1 => members,
            _ => self,
        };
        let numbered = list.children.iter();
        let mut all = numbered
            .map(|(number, node)| Some((number.parse().ok()?, node)))
            .collect::<Option<Vec<_>>>()?;
        all.sort_by_key(|(number, _)| *number);
        Some(all)
    }
}

/// A node and its name.
struct Reader<'a> {
    node: &'a Node,
    at: String,
}

impl<'a> Reader<'a> {
    fn child(&self, name: &str, node: &'a Node) -> Self {
        let at = match self.at.as_str() {
            "" => name.to_owned(),
            at => format!("{at}.{name}"),
        };
        Reader { node, at }
    }

    fn fail<T>(&self, why: impl Into<String>) -> Result<T, FormError> {
        Err(FormError::Invalid {
            at: self.at.clone(),
            why: why.into(),
        })
    }

    fn text(&self) -> Result<&'a str, FormError> {
        match &self.node.text {
            Some(text) if self.node.children.is_empty() => Ok(text),
            _ => self.fail("one value is expected"),
        }
    }

    fn number<T: std::str::FromStr>(&self) -> Result<T, FormError> {
        let text = self.text()?;
        match text.parse() {
            Ok(number) => Ok(number),
            Err(_) => self.fail(format!("'{text}' is no number that can stand here")),
        }
    }

    /// Puts the parameter's name to an error that has none.
    fn place<T>(&self, result: Result<T, FormError>) -> Result<T, FormError> {
        result.map_err(|error| match error {
            FormError::Invalid { at, why } if at.is_empty() => FormError::Invalid {
                at: self.at.clone(),
                why,
            },
            other => other,
        })
    }
}

impl de::Error for FormError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Invalid {
            at: String::new(),
            why: message.to_string(),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field.to_owned())
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
            let number = self.number()?;
            self.place(visitor.$visit(number))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = FormError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        let text = self.text()?;
        self.place(visitor.visit_str(text))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "1" => visitor.visit_bool(true),
            "false" | "0" => visitor.visit_bool(false),
            other => self.fail(format!("'{other}' is neither true nor false")),
        }
    }

    numbers! {
        deserialize_i8 visit_i8
        deserialize_i16 visit_i16
        deserialize_i32 visit_i32
        deserialize_i64 visit_i64
        deserialize_u8 visit_u8
        deserialize_u16 visit_u16
        deserialize_u32 visit_u32
        deserialize_u64 visit_u64
        deserialize_f32 visit_f32
        deserialize_f64 visit_f64
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, FormError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        // An empty list is written as an empty value.
        if self.node.children.is_empty() && self.node.text.as_deref() == Some("") {
            return visitor.visit_seq(Elements {
                whole: &self,
                rest: Vec::new().into_iter(),
            });
        }
        let Some(elements) = self.node.elements().filter(|all| !all.is_empty()) else {
            return self.fail("a list (NAME.1, NAME.2) is expected");
        };
        visitor.visit_seq(Elements {
            whole: &self,
            rest: elements.into_iter(),
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormError> {
        if self.node.text.as_ref().is_some_and(|text| !text.is_empty()) {
            return self.fail("a structure (NAME.FIELD) is expected");
        }
        if let Some(unknown) = self
            .node
            .children
            .keys()
            .find(|k| !fields.contains(&k.as_str()))
        {
            return Err(FormError::Unknown(self.child(unknown, self.node).at));
        }
        let fields = Fields {
            whole: &self,
            rest: self.node.children.iter(),
            next: None,
        };
        visitor.visit_map(fields).map_err(|error| match error {
            // Named where it is missing, and only there.
            FormError::Missing(field) if !field.contains('.') && !self.at.is_empty() => {
                FormError::Missing(format!("{}.{field}", self.at))
            }
            other => other,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormError> {
        let text = self.text()?;
        if !variants.contains(&text) {
            return self.fail(format!("'{text}' is none of {}", variants.join(", ")));
        }
        let value: StrDeserializer<'_, FormError> = text.into_deserializer();
        visitor.visit_enum(value)
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map
        identifier
    }
}

struct Fields<'a, 'b> {
    whole: &'b Reader<'a>,
    rest: std::collections::btree_map::Iter<'a, String, Node>,
    next: Option<(&'a str, &'a Node)>,
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = FormError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, FormError> {
        let Some((name, node)) = self.rest.next() else {
            return Ok(None);
        };
        self.next = Some((name, node));
        let name: StrDeserializer<'_, FormError> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, FormError> {
        let Some((name, node)) = self.next.take() else {
            return Err(de::Error::custom("a value without a name"));
        };
        let reader = self.whole.child(name, node);
        let at = reader.at.clone();
        seed.deserialize(reader).map_err(|error| match error {
            FormError::Invalid { at: none, why } if none.is_empty() => {
                FormError::Invalid { at, why }
            }
            other => other,
        })
    }
}

struct Elements<'a, 'b> {
    whole: &'b Reader<'a>,
    rest: std::vec::IntoIter<(u32, &'a Node)>,
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = FormError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, FormError> {
        let Some((number, node)) = self.rest.next() else {
            return Ok(None);
        };
        let reader = self.whole.child(&number.to_string(), node);
        let at = reader.at.clone();
        let element = seed.deserialize(reader).map_err(|error| match error {
            FormError::Invalid { at: none, why } if none.is_empty() => {
                FormError::Invalid { at, why }
            }
            other => other,
        })?;
        Ok(Some(element))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Filter {
        name: String,
        value: Vec<String>,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Request {
        vpc_id: Vec<String>,
        filter: Vec<Filter>,
        max_results: Option<u32>,
        enable: Option<bool>,
    }

    fn read(body: &str) -> Result<Request, FormError> {
        Node::parse(body.as_bytes()).unwrap().read()
    }

    #[test]
    fn lists_are_read_flat_and_with_member_in_the_order_of_their_numbers() {
        let flat = read("VpcId.10=c&VpcId.2=b&VpcId.1=a&Filter.1.Name=n&Filter.1.Value.1=x%20y");
        let flat = flat.unwrap();
        assert_eq!(flat.vpc_id, ["a", "b", "c"]);
        assert_eq!(flat.filter[0].name, "n");
        assert_eq!(flat.filter[0].value, ["x y"]);
        let nested = read("VpcId.member.1=a&VpcId.member.2=b").unwrap();
        assert_eq!(nested.vpc_id, ["a", "b"]);
        assert_eq!(read("VpcId=").unwrap().vpc_id, Vec::<String>::new());
    }

    #[test]
    fn errors_name_the_parameter() {
        let invalid = |body: &str| match read(body).unwrap_err() {
            FormError::Invalid { at, .. } => at,
            other => panic!("{other}"),
        };
        assert_eq!(invalid("MaxResults=many"), "MaxResults");
        assert_eq!(invalid("Enable=perhaps"), "Enable");
        assert_eq!(invalid("Filter.1.Value.x=1"), "Filter.1.Value");
        assert_eq!(invalid("VpcId=a"), "VpcId");
        assert_eq!(invalid("Filter.1=a"), "Filter.1");
        let unknown = read("Filter.1.Valeu.1=x").unwrap_err();
        assert_eq!(unknown, FormError::Unknown("Filter.1.Valeu".into()));
        assert_eq!(read("Vpc=1").unwrap_err(), FormError::Unknown("Vpc".into()));
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let many: Vec<String> = (0..=PARAMETERS_MAX).map(|n| format!("A.{n}=1")).collect();
        let deep = "A.".repeat(DEPTH_MAX) + "A=1";
        for body in [
            many.join("&"),
            deep,
            "A=1&A=2".into(),
            "=1".into(),
            "A..B=1".into(),
        ] {
            let error = Node::parse(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, "MalformedQueryString");
        }
    }
}

//! Answers as XML: one writer for what serde makes of any response shape.

use quick_xml::escape::escape;
use serde::Serialize;
use serde_json::Value;

use crate::api::ApiError;

/// How a list's elements are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListStyle {
    /// `<item>`: EC2.
    Item,
    /// `<member>`: the Query protocol of ELBv2 and STS.
    Member,
}

/// Writes the fields of `shape` (a structure), one element each, without an
/// element around them. What is `None` is left out; the order is that of the names.
///
/// # Errors
/// A shape that has no form in XML: a fault of vpclab's own.
pub fn fields(shape: &impl Serialize, style: ListStyle) -> Result<String, ApiError> {
    let value = serde_json::to_value(shape)
        .map_err(|error| ApiError::new("InternalError", error.to_string()))?;
    let mut out = String::new();
    content(&value, style, &mut out);
    Ok(out)
}

fn content(value: &Value, style: ListStyle, out: &mut String) {
    match value {
        Value::Null => {}
        Value::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => out.push_str(&escape(&*printable(text))),
        Value::Array(elements) => {
            let name = match style {
                ListStyle::Item => "item",
                ListStyle::Member => "member",
            };
            for each in elements {
                element(name, each, style, out);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                element(name, value, style, out);
            }
        }
    }
}

fn element(name: &str, value: &Value, style: ListStyle, out: &mut String) {
    out.push('<');
    out.push_str(name);
    out.push('>');
    content(value, style, out);
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// XML 1.0 has no way to write control characters (XML 1.0 §2.2).
fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    let is_bad = |c: char| {
        (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || c == '\u{fffe}' || c == '\u{ffff}'
    };
    if text.contains(is_bad) {
        text.replace(is_bad, "\u{fffd}").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        vpc_id: &'static str,
        is_default: bool,
        none: Option<u32>,
        tag_set: Vec<Tag>,
        empty: Vec<Tag>,
    }

    #[derive(Serialize)]
    struct Tag {
        key: &'static str,
    }

    #[test]
    fn structures_lists_and_what_is_left_out() {
        let shape = Shape {
            vpc_id: "a<&\u{1}",
            is_default: true,
            none: None,
            tag_set: vec![Tag { key: "k" }],
            empty: Vec::new(),
        };
        let expected = "<empty></empty><isDefault>true</isDefault><tagSet><item><key>k</key>\
                        </item></tagSet><vpcId>a&lt;&amp;\u{fffd}</vpcId>";
        assert_eq!(fields(&shape, ListStyle::Item).unwrap(), expected);
        let members = fields(&shape, ListStyle::Member).unwrap();
        assert!(
            members.contains("<member><key>k</key></member>"),
            "{members}"
        );
    }
}

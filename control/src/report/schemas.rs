//! The JSON schemas of what commands print with `--json`: `docs/schemas/`.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use super::{
    AllReport, AttachReport, DropsReport, FaultsReport, FlowEvent, FlowsReport, InspectReport,
    LogsReport, PsReport, UpReport,
};
use crate::bench;
use crate::expect::ExpectReport;
use crate::replay::ReplayReport;
use crate::top::TopReport;
use crate::topology::export::Exported;
use crate::trace::TraceReport;

/// Commands whose output has a schema.
pub const COMMANDS: &[&str] = &[
    "up",
    "ps",
    "ps-all",
    "inspect",
    "flows",
    "trace",
    "bench",
    "test",
    "replay",
    "flows-follow",
    "drops",
    "top",
    "attach",
    "fault",
    "logs",
    "export",
];

/// The schema of what `command` prints, as the text of the shipped file.
pub fn of(command: &str) -> Option<String> {
    match command {
        "up" => text::<UpReport>(),
        "ps" => text::<PsReport>(),
        "ps-all" => text::<AllReport>(),
        "inspect" => text::<InspectReport>(),
        "flows" => text::<FlowsReport>(),
        "flows-follow" => text::<FlowEvent>(),
        "drops" => text::<DropsReport>(),
        "attach" => text::<AttachReport>(),
        "fault" => text::<FaultsReport>(),
        "export" => text::<Exported>(),
        "logs" => text::<LogsReport>(),
        "top" => text::<TopReport>(),
        "trace" => text::<TraceReport>(),
        "bench" => text::<bench::Report>(),
        "test" => text::<ExpectReport>(),
        "replay" => text::<ReplayReport>(),
        _ => None,
    }
}

fn text<T: JsonSchema>() -> Option<String> {
    // As it is written, not as it may be read: a field that may be null is there.
    let schema = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>();
    let text = serde_json::to_string_pretty(&schema).ok()?;
    Some(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_schemas_are_current() {
        for command in COMMANDS {
            let path = format!(
                "{}/../docs/schemas/{command}.schema.json",
                env!("CARGO_MANIFEST_DIR")
            );
            let shipped = std::fs::read_to_string(path).unwrap_or_default();
            let current = of(command).expect("a schema");
            assert!(
                shipped == current,
                "docs/schemas/{command}.schema.json is out of date: \
                 cargo run -- schema {command} > docs/schemas/{command}.schema.json"
            );
        }
    }

    #[test]
    fn every_field_is_described() {
        for command in COMMANDS {
            let schema: serde_json::Value =
                serde_json::from_str(&of(command).expect("a schema")).expect("JSON");
            let definitions = schema["$defs"].as_object();
            let nested = definitions.into_iter().flat_map(|all| all.values());
            for object in nested.chain([&schema]) {
                for (key, field) in object["properties"].as_object().into_iter().flatten() {
                    let described = field["description"].is_string();
                    assert!(described, "{command}: {key}: {field}");
                }
            }
        }
    }
}

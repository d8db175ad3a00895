//! The JSON schema of the topology file, for editors: `docs/topology.schema.json`.

use schemars::generate::SchemaSettings;

use super::Topology;

/// The schema, as the text of the shipped file.
pub fn json_schema() -> Result<String, serde_json::Error> {
    let schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Topology>();
    let mut text = serde_json::to_string_pretty(&schema)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/topology.schema.json");

    #[test]
    fn the_shipped_schema_is_current() {
        let shipped = std::fs::read_to_string(SHIPPED).unwrap_or_default();
        let current = json_schema().expect("a schema");
        assert!(
            shipped == current,
            "docs/topology.schema.json is out of date: cargo run -- schema > docs/topology.schema.json"
        );
    }

    #[test]
    fn every_key_is_described() {
        let text = json_schema().expect("a schema");
        let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let root = schema["properties"].as_object().expect("properties");
        let definitions = schema["$defs"].as_object().expect("definitions");
        let nested = definitions
            .values()
            .filter_map(|d| d["properties"].as_object());
        for (key, property) in nested.flatten().chain(root) {
            assert!(property["description"].is_string(), "{key}: {property}");
        }
        assert!(definitions.len() > 20);
    }
}

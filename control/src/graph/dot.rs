//! A picture for Graphviz.

use super::scene::{EdgeKind, INTERNET, Node, NodeKind, Scene};

/// Writes the picture.
pub(super) fn write(scene: &Scene, title: &str) -> String {
    let mut out = format!("digraph {} {{\n", quoted(title));
    out.push_str(
        "  compound=true; rankdir=LR; fontname=\"Helvetica\"; newrank=true;\n  \
         node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"Helvetica\", \
         fontsize=11];\n  edge [fontname=\"Helvetica\", fontsize=9];\n",
    );
    if !scene.internet.is_empty() || scene.edges.iter().any(|edge| edge.to == INTERNET) {
        out.push_str("  subgraph cluster_internet {\n    label=\"internet\"; style=rounded;\n");
        out.push_str(&anchor("    ", INTERNET));
        for host in &scene.internet {
            out.push_str(&node("    ", host));
        }
        out.push_str("  }\n");
    }
    for vpc in &scene.vpcs {
        let word = if vpc.on_prem { "on premises" } else { "VPC" };
        let label = quoted(&format!("{word} {}\n{}", vpc.name, vpc.blocks));
        let name = quoted(&format!("cluster_{}", vpc.id));
        out.push_str(&format!(
            "  subgraph {name} {{\n    label={label}; color=\"#7048b6\";\n"
        ));
        for gateway in &vpc.border {
            out.push_str(&node("    ", gateway));
        }
        for zone in &vpc.zones {
            let name = quoted(&format!("cluster_{}_{}", vpc.id, zone.name));
            let label = quoted(&zone.name);
            out.push_str(&format!(
                "    subgraph {name} {{\n      label={label}; style=dashed;\n"
            ));
            for subnet in &zone.subnets {
                let name = quoted(&cluster(&subnet.id));
                let label = quoted(&format!("{}\n{}", subnet.name, subnet.blocks));
                let fill = if subnet.public { "#eef7e6" } else { "#e9f3fb" };
                out.push_str(&format!(
                    "      subgraph {name} {{\n        label={label}; style=filled; \
                     fillcolor=\"{fill}\";\n"
                ));
                out.push_str(&anchor("        ", &subnet.id));
                for it in &subnet.nodes {
                    out.push_str(&node("        ", it));
                }
                out.push_str("      }\n");
            }
            out.push_str("    }\n");
        }
        out.push_str("  }\n");
    }
    for edge in &scene.edges {
        let (style, colour) = match edge.kind {
            EdgeKind::Route => ("solid", "#52606d"),
            EdgeKind::Internet => ("solid", "#2f6fb0"),
            EdgeKind::PrivateLink => ("bold", "#7048b6"),
            EdgeKind::Geneve => ("dashed", "#b0338a"),
            EdgeKind::Target => ("solid", "#1f8a5b"),
            EdgeKind::UnhealthyTarget => ("dashed", "#c8102e"),
            EdgeKind::Peering => ("solid", "#8a5a00"),
            EdgeKind::Vpn => ("bold", "#0b7285"),
        };
        let mut more = String::new();
        if is_subnet(scene, &edge.from) {
            more = format!(", ltail={}", quoted(&cluster(&edge.from)));
        }
        if edge.to == INTERNET {
            more.push_str(", lhead=\"cluster_internet\"");
        }
        if edge.kind.is_two_way() {
            more.push_str(", dir=both");
        }
        out.push_str(&format!(
            "  {} -> {} [label={}, style={style}, color=\"{colour}\", fontcolor=\"{colour}\"{more}];\n",
            quoted(&edge.from),
            quoted(&edge.to),
            quoted(&edge.label)
        ));
    }
    out.push_str("}\n");
    out
}

fn cluster(id: &str) -> String {
    format!("cluster_{id}")
}

fn is_subnet(scene: &Scene, id: &str) -> bool {
    let zones = scene.vpcs.iter().flat_map(|vpc| &vpc.zones);
    let mut subnets = zones.flat_map(|zone| &zone.subnets);
    subnets.any(|subnet| subnet.id == id)
}

/// Edges lead between nodes, never between clusters: an invisible one stands for
/// its cluster.
fn anchor(indent: &str, id: &str) -> String {
    format!(
        "{indent}{} [shape=point, style=invis, label=\"\"];\n",
        quoted(id)
    )
}

fn node(indent: &str, node: &Node) -> String {
    let colour = match node.kind {
        NodeKind::Host => "#d9730d",
        NodeKind::Interface => "#9aa5b1",
        NodeKind::Endpoint | NodeKind::Gateway | NodeKind::Border => "#7048b6",
        NodeKind::GatewayEndpoint => "#b0338a",
        NodeKind::LoadBalancer => "#1f8a5b",
        NodeKind::NatGateway => "#2b6cb0",
    };
    let label = match node.detail.as_str() {
        "" => quoted(&node.name),
        detail => quoted(&format!("{}\n{detail}", node.name)),
    };
    format!(
        "{indent}{} [label={label}, color=\"{colour}\"];\n",
        quoted(&node.id)
    )
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}

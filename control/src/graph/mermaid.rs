//! A picture as Mermaid: GitHub and others draw it within Markdown.

use std::collections::HashMap;

use super::scene::{EdgeKind, INTERNET, Node, NodeKind, Scene};

/// Writes the picture.
pub(super) fn write(scene: &Scene) -> String {
    let mut names = Names::default();
    let mut out = String::from("flowchart LR\n");
    if !scene.internet.is_empty() || scene.edges.iter().any(|edge| edge.to == INTERNET) {
        out.push_str(&format!(
            "  subgraph {}[\"internet\"]\n",
            names.of(INTERNET)
        ));
        for host in &scene.internet {
            out.push_str(&node("    ", &mut names, host));
        }
        out.push_str("  end\n");
    }
    for vpc in &scene.vpcs {
        let word = if vpc.on_prem { "on premises" } else { "VPC" };
        let title = quoted(&format!("{word} {} {}", vpc.name, vpc.blocks));
        out.push_str(&format!("  subgraph {}[{title}]\n", names.of(&vpc.id)));
        for gateway in &vpc.border {
            out.push_str(&node("    ", &mut names, gateway));
        }
        for zone in &vpc.zones {
            let key = names.of(&format!("{}/{}", vpc.id, zone.name));
            out.push_str(&format!("    subgraph {key}[{}]\n", quoted(&zone.name)));
            for subnet in &zone.subnets {
                let title = format!("{} {}", subnet.name, subnet.blocks);
                let key = names.of(&subnet.id);
                out.push_str(&format!("      subgraph {key}[{}]\n", quoted(&title)));
                for it in &subnet.nodes {
                    out.push_str(&node("        ", &mut names, it));
                }
                out.push_str("      end\n");
            }
            out.push_str("    end\n");
        }
        out.push_str("  end\n");
    }
    for edge in &scene.edges {
        let arrow = match edge.kind {
            EdgeKind::Route | EdgeKind::Target => "-->",
            EdgeKind::Internet | EdgeKind::Peering => "<-->",
            EdgeKind::Vpn => "<==>",
            EdgeKind::PrivateLink => "==>",
            EdgeKind::Geneve | EdgeKind::UnhealthyTarget => "-.->",
        };
        let label = match edge.label.as_str() {
            "" => String::new(),
            label => format!("|{}|", quoted(label)),
        };
        let (from, to) = (names.of(&edge.from), names.of(&edge.to));
        out.push_str(&format!("  {from} {arrow}{label} {to}\n"));
    }
    out
}

fn node(indent: &str, names: &mut Names, node: &Node) -> String {
    let text = match node.detail.as_str() {
        "" => quoted(&node.name),
        detail => quoted(&format!("{}<br>{detail}", node.name)),
    };
    let (open, close) = match node.kind {
        NodeKind::Host | NodeKind::Interface => ("[", "]"),
        NodeKind::Endpoint | NodeKind::GatewayEndpoint | NodeKind::NatGateway => ("([", "])"),
        NodeKind::LoadBalancer => ("{{", "}}"),
        NodeKind::Gateway | NodeKind::Border => ("((", "))"),
    };
    format!("{indent}{}{open}{text}{close}\n", names.of(&node.id))
}

/// Short names: `n1`, `n2`… AWS's ids hold characters that Mermaid minds.
#[derive(Default)]
struct Names(HashMap<String, usize>);

impl Names {
    fn of(&mut self, id: &str) -> String {
        let next = self.0.len() + 1;
        let number = self.0.entry(id.to_owned()).or_insert(next);
        format!("n{number}")
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "#quot;"))
}

//! A picture as SVG: no script, no font of its own, nothing from elsewhere.

use super::layout::{Layout, Rect, TITLE_LETTERS, fitting, tooltip};
use super::scene::{EdgeKind, Node, NodeKind, Scene, SubnetBox};
use super::wires::Wire;
use crate::cli::human::middle;

/// Letters that fit a node: its name, and the line below.
const NAME_LETTERS: usize = 22;
const DETAIL_LETTERS: usize = 29;
/// Letters that fit a box on a border.
const BORDER_LETTERS: usize = 16;
/// Radius of an arrow's bends.
const BEND: i32 = 6;
/// Below the picture.
const LEGEND_H: i32 = 32;
/// Room of one entry of the legend, in pixels.
const LEGEND_W: i32 = 128;

const STYLE: &str = "
text{font-family:'DejaVu Sans',Verdana,Helvetica,Arial,sans-serif;fill:#1f2933}
.title{font-size:15px;font-weight:bold}.small{font-size:10.5px;fill:#52606d}
.name{font-size:12px;font-weight:bold}.zone{font-size:11px;fill:#7b8794}
.internet{fill:#f5f7fa;stroke:#9aa5b1}.vpc{fill:#fff;stroke:#7048b6;stroke-width:1.5}
.az{fill:none;stroke:#9aa5b1;stroke-dasharray:4 4}
.public{fill:#eef7e6;stroke:#7aa116}.private{fill:#e9f3fb;stroke:#4b8fc4}
.node{fill:#fff;stroke:#9aa5b1}.wire{fill:none;stroke-width:1.5}
.below{fill:#fff;fill-opacity:.9}.label{font-size:10.5px;text-anchor:middle}
";

/// Writes the picture.
pub(super) fn write(scene: &Scene, layout: &Layout, title: &str) -> String {
    let mut out = Writer::default();
    let kinds = kinds(scene);
    let legend = if kinds.is_empty() { 0 } else { LEGEND_H };
    let legend_width = 2 * LEGEND_H + LEGEND_W * i32::try_from(kinds.len()).unwrap_or(0);
    let (width, height) = (layout.size.0.max(legend_width), layout.size.1 + legend);
    out.line(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">"
    ));
    out.line(&format!("<title>{}</title>", escaped(title)));
    out.line(&format!("<style>{STYLE}</style>"));
    out.line("<defs>");
    for &kind in &kinds {
        out.line(&format!(
            "<marker id=\"tip-{0}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" \
             markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto-start-reverse\">\
             <path d=\"M0 0 8 4 0 8z\" fill=\"{1}\"/></marker>",
            class(kind),
            colour(kind)
        ));
    }
    out.line("</defs>");
    out.line(&format!(
        "<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>"
    ));
    out.boxes(scene, layout);
    for (edge, wire) in scene.edges.iter().zip(&layout.wires) {
        out.wire(edge.kind, wire);
    }
    out.nodes(scene, layout);
    for (edge, wire) in scene.edges.iter().zip(&layout.wires) {
        if let Some(place) = wire.label {
            out.label(edge.kind, &place, &edge.label);
        }
    }
    let mut x = LEGEND_H;
    for &kind in &kinds {
        let y = layout.size.1 + LEGEND_H / 2 - 4;
        let points = vec![(x, y), (x + 32, y)];
        out.wire(
            kind,
            &Wire {
                points,
                label: None,
            },
        );
        out.text("small", x + 40, y + 4, kind.name());
        x += LEGEND_W;
    }
    out.line("</svg>");
    out.0
}

/// The kinds of arrows that there are.
fn kinds(scene: &Scene) -> Vec<EdgeKind> {
    let mut kinds: Vec<_> = scene.edges.iter().map(|edge| edge.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[derive(Default)]
struct Writer(String);

impl Writer {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn text(&mut self, class: &str, x: i32, y: i32, text: &str) {
        let text = escaped(text);
        self.line(&format!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>"
        ));
    }

    fn rect(&mut self, class: &str, rect: &Rect, round: i32) {
        let Rect { x, y, w, h } = rect;
        self.line(&format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" \
             rx=\"{round}\"/>"
        ));
    }

    fn boxes(&mut self, scene: &Scene, layout: &Layout) {
        if let Some(rect) = &layout.internet {
            self.rect("internet", rect, 16);
            self.text("title", rect.x + 16, rect.y + 21, "internet");
        }
        for vpc in &scene.vpcs {
            let Some(rect) = layout.vpcs.get(&vpc.id) else {
                continue;
            };
            self.rect("vpc", rect, 8);
            self.text(
                "title",
                rect.x + 16,
                rect.y + 24,
                &middle(&vpc.name, TITLE_LETTERS),
            );
            self.text(
                "small",
                rect.x + 16,
                rect.y + 40,
                &fitting(&vpc.blocks, TITLE_LETTERS),
            );
            for zone in &vpc.zones {
                let key = (vpc.id.clone(), zone.name.clone());
                if let Some(rect) = layout.zones.get(&key) {
                    self.rect("az", rect, 4);
                    self.text("zone", rect.x + 16, rect.y + 20, &zone.name);
                }
                for subnet in &zone.subnets {
                    if let Some(rect) = layout.subnets.get(&subnet.id) {
                        self.subnet(subnet, rect);
                    }
                }
            }
        }
    }

    fn subnet(&mut self, subnet: &SubnetBox, rect: &Rect) {
        self.rect(if subnet.public { "public" } else { "private" }, rect, 4);
        let letters = usize::try_from((rect.w - 24) / 8).unwrap_or(0);
        self.text(
            "name",
            rect.x + 12,
            rect.y + 20,
            &middle(&subnet.name, letters),
        );
        let detail = match subnet.table.as_str() {
            "" => subnet.blocks.clone(),
            table => format!("{} · routes: {table}", subnet.blocks),
        };
        let letters = usize::try_from((rect.w - 24) / 6).unwrap_or(0);
        self.text(
            "small",
            rect.x + 12,
            rect.y + 36,
            &fitting(&detail, letters),
        );
    }

    fn nodes(&mut self, scene: &Scene, layout: &Layout) {
        for node in scene.nodes() {
            if let Some(rect) = layout.nodes.get(&node.id) {
                self.node(node, rect);
            }
        }
    }

    fn node(&mut self, node: &Node, rect: &Rect) {
        let (fill, word) = look(node.kind);
        self.line(&format!("<g><title>{}</title>", escaped(&tooltip(node))));
        self.rect("node", rect, 4);
        let bar = Rect { w: 6, ..*rect };
        self.line(&format!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"3\" fill=\"{fill}\"/>",
            bar.x, bar.y, bar.w, bar.h
        ));
        let left = rect.x + 14;
        if node.detail.is_empty() && word.is_empty() {
            let letters = match node.kind {
                NodeKind::Gateway | NodeKind::Border => BORDER_LETTERS,
                _ => NAME_LETTERS,
            };
            self.text(
                "name",
                left,
                rect.y + rect.h / 2 + 4,
                &middle(&node.name, letters),
            );
        } else {
            self.text("name", left, rect.y + 17, &middle(&node.name, NAME_LETTERS));
            let detail = match (word, node.detail.as_str()) {
                ("", detail) => detail.to_owned(),
                (word, "") => word.to_owned(),
                (word, detail) => format!("{word} · {detail}"),
            };
            self.text(
                "small",
                left,
                rect.y + 32,
                &fitting(&detail, DETAIL_LETTERS),
            );
        }
        self.line("</g>");
    }

    fn wire(&mut self, kind: EdgeKind, wire: &Wire) {
        let Some(path) = path(&wire.points) else {
            return;
        };
        let dash = match kind {
            EdgeKind::UnhealthyTarget => " stroke-dasharray=\"5 4\"",
            EdgeKind::Geneve => " stroke-dasharray=\"8 3\"",
            _ => "",
        };
        let back = match kind.is_two_way() {
            true => format!(" marker-start=\"url(#tip-{})\"", class(kind)),
            false => String::new(),
        };
        self.line(&format!(
            "<path class=\"wire\" d=\"{path}\" stroke=\"{}\"{dash}{back} marker-end=\"url(#tip-{})\"/>",
            colour(kind),
            class(kind)
        ));
    }

    fn label(&mut self, kind: EdgeKind, place: &Rect, text: &str) {
        let (x, y) = (place.x + place.w / 2, place.y + place.h / 2 + 4);
        let below = Rect {
            x: place.x + 2,
            w: place.w - 4,
            ..*place
        };
        self.rect("below", &below, 3);
        self.line(&format!(
            "<text class=\"label\" x=\"{x}\" y=\"{y}\" style=\"fill:{}\">{}</text>",
            colour(kind),
            escaped(text)
        ));
    }
}

/// The path through `points`, its bends rounded.
fn path(points: &[(i32, i32)]) -> Option<String> {
    let (&(x, y), rest) = points.split_first()?;
    let mut path = format!("M{x} {y}");
    let mut before = (x, y);
    for (n, &point) in rest.iter().enumerate() {
        match rest.get(n + 1) {
            None => path.push_str(&format!("L{} {}", point.0, point.1)),
            Some(&after) => {
                let (from, to) = (toward(point, before), toward(point, after));
                path.push_str(&format!(
                    "L{} {}Q{} {} {} {}",
                    from.0, from.1, point.0, point.1, to.0, to.1
                ));
            }
        }
        before = point;
    }
    Some(path)
}

/// A little way from `corner` to `other`: at most half of it.
fn toward(corner: (i32, i32), other: (i32, i32)) -> (i32, i32) {
    let step = |from: i32, to: i32| {
        let far = to - from;
        from + far.signum() * BEND.min(far.abs() / 2)
    };
    (step(corner.0, other.0), step(corner.1, other.1))
}

/// Colour of a node's bar, and the word before its addresses.
const fn look(kind: NodeKind) -> (&'static str, &'static str) {
    match kind {
        NodeKind::Host => ("#d9730d", ""),
        NodeKind::Interface => ("#9aa5b1", "ENI"),
        NodeKind::Endpoint => ("#7048b6", "endpoint"),
        NodeKind::GatewayEndpoint => ("#b0338a", "GWLB endpoint"),
        NodeKind::LoadBalancer => ("#1f8a5b", "lb node"),
        NodeKind::NatGateway => ("#2b6cb0", "NAT"),
        NodeKind::Gateway | NodeKind::Border => ("#7048b6", ""),
    }
}

const fn colour(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Route => "#52606d",
        EdgeKind::Internet => "#2f6fb0",
        EdgeKind::PrivateLink => "#7048b6",
        EdgeKind::Geneve => "#b0338a",
        EdgeKind::Target => "#1f8a5b",
        EdgeKind::UnhealthyTarget => "#c8102e",
        EdgeKind::Peering => "#8a5a00",
        EdgeKind::Vpn => "#0b7285",
    }
}

const fn class(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Route => "route",
        EdgeKind::Internet => "internet",
        EdgeKind::PrivateLink => "privatelink",
        EdgeKind::Geneve => "geneve",
        EdgeKind::Target => "target",
        EdgeKind::UnhealthyTarget => "unhealthy",
        EdgeKind::Peering => "peering",
        EdgeKind::Vpn => "vpn",
    }
}

/// Text as XML takes it; what XML cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

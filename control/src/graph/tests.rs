//! Pictures of the examples: nothing upon another, everything there.

use super::*;
use crate::topology::Topology;

const EXAMPLES: [&str; 4] = ["privatelink", "gwlb-inspection", "three-tier", "hybrid"];

fn scene_of(text: &str) -> Scene {
    let topology = Topology::parse("lab.yaml", text).expect("a topology");
    let (control, _) = topology.control_plane().expect("a lab");
    Scene::of(control.model())
}

fn example(name: &str) -> (String, Scene) {
    let file = format!("{}/../examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(file).expect("an example");
    let scene = scene_of(&text);
    (text, scene)
}

/// Many zones, subnets and hosts, and targets everywhere.
fn large() -> Scene {
    let mut text =
        String::from("name: large\nvpcs:\n  main:\n    cidr: 10.0.0.0/16\n    igw: true\n");
    text.push_str(
        "    route_tables:\n      public:\n        routes: [{to: 0.0.0.0/0, via: igw}]\n",
    );
    text.push_str("    subnets:\n");
    let mut hosts = String::from("hosts:\n");
    for (zone, letter) in ["a", "b", "c"].into_iter().enumerate() {
        for tier in 0..3 {
            let table = if tier == 0 {
                ", route_table: public"
            } else {
                ""
            };
            let block = zone * 3 + tier;
            text.push_str(&format!(
                "      s{tier}-{letter}: {{cidr: 10.0.{block}.0/24, az: {letter}{table}}}\n"
            ));
            for host in 0..9 {
                hosts.push_str(&format!(
                    "  h{block}-{host}: {{subnet: s{tier}-{letter}}}\n"
                ));
            }
        }
    }
    let lbs = "load_balancers:\n  lb:\n    type: network\n    subnets: [s0-a, s0-b, s0-c]\n    \
               listeners: [{proto: tcp, port: 80, target_group: web}]\n\
               target_groups:\n  web: {protocol: tcp, port: 80, targets: [h1-0, h4-0, h7-0, h1-5]}\n";
    scene_of(&(text + &hosts + lbs))
}

#[track_caller]
fn check(name: &str, scene: &Scene) {
    let layout = Layout::of(scene);
    let canvas = Rect {
        x: 0,
        y: 0,
        w: layout.size.0,
        h: layout.size.1,
    };
    let apart = |what: &str, boxes: &[Rect]| {
        for (n, a) in boxes.iter().enumerate() {
            for b in boxes.iter().skip(n + 1) {
                assert!(!a.meets(b), "{name}: {what} overlap: {a:?} {b:?}");
            }
        }
    };
    let mut outer: Vec<_> = layout.vpcs.values().copied().collect();
    outer.extend(layout.internet);
    apart("VPCs", &outer);
    assert!(
        outer.iter().all(|rect| canvas.holds(rect)),
        "{name}: beyond the canvas"
    );
    for vpc in &scene.vpcs {
        let home = layout.vpcs[&vpc.id];
        let zone_key = |zone: &ZoneColumn| (vpc.id.clone(), zone.name.clone());
        let zones: Vec<_> = vpc
            .zones
            .iter()
            .map(|it| layout.zones[&zone_key(it)])
            .collect();
        apart("zones", &zones);
        for (zone, place) in vpc.zones.iter().zip(&zones) {
            assert!(
                home.holds(place),
                "{name}: zone {} leaves its VPC",
                zone.name
            );
            let subnets: Vec<_> = zone
                .subnets
                .iter()
                .map(|it| layout.subnets[&it.id])
                .collect();
            apart("subnets", &subnets);
            for (subnet, place_of) in zone.subnets.iter().zip(&subnets) {
                assert!(
                    place.holds(place_of),
                    "{name}: {} leaves its zone",
                    subnet.name
                );
                let nodes: Vec<_> = subnet.nodes.iter().map(|it| layout.nodes[&it.id]).collect();
                apart("nodes", &nodes);
                for node in nodes {
                    assert!(
                        place_of.holds(&node),
                        "{name}: a node leaves {}",
                        subnet.name
                    );
                }
            }
        }
    }
    let hosts: Vec<_> = scene
        .internet
        .iter()
        .map(|it| layout.nodes[&it.id])
        .collect();
    apart("internet hosts", &hosts);
    wires(name, scene, &layout);
}

/// Arrows are there, start and end where they should, and cross no node; labels
/// lie on nothing.
fn wires(name: &str, scene: &Scene, layout: &Layout) {
    let mut labels: Vec<Rect> = Vec::new();
    for (edge, wire) in scene.edges.iter().zip(&layout.wires) {
        let what = format!("{name}: {} {} → {}", edge.label, edge.from, edge.to);
        let touches = |id: &str, point: Option<&(i32, i32)>| {
            let rect = layout.end(id).expect("an end");
            let &(x, y) = point.expect("a way");
            let dot = Rect { x, y, w: 0, h: 0 };
            let inner = Rect {
                x: rect.x + 1,
                y: rect.y + 1,
                w: rect.w - 2,
                h: rect.h - 2,
            };
            assert!(
                rect.meets(&dot) && !inner.meets(&dot),
                "{what}: not at the border"
            );
        };
        touches(&edge.from, wire.points.first());
        touches(&edge.to, wire.points.last());
        for pair in wire.points.windows(2) {
            let &[(ax, ay), (bx, by)] = pair else {
                unreachable!()
            };
            assert!(ax == bx || ay == by, "{what}: slanted");
            let segment = Rect {
                x: ax.min(bx),
                y: ay.min(by),
                w: (ax - bx).abs(),
                h: (ay - by).abs(),
            };
            for (id, node) in &layout.nodes {
                let own = *id == edge.from || *id == edge.to;
                assert!(own || !node.meets(&segment), "{what} crosses {id}");
            }
        }
        if !edge.label.is_empty() {
            let label = wire
                .label
                .unwrap_or_else(|| panic!("{what}: no room for its label"));
            assert!(
                layout.nodes.values().all(|node| !node.meets(&label)),
                "{what}: label on a node"
            );
            assert!(
                labels.iter().all(|other| !other.meets(&label)),
                "{what}: label on a label"
            );
            labels.push(label);
        }
    }
}

#[test]
fn nothing_lies_upon_another() {
    for name in EXAMPLES {
        check(name, &example(name).1);
    }
    check("large", &large());
}

#[test]
fn every_host_and_subnet_is_shown() {
    for name in EXAMPLES {
        let (text, scene) = example(name);
        let topology = Topology::parse(name, &text).expect("an example");
        let (control, _) = topology.control_plane().expect("an example");
        let pictures = [Format::Svg, Format::Mermaid, Format::Dot];
        for format in pictures {
            let picture = picture(control.model(), name, format);
            let hosts = topology.hosts.iter().map(|(name, _)| &*name.value);
            let outside = topology.outside_hosts().map(|(name, _)| &*name.value);
            let vpcs = scene.vpcs.iter();
            let subnets = vpcs.flat_map(|vpc| vpc.zones.iter().flat_map(|zone| &zone.subnets));
            let subnets = subnets.map(|subnet| subnet.name.as_str());
            let mut count = 0;
            for wanted in hosts.chain(outside).chain(subnets) {
                count += 1;
                assert!(
                    picture.contains(wanted),
                    "{name}: {format:?} without {wanted}"
                );
            }
            assert!(count >= 5, "{name}: {count} names looked for");
        }
    }
}

/// AWS ids by the order in which they appear: `eni-#3`.
fn numbered(picture: &str) -> String {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_hexdigit).count();
    let mut known: Vec<&str> = Vec::new();
    let mut out = String::new();
    let mut rest = picture;
    while let Some(dash) = rest.find('-') {
        let (before, after) = rest.split_at(dash + 1);
        out.push_str(before);
        let (id, left) = after.split_at(if digits(after) == 17 { 17 } else { 0 });
        if !id.is_empty() {
            let found = known.iter().position(|it| *it == id);
            let number = found.unwrap_or_else(|| {
                known.push(id);
                known.len() - 1
            });
            out.push_str(&format!("#{}", number + 1));
        }
        rest = left;
    }
    out + rest
}

#[test]
fn text_forms_are_as_they_were() {
    for name in EXAMPLES {
        let (text, _) = example(name);
        let topology = Topology::parse(name, &text).expect("an example");
        let (control, _) = topology.control_plane().expect("an example");
        for (format, end) in [(Format::Mermaid, "mmd"), (Format::Dot, "dot")] {
            let picture = picture(control.model(), name, format);
            insta::assert_snapshot!(format!("{name}.{end}"), numbered(&picture));
        }
    }
}

#[test]
fn names_cannot_break_the_picture() {
    let text = "name: x\nvpcs: {v: {cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.0.0/24, az: a}}}}\n\
                hosts: {h: {subnet: s}}\n";
    let mut scene = scene_of(text);
    scene.vpcs[0].name = "<script>\"&\u{1}".to_owned();
    let svg = svg::write(&scene, &Layout::of(&scene), "a < b");
    assert!(svg.contains("&lt;script&gt;&quot;&amp;<"), "{svg}");
    assert!(svg.contains("<title>a &lt; b</title>") && !svg.contains("<script"));
}

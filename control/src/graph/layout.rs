//! Where everything of a picture goes: boxes first, then arrows between them.
//!
//! The internet lies on top, VPCs beside each other below it, zones as columns in
//! a VPC, subnets as boxes in a zone, ENIs as small boxes in a subnet. All edges
//! of boxes are multiples of [`GRID`], so that arrows find their way on a grid.

use std::collections::BTreeMap;

use super::scene::{INTERNET, Node, NodeKind, Scene, SubnetBox, VpcBox};
use super::wires::{self, Wire};

/// Distance of neighbouring points of the grid, in pixels.
pub(super) const GRID: i32 = 8;

/// Sizes, in pixels.
const MARGIN: i32 = 40;
const NODE_W: i32 = 184;
const NODE_H: i32 = 40;
const NODE_GAP: i32 = 24;
const SUBNET_HEAD: i32 = 48;
const SUBNET_PAD: i32 = 24;
const SUBNET_GAP: i32 = 48;
const ZONE_HEAD: i32 = 32;
const ZONE_PAD: i32 = 16;
const ZONE_GAP: i32 = 72;
const VPC_HEAD: i32 = 56;
const VPC_PAD: i32 = 40;
const VPC_GAP: i32 = 112;
const GATEWAY_W: i32 = 136;
const GATEWAY_H: i32 = 32;
const INTERNET_HEAD: i32 = 32;
const INTERNET_GAP: i32 = 88;
/// Nodes of a subnet stand in one column up to this many.
const COLUMN_MAX: usize = 6;

/// A box on the canvas, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left.
    pub x: i32,
    /// Top.
    pub y: i32,
    /// Width.
    pub w: i32,
    /// Height.
    pub h: i32,
}

impl Rect {
    /// Its right edge.
    pub const fn right(&self) -> i32 {
        self.x + self.w
    }

    /// Its lower edge.
    pub const fn bottom(&self) -> i32 {
        self.y + self.h
    }

    /// Whether two boxes share a point.
    pub const fn meets(&self, other: &Self) -> bool {
        self.x <= other.right()
            && other.x <= self.right()
            && self.y <= other.bottom()
            && other.y <= self.bottom()
    }

    /// Whether `inner` lies inside.
    pub const fn holds(&self, inner: &Self) -> bool {
        self.x <= inner.x
            && self.y <= inner.y
            && inner.right() <= self.right()
            && inner.bottom() <= self.bottom()
    }
}

/// A picture with places.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Size of the canvas.
    pub size: (i32, i32),
    /// The internet's box, if there is one.
    pub internet: Option<Rect>,
    /// VPCs by id.
    pub vpcs: BTreeMap<String, Rect>,
    /// Zones by VPC and name.
    pub zones: BTreeMap<(String, String), Rect>,
    /// Titles of VPCs.
    titles: Vec<Rect>,
    /// Subnets by id.
    pub subnets: BTreeMap<String, Rect>,
    /// Nodes by id.
    pub nodes: BTreeMap<String, Rect>,
    /// Arrows, in the order of the scene's.
    pub wires: Vec<Wire>,
}

impl Layout {
    /// Places everything of `scene`.
    pub fn of(scene: &Scene) -> Self {
        let mut layout = Self::default();
        let has_internet = !scene.internet.is_empty()
            || scene
                .vpcs
                .iter()
                .any(|vpc| vpc.internet_gateway().is_some());
        let top = if has_internet {
            MARGIN + INTERNET_HEAD + NODE_H + SUBNET_PAD + INTERNET_GAP
        } else {
            MARGIN
        };
        let mut x = MARGIN;
        for vpc in &scene.vpcs {
            let rect = layout.vpc(vpc, x, top);
            x = rect.right() + VPC_GAP;
        }
        if has_internet {
            layout.internet(scene);
        }
        let all = layout.vpcs.values().chain(&layout.internet);
        let (right, bottom) = all.fold((0, 0), |(right, bottom), rect| {
            (right.max(rect.right()), bottom.max(rect.bottom()))
        });
        layout.size = (right + MARGIN, bottom + MARGIN);
        layout.wires = wires::route(scene, &layout);
        layout
    }

    /// The box of a node or subnet, or the internet's.
    pub fn end(&self, id: &str) -> Option<Rect> {
        if id == INTERNET {
            return self.internet;
        }
        self.nodes.get(id).or_else(|| self.subnets.get(id)).copied()
    }

    /// What no arrow crosses: small boxes, and titles.
    pub fn obstacles(&self) -> Vec<Rect> {
        let title = |rect: &Rect, w: i32, h: i32| Rect {
            w: w.min(rect.w),
            h,
            ..*rect
        };
        let vpcs = self.titles.iter().copied();
        let zones = self
            .zones
            .values()
            .map(|it| title(it, ZONE_TITLE_W, ZONE_HEAD - GRID));
        let subnets = self.subnets.values().map(|it| Rect {
            x: it.x + GRID,
            y: it.y + GRID,
            w: it.w - 2 * GRID,
            h: SUBNET_HEAD - 2 * GRID,
        });
        let internet = self.internet.iter().copied();
        let nodes = self.nodes.values().copied();
        vpcs.chain(zones)
            .chain(subnets)
            .chain(internet)
            .chain(nodes)
            .collect()
    }

    fn vpc(&mut self, vpc: &VpcBox, x: i32, y: i32) -> Rect {
        // Room for the labels of the arrows that lead to the border.
        let others = vpc.border.iter().any(|it| it.kind == NodeKind::Border);
        let rows = count(vpc.border.len()) + i32::from(others);
        let head = y + VPC_HEAD + rows * 2 * GRID;
        let mut at = x + VPC_PAD;
        let mut bottom = head;
        for zone in &vpc.zones {
            let width = zone
                .subnets
                .iter()
                .map(subnet_width)
                .max()
                .unwrap_or(NODE_W);
            let mut below = head + ZONE_HEAD;
            for subnet in &zone.subnets {
                let rect = self.subnet(subnet, at, below, width);
                below = rect.bottom() + SUBNET_GAP;
            }
            let rect = Rect {
                x: at - ZONE_PAD,
                y: head,
                w: width + 2 * ZONE_PAD,
                h: below - SUBNET_GAP + ZONE_PAD - head,
            };
            self.zones.insert((vpc.id.clone(), zone.name.clone()), rect);
            bottom = bottom.max(rect.bottom());
            at += width + ZONE_GAP;
        }
        let right = if vpc.zones.is_empty() {
            at
        } else {
            at - ZONE_GAP
        };
        let title = title_width(vpc);
        let border = count(vpc.border.len()) * (GATEWAY_W + 2 * GRID) - 2 * GRID;
        let least = match vpc.border.len() {
            0 => title,
            _ => title + border + 3 * GRID,
        };
        let rect = Rect {
            x,
            y,
            w: (right + VPC_PAD - x).max(least),
            h: bottom + VPC_PAD - ZONE_PAD - y,
        };
        // Half in, half out; right of the title.
        let left = snap((rect.x + rect.w / 2 - border / 2).max(rect.x + title + GRID));
        for (n, gateway) in vpc.border.iter().enumerate() {
            let place = Rect {
                x: left + count(n) * (GATEWAY_W + 2 * GRID),
                y: y - GATEWAY_H / 2,
                w: GATEWAY_W,
                h: GATEWAY_H,
            };
            self.nodes.insert(gateway.id.clone(), place);
        }
        self.titles.push(Rect {
            w: title,
            h: VPC_HEAD - GRID,
            ..rect
        });
        self.vpcs.insert(vpc.id.clone(), rect);
        rect
    }

    fn subnet(&mut self, subnet: &SubnetBox, x: i32, y: i32, width: i32) -> Rect {
        let columns = columns(subnet.nodes.len());
        let rows = subnet.nodes.len().div_ceil(columns.max(1));
        let used = count(columns) * (NODE_W + NODE_GAP) - NODE_GAP;
        let left = snap(x + (width - used) / 2);
        for (n, node) in subnet.nodes.iter().enumerate() {
            let (column, row) = (count(n % columns), count(n / columns));
            let place = Rect {
                x: left + column * (NODE_W + NODE_GAP),
                y: y + SUBNET_HEAD + row * (NODE_H + NODE_GAP),
                w: NODE_W,
                h: NODE_H,
            };
            self.nodes.insert(node.id.clone(), place);
        }
        let inner = (count(rows) * (NODE_H + NODE_GAP) - NODE_GAP).max(0);
        let rect = Rect {
            x,
            y,
            w: width,
            h: SUBNET_HEAD + inner + SUBNET_PAD - if rows == 0 { GRID * 2 } else { 0 },
        };
        self.subnets.insert(subnet.id.clone(), rect);
        rect
    }

    /// In a row, over the middle of the gateways.
    fn internet(&mut self, scene: &Scene) {
        let hosts = count(scene.internet.len().max(1));
        let w = hosts * (NODE_W + NODE_GAP) - NODE_GAP + 2 * SUBNET_PAD;
        let gateways = scene.vpcs.iter().filter_map(VpcBox::internet_gateway);
        let middles: Vec<_> = gateways
            .filter_map(|it| self.nodes.get(&it.id))
            .map(|it| it.x + it.w / 2)
            .collect();
        let sum: i32 = middles.iter().sum();
        let middle = sum
            .checked_div(count(middles.len()))
            .unwrap_or(MARGIN + w / 2);
        let rect = Rect {
            x: snap(middle - w / 2).max(MARGIN),
            y: MARGIN,
            w,
            h: INTERNET_HEAD + NODE_H + SUBNET_PAD,
        };
        for (n, host) in scene.internet.iter().enumerate() {
            let place = Rect {
                x: rect.x + SUBNET_PAD + count(n) * (NODE_W + NODE_GAP),
                y: rect.y + INTERNET_HEAD,
                w: NODE_W,
                h: NODE_H,
            };
            self.nodes.insert(host.id.clone(), place);
        }
        self.internet = Some(rect);
    }
}

/// Room for a zone's title.
const ZONE_TITLE_W: i32 = 112;

/// Room for a VPC's title: name and blocks, in letters of 10 and 7 pixels.
fn title_width(vpc: &VpcBox) -> i32 {
    let letters = |text: &str| count(text.chars().count().min(TITLE_LETTERS));
    let text = (letters(&vpc.name) * 10).max(letters(&vpc.blocks) * 7);
    snap(text + 5 * GRID)
}

/// Longer titles are cut.
pub(super) const TITLE_LETTERS: usize = 28;

fn subnet_width(subnet: &SubnetBox) -> i32 {
    let columns = columns(subnet.nodes.len());
    count(columns) * (NODE_W + NODE_GAP) - NODE_GAP + 2 * SUBNET_PAD
}

/// One, or so many that the box is about as wide as high.
fn columns(nodes: usize) -> usize {
    if nodes <= COLUMN_MAX {
        return 1;
    }
    let wide = (1..nodes).find(|n| n * n * 3 >= nodes);
    wide.unwrap_or(1)
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX / (NODE_W + NODE_GAP))
}

fn snap(pixel: i32) -> i32 {
    pixel / GRID * GRID
}

/// Letters that fit a node at its font's size; the rest is cut.
pub(super) fn fitting(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    let cut: String = text.chars().take(letters.saturating_sub(1)).collect();
    format!("{cut}…")
}

/// What a node's tooltip says.
pub(super) fn tooltip(node: &Node) -> String {
    let detail = if node.detail.is_empty() {
        String::new()
    } else {
        format!(" {}", node.detail)
    };
    format!("{}{detail} ({})", node.name, node.id)
}

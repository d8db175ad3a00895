//! The ways of arrows: along the grid, around boxes and titles, with few bends,
//! beside each other rather than upon each other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::layout::{GRID, Layout, Rect};
use super::scene::Scene;

/// An arrow's way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// Corners from one end to the other, in pixels; none if it has no place.
    pub points: Vec<(i32, i32)>,
    /// Where its label is, if it has one.
    pub label: Option<Rect>,
}

/// What a step costs, and what else makes a way worse.
const STEP: u32 = 1;
const BEND: u32 = 8;
const CROSSING: u32 = 10;
const ALONG: u32 = 60;
const BESIDE: u32 = 3;
/// More work than this is not worth a picture: then arrows go straight.
const WORK_MAX: usize = 80_000_000;

/// Pixels per letter of a label, and its height.
const LETTER_W: i32 = 7;
const LABEL_H: i32 = 16;

/// The ways of all arrows of `scene`, in its order.
pub(super) fn route(scene: &Scene, layout: &Layout) -> Vec<Wire> {
    let mut grid = Grid::new(layout);
    let mut wires = vec![Wire::default(); scene.edges.len()];
    let ends: Vec<_> = scene
        .edges
        .iter()
        .map(|edge| Some((layout.end(&edge.from)?, layout.end(&edge.to)?)))
        .collect();
    let mut order: Vec<_> = (0..ends.len()).collect();
    // Short ones first: they have the least choice.
    order.sort_by_key(|&n| {
        ends.get(n)
            .copied()
            .flatten()
            .map(|(a, b)| distance(&a, &b))
    });
    let straight = grid.blocked.len().saturating_mul(ends.len()) > WORK_MAX;
    for n in order {
        let Some((from, to)) = ends.get(n).copied().flatten() else {
            continue;
        };
        let found = if straight {
            None
        } else {
            grid.search(&from, &to)
        };
        let points = found.unwrap_or_else(|| vec![middle(&from), middle(&to)]);
        grid.take(&points);
        if let Some(wire) = wires.get_mut(n) {
            wire.points = points;
        }
    }
    label(scene, layout, &mut wires);
    wires
}

/// Boxes with something inside.
fn borders(layout: &Layout) -> impl Iterator<Item = &Rect> {
    let vpcs = layout.vpcs.values().chain(layout.zones.values());
    vpcs.chain(layout.subnets.values())
}

fn distance(a: &Rect, b: &Rect) -> i32 {
    let ((ax, ay), (bx, by)) = (middle(a), middle(b));
    (ax - bx).abs() + (ay - by).abs()
}

fn middle(rect: &Rect) -> (i32, i32) {
    (rect.x + rect.w / 2, rect.y + rect.h / 2)
}

/// Right, down, left, up.
const WAYS: [(i32, i32); 4] = [(1, 0), (0, 1), (-1, 0), (0, -1)];

struct Grid {
    width: i32,
    height: i32,
    blocked: Vec<bool>,
    /// How many arrows pass a point horizontally and vertically.
    used: Vec<[u8; 2]>,
}

/// A point and the way by which it was reached.
type Place = (i32, i32, usize);

impl Grid {
    fn new(layout: &Layout) -> Self {
        let (width, height) = (layout.size.0 / GRID + 1, layout.size.1 / GRID + 1);
        let cells = usize::try_from(width * height).unwrap_or(0);
        let mut grid = Self {
            width,
            height,
            blocked: vec![false; cells],
            used: vec![[0; 2]; cells],
        };
        for rect in layout.obstacles() {
            grid.block(&rect);
        }
        // Along a border, an arrow could not be told from it.
        for rect in borders(layout) {
            grid.border(rect);
        }
        grid
    }

    fn block(&mut self, rect: &Rect) {
        for y in rect.y / GRID..=rect.bottom() / GRID {
            for x in rect.x / GRID..=rect.right() / GRID {
                if let Some(at) = self.index(x, y)
                    && let Some(cell) = self.blocked.get_mut(at)
                {
                    *cell = true;
                }
            }
        }
    }

    fn border(&mut self, rect: &Rect) {
        let (left, right) = (rect.x / GRID, rect.right() / GRID);
        let (top, bottom) = (rect.y / GRID, rect.bottom() / GRID);
        for x in left..=right {
            self.mark(x, top, 0);
            self.mark(x, bottom, 0);
        }
        for y in top..=bottom {
            self.mark(left, y, 1);
            self.mark(right, y, 1);
        }
    }

    fn mark(&mut self, x: i32, y: i32, axis: usize) {
        let at = self.index(x, y);
        if let Some(used) = at.and_then(|at| self.used.get_mut(at))
            && let Some(count) = used.get_mut(axis)
        {
            *count = count.saturating_add(1);
        }
    }

    fn index(&self, x: i32, y: i32) -> Option<usize> {
        let inside = (0..self.width).contains(&x) && (0..self.height).contains(&y);
        inside.then(|| usize::try_from(y * self.width + x).unwrap_or(0))
    }

    fn is_free(&self, x: i32, y: i32) -> bool {
        let cell = self.index(x, y).and_then(|at| self.blocked.get(at));
        cell.is_some_and(|blocked| !blocked)
    }

    fn used(&self, x: i32, y: i32, axis: usize) -> bool {
        let at = self.index(x, y);
        let used = at.and_then(|at| self.used.get(at));
        used.and_then(|used| used.get(axis)).is_some_and(|&n| n > 0)
    }

    /// The best way from one box to another.
    fn search(&self, from: &Rect, to: &Rect) -> Option<Vec<(i32, i32)>> {
        let goals: HashMap<(i32, i32), usize> =
            doors(to).map(|(x, y, way)| ((x, y), way)).collect();
        let mut best: HashMap<Place, (u32, Option<Place>)> = HashMap::new();
        let mut open = BinaryHeap::new();
        let guess = |x: i32, y: i32| -> u32 {
            let dx = (to.x / GRID - x).max(x - to.right() / GRID).max(0);
            let dy = (to.y / GRID - y).max(y - to.bottom() / GRID).max(0);
            u32::try_from(dx + dy).unwrap_or(0) * STEP
        };
        for (x, y, way) in doors(from).filter(|&(x, y, _)| self.is_free(x, y)) {
            // The middle of a side looks best; a door that is taken, worst.
            let cost = off_middle(from, x, y, way) + if self.taken(x, y) { ALONG } else { 0 };
            best.insert((x, y, way), (cost, None));
            open.push(Reverse((cost + guess(x, y), (x, y, way))));
        }
        let mut finished: Option<(u32, Place)> = None;
        while let Some(Reverse((estimate, place))) = open.pop() {
            if finished.is_some_and(|(cost, _)| cost <= estimate) {
                break;
            }
            let (x, y, way) = place;
            let &(cost, _) = best.get(&place)?;
            if let Some(&door) = goals.get(&(x, y)) {
                // Doors look outward; the arrow comes in.
                let inward = (door + 2) % WAYS.len();
                let bend = if inward == way { 0 } else { BEND };
                let taken = if self.taken(x, y) { ALONG } else { 0 };
                let total = cost + bend + taken + off_middle(to, x, y, door);
                if inward != (way + 2) % WAYS.len()
                    && finished.is_none_or(|(least, _)| total < least)
                {
                    finished = Some((total, place));
                }
            }
            for (turn, (dx, dy)) in WAYS.iter().enumerate() {
                let next = (x + dx, y + dy, turn);
                if turn == (way + 2) % WAYS.len() || !self.is_free(next.0, next.1) {
                    continue;
                }
                let bend = if turn == way { 0 } else { BEND };
                let cost = cost + STEP + bend + self.toll(next.0, next.1, turn % 2);
                let known = best.get(&next).map(|&(known, _)| known);
                if known.is_none_or(|known| cost < known) {
                    best.insert(next, (cost, Some(place)));
                    open.push(Reverse((cost + guess(next.0, next.1), next)));
                }
            }
        }
        let (_, end) = finished?;
        let door = *goals.get(&(end.0, end.1))?;
        Some(corners(&best, end, door))
    }

    fn taken(&self, x: i32, y: i32) -> bool {
        self.used(x, y, 0) || self.used(x, y, 1)
    }

    /// What it costs to pass a point along `axis`, besides the step.
    fn toll(&self, x: i32, y: i32, axis: usize) -> u32 {
        let mut toll = 0;
        if self.used(x, y, axis) {
            toll += ALONG;
        }
        if self.used(x, y, 1 - axis) {
            toll += CROSSING;
        }
        let (dx, dy) = if axis == 0 { (0, 1) } else { (1, 0) };
        if self.used(x + dx, y + dy, axis) || self.used(x - dx, y - dy, axis) {
            toll += BESIDE;
        }
        toll
    }

    /// Others keep away from this way.
    fn take(&mut self, points: &[(i32, i32)]) {
        for pair in points.windows(2) {
            let &[(ax, ay), (bx, by)] = pair else {
                continue;
            };
            let axis = usize::from(ax == bx);
            if ax != bx && ay != by {
                continue;
            }
            for x in ax.min(bx) / GRID..=ax.max(bx) / GRID {
                for y in ay.min(by) / GRID..=ay.max(by) / GRID {
                    self.mark(x, y, axis);
                }
            }
        }
    }
}

/// Points just outside a box, not at its corners, with the way outward.
fn doors(rect: &Rect) -> impl Iterator<Item = Place> {
    let (left, right) = (rect.x / GRID, rect.right() / GRID);
    let (top, bottom) = (rect.y / GRID, rect.bottom() / GRID);
    let across = (left + 2..=right - 2).flat_map(move |x| [(x, top - 1, 3), (x, bottom + 1, 1)]);
    let down = (top + 1..=bottom - 1).flat_map(move |y| [(left - 1, y, 2), (right + 1, y, 0)]);
    across.chain(down)
}

/// How far a door is from the middle of its side: a little matters.
fn off_middle(rect: &Rect, x: i32, y: i32, way: usize) -> u32 {
    let (mx, my) = middle(rect);
    let off = if way.is_multiple_of(2) {
        y - my / GRID
    } else {
        x - mx / GRID
    };
    off.unsigned_abs() / 2
}

/// The corners of the way that ends at `end`, and the ends on the boxes' borders.
fn corners(
    best: &HashMap<Place, (u32, Option<Place>)>,
    end: Place,
    door: usize,
) -> Vec<(i32, i32)> {
    let mut places = vec![end];
    let mut at = end;
    while let Some(&(_, Some(before))) = best.get(&at) {
        places.push(before);
        at = before;
    }
    places.reverse();
    let pixel = |x: i32, y: i32| (x * GRID, y * GRID);
    let back = |(x, y, way): Place| {
        let (dx, dy) = WAYS.get(way).copied().unwrap_or_default();
        pixel(x - dx, y - dy)
    };
    let mut points: Vec<_> = places
        .first()
        .map(|&first| back(first))
        .into_iter()
        .collect();
    points.extend(places.iter().map(|&(x, y, _)| pixel(x, y)));
    points.push(back((end.0, end.1, door)));
    // Only where it turns.
    let mut corners: Vec<(i32, i32)> = Vec::new();
    for point in points {
        if let &[.., (ax, ay), (bx, by)] = corners.as_slice()
            && ((ax == bx && bx == point.0) || (ay == by && by == point.1))
        {
            corners.pop();
        }
        corners.push(point);
    }
    corners
}

/// Puts labels on the arrows: on a free place near the middle of each.
fn label(scene: &Scene, layout: &Layout, wires: &mut [Wire]) {
    let mut taken = layout.obstacles();
    let segments: Vec<Vec<Rect>> = wires.iter().map(segments).collect();
    for (n, edge) in scene.edges.iter().enumerate() {
        let Some(wire) = wires.get_mut(n) else {
            continue;
        };
        if edge.label.is_empty() || wire.points.is_empty() {
            continue;
        }
        let letters = i32::try_from(edge.label.chars().count()).unwrap_or(0);
        let size = (letters * LETTER_W + GRID, LABEL_H);
        let others = segments.iter().enumerate().filter(|&(other, _)| other != n);
        let others: Vec<_> = others.flat_map(|(_, it)| it.iter().copied()).collect();
        let places = places(&wire.points, size);
        let free = |rect: &&Rect| !taken.iter().any(|it| it.meets(rect));
        let clear = |rect: &&Rect| !others.iter().any(|it| it.meets(rect));
        // On a border it could still be read.
        let inside = |rect: &&Rect| borders(layout).all(|it| !it.meets(rect) || it.holds(rect));
        // Not at a bend: its line would pass through.
        let own = segments.get(n).map_or(&[][..], Vec::as_slice);
        let alone = |rect: &&Rect| own.iter().filter(|it| it.meets(rect)).count() == 1;
        let place = places
            .iter()
            .find(|rect| free(rect) && clear(rect) && inside(rect) && alone(rect))
            .or_else(|| {
                places
                    .iter()
                    .find(|rect| free(rect) && clear(rect) && alone(rect))
            })
            .or_else(|| places.iter().find(|rect| free(rect) && clear(rect)))
            .or_else(|| places.iter().find(free))
            .copied();
        if let Some(rect) = place {
            taken.push(rect);
            wire.label = Some(rect);
        }
    }
}

fn segments(wire: &Wire) -> Vec<Rect> {
    let pairs = wire.points.windows(2);
    pairs
        .filter_map(|pair| match pair {
            &[(ax, ay), (bx, by)] => Some(Rect {
                x: ax.min(bx),
                y: ay.min(by),
                w: (ax - bx).abs(),
                h: (ay - by).abs(),
            }),
            _ => None,
        })
        .collect()
}

/// Places for a label along a way, those near its middle first.
fn places(points: &[(i32, i32)], (w, h): (i32, i32)) -> Vec<Rect> {
    let mut along = Vec::new();
    for pair in points.windows(2) {
        let &[(ax, ay), (bx, by)] = pair else {
            continue;
        };
        let steps = ((ax - bx).abs().max((ay - by).abs()) / GRID).max(1);
        for step in 0..steps {
            let (dx, dy) = ((bx - ax) * step / steps, (by - ay) * step / steps);
            along.push((ax + dx, ay + dy));
        }
    }
    let middle = along.len() / 2;
    let mut order: Vec<_> = (0..along.len()).collect();
    order.sort_by_key(|&n| n.abs_diff(middle));
    order
        .into_iter()
        .filter_map(|n| along.get(n))
        .map(|&(x, y)| Rect {
            x: x - w / 2,
            y: y - h / 2,
            w,
            h,
        })
        .collect()
}

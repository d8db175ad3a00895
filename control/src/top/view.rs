//! Draws the screen: a head, one pane (or all four where there is room), keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Cell, Paragraph, Row, Sparkline, Table};

use super::state::{Pane, State, columns};
use crate::cli::human;
use crate::cli::style::Mood;

/// From this size on, all panes are shown at once.
const WIDE: u16 = 140;
const HIGH: u16 = 36;
/// From this height on, there is room for curves.
const CURVES: u16 = 28;

const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws `state`.
pub fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    let curves = if area.height >= CURVES { 4 } else { 0 };
    let rows = [
        Constraint::Length(2),
        Constraint::Length(curves),
        Constraint::Min(3),
        Constraint::Length(1),
    ];
    let [head, middle, body, foot] = Layout::vertical(rows).areas(area);
    draw_head(frame, head, state);
    if curves > 0 {
        let halves = [Constraint::Ratio(1, 2), Constraint::Ratio(1, 2)];
        let [left, right] = Layout::horizontal(halves).areas(middle);
        curve(frame, left, "packets/s", &state.pps, Color::Green);
        curve(frame, right, "drops/s", &state.drops, Color::Red);
    }
    if area.width >= WIDE && area.height >= HIGH {
        let halves = [Constraint::Ratio(1, 2), Constraint::Ratio(1, 2)];
        let [upper, lower] = Layout::vertical(halves).areas(body);
        let [enis, drops] = Layout::horizontal(halves).areas(upper);
        let [flows, targets] = Layout::horizontal(halves).areas(lower);
        for (pane, place) in [
            (Pane::Enis, enis),
            (Pane::Drops, drops),
            (Pane::Flows, flows),
            (Pane::Targets, targets),
        ] {
            draw_pane(frame, place, state, pane);
        }
    } else {
        let [tabs, body] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(2)]).areas(body);
        draw_tabs(frame, tabs, state);
        draw_pane(frame, body, state, state.pane);
    }
    draw_foot(frame, foot, state);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let Some(report) = state.last() else {
        frame.render_widget(Paragraph::new("asking the lab…"), area);
        return;
    };
    let totals = &state.rates.totals;
    let targets = &state.rates.targets;
    let healthy = targets.iter().filter(|it| it.health == "healthy").count();
    let mut first = vec![
        Span::styled(
            human::middle(&report.ps.lab, usize::from(area.width / 4).max(12)),
            BOLD,
        ),
        Span::raw(format!("  up {}", human::seconds(report.ps.uptime_s))),
        Span::raw(format!("   hosts {}", report.ps.hosts.len())),
        Span::raw(format!("   flows {}", human::count(report.flow_count))),
    ];
    if !targets.is_empty() {
        let mood = if healthy == targets.len() {
            Mood::Good
        } else {
            Mood::Waiting
        };
        first.push(Span::raw("   "));
        let text = format!(
            "{} {healthy}/{} targets healthy",
            mood.mark(),
            targets.len()
        );
        first.push(Span::styled(text, colour(mood)));
    }
    if state.paused {
        let style = Style::new().add_modifier(Modifier::REVERSED);
        first.push(Span::raw("   "));
        first.push(Span::styled(" PAUSED ", style));
    }
    let drops = if totals.drops > 0.0 {
        Style::new().fg(Color::Red)
    } else {
        FAINT
    };
    let second = vec![
        Span::raw(format!("{} packets/s", number(totals.pps))),
        Span::raw(format!("   {}", human::bit_rate(totals.bps))),
        Span::styled(format!("   {} drops/s", number(totals.drops)), drops),
        Span::raw(format!("   {} new flows/s", number(totals.new_flows))),
    ];
    let lines = vec![Line::from(first), Line::from(second)];
    frame.render_widget(Paragraph::new(lines), area);
}

fn curve(frame: &mut Frame<'_>, area: Rect, title: &str, values: &[u64], colour: Color) {
    let most = values.iter().copied().max().unwrap_or(0);
    let title = format!(" {title}, at most {} ", human::count(most));
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(FAINT)
        .title(title);
    let room = usize::from(area.width.saturating_sub(2));
    let latest = values
        .get(values.len().saturating_sub(room)..)
        .unwrap_or(&[]);
    let line = Sparkline::default()
        .block(block)
        .data(latest)
        .style(Style::new().fg(colour));
    frame.render_widget(line, area);
}

fn draw_tabs(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let mut spans = Vec::new();
    for (n, pane) in Pane::ALL.into_iter().enumerate() {
        let text = format!(" {} {} ({}) ", n + 1, pane.title(), state.rows(pane));
        let style = if pane == state.pane {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            FAINT
        };
        spans.push(Span::styled(text, style));
        spans.push(Span::raw(" "));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, state: &State) {
    if let Some(trouble) = &state.trouble {
        let text = format!("the lab does not answer: {trouble}");
        let style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
        frame.render_widget(Paragraph::new(text).style(style), area);
        return;
    }
    let order = state.order(state.pane);
    let by = columns(state.pane).get(order.column).copied().unwrap_or("");
    let keys = format!("q quit  tab pane  s sort: {by}  r reverse  p pause  ↑↓ scroll");
    frame.render_widget(Paragraph::new(keys).style(FAINT), area);
}

fn draw_pane(frame: &mut Frame<'_>, area: Rect, state: &State, pane: Pane) {
    let focused = pane == state.pane;
    let border = if focused { Style::new() } else { FAINT };
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(border)
        .title(format!(" {} ", pane.title()));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let (titles, widths, rows) = match pane {
        Pane::Enis => enis(state, inner.width),
        Pane::Drops => drops(state),
        Pane::Targets => targets(state, inner.width),
        Pane::Flows => flows(state, inner.width),
    };
    if rows.is_empty() {
        let text = match pane {
            Pane::Enis => "no hosts",
            Pane::Drops => "nothing was dropped",
            Pane::Targets => "no targets",
            Pane::Flows => "no flows",
        };
        frame.render_widget(Paragraph::new(text).style(FAINT), inner);
        return;
    }
    // The last line stays on the screen.
    let room = usize::from(inner.height.saturating_sub(1)).max(1);
    let scroll = state
        .order(pane)
        .scroll
        .min(rows.len().saturating_sub(room));
    let head = Row::new(titles.into_iter().map(|title| cell(title, BOLD)));
    let rows = rows.into_iter().skip(scroll);
    let table = Table::new(rows, widths).header(head).column_spacing(GAP);
    frame.render_widget(table, inner);
}

type Parts = (Vec<String>, Vec<Constraint>, Vec<Row<'static>>);

/// Blanks between two columns.
const GAP: u16 = 2;

/// Letters of the longest text, as a column's width.
fn longest<'a>(texts: impl Iterator<Item = &'a str>) -> u16 {
    let most = texts.map(|text| text.chars().count()).max().unwrap_or(0);
    u16::try_from(most).unwrap_or(u16::MAX)
}

/// Addresses are left out where names would be too short to tell apart.
fn enis(state: &State, width: u16) -> Parts {
    const NUMBERS: [u16; 5] = [7, 11, 7, 11, 5];
    const NAME_LEAST: u16 = 14;
    let numbers: u16 = NUMBERS.iter().map(|number| number + GAP).sum();
    let all = &state.rates.enis;
    let address = longest(all.iter().map(|row| &*row.address)).max(7);
    let rest = width.saturating_sub(numbers);
    let shown = rest >= NAME_LEAST + GAP + address;
    let name = rest.saturating_sub(if shown { GAP + address } else { 0 });
    let titles = [
        "ENI",
        "ADDRESS",
        ">OUT pps",
        ">OUT bit/s",
        ">IN pps",
        ">IN bit/s",
        ">LOST",
    ];
    let kept = |at: usize| shown || at != 1;
    // One interface each: its name says nothing.
    let single = all.iter().all(|row| row.name.ends_with(" eth0"));
    let short = |name: &str| match single {
        true => name.trim_end_matches(" eth0").to_owned(),
        false => name.to_owned(),
    };
    let rows = state.rates.enis.iter().map(|row| {
        let lost = if row.lost > 0 {
            Style::new().fg(Color::Red)
        } else {
            FAINT
        };
        let cells = [
            cell(human::middle(&short(&row.name), name.into()), Style::new()),
            cell(row.address.clone(), FAINT),
            right(number(row.out_pps), busy(row.out_pps)),
            right(human::bit_rate(row.out_bps), busy(row.out_bps)),
            right(number(row.in_pps), busy(row.in_pps)),
            right(human::bit_rate(row.in_bps), busy(row.in_bps)),
            right(human::count(row.lost), lost),
        ];
        Row::new(only(cells, kept))
    });
    let widths = [name, address].into_iter().chain(NUMBERS);
    let widths = widths.map(Constraint::Length);
    let titles = only(titled(&titles), kept);
    (titles, only(widths, kept), rows.collect())
}

fn drops(state: &State) -> Parts {
    let rows = state.rates.drops.iter().map(|row| {
        let style = if row.per_second > 0.0 {
            Style::new().fg(Color::Red)
        } else {
            Style::new()
        };
        Row::new([
            cell(row.reason.clone(), style),
            right(number(row.per_second), style),
            right(human::count(row.total), style),
            cell(row.meaning.to_owned(), FAINT),
        ])
    });
    let widths = [
        Constraint::Length(24),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Fill(1),
    ];
    let titles = titled(&["REASON", ">PER s", ">TOTAL", "MEANING"]);
    (titles, widths.to_vec(), rows.collect())
}

fn targets(state: &State, width: u16) -> Parts {
    let all = &state.rates.targets;
    let target = longest(all.iter().map(|row| &*row.target)).max(6);
    let rest = width.saturating_sub(target + 3 * GAP);
    // Names as far as two sevenths go; the health has what is left.
    let group = longest(all.iter().map(|row| &*row.group)).clamp(5, (rest * 2 / 7).max(5));
    let host = longest(all.iter().map(|row| &*row.host)).clamp(4, (rest * 2 / 7).max(4));
    let rows = state.rates.targets.iter().map(|row| {
        let mood = Mood::of(&row.health);
        let health = if row.why.is_empty() {
            format!("{} {}", mood.mark(), row.health)
        } else {
            format!("{} {}: {}", mood.mark(), row.health, row.why)
        };
        Row::new([
            cell(human::middle(&row.group, group.into()), Style::new()),
            cell(row.target.clone(), Style::new()),
            cell(human::middle(&row.host, host.into()), FAINT),
            cell(health, colour(mood)),
        ])
    });
    let widths = [
        Constraint::Length(group),
        Constraint::Length(target),
        Constraint::Length(host),
        Constraint::Fill(1),
    ];
    let titles = titled(&["GROUP", "TARGET", "HOST", "HEALTH"]);
    (titles, widths.to_vec(), rows.collect())
}

/// With more room, what the other end sees as well.
fn flows(state: &State, width: u16) -> Parts {
    let wide = width >= 120;
    // Without room for both, packets say more than bits.
    let bits = width >= 72;
    let kept = |at: usize| bits || at != 3;
    let numbers = if bits {
        5 + 11 + 1 + 4 * GAP
    } else {
        5 + 1 + 3 * GAP
    };
    let ends = width.saturating_sub(numbers) * 2 / 7;
    let name = usize::from(ends.saturating_sub(3) / 2);
    let rows = state.rates.flows.iter().map(|row| {
        let mood = Mood::of(&row.state);
        let mut what = row.what.clone();
        if let Some(seen) = row.seen.as_ref().filter(|_| wide) {
            let seen = seen.split_once(' ').map_or(seen.as_str(), |(_, rest)| rest);
            what = format!("{what} ⇒ {seen}");
        }
        let cells = [
            cell(between(&row.from, &row.to, name), Style::new()),
            cell(what, FAINT),
            right(number(row.pps), busy(row.pps)),
            right(human::bit_rate(row.bps), busy(row.bps)),
            cell(mood.mark().to_string(), colour(mood)),
        ];
        Row::new(only(cells, kept))
    });
    let widths = [
        Constraint::Length(ends),
        Constraint::Fill(1),
        Constraint::Length(5),
        Constraint::Length(11),
        Constraint::Length(1),
    ];
    let titles = titled(&["FROM → TO", "FLOW", ">pps", ">bit/s", ""]);
    (only(titles, kept), only(widths, kept), rows.collect())
}

/// The columns that there is room for.
fn only<T>(all: impl IntoIterator<Item = T>, kept: impl Fn(usize) -> bool) -> Vec<T> {
    let all = all.into_iter().enumerate();
    all.filter(|(at, _)| kept(*at)).map(|(_, it)| it).collect()
}

/// Both ends of a flow; a short name leaves its room to the other.
fn between(from: &str, to: &str, letters: usize) -> String {
    let spare = |text: &str| letters.saturating_sub(text.chars().count());
    let from_cut = human::middle(from, letters + spare(to));
    format!("{from_cut} → {}", human::middle(to, letters + spare(from)))
}

fn titled(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|&title| title.to_owned()).collect()
}

/// A title that begins with `>` stands over numbers.
fn cell(text: String, style: Style) -> Cell<'static> {
    match text.strip_prefix('>') {
        Some(title) => right(title.to_owned(), style),
        None => Cell::from(text).style(style),
    }
}

fn right(text: String, style: Style) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned()).style(style)
}

/// What stands still is faint.
fn busy(rate: f64) -> Style {
    if rate > 0.0 { Style::new() } else { FAINT }
}

fn number(rate: f64) -> String {
    if rate > 0.0 && rate < 9.95 {
        format!("{rate:.1}")
    } else {
        human::count(rate.round() as u64)
    }
}

const fn colour(mood: Mood) -> Style {
    match mood {
        Mood::Good => Style::new().fg(Color::Green),
        Mood::Waiting => Style::new().fg(Color::Yellow),
        Mood::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        Mood::Idle => FAINT,
    }
}

//! `vpclab top`: what moves, live.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::follow::now;
use super::{CliError, Exit, Globals};
use crate::host::client;
use crate::host::protocol::Request;
use crate::host::runtime_dir::RuntimeDir;
use crate::host::signals::Signals;
use crate::top::{self, Key, Pane, State, TopReport};

/// A signal is noticed this soon.
const PATIENCE: Duration = Duration::from_millis(200);
/// Lines of a page.
const PAGE: usize = 10;

/// Arguments of `vpclab top`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Keys: q ends, tab or 1-4 choose a pane, s sorts by the next column, \
                        r reverses, p pauses, arrows scroll.\n\n\
                        With --json, prints one look at the lab and ends."
)]
pub struct Args {
    /// Seconds from one look to the next.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=60))]
    pub interval: u8,
}

/// Shows the lab until the user has seen enough.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let first = look(&lab)?;
    if globals.json {
        super::print_json(&first)?;
        return Ok(Exit::Ok);
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(CliError::usage("top needs a terminal")
            .fix("use vpclab ps, vpclab top --json, or the lab's /metrics"));
    }
    let signals = Signals::collect(&[Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT])?;
    let mut state = State::default();
    state.look(first);
    // Its panic hook gives the terminal back first.
    let mut terminal = ratatui::try_init()?;
    let result = watch(&mut terminal, &mut state, &lab, &args, &signals);
    if is_gone(Duration::ZERO) {
        // There is nothing to give back, and nowhere to say so: dropping it would try.
        std::mem::forget(terminal);
        return Ok(Exit::Ok);
    }
    ratatui::restore();
    result.map(|()| Exit::Ok)
}

fn look(lab: &RuntimeDir) -> Result<TopReport, CliError> {
    client::understand(client::ask(lab, &Request::Top)?)
}

fn watch(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    lab: &RuntimeDir,
    args: &Args,
    signals: &Signals,
) -> Result<(), CliError> {
    let interval = f64::from(args.interval);
    let mut due = now() + interval;
    let mut changed = true;
    while !state.is_over() && signals.take().is_none() {
        if std::mem::take(&mut changed) {
            terminal.draw(|frame| top::draw(frame, state))?;
        }
        let wait = Duration::from_secs_f64((due - now()).clamp(0.0, interval));
        if is_gone(wait.min(PATIENCE)) {
            break;
        }
        // The size of the terminal changes without input.
        if event::poll(Duration::ZERO)? {
            // A resize, too, is a reason to draw.
            changed = true;
            if let Event::Key(pressed) = event::read()?
                && let Some(key) = key(&pressed)
            {
                state.press(key);
            }
        }
        if now() >= due {
            due = now() + interval;
            changed = true;
            match look(lab) {
                Ok(report) => state.look(report),
                Err(error) => state.trouble(error.message),
            }
        }
    }
    Ok(())
}

/// Waits for a key, `wait` at most; true if the terminal is gone, at which
/// crossterm would read nothing for ever.
fn is_gone(wait: Duration) -> bool {
    let stdin = std::io::stdin();
    let mut descriptors = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
    // Interrupted, it is asked again.
    let _ = poll(&mut descriptors, timeout);
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    let [descriptor] = descriptors;
    descriptor
        .revents()
        .is_some_and(|seen| seen.intersects(gone))
}

fn key(pressed: &KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(pressed.code, KeyCode::Char('c' | 'd')).then_some(Key::Quit);
    }
    Some(match pressed.code {
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Tab | KeyCode::Right => Key::Next,
        KeyCode::BackTab | KeyCode::Left => Key::Previous,
        KeyCode::Char('1') => Key::Show(Pane::Enis),
        KeyCode::Char('2') => Key::Show(Pane::Drops),
        KeyCode::Char('3') => Key::Show(Pane::Targets),
        KeyCode::Char('4') => Key::Show(Pane::Flows),
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('r') => Key::Reverse,
        KeyCode::Char('p' | ' ') => Key::Pause,
        KeyCode::Down | KeyCode::Char('j') => Key::Down(1),
        KeyCode::Up | KeyCode::Char('k') => Key::Up(1),
        KeyCode::PageDown => Key::Down(PAGE),
        KeyCode::PageUp => Key::Up(PAGE),
        _ => return None,
    })
}

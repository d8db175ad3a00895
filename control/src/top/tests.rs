//! The screen at several sizes, and what keys do to it.

use std::collections::BTreeMap;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::host::from_model;
use crate::report::FlowEnd;
use crate::report::ps::{Inputs, PortCountersReport};
use crate::topology::Topology;

/// A look at the PrivateLink example, `second` seconds after its start.
fn report(second: u64) -> TopReport {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/privatelink.yaml");
    let topology = Topology::load(file.as_ref()).expect("an example");
    let (control, _) = topology.control_plane().expect("an example");
    let inputs = Inputs {
        lab: "privatelink",
        uptime_s: second,
        http: None,
        time_scale: 1,
        faults: &BTreeMap::new(),
        hosts: &from_model::hosts(control.model()),
        programs: &BTreeMap::new(),
        ports: &BTreeMap::new(),
        counted: &Default::default(),
        gateway: None,
    };
    let mut ps = PsReport::new(control.model(), &inputs);
    for (n, port) in (1..).zip(ps.hosts.iter_mut().flat_map(|host| &mut host.interfaces)) {
        port.counters = Some(PortCountersReport {
            rx: 1000 * n * second,
            rx_bytes: 125_000 * n * second,
            tx: 500 * second,
            tx_bytes: 62_500 * second,
            refused: n - 1,
            errors: 0,
        });
    }
    ps.target_groups[0].targets[0].health = "healthy".to_owned();
    let drops = [("drop.route.none", 5 * second), ("drop.l2.not_unicast", 40)];
    let flow = FlowReport {
        id: "f".to_owned(),
        age_s: second,
        idle_s: 0,
        protocol: "tcp".to_owned(),
        state: "established".to_owned(),
        opener: FlowEnd {
            at: Some("client eth0 eni-1".to_owned()),
            sends: Some("tcp 10.0.1.10:40000 > 10.0.1.100:80".to_owned()),
            packets: 100 * second,
            bytes: 10_000 * second,
        },
        answerer: FlowEnd {
            at: Some("server eth0 eni-2".to_owned()),
            sends: Some("tcp 10.0.3.10:80 > 10.0.2.50:2000".to_owned()),
            packets: 200 * second,
            bytes: 240_000 * second,
        },
        translated: Some("tcp 10.0.2.50:2000 > 10.0.3.10:80".to_owned()),
    };
    TopReport {
        at_ns: second * 1_000_000_000,
        ps,
        counters: drops.map(|(name, count)| (name.to_owned(), count)).into(),
        flow_count: 1,
        flows: vec![flow],
    }
}

fn two_looks() -> State {
    let mut state = State::default();
    state.look(report(10));
    state.look(report(12));
    state
}

fn screen(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, state)).expect("drawn");
    terminal.backend().to_string()
}

#[test]
fn the_screen_is_as_it_was() {
    let mut state = two_looks();
    for pane in Pane::ALL {
        state.press(Key::Show(pane));
        insta::assert_snapshot!(format!("80x24 {}", pane.title()), screen(&state, 80, 24));
    }
    insta::assert_snapshot!("160x40", screen(&state, 160, 40));
}

#[test]
fn any_size_is_drawn() {
    let state = two_looks();
    for (width, height) in [(1, 1), (10, 3), (40, 10), (79, 23), (300, 100)] {
        screen(&state, width, height);
        screen(&State::default(), width, height);
    }
}

#[test]
fn rates_are_those_between_two_looks() {
    let state = two_looks();
    let eni = &state.rates.enis[0];
    assert_eq!((eni.out_pps, eni.out_bps), (1000.0, 1_000_000.0));
    assert_eq!((eni.in_pps, eni.in_bps), (500.0, 500_000.0));
    assert_eq!(state.rates.drops[0].reason, "route.none");
    assert_eq!(state.rates.drops[0].per_second, 5.0);
    assert_eq!(state.rates.flows[0].bps, 2_000_000.0);

    // A daemon that was started again begins at zero.
    let mut state = two_looks();
    state.look(report(1));
    assert_eq!(state.rates.enis[0].out_pps, 0.0);
    assert_eq!(state.rates.totals.drops, 0.0);
}

#[test]
fn keys_choose_sort_scroll_and_pause() {
    let mut state = two_looks();
    let names = |state: &State| -> Vec<String> {
        state.rates.enis.iter().map(|it| it.name.clone()).collect()
    };
    assert_eq!(names(&state), ["client eth0", "server eth0"]);
    state.press(Key::Sort);
    assert_eq!(
        names(&state),
        ["server eth0", "client eth0"],
        "by packets out"
    );
    state.press(Key::Reverse);
    assert_eq!(names(&state), ["client eth0", "server eth0"]);

    state.press(Key::Down(100));
    assert_eq!(
        state.order(Pane::Enis).scroll,
        1,
        "no further than the last row"
    );
    state.press(Key::Up(100));
    assert_eq!(state.order(Pane::Enis).scroll, 0);

    state.press(Key::Previous);
    assert_eq!(state.pane, Pane::Flows);
    state.press(Key::Next);
    assert_eq!(state.pane, Pane::Enis);

    state.press(Key::Pause);
    state.look(report(20));
    assert_eq!(state.last().map(|it| it.at_ns), Some(12_000_000_000));
    assert!(screen(&state, 80, 24).contains("PAUSED"));
    state.press(Key::Pause);
    state.look(report(20));
    assert_eq!(state.last().map(|it| it.at_ns), Some(20_000_000_000));

    state.trouble("the daemon does not run".to_owned());
    assert!(screen(&state, 80, 24).contains("the daemon does not run"));
    assert!(!state.is_over());
    state.press(Key::Quit);
    assert!(state.is_over());
}

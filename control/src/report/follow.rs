//! `vpclab flows --follow`: what became of flows since the last look.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FlowReport, FlowsReport};

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlowChange {
    /// It was there when the following began.
    Open,
    /// It began.
    New,
    /// Its state or its translation is another.
    Changed,
    /// It was closed, or timed out.
    Ended,
}

/// A line of `vpclab flows --follow --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowEvent {
    /// When it was noticed, in seconds since 1970.
    pub time: f64,
    /// What happened.
    pub event: FlowChange,
    /// The flow as it is now; as it was last seen, when it has timed out.
    pub flow: FlowReport,
}

/// Remembers the flows of the last look. A flow that has ended stays in the
/// table for ten seconds, so that looks more frequent than that miss none.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    /// With whether its end was told.
    known: BTreeMap<String, (FlowReport, bool)>,
    began: bool,
}

impl Follower {
    /// What is different in `report`.
    pub fn look(&mut self, time: f64, report: FlowsReport) -> Vec<FlowEvent> {
        let mut events = Vec::new();
        let mut tell = |event, flow: &FlowReport| {
            events.push(FlowEvent {
                time,
                event,
                flow: flow.clone(),
            });
        };
        let mut now = BTreeMap::new();
        for flow in report.flows {
            let closed = flow.state == "closed";
            let mut told = match self.known.remove(&flow.id) {
                None => {
                    let first = if self.began {
                        FlowChange::New
                    } else {
                        FlowChange::Open
                    };
                    // What was over before we came is nobody's news.
                    if self.began || !closed {
                        tell(first, &flow);
                    }
                    closed && !self.began
                }
                Some((before, ended)) => {
                    let other = before.state != flow.state || before.translated != flow.translated;
                    if other && !closed {
                        tell(FlowChange::Changed, &flow);
                    }
                    ended && closed
                }
            };
            if closed && !told {
                tell(FlowChange::Ended, &flow);
                told = true;
            }
            now.insert(flow.id.clone(), (flow, told));
        }
        for (flow, told) in self.known.values() {
            if !told {
                tell(FlowChange::Ended, flow);
            }
        }
        self.known = now;
        self.began = true;
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(id: &str, state: &str) -> FlowReport {
        FlowReport {
            id: id.to_owned(),
            age_s: 1,
            idle_s: 0,
            protocol: "tcp".to_owned(),
            state: state.to_owned(),
            opener: Default::default(),
            answerer: Default::default(),
            translated: None,
        }
    }

    fn look(follower: &mut Follower, flows: &[(&str, &str)]) -> Vec<(String, FlowChange)> {
        let flows = flows.iter().map(|(id, state)| flow(id, state)).collect();
        let events = follower.look(0.0, FlowsReport { flows });
        events
            .into_iter()
            .map(|it| (it.flow.id, it.event))
            .collect()
    }

    #[test]
    fn each_flow_begins_changes_and_ends_once() {
        use FlowChange::{Changed, Ended, New, Open};
        let told = |events: &[(&str, FlowChange)]| -> Vec<_> {
            events
                .iter()
                .map(|(id, it)| ((*id).to_owned(), *it))
                .collect()
        };
        let mut it = Follower::default();
        let first = look(&mut it, &[("a", "established"), ("over", "closed")]);
        assert_eq!(first, told(&[("a", Open)]));
        let second = look(&mut it, &[("a", "established"), ("b", "half_open")]);
        assert_eq!(second, told(&[("b", New)]));
        let third = look(
            &mut it,
            &[("a", "closed"), ("b", "established"), ("c", "closed")],
        );
        assert_eq!(
            third,
            told(&[("a", Ended), ("b", Changed), ("c", New), ("c", Ended)])
        );
        // Closed ones go in silence; b timed out.
        assert_eq!(look(&mut it, &[("a", "closed")]), told(&[("b", Ended)]));
        assert_eq!(look(&mut it, &[]), told(&[]));
    }
}

//! Changes of the tables: how long one route takes until every worker's next
//! batch sees it, and what thousands of changes a second take from the packets.

mod load;
mod publish;

pub use load::UnderLoad;
pub use publish::{Change, Publish};

use super::{Case, Depth, Options, Suite, Unit, Work};

/// The suite.
#[derive(Debug)]
pub struct Updates;

/// Route updates a second of the load cases.
const PER_SECOND: u64 = 10_000;

impl Suite for Updates {
    fn name(&self) -> &'static str {
        "updates"
    }

    fn about(&self) -> &'static str {
        "one route changed through the API and published, by size of its table; 10 000 changes a second beside packets"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let (tables, flows): (&[u64], &[u64]) = match options.depth {
            Depth::Smoke => (&[50, 2_000], &[100]),
            Depth::Normal | Depth::Full => (&[50, 1_000, 10_000, 100_000, 1_000_000], &[100_000]),
        };
        let changes = [
            ("new-target", Change::Target),
            ("new-prefix", Change::Prefix),
        ];
        let mut cases = Vec::new();
        for (name, change) in changes {
            for &routes in tables {
                let options = options.clone();
                let prepare = move || {
                    let work = Publish::new(&options, routes, change)?;
                    Ok(Box::new(work) as Box<dyn Work>)
                };
                let case = Case::new(format!("{name}/routes={routes}"), prepare);
                cases.push(case.routes(routes).unit(Unit::Update).may_allocate());
            }
        }
        for &flows in match options.flows.as_slice() {
            [] => flows,
            asked => asked,
        } {
            let options = options.clone();
            let prepare = move || {
                let work = UnderLoad::new(&options, flows, PER_SECOND)?;
                Ok(Box::new(work) as Box<dyn Work>)
            };
            let name = format!("eastwest-tcp4-64B-at-{PER_SECOND}-a-second/flows={flows}");
            let case = Case::new(name, prepare).flows(flows);
            // The control plane allocates, on a thread and a CPU of its own.
            cases.push(case.may_allocate());
        }
        cases
    }
}

//! When programs start again: restart policies and back-off. Sans-IO: time is
//! an argument, processes are numbers.

use std::collections::{BTreeMap, BTreeSet};

use vpclab_dataplane::time::{Duration, Instant};

use super::plan::{CommandPlan, RestartPolicy};

/// First wait before a program starts again; each further one is twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A program that ran this long has recovered: its next wait is the first.
const RECOVERED: Duration = Duration::from_secs(10);

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// In words: `exit code 1`, `killed by SIGSEGV`.
    pub how: String,
    /// Whether it ended by itself, with exit code 0.
    pub success: bool,
}

/// A program that somebody looks after.
#[derive(Debug)]
pub struct Program {
    /// The host it runs in; none for the daemon.
    pub host: Option<String>,
    /// How it is started; none for the daemon.
    pub plan: Option<CommandPlan>,
    /// Its process, the last one if it does not run.
    pub pid: i32,
    /// How it ended; `None` while it runs.
    pub ended: Option<Ended>,
    /// How often it was started again.
    pub restarts: u32,
    started: Instant,
    backoff: Duration,
    /// When it starts again.
    due: Option<Instant>,
}

impl Program {
    /// When it starts again by itself, if it does.
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    fn wants_restart(&self, ended: &Ended) -> bool {
        match self.plan.as_ref().map(|plan| plan.restart) {
            Some(RestartPolicy::Always) => true,
            Some(RestartPolicy::OnFailure) => !ended.success,
            Some(RestartPolicy::No) | None => false,
        }
    }
}

/// All programs by key, and the hosts in which none starts.
#[derive(Debug, Default)]
pub struct Supervisor {
    programs: BTreeMap<String, Program>,
    off: BTreeSet<String>,
}

impl Supervisor {
    /// Every program.
    pub fn programs(&self) -> impl Iterator<Item = (&String, &Program)> {
        self.programs.iter()
    }

    /// One program.
    pub fn get(&self, key: &str) -> Option<&Program> {
        self.programs.get(key)
    }

    /// Whether a program with this key runs.
    pub fn is_running(&self, key: &str) -> bool {
        self.get(key).is_some_and(|program| program.ended.is_none())
    }

    /// Notes that a program was started, for the first time or again.
    pub fn started(
        &mut self,
        now: Instant,
        key: String,
        host: Option<String>,
        plan: Option<CommandPlan>,
        pid: i32,
    ) {
        let program = self.programs.entry(key).or_insert_with(|| Program {
            host: None,
            plan: None,
            pid,
            ended: None,
            restarts: 0,
            started: now,
            backoff: BACKOFF_MIN,
            due: None,
        });
        if program.plan != plan {
            program.restarts = 0;
            program.backoff = BACKOFF_MIN;
        }
        program.host = host;
        program.plan = plan;
        program.pid = pid;
        program.ended = None;
        program.started = now;
        program.due = None;
    }

    /// Notes that a process ended; true if it was one of the programs.
    pub fn ended(&mut self, now: Instant, pid: i32, ended: Ended) -> bool {
        let running = |program: &&mut Program| program.pid == pid && program.ended.is_none();
        let Some(program) = self.programs.values_mut().find(running) else {
            return false;
        };
        let off = program.host.as_ref().is_some_and(|h| self.off.contains(h));
        if program.wants_restart(&ended) && !off {
            if now.since(program.started) >= RECOVERED {
                program.backoff = BACKOFF_MIN;
            }
            program.due = Some(now + program.backoff);
            program.backoff = (program.backoff + program.backoff).min(BACKOFF_MAX);
        }
        program.ended = Some(ended);
        true
    }

    /// The programs that are to start again by now, each once: what becomes of
    /// them is told by [`Self::started`] or [`Self::not_started`].
    pub fn due(&mut self, now: Instant) -> Vec<(String, String, CommandPlan)> {
        let mut due = Vec::new();
        for (key, program) in &mut self.programs {
            if program.due.is_some_and(|at| at <= now) {
                program.due = None;
                program.restarts += 1;
                let plan = program.host.clone().zip(program.plan.clone());
                due.extend(plan.map(|(host, plan)| (key.clone(), host, plan)));
            }
        }
        due
    }

    /// When [`Self::due`] next has something.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.programs.values().filter_map(Program::due).min()
    }

    /// Notes that a program could not be started: it counts as ended at once.
    pub fn not_started(
        &mut self,
        now: Instant,
        key: String,
        host: String,
        plan: CommandPlan,
        why: String,
    ) {
        // No process has this number.
        let pid = 0;
        self.started(now, key, Some(host), Some(plan), pid);
        let ended = Ended {
            how: why,
            success: false,
        };
        self.ended(now, pid, ended);
    }

    /// A program that waits for its host to come back.
    pub fn parked(&mut self, now: Instant, host: String, plan: CommandPlan) {
        let key = plan.key.clone();
        self.not_started(now, key, host, plan, "the host is off".to_owned());
    }

    /// Forgets a program, which then is not started again.
    pub fn forget(&mut self, key: &str) -> Option<Program> {
        self.programs.remove(key)
    }

    /// The programs of a host.
    pub fn of_host<'a>(&'a self, host: &'a str) -> impl Iterator<Item = (&'a String, &'a Program)> {
        self.programs()
            .filter(move |(_, program)| program.host.as_deref() == Some(host))
    }

    /// From now on nothing starts again in a host, or it may again.
    pub fn set_off(&mut self, host: &str, off: bool) {
        if !off {
            self.off.remove(host);
            return;
        }
        self.off.insert(host.to_owned());
        for program in self.programs.values_mut() {
            if program.host.as_deref() == Some(host) {
                program.due = None;
            }
        }
    }

    /// Whether nothing starts in a host.
    pub fn is_off(&self, host: &str) -> bool {
        self.off.contains(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(restart: RestartPolicy) -> CommandPlan {
        CommandPlan {
            key: "web-0".to_owned(),
            argv: vec!["true".to_owned()],
            env: BTreeMap::new(),
            directory: "/".into(),
            log: "/dev/null".into(),
            restart,
        }
    }

    fn start(supervisor: &mut Supervisor, now: Instant, restart: RestartPolicy, pid: i32) {
        let (host, plan) = (Some("web".to_owned()), Some(plan(restart)));
        supervisor.started(now, "web-0".to_owned(), host, plan, pid);
    }

    fn end(supervisor: &mut Supervisor, now: Instant, pid: i32, success: bool) {
        let how = "it ended".to_owned();
        assert!(supervisor.ended(now, pid, Ended { how, success }));
    }

    #[test]
    fn each_policy_restarts_what_it_says() {
        for (policy, success, restarts) in [
            (RestartPolicy::No, false, false),
            (RestartPolicy::OnFailure, false, true),
            (RestartPolicy::OnFailure, true, false),
            (RestartPolicy::Always, true, true),
        ] {
            let mut supervisor = Supervisor::default();
            start(&mut supervisor, Instant::ZERO, policy, 7);
            end(&mut supervisor, Instant::ZERO, 7, success);
            assert!(!supervisor.is_running("web-0"));
            let due = supervisor.next_deadline().is_some();
            assert_eq!(due, restarts, "{policy:?}, success {success}");
        }
    }

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_a_good_run() {
        let mut supervisor = Supervisor::default();
        let mut now = Instant::ZERO;
        let mut waits = Vec::new();
        for pid in 1..=11 {
            start(&mut supervisor, now, RestartPolicy::Always, pid);
            end(&mut supervisor, now, pid, true);
            let due = supervisor.next_deadline().expect("it restarts");
            waits.push(due.since(now).as_millis());
            assert!(supervisor.due(now).is_empty(), "not before its time");
            now = due;
            assert_eq!(supervisor.due(now).len(), 1);
            assert!(supervisor.due(now).is_empty(), "once");
        }
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[9..], [30_000, 30_000]);
        assert_eq!(supervisor.get("web-0").map(|p| p.restarts), Some(11));

        start(&mut supervisor, now, RestartPolicy::Always, 12);
        now += Duration::from_secs(10);
        end(&mut supervisor, now, 12, true);
        let due = supervisor.next_deadline().expect("it restarts");
        assert_eq!(due.since(now).as_millis(), 100);
    }

    #[test]
    fn nothing_starts_in_a_host_that_is_off() {
        let mut supervisor = Supervisor::default();
        start(&mut supervisor, Instant::ZERO, RestartPolicy::Always, 7);
        supervisor.set_off("web", true);
        end(&mut supervisor, Instant::ZERO, 7, false);
        assert_eq!(supervisor.next_deadline(), None);
        supervisor.parked(Instant::ZERO, "web".to_owned(), plan(RestartPolicy::Always));
        assert_eq!(supervisor.next_deadline(), None);
        assert_eq!(supervisor.of_host("web").count(), 1);
        supervisor.set_off("web", false);
        start(&mut supervisor, Instant::ZERO, RestartPolicy::Always, 8);
        end(&mut supervisor, Instant::ZERO, 8, false);
        assert!(supervisor.next_deadline().is_some());
    }

    #[test]
    fn a_stranger_is_nobodys_and_a_forgotten_one_stays_away() {
        let mut supervisor = Supervisor::default();
        start(&mut supervisor, Instant::ZERO, RestartPolicy::Always, 7);
        let ended = Ended {
            how: String::new(),
            success: true,
        };
        assert!(!supervisor.ended(Instant::ZERO, 8, ended.clone()));
        supervisor.forget("web-0");
        assert!(!supervisor.ended(Instant::ZERO, 7, ended));
        assert_eq!(supervisor.next_deadline(), None);
    }
}

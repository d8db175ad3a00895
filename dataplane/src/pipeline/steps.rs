//! The first steps of a batch by themselves, each with those before it: what the
//! benchmark `steps` takes the cached path apart with. Nothing is sent or counted.

use super::Pipeline;
use super::short::{LANES, Lane};
use crate::packet::Frame;

impl Pipeline {
    /// Parses the frames, hashes their keys, and fetches each one's bucket, then its
    /// line.
    pub fn look(&mut self, frames: &[Frame]) {
        self.lanes_of(frames, |_, _| false);
    }

    /// The same, then finds each one's session: returns how many have one.
    pub fn look_and_find(&mut self, frames: &[Frame]) -> usize {
        self.lanes_of(frames, |this, lane| {
            let sessions = &this.connections.sessions;
            let found = sessions.find4(&lane.key, lane.hash, lane.guess);
            found.is_some()
        })
    }

    fn lanes_of(&mut self, frames: &[Frame], step: impl Fn(&Self, &Lane) -> bool) -> usize {
        let mut lanes = std::mem::take(&mut self.lanes);
        let mut done = 0;
        for ahead in frames.chunks(LANES) {
            self.look_ahead(ahead, &mut lanes);
            let lanes = lanes.iter().take(ahead.len());
            done += lanes.filter(|lane| step(self, lane)).count();
        }
        self.lanes = lanes;
        done
    }
}

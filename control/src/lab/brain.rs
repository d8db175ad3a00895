//! The control plane's part of a lab.

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::time::Instant;

use super::plane::Services;

/// What decides the tables, and the services that act on its behalf.
pub(crate) struct Brain;

impl Services for Brain {
    fn receive(&mut self, _: Instant, _: EniId, _: Frame) {}

    fn poll(&mut self, _: Instant, _: &mut Vec<Frame>) {}

    fn next_deadline(&self) -> Option<Instant> {
        None
    }
}

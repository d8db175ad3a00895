//! The AWS API: EC2, ELBv2 and STS over HTTP, so that the tools people have
//! drive vpclab unchanged (`AWS_ENDPOINT_URL=http://127.0.0.1:4566`).
//!
//! `POST /` → service by credential scope → action → typed request → transaction →
//! answer. An action is a type: its fields are the parameters, its
//! [`call::Call::Answer`] the response; one line in its family's `calls!` list
//! makes it known.

mod alone;
mod answer;
pub mod call;
mod credentials;
pub mod ec2;
pub mod elbv2;
pub mod form;
pub mod fuzzing;
mod identity;
mod json;
pub mod known;
mod protocol;
pub mod select;
mod signature;
pub mod sts;
mod tags;
mod tokens;
pub mod xml;

use std::sync::{Arc, MutexGuard};

use vpclab_dataplane::tables::Tables;
use vpclab_dataplane::worker::Clock;

pub use answer::{Api, actions, router};
pub use credentials::{Credentials, CredentialsError};
pub use signature::Asked;

use crate::api::ControlPlane;
use crate::model::{Model, Plug};

/// What is around the control plane: a running lab, or nothing.
pub trait Backend: Send + Sync + 'static {
    /// The control plane, for one call.
    fn control(&self) -> MutexGuard<'_, ControlPlane>;

    /// The tables that packets go by.
    fn tables(&self) -> Arc<Tables>;

    /// The lab's clock.
    fn clock(&self) -> Clock;

    /// Ours: seconds since 1970, for what AWS dates.
    fn since_1970_s(&self) -> u64;

    /// What is behind the interfaces of a new instance: a namespace that the lab
    /// makes, or nothing until somebody attaches.
    fn plug(&self) -> Plug;

    /// One change of hosts at a time, whoever makes it: the namespaces follow in the
    /// same order.
    fn alone(&self) -> MutexGuard<'_, ()>;

    /// Makes and ends hosts, now that the model is `after`.
    ///
    /// # Errors
    /// What of it could not be done, in words.
    fn rewire(&self, before: &Model, after: &Model) -> Result<(), String>;

    /// The seed that chooses targets, which traces must know.
    ///
    /// # Errors
    /// The data plane does not answer.
    fn flow_seed(&self) -> Result<u64, String>;

    /// Whose requests are answered; anybody's, signed or not, if there are none.
    fn credentials(&self) -> Option<&Credentials>;

    /// Whether `reset` may empty the control plane.
    fn allows_reset(&self) -> bool;
}

#[cfg(test)]
pub(crate) mod tests;

//! One AWS call: a typed request that answers with a typed response, inside a
//! transaction of the control plane.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vpclab_dataplane::time::Instant;

use super::Backend;
use super::form::{FormError, Node};
use crate::api::{Action, ApiError, Caller, Transaction};
use crate::model::Model;

/// What a call works with.
pub struct At<'a, 'b> {
    /// The change that it is part of.
    pub tx: &'a mut Transaction<'b>,
    /// What is around the control plane.
    pub backend: &'a dyn Backend,
}

impl At<'_, '_> {
    /// The model as it is inside this call.
    pub fn model(&self) -> &Model {
        self.tx.model()
    }

    /// On whose behalf the call runs.
    pub fn caller(&self) -> &Caller {
        self.tx.caller()
    }

    /// Runs a typed action as part of the call.
    ///
    /// # Errors
    /// The action's refusal.
    pub fn run<A: Action>(&mut self, action: A) -> Result<A::Output, ApiError> {
        action.apply(self.tx)
    }

    /// The lab's time.
    pub fn now(&self) -> Instant {
        self.backend.clock().now()
    }
}

/// An action of an AWS service: the request's shape is the type itself.
pub trait Call: DeserializeOwned {
    /// The response's shape.
    type Answer: Serialize;

    /// Does it.
    ///
    /// # Errors
    /// With AWS's code and a message that names the offending value.
    fn call(self, at: &mut At<'_, '_>) -> Result<Self::Answer, ApiError>;
}

/// Whether a call changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only answers.
    Read,
    /// It changes resources.
    Write,
    /// It may change which hosts there are, or their interfaces.
    Hosts,
}

/// Why a call failed before or while it ran.
#[derive(Debug)]
pub enum CallError {
    /// The request cannot be read.
    Form(FormError),
    /// The action refused.
    Api(ApiError),
}

/// A call without its types.
#[derive(Clone, Copy)]
pub struct Entry {
    /// AWS's name of the action.
    pub name: &'static str,
    /// What it may change.
    pub effect: Effect,
    /// Reads the request, does it, and gives the response's fields.
    pub run: fn(&Node, &mut At<'_, '_>) -> Result<Value, CallError>,
}

/// Reads, calls, answers: [`Entry::run`] of a call.
pub fn run<C: Call>(request: &Node, at: &mut At<'_, '_>) -> Result<Value, CallError> {
    let call: C = request.read().map_err(CallError::Form)?;
    let answer = call.call(at).map_err(CallError::Api)?;
    serde_json::to_value(answer)
        .map_err(|error| CallError::Api(ApiError::new("InternalError", error.to_string())))
}

/// A service's calls, by name: `calls! { Read: DescribeVpcs; Write: CreateVpc; }`.
macro_rules! calls {
    ($($effect:ident: $($call:ident)*;)*) => {
        /// The calls of this family.
        pub const CALLS: &[$crate::aws::call::Entry] = &[$($(
            $crate::aws::call::Entry {
                name: stringify!($call),
                effect: $crate::aws::call::Effect::$effect,
                run: $crate::aws::call::run::<$call>,
            },
        )*)*];
    };
}
pub(super) use calls;

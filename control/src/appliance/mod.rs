//! The reference appliance behind a gateway load balancer.

pub(crate) mod wire;

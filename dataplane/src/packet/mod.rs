//! Frames, parsed views and checksums.

mod frame;
mod headers;

pub use frame::{Checksum, Frame, FramePool, HEADROOM, Offload, Segmentation};
pub use headers::{FiveTuple, Fragment, Headers, protocol, tcp_flag};

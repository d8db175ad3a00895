//! What leaves while a train is taken apart: the segments of a super-packet meet again
//! where they leave, as one frame, or as a train into the next tunnel.

use super::{Context, Pipeline, Sink};
use crate::addr::EniId;
use crate::packet::{FiveTuple, Frame, FramePool, Joined, Segmentation, Train};

/// The segments that are together so far.
#[derive(Debug, Default)]
pub(super) struct Joining {
    pub(super) is_on: bool,
    /// By which port they leave.
    held: Option<(EniId, Held)>,
}

#[derive(Debug)]
enum Held {
    Packets(Joined),
    /// In a tunnel with these ends.
    Tunnelled(Train, FiveTuple),
}

impl Held {
    fn new(frame: Frame, tunnel: Option<FiveTuple>) -> Self {
        match tunnel {
            Some(outer) if frame.offload.segmentation == Segmentation::None => {
                Self::Tunnelled(Train::new(frame), outer)
            }
            _ => Self::Packets(Joined::new(frame)),
        }
    }

    /// False if the frame is no part of it, and nothing changes.
    fn hang_on(&mut self, frame: &Frame, tunnel: Option<&FiveTuple>, pool: &mut FramePool) -> bool {
        match (self, tunnel) {
            (Self::Packets(joined), None) => joined.hang_on(frame, pool),
            // With the same ends, then, too.
            (Self::Tunnelled(train, _), Some(_)) => {
                train.has_header_of(frame) && train.hang_on(frame)
            }
            _ => false,
        }
    }

    fn finish(self) -> Frame {
        match self {
            Self::Packets(joined) => joined.finish(),
            Self::Tunnelled(train, outer) => train.finish(&outer),
        }
    }
}

impl Pipeline {
    /// A frame leaves that came in a train, in a tunnel with the ends `tunnel` if one is
    /// named: with those before it, if it is a part of the same super-packet, or a
    /// datagram of the same tunnel, whoever's it is.
    pub(super) fn join<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        port: EniId,
        frame: Frame,
        tunnel: Option<FiveTuple>,
    ) {
        if let Some((out, held)) = &mut self.joining.held
            && *out == port
            && held.hang_on(&frame, tunnel.as_ref(), &mut self.pool)
        {
            // Not a frame of its own after all.
            self.counters.generated -= 1;
            return self.pool.put(frame);
        }
        self.let_go(context);
        self.joining.held = Some((port, Held::new(frame, tunnel)));
    }

    /// What is held leaves, before anything that came after it.
    pub(super) fn let_go<S: Sink>(&mut self, context: &mut Context<'_, S>) {
        if let Some((port, held)) = self.joining.held.take() {
            self.counters.transmitted += 1;
            context.sink.transmit(port, held.finish());
        }
    }
}

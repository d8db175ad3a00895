//! Ports in memory: two ends, a bounded queue each way.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::port::{Port, PortError};
use crate::packet::{Frame, FramePool};

type Queue = Arc<Mutex<VecDeque<Frame>>>;

/// One end of a wire in memory. Frames keep their offload metadata.
#[derive(Debug)]
pub struct MemoryPort {
    incoming: Queue,
    outgoing: Queue,
    capacity: usize,
    receives: bool,
}

/// Two ends of a wire that holds at most `capacity` frames each way.
pub fn memory_pair(capacity: usize) -> (MemoryPort, MemoryPort) {
    let queue = || Arc::new(Mutex::new(VecDeque::with_capacity(capacity)));
    let (there, back): (Queue, Queue) = (queue(), queue());
    let end = |incoming: &Queue, outgoing: &Queue| MemoryPort {
        incoming: Arc::clone(incoming),
        outgoing: Arc::clone(outgoing),
        capacity,
        receives: true,
    };
    (end(&back, &there), end(&there, &back))
}

impl Port for MemoryPort {
    fn receives(&self) -> bool {
        self.receives
    }

    fn sender(&self) -> Option<Box<dyn Port>> {
        Some(Box::new(Self {
            incoming: Arc::clone(&self.incoming),
            outgoing: Arc::clone(&self.outgoing),
            capacity: self.capacity,
            receives: false,
        }))
    }

    fn receive(
        &mut self,
        limit: usize,
        out: &mut Vec<Frame>,
        _pool: &mut FramePool,
    ) -> io::Result<usize> {
        let mut queue = lock(&self.incoming);
        let count = queue.len().min(limit);
        out.extend(queue.drain(..count));
        Ok(count)
    }

    fn transmit(&mut self, frame: Frame, pool: &mut FramePool) -> Result<(), PortError> {
        let mut queue = lock(&self.outgoing);
        if queue.len() >= self.capacity {
            pool.put(frame);
            return Err(PortError::Full);
        }
        queue.push_back(frame);
        Ok(())
    }
}

fn lock(queue: &Queue) -> MutexGuard<'_, VecDeque<Frame>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::EniId;

    #[test]
    fn a_wire_is_bounded_and_two_way() {
        let (mut a, mut b) = memory_pair(2);
        let mut pool = FramePool::new(4);
        for n in 0..2u8 {
            a.transmit(Frame::from_bytes(EniId(0), &[n]), &mut pool)
                .unwrap();
        }
        let third = a.transmit(Frame::from_bytes(EniId(0), &[2]), &mut pool);
        assert!(matches!(third, Err(PortError::Full)));

        let mut out = Vec::new();
        assert_eq!(b.receive(1, &mut out, &mut pool).unwrap(), 1);
        assert_eq!(b.receive(8, &mut out, &mut pool).unwrap(), 1);
        assert_eq!(b.receive(8, &mut out, &mut pool).unwrap(), 0);
        assert_eq!(out.iter().map(|f| f.bytes()[0]).collect::<Vec<_>>(), [0, 1]);

        b.transmit(Frame::from_bytes(EniId(0), b"back"), &mut pool)
            .unwrap();
        out.clear();
        assert_eq!(a.receive(8, &mut out, &mut pool).unwrap(), 1);
        assert_eq!(out[0].bytes(), b"back");
    }
}

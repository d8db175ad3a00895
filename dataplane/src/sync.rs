//! What threads share memory by. Under `--cfg loom` it is the model checker's,
//! which tries every order in which they may run (`models.rs`).

#[cfg(not(loom))]
pub(crate) use arc_swap::{ArcSwap, Guard};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};
#[cfg(loom)]
pub(crate) use stand_in::{ArcSwap, Guard};

/// Whether a thread is about to wait for others: a flag that loses no wake-up.
///
/// Who waits: [`Self::doze`], look for work, wait, [`Self::rise`]. Who leaves
/// work: leave it, and wake if [`Self::is_dozing`]. Of the two looks at least
/// one sees what the other thread did.
#[derive(Debug, Default)]
pub(crate) struct Dozing(AtomicBool);

impl Dozing {
    pub(crate) fn doze(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn rise(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_dozing(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed)
    }
}

/// What `arc_swap` promises, in terms that the model checker knows: a load
/// gives a reference that keeps the value, a swap gives the old one back.
#[cfg(loom)]
mod stand_in {
    use super::{Arc, Mutex};

    pub(crate) type Guard<T> = T;

    #[derive(Debug)]
    pub(crate) struct ArcSwap<T>(Mutex<Arc<T>>);

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self(Mutex::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().expect("no thread panics while it holds this"))
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            self.load()
        }

        pub(crate) fn swap(&self, new: Arc<T>) -> Arc<T> {
            let mut held = self.0.lock().expect("no thread panics while it holds this");
            std::mem::replace(&mut held, new)
        }
    }
}

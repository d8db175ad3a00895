//! A control plane with nothing around it: what fuzz targets and tests call.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vpclab_dataplane::tables::Tables;
use vpclab_dataplane::worker::Clock;

use super::{Backend, Credentials};
use crate::api::ControlPlane;
use crate::model::{Model, Plug};

/// No hosts, and a clock that stands still.
pub(crate) struct Alone {
    control: Mutex<ControlPlane>,
    tables: Arc<Tables>,
    rewired: AtomicU32,
    credentials: Option<Credentials>,
    turn: Mutex<()>,
    full: AtomicBool,
}

impl Default for Alone {
    fn default() -> Self {
        let control = ControlPlane::default();
        Self {
            tables: Arc::clone(control.tables()),
            control: Mutex::new(control),
            rewired: AtomicU32::new(0),
            credentials: None,
            turn: Mutex::default(),
            full: AtomicBool::new(false),
        }
    }
}

impl Alone {
    /// One that answers only whom these name.
    #[cfg(test)]
    pub(crate) fn with(credentials: Credentials) -> Self {
        Self {
            credentials: Some(credentials),
            ..Self::default()
        }
    }

    /// Whether no host can be made from now on.
    #[cfg(test)]
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// How often hosts were to be made or ended.
    #[cfg(test)]
    pub(crate) fn rewired(&self) -> u32 {
        self.rewired.load(Ordering::Relaxed)
    }
}

impl Backend for Alone {
    fn control(&self) -> MutexGuard<'_, ControlPlane> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.tables)
    }

    fn clock(&self) -> Clock {
        Clock::start()
    }

    fn since_1970_s(&self) -> u64 {
        1_700_000_000
    }

    fn plug(&self) -> Plug {
        Plug::Lab
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rewire(&self, _before: &Model, _after: &Model) -> Result<(), String> {
        self.rewired.fetch_add(1, Ordering::Relaxed);
        match self.full.load(Ordering::Relaxed) {
            true => Err("too many open files".to_owned()),
            false => Ok(()),
        }
    }

    fn flow_seed(&self) -> Result<u64, String> {
        Ok(7)
    }

    fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    fn allows_reset(&self) -> bool {
        false
    }
}

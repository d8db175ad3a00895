//! The control plane: the model and the tables made from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use vpclab_dataplane::tables::{Builder, Settings, Tables};

use super::{Action, ApiError, Caller, Transaction};
use crate::compile;
use crate::model::{Model, ResourceId};
use crate::quotas::Quotas;

/// How a control plane starts.
#[derive(Clone, Debug, Default)]
pub struct ControlPlaneOptions {
    /// Ids, MAC addresses and chosen numbers follow from it.
    pub seed: u64,
    /// Limits.
    pub quotas: Quotas,
    /// Process-wide choices of the data plane.
    pub settings: Settings,
}

/// Executes actions; the only writer of the model and of the tables.
#[derive(Debug)]
pub struct ControlPlane {
    model: Model,
    tables: Arc<Tables>,
    quotas: Quotas,
}

/// What a control plane held when it was asked.
#[derive(Clone, Debug)]
pub struct Reader {
    model: Model,
    quotas: Quotas,
}

impl Reader {
    /// Runs actions and drops what they did: what they answered.
    ///
    /// # Errors
    /// The first refusal.
    pub fn rehearse<T>(
        &self,
        caller: &Caller,
        run: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        run(&mut Transaction::new(
            self.model.clone(),
            caller,
            &self.quotas,
        ))
    }
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self::new(ControlPlaneOptions::default())
    }
}

impl ControlPlane {
    /// A control plane of an empty lab, its tables published.
    pub fn new(options: ControlPlaneOptions) -> Self {
        let model = Model::new(options.seed);
        let snapshot = compile::full(&model, options.settings);
        Self {
            model,
            tables: Arc::new(Tables::new(snapshot)),
            quotas: options.quotas,
        }
    }

    /// Everything there is, to read.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tables that the workers read.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// The limits in force.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The limits, to change; what exists already stays.
    pub fn quotas_mut(&mut self) -> &mut Quotas {
        &mut self.quotas
    }

    /// Replaces the data plane's process-wide choices.
    pub fn set_settings(&mut self, settings: Settings) {
        let mut builder = Builder::from(&self.tables.load());
        builder.set_settings(settings);
        self.publish(builder);
    }

    /// Executes an action as the default account in the default region.
    ///
    /// # Errors
    /// The action's refusal; then nothing has changed.
    pub fn execute<A: Action>(&mut self, action: A) -> Result<A::Output, ApiError> {
        self.execute_as(&Caller::default(), action)
    }

    /// Executes an action on a caller's behalf.
    ///
    /// # Errors
    /// The action's refusal; then nothing has changed.
    pub fn execute_as<A: Action>(
        &mut self,
        caller: &Caller,
        action: A,
    ) -> Result<A::Output, ApiError> {
        self.transact(caller, |tx| action.apply(tx))
    }

    /// Runs several actions as one change: all of them take effect in one
    /// snapshot, or none does.
    ///
    /// # Errors
    /// The first refusal; then nothing has changed.
    pub fn transact<T>(
        &mut self,
        caller: &Caller,
        run: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut tx = Transaction::new(self.model.clone(), caller, &self.quotas);
        let output = run(&mut tx)?;
        let (next, touched) = tx.finish();
        let mut builder = Builder::from(&self.tables.load());
        compile::incremental(&self.model, &next, &touched, &mut builder);
        // A durable store commits `touched` of `next` here: after everything that
        // can be refused, before anyone can see the change.
        self.model = next;
        self.publish(builder);
        Ok(output)
    }

    /// Runs actions and drops what they did: what they would have answered.
    ///
    /// # Errors
    /// The first refusal.
    pub fn rehearse<T>(
        &self,
        caller: &Caller,
        run: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.reader().rehearse(caller, run)
    }

    /// What there is now, to be read without holding up anybody.
    pub fn reader(&self) -> Reader {
        Reader {
            model: self.model.clone(),
            quotas: self.quotas.clone(),
        }
    }

    /// Takes every resource away. Ids go on: none is given twice.
    pub fn clear(&mut self) {
        let blank = self.blank();
        self.become_as(&blank);
    }

    /// A control plane without resources that goes on where this one is, to make
    /// what this one is to become.
    pub(crate) fn blank(&self) -> Self {
        let model = self.model.blank();
        let snapshot = compile::full(&model, self.tables.load().settings);
        Self {
            model,
            tables: Arc::new(Tables::new(snapshot)),
            quotas: self.quotas.clone(),
        }
    }

    /// Changes the model of a control plane that is not in use yet.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Model)) {
        edit(&mut self.model);
    }

    /// Becomes `other`, which was made by actions on [`Self::blank`]: one change,
    /// in which what is the same in both stays as it is, rows included. Says
    /// what is not.
    pub(crate) fn become_as(&mut self, other: &Self) -> BTreeSet<ResourceId> {
        let differences = self.model.differences(&other.model);
        let changed: Result<_, ApiError> = self.transact(&Caller::default(), |tx| {
            for id in &differences {
                tx.adopt(&other.model, id);
            }
            tx.adopt_indexes(&other.model);
            Ok(())
        });
        // Nothing in there is refused.
        let _ = changed;
        self.quotas = other.quotas.clone();
        differences
    }

    fn publish(&self, builder: Builder) {
        if builder.is_changed() {
            self.tables.publish(builder.finish());
        }
    }
}

//! The control plane: the model and the tables made from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use vpclab_dataplane::tables::{Builder, Settings, Tables};

use super::{Action, ApiError, Caller, Transaction, keep};
use crate::compile;
use crate::model::{Model, ResourceId};
use crate::quotas::Quotas;
use crate::store::{Store, StoreError};

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
    /// Where changes are kept, if they are.
    store: Option<Box<dyn Store>>,
    /// The topology that the store was last in step with.
    file_text: Option<String>,
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
            store: None,
            file_text: None,
        }
    }

    /// A control plane that goes on with what `store` keeps; the store again if it
    /// is empty.
    ///
    /// # Errors
    /// The store cannot be read or understood.
    pub fn restore(
        options: ControlPlaneOptions,
        mut store: Box<dyn Store>,
    ) -> Result<Result<Self, Box<dyn Store>>, StoreError> {
        let Some((model, file_text)) = keep::restore(&mut *store)? else {
            return Ok(Err(store));
        };
        let snapshot = compile::full(&model, options.settings);
        Ok(Ok(Self {
            model,
            tables: Arc::new(Tables::new(snapshot)),
            quotas: options.quotas,
            store: Some(store),
            file_text,
        }))
    }

    /// Keeps everything in `store` from now on, which is empty; `text` is the
    /// topology that it was made from.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_in(&mut self, mut store: Box<dyn Store>, text: &str) -> Result<(), ApiError> {
        keep::commit_all(&mut *store, &self.model, text)?;
        self.store = Some(store);
        self.file_text = Some(text.to_owned());
        Ok(())
    }

    /// The topology that the store was last in step with, if there is a store.
    pub fn file_text(&self) -> Option<&String> {
        self.file_text.as_ref()
    }

    /// Notes that this topology's changes have been made.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn set_file_text(&mut self, text: &str) -> Result<(), ApiError> {
        if let Some(store) = &mut self.store {
            keep::commit_text(&mut **store, text)?;
            self.file_text = Some(text.to_owned());
        }
        Ok(())
    }

    /// Where the published tables are not what a full compile of the model gives.
    pub fn inconsistency(&self) -> Option<String> {
        let published = self.tables.snapshot();
        let full = compile::full(&self.model, published.settings);
        published.row_difference(&full)
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
        // After everything that can be refused, before anyone can see the change.
        if let Some(store) = &mut self.store {
            keep::commit(&mut **store, &self.model, &next, &touched)?;
        }
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

    /// Takes back what a change did, where nobody has changed it since.
    ///
    /// # Errors
    /// Somebody has, or has built on it; or the store cannot be written. Then nothing
    /// has changed.
    pub(crate) fn undo(&mut self, before: &Model, after: &Model) -> Result<(), ApiError> {
        let changed = before.differences(after);
        let since = self.model.differences(after);
        let built_on = |id: &ResourceId| {
            let gone = before.meta_of(id).is_none();
            gone && (self.model.indexes().users(id)).any(|user| !changed.contains(&user))
        };
        let in_use = changed
            .iter()
            .find(|id| since.contains(*id) || built_on(id));
        if let Some(id) = in_use {
            return Err(ApiError::new(
                "InternalError",
                format!("{id} has been used since"),
            ));
        }
        self.transact(&Caller::default(), |tx| {
            for id in &changed {
                tx.adopt(before, id);
            }
            Ok(())
        })
    }

    /// Takes every resource away. Ids go on: none is given twice.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn clear(&mut self) -> Result<(), ApiError> {
        let blank = self.blank();
        self.become_as(&blank).map(drop)
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
            store: None,
            file_text: None,
        }
    }

    /// Changes the model of a control plane that is not in use yet.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Model)) {
        edit(&mut self.model);
    }

    /// Becomes `other`, which was made by actions on [`Self::blank`]: one change,
    /// in which what is the same in both stays as it is, rows included. Says
    /// what is not.
    ///
    /// # Errors
    /// The store cannot be written.
    pub(crate) fn become_as(&mut self, other: &Self) -> Result<BTreeSet<ResourceId>, ApiError> {
        let differences = self.model.differences(&other.model);
        self.transact(&Caller::default(), |tx| {
            for id in &differences {
                tx.adopt(&other.model, id);
            }
            tx.adopt_indexes(&other.model);
            Ok(())
        })?;
        self.quotas = other.quotas.clone();
        Ok(differences)
    }

    fn publish(&self, builder: Builder) {
        if builder.is_changed() {
            self.tables.publish(builder.finish());
        }
    }
}

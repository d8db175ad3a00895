//! A model that may become the next one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{ApiError, Caller};
use crate::model::{Id, Meta, Model, Resource, ResourceId, Tags};
use crate::quotas::{Quota, Quotas};

/// The state of one execution: a clone of the model and what was touched in it.
#[derive(Debug)]
pub struct Transaction<'a> {
    model: Model,
    touched: BTreeSet<ResourceId>,
    caller: &'a Caller,
    quotas: &'a Quotas,
    now_s: u64,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(model: Model, caller: &'a Caller, quotas: &'a Quotas) -> Self {
        Self {
            model,
            touched: BTreeSet::new(),
            caller,
            quotas,
            now_s: 0,
        }
    }

    /// Says what time it is: seconds since 1970. What is made without is as old
    /// as the lab.
    pub(crate) fn set_now(&mut self, seconds: u64) {
        self.now_s = seconds;
    }

    /// What time it is, in seconds since 1970; 0 where nobody has said.
    pub fn now_s(&self) -> u64 {
        self.now_s
    }

    pub(super) fn finish(self) -> (Model, BTreeSet<ResourceId>) {
        (self.model, self.touched)
    }

    /// The model as this transaction has made it so far.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// On whose behalf it runs.
    pub fn caller(&self) -> &Caller {
        self.caller
    }

    /// The limits in force.
    pub fn quotas(&self) -> &Quotas {
        self.quotas
    }

    /// Owner, region and name of a resource that the caller creates.
    pub fn meta(&self, name: Option<&str>) -> Meta {
        Meta {
            owner: self.caller.account.clone(),
            region: self.caller.region.clone(),
            name: name.map(Arc::from),
            tags: Tags::new(),
            created_s: self.now_s,
        }
    }

    /// The caller's account and region, as a thing that quotas count in.
    pub fn scope(&self) -> ResourceId {
        crate::model::scope(&self.caller.account, &self.caller.region)
    }

    /// The resource with this id, if the caller owns it in this region.
    ///
    /// # Errors
    /// `…Malformed` or `…NotFound` with the code of the id's kind.
    pub fn require<I: Id>(&self, id: &I) -> Result<Arc<I::Resource>, ApiError> {
        let found = self.require_any_owner(id)?;
        let meta = found.meta();
        if meta.owner != self.caller.account || meta.region != self.caller.region {
            return Err(not_found(id));
        }
        Ok(found)
    }

    /// The resource with this id, whoever owns it.
    ///
    /// # Errors
    /// `…Malformed` or `…NotFound` with the code of the id's kind.
    pub fn require_any_owner<I: Id>(&self, id: &I) -> Result<Arc<I::Resource>, ApiError> {
        if !id.is_well_formed() {
            return Err(ApiError::new(
                I::MALFORMED,
                format!(
                    "Invalid id: '{id}' (expecting '{}' and hex digits)",
                    I::PREFIX
                ),
            ));
        }
        self.model.get(id).cloned().ok_or_else(|| not_found(id))
    }

    /// A new id with hex digits.
    pub fn mint<I: Id>(&mut self) -> I {
        self.model.minter().id()
    }

    /// A new id of a part (`rtbassoc-…`) that has no kind of its own.
    pub fn mint_text(&mut self, prefix: &str) -> Arc<str> {
        self.model.minter().text(prefix)
    }

    /// A number never given before, for ARNs and tokens.
    pub fn mint_number(&mut self) -> u64 {
        self.model.minter().next_number()
    }

    /// A small number never given before, for MAC addresses.
    pub(crate) fn mint_count(&mut self) -> u64 {
        self.model.minter().next_small()
    }

    /// From now on ids belong to this name (see [`crate::model::Minter::enter`]).
    pub(crate) fn mint_for(&mut self, name: &str) {
        self.model.minter().enter(name);
    }

    /// Ids belong to no name any more.
    pub(crate) fn mint_for_nobody(&mut self) {
        self.model.minter().leave();
    }

    /// Makes ids for a part of what is named.
    pub(super) fn mint_within<T>(&mut self, part: &str, make: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.model.minter().within(part);
        let made = make(self);
        self.model.minter().back(outer);
        made
    }

    /// Makes the resource what it is in another model, or takes it away.
    pub(super) fn adopt(&mut self, from: &Model, id: &ResourceId) {
        self.touched.insert(id.clone());
        self.model.adopt(from, id);
    }

    /// Takes over how another model finds things, whose resources are the same.
    pub(super) fn adopt_indexes(&mut self, from: &Model) {
        self.model.adopt_indexes(from);
    }

    /// Notes that no address of `subnet` below this one is free.
    pub(super) fn note_lowest_free(&mut self, subnet: &crate::model::SubnetId, at: IpAddr) {
        self.model.indexes_mut().set_lowest_free(subnet, at);
    }

    /// Notes that a zone is down, or up again.
    pub(super) fn set_zone_down(&mut self, zone: &Arc<str>, down: bool) {
        self.model.set_zone_down(zone, down);
    }

    /// Puts a resource, new or replaced.
    pub fn put<R: Resource>(&mut self, resource: R) {
        self.touched.insert(resource.id().resource());
        self.model.put(resource);
    }

    /// Changes a resource in place; nothing happens if it does not exist.
    pub fn update<I: Id>(&mut self, id: &I, change: impl FnOnce(&mut I::Resource)) {
        let Some(old) = self.model.get(id) else {
            return;
        };
        let mut new = I::Resource::clone(old);
        change(&mut new);
        self.put(new);
    }

    /// Replaces the tags of any resource.
    pub(super) fn set_tags_of(&mut self, id: &ResourceId, tags: Tags) {
        self.touched.insert(id.clone());
        self.model.set_tags_of(id, tags);
    }

    /// Takes a resource away; nothing happens if it does not exist.
    pub fn remove<I: Id>(&mut self, id: &I) -> Option<Arc<I::Resource>> {
        let old = self.model.remove(id)?;
        self.touched.insert(id.resource());
        Some(old)
    }

    /// Resources that exist and name `target`, to be checked before a delete
    /// or followed in a change.
    pub fn referrers<R: Resource>(&self, target: &impl Id) -> Vec<Arc<R>> {
        self.model.referrers::<R>(target).cloned().collect()
    }

    /// Refuses a delete while a resource of kind `R` names `target`.
    ///
    /// # Errors
    /// `DependencyViolation`, naming one user.
    pub fn refuse_if_used<R: Resource>(&self, target: &impl Id) -> Result<(), ApiError> {
        match self.model.referrers::<R>(target).next() {
            Some(user) => Err(ApiError::dependency(target, user.id())),
            None => Ok(()),
        }
    }

    /// Refuses what would exceed a limit: `have` and `more` together.
    ///
    /// # Errors
    /// `code`, naming the quota, its value and how to raise it.
    pub fn check_quota(
        &self,
        quota: Quota,
        have: u64,
        more: u64,
        code: &'static str,
    ) -> Result<(), ApiError> {
        let limit = self.quotas.value(quota);
        if have.saturating_add(more) <= limit {
            return Ok(());
        }
        Err(ApiError::new(
            code,
            format!(
                "The quota '{name}' is {limit}, {have} are in use and {more} more were asked \
                 for; raise it with 'quotas:' in the topology: '{name}': N",
                name = quota.name()
            ),
        ))
    }

    /// The number of a zone of the caller's region.
    ///
    /// # Errors
    /// `InvalidParameterValue` unless the name is the region and one letter.
    pub fn zone(&mut self, name: &str) -> Result<vpclab_dataplane::addr::AzId, ApiError> {
        let region = &*self.caller.region;
        let letter = name.strip_prefix(region).map(str::as_bytes);
        if !matches!(letter, Some([b'a'..=b'z'])) {
            return Err(ApiError::invalid_value(format!(
                "Value ({name}) for parameter availabilityZone is invalid. Zones of this \
                 region are {region}a, {region}b, {region}c and so on"
            )));
        }
        Ok(self.model.zone_or_new(&Arc::from(name)))
    }
}

fn not_found<I: Id>(id: &I) -> ApiError {
    ApiError::new(I::NOT_FOUND, format!("The ID '{id}' does not exist"))
}

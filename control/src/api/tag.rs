//! Tags, of any resource and of security-group rules.

use std::sync::Arc;

use super::{Action, ApiError, Transaction};
use crate::model::{Id, Kind, Resource, ResourceId, SecurityGroup, SecurityGroupId, Tags, kind_of};

/// Tags of one resource, at most (V:amazon-vpc-limits).
const TAGS_MAX: usize = 50;
/// Characters of a key and of a value, at most.
const KEY_LEN_MAX: usize = 128;
const VALUE_LEN_MAX: usize = 256;

/// Sets or takes away a resource's `Name` tag.
#[derive(Clone, Debug, Default)]
pub struct SetName<I> {
    /// The resource.
    pub resource: I,
    /// Its new name.
    pub name: Option<String>,
}

impl<I: Id> Action for SetName<I> {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        tx.require(&self.resource)?;
        tx.update(&self.resource, |resource| {
            resource.meta_mut().name = self.name.map(Arc::from);
        });
        Ok(())
    }
}

/// `CreateTags`: adds tags, or gives them other values.
#[derive(Clone, Debug, Default)]
pub struct CreateTags {
    /// Ids or ARNs.
    pub resources: Vec<String>,
    /// The tags.
    pub tags: Tags,
}

impl Action for CreateTags {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        check_tags(&self.tags)?;
        for text in &self.resources {
            let tagged = Tagged::find(tx, text)?;
            let mut tags = tagged.tags(tx);
            tags.extend(self.tags.clone());
            if tags.len() > TAGS_MAX {
                return Err(ApiError::new(
                    "TagLimitExceeded",
                    format!(
                        "{text} would have {} tags; {TAGS_MAX} are the most",
                        tags.len()
                    ),
                ));
            }
            tagged.set(tx, tags);
        }
        Ok(())
    }
}

/// `DeleteTags`
#[derive(Clone, Debug, Default)]
pub struct DeleteTags {
    /// Ids or ARNs.
    pub resources: Vec<String>,
    /// Keys, and the values that the tags must have to go; all tags go if there
    /// is no key.
    pub tags: Vec<(String, Option<String>)>,
}

impl Action for DeleteTags {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        for text in &self.resources {
            let tagged = Tagged::find(tx, text)?;
            let mut tags = tagged.tags(tx);
            if self.tags.is_empty() {
                tags.clear();
            }
            for (key, value) in &self.tags {
                let held = tags.get(&**key);
                let goes = |held: &Arc<str>| value.as_ref().is_none_or(|v| **v == **held);
                if held.is_some_and(goes) {
                    tags.remove(&**key);
                }
            }
            tagged.set(tx, tags);
        }
        Ok(())
    }
}

/// What carries tags.
enum Tagged {
    Resource(ResourceId),
    Rule(SecurityGroupId, Arc<str>),
}

impl Tagged {
    /// What `text` names, if the caller owns it in this region.
    fn find(tx: &Transaction<'_>, text: &str) -> Result<Self, ApiError> {
        let not_found = || {
            let kind = text.split('-').next().unwrap_or_default();
            ApiError::new(
                "InvalidID",
                format!("The ID '{text}' of kind '{kind}' does not exist"),
            )
        };
        if text.starts_with("sgr-") {
            let found = tx.model().indexes().alias(text);
            let group = found.map(|id| SecurityGroupId::from_text(id.text.clone()));
            let group = group.filter(|group| tx.require(group).is_ok());
            return group
                .map(|group| Self::Rule(group, Arc::from(text)))
                .ok_or_else(|| {
                    ApiError::new(
                        "InvalidSecurityGroupRuleId.NotFound",
                        format!("The security group rule ID '{text}' does not exist"),
                    )
                });
        }
        let kind: Kind = kind_of(text)
            .filter(|kind| *kind != Kind::ClientToken)
            .ok_or_else(not_found)?;
        let id = ResourceId {
            kind,
            text: Arc::from(text),
        };
        let caller = tx.caller();
        let meta = tx.model().meta_of(&id);
        let own = meta.filter(|meta| meta.owner == caller.account && meta.region == caller.region);
        own.map(|_| Self::Resource(id)).ok_or_else(|| {
            ApiError::new(kind.not_found(), format!("The ID '{text}' does not exist"))
        })
    }

    fn tags(&self, tx: &Transaction<'_>) -> Tags {
        match self {
            Self::Resource(id) => {
                let meta = tx.model().meta_of(id);
                meta.map(|meta| meta.all_tags()).unwrap_or_default()
            }
            Self::Rule(group, rule) => {
                let group = tx.model().get(group);
                let mut rules = group.iter().flat_map(|group| &group.rules);
                rules
                    .find(|held| held.id == *rule)
                    .map(|held| held.tags.clone())
                    .unwrap_or_default()
            }
        }
    }

    fn set(&self, tx: &mut Transaction<'_>, tags: Tags) {
        match self {
            Self::Resource(id) => tx.set_tags_of(id, tags),
            Self::Rule(group, rule) => tx.update(group, |group: &mut SecurityGroup| {
                if let Some(held) = group.rules.iter_mut().find(|held| held.id == *rule) {
                    held.tags = tags;
                }
            }),
        }
    }
}

/// Refuses tags that AWS refuses.
///
/// # Errors
/// `InvalidParameterValue` or `TagLimitExceeded`, naming the tag.
pub fn check_tags(tags: &Tags) -> Result<(), ApiError> {
    if tags.len() > TAGS_MAX {
        return Err(ApiError::new(
            "TagLimitExceeded",
            format!("{} tags were given; {TAGS_MAX} are the most", tags.len()),
        ));
    }
    for (key, value) in tags {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::invalid_value(format!(
                "Tag keys starting with 'aws:' are reserved for internal use: {key}"
            )));
        }
        if key.is_empty() || key.chars().count() > KEY_LEN_MAX {
            return Err(ApiError::invalid_value(format!(
                "Tag key '{key}' is invalid: 1 to {KEY_LEN_MAX} characters are needed"
            )));
        }
        if value.chars().count() > VALUE_LEN_MAX {
            return Err(ApiError::invalid_value(format!(
                "The value of tag '{key}' exceeds the maximum length of {VALUE_LEN_MAX} characters"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;
    use crate::model::SubnetId;

    #[test]
    fn a_name_can_be_set_and_changes_no_row() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let version = control.tables().load().version;
        let request = SetName {
            resource: vpc.clone(),
            name: Some("consumer".into()),
        };
        control.execute(request).unwrap();
        let name = control.model().get(&vpc).unwrap().meta.name.clone();
        assert_eq!(name.as_deref(), Some("consumer"));
        assert_eq!(control.tables().load().version, version);
        let missing = SetName {
            resource: SubnetId::from("subnet-00000000"),
            name: None,
        };
        refused(
            &mut control,
            missing,
            "InvalidSubnetID.NotFound",
            "subnet-00000000",
        );
    }

    #[test]
    fn tags_are_set_changed_and_taken_away_and_change_no_row() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let version = control.tables().load().version;
        let create = |tags: &[(&str, &str)]| CreateTags {
            resources: vec![vpc.to_string()],
            tags: tags.iter().map(|&(k, v)| (k.into(), v.into())).collect(),
        };
        control
            .execute(create(&[("Name", "a"), ("env", "x"), ("team", "t")]))
            .unwrap();
        control.execute(create(&[("env", "y")])).unwrap();
        let meta = |control: &ControlPlane| control.model().get(&vpc).unwrap().meta.clone();
        assert_eq!(meta(&control).name.as_deref(), Some("a"));
        assert_eq!(meta(&control).tags.get("env").map(|v| &**v), Some("y"));
        let delete = DeleteTags {
            resources: vec![vpc.to_string()],
            tags: vec![
                ("env".into(), Some("other".into())),
                ("team".into(), None),
                ("Name".into(), Some("a".into())),
            ],
        };
        control.execute(delete).unwrap();
        assert_eq!(meta(&control).all_tags().len(), 1);
        assert_eq!(control.tables().load().version, version);
        let code = "InvalidParameterValue";
        refused(&mut control, create(&[("aws:x", "y")]), code, "aws:x");
        let missing = CreateTags {
            resources: vec!["igw-00000000".into()],
            ..create(&[])
        };
        refused(
            &mut control,
            missing,
            "InvalidInternetGatewayID.NotFound",
            "igw-00000000",
        );
        let many: Vec<String> = (0..51).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(|n| (n.as_str(), "")).collect();
        refused(&mut control, create(&many), "TagLimitExceeded", "50");
    }

    #[test]
    fn a_rule_has_tags_of_its_own() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let group = control
            .model()
            .get(&vpc)
            .unwrap()
            .default_security_group
            .clone();
        let rule = control.model().get(&group).unwrap().rules[0].id.clone();
        let tag = CreateTags {
            resources: vec![rule.to_string()],
            tags: [("a".into(), "b".into())].into(),
        };
        control.execute(tag).unwrap();
        let held = control.model().get(&group).unwrap();
        assert_eq!(held.rules[0].tags.len(), 1);
        assert!(held.meta.tags.is_empty());
    }
}

//! STS: who am I.

use serde::{Deserialize, Serialize};

use super::call::{At, Call, calls};
use crate::api::ApiError;

calls! {
    Read: GetCallerIdentity;
}

/// `GetCallerIdentity`
#[derive(Debug, Deserialize)]
pub struct GetCallerIdentity {}

/// An account's root user.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CallerIdentity {
    account: String,
    arn: String,
    user_id: String,
}

impl Call for GetCallerIdentity {
    type Answer = CallerIdentity;

    fn call(self, at: &mut At<'_, '_>) -> Result<CallerIdentity, ApiError> {
        let account = at.caller().account.to_string();
        Ok(CallerIdentity {
            arn: format!("arn:aws:iam::{account}:root"),
            user_id: account.clone(),
            account,
        })
    }
}

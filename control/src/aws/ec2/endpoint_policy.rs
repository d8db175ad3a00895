//! Endpoint policies: only one that lets everything through is emulated, because
//! no packet is refused by one here.

use serde_json::Value;

use crate::api::ApiError;

/// The policy of an endpoint that was given none, as AWS shows it.
pub(super) const FULL_ACCESS: &str = r#"{
  "Statement": [
    {
      "Action": "*",
      "Effect": "Allow",
      "Principal": "*",
      "Resource": "*"
    }
  ]
}"#;

/// Refuses a policy that would refuse anything.
///
/// # Errors
/// `InvalidPolicyDocument`, or `UnsupportedOperation` for one that restricts.
pub(super) fn check(document: &str) -> Result<(), ApiError> {
    let malformed = |why: String| ApiError::new("InvalidPolicyDocument", why);
    let policy: Value = serde_json::from_str(document)
        .map_err(|error| malformed(format!("The policy document is not JSON: {error}")))?;
    let statements: Vec<&Value> = match policy.get("Statement") {
        Some(Value::Array(all)) => all.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => return Err(malformed("The policy document has no Statement".to_owned())),
    };
    let refuses = statements
        .iter()
        .any(|statement| statement.get("Effect") != Some(&Value::from("Allow")));
    if !refuses && statements.iter().any(|statement| allows_all(statement)) {
        return Ok(());
    }
    Err(ApiError::new(
        "UnsupportedOperation",
        "Endpoint policies that restrict access are not emulated; PolicyDocument must allow every \
         Principal, Action and Resource",
    ))
}

fn allows_all(statement: &Value) -> bool {
    let is_all = |value: &Value| match value {
        Value::String(text) => text == "*",
        Value::Array(all) => all.contains(&Value::from("*")),
        _ => false,
    };
    let every = |key: &str| statement.get(key).is_some_and(is_all);
    let principal = statement.get("Principal");
    let anybody = principal.is_some_and(|it| is_all(it) || it.get("AWS").is_some_and(is_all));
    anybody && every("Action") && every("Resource") && statement.get("Condition").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_policy_that_lets_everything_through_is_accepted() {
        check(FULL_ACCESS).unwrap();
        let allow = r#""Effect":"Allow","Action":"*","Resource":["*"]"#;
        let open = format!(r#"{{"Statement":{{"Principal":{{"AWS":"*"}},{allow}}}}}"#);
        check(&open).unwrap();
        for (policy, code) in [
            ("{", "InvalidPolicyDocument"),
            ("{}", "InvalidPolicyDocument"),
            (
                &*format!(r#"{{"Statement":[{{"Principal":"*",{allow},"Condition":{{}}}}]}}"#),
                "UnsupportedOperation",
            ),
            (
                &*format!(r#"{{"Statement":[{{"Principal":{{"AWS":"1"}},{allow}}}]}}"#),
                "UnsupportedOperation",
            ),
            (
                &*format!(r#"{{"Statement":[{{"Principal":"*",{allow}}},{{"Effect":"Deny"}}]}}"#),
                "UnsupportedOperation",
            ),
        ] {
            assert_eq!(check(policy).unwrap_err().code, code, "{policy}");
        }
    }
}

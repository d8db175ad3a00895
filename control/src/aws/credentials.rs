//! `--credentials FILE`: whose signatures count. The file is what AWS's tools read
//! themselves (`AWS_SHARED_CREDENTIALS_FILE`), with the account of each key:
//!
//! ```ini
//! [default]
//! aws_access_key_id = AKIAIOSFODNN7EXAMPLE
//! aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
//! aws_account_id = 111122223333
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::identity::account_of;

/// The keys of a file, by access key id.
#[derive(Clone, Default)]
pub struct Credentials {
    keys: BTreeMap<String, Key>,
}

/// What belongs to an access key id.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Whose it is.
    pub(super) account: Arc<str>,
    /// What signatures are made with.
    pub(super) secret: String,
    /// What requests with it must carry, if anything.
    pub(super) session_token: Option<String>,
}

/// A file of credentials that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("credentials {file}: {why}")]
pub struct CredentialsError {
    /// The file, and the line if it is about one.
    pub file: String,
    /// What is wrong.
    pub why: String,
}

// Secrets must not reach a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.keys()).finish()
    }
}

/// A section as it is read.
#[derive(Default)]
struct Section {
    line: usize,
    values: BTreeMap<String, String>,
}

impl Credentials {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or says something that is no credentials.
    pub fn read(file: &Path) -> Result<Self, CredentialsError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| CredentialsError {
            file: name.clone(),
            why: error.to_string(),
        })?;
        Self::parse(&name, &text)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// The first thing in it that is no credentials.
    pub fn parse(file: &str, text: &str) -> Result<Self, CredentialsError> {
        let wrong = |line: usize, why: String| CredentialsError {
            file: format!("{file}:{line}"),
            why,
        };
        let mut sections: Vec<Section> = Vec::new();
        for (n, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if line.starts_with('[') && line.ends_with(']') {
                sections.push(Section {
                    line: n,
                    ..Section::default()
                });
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                let why = "is neither [profile] nor key = value".to_owned();
                return Err(wrong(n, why));
            };
            let Some(section) = sections.last_mut() else {
                let why = "stands before the first [profile]".to_owned();
                return Err(wrong(n, why));
            };
            let key = key.trim().to_ascii_lowercase();
            section.values.insert(key, value.trim().to_owned());
        }
        let mut all = Self::default();
        for section in sections {
            all.add(section).map_err(|(line, why)| wrong(line, why))?;
        }
        if all.keys.is_empty() {
            let why = "has no aws_access_key_id: nobody could call".to_owned();
            return Err(CredentialsError {
                file: file.to_owned(),
                why,
            });
        }
        Ok(all)
    }

    /// Adds a profile's key; profiles without (of roles, say) are others' business.
    fn add(&mut self, mut section: Section) -> Result<(), (usize, String)> {
        let line = section.line;
        let mut take = |key: &str| section.values.remove(key).filter(|value| !value.is_empty());
        let (id, secret) = match (take("aws_access_key_id"), take("aws_secret_access_key")) {
            (Some(id), Some(secret)) => (id, secret),
            (None, None) => return Ok(()),
            (Some(_), None) => return Err((line, "has no aws_secret_access_key".to_owned())),
            (None, Some(_)) => return Err((line, "has no aws_access_key_id".to_owned())),
        };
        let account = match take("aws_account_id") {
            None => Arc::from(account_of(&id)),
            Some(account) if account_of(&account) == account => Arc::from(account),
            Some(other) => {
                let why = format!("aws_account_id '{other}' does not have twelve digits");
                return Err((line, why));
            }
        };
        let key = Key {
            account,
            secret,
            session_token: take("aws_session_token"),
        };
        match self.keys.insert(id.clone(), key.clone()) {
            Some(other) if other != key => Err((line, format!("gives {id} another secret"))),
            _ => Ok(()),
        }
    }

    /// What belongs to an access key id, if anybody has it.
    pub(super) fn key(&self, id: &str) -> Option<&Key> {
        self.keys.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DEFAULT_ACCOUNT;

    #[test]
    fn a_file_gives_keys_and_their_accounts() {
        let text = "# ours\n[default]\naws_access_key_id = AKIA1\nAWS_SECRET_ACCESS_KEY=a=b/c\n\
                    region = us-east-1\n\n[profile other]\naws_access_key_id=AKIA2\n\
                    aws_secret_access_key=d\naws_account_id = 111122223333\naws_session_token = t\n\
                    [number]\naws_access_key_id=444455556666\naws_secret_access_key=e\n\
                    [role]\nrole_arn = arn:aws:iam::1:role/x\n";
        let all = Credentials::parse("file", text).unwrap();
        let one = all.key("AKIA1").unwrap();
        assert_eq!((&*one.account, &*one.secret), (DEFAULT_ACCOUNT, "a=b/c"));
        let two = all.key("AKIA2").unwrap();
        assert_eq!(&*two.account, "111122223333");
        assert_eq!(two.session_token.as_deref(), Some("t"));
        assert_eq!(&*all.key("444455556666").unwrap().account, "444455556666");
        assert!(all.key("AKIA3").is_none());
        assert!(!format!("{all:?} {one:?}").contains("a=b/c"));
    }

    #[test]
    fn what_is_no_credentials_is_named() {
        let pair = "aws_access_key_id=A\naws_secret_access_key=s\n";
        for (text, why) in [
            ("", "file: has no aws_access_key_id"),
            ("[a]\nregion = x\n", "file: has no aws_access_key_id"),
            ("x = y\n", "file:1: stands before"),
            ("[a]\nnonsense\n", "file:2: is neither"),
            (
                "[a]\naws_access_key_id=A\n",
                "file:1: has no aws_secret_access_key",
            ),
            (
                "[a]\naws_secret_access_key=A\n",
                "file:1: has no aws_access_key_id",
            ),
            (
                &format!("[a]\n{pair}aws_account_id=12\n"),
                "file:1: aws_account_id '12'",
            ),
            (
                &format!("[a]\n{pair}[b]\naws_access_key_id=A\naws_secret_access_key=t\n"),
                "file:4: gives A another secret",
            ),
        ] {
            let error = Credentials::parse("file", text).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        let twice = format!("[a]\n{pair}[b]\n{pair}");
        assert!(Credentials::parse("file", &twice).is_ok());
    }
}

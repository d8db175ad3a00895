//! TAP interfaces that outlive the processes of a lab, written down so that the
//! lab's end deletes them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::cli::CliError;
use crate::host::runtime_dir::RuntimeDir;
use crate::host::{Context, HostError, netlink};

/// A TAP for a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistentTap {
    /// Its name.
    pub device: String,
    /// Its alias, by which it is known as vpclab's.
    pub alias: String,
    /// The network it is in.
    pub namespace: PathBuf,
    /// That network's number: paths may come to name another.
    pub inode: u64,
}

impl PersistentTap {
    /// Its network, by this process, by its path, or by any process that is in it.
    fn place(&self) -> Option<Place> {
        let processes = std::fs::read_dir("/proc").into_iter().flatten();
        let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut places = [Place::Here, Place::Path(self.namespace.clone())]
            .into_iter()
            .chain(numbers.map(Place::Process));
        places.find(|place| place.inode().is_ok_and(|inode| inode == self.inode))
    }

    /// Deletes the interface, if it is still there and still ours. A process of
    /// its own does it: entering a network may be for good, and wants one thread.
    pub fn delete(&self) -> Result<(), CliError> {
        // Without the network, the interface is gone as well.
        if self.place().is_none() {
            return Ok(());
        }
        let about = serde_json::to_string(self).context("TAP")?;
        let done = Command::new("/proc/self/exe")
            .args(["delete-tap", &about])
            .stdin(Stdio::null())
            .output()
            .context("delete a TAP")?;
        if done.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr);
        let said = said.trim().trim_start_matches("error: ");
        Err(CliError::fault(format!(
            "TAP {} stays: {said}",
            self.device
        )))
    }

    /// The same, by moving the calling process, which must have one thread.
    pub fn delete_there(&self) -> Result<(), CliError> {
        if let Some(place) = self.place() {
            place.enter()?;
            netlink::delete(&self.device, Some(&self.alias))?;
        }
        Ok(())
    }
}

/// Adds a TAP to the lab's list, before it is made.
pub fn note(dir: &RuntimeDir, tap: &PersistentTap) -> Result<(), HostError> {
    let mut all = list(dir);
    all.push(tap.clone());
    write(dir, &all)
}

/// Deletes a TAP and takes it from the list.
pub fn delete(dir: &RuntimeDir, tap: &PersistentTap) -> Result<(), CliError> {
    tap.delete()?;
    let mut all = list(dir);
    all.retain(|other| other != tap);
    Ok(write(dir, &all)?)
}

/// Deletes all that the list names, for a lab that ends. What cannot be deleted
/// is said.
pub fn delete_all(dir: &RuntimeDir) {
    for tap in list(dir) {
        if let Err(error) = tap.delete() {
            eprintln!("{error}");
        }
    }
}

/// Whether the list names any.
pub fn is_empty(dir: &RuntimeDir) -> bool {
    list(dir).is_empty()
}

fn list(dir: &RuntimeDir) -> Vec<PersistentTap> {
    let text = std::fs::read(dir.taps()).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn write(dir: &RuntimeDir, all: &[PersistentTap]) -> Result<(), HostError> {
    let path = dir.taps();
    let next = path.with_extension("next");
    let text = serde_json::to_vec(all).context("list of TAPs")?;
    std::fs::write(&next, text).context(next.display())?;
    std::fs::rename(&next, &path).context(path.display())
}

//! Making and entering a host's namespaces.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use super::{Context, HostError};

/// What programs ask for their resolver.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A host's namespaces, kept alive by open descriptors.
#[derive(Debug)]
pub struct Namespaces {
    /// Network.
    pub net: OwnedFd,
    /// Mounts.
    pub mnt: OwnedFd,
}

impl Namespaces {
    /// Makes a pair: `resolv_conf` becomes its `/etc/resolv.conf`, `/sys` shows
    /// its own network.
    pub fn create(resolv_conf: &Path) -> Result<Self, HostError> {
        on_own_thread("namespace", || {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).context("unshare")?;
            make_mounts_private()?;
            let none: Option<&str> = None;
            match mount(Some(resolv_conf), RESOLV_CONF, none, MsFlags::MS_BIND, none) {
                // No such file here, or a link to nowhere: the host has none either.
                Err(Errno::ENOENT) => {}
                other => other.context(format!("mount {RESOLV_CONF}"))?,
            }
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some("sysfs"), "/sys", Some("sysfs"), flags, none).context("mount /sys")?;
            Ok(Self {
                net: open("/proc/thread-self/ns/net")?,
                mnt: open("/proc/thread-self/ns/mnt")?,
            })
        })
    }

    /// Opens a pair by path.
    pub fn open(net: &Path, mnt: &Path) -> Result<Self, HostError> {
        Ok(Self {
            net: open(net)?,
            mnt: open(mnt)?,
        })
    }

    /// Runs `work` in the network, on a thread of its own.
    pub fn in_network<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, HostError> + Send,
    ) -> Result<T, HostError> {
        on_own_thread("network", || {
            setns(&self.net, CloneFlags::CLONE_NEWNET).context("enter network namespace")?;
            work()
        })
    }

    /// Runs `work` in both, on a thread of its own: programs that it starts
    /// live there.
    pub fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, HostError> + Send,
    ) -> Result<T, HostError> {
        on_own_thread("host", || {
            // A thread that shares its working directory may not change mounts.
            unshare(CloneFlags::CLONE_FS).context("unshare working directory")?;
            self.enter()?;
            work()
        })
    }

    /// Moves the calling thread into both. Mounts go first: entering the
    /// network first takes the right to the mounts away without root.
    pub fn enter(&self) -> Result<(), HostError> {
        setns(&self.mnt, CloneFlags::CLONE_NEWNS).context("enter mount namespace")?;
        setns(&self.net, CloneFlags::CLONE_NEWNET).context("enter network namespace")
    }
}

/// Cuts the calling thread's mount namespace off from where it was copied.
pub fn make_mounts_private() -> Result<(), HostError> {
    let none: Option<&str> = None;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, flags, none).context("make mounts private")
}

fn open(path: impl AsRef<Path>) -> Result<OwnedFd, HostError> {
    let path = path.as_ref();
    Ok(File::open(path).context(path.display())?.into())
}

fn on_own_thread<T: Send>(
    name: &str,
    work: impl FnOnce() -> Result<T, HostError> + Send,
) -> Result<T, HostError> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name(name.to_owned());
        let thread = builder.spawn_scoped(scope, work).context("thread")?;
        thread
            .join()
            .unwrap_or_else(|_| Err(HostError::new(format!("the {name} thread panicked"))))
    })
}

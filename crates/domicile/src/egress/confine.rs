//! Confinement by the kernel (Landlock): the serving center gives up, for good, every file that is not its own and every TCP port
//! that is neither listened on nor declared. What the kernel can't do is left out and reported; nothing here is needed for the
//! program to be right, it is the second lock.
//!
//! Landlock knows TCP ports and no addresses, and no UDP before its ABI 10, which is not asked for: which *addresses* may be reached
//! is for the packet filter (`domicile egress nft`).

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::declared::Declared;
use super::http::SYSTEM_CA_FILE;
use crate::center::Center;
use crate::settings::listen_address;

/// The newest ABI whose rights on files are asked for: device ioctl. What came after (pathname sockets) breaks resolvers.
const FILES_ABI: ABI = ABI::V5;
/// The ABI that brought rights on TCP ports.
const PORTS_ABI: ABI = ABI::V4;
/// The ABI that brought scopes: signals and abstract sockets.
const SCOPES_ABI: ABI = ABI::V6;
/// The port of name servers, which a long answer comes from over TCP.
const DNS_PORT: u16 = 53;

/// What the resolver, TLS, the C library and the runtime read. `/etc` as a whole, because files in it are replaced by renaming.
const SYSTEM_READS: &[&str] = &[
    "/etc",
    "/run/systemd/resolve",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/proc/self",
    "/proc/sys",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/dev/urandom",
    "/dev/random",
];
/// Devices that anybody may write to.
const SYSTEM_WRITES: &[&str] = &["/dev/null"];

/// Why the program could not be confined although the kernel can.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfineError {
    /// A folder that it needs can't be made.
    #[error("{}: {source}; make the folder, or correct the setting", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No thread to try it on.
    #[error("the system gives no thread: {0}")]
    Thread(io::Error),
    /// The kernel refuses the rules.
    #[error(
        "the kernel refuses the confinement: {0}; set egress.confine = false to run without, and report this"
    )]
    Kernel(#[from] RulesetError),
}

/// Whether the kernel holds a kind of rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It does.
    Enforced,
    /// It can't.
    Unsupported,
    /// It was not asked to (`egress.confine = false`).
    Off,
}

impl Hold {
    /// One word for status, log and `doctor`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Unsupported => "unsupported",
            Self::Off => "off",
        }
    }
}

/// What the kernel holds the program to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    /// Files and folders.
    pub(crate) filesystem: Hold,
    /// TCP ports to listen on and to connect to.
    pub(crate) network: Hold,
    /// Signals to other programs, and their abstract sockets.
    pub(crate) processes: Hold,
    /// The kernel's version of Landlock; `None` where it has none.
    pub(crate) abi: Option<i32>,
    /// Threads that ran before and are therefore not held. The program is to be confined while it has one.
    pub(crate) threads_before: usize,
}

impl Report {
    /// What to report where `egress.confine` is false.
    pub(crate) const OFF: Self = Self {
        filesystem: Hold::Off,
        network: Hold::Off,
        processes: Hold::Off,
        abi: None,
        threads_before: 0,
    };

    /// Whether all of it is held.
    pub(crate) fn is_full(&self) -> bool {
        [self.filesystem, self.network, self.processes].iter().all(|hold| *hold == Hold::Enforced)
            && self.threads_before == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::OFF {
            return f.write_str("off by egress.confine = false: files and ports are not held by the kernel");
        }
        let Some(abi) = self.abi else {
            return f.write_str(
                "this kernel has no Landlock (Linux 5.13 and later, with `landlock` among its security modules): \
                 neither files nor ports are held by it; the packet filter of `domicile egress nft` needs no Landlock",
            );
        };
        let (files, ports, others) =
            (self.filesystem.as_str(), self.network.as_str(), self.processes.as_str());
        write!(f, "files {files}, TCP ports {ports}, signals {others} (Landlock ABI {abi})")?;
        if self.network == Hold::Unsupported {
            f.write_str("; ports need Linux 6.7")?;
        }
        match self.threads_before {
            0 => Ok(()),
            threads => write!(f, "; {threads} threads ran before and are not held"),
        }
    }
}

/// What the program keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confinement {
    /// Folders and files that it may read.
    reads: Vec<PathBuf>,
    /// Folders that it may do everything in.
    writes: Vec<PathBuf>,
    /// TCP ports that it may listen on.
    listens: Vec<u16>,
    /// TCP ports that it may connect to.
    connects: Vec<u16>,
}

impl Confinement {
    /// What a serving center needs: its own folder, store and journal; the certificates that the settings name; the ports of its
    /// listeners and of its declared destinations.
    pub(crate) fn of(center: &Center, declared: &Declared) -> Self {
        let (folder, settings) = (&center.folder, &center.settings);
        let writes = vec![folder.clone(), settings.store_folder(folder), folder.join(&settings.journal.dir)];
        let mut reads: Vec<PathBuf> = SYSTEM_READS.iter().map(PathBuf::from).collect();
        let named = [&settings.tesla.certificate, &settings.tesla.key].into_iter();
        let named = named.chain(&settings.tesla.vehicle_ca).map(|path| folder.join(path));
        let encryption_keys = &settings.gbt32960.encryption.keys_file;
        let keys = (!encryption_keys.is_empty()).then(|| folder.join(encryption_keys));
        let authorities = settings.ca_file(folder).unwrap_or_else(|| PathBuf::from(SYSTEM_CA_FILE));
        for file in named.chain(keys).chain([authorities]) {
            reads.extend(folders_of(&file));
        }
        let port = |listen: &str| Some(listen_address(listen).ok()?.port());
        let listens = settings.listeners().into_iter().filter_map(|(_, listen)| port(listen)).collect();
        let mut connects: Vec<u16> =
            declared.destinations().iter().map(|destination| destination.port()).collect();
        if !settings.peer.networks.is_empty() {
            // A center that joins later listens where centers do.
            connects.extend(port(&settings.peer.listen));
        }
        if declared.has_names() {
            connects.push(DNS_PORT);
        }
        let mut confinement = Self { reads, writes, listens, connects };
        confinement.reads.sort_unstable();
        confinement.reads.dedup();
        for ports in [&mut confinement.listens, &mut confinement.connects] {
            ports.sort_unstable();
            ports.dedup();
        }
        confinement
    }

    /// The TCP ports that it may listen on and connect to.
    pub(crate) fn ports(&self) -> (&[u16], &[u16]) {
        (&self.listens, &self.connects)
    }

    /// Gives everything else up, for this thread and those that it starts from now on. There is no way back.
    ///
    /// # Errors
    /// [`ConfineError`]. A kernel that can't is none: the report says so.
    pub(crate) fn apply(&self) -> Result<Report, ConfineError> {
        for folder in &self.writes {
            make_folder(folder)?;
        }
        let threads_before = threads().saturating_sub(1);
        Ok(Report { threads_before, ..self.restrict()? })
    }

    /// What `apply` would report here, found out on a thread that ends with it.
    ///
    /// # Errors
    /// [`ConfineError`].
    pub(crate) fn rehearse(&self) -> Result<Report, ConfineError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("rehearsal".to_owned());
            let thread = thread.spawn_scoped(scope, || self.restrict()).map_err(ConfineError::Thread)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Holds this thread.
    fn restrict(&self) -> Result<Report, ConfineError> {
        let ports = |ports: &[u16], access: AccessNet| {
            ports.iter().map(|port| Ok::<_, RulesetError>(NetPort::new(*port, access))).collect::<Vec<_>>()
        };
        let everything = AccessFs::from_all(FILES_ABI);
        let own = everything & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock);
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(everything)?
            .handle_access(AccessNet::from_all(PORTS_ABI))?
            .scope(Scope::from_all(SCOPES_ABI))?
            .create()?
            .add_rules(path_beneath_rules(&self.reads, read))?
            .add_rules(path_beneath_rules(SYSTEM_WRITES, read | AccessFs::WriteFile))?
            .add_rules(path_beneath_rules(&self.writes, own))?
            .add_rules(ports(&self.listens, AccessNet::BindTcp))?
            .add_rules(ports(&self.connects, AccessNet::ConnectTcp))?
            .restrict_self()?;
        Ok(report(&status.ruleset, &status.landlock))
    }
}

fn report(ruleset: &RulesetStatus, landlock: &LandlockStatus) -> Report {
    let threads_before = 0;
    let (known, kernel) = match landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } if *ruleset != RulesetStatus::NotEnforced => {
            (*effective_abi as i32, *kernel_abi)
        }
        _ => {
            let none = Hold::Unsupported;
            return Report { filesystem: none, network: none, processes: none, abi: None, threads_before };
        }
    };
    let since = |abi: ABI| if known >= abi as i32 { Hold::Enforced } else { Hold::Unsupported };
    Report {
        filesystem: since(ABI::V1),
        network: since(PORTS_ABI),
        processes: since(SCOPES_ABI),
        abi: Some(kernel.unwrap_or(known)),
        threads_before,
    }
}

/// The folder that a file lies in, and the one that it lies in when it is a link: files are renewed by renaming, and a rule on a
/// file would hold the old one.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let meant = file.canonicalize().ok();
    [Some(file), meant.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(Path::parent)
        .map(Path::to_owned)
        .collect()
}

/// A rule needs its folder to be there.
fn make_folder(path: &Path) -> Result<(), ConfineError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| ConfineError::Folder { path: path.to_owned(), source })
}

/// The threads of this program, as the kernel counts them.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

#[cfg(test)]
#[path = "confine_tests.rs"]
mod tests;

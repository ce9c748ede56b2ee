use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use super::{Confinement, Hold, Report};
use crate::center::{Center, NewCenter};
use crate::egress::Declared;
use crate::settings::environment_variable;
use crate::world::World;

/// Tells the child what it may use: its folder, the port to listen on, the port to connect to, and the one not to.
const CHILD: &str = "DOMICILE_TEST_CONFINED";

fn center(folder: &Path, world: &World) -> Center {
    let new = NewCenter {
        country: "CN".parse().expect("a country"),
        center: "shanghai-1".parse().expect("a name"),
        site: String::new(),
        hosts: Vec::new(),
    };
    Center::create(folder, &new, world).expect("a center")
}

/// The kernel's word on whether it has Landlock, from a source of its own.
fn has_landlock() -> bool {
    std::fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|modules| modules.contains("landlock"))
}

#[test]
fn a_confined_program_keeps_its_own_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("center");
    center(&own, &World::real());
    let taken = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let (declared, undeclared, free) = (taken(), taken(), taken());
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let told = format!("{} {} {} {}", port(&free), port(&declared), port(&undeclared), own.display());
    drop(free);
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "egress::confine::tests::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, told)
        .output()
        .expect("the child runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("confined: "), "{said}");
    for line in said.lines().filter(|line| line.contains("confined: ") || line.contains("skipped")) {
        println!("{line}");
    }
    if has_landlock() {
        assert!(said.contains("files enforced"), "{said}");
    }
}

/// The child of the test above: no test by itself.
#[test]
#[ignore = "run by `a_confined_program_keeps_its_own_and_nothing_else`"]
fn child() {
    let Some(told) = environment_variable(CHILD) else { return };
    let mut parts = told.splitn(4, ' ');
    let mut port = || parts.next().expect("a port").parse::<u16>().expect("a port");
    let (listen, declared, undeclared) = (port(), port(), port());
    let own = Path::new(parts.next().expect("a folder"));
    let outside = own.parent().expect("a parent");
    std::fs::write(outside.join("secret"), "before").expect("written before");
    let confined = confine(own, listen, declared);
    println!("\nconfined: {confined}");
    // What it needs works.
    std::fs::write(own.join("journal/segment"), "x").expect("its journal");
    std::fs::rename(own.join("journal/segment"), own.join("store/object")).expect("its store");
    std::fs::create_dir(own.join("run/new")).expect("its folder");
    std::os::unix::net::UnixListener::bind(own.join("run/test.sock")).expect("its socket");
    TcpListener::bind(("127.0.0.1", listen)).expect("its port");
    connect(declared).expect("its destination");
    if Path::new("/etc/hosts").exists() {
        std::fs::read("/etc/hosts").expect("the resolver's files");
    }
    // What it doesn't need is refused.
    let denied = std::io::ErrorKind::PermissionDenied;
    if confined.filesystem == Hold::Enforced {
        let kinds = [
            std::fs::read(outside.join("secret")).map(drop),
            std::fs::write(outside.join("leak"), "x"),
            std::fs::write("/tmp/domicile-leak", "x"),
            std::fs::read_dir("/").map(drop),
            Command::new("/bin/true").status().map(drop),
        ];
        for kind in kinds {
            assert_eq!(kind.expect_err("refused").kind(), denied);
        }
        // A thread that is started later is held too.
        let path = outside.join("secret");
        let read = std::thread::scope(|scope| scope.spawn(|| std::fs::read(path)).join().expect("a thread"));
        assert_eq!(read.expect_err("refused").kind(), denied);
    } else {
        println!("skipped: this kernel holds no files");
    }
    if confined.network == Hold::Enforced {
        assert_eq!(connect(undeclared).expect_err("refused").kind(), denied);
        assert_eq!(TcpListener::bind("127.0.0.1:0").expect_err("refused").kind(), denied);
    } else {
        println!("skipped: this kernel holds no ports");
    }
}

#[expect(clippy::disallowed_methods, reason = "what the kernel should refuse must be tried")]
fn connect(port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", port))
}

fn confine(own: &Path, listen: u16, declared: u16) -> Report {
    let world = World::real();
    let text = format!(
        "[tesla]\nlisten = \"127.0.0.1:{listen}\"\n[gbt32960]\ntls_listen = \"\"\n[http]\nlisten = \"\"\n\
         [postgres]\nlisten = \"\"\n[peer]\nlisten = \"\"\n\
         [egress]\nallow = [{{ to = \"127.0.0.1:{declared}\", purpose = \"feed\", country = \"CN\" }}]\n"
    );
    std::fs::write(own.join("domicile.toml"), text).expect("written");
    let center = Center::open(own, &world).expect("a center");
    let declared_list = Declared::of(&center.settings, center.genesis.country()).expect("a list");
    let confinement = Confinement::of(&center, &declared_list);
    assert_eq!(confinement.ports(), (&[listen][..], &[declared][..]));
    let rehearsed = confinement.rehearse().expect("rehearsed");
    let report = confinement.apply().expect("confined");
    // The test's harness runs its own thread beside this one, which is not held: a serving center has none yet.
    assert!(report.threads_before > 0 && !report.is_full());
    assert_eq!(Report { threads_before: 0, ..report }, rehearsed);
    rehearsed
}

#[test]
fn a_report_says_plainly_what_is_not_held() {
    let none = Report {
        filesystem: Hold::Unsupported,
        network: Hold::Unsupported,
        processes: Hold::Unsupported,
        abi: None,
        threads_before: 0,
    };
    assert!(none.to_string().starts_with("this kernel has no Landlock"), "{none}");
    let old = Report { filesystem: Hold::Enforced, abi: Some(3), ..none };
    assert_eq!(
        old.to_string(),
        "files enforced, TCP ports unsupported, signals unsupported (Landlock ABI 3); ports need Linux 6.7"
    );
    assert!(Report::OFF.to_string().starts_with("off by egress.confine = false"));
    assert!(!old.is_full() && !none.is_full());
}

#[test]
fn names_need_the_name_servers_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut center = center(&folder.path().join("center"), &World::real());
    center.settings.egress.allow = vec![crate::settings::Allowed {
        to: "witness.cn:443".to_owned(),
        purpose: "witness".to_owned(),
        country: "CN".to_owned(),
        networks: Vec::new(),
    }];
    let declared = Declared::of(&center.settings, center.genesis.country()).expect("a list");
    let confinement = Confinement::of(&center, &declared);
    assert_eq!(confinement.ports(), (&[4443, 5433, 8700, 8701, 32961][..], &[53, 443][..]));
}

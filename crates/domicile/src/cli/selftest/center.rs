//! A real center with canaries in it: what it writes, answers and connects to.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Pid;
use serde_json::json;
use sim::vehicle::vin;

use super::super::client::{Client, converse};
use super::super::harness::{self, Ports, Server, ServerOptions};
use super::{Canaries, Check};
use crate::center::{Center, NewCenter};
use crate::world::World;

/// Vehicles that are registered; as many strangers come beside them.
const REGISTERED: u32 = 3;

/// How long they drive.
const DRIVE_TIME: &str = "14s";

/// How long the last batch may take to be sealed and entered.
const SEAL_TIME: Duration = Duration::from_secs(13);

/// The personal fields of the record that is planted.
const BUYER: &str = "Canary Wei";
const CONTRACT: &str = "CONTRACT-77-CANARY";

/// The center's folder; deleted when this goes.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be deleted is named by its place under the folder that was given.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the center and looks everywhere.
pub(super) fn checks(under: &Path, world: &World) -> anyhow::Result<Vec<Check>> {
    let mut name = [0; 4];
    world.entropy.fill(&mut name);
    let folder = Folder(under.join(format!("domicile-selftest-{:08x}", u32::from_be_bytes(name))));
    let dir = folder.0.join("center");
    let canaries = plant(&dir, world)?;
    let vins: Vec<&str> =
        canaries.0.iter().map(|(_, text)| text.as_str()).filter(|text| text.len() == 17).collect();
    eprintln!("Planted, among others, the VINs {}. This takes half a minute.", vins.join(" "));
    // Whoever asks the environment for a proxy finds this one, which nobody may come to.
    let proxy = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    proxy.set_nonblocking(true)?;
    let proxy_url = format!("http://{}", proxy.local_addr()?);
    let outside = folder.0.join("outside");
    std::fs::create_dir(&outside)?;
    let ports = Ports::free()?;
    let environment: Vec<(&str, String)> = vec![
        ("HTTP_PROXY", proxy_url.clone()),
        ("HTTPS_PROXY", proxy_url.clone()),
        ("ALL_PROXY", proxy_url),
        ("TMPDIR", outside.display().to_string()),
        ("HOME", outside.display().to_string()),
    ];
    let options = ServerOptions { ports, lake: None, unbounded: false, log: Some("debug") };
    let mut server = Server::start_with(&dir, options, &environment)?;
    server.wait_ready(world)?;
    let mut remotes = BTreeSet::new();
    drive(&dir, ports, server.pid(), &mut remotes)?;
    let (answers, metrics, listed) = converse(ask(&dir, world))?;
    std::thread::sleep(SEAL_TIME);
    remote_addresses(server.pid(), &mut remotes)?;
    let verified = harness::run_program(&["ledger", "verify"], &dir);
    let frames = harness::run_program(
        &["query", "select count(*) from frames where protocol = 'tesla'", "--format", "csv"],
        &dir,
    )?;
    server.stop(world)?;
    let mut checks = vec![
        control(&canaries, &listed, &frames),
        canaries.check("logs, at the level of debugging", &files(&dir.join("serve.log"))?),
        canaries.check("metrics and their labels", &metrics),
        canaries.check("answers to wrong requests, error pages", &answers),
        canaries
            .check("the ledger: entries, tiles, checkpoints", &files(&dir.join("store/selftest-1/ledger"))?),
        canaries.check("openings and manifests", &below(&dir, &["opening", "manifest"])?),
        canaries.check("names of objects", &names(&dir.join("store"))?),
        canaries.check(
            "registry changes, records, packs, keys",
            &below(&dir, &["control", "records", "policy", "keyring"])?,
        ),
        canaries.check("raw batches", &below(&dir, &["batch"])?),
        canaries.check("tables, their statistics and their log", &below(&dir, &["lake"])?),
        canaries.check("the journal, once what it held is sealed", &files(&dir.join("journal"))?),
        secrets_only(&canaries).check("secrets in the registry's database", &files(&dir.join("registry"))?),
        permissions(&dir)?,
        nothing_in("files outside of the center's folder", &outside)?,
        nobody_came(&proxy),
        only_loopback(&remotes),
    ];
    let result = verified.map(|_| "verified".to_owned()).map_err(|error| error.to_string());
    checks.push(Check { by_path: "what is stored without an entry", result });
    Ok(checks)
}

/// Makes the center and everything in it that must not leave.
fn plant(dir: &Path, world: &World) -> anyhow::Result<Canaries> {
    let new = NewCenter {
        country: "CN".parse().context("the country")?,
        center: "selftest-1".parse().context("the center")?,
        site: String::new(),
        hosts: Vec::new(),
    };
    Center::create(dir, &new, world)?;
    let iccid = "89860099990000000042";
    let mut csv = String::from("vin,country,iccid\n");
    for index in 0..REGISTERED {
        csv.push_str(&format!("{},CN,{}\n", vin(index), if index == 2 { iccid } else { "" }));
    }
    harness::register(dir, &csv)?;
    std::fs::remove_file(dir.join("fleet.csv"))?;
    let token = harness::run_program(&["token", "create", "--role", "officer", "--name", "canary"], dir)?;
    let password = harness::run_program(&["platform", "add", "canary"], dir)?;
    let password = password.lines().find_map(|line| line.strip_prefix("password: ")).context("a password")?;
    let sales = dir.with_file_name("sales.csv");
    std::fs::write(
        &sales,
        format!("vin,sold_at,dealer,contract_no\n{},2026-01-31,{BUYER},{CONTRACT}\n", vin(0)),
    )?;
    let sales_text = sales.to_str().context("the folder's name is no UTF-8")?;
    harness::run_program(&["records", "import", "--kind", "sale", sales_text], dir)?;
    std::fs::remove_file(&sales)?;
    let mut canaries = vec![
        ("an ICCID", iccid.to_owned()),
        ("a token", token.lines().last().unwrap_or_default().to_owned()),
        ("a platform's password", password.to_owned()),
        ("a contract's number", CONTRACT.to_owned()),
    ];
    canaries.extend((0..2 * REGISTERED).map(|index| ("a VIN", vin(index).to_string())));
    Ok(Canaries(canaries))
}

/// Lets registered vehicles and strangers drive, over both protocols.
fn drive(dir: &Path, ports: Ports, server: Pid, remotes: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let vehicles = (2 * REGISTERED).to_string();
    let to = format!("127.0.0.1:{}", ports.tesla);
    let mut fleets = Vec::new();
    for protocol in ["tesla", "gbt32960-2025"] {
        let to = if protocol == "tesla" { to.clone() } else { format!("127.0.0.1:{}", ports.gbt_tls) };
        let fleet = harness::program()?
            .args([
                "sim",
                "--vehicles",
                &vehicles,
                "--protocol",
                protocol,
                "--to",
                &to,
                "--for",
                DRIVE_TIME,
                "--dir",
            ])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting simulated vehicles")?;
        fleets.push(fleet);
    }
    for mut fleet in fleets {
        while fleet.try_wait()?.is_none() {
            remote_addresses(server, remotes)?;
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    Ok(())
}

type Contents = Vec<(String, Vec<u8>)>;

/// Asks the running center what it should not answer, and what it says of itself. The last is the list of vehicles.
async fn ask(dir: &Path, world: &World) -> anyhow::Result<(Contents, Contents, String)> {
    let mut client = Client::open(dir, world).await?;
    let mut answers = Vec::new();
    let wrong = [
        format!("/api/vehicles/{}x", vin(0)),
        format!("/api/vehicles/{}/certificates", vin(0)),
        format!("/api/{}", vin(1)),
        format!("/ledger/tile/0/{}", vin(0)),
    ];
    for address in &wrong {
        let answer = client.get::<serde_json::Value>(address).await;
        answers.push((address.replace(vin(0).as_str(), "…"), format!("{answer:?}").into_bytes()));
    }
    let questions = [
        ("/api/query", json!({ "sql": format!("select '{}' from nothing where", vin(0)) })),
        ("/api/vehicles", json!({ "vin": vin(0).to_string(), "country": "CN" })),
        ("/api/vehicles", json!({ "vin": vin(4).to_string(), "country": "Neverland" })),
        ("/api/tokens", json!({ "name": vin(0).to_string(), "role": "king" })),
    ];
    // A question's own words may come back to who asked it: only other canaries count there.
    for (address, question) in &questions[1..] {
        let answer = client.post::<serde_json::Value>(address, question).await;
        answers.push(((*address).to_owned(), format!("{answer:?}").into_bytes()));
    }
    let csv = format!("vin,sold_at,dealer\n{0},2026-01-31,D\n{0},2026-01-31,D\n{1},x,D\n", vin(0), vin(5));
    let answer = client.upload::<serde_json::Value>("/api/records/sale", csv.into_bytes()).await;
    answers.push(("/api/records/sale".to_owned(), format!("{answer:?}").into_bytes()));
    let metrics = client.text("/metrics").await?;
    let status = client.text("/status").await?;
    let listed = client.text("/api/vehicles").await?;
    let metrics =
        vec![("/metrics".to_owned(), metrics.into_bytes()), ("/status".to_owned(), status.into_bytes())];
    Ok((answers, metrics, listed))
}

/// That what is looked for can be found: the registry says the VINs to who may read it, and frames were stored.
fn control(canaries: &Canaries, listed: &str, frames: &str) -> Check {
    let frames: u64 = frames.lines().last().and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    let result = match (canaries.found_in(listed.as_bytes()).is_empty(), frames) {
        (false, 1..) => Ok(format!("the registry names the vehicles, {frames} frames are stored")),
        (true, _) => Err("the registry does not name the vehicles that were planted".to_owned()),
        (_, _) => Err("no frame was stored".to_owned()),
    };
    Check { by_path: "control: the canaries are where they belong", result }
}

/// The database holds VINs, as the registry's projection; secrets it must not hold.
fn secrets_only(canaries: &Canaries) -> Canaries {
    Canaries(canaries.0.iter().filter(|(what, _)| !matches!(*what, "a VIN" | "an ICCID")).cloned().collect())
}

/// The contents of a file, or of all files below a folder.
fn files(path: &Path) -> anyhow::Result<Contents> {
    if path.is_file() {
        return Ok(vec![(path.display().to_string(), std::fs::read(path)?)]);
    }
    let mut contents = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
        contents.extend(files(&entry?.path())?);
    }
    Ok(contents)
}

fn below(dir: &Path, folders: &[&str]) -> anyhow::Result<Contents> {
    let mut contents = Vec::new();
    for folder in folders {
        contents.extend(files(&dir.join("store/selftest-1").join(folder))?);
    }
    Ok(contents)
}

fn names(store: &Path) -> anyhow::Result<Contents> {
    let named = files(store)?.into_iter().map(|(name, _)| (String::from("a name"), name.into_bytes()));
    Ok(named.collect())
}

/// The folder is its user's alone, and so are the files with keys and identities in it.
fn permissions(dir: &Path) -> anyhow::Result<Check> {
    let mut open = Vec::new();
    let mut private = vec![dir.to_owned(), dir.join("registry/registry.sqlite")];
    private.extend(Center::private(dir).into_iter().map(|(path, _)| path));
    for path in &private {
        let mode = path.metadata().with_context(|| path.display().to_string())?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            open.push(format!("{} ({mode:o})", path.display()));
        }
    }
    let result =
        if open.is_empty() { Ok(format!("{} looked at", private.len())) } else { Err(open.join(", ")) };
    Ok(Check { by_path: "other users of the machine", result })
}

fn nothing_in(by_path: &'static str, folder: &Path) -> anyhow::Result<Check> {
    let found = files(folder)?;
    let result = match found.first() {
        Some((name, _)) => Err(format!("{} files, such as {name}", found.len())),
        None => Ok("temporary and home folder are empty".to_owned()),
    };
    Ok(Check { by_path, result })
}

fn nobody_came(proxy: &TcpListener) -> Check {
    let result = match proxy.accept() {
        Ok((_, from)) => Err(format!("the proxy was asked by {from}")),
        Err(_) => Ok("nobody came to the proxy of the environment".to_owned()),
    };
    Check { by_path: "a proxy that the environment names", result }
}

fn only_loopback(remotes: &BTreeSet<String>) -> Check {
    let abroad: Vec<&str> =
        remotes.iter().map(String::as_str).filter(|address| !is_loopback(address)).collect();
    let result = match (abroad.is_empty(), remotes.len()) {
        (false, _) => Err(format!("connections to {}", abroad.join(", "))),
        (true, 0) => Err("no connection was seen at all".to_owned()),
        (true, count) => Ok(format!("{count} peers seen, all on loopback")),
    };
    Check { by_path: "connections of the serving process", result }
}

/// An address as `/proc/net/tcp` writes it: hex digits, the machine's byte order.
fn is_loopback(address: &str) -> bool {
    address.ends_with("7F") && address.len() == 8
        || address == "00000000000000000000000001000000"
        || address.starts_with("0000000000000000FFFF0000") && address.ends_with("7F")
}

/// Adds the addresses that the process's own sockets are connected to.
fn remote_addresses(pid: Pid, remotes: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let process = format!("/proc/{}", pid.as_raw_nonzero());
    let mut own = BTreeSet::new();
    for descriptor in std::fs::read_dir(format!("{process}/fd"))? {
        // One may be closed while they are read.
        let Ok(target) = std::fs::read_link(descriptor?.path()) else { continue };
        if let Some(inode) = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'))
        {
            own.insert(inode.to_owned());
        }
    }
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let Ok(text) = std::fs::read_to_string(format!("{process}/net/{table}")) else { continue };
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            ensure!(fields.len() > 9, "/proc/net/{table} has another form than proc(5) says");
            let (address, port) = fields[2].split_once(':').context("an address and a port")?;
            if own.contains(fields[9]) && port != "0000" {
                remotes.insert(address.to_owned());
            }
        }
    }
    Ok(())
}

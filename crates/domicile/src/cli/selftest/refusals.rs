//! What must be refused: a store of another country, an exchanged genesis, addresses abroad or undeclared, a redirect, a name that
//! leads out of its networks, a signal that nobody registered.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use futures::future::BoxFuture;
use model::{Event, Position, Protocol, Reading, ReadingSink, UtcMicros};

use super::super::client::converse;
use super::Check;
use crate::api::Rooms;
use crate::center::{Center, NewCenter};
use crate::egress::Declared;
use crate::egress::declared::Url;
use crate::egress::dial::{Dialer, Resolver};
use crate::egress::http::Client;
use crate::settings::Settings;
use crate::world::World;

/// A key of a witness, for settings that must be refused for another reason.
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

/// Tries all of them.
pub(super) fn checks(under: &Path, world: &World) -> anyhow::Result<Vec<Check>> {
    let mut name = [0; 4];
    world.entropy.fill(&mut name);
    let folder = under.join(format!("domicile-selftest-{:08x}", u32::from_be_bytes(name)));
    let tried = centers(&folder, world);
    // What can't be deleted is named by its place under the folder that was given.
    let _ = std::fs::remove_dir_all(&folder);
    let mut checks = tried?;
    checks.extend(declarations()?);
    checks.push(redirect(under)?);
    checks.push(name_abroad()?);
    checks.push(unregistered_signal()?);
    Ok(checks)
}

/// A check that something is refused for the right reason.
fn refused<T>(by_path: &'static str, tried: Result<T, String>, because: &str) -> Check {
    let result = match tried {
        Ok(_) => Err("it was let through".to_owned()),
        Err(why) if why.contains(because) => Ok("refused".to_owned()),
        Err(why) => Err(format!("refused for another reason: {why}")),
    };
    Check { by_path, result }
}

fn centers(folder: &Path, world: &World) -> anyhow::Result<Vec<Check>> {
    let make = |name: &str, country: &str| {
        let new = NewCenter {
            country: country.parse()?,
            center: name.parse()?,
            site: String::new(),
            hosts: Vec::new(),
        };
        Center::create(&folder.join(name), &new, world)?;
        anyhow::Ok(folder.join(name))
    };
    let (here, abroad) = (make("here-1", "CN")?, make("abroad-1", "DE")?);
    let open = |dir: &Path, store: Option<&Path>| {
        let (inner, url) =
            (world.environment.clone(), store.map(|store| format!("file:{}", store.display())));
        let environment = Arc::new(move |name: &str| match (name, &url) {
            ("DOMICILE_STORE_URL", Some(url)) => Some(url.clone()),
            _ => inner(name),
        });
        let world = World { environment, ..world.clone() };
        Rooms::open(dir, &world).map(|rooms| rooms.books.close()).map_err(|error| error.to_string())
    };
    open(&here, None).map_err(anyhow::Error::msg).context("a center as it was made does not open")?;
    let their_store = abroad.join("store").canonicalize()?;
    let mut checks = vec![refused(
        "a store, or a backup, of another country",
        open(&here, Some(&their_store)),
        "one country",
    )];
    // A backup that was copied into the own store.
    copy(&their_store.join("abroad-1"), &here.join("store/abroad-1"))?;
    checks.push(refused("another country's data beside the own", open(&here, None), "one country"));
    std::fs::remove_dir_all(here.join("store/abroad-1"))?;
    let genesis = here.join("genesis.json");
    let text = std::fs::read_to_string(&genesis)?;
    std::fs::write(&genesis, text.replace("\"CN\"", "\"DE\""))?;
    checks.push(refused("a genesis with another country in it", open(&here, None), "signed"));
    std::fs::copy(abroad.join("genesis.json"), &genesis)?;
    std::fs::copy(abroad.join("genesis.sig"), here.join("genesis.sig"))?;
    checks.push(refused("another center's genesis", open(&here, None), "country.vkey"));
    Ok(checks)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn declarations() -> anyhow::Result<Vec<Check>> {
    let own = "CN".parse()?;
    let try_settings = |text: &str| {
        let settings =
            Settings::read(text, "the selftest's settings", &|_| None).map_err(|error| error.to_string())?;
        Declared::of(&settings, own).map(drop).map_err(|error| error.to_string())
    };
    let witness = |country: &str| {
        format!(
            "[ledger]\nwitnesses = [{{ name = \"w\", vkey = \"{VKEY}\", url = \"https://w.example:8443\", country = \"{country}\" }}]\n"
        )
    };
    let allow = |purpose: &str, country: &str| {
        format!(
            "[egress]\nallow = [{{ to = \"w.example:8443\", purpose = \"{purpose}\", country = \"{country}\" }}]\n"
        )
    };
    Ok(vec![
        refused("a peer abroad", try_settings(&allow("peer", "DE")), "inside its country only"),
        refused("a witness that is not declared", try_settings(&witness("CN")), "egress.allow"),
        refused("a purpose that nobody knows", try_settings(&allow("telemetry", "CN")), "purpose"),
    ])
}

fn declared(to: &str, networks: &str) -> anyhow::Result<Declared> {
    let text =
        format!("[egress]\nallow = [{{ to = \"{to}\", purpose = \"feed\", country = \"CN\"{networks} }}]\n");
    let settings = Settings::read(&text, "the selftest's settings", &|_| None)?;
    Ok(Declared::of(&settings, "CN".parse()?)?)
}

/// A declared address that sends whoever asks to another one.
fn redirect(under: &Path) -> anyhow::Result<Check> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let answering = std::thread::Builder::new().name("redirect".to_owned()).spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut request = [0; 1024];
        let _however_long = stream.read(&mut request)?;
        stream.write_all(
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://203.0.113.9/\r\nContent-Length: 0\r\n\r\n",
        )
    })?;
    let declared = declared(&address.to_string(), "")?;
    // No authority is needed where there is no TLS; the file only has to be one.
    let authorities = under.join(format!("selftest-ca-{}.pem", address.port()));
    std::fs::write(&authorities, crate::pki::new_server_authority(UtcMicros(0))?.certificate)?;
    let client = Client::new(Arc::new(Dialer::new()), Some(&authorities));
    std::fs::remove_file(&authorities)?;
    let (client, url) = (client?, Url::parse(&format!("http://{address}")).map_err(anyhow::Error::msg)?);
    let destination = declared.destinations()[0].clone();
    let tried = converse(async {
        Ok(client
            .post(&destination, &url, "/", Bytes::new())
            .await
            .map(drop)
            .map_err(|error| error.to_string()))
    })?;
    let _either_way = answering.join();
    Ok(refused("a redirect to elsewhere", tried, "redirect"))
}

/// Gives every name an address of documentation's.
struct Abroad;

impl Resolver for Abroad {
    fn resolve<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![IpAddr::from([203, 0, 113, 9])]) })
    }
}

fn name_abroad() -> anyhow::Result<Check> {
    let declared = declared("feed.example:443", ", networks = [\"192.0.2.0/24\"]")?;
    let dialer = Dialer::with_resolver(Box::new(Abroad));
    let destination = declared.destinations()[0].clone();
    let tried = converse(async {
        Ok(dialer.connect(&destination).await.map(drop).map_err(|error| error.to_string()))
    })?;
    Ok(refused("a name that leads out of its declared networks", tried, "networks"))
}

/// A GB/T 32960 item of a maker's own, with a text in it.
fn unregistered_signal() -> anyhow::Result<Check> {
    const CONTENT: &[u8] = b"SECRET-CONTENT";
    let time = [26, 1, 31, 8, 0, 0];
    let mut item = vec![0x9a, 0, u8::try_from(CONTENT.len())?];
    item.extend_from_slice(CONTENT);
    let mut body = vec![0x02, 0xfe];
    body.extend_from_slice(sim::vehicle::vin(0).as_bytes());
    body.push(1);
    body.extend_from_slice(&u16::try_from(time.len() + item.len())?.to_be_bytes());
    body.extend_from_slice(&time);
    body.extend_from_slice(&item);
    let check = body.iter().fold(0, |check, byte| check ^ byte);
    let frame = [b"##".as_slice(), &body, &[check]].concat();
    let mut context =
        wire::Context::new(wire::gbt32960::Keys::none(), wire::gbt32960::CoordinateSystem::Wgs84);
    let mut rows = Rows::default();
    wire::decode(Protocol::Gbt32960, &frame, UtcMicros(0), &mut context, &mut rows)?;
    let shown = String::from_utf8_lossy(CONTENT).into_owned();
    let result = match (rows.readings, rows.events.iter().find(|event| event.starts_with("unknown_"))) {
        (0, Some(event)) if !rows.events.concat().contains(&shown) => {
            Ok(format!("no row, and an event: {event}"))
        }
        (0, Some(_)) => Err("its content stands in an event".to_owned()),
        (0, None) => Err("nobody is told of it".to_owned()),
        (_, _) => Err("it became a row".to_owned()),
    };
    Ok(Check { by_path: "a signal that nobody registered", result })
}

#[derive(Default)]
struct Rows {
    readings: usize,
    events: Vec<String>,
}

impl ReadingSink for Rows {
    fn reading(&mut self, _reading: Reading<'_>) {
        self.readings += 1;
    }

    fn position(&mut self, _position: Position) {
        self.readings += 1;
    }

    fn event(&mut self, event: Event<'_>) {
        self.events.push(format!("{} {} {}", event.kind, event.code, event.detail.unwrap_or_default()));
    }
}

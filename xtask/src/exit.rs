//! The rule of the one exit: only `domicile/src/egress/` opens outbound connections and resolves names. The compiler's lint
//! (`clippy.toml`) knows types; this knows the text, the few files that may silence the lint, and what is linked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// What opens a connection, sends a datagram or resolves a name. Each is written in two parts so that this file passes.
const WORDS: &[&str] = &[
    concat!("TcpStream::", "connect"),
    concat!("Tcp", "Socket"),
    concat!("connect_", "timeout"),
    concat!("lookup_", "host"),
    concat!("to_socket_", "addrs"),
    concat!("ToSocket", "Addrs"),
    concat!("Udp", "Socket"),
    concat!(".send_", "to("),
    concat!("getaddr", "info"),
    concat!("hyper_util::", "client"),
];

/// The files that may name them, and why.
const EXITS: &[(&str, &str)] = &[
    ("crates/domicile/src/egress/dial.rs", "the one exit"),
    ("crates/domicile/src/egress/confine_tests.rs", "tries what the kernel should refuse"),
    ("crates/domicile/src/cli/doctor.rs", "whether the center's own ports answer"),
    (
        "crates/domicile/src/cli/harness.rs",
        "whether the center that it started listens, and the link between two of them",
    ),
    ("crates/domicile/src/cli/sim.rs", "simulated vehicles look for their center"),
    ("crates/domicile/tests/office/house.rs", "who asks the API in the tests"),
    ("crates/domicile/tests/serve/vehicles.rs", "vehicles of the tests"),
    ("crates/sim/src/client/link.rs", "simulated vehicles connect to their center"),
];

/// What silences the lint, alone or with others.
const SILENCERS: &[&str] =
    &[concat!("clippy::disallowed_", "methods"), concat!("clippy::", "all"), concat!("clippy::", "style")];

/// The files that may silence it beside those above: clocks, the environment, and tests that measure or ask for Python.
const SILENCED: &[&str] = &[
    "crates/domicile/src/settings/mod.rs",
    "crates/domicile/src/world.rs",
    "crates/domicile/tests/ledger/main.rs",
    "crates/domicile/tests/office/main.rs",
    "crates/domicile/tests/serve/main.rs",
    "crates/lake/tests/lake/oracle.rs",
    "crates/lake/tests/lake/records.rs",
    "crates/lake/tests/lake/size.rs",
    "crates/policy/examples/decision_cost.rs",
    "crates/registry/src/records/tests.rs",
    "crates/sim/tests/gbt32960.rs",
    "crates/wire/src/gbt32960/tests/hostile.rs",
    "crates/wire/tests/gbt32960_frames.rs",
    "crates/wire/tests/gbt32960_rtm_con.rs",
    "crates/wire/tests/tesla_python.rs",
    "crates/wire/tests/websocket_python.rs",
];

/// Functions that `clippy.toml` must ban.
const BANS: &[&str] = &[
    concat!("std::net::TcpStream::", "connect"),
    concat!("std::net::Tcp", "Stream::connect_", "timeout"),
    concat!("std::net::ToSocket", "Addrs::to_socket_", "addrs"),
    concat!("std::net::Udp", "Socket::bind"),
    concat!("std::net::Udp", "Socket::connect"),
    concat!("std::net::Udp", "Socket::send_to"),
    concat!("tokio::net::TcpStream::", "connect"),
    concat!("tokio::net::Tcp", "Socket::connect"),
    concat!("tokio::net::lookup_", "host"),
    concat!("tokio::net::Udp", "Socket::bind"),
    concat!("tokio::net::Udp", "Socket::connect"),
    concat!("tokio::net::Udp", "Socket::send_to"),
    "socket2::Socket::connect",
];

/// Crates that connect or resolve by themselves: a name, or the beginning of one before a `*`.
const CLIENTS: &[&str] = &[
    "attohttpc",
    "async-std-resolver",
    "awc",
    "c-ares*",
    "chttp",
    "curl*",
    "dns-lookup",
    "domain",
    "h3*",
    "hickory-*",
    "hyper-rustls",
    "hyper-tls",
    "isahc",
    "minreq",
    "native-tls",
    "openssl*",
    "opentelemetry-otlp",
    "quinn*",
    "reqwest*",
    "rustls-native-certs",
    "sentry*",
    "smoltcp",
    "surf",
    "tonic*",
    "trust-dns-*",
    "ureq*",
    "webpki-roots",
];

/// Features that bring a client with a crate that is rightly there.
const CLIENT_FEATURES: &[(&str, &str)] =
    &[("hyper-util", "client-legacy"), ("hyper-util", "client-pool"), ("object_store", "cloud")];

/// Holds all of it: sources, settings of the lint, what is linked.
pub(crate) fn run(root: &Path, files: &[PathBuf], breaches: &mut Vec<String>) -> anyhow::Result<()> {
    for file in files {
        let name = file.to_string_lossy();
        let read = || fs::read_to_string(root.join(file)).with_context(|| format!("reading {name}"));
        if name.ends_with(".rs") {
            source(&name, &read()?, breaches);
        } else if name.ends_with("clippy.toml") {
            lint(&name, &read()?, breaches);
        } else if name.ends_with("Cargo.toml") && !name.starts_with("fuzz/") && name != "Cargo.toml" {
            manifest(&name, &read()?, breaches);
        }
    }
    for (file, _) in EXITS.iter().filter(|(file, _)| !root.join(file).is_file()) {
        breaches.push(format!("xtask/src/exit.rs names {file}, which is not there: take it out of the list"));
    }
    for file in SILENCED.iter().filter(|file| !root.join(file).is_file()) {
        breaches.push(format!("xtask/src/exit.rs names {file}, which is not there: take it out of the list"));
    }
    clients(&linked(&metadata(root)?, "domicile"), breaches);
    Ok(())
}

/// A source file that names what only the exit may name, or that silences the lint.
fn source(file: &str, text: &str, breaches: &mut Vec<String>) {
    let is_exit = EXITS.iter().any(|(exit, _)| *exit == file);
    let may_silence = is_exit || SILENCED.contains(&file);
    for (number, line) in text.lines().enumerate() {
        let mut breach = |word: &str, rule: &str| {
            breaches.push(format!("{file}:{}: `{word}`: {rule}", number + 1));
        };
        for word in WORDS.iter().filter(|word| !is_exit && line.contains(**word)) {
            breach(
                word,
                "only domicile/src/egress/dial.rs opens connections and resolves names; take its Dialer",
            );
        }
        for word in SILENCERS.iter().filter(|word| !may_silence && line.contains(**word)) {
            breach(
                word,
                "this file may not silence the lint; if it must, add it to xtask/src/exit.rs and say why",
            );
        }
    }
}

/// There is one `clippy.toml`, and it bans what connects.
fn lint(file: &str, text: &str, breaches: &mut Vec<String>) {
    if file != "clippy.toml" {
        breaches.push(format!("{file}: hides the repository's clippy.toml from its crate: take it out"));
        return;
    }
    for ban in BANS.iter().filter(|ban| !text.contains(&format!("path = \"{ban}\""))) {
        breaches.push(format!("clippy.toml: `{ban}` is not banned any more"));
    }
}

/// A crate whose manifest doesn't take the workspace's lints is not linted.
fn manifest(file: &str, text: &str, breaches: &mut Vec<String>) {
    if !text.contains("[lints]\nworkspace = true") {
        breaches
            .push(format!("{file}: the crate doesn't take the workspace's lints: [lints] workspace = true"));
    }
}

/// What this machine's build of the workspace is made of.
fn metadata(root: &Path) -> anyhow::Result<Metadata> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), platform])
        .exec()
        .context("running cargo metadata")
}

/// Every crate that is linked into a package, with its features.
fn linked(metadata: &Metadata, package: &str) -> BTreeMap<String, BTreeSet<String>> {
    let name = |id: &cargo_metadata::PackageId| metadata[id].name.to_string();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut features: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
        let normal = node
            .deps
            .iter()
            .filter(|dependency| dependency.dep_kinds.iter().any(|info| info.kind == DependencyKind::Normal));
        // Two versions of a crate are one here: neither may be a client.
        edges.entry(name(&node.id)).or_default().extend(normal.map(|dependency| name(&dependency.pkg)));
        features.entry(name(&node.id)).or_default().extend(node.features.iter().map(ToString::to_string));
    }
    let reached = reached(&edges, package);
    features.retain(|name, _| reached.contains(name));
    features
}

/// Everything that can be reached in a graph.
fn reached(edges: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([from.to_owned()]);
    let mut open = VecDeque::from([from.to_owned()]);
    while let Some(name) = open.pop_front() {
        for next in edges.get(&name).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push_back(next.clone());
            }
        }
    }
    reached
}

/// Linked crates that open connections or resolve names by themselves.
fn clients(linked: &BTreeMap<String, BTreeSet<String>>, breaches: &mut Vec<String>) {
    let is_client = |name: &str| {
        CLIENTS.iter().any(|client| match client.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == *client,
        })
    };
    for name in linked.keys().filter(|name| is_client(name)) {
        breaches.push(format!(
            "Cargo.lock: `{name}` is linked into domicile; `cargo tree -i {name}` says by whom. It connects or resolves by itself: \
             only domicile/src/egress/ may"
        ));
    }
    for (name, feature) in CLIENT_FEATURES {
        if linked.get(*name).is_some_and(|features| features.contains(*feature)) {
            breaches
                .push(format!("Cargo.lock: `{name}` has its feature `{feature}`, which connects by itself"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{BANS, SILENCERS, WORDS, clients, linked, lint, manifest, metadata, reached, source};

    fn breaches(look: impl FnOnce(&mut Vec<String>)) -> Vec<String> {
        let mut found = Vec::new();
        look(&mut found);
        found
    }

    #[test]
    fn a_planted_connection_is_found_and_an_exit_is_let_be() {
        for word in WORDS {
            let text = format!("fn f() {{\n    let _ = {word}(\"192.0.2.1:443\");\n}}\n");
            let found = breaches(|found| source("crates/lake/src/lib.rs", &text, found));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].starts_with(&format!("crates/lake/src/lib.rs:2: `{word}`: only domicile")),
                "{found:?}"
            );
            assert!(breaches(|found| source("crates/domicile/src/egress/dial.rs", &text, found)).is_empty());
            let beside = breaches(|found| source("crates/domicile/src/egress/http.rs", &text, found));
            assert_eq!(beside.len(), 1, "the other files of egress have no right to it either");
        }
    }

    #[test]
    fn a_planted_silencer_is_found() {
        for silencer in SILENCERS {
            let text = format!("#[expect({silencer}, reason = \"just this once\")]\n");
            assert_eq!(breaches(|found| source("crates/domicile/src/pipeline.rs", &text, found)).len(), 1);
            assert!(breaches(|found| source("crates/domicile/src/world.rs", &text, found)).is_empty());
        }
    }

    #[test]
    fn a_lint_that_was_weakened_is_found() {
        let whole: String = BANS.iter().map(|ban| format!("{{ path = \"{ban}\" }},\n")).collect();
        assert!(breaches(|found| lint("clippy.toml", &whole, found)).is_empty());
        for ban in BANS {
            let without = whole.replace(&format!("path = \"{ban}\""), "");
            let found = breaches(|found| lint("clippy.toml", &without, found));
            assert_eq!(found, [format!("clippy.toml: `{ban}` is not banned any more")]);
        }
        assert_eq!(breaches(|found| lint("crates/lake/clippy.toml", &whole, found)).len(), 1);
        assert_eq!(breaches(|found| manifest("crates/x/Cargo.toml", "[package]\n", found)).len(), 1);
        let manifest_text = "[lints]\nworkspace = true\n";
        assert!(breaches(|found| manifest("crates/x/Cargo.toml", manifest_text, found)).is_empty());
    }

    #[test]
    fn a_planted_client_is_found_however_deep_it_is_linked() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let edges = BTreeMap::from([
            ("domicile".to_owned(), set(&["lake", "hyper-util"])),
            ("lake".to_owned(), set(&["object_store"])),
            ("object_store".to_owned(), set(&["reqwest"])),
            ("xtask".to_owned(), set(&["ureq"])),
        ]);
        let reached = reached(&edges, "domicile");
        assert!(reached.contains("reqwest") && !reached.contains("ureq"));
        let mut linked: BTreeMap<_, _> = reached.into_iter().map(|name| (name, BTreeSet::new())).collect();
        let found = breaches(|found| clients(&linked, found));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("`reqwest` is linked"), "{found:?}");
        linked.remove("reqwest");
        linked.insert("hickory-resolver".to_owned(), BTreeSet::new());
        linked.insert("hyper-util".to_owned(), set(&["tokio", "client-legacy"]));
        assert_eq!(breaches(|found| clients(&linked, found)).len(), 2);
    }

    #[test]
    fn what_is_linked_is_read_from_the_real_workspace() {
        let metadata = metadata(crate::repository()).expect("cargo metadata");
        let linked = linked(&metadata, "domicile");
        // The client that egress has is hyper's bare connection, which gets its stream from the dialer.
        assert!(linked["hyper"].contains("client"));
        assert!(linked.contains_key("tokio") && !linked.contains_key("xtask"));
        assert!(breaches(|found| clients(&linked, found)).is_empty());
    }
}

//! The declared list as a ruleset of nftables, so that the kernel refuses what this program should never try. It is text: whoever
//! administers the machine reads it and loads it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::declared::{Declared, Destination, Host};
use super::dial::{DialError, Dialer};

/// Where the resolver's servers stand.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved writes the servers that it asks itself.
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";
/// Name servers that are used (glibc's MAXNS).
const RESOLVERS_MAX: usize = 3;

/// A destination and where it lies now.
#[derive(Debug)]
pub(crate) struct Located {
    /// The destination.
    pub(crate) destination: Arc<Destination>,
    /// Its addresses, or why there are none.
    pub(crate) addresses: Result<Vec<IpAddr>, DialError>,
}

/// Resolves every destination.
pub(crate) async fn locate(declared: &Declared, dialer: &Dialer) -> Vec<Located> {
    let locate = async |destination: &Arc<Destination>| Located {
        destination: destination.clone(),
        addresses: dialer.addresses(destination).await,
    };
    futures::future::join_all(declared.destinations().iter().map(locate)).await
}

/// The name servers that this machine asks. Where it asks itself, those that systemd-resolved asks are added.
pub(crate) fn resolvers() -> Vec<IpAddr> {
    let read = |path: &str| nameservers(&std::fs::read_to_string(Path::new(path)).unwrap_or_default());
    let mut servers = read(RESOLV_CONF);
    if servers.iter().all(IpAddr::is_loopback) {
        servers.extend(read(RESOLVED_CONF));
    }
    servers
}

fn nameservers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let address = line.strip_prefix("nameserver")?.split_whitespace().next()?;
        // `fe80::1%eth0` names an interface, which no rule here needs.
        address.split('%').next()?.parse().ok()
    };
    text.lines().filter_map(server).take(RESOLVERS_MAX).collect()
}

/// The ruleset: for one user's processes, or for the whole machine.
pub(crate) fn ruleset(located: &[Located], resolvers: &[IpAddr], user: Option<&str>) -> String {
    let mut text = String::from(
        "# What this center may connect to, by its egress.allow. Names were resolved when this was written: write it anew\n\
         # when a name moves. Load with: nft -f FILE\n",
    );
    if user.is_none() {
        text.push_str(
            "# It holds the whole machine: its clock, its updates and its remote logs need rules of their own before the last\n\
             # two. With --user NAME it holds that user's processes only.\n",
        );
    }
    text.push_str(
        "table inet domicile_egress\ndelete table inet domicile_egress\ntable inet domicile_egress {\n",
    );
    match user {
        Some(user) => {
            write!(
                text,
                "\tchain output {{\n\t\ttype filter hook output priority filter; policy accept;\n\
                 \t\tmeta skuid \"{user}\" jump declared\n\t}}\n\n\tchain declared {{\n"
            )
            .expect("writing to a string succeeds");
        }
        None => text.push_str(
            "\tchain output {\n\t\ttype filter hook output priority filter; policy drop;\n\
             \t\tmeta l4proto ipv6-icmp icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept\n",
        ),
    }
    text.push_str("\t\toifname \"lo\" accept\n\t\tct state established,related accept\n");
    for located in located {
        destination(&mut text, located);
    }
    if located.iter().any(|located| matches!(located.destination.host(), Host::Name(_))) {
        for address in resolvers.iter().filter(|address| !address.is_loopback()) {
            let (family, address) = (family(*address), address);
            writeln!(
                text,
                "\t\t{family} daddr {address} meta l4proto {{ tcp, udp }} th dport 53 counter accept comment \"resolver\""
            )
            .expect("writing to a string succeeds");
        }
    }
    text.push_str(
        "\t\tlimit rate 10/second log prefix \"domicile-egress: \" level warn\n\
         \t\tcounter drop comment \"undeclared\"\n\t}\n}\n",
    );
    text
}

fn destination(text: &mut String, located: &Located) {
    let to = &located.destination;
    let (purpose, port) = (to.purpose(), to.port());
    let addresses = match &located.addresses {
        Ok(addresses) => addresses,
        Err(error) => {
            writeln!(text, "\t\t# {to}, {purpose}: no rule: {error}").expect("writing to a string succeeds");
            return;
        }
    };
    for address in addresses {
        let family = family(*address);
        writeln!(
            text,
            "\t\t{family} daddr {address} tcp dport {port} counter accept comment \"{purpose} {}\"",
            comment(&to.to_string())
        )
        .expect("writing to a string succeeds");
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

/// A comment of nftables holds 128 bytes; a host name may be longer.
fn comment(to: &str) -> &str {
    const COMMENT_BYTES_MAX: usize = 110;
    to.get(..COMMENT_BYTES_MAX).unwrap_or(to)
}

#[cfg(test)]
#[path = "nft_tests.rs"]
mod tests;

//! Every setting with its default and what it is for: the one source of the written file, of the defaults and of the
//! environment's names.

/// A setting.
pub(super) struct Setting {
    /// The TOML table that it stands in, such as `gbt32960.encryption`.
    pub(super) section: &'static str,
    /// Its key there.
    pub(super) key: &'static str,
    /// Its default as TOML text.
    pub(super) default: &'static str,
    /// What it is for: one line.
    pub(super) help: &'static str,
}

/// What a section is for.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("store", "Where sealed batches, tables and keys lie for good."),
    ("journal", "Where frames are made durable before they are acknowledged."),
    ("tesla", "Tesla Fleet Telemetry: WebSocket over TLS with client certificates."),
    ("gbt32960", "GB/T 32960 of 2016 and 2025."),
    ("gbt32960.encryption", "Encrypted data units of GB/T 32960 (AES-128)."),
    ("http", "Metrics, status and the API."),
    ("postgres", "SQL over the PostgreSQL protocol, read only, with TLS; a token is the password."),
    (
        "peer",
        "Other centers of the country (domicile center). They are listened for once the charter names one.",
    ),
    ("ledger", "The transparency log: what proves what this center stored, refused, changed and destroyed."),
    ("lake", "Decoded tables and SQL."),
    (
        "egress",
        "The only way out: no connection is opened, and no name resolved, but for what is declared here.",
    ),
    ("limits", "What the center takes in at most. Past a limit it stops reading; it drops nothing."),
];

const fn setting(
    section: &'static str,
    key: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { section, key, default, help }
}

/// Every setting, in the order of the written file.
pub(super) const SETTINGS: &[Setting] = &[
    setting("store", "url", "\"file:store\"", "A folder; a relative one lies in this folder."),
    setting("store", "batch_bytes_max", "16777216", "A batch is sealed when it holds as much."),
    setting("store", "batch_age_ms_max", "10000", "A batch is sealed when its first frame is as old."),
    setting("journal", "dir", "\"journal\"", "A folder on a local disk; a relative one lies in this folder."),
    setting("journal", "ack", "\"journal\"", "Acknowledge when the frame is durable in the \"journal\"."),
    setting("journal", "commit_interval_ms_min", "10", "The disk is flushed at most so often."),
    setting(
        "journal",
        "bytes_max",
        "1073741824",
        "Room for frames not yet sealed; when it is used up, reading pauses.",
    ),
    setting("tesla", "listen", "\"0.0.0.0:4443\"", "Address and port; \"\" turns the listener off."),
    setting(
        "tesla",
        "certificate",
        "\"pki/server.pem\"",
        "The server's certificate chain, for all TLS listeners.",
    ),
    setting("tesla", "key", "\"pki/server.key\"", "Its private key."),
    setting(
        "tesla",
        "vehicle_ca",
        "[\"pki/vehicle-ca.pem\"]",
        "Authorities whose client certificates are accepted.",
    ),
    setting(
        "tesla",
        "issuers",
        "[{ name = \"Domicile vehicle CA\", device_type = \"vehicle_device\" }]",
        "What certificates stand for by their issuer's common name, beside the maker's own.",
    ),
    setting(
        "gbt32960",
        "listen",
        "\"\"",
        "Plain TCP, where a VIN is only a claim (the standard's port is 32960); \"\" turns it off.",
    ),
    setting("gbt32960", "tls_listen", "\"0.0.0.0:32961\"", "The same over TLS; \"\" turns it off."),
    setting("gbt32960", "require_tls", "false", "Refuse vehicles on plain TCP."),
    setting(
        "gbt32960",
        "require_signature",
        "false",
        "Refuse data without a signature of the vehicle's registered key.",
    ),
    setting(
        "gbt32960",
        "position_2016",
        "\"wgs84\"",
        "The coordinates that vehicles of 2016 send: \"wgs84\" or \"gcj02\".",
    ),
    setting("gbt32960.encryption", "mode", "\"ecb\"", "Mode of AES-128: \"ecb\" or \"cbc\"."),
    setting("gbt32960.encryption", "padding", "\"pkcs7\"", "Padding: \"pkcs7\", \"zero\" or \"none\"."),
    setting(
        "gbt32960.encryption",
        "keys_file",
        "\"\"",
        "A file (0600) of lines `VIN-or-platform = \"32 hex digits\"`; \"\" for none.",
    ),
    setting("http", "listen", "\"0.0.0.0:8700\"", "Address and port; \"\" turns the listener off."),
    setting(
        "http",
        "metrics_from",
        "[\"127.0.0.1/32\", \"::1/128\"]",
        "Networks that may read /metrics without a token.",
    ),
    setting(
        "http",
        "query_rows_max",
        "10000000",
        "Rows of an answer to SQL; a longer one is cut there, and says so.",
    ),
    setting(
        "http",
        "query_bytes_max",
        "1073741824",
        "The same in bytes: what a program that asked by mistake may fetch.",
    ),
    setting("postgres", "listen", "\"127.0.0.1:5433\"", "Address and port; \"\" turns the listener off."),
    setting("peer", "listen", "\"0.0.0.0:8701\"", "Address and port; \"\" turns the listener off."),
    setting(
        "peer",
        "address",
        "\"\"",
        "Where other centers reach this one, such as \"10.1.0.7:8701\": needed by the country's first center.",
    ),
    setting(
        "peer",
        "networks",
        "[]",
        "Networks of this country in which its centers lie, such as [\"10.0.0.0/8\"]; a center elsewhere is refused.",
    ),
    setting(
        "peer",
        "bytes_per_s_max",
        "0",
        "What copying from other centers may take of the network; 0: no limit.",
    ),
    setting(
        "peer",
        "ack_centers",
        "1",
        "In how many centers a frame is durable before it is acknowledged: 1, or 2.",
    ),
    setting(
        "peer",
        "when_alone",
        "\"wait\"",
        "When there are fewer for 5 s: \"wait\", or \"degrade\": acknowledge from this center alone, and enter it in the log.",
    ),
    setting(
        "peer",
        "replication",
        "2",
        "In how many centers everything lies: what the country's first charter begins with.",
    ),
    setting(
        "peer",
        "drain_s",
        "600",
        "When this center is drained its vehicles' connections are closed one after the other, all within this time.",
    ),
    setting(
        "ledger",
        "witnesses",
        "[]",
        "Witnesses that cosign: { name, vkey, url, country }; each one's host and port stand in egress.allow too.",
    ),
    setting("ledger", "quorum", "0", "How many of them must have cosigned before a checkpoint is published."),
    setting("lake", "enabled", "true", "false: a pure gateway, which journals and seals."),
    setting("lake", "memory_bytes_max", "1073741824", "What queries and the rows not yet written may use."),
    setting("lake", "query_seconds_max", "300", "A query that takes longer is ended."),
    setting(
        "lake",
        "maintain_interval_s",
        "600",
        "How often small files are put together, and rows and raw frames whose term is over destroyed, these also in a pure gateway; 0: never by itself.",
    ),
    setting(
        "egress",
        "allow",
        "[]",
        "What may be connected to: { to = \"host:port\", purpose, country, networks = [\"10.0.0.0/8\"] }; purpose is \
         \"witness\", \"feed\", \"peer\" or \"object_store\".",
    ),
    setting(
        "egress",
        "confine",
        "true",
        "Let the kernel hold the serving center to its own files and ports (Landlock), as far as it can.",
    ),
    setting(
        "egress",
        "ca_file",
        "\"\"",
        "A PEM file of the authorities that outbound TLS trusts; \"\" for the system's.",
    ),
    setting("limits", "connections_max", "50000", "Connections at once, over all listeners."),
    setting("limits", "frame_bytes_max", "1000000", "The largest message of a vehicle."),
    setting(
        "limits",
        "messages_per_minute_max",
        "6000",
        "Of a vehicle; past it the center reads no further from it for a while.",
    ),
    setting("limits", "idle_timeout_s", "900", "A connection without a message for so long is closed."),
    setting("limits", "memory_bytes_max", "4294967296", "What the whole program may use."),
];

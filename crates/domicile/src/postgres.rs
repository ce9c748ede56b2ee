//! The PostgreSQL port: TLS, a token as the password, and then the lake's session.
//!
//! Any user name does: the token says who asks, and is asked again with each statement, so that a revoked one ends at once.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{Sink, SinkExt};
use lake::{Allowed, Lake, Permit, PostgresSession};
use pgwire::api::auth::{
    DefaultServerParameterProvider, ServerParameterProvider, StartupHandler, finish_authentication,
    protocol_negotiation, save_startup_parameters_to_metadata,
};
use pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::{
    ClientInfo, ConnectionGuard, ConnectionHandle, ConnectionManager, METADATA_DATABASE,
    PgWireConnectionState, PgWireServerHandlers, PidSecretKeyGenerator, RandomPidSecretKeyGenerator,
};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::startup::Authentication;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::api::centers::MissingView;
use crate::api::{Caller, Office};
use crate::tables::allowed;

/// The name of the one database.
const DATABASE: &str = PostgresSession::DATABASE;

/// The protocol's name in the TLS handshake; clients that begin with TLS at once insist on it.
const ALPN: &[u8] = b"postgresql";

/// What every connection needs.
pub(crate) struct Postgres {
    office: Arc<Office>,
    lake: Lake,
    connections: Arc<ConnectionManager>,
}

impl Postgres {
    pub(crate) fn new(office: Arc<Office>, lake: Lake) -> Self {
        Self { office, lake, connections: Arc::new(ConnectionManager::new()) }
    }

    /// Serves one connection until its client leaves.
    pub(crate) async fn serve(self: Arc<Self>, tls: Arc<ServerConfig>, stream: TcpStream) {
        let mut tls = ServerConfig::clone(&tls);
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let visitor = match Visitor::new(self) {
            Ok(visitor) => visitor,
            Err(error) => {
                tracing::error!(%error, "a PostgreSQL session can't be made");
                return;
            }
        };
        if let Err(error) = pgwire::tokio::process_socket(stream, Some(acceptor), visitor).await {
            tracing::debug!(%error, "a PostgreSQL connection broke off");
        }
    }

    /// The holder of a token, and what he may ask.
    fn allowed(&self, token: &str) -> Result<(Caller, Allowed), String> {
        let caller = self.office.holder(token).map_err(|problem| problem.to_string())?;
        let visible = self.office.visible_to(&caller).map_err(|problem| problem.to_string())?;
        Ok((caller, allowed(visible)))
    }
}

/// What the token allows that a connection has shown.
struct Shown {
    postgres: Arc<Postgres>,
    token: Arc<OnceLock<String>>,
}

impl Shown {
    fn ask(&self) -> Result<(Caller, Allowed), String> {
        let token = self.token.get().ok_or_else(|| "nobody has logged in".to_owned())?;
        self.postgres.allowed(token)
    }
}

impl Permit for Shown {
    fn allowed(&self) -> Result<Allowed, String> {
        self.ask().map(|(_, allowed)| allowed)
    }

    fn looks(&self, tables: &BTreeSet<String>) -> BoxFuture<'_, Result<Option<String>, String>> {
        let tables = tables.clone();
        Box::pin(async move {
            let (caller, _) = self.ask()?;
            let office = &self.postgres.office;
            office.looks(caller.role(), &tables).await.map_err(|problem| problem.to_string())?;
            Ok(warning(&office.missing(&tables)))
        })
    }
}

/// What an answer says of rows that may not be in it.
fn warning(missing: &[MissingView]) -> Option<String> {
    let of = |view: &MissingView| match &view.from {
        Some(from) => format!("{} (received after {from})", view.center),
        None => format!("{} (all)", view.center),
    };
    let centers: Vec<String> = missing.iter().map(of).collect();
    (!centers.is_empty())
        .then(|| format!("rows of other centers may be missing in this answer: {}", centers.join(", ")))
}

/// One connection's handlers.
struct Visitor {
    login: Arc<Login>,
    session: Arc<PostgresSession>,
}

impl Visitor {
    fn new(postgres: Arc<Postgres>) -> Result<Self, lake::QueryError> {
        let token: Arc<OnceLock<String>> = Arc::default();
        let shown = Shown { postgres: postgres.clone(), token: token.clone() };
        let session = Arc::new(postgres.lake.postgres_session(Arc::new(shown))?);
        Ok(Self {
            login: Arc::new(Login { postgres, token, keys: RandomPidSecretKeyGenerator::default() }),
            session,
        })
    }
}

impl PgWireServerHandlers for Visitor {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        self.session.clone()
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        self.session.clone()
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        self.login.clone()
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(DefaultCancelHandler::new(self.login.postgres.connections.clone()))
    }
}

/// Makes sure of TLS, of the database's name and of the token.
struct Login {
    postgres: Arc<Postgres>,
    token: Arc<OnceLock<String>>,
    keys: RandomPidSecretKeyGenerator,
}

#[async_trait]
impl StartupHandler for Login {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                if !client.is_secure() {
                    let why = "a token is never sent in the clear: connect with TLS (sslmode=verify-full, or at least require)";
                    return Err(fatal("28000", why.to_owned()));
                }
                let database = client.metadata().get(METADATA_DATABASE);
                if let Some(other) = database.filter(|name| *name != DATABASE) {
                    return Err(fatal(
                        "3D000",
                        format!("there is no database `{}`: the only one is `{DATABASE}`", plain(other)),
                    ));
                }
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                client.send(PgWireBackendMessage::Authentication(Authentication::CleartextPassword)).await?;
            }
            PgWireFrontendMessage::PasswordMessageFamily(shown) => {
                let token = shown.into_password()?.password;
                self.postgres.allowed(&token).map_err(|why| {
                    fatal("28P01", format!("the password is not accepted: {why}; it is a token that `domicile token create` makes"))
                })?;
                let _first = self.token.set(token);
                let (pid, key) = self.keys.generate(client);
                client.set_pid_and_secret_key(pid, key.clone());
                let (handle, guard) = self.postgres.connections.register(pid, key);
                client.session_extensions().insert::<Arc<ConnectionHandle>>(handle);
                client.session_extensions().insert::<ConnectionGuard>(guard);
                finish_authentication(client, &Parameters).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a client is told of the server at its login.
struct Parameters;

impl ServerParameterProvider for Parameters {
    fn server_parameters<C>(&self, client: &C) -> Option<HashMap<String, String>>
    where
        C: ClientInfo,
    {
        let mut defaults = DefaultServerParameterProvider::default();
        defaults.is_superuser = false;
        defaults.default_transaction_read_only = true;
        defaults.time_zone = "UTC".to_owned();
        defaults.server_parameters(client)
    }
}

fn fatal(code: &str, message: String) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".to_owned(), code.to_owned(), message)))
}

/// What a stranger wrote, fit for a line.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

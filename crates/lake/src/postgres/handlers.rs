//! The handlers that `pgwire` calls: a text's statements at once (simple), or parsed, described and run step by step (extended).

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch, into_pg_type};
use async_trait::async_trait;
use datafusion::common::ParamValues;
use futures::{Sink, SinkExt, StreamExt, TryStreamExt, stream};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;

use super::PostgresSession;
use super::statement::Asked;
use crate::QueryError;
use crate::query::Answer;

/// A statement that a client has had parsed. It is planned anew each time it is run, so that it sees the rows and the rights of then.
#[derive(Clone)]
pub struct Prepared(Arc<PreparedStatement>);

struct PreparedStatement {
    asked: Asked,
    schema: SchemaRef,
    parameters: Vec<Option<DataType>>,
}

impl PostgresSession {
    async fn respond<C>(
        &self,
        client: &mut C,
        asked: &Asked,
        parameters: Option<ParamValues>,
        format: &Format,
    ) -> PgWireResult<Response>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match asked {
            Asked::Question(statement) => {
                let (answer, warning) =
                    self.run(statement.as_ref().clone(), parameters).await.map_err(told)?;
                if let Some(warning) = warning {
                    let info = ErrorInfo::new("WARNING".to_owned(), "01000".to_owned(), warning);
                    client.feed(PgWireBackendMessage::NoticeResponse(info.into())).await?;
                }
                rows(answer, format).await
            }
            Asked::Word(word) => Ok(Response::Execution(Tag::new(word))),
            Asked::Begin => Ok(Response::TransactionStart(Tag::new("BEGIN"))),
            Asked::End(word) => Ok(Response::TransactionEnd(Tag::new(word))),
        }
    }

    fn one_question(asked: &[Asked]) -> PgWireResult<()> {
        let questions = asked.iter().filter(|asked| matches!(asked, Asked::Question(_))).count();
        if questions > 1 {
            let why = "one question a message: send the next after the answer";
            return Err(error("0A000", why.to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl SimpleQueryHandler for PostgresSession {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let asked = Asked::read(query).map_err(told)?;
        Self::one_question(&asked)?;
        let mut responses = Vec::with_capacity(asked.len());
        for asked in &asked {
            responses.push(self.respond(client, asked, None, &Format::UnifiedText).await?);
        }
        Ok(responses)
    }
}

#[async_trait]
impl ExtendedQueryHandler for PostgresSession {
    type Statement = Prepared;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::new(Parser(self.clone()))
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let prepared = &portal.statement.statement.0;
        let types: Vec<Option<&DataType>> = prepared.parameters.iter().map(Option::as_ref).collect();
        let parameters = arrow_pg::datatypes::df::deserialize_parameters(portal, &types)?;
        let parameters = (portal.parameter_len() > 0).then_some(parameters);
        self.respond(client, &prepared.asked, parameters, &portal.result_column_format).await
    }
}

/// Parses and plans a statement, so that its columns and parameters can be told.
pub struct Parser(PostgresSession);

#[async_trait]
impl QueryParser for Parser {
    type Statement = Prepared;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut asked = Asked::read(sql).map_err(told)?;
        if asked.len() > 1 {
            return Err(error("42601", "one statement can be prepared at a time".to_owned()));
        }
        let Some(asked) = asked.pop() else { return Ok(None) };
        let (schema, parameters) = match &asked {
            Asked::Question(statement) => {
                let described = self.0.describe(statement.as_ref().clone()).await.map_err(told)?;
                (Arc::new(described.plan.schema().as_arrow().clone()), described.parameters)
            }
            _ => (Arc::new(Schema::empty()), Vec::new()),
        };
        Ok(Some(Prepared(Arc::new(PreparedStatement { asked, schema, parameters }))))
    }

    fn get_parameter_types(&self, prepared: &Self::Statement) -> PgWireResult<Vec<Type>> {
        let of = |datatype: &Option<DataType>| datatype.as_ref().map_or(Ok(Type::TEXT), into_pg_type);
        prepared.0.parameters.iter().map(of).collect()
    }

    fn get_result_schema(
        &self,
        prepared: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        arrow_schema_to_pg_fields(&prepared.0.schema, format.unwrap_or(&Format::UnifiedText), None)
    }
}

/// An answer's rows as the client wants them. Waits for the first: until then a cancel request ends the query, and an error is one of
/// the statement.
async fn rows(answer: Answer, format: &Format) -> PgWireResult<Response> {
    let fields = Arc::new(arrow_schema_to_pg_fields(&answer.schema, format, None)?);
    let described = fields.clone();
    let mut following = answer.rows.fuse();
    let first = following.next().await.transpose().map_err(told)?;
    let batches = stream::iter(first.map(Ok)).chain(following).map_err(told);
    let rows = batches
        .map_ok(move |batch| stream::iter(encode_recordbatch(fields.clone(), batch).collect::<Vec<_>>()));
    Ok(Response::Query(QueryResponse::new(described, rows.try_flatten().boxed())))
}

/// A query's error in PostgreSQL's codes.
fn told(query_error: QueryError) -> PgWireError {
    let code = match &query_error {
        QueryError::Malformed(_) => "42000",
        QueryError::Refused(_) => "42501",
        QueryError::TooLarge(_) => "53200",
        QueryError::TooLong { .. } => "57014",
        QueryError::Failed(_) => "XX000",
    };
    error(code, query_error.to_string())
}

fn error(code: &str, message: String) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_owned(), code.to_owned(), message)))
}

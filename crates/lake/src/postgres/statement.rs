//! What clients say: questions, and statements that only set a session up.

use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::Statement;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

use crate::QueryError;

/// Takes texts apart. Made once: making it takes the dozens of catalog queries apart that it knows.
static PARSER: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);

/// A statement, taken apart as far as its answer needs.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// To be planned and run.
    Question(Box<Statement>),
    /// To be answered with a word; nothing changes.
    Word(&'static str),
    /// A transaction begins. There is nothing to isolate: each question has one view of the tables by itself.
    Begin,
    /// A transaction ends.
    End(&'static str),
}

/// What `SHOW` answers, as PostgreSQL names it.
const PARAMETERS: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("extra_float_digits", "1"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("max_identifier_length", "63"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160006"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
];

/// The PostgreSQL version whose catalog is shown.
const SERVER_VERSION: &str = "16.6";

impl Asked {
    /// Takes a text apart into its statements.
    pub(super) fn read(sql: &str) -> Result<Vec<Self>, QueryError> {
        let statements = PARSER.parse(sql).map_err(|error| QueryError::Malformed(error.to_string()))?;
        statements.into_iter().map(Self::of).collect()
    }

    fn of(statement: Statement) -> Result<Self, QueryError> {
        Ok(match statement {
            Statement::Set(_) => Self::Word("SET"),
            Statement::Reset(_) => Self::Word("RESET"),
            Statement::Discard { .. } => Self::Word("DISCARD ALL"),
            Statement::Deallocate { .. } => Self::Word("DEALLOCATE"),
            Statement::StartTransaction { .. } => Self::Begin,
            Statement::Commit { .. } => Self::End("COMMIT"),
            Statement::Rollback { .. } => Self::End("ROLLBACK"),
            Statement::ShowVariable { variable } => {
                let words: Vec<String> =
                    variable.iter().map(|word| word.value.to_ascii_lowercase()).collect();
                let (name, value) = parameter(&words.join(" "))?;
                return Self::read(&format!("select '{value}' as {name}"))?
                    .pop()
                    .ok_or_else(|| QueryError::Failed("SHOW has no answer".to_owned()));
            }
            question @ (Statement::Query(_)
            | Statement::Explain { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }) => Self::Question(Box::new(question)),
            other => {
                let word = other.to_string().split(' ').next().unwrap_or_default().to_owned();
                return Err(QueryError::Refused(format!("only SELECT is answered here, and no {word}")));
            }
        })
    }
}

fn parameter(asked: &str) -> Result<(&'static str, &'static str), QueryError> {
    let name = match asked {
        "transaction isolation level" => "transaction_isolation",
        "time zone" => "timezone",
        name => name,
    };
    let known = PARAMETERS.iter().find(|(known, _)| *known == name);
    known.copied().ok_or_else(|| QueryError::Malformed(format!("there is no parameter `{asked}`")))
}

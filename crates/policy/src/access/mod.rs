//! Who may do what: the operator's policies in the Cedar language, decided by `cedar-policy`.
//!
//! A policy can tell tokens apart by name and role, tables by name and by whether they hold identities, and nothing else. So the
//! answers to all questions are finitely many, and they are worked out once when the file is read; a decision is a lookup.

#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};

use crate::AccessError;
pub use words::{Action, Principal, Resource, Role, Roles};

/// The policies that a new center starts with, commented for who answers for them.
pub const DEFAULT_ACCESS: &str = include_str!("default.cedar");

const SCHEMA: &str = include_str!("schema.cedarschema");

/// A longer text is no access policy.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// More policies than this can't be overseen by a person.
const POLICIES_MAX: usize = 500;
/// A longer policy can't be overseen either, and Cedar's reader needs stack for it.
const POLICY_BYTES_MAX: usize = 16 << 10;
/// How deep brackets may lie in each other, for the same reason.
const NESTING_MAX: usize = 32;
/// How many operators a policy may have: a chain of them is nested as deep as it is long.
const OPERATORS_MAX: usize = 200;
/// At most so many answers are worked out ahead; in a file that names very many tokens the rest is decided when asked.
const ANSWERS_MAX: usize = 4_000;
/// The name that stands for all names which no policy mentions.
const UNNAMED: &str = "";

/// The operator's policies, read and checked.
#[derive(Debug)]
pub struct Access {
    policies: PolicySet,
    types: Types,
    /// What a decision calls each policy: its `@id`, or the number that Cedar gave it.
    ids: HashMap<PolicyId, Arc<str>>,
    tokens: Names,
    tables: Names,
    answers: HashMap<Question, Decision>,
}

/// What the policies say to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// The policies that decided: those that permit, or those that forbid. Empty where nothing permits.
    pub policies: Arc<[Arc<str>]>,
}

/// The names that policies mention, by number; 0 is every other name.
#[derive(Debug)]
struct Names(HashMap<String, usize>);

/// As much of a question as an answer can depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Question {
    token: usize,
    roles: Roles,
    action: Action,
    resource: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Center,
    Table { name: usize, identities: bool },
    Role(Role),
}

#[derive(Debug)]
struct Types {
    action: EntityTypeName,
    center: EntityTypeName,
    role: EntityTypeName,
    table: EntityTypeName,
    token: EntityTypeName,
}

impl Access {
    /// Reads policies and holds them against the schema of what there is: roles, actions, tables.
    ///
    /// # Errors
    /// The first place that is no Cedar, names an action, role or attribute that there isn't, or can never apply; by its line.
    pub fn parse(policies: &str) -> Result<Self, AccessError> {
        if policies.len() > TEXT_BYTES_MAX {
            let problem = format!("{} bytes; an access policy has at most {TEXT_BYTES_MAX}", policies.len());
            return Err(AccessError { line: 1, problem });
        }
        check_shape(policies)?;
        let set = PolicySet::from_str(policies)
            .map_err(|errors| explain(policies, &DetailedError::from(&errors), &HashMap::new()))?;
        let ids = names_of_policies(policies, &set)?;
        validate(policies, &set, &ids)?;
        let types = Types::new();
        let mentioned = |of: &EntityTypeName| {
            let literals = set.policies().flat_map(cedar_policy::Policy::entity_literals);
            let names =
                literals.filter(|uid| uid.type_name() == of).map(|uid| uid.id().unescaped().to_owned());
            // In order, so that the same file is always worked out in the same way.
            let names: BTreeSet<String> = names.collect();
            Names(names.into_iter().zip(1..).collect())
        };
        let (tokens, tables) = (mentioned(&types.token), mentioned(&types.table));
        let mut access = Self { policies: set, types, ids, tokens, tables, answers: HashMap::new() };
        access.answer_ahead();
        Ok(access)
    }

    /// Decides. What no policy permits is denied, and so is an action that is asked of the wrong kind of resource.
    pub fn decide(&self, principal: &Principal<'_>, action: Action, resource: &Resource<'_>) -> Decision {
        let question = Question {
            token: self.tokens.number(principal.name),
            roles: principal.roles,
            action,
            resource: match *resource {
                Resource::Center => Kind::Center,
                Resource::Table { name, identities } => {
                    Kind::Table { name: self.tables.number(name), identities }
                }
                Resource::Role(role) => Kind::Role(role),
            },
        };
        match self.answers.get(&question) {
            Some(decision) => decision.clone(),
            None => self.answer(principal, action, resource),
        }
    }

    /// How many policies there are.
    pub fn policy_count(&self) -> usize {
        self.ids.len()
    }

    /// Works out the questions that are asked every day: tokens of one role, and the socket.
    fn answer_ahead(&mut self) {
        let mut answers = HashMap::new();
        let roles = Role::ALL.map(Roles::from).into_iter().chain([Principal::SOCKET.roles]);
        let roles: Vec<Roles> = roles.collect();
        let resources: Vec<(Kind, Resource<'_>)> = self.resources().collect();
        'tokens: for (token, name) in self.tokens.all() {
            for (roles, action) in roles.iter().flat_map(|roles| Action::ALL.map(|action| (*roles, action))) {
                for (kind, resource) in resources.iter().filter(|(kind, _)| kind.suits(action)) {
                    if answers.len() == ANSWERS_MAX {
                        break 'tokens;
                    }
                    let decision = self.answer(&Principal { name, roles }, action, resource);
                    answers.insert(Question { token, roles, action, resource: *kind }, decision);
                }
            }
        }
        self.answers = answers;
    }

    fn resources(&self) -> impl Iterator<Item = (Kind, Resource<'_>)> {
        let roles = Role::ALL.into_iter().map(|role| (Kind::Role(role), Resource::Role(role)));
        let tables = self.tables.all().flat_map(|(number, name)| {
            [false, true].map(|identities| {
                (Kind::Table { name: number, identities }, Resource::Table { name, identities })
            })
        });
        std::iter::once((Kind::Center, Resource::Center)).chain(roles).chain(tables)
    }

    /// Asks Cedar. Whatever goes wrong on the way is a denial.
    fn answer(&self, principal: &Principal<'_>, action: Action, resource: &Resource<'_>) -> Decision {
        let Some((request, entities)) = self.types.request(principal, action, resource) else {
            return denied();
        };
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        // Cedar passes over a policy that fails; were it a `forbid`, its question would be permitted.
        if response.diagnostics().errors().next().is_some() {
            return denied();
        }
        let mut policies: Vec<Arc<str>> =
            response.diagnostics().reason().filter_map(|id| self.ids.get(id)).cloned().collect();
        policies.sort();
        Decision { allowed: response.decision() == cedar_policy::Decision::Allow, policies: policies.into() }
    }
}

fn denied() -> Decision {
    Decision { allowed: false, policies: Arc::new([]) }
}

impl Kind {
    fn suits(self, action: Action) -> bool {
        match self {
            Self::Table { .. } => action == Action::Query,
            Self::Role(_) => action == Action::TokensWrite,
            Self::Center => !matches!(action, Action::Query | Action::TokensWrite),
        }
    }
}

impl Names {
    fn number(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or(0)
    }

    fn all(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut named: Vec<(usize, &str)> =
            self.0.iter().map(|(name, number)| (*number, name.as_str())).collect();
        named.sort_unstable();
        std::iter::once((0, UNNAMED)).chain(named)
    }
}

impl Types {
    fn new() -> Self {
        let name = |text: &str| EntityTypeName::from_str(text).expect("a name of the schema");
        Self {
            action: name("Action"),
            center: name("Center"),
            role: name("Role"),
            table: name("Table"),
            token: name("Token"),
        }
    }

    /// The question in Cedar's own terms; `None` where it has none.
    fn request(
        &self,
        principal: &Principal<'_>,
        action: Action,
        resource: &Resource<'_>,
    ) -> Option<(Request, Entities)> {
        let kind = match resource {
            Resource::Center => Kind::Center,
            Resource::Table { identities, .. } => Kind::Table { name: 0, identities: *identities },
            Resource::Role(role) => Kind::Role(*role),
        };
        if !kind.suits(action) {
            return None;
        }
        let uid =
            |of: &EntityTypeName, id: &str| EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id));
        let roles = Role::ALL.into_iter().filter(|role| principal.roles.contains(*role));
        let roles: HashSet<EntityUid> = roles.map(|role| uid(&self.role, role.as_str())).collect();
        let token = uid(&self.token, principal.name);
        let mut entities: Vec<Entity> =
            roles.iter().cloned().map(|role| Entity::new_no_attrs(role, HashSet::new())).collect();
        entities.push(Entity::new_no_attrs(token.clone(), roles));
        let asked_of = match *resource {
            Resource::Center => uid(&self.center, "here"),
            Resource::Role(role) => uid(&self.role, role.as_str()),
            Resource::Table { name, identities } => {
                let table = uid(&self.table, name);
                let identities = RestrictedExpression::new_bool(identities);
                let attributes = HashMap::from([("identities".to_owned(), identities)]);
                entities.push(Entity::new(table.clone(), attributes, HashSet::new()).ok()?);
                table
            }
        };
        let action = uid(&self.action, action.as_str());
        let request = Request::new(token, action, asked_of, Context::empty(), None).ok()?;
        Some((request, Entities::from_entities(entities, None).ok()?))
    }
}

/// Refuses what is too long or nested too deep, before Cedar's reader, which recurses, is given the text.
fn check_shape(text: &str) -> Result<(), AccessError> {
    let (mut depth, mut start, mut operators) = (0_usize, 0, 0);
    let (mut in_text, mut in_comment, mut escaped) = (false, false, false);
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().copied().enumerate() {
        if in_comment {
            in_comment = byte != b'\n';
            // A comment counts for no policy.
            start += 1;
        } else if in_text {
            (in_text, escaped) = (escaped || byte != b'"', byte == b'\\' && !escaped);
        } else {
            match byte {
                b'"' => in_text = true,
                b'/' if bytes.get(at + 1) == Some(&b'/') => in_comment = true,
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                b';' => (start, operators) = (at + 1, 0),
                b'i' if bytes[at..].starts_with(b"if") => operators += 1,
                b'&' | b'|' if bytes.get(at + 1) == Some(&byte) => operators += 1,
                b'+' | b'-' | b'*' | b'!' | b'.' | b'<' | b'>' => operators += 1,
                _ => {}
            }
        }
        let problem = if depth > NESTING_MAX {
            format!("brackets in more than {NESTING_MAX} others; write several policies")
        } else if at.saturating_sub(start) > POLICY_BYTES_MAX {
            format!("a policy of more than {POLICY_BYTES_MAX} bytes; write several")
        } else if operators > OPERATORS_MAX {
            format!("a policy with more than {OPERATORS_MAX} operators; write several")
        } else {
            continue;
        };
        return Err(AccessError { line: line_of(text, at), problem });
    }
    Ok(())
}

/// Holds the policies against the schema. A policy that can never apply is refused as well: somebody meant something by it.
fn validate(text: &str, set: &PolicySet, ids: &HashMap<PolicyId, Arc<str>>) -> Result<(), AccessError> {
    if set.num_of_templates() > 0 {
        let problem = "a template (`?principal` or `?resource`); write the policy out".to_owned();
        let at = text.find("?principal").or_else(|| text.find("?resource")).unwrap_or(0);
        return Err(AccessError { line: line_of(text, at), problem });
    }
    if set.num_of_policies() > POLICIES_MAX {
        let problem = format!("{} policies; at most {POLICIES_MAX}", set.num_of_policies());
        return Err(AccessError { line: 1, problem });
    }
    let schema = Schema::from_str(SCHEMA).expect("the embedded schema is read by a test");
    let result = Validator::new(schema).validate(set, ValidationMode::Strict);
    let errors = result.validation_errors().map(DetailedError::from);
    let warnings = result.validation_warnings().map(DetailedError::from);
    // The first by place; an error before a warning about the same.
    let found = errors.map(|error| (0, error)).chain(warnings.map(|warning| (1, warning)));
    match found.min_by_key(|(rank, error)| (*rank, place(error))) {
        Some((_, error)) => Err(explain(text, &error, ids)),
        None => Ok(()),
    }
}

/// What each policy is called: its `@id`, which no two share.
fn names_of_policies(text: &str, set: &PolicySet) -> Result<HashMap<PolicyId, Arc<str>>, AccessError> {
    let mut names: HashMap<PolicyId, Arc<str>> = HashMap::new();
    let mut taken: HashSet<Arc<str>> = HashSet::new();
    for policy in set.policies() {
        let name: Arc<str> = match policy.annotation("id") {
            Some(id) if !id.trim().is_empty() => id.into(),
            _ => policy.id().to_string().into(),
        };
        if !taken.insert(name.clone()) {
            let second = text.match_indices(&format!("\"{name}\"")).nth(1).map_or(0, |(at, _)| at);
            let problem = format!("a second policy with @id(\"{name}\"); give it another");
            return Err(AccessError { line: line_of(text, second), problem });
        }
        names.insert(policy.id().clone(), name);
    }
    Ok(names)
}

/// Cedar's finding with its line, what the policy calls itself, and what is proposed.
fn explain(text: &str, error: &DetailedError, ids: &HashMap<PolicyId, Arc<str>>) -> AccessError {
    // Where there are several the first says most.
    let inner = std::iter::once(error).chain(&error.related).find(|error| !error.source_locations.is_empty());
    let inner = inner.unwrap_or(error);
    let mut problem = inner.message.clone();
    // Cedar begins with the number that it gave the policy, which nobody knows: the policy's own name says more.
    let numbered = problem.strip_prefix("for policy `").and_then(|rest| rest.split_once('`'));
    if let Some((number, rest)) = numbered {
        let finding = rest.trim_start_matches([',', ':', ' ']);
        let name = ids.get(&PolicyId::new(number)).filter(|name| &***name != number);
        problem = match name {
            Some(name) => format!("in the policy `{name}`: {finding}"),
            None => finding.to_owned(),
        };
    }
    for label in inner.source_locations.iter().filter_map(|location| location.label.as_ref()) {
        problem.push_str(": ");
        problem.push_str(label);
    }
    if let Some(help) = &inner.help {
        problem.push_str("; ");
        problem.push_str(help);
    }
    AccessError { line: line_of(text, place(inner)), problem }
}

fn place(error: &DetailedError) -> usize {
    error.source_locations.first().map_or(0, |location| location.loc.start)
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

//! API tokens: who may ask the center over HTTPS, and in which role. What a role may do is `policy`'s to say.
//!
//! A token's text is `domicile_<8 characters>_<43 characters>`: its id, and base64url of 32 random bytes. Only the SHA-256 of the
//! text is kept. A slow hash, as for a platform's password, would protect nothing here: nobody guesses 256 random bits, and each
//! request would pay for it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Entropy, UtcMicros};
use policy::{Principal, Role};

use crate::control::Change;
use crate::registry::check_why;
use crate::vehicle::Revocation;
use crate::{Error, Registry, RegistryVersion};

/// The longest name of a token: a person's or a program's name at work.
const NAME_LENGTH_MAX: usize = 64;
/// What the text of every token begins with, so that scanners of leaked secrets recognise one.
const PREFIX: &str = "domicile_";
/// Characters of a token's id.
const ID_LENGTH: usize = 8;
/// The id's characters; none of them is easily taken for another.
const ID_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Characters of a token's secret part: 32 bytes in base64url.
const SECRET_LENGTH: usize = 43;

/// A token's text: shown once, to who made it. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(String);

impl TokenSecret {
    /// The text, to be handed over and forgotten.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn draw(entropy: &dyn Entropy) -> Self {
        let (mut id, mut secret) = ([0_u8; ID_LENGTH], [0_u8; 32]);
        entropy.fill(&mut id);
        entropy.fill(&mut secret);
        let mut text = PREFIX.to_owned();
        text.extend(id.map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)])));
        text.push('_');
        URL_SAFE_NO_PAD.encode_string(secret, &mut text);
        Self(text)
    }

    fn id(&self) -> &str {
        &self.0[PREFIX.len()..PREFIX.len() + ID_LENGTH]
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(hidden)")
    }
}

/// A token as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name; no two tokens ever have the same.
    pub name: String,
    /// The part of its text that is no secret, by which a found token is told.
    pub id: String,
    /// The role that it gives.
    pub role: Role,
    /// When it was made.
    pub created_at: UtcMicros,
    /// From when on it is worth nothing; `None` for one that does not expire.
    pub expires_at: Option<UtcMicros>,
    /// Why and when it was revoked; `None` while it is not.
    pub revoked: Option<Revocation>,
}

/// The SHA-256 of a token's text. `Debug` hides it: it is of no use to a reader.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenHash(pub(crate) [u8; 32]);

impl TokenHash {
    fn of(text: &str) -> Self {
        let hash = digest(&SHA256, text.as_bytes());
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(hidden)")
    }
}

/// Who holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The token's name.
    pub name: Arc<str>,
    /// The role that it gives.
    pub role: Role,
}

/// What a request's token is held against; found by its id.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) hash: TokenHash,
    pub(crate) expires_at: Option<UtcMicros>,
    pub(crate) holder: Holder,
}

impl Known {
    pub(crate) fn of(token: &Token, hash: TokenHash) -> Self {
        let holder = Holder { name: Arc::from(token.name.as_str()), role: token.role };
        Self { hash, expires_at: token.expires_at, holder }
    }
}

impl Registry {
    /// Makes a token. Durable when it returns; its text is in nothing that is kept.
    ///
    /// # Errors
    /// [`Error::TokenExists`], [`Error::Field`], or the store's.
    pub fn token_create(
        &self,
        name: &str,
        role: Role,
        expires_at: Option<UtcMicros>,
    ) -> Result<(TokenSecret, RegistryVersion), Error> {
        check_name(name)?;
        let mut turn = self.begin()?;
        let created_at = self.world.clock.now();
        if expires_at.is_some_and(|at| at <= created_at) {
            return Err(Error::Field { field: "expires", rule: "a time that is still to come" });
        }
        let tokens = self.token_list()?;
        if tokens.iter().any(|token| token.name == name) {
            return Err(Error::TokenExists);
        }
        let secret = loop {
            // An id has 40 random bits: that one is taken happens, if ever, once.
            let secret = TokenSecret::draw(&*self.world.entropy);
            if tokens.iter().all(|token| token.id != secret.id()) {
                break secret;
            }
        };
        let (name, id) = (name.to_owned(), secret.id().to_owned());
        let token = Token { name, id, role, created_at, expires_at, revoked: None };
        let change = Change::TokenCreated { token, hash: TokenHash::of(secret.as_str()) };
        let version = self.record(&mut turn, created_at, vec![change])?;
        Ok((secret, version))
    }

    /// Withdraws a token. When it returns, [`Registry::token_check`] knows it no more, and that is durable.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`], [`Error::AlreadyRevoked`], [`Error::Field`], or the store's.
    pub fn token_revoke(&self, name: &str, why: &str) -> Result<RegistryVersion, Error> {
        check_why(why)?;
        let mut turn = self.begin()?;
        let known = self.token_list()?.into_iter().find(|token| token.name == name);
        let known = known.ok_or(Error::NoSuchToken)?;
        if let Some(revocation) = known.revoked {
            return Err(Error::AlreadyRevoked { at: revocation.at });
        }
        let at = self.world.clock.now();
        let revocation = Revocation { at, why: why.to_owned() };
        self.record(&mut turn, at, vec![Change::TokenRevoked { name: known.name, revocation }])
    }

    /// All tokens, in the order of their names, also expired and revoked ones.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn token_list(&self) -> Result<Vec<Token>, Error> {
        Ok(self.projection.lock().tokens()?.into_iter().map(|(token, _)| token).collect())
    }

    /// Who holds the token of this text; `None` for a text that is no token, or one that expired or was revoked. Reads memory,
    /// and takes the same time however much of a wrong secret is right.
    pub fn token_check(&self, text: &str, now: UtcMicros) -> Option<Holder> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        if id.len() != ID_LENGTH || secret.len() != SECRET_LENGTH {
            return None;
        }
        let hash = TokenHash::of(text);
        let fast = self.fast.read();
        let known = fast.tokens.get(id)?;
        let is_same = verify_slices_are_equal(&hash.0, &known.hash.0).is_ok();
        let is_expired = known.expires_at.is_some_and(|at| at <= now);
        (is_same && !is_expired).then(|| known.holder.clone())
    }
}

/// Holds a token's name against its rule.
fn check_name(name: &str) -> Result<(), Error> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@'));
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || !plain {
        return Err(Error::Field { field: "name", rule: "1 to 64 characters of a-z, A-Z, 0-9 and - _ . @" });
    }
    // What policies say of the center's own socket would be said of the token too.
    if name == Principal::SOCKET_NAME {
        return Err(Error::Field {
            field: "name",
            rule: "another than `socket`, which is the center's own socket",
        });
    }
    Ok(())
}

//! Platforms' passwords, kept as Argon2id hashes (RFC 9106).

use argon2::password_hash::PasswordHasher;
use argon2::{Argon2, PasswordHash, PasswordVerifier};
use model::Entropy;

use crate::Error;

/// The longest user name of a platform login, in bytes (GB/T 32960.3, platform login).
pub const PLATFORM_NAME_LENGTH_MAX: usize = 12;
/// The longest password of a platform login, in bytes (GB/T 32960.3, platform login).
pub const PASSWORD_LENGTH_MAX: usize = 20;
/// The shortest password that is taken: a login can be tried from anywhere.
const PASSWORD_LENGTH_MIN: usize = 8;
/// The salt's length in bytes, as RFC 9106, section 3.1, recommends.
const SALT_LENGTH: usize = 16;

/// Holds a platform's name against its rule.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let plain = name.bytes().all(|b| b.is_ascii_graphic());
    if name.is_empty() || name.len() > PLATFORM_NAME_LENGTH_MAX || !plain {
        return Err(Error::Field { field: "platform", rule: "1 to 12 visible ASCII characters" });
    }
    Ok(())
}

/// Hashes a password with a fresh salt.
pub(crate) fn hash(password: &str, entropy: &dyn Entropy) -> Result<String, Error> {
    let plain = password.bytes().all(|b| b.is_ascii_graphic());
    if !(PASSWORD_LENGTH_MIN..=PASSWORD_LENGTH_MAX).contains(&password.len()) || !plain {
        return Err(Error::Field { field: "password", rule: "8 to 20 visible ASCII characters" });
    }
    let mut salt = [0_u8; SALT_LENGTH];
    entropy.fill(&mut salt);
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .expect("a salt of 16 bytes and a short password can be hashed");
    Ok(hash.to_string())
}

/// Whether a password is the hashed one. Takes the same time for any wrong password, and where there is no account at all.
pub(crate) fn verify(password: &[u8], hash: Option<&str>) -> bool {
    /// The hash of a password that nobody knows, with the parameters of every other: verified against where there is no account.
    const NOBODY: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlz$Y2FubmIHK2UFWDJZVzbpZHcmc4KdcZZ3C2ZV4ZkGxVY";
    let known = hash.is_some();
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODY)).expect("the registry keeps hashes that it made");
    Argon2::default().verify_password(password, &parsed).is_ok() && known
}

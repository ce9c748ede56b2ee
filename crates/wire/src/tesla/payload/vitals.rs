//! Topic `V`: signals.

use model::UtcMicros;

use crate::Malformed;

use super::proto::{Fields, Span};
use super::value::Datum;

/// A payload of topic `V` that is whole.
#[derive(Clone, Copy)]
pub struct Vitals<'a> {
    /// When its values were taken, by the vehicle's clock.
    pub created_at: Option<UtcMicros>,
    /// Whether the vehicle knows that it sends this again.
    pub is_resend: bool,
    fields: Fields<'a>,
}

impl<'a> Vitals<'a> {
    /// Reads a payload.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut vitals = Self { created_at: None, is_resend: false, fields: Span::whole(payload).fields() };
        let mut fields = vitals.fields;
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    Datum::read(field.span()?)?;
                }
                2 => vitals.created_at = field.timestamp()?,
                3 => {
                    field.text()?;
                }
                4 => vitals.is_resend = field.boolean()?,
                _ => {}
            }
        }
        Ok(vitals)
    }

    /// Its values in the order in which they stand.
    pub fn data(&self) -> impl Iterator<Item = Datum<'a>> + use<'a> {
        let mut fields = self.fields;
        std::iter::from_fn(move || {
            loop {
                let field = fields.next().ok()??;
                if field.number == 1 {
                    return Datum::read(field.span().ok()?).ok();
                }
            }
        })
    }
}

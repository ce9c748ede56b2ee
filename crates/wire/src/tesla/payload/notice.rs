//! Topics `alerts`, `errors`, `connectivity` and `metrics`: what happened, apart from signals.

use std::marker::PhantomData;

use model::UtcMicros;

use crate::Malformed;

use super::proto::{Field, Fields, Span};

/// A payload of topic `alerts` that is whole.
pub type Alerts<'a> = Notices<'a, Alert<'a>>;
/// A payload of topic `errors` that is whole.
pub type Errors<'a> = Notices<'a, VehicleError<'a>>;
/// A payload of topic `metrics` that is whole.
pub type Metrics<'a> = Notices<'a, Metric<'a>>;

/// A list of notices; all three topics have it as field 1, the time as 2 and the VIN as 3.
#[derive(Clone, Copy)]
pub struct Notices<'a, N> {
    /// When the message was made, by the vehicle's clock.
    pub created_at: Option<UtcMicros>,
    fields: Fields<'a>,
    notice: PhantomData<N>,
}

/// A notice of a list.
pub trait Notice<'a>: Sized {
    #[doc(hidden)]
    fn read(message: Message<'a>) -> Result<Self, Malformed>;
}

/// A message inside a payload, which only this room can read.
pub struct Message<'a>(Span<'a>);

impl<'a, N: Notice<'a>> Notices<'a, N> {
    /// Reads a payload.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let fields = Span::whole(payload).fields();
        let mut notices = Self { created_at: None, fields, notice: PhantomData };
        let mut fields = fields;
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    N::read(Message(field.span()?))?;
                }
                2 => notices.created_at = field.timestamp()?,
                3 => {
                    field.text()?;
                }
                _ => {}
            }
        }
        Ok(notices)
    }

    /// Its notices in the order in which they stand.
    pub fn iter(&self) -> impl Iterator<Item = N> + use<'a, N> {
        let mut fields = self.fields;
        std::iter::from_fn(move || {
            loop {
                let field = fields.next().ok()??;
                if field.number == 1 {
                    return N::read(Message(field.span().ok()?)).ok();
                }
            }
        })
    }
}

/// Who an alert is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Not said.
    Unknown,
    /// The customer.
    Customer,
    /// The maker's service.
    Service,
    /// The maker's service, to be fixed.
    ServiceFix,
}

impl Audience {
    /// Every audience; the index is the number on the wire.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Customer, Self::Service, Self::ServiceFix];

    /// The word in an event's detail.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Customer => "customer",
            Self::Service => "service",
            Self::ServiceFix => "service_fix",
        }
    }
}

/// An alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alert<'a> {
    /// The maker's name of it.
    pub name: &'a str,
    /// When it began.
    pub started_at: Option<UtcMicros>,
    /// When it ended; `None` while it lasts.
    pub ended_at: Option<UtcMicros>,
    /// Bit `n` is set where the audience of number `n` is among those it is for.
    audiences: u8,
}

impl<'a> Alert<'a> {
    /// An alert for these audiences.
    pub fn new(
        name: &'a str,
        audiences: &[Audience],
        started_at: Option<UtcMicros>,
        ended_at: Option<UtcMicros>,
    ) -> Self {
        let audiences = audiences.iter().fold(0, |bits, audience| bits | 1 << *audience as u8);
        Self { name, started_at, ended_at, audiences }
    }

    /// Who it is for.
    pub fn audiences(&self) -> impl Iterator<Item = Audience> + use<> {
        let bits = self.audiences;
        Audience::ALL.into_iter().filter(move |audience| bits >> *audience as u8 & 1 == 1)
    }

    /// Audiences come one a field, or packed into one (proto3's default).
    fn add_audiences(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        let mut add = |number: i32| {
            let known = usize::try_from(number).is_ok_and(|number| number < Audience::ALL.len());
            self.audiences |= if known { 1 << number } else { 1 };
        };
        if let Ok(number) = field.int32() {
            add(number);
            return Ok(());
        }
        let mut numbers = field.span()?.fields();
        while let Some(number) = numbers.packed()? {
            add(number);
        }
        Ok(())
    }
}

impl<'a> Notice<'a> for Alert<'a> {
    fn read(message: Message<'a>) -> Result<Self, Malformed> {
        let mut alert = Self::default();
        let mut fields = message.0.fields();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => alert.name = field.text()?,
                2 => alert.add_audiences(&field)?,
                3 => alert.started_at = field.timestamp()?,
                4 => alert.ended_at = field.timestamp()?,
                _ => {}
            }
        }
        Ok(alert)
    }
}

/// Tags of an error or a metric: a map of texts, in the order in which they stand; a key may come twice, then the last holds.
#[derive(Clone, Copy)]
pub struct Tags<'a> {
    fields: Fields<'a>,
    number: u32,
}

impl<'a> Tags<'a> {
    fn of(message: Span<'a>, number: u32) -> Self {
        Self { fields: message.fields(), number }
    }

    /// Key and value of each tag.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let Self { mut fields, number } = *self;
        std::iter::from_fn(move || {
            loop {
                let field = fields.next().ok()??;
                if field.number == number {
                    return read_tag(&field).ok();
                }
            }
        })
    }
}

fn read_tag<'a>(field: &Field<'a>) -> Result<(&'a str, &'a str), Malformed> {
    let (mut key, mut value) = ("", "");
    let mut fields = field.span()?.fields();
    while let Some(field) = fields.next()? {
        match field.number {
            1 => key = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// An error of the vehicle's own software.
#[derive(Clone, Copy)]
pub struct VehicleError<'a> {
    /// When it happened.
    pub created_at: Option<UtcMicros>,
    /// The maker's name of it.
    pub name: &'a str,
    /// Further detail.
    pub tags: Tags<'a>,
    /// Its text.
    pub body: &'a str,
}

impl<'a> Notice<'a> for VehicleError<'a> {
    fn read(message: Message<'a>) -> Result<Self, Malformed> {
        let mut error = Self { created_at: None, name: "", tags: Tags::of(message.0, 3), body: "" };
        let mut fields = message.0.fields();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => error.created_at = field.timestamp()?,
                2 => error.name = field.text()?,
                3 => {
                    read_tag(&field)?;
                }
                4 => error.body = field.text()?,
                _ => {}
            }
        }
        Ok(error)
    }
}

/// A measurement of the vehicle's own software.
#[derive(Clone, Copy)]
pub struct Metric<'a> {
    /// The maker's name of it.
    pub name: &'a str,
    /// Further detail.
    pub tags: Tags<'a>,
    /// The measurement.
    pub value: f64,
}

impl<'a> Notice<'a> for Metric<'a> {
    fn read(message: Message<'a>) -> Result<Self, Malformed> {
        let mut metric = Self { name: "", tags: Tags::of(message.0, 2), value: 0.0 };
        let mut fields = message.0.fields();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => metric.name = field.text()?,
                2 => {
                    read_tag(&field)?;
                }
                3 => metric.value = field.double()?,
                _ => {}
            }
        }
        Ok(metric)
    }
}

/// What a connectivity message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectivityStatus {
    /// Nothing, or what this version doesn't know.
    #[default]
    Unknown,
    /// Connected.
    Connected,
    /// Disconnected.
    Disconnected,
}

impl ConnectivityStatus {
    /// The word in an event's code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
        }
    }

    fn of_number(number: i32) -> Self {
        match number {
            1 => Self::Connected,
            2 => Self::Disconnected,
            _ => Self::Unknown,
        }
    }
}

/// A payload of topic `connectivity` that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connectivity<'a> {
    /// The connection's id.
    pub connection_id: &'a str,
    /// What happened to it.
    pub status: ConnectivityStatus,
    /// When.
    pub created_at: Option<UtcMicros>,
    /// Such as `wifi`, `cellular`.
    pub network_interface: &'a str,
}

impl<'a> Connectivity<'a> {
    /// Reads a payload.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut connectivity = Self::default();
        let mut fields = Span::whole(payload).fields();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    field.text()?;
                }
                2 => connectivity.connection_id = field.text()?,
                3 => connectivity.status = ConnectivityStatus::of_number(field.int32()?),
                4 => connectivity.created_at = field.timestamp()?,
                5 => connectivity.network_interface = field.text()?,
                _ => {}
            }
        }
        Ok(connectivity)
    }
}

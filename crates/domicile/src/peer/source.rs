//! Another center as the source of a copy: its interface, asked from the threads that copy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{HeaderMap, Method};
use ledger::copy::Source;
use ledger::entry::Opening;
use ledger::{Error, Tile};
use model::{CenterName, GatewayName, KeyPeriod, Sequence, VehicleId};
use parking_lot::Mutex;
use store::ObjectPath;
use tokio::runtime::Handle;

use super::network::{HeadAnswer, Peer};
use super::{CHARTER_HEADER, CONTROLS_HEADER, KeyName, OPENING_HEADER};
use crate::egress::peer::PeerClient;

/// The network as copying may use it: so many bytes a second, over all copies together.
pub(super) struct Throttle {
    bytes_per_s_max: u64,
    /// When what was taken so far is paid for, in nanoseconds of the monotonic clock.
    paid_at: Mutex<u128>,
    clock: Arc<dyn model::Clock>,
}

/// What asking can take up without a pause: a tenth of a second's worth.
const BURST: Duration = Duration::from_millis(100);

impl Throttle {
    pub(super) fn new(bytes_per_s_max: u64, clock: Arc<dyn model::Clock>) -> Self {
        Self { bytes_per_s_max, paid_at: Mutex::new(0), clock }
    }

    /// Waits until so many bytes are paid for.
    fn pay(&self, bytes: usize) {
        if self.bytes_per_s_max == 0 {
            return;
        }
        let price = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_s_max);
        let now = self.clock.monotonic().as_nanos();
        let due = {
            let mut paid_at = self.paid_at.lock();
            *paid_at = (*paid_at).max(now) + price;
            *paid_at
        };
        let wait = due.saturating_sub(now + BURST.as_nanos());
        std::thread::sleep(Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)));
    }
}

/// A center that has a prefix: its own, or a copy of another one's.
pub(super) struct PeerSource {
    pub(super) client: Arc<PeerClient>,
    /// The center whose prefix is asked for.
    pub(super) prefix: CenterName,
    pub(super) runtime: Handle,
    pub(super) throttle: Arc<Throttle>,
}

impl Peer for PeerSource {
    fn head(&self, after: u64) -> Result<Option<HeadAnswer>, Error> {
        let path = format!("/peer/{}/head?after={after}", self.prefix);
        let Some((headers, body)) = self.ask(Method::GET, &path, Bytes::new())? else { return Ok(None) };
        let note = String::from_utf8(body.to_vec()).map_err(|_| self.wrong("its head is no text"))?;
        let (charter, controls) = (number(&headers, CHARTER_HEADER), number(&headers, CONTROLS_HEADER));
        Ok(Some(HeadAnswer { note, charter, controls }))
    }

    fn charter(&self, version: u64) -> Result<String, Error> {
        let (_, body) = self.must(&format!("/peer/charter/{version}"))?;
        String::from_utf8(body.to_vec()).map_err(|_| self.wrong("a version of the charter is no text"))
    }

    fn tell_held(&self, note: &str) -> Result<(), Error> {
        match self.ask(Method::POST, "/peer/held", Bytes::from(note.to_owned()))? {
            Some(_) => Ok(()),
            None => Err(self.wrong("it takes no receipts")),
        }
    }

    fn push_frames(&self, gateway: &GatewayName, freed: Sequence, blocks: Vec<u8>) -> Result<u64, Error> {
        let path = format!("/peer/journal/{gateway}?freed={freed}");
        match self.ask(Method::POST, &path, blocks.into())? {
            Some((headers, _)) => Ok(number(&headers, CONTROLS_HEADER)),
            None => Err(self.wrong("it takes no frames")),
        }
    }

    fn take_over_held(&self, known: &BTreeMap<String, u64>) -> Result<u64, Error> {
        let body = serde_json::to_vec(known).expect("texts and numbers are JSON");
        let answer = self.ask(Method::POST, "/peer/hand-over", body.into())?;
        let (_, answer) = answer.ok_or_else(|| self.wrong("it takes nothing over"))?;
        serde_json::from_slice(&answer)
            .map_err(|_| self.wrong("it does not say how many frames it took over"))
    }

    fn renew_certificate(&self, certificate: &str) -> Result<Option<String>, Error> {
        let body = Bytes::from(certificate.to_owned());
        let Some((_, renewed)) = self.ask(Method::POST, "/peer/server-certificate", body)? else {
            return Ok(None);
        };
        let renewed = String::from_utf8(renewed.to_vec());
        renewed.map(Some).map_err(|_| self.wrong("the certificate that it gives is no text"))
    }

    /// Keys, wrapped for this center; `None` for those that were destroyed.
    fn keys(&self, wanted: &[(VehicleId, KeyPeriod)]) -> Result<Vec<Option<Bytes>>, Error> {
        let names: Vec<KeyName> = wanted
            .iter()
            .map(|(vehicle, period)| KeyName { vehicle: vehicle.to_string(), period: period.0 })
            .collect();
        let body = serde_json::to_vec(&names).expect("texts and numbers are JSON");
        let path = format!("/peer/{}/keys", self.prefix);
        let (_, body) =
            self.ask(Method::POST, &path, body.into())?.ok_or_else(|| self.wrong("it hands out no keys"))?;
        let keys: Vec<Option<String>> =
            serde_json::from_slice(&body).map_err(|_| self.wrong("its keys are no list"))?;
        if keys.len() != wanted.len() {
            return Err(self.wrong("it hands out another number of keys than was asked for"));
        }
        let decode = |key: Option<String>| {
            key.map(|key| STANDARD.decode(key).map(Bytes::from).map_err(|_| self.wrong("a key is no base64")))
                .transpose()
        };
        keys.into_iter().map(decode).collect()
    }
}

/// A header's number; 0 where there is none.
fn number(headers: &HeaderMap, header: &str) -> u64 {
    headers.get(header).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

impl PeerSource {
    fn must(&self, path: &str) -> Result<(HeaderMap, Bytes), Error> {
        self.ask(Method::GET, path, Bytes::new())?.ok_or_else(|| self.wrong(&format!("it has no {path}")))
    }

    /// `None` where there is nothing of that name.
    fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Option<(HeaderMap, Bytes)>, Error> {
        let answer = self.runtime.block_on(self.client.ask(method, path, body));
        let answer = answer.map_err(|error| self.wrong(&error.to_string()))?;
        self.throttle.pay(answer.body.len());
        match answer.status {
            200..=299 => Ok(Some((answer.headers, answer.body))),
            404 => Ok(None),
            status => Err(self.wrong(&format!("it answers {path} with status {status}"))),
        }
    }

    fn wrong(&self, why: &str) -> Error {
        Error::Unavailable { name: format!("center {}", self.prefix), why: why.to_owned() }
    }

    /// What an address says of an object: its name below the prefix.
    fn below<'a>(&self, name: &'a ObjectPath) -> Result<&'a str, Error> {
        let below = name.as_ref().strip_prefix(self.prefix.as_str()).and_then(|rest| rest.strip_prefix('/'));
        below.ok_or_else(|| self.wrong(&format!("{name} is another center's")))
    }
}

impl Source for PeerSource {
    fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, Error> {
        let path = format!("/peer/{}/log/{}", self.prefix, tile.path());
        Ok(self.ask(Method::GET, &path, Bytes::new())?.map(|(_, body)| body.to_vec()))
    }

    fn object(&self, name: &ObjectPath) -> Result<Option<(Bytes, Opening)>, Error> {
        let path = format!("/peer/{}/object/{}", self.prefix, self.below(name)?);
        let Some((headers, content)) = self.ask(Method::GET, &path, Bytes::new())? else { return Ok(None) };
        let opening = headers.get(OPENING_HEADER).map(|value| [value.as_bytes(), b"\n"].concat());
        let opening = opening.and_then(|text| Opening::parse(&text).ok());
        Ok(Some((content, opening.ok_or_else(|| self.wrong(&format!("{name} comes without its opening")))?)))
    }

    fn unentered(&self, name: &ObjectPath) -> Result<Option<Bytes>, Error> {
        let path = format!("/peer/{}/unentered/{}", self.prefix, self.below(name)?);
        Ok(self.ask(Method::GET, &path, Bytes::new())?.map(|(_, body)| body))
    }
}

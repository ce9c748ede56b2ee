//! The table of live connections: who is connected, which connection holds a vehicle, and the nudges that reach one from
//! outside (replaced, silent for too long, shutting down).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use futures::task::AtomicWaker;
use model::{Assurance, ConnectionId, Protocol, UtcMicros, VehicleId};
use parking_lot::Mutex;

/// What a connection is told from outside; several may be told at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Nudge {
    /// A newer connection took the vehicle over.
    Replaced = 1,
    /// The sweeper came by: look at the deadlines.
    Sweep = 2,
    /// The program ends.
    Shutdown = 4,
    /// The registry has changed: is this vehicle still admitted?
    Recheck = 8,
}

/// Nudges that a connection took at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Nudges(u8);

impl Nudges {
    /// Whether this one is among them.
    pub(crate) fn has(self, nudge: Nudge) -> bool {
        self.0 & nudge as u8 != 0
    }
}

/// What the table keeps of a connection. Small: there are tens of thousands.
pub(crate) struct Connection {
    /// Its number.
    pub(crate) id: ConnectionId,
    /// What is spoken on it.
    pub(crate) protocol: Protocol,
    /// Where it comes from.
    pub(crate) peer: IpAddr,
    /// Since when.
    pub(crate) since: UtcMicros,
    /// The same in seconds of the monotonic clock.
    pub(crate) since_s: u32,
    /// Frames that it brought and that were acknowledged.
    pub(crate) frames: AtomicU64,
    /// When it last said something, in seconds of the monotonic clock.
    heard_s: AtomicU32,
    /// Its assurance plus one, for `status`; 0 while nobody has identified itself.
    assurance: AtomicU8,
    /// Whether the sweeper is to come by soon.
    wants_attention: AtomicBool,
    nudges: AtomicU8,
    waker: AtomicWaker,
}

impl Connection {
    /// Tells the connection's task something, and wakes it.
    pub(crate) fn nudge(&self, nudge: Nudge) {
        self.nudges.fetch_or(nudge as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Lets nudges wake this task, and takes those that came.
    pub(crate) fn poll_nudges(&self, cx: &mut std::task::Context<'_>) -> Option<Nudges> {
        self.waker.register(cx.waker());
        if self.nudges.load(Ordering::Acquire) == 0 {
            return None;
        }
        Some(Nudges(self.nudges.swap(0, Ordering::AcqRel)))
    }

    /// Says whether the sweeper is to come by soon: for a deadline that runs, or memory to give back.
    pub(crate) fn want_attention(&self, is_wanted: bool) {
        self.wants_attention.store(is_wanted, Ordering::Relaxed);
    }

    /// Whether the sweeper is to come by soon.
    pub(crate) fn wants_attention(&self) -> bool {
        self.wants_attention.load(Ordering::Relaxed)
    }

    /// Notes that the peer has said something.
    pub(crate) fn heard(&self, monotonic_s: u32) {
        self.heard_s.store(monotonic_s, Ordering::Relaxed);
    }

    /// For how many seconds the peer has said nothing.
    pub(crate) fn silent_s(&self, monotonic_s: u32) -> u32 {
        monotonic_s.saturating_sub(self.heard_s.load(Ordering::Relaxed))
    }

    /// Notes that the peer has shown who it is.
    pub(crate) fn identified(&self, assurance: Assurance) {
        self.assurance.store(assurance as u8 + 1, Ordering::Relaxed);
    }

    /// What the peer's identity rests on.
    pub(crate) fn assurance(&self) -> Option<Assurance> {
        match self.assurance.load(Ordering::Relaxed) {
            1 => Some(Assurance::Claim),
            2 => Some(Assurance::Platform),
            3 => Some(Assurance::Signature),
            4 => Some(Assurance::Certificate),
            _ => None,
        }
    }
}

/// Which connection holds a vehicle.
struct Holder {
    connection: Arc<Connection>,
    assurance: Assurance,
    /// Whether the connection is this vehicle's alone, so that a newer one may close it.
    is_direct: bool,
}

/// All live connections.
pub(crate) struct Connections {
    live: Mutex<HashMap<ConnectionId, Arc<Connection>>>,
    holders: Mutex<HashMap<VehicleId, Holder>>,
    count: AtomicUsize,
    count_max: usize,
    next: AtomicU64,
    /// Bytes in the buffers of all connections.
    held_bytes: AtomicUsize,
    held_bytes_max: usize,
}

impl Connections {
    /// An empty table. `started_at` makes the numbers of this run differ from those of earlier ones.
    pub(crate) fn new(started_at: UtcMicros, count_max: usize, held_bytes_max: usize) -> Self {
        let first = u64::try_from(started_at.0).unwrap_or(0);
        Self {
            live: Mutex::default(),
            holders: Mutex::default(),
            count: AtomicUsize::new(0),
            count_max,
            next: AtomicU64::new(first),
            held_bytes: AtomicUsize::new(0),
            held_bytes_max,
        }
    }

    /// Enters a connection; `None` when there are as many as may be.
    pub(crate) fn enter(
        self: &Arc<Self>,
        protocol: Protocol,
        peer: IpAddr,
        since: UtcMicros,
        monotonic_s: u32,
    ) -> Option<Seat> {
        let admitted = self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < self.count_max).then_some(count + 1)
            })
            .is_ok();
        if !admitted {
            return None;
        }
        let connection = Arc::new(Connection {
            id: ConnectionId(self.next.fetch_add(1, Ordering::Relaxed)),
            protocol,
            peer,
            since,
            since_s: monotonic_s,
            frames: AtomicU64::new(0),
            heard_s: AtomicU32::new(monotonic_s),
            assurance: AtomicU8::new(0),
            wants_attention: AtomicBool::new(false),
            nudges: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        });
        self.live.lock().insert(connection.id, connection.clone());
        Some(Seat { table: self.clone(), connection, held_bytes: 0 })
    }

    /// What the identity of another connection that now holds this vehicle rests on.
    pub(crate) fn holder(&self, vehicle: VehicleId, except: ConnectionId) -> Option<Assurance> {
        let holders = self.holders.lock();
        holders.get(&vehicle).filter(|holder| holder.connection.id != except).map(|holder| holder.assurance)
    }

    /// Gives a vehicle to a connection, unless another one with a stronger identity holds it. The one that held it is closed
    /// where it is that vehicle's alone.
    pub(crate) fn claim(
        &self,
        vehicle: VehicleId,
        connection: &Arc<Connection>,
        assurance: Assurance,
        is_direct: bool,
    ) -> bool {
        let mut holders = self.holders.lock();
        if let Some(holder) = holders.get(&vehicle)
            && holder.connection.id != connection.id
        {
            if assurance < holder.assurance {
                return false;
            }
            if holder.is_direct {
                holder.connection.nudge(Nudge::Replaced);
            }
        }
        holders.insert(vehicle, Holder { connection: connection.clone(), assurance, is_direct });
        true
    }

    /// Takes a vehicle from a connection; nothing where another one holds it by now.
    pub(crate) fn release(&self, vehicle: VehicleId, connection: ConnectionId) {
        let mut holders = self.holders.lock();
        if holders.get(&vehicle).is_some_and(|holder| holder.connection.id == connection) {
            holders.remove(&vehicle);
        }
    }

    /// Takes all vehicles from a connection that may have held several.
    pub(crate) fn release_all(&self, connection: ConnectionId) {
        self.holders.lock().retain(|_, holder| holder.connection.id != connection);
    }

    /// Which connection holds a vehicle, and what its identity rests on.
    pub(crate) fn of_vehicle(&self, vehicle: VehicleId) -> Option<(Arc<Connection>, Assurance)> {
        let holders = self.holders.lock();
        holders.get(&vehicle).map(|holder| (holder.connection.clone(), holder.assurance))
    }

    /// The vehicles that are held by a connection.
    pub(crate) fn vehicles(&self) -> Vec<VehicleId> {
        self.holders.lock().keys().copied().collect()
    }

    /// Tells all connections something.
    pub(crate) fn nudge_all(&self, nudge: Nudge) {
        for connection in self.live.lock().values() {
            connection.nudge(nudge);
        }
    }

    /// Tells so many connections something, those that have been there longest.
    pub(crate) fn nudge_oldest(&self, count: usize, nudge: Nudge) {
        let mut all: Vec<Arc<Connection>> = self.live.lock().values().cloned().collect();
        if count < all.len() {
            all.select_nth_unstable_by_key(count, |connection| (connection.since_s, connection.id));
        }
        all.iter().take(count).for_each(|connection| connection.nudge(nudge));
    }

    /// Visits all connections, under the table's lock.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Connection)) {
        for connection in self.live.lock().values() {
            visit(connection);
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// How many vehicles are held by a connection.
    pub(crate) fn vehicle_count(&self) -> usize {
        self.holders.lock().len()
    }

    /// Bytes in the buffers of all connections.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Whether the buffers of all connections hold as much as they may.
    pub(crate) fn is_full_of_bytes(&self) -> bool {
        self.held_bytes() >= self.held_bytes_max
    }
}

/// A connection's place in the table, given back when it is dropped.
pub(crate) struct Seat {
    table: Arc<Connections>,
    connection: Arc<Connection>,
    held_bytes: usize,
}

impl Seat {
    /// What the table keeps of it.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Says how many bytes this connection's buffers hold now.
    pub(crate) fn hold(&mut self, bytes: usize) {
        if bytes > self.held_bytes {
            self.table.held_bytes.fetch_add(bytes - self.held_bytes, Ordering::Relaxed);
        } else if bytes < self.held_bytes {
            self.table.held_bytes.fetch_sub(self.held_bytes - bytes, Ordering::Relaxed);
        }
        self.held_bytes = bytes;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hold(0);
        self.table.live.lock().remove(&self.connection.id);
        self.table.count.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use model::{Assurance, Protocol, UtcMicros, VehicleId};

    use super::{Connections, Seat};

    fn table(count_max: usize) -> Arc<Connections> {
        Arc::new(Connections::new(UtcMicros(1_000), count_max, 1_000))
    }

    fn enter(table: &Arc<Connections>) -> Option<Seat> {
        table.enter(Protocol::Tesla, IpAddr::V4(Ipv4Addr::LOCALHOST), UtcMicros(1), 0)
    }

    fn nudges(seat: &Seat) -> u8 {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        seat.connection().poll_nudges(&mut cx).map_or(0, |nudges| nudges.0)
    }

    #[test]
    fn the_oldest_are_told_first() {
        let table = table(10);
        let seats: Vec<Seat> = (0..5_u32)
            .map(|second| {
                table.enter(Protocol::Tesla, IpAddr::V4(Ipv4Addr::LOCALHOST), UtcMicros(1), 9 - second)
            })
            .map(|seat| seat.expect("room"))
            .collect();
        table.nudge_oldest(2, super::Nudge::Shutdown);
        let told: Vec<bool> = seats.iter().map(|seat| nudges(seat) == super::Nudge::Shutdown as u8).collect();
        assert_eq!(told, [false, false, false, true, true]);
        table.nudge_oldest(9, super::Nudge::Sweep);
        assert!(seats.iter().all(|seat| nudges(seat) == super::Nudge::Sweep as u8));
    }

    #[test]
    fn a_newer_connection_replaces_one_that_is_not_stronger() {
        let table = table(10);
        let strengths = [Assurance::Claim, Assurance::Platform, Assurance::Signature, Assurance::Certificate];
        for older in strengths {
            for newer in strengths {
                let (first, second) = (enter(&table).expect("room"), enter(&table).expect("room"));
                assert!(table.claim(VehicleId::NONE, first.connection(), older, true));
                let granted = table.claim(VehicleId::NONE, second.connection(), newer, true);
                assert_eq!(granted, newer >= older, "{newer:?} after {older:?}");
                assert_eq!(nudges(&first) != 0, granted);
                assert_eq!(nudges(&second), 0);
                table.release(
                    VehicleId::NONE,
                    if granted { first.connection().id } else { second.connection().id },
                );
                assert!(table.of_vehicle(VehicleId::NONE).is_some(), "only the holder can release");
                table.release(VehicleId::NONE, first.connection().id);
                table.release(VehicleId::NONE, second.connection().id);
                assert_eq!(table.vehicle_count(), 0);
            }
        }
    }

    #[test]
    fn a_forwarding_connection_is_not_closed_because_one_vehicle_moved() {
        let table = table(10);
        let (platform, direct) = (enter(&table).expect("room"), enter(&table).expect("room"));
        assert!(table.claim(VehicleId::NONE, platform.connection(), Assurance::Platform, false));
        assert!(table.claim(VehicleId::NONE, direct.connection(), Assurance::Certificate, true));
        assert_eq!(nudges(&platform), 0);
        assert_eq!(table.holder(VehicleId::NONE, platform.connection().id), Some(Assurance::Certificate));
        assert_eq!(table.holder(VehicleId::NONE, direct.connection().id), None);
    }

    #[test]
    fn there_are_no_more_connections_than_may_be_and_each_gives_its_bytes_back() {
        let table = table(2);
        let mut first = enter(&table).expect("room");
        let second = enter(&table).expect("room");
        assert!(enter(&table).is_none());
        first.hold(900);
        first.hold(1_200);
        assert!(table.is_full_of_bytes());
        drop(first);
        assert_eq!(table.held_bytes(), 0);
        assert!(enter(&table).is_some());
        drop(second);
        assert_eq!(table.count(), 0);
    }
}

//! From rows in slabs to Arrow columns: for files, in the order in which a file keeps them, and for queries,
//! as they came.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray,
    StringDictionaryBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use model::{Class, Protocol, Quality, SignalInfo, VehicleId};

use crate::doubles::Hidden;
use crate::erased::Erased;
use crate::rows::{EventRow, FrameRow, PositionRow, Slab};
use crate::schema::Table;
use crate::terms::{Cutoffs, EVENT_CLASS, UNKNOWN_CLASS};

/// The texts that rows name by number: signals, qualities, sources.
pub(crate) struct Names {
    pub(crate) infos: &'static [SignalInfo],
    signals: Arc<StringArray>,
    qualities: Arc<StringArray>,
    sources: Arc<StringArray>,
    /// For each signal its place in the order of the paths.
    ranks: Vec<u16>,
}

const QUALITIES: [Quality; 4] = [Quality::Valid, Quality::Invalid, Quality::Abnormal, Quality::Clock];
const SOURCES: [Protocol; 3] = [Protocol::Center, Protocol::Tesla, Protocol::Gbt32960];

impl Names {
    pub(crate) fn new(infos: &'static [SignalInfo]) -> Self {
        let mut order: Vec<u16> = (0..infos.len()).map(|index| index as u16).collect();
        order.sort_by_key(|index| infos[usize::from(*index)].path);
        let mut ranks = vec![0; infos.len()];
        for (rank, index) in order.into_iter().enumerate() {
            ranks[usize::from(index)] = rank as u16;
        }
        Self {
            infos,
            signals: Arc::new(StringArray::from_iter_values(infos.iter().map(|info| info.path))),
            qualities: Arc::new(StringArray::from_iter_values(QUALITIES.map(Quality::as_str))),
            sources: Arc::new(StringArray::from_iter_values(SOURCES.map(Protocol::as_str))),
            ranks,
        }
    }
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    slab: u32,
    row: u32,
    /// The row's frame in the same slab.
    frame: u32,
}

/// Slabs whose rows are to become columns together.
pub(crate) struct Gather<'a> {
    names: &'a Names,
    table: Table,
    slabs: &'a [Arc<Slab>],
    /// For each slab and frame the vehicle's place among `vehicles`.
    ranks: Vec<Vec<u32>>,
    vehicles: Arc<StringArray>,
}

impl<'a> Gather<'a> {
    pub(crate) fn new(names: &'a Names, table: Table, slabs: &'a [Arc<Slab>]) -> Self {
        let mut order: BTreeMap<VehicleId, u32> =
            slabs.iter().flat_map(|slab| &slab.frames).map(|frame| (frame.vehicle, 0)).collect();
        for (rank, place) in order.values_mut().enumerate() {
            *place = rank as u32;
        }
        let ranks = slabs
            .iter()
            .map(|slab| {
                let mut last = None;
                slab.frames
                    .iter()
                    .map(|frame| match last {
                        Some((vehicle, rank)) if vehicle == frame.vehicle => rank,
                        _ => {
                            let rank = order[&frame.vehicle];
                            last = Some((frame.vehicle, rank));
                            rank
                        }
                    })
                    .collect()
            })
            .collect();
        let vehicles = Arc::new(StringArray::from_iter_values(order.keys().map(VehicleId::as_str)));
        Self { names, table, slabs, ranks, vehicles }
    }

    /// All rows as they came.
    pub(crate) fn arrival_order(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for (slab, rows) in self.slabs.iter().enumerate() {
            let slab = slab as u32;
            let place = |(row, frame)| Place { slab, row: row as u32, frame };
            match self.table {
                Table::Signals => places.extend(rows.signals.frame.iter().copied().enumerate().map(place)),
                Table::Positions => {
                    places.extend(rows.positions.iter().map(|row| row.frame).enumerate().map(place))
                }
                Table::Events => {
                    places.extend(rows.events.iter().map(|row| row.frame).enumerate().map(place))
                }
            }
        }
        places
    }

    /// All rows as they came, but for those whose term is over and those that were erased.
    pub(crate) fn kept(&self, cutoffs: &Cutoffs, erased: &Erased) -> Vec<Place> {
        let mut places = self.arrival_order();
        let latest = cutoffs.latest(self.table);
        let is_young = |frame: &FrameRow| frame.received_at.0 >= latest;
        if !self.slabs.iter().flat_map(|slab| &slab.frames).all(is_young) {
            places.retain(|place| cutoffs.keeps(self.class(*place), self.frame(*place).received_at.0));
        }
        if !erased.open().is_empty() {
            places.retain(|place| {
                let frame = self.frame(*place);
                !erased.takes(frame.vehicle, frame.received_at.0)
            });
        }
        places
    }

    /// Leaves out rows that another center's tables show.
    pub(crate) fn leave_out(&self, hidden: &Hidden, places: &mut Vec<Place>) -> Result<(), ArrowError> {
        if hidden.is_empty() {
            return Ok(());
        }
        let received_at = |place: &Place| self.frame(*place).received_at.0;
        let mut is_kept = vec![true; places.len()];
        let suspects: Vec<usize> =
            (0..places.len()).filter(|index| hidden.knows(received_at(&places[*index]))).collect();
        let rows: Vec<Place> = suspects.iter().map(|index| places[*index]).collect();
        hidden.judge(self.table, &self.batch(&rows)?, &mut |row| is_kept[suspects[row]] = false)?;
        let mut kept = is_kept.into_iter();
        places.retain(|_| kept.next().unwrap_or(true));
        Ok(())
    }

    fn class(&self, place: Place) -> Class {
        match self.table {
            Table::Signals => {
                let signal = usize::from(self.slab(place).signals.signal[place.row as usize]);
                self.names.infos.get(signal).map_or(UNKNOWN_CLASS, |info| info.class)
            }
            Table::Positions => Class::Location,
            Table::Events => EVENT_CLASS,
        }
    }

    /// All rows by vehicle, then signal, then as they came, which is nearly always by time. A file is as
    /// large as in the order of arrival, but a query for a vehicle or a signal reads fewer of its pages, and
    /// a compaction finds its rows in order. Two counting sorts: the ids are dense, so that this costs a few
    /// nanoseconds a row.
    pub(crate) fn file_order(&self) -> Vec<Place> {
        let mut places = self.arrival_order();
        if self.table == Table::Signals {
            places = counting_sort(&places, self.names.ranks.len(), |place| {
                let signal = self.slab(place).signals.signal[place.row as usize];
                self.names.ranks[usize::from(signal)] as usize
            });
        }
        counting_sort(&places, self.vehicles.value_offsets().len(), |place| self.vehicle_rank(place) as usize)
    }

    /// One column of the table's file schema, for these rows.
    pub(crate) fn column(&self, column: usize, places: &[Place]) -> Result<ArrayRef, ArrowError> {
        let name = self.table.columns()[column].name;
        match name {
            "vehicle" => self.dictionary(places, &self.vehicles, |place| self.vehicle_rank(place) as i32),
            "source" => {
                self.dictionary(places, &self.names.sources, |place| source_number(self.frame(place).source))
            }
            "received_at" => Ok(times(places.iter().map(|place| Some(self.frame(*place).received_at.0)))),
            _ => match self.table {
                Table::Signals => self.signals_column(name, places),
                Table::Positions => Ok(self.positions_column(name, places)),
                Table::Events => Ok(self.events_column(name, places)),
            },
        }
    }

    /// All columns of these rows, as a file takes them.
    pub(crate) fn batch(&self, places: &[Place]) -> Result<RecordBatch, ArrowError> {
        let columns = (0..self.table.columns().len())
            .map(|column| self.column(column, places))
            .collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(self.table.file_schema(), columns)
    }

    fn signals_column(&self, name: &str, places: &[Place]) -> Result<ArrayRef, ArrowError> {
        let rows = places.iter().map(|place| (&self.slab(*place).signals, place.row as usize));
        match name {
            "time" => Ok(times(rows.map(|(rows, row)| Some(rows.time[row])))),
            "signal" => self.dictionary(places, &self.names.signals, |place| {
                i32::from(self.slab(place).signals.signal[place.row as usize])
            }),
            "value" => {
                let values = rows.map(|(rows, row)| Some(rows.value[row]).filter(|value| !value.is_nan()));
                Ok(Arc::new(values.collect::<Float64Array>()))
            }
            "text" => Ok(texts(places.iter().map(|place| {
                let slab = self.slab(*place);
                slab.text(slab.signals.text[place.row as usize])
            }))),
            _ => self.dictionary(places, &self.names.qualities, |place| {
                self.slab(place).signals.quality[place.row as usize] as i32
            }),
        }
    }

    fn positions_column(&self, name: &str, places: &[Place]) -> ArrayRef {
        let rows = places.iter().map(|place| self.position(*place).position);
        let doubles = |values: Vec<Option<f64>>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
        match name {
            "time" => times(rows.map(|row| Some(row.time.0))),
            "latitude" => doubles(rows.map(|row| row.latitude).collect()),
            "longitude" => doubles(rows.map(|row| row.longitude).collect()),
            "heading" => doubles(rows.map(|row| row.heading).collect()),
            "speed" => doubles(rows.map(|row| row.speed).collect()),
            _ => Arc::new(rows.map(|row| Some(row.valid)).collect::<BooleanArray>()),
        }
    }

    fn events_column(&self, name: &str, places: &[Place]) -> ArrayRef {
        let rows = places.iter().map(|place| (self.slab(*place), self.event(*place)));
        match name {
            "time" => times(rows.map(|(_, row)| Some(row.time.0))),
            "kind" => texts(rows.map(|(slab, row)| slab.text(row.kind).or(Some("")))),
            "code" => texts(rows.map(|(slab, row)| slab.text(row.code).or(Some("")))),
            "level" => Arc::new(rows.map(|(_, row)| row.level).collect::<Int32Array>()),
            "ended_at" => times(rows.map(|(_, row)| row.ended_at.map(|at| at.0))),
            _ => texts(rows.map(|(slab, row)| slab.text(row.detail))),
        }
    }

    fn dictionary(
        &self,
        places: &[Place],
        values: &Arc<StringArray>,
        number: impl Fn(Place) -> i32,
    ) -> Result<ArrayRef, ArrowError> {
        let keys = Int32Array::from_iter_values(places.iter().map(|place| number(*place)));
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values.clone())?))
    }

    fn slab(&self, place: Place) -> &'a Slab {
        &self.slabs[place.slab as usize]
    }

    fn position(&self, place: Place) -> &'a PositionRow {
        &self.slab(place).positions[place.row as usize]
    }

    fn event(&self, place: Place) -> &'a EventRow {
        &self.slab(place).events[place.row as usize]
    }

    fn frame(&self, place: Place) -> &'a FrameRow {
        &self.slab(place).frames[place.frame as usize]
    }

    fn vehicle_rank(&self, place: Place) -> u32 {
        self.ranks[place.slab as usize][place.frame as usize]
    }
}

/// Orders places by a dense number, those of the same number as they were.
fn counting_sort(places: &[Place], numbers: usize, number: impl Fn(Place) -> usize) -> Vec<Place> {
    let mut next = vec![0_usize; numbers + 1];
    for place in places {
        next[number(*place) + 1] += 1;
    }
    for index in 1..next.len() {
        next[index] += next[index - 1];
    }
    let mut sorted = vec![Place { slab: 0, row: 0, frame: 0 }; places.len()];
    for place in places {
        let slot = &mut next[number(*place)];
        sorted[*slot] = *place;
        *slot += 1;
    }
    sorted
}

fn times(instants: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(instants.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn texts<'t>(values: impl Iterator<Item = Option<&'t str>>) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    builder.extend(values);
    Arc::new(builder.finish())
}

fn source_number(source: Protocol) -> i32 {
    // A protocol that this list does not have would be a decoder that this program does not have.
    SOURCES.iter().position(|each| *each == source).unwrap_or(0) as i32
}
